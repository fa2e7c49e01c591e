//! Users, as administrators manage them.

use edd_auth_rules::text::{self, Username};
use serde::{Deserialize, Serialize};

use crate::error::Error;

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod password;
pub(crate) mod read;
pub(crate) mod update;

/// A user as the API shows it: what the SQL function `user_profile` returns.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
pub(crate) struct User {
    /// The integer id.
    pub(crate) user_id: i32,
    /// The 6-character id of paths and subjects.
    pub(crate) public_id: String,
    /// The name to log in with.
    pub(crate) username: String,
    /// What to call the user, if not by the username.
    pub(crate) display_name: Option<String>,
    /// Whether the user may use the admin API.
    pub(crate) is_admin: bool,
    /// Whether the user is kept from logging in.
    pub(crate) disabled: bool,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
    /// RFC 3339, UTC.
    pub(crate) updated_at: String,
    /// Rises with each change. Shown as the `ETag`.
    #[serde(skip_serializing)]
    pub(crate) version: i64,
}

pub(crate) fn parse_username(typed: &str) -> Result<Username, Error> {
    Username::parse(typed).map_err(|refusal| Error::field("username", refusal))
}

pub(crate) fn check_display_name(display_name: &str) -> Result<(), Error> {
    text::check_display_name(display_name).map_err(|refusal| Error::field("display_name", refusal))
}
