//! `PUT /admin/users/{id}/password`: gives a user a new password.
//!
//! 204; 400 `invalid_json`, `invalid_field`; 401; 403; 404 `user_not_found`; 415.
//! Event: `SessionInvalidated` with reason `password_changed` for each session of
//! the user.

use edd_auth_rules::password::Password;
use serde::Deserialize;

use super::read;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;

const SQL: &str = include_str!("password.sql");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    new_password: String,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Changed,
    NotFound,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let admin = authenticate::admin(ctx, request).await?;
    let input: Input = input::json(request)?;
    // One statement more than other routes have: the names are no part of a password.
    let user = read::find(ctx, id).await?;
    let names = user.map(|user| [user.username, user.display_name.unwrap_or_default()]);
    let context: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
    let password = Password::chosen(&input.new_password, ctx.config.password_min_length, &context)
        .map_err(|refusal| Error::field("new_password", refusal))?;
    let hash = ctx.hash(&password)?;
    let facts = ctx.facts(request);
    let params =
        [Param::Text(id), Param::Text(&hash), Param::Text(&admin.public_id), Param::Text(&facts)];
    match ctx.db.one(SQL, &params).await? {
        Output::Changed => Ok(Response::no_content()),
        Output::NotFound => Err(Error::UserNotFound),
    }
}
