//! Sessions: from login to logout, and how their users and administrators see
//! and end them.

use serde::Deserialize;

pub(crate) mod end;
pub(crate) mod end_others;
pub(crate) mod end_own;
pub(crate) mod list;
pub(crate) mod list_own;
pub(crate) mod login;
pub(crate) mod logout;

/// What came of ending one session.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Ending {
    /// It is over now.
    Ended,
    /// There is no such session.
    NotFound,
    /// The caller's own session is not live.
    NotLive,
}
