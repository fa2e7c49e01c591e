//! `PATCH /me`: changes the caller's own display name.
//!
//! 200 with the user and its `ETag`; 400 `invalid_json`, `invalid_field`; 401; 403
//! `session_required`; 412 `precondition_failed`; 415. Event: `UserUpdated`.

use serde::Deserialize;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::precondition;
use crate::user::{User, check_display_name};

const SQL: &str = include_str!("update.sql");

/// A merge patch (RFC 7396): null removes the name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(deserialize_with = "Option::deserialize")]
    display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Changed { user: User },
    PreconditionFailed,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    let input: Input = input::json(request)?;
    input.display_name.as_deref().map_or(Ok(()), check_display_name)?;
    let versions = precondition::versions(request)?;
    let facts = ctx.facts(request);
    let params = [
        Param::Text(&sid),
        Param::OptionalText(input.display_name.as_deref()),
        Param::Text(&ctx.config.admin_username),
        Param::OptionalText(versions.as_deref()),
        Param::Text(&facts),
    ];
    match ctx.db.one(SQL, &params).await? {
        Output::Changed { user } => Ok(Response::ok(&user).with_etag(user.version)),
        Output::PreconditionFailed => Err(Error::PreconditionFailed),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
