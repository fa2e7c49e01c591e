//! `PATCH /admin/users/{id}`: changes the fields that are given.
//!
//! 200 with the user and its `ETag`; 400 `invalid_json`, `invalid_field`; 401; 403;
//! 404 `user_not_found`; 409 `username_taken`, `last_admin`; 412
//! `precondition_failed`; 415. Events: `UserUpdated`, and `SessionInvalidated` with
//! reason `user_disabled` for each session that disabling ends.

use edd_auth_rules::text::Username;
use serde::{Deserialize, Serialize};

use super::{User, check_display_name, parse_username};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::precondition;

const SQL: &str = include_str!("update.sql");

/// A merge patch (RFC 7396). What is absent stays as it is; only the display
/// name can be removed with null.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(
        default,
        deserialize_with = "input::nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    display_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::present", skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(default, deserialize_with = "input::present", skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
    #[serde(default, deserialize_with = "input::present", skip_serializing_if = "Option::is_none")]
    is_admin: Option<bool>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Changed { user: User },
    UsernameTaken,
    LastAdmin,
    PreconditionFailed,
    NotFound,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let admin = authenticate::admin(ctx, request).await?;
    let mut input: Input = input::json(request)?;
    check(&input)?;
    let username = input.username.as_deref().map(parse_username).transpose()?;
    input.username = username.as_ref().map(|username| username.as_str().to_owned());
    let versions = precondition::versions(request)?;
    let patch = serde_json::to_string(&input).map_err(Error::internal)?;
    let facts = ctx.facts(request);
    let params = [
        Param::Text(id),
        Param::Text(&patch),
        Param::Text(&ctx.config.admin_username),
        Param::OptionalText(versions.as_deref()),
        Param::Text(&admin.public_id),
        Param::Text(&facts),
        Param::OptionalText(username.as_ref().map(Username::canonical)),
    ];
    match ctx.db.one(SQL, &params).await? {
        Output::Changed { user } => Ok(Response::ok(&user).with_etag(user.version)),
        Output::UsernameTaken => Err(Error::UsernameTaken),
        Output::LastAdmin => Err(Error::LastAdmin),
        Output::PreconditionFailed => Err(Error::PreconditionFailed),
        Output::NotFound => Err(Error::UserNotFound),
    }
}

fn check(input: &Input) -> Result<(), Error> {
    if let Input { display_name: None, username: None, disabled: None, is_admin: None } = input {
        return Err(Error::InvalidJson(
            "changes nothing: give display_name, username, disabled or is_admin".to_owned(),
        ));
    }
    if let Some(Some(display_name)) = &input.display_name {
        check_display_name(display_name)?;
    }
    Ok(())
}
