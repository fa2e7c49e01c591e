//! Statements that do not wait for ever.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// How long a statement of a background task may take before its connection is
/// given up.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Bounds the time of a statement: a server that was stopped, or a network that
/// swallows packets, gives no error.
///
/// # Errors
///
/// The statement's own, or one that says that there was no answer in time. The
/// connection is of no use after that.
pub async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(TIMEOUT, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} seconds", TIMEOUT.as_secs());
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message)))
    })
}
