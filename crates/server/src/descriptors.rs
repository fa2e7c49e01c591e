//! How many files and sockets the system lets this process have.

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is open besides connections of clients and of their requests to the
/// database: listeners, the background tasks and whoever asks them for metrics.
const OTHERS: usize = 64;

/// Has the system allow so many connections of clients. When it does not go so far,
/// returns how many there may be.
///
/// # Errors
///
/// When there is no room for any.
pub(crate) fn allow(connections: usize, to_database: usize) -> anyhow::Result<usize> {
    let others = OTHERS + to_database;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files")?;
    let allowed = hard.min((connections + others) as u64).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, allowed, hard).context("the limit of open files")?;
    let room = usize::try_from(allowed).unwrap_or(usize::MAX).saturating_sub(others);
    ensure!(
        room > 0,
        "{hard} open files are too few (ulimit -n); {} would do",
        connections + others
    );
    if room < connections {
        tracing::warn!(
            "{room} connections at once instead of {connections}: \
             the system allows no more than {hard} open files (ulimit -n)"
        );
    }
    Ok(room.min(connections))
}
