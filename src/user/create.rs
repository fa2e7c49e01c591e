//! `POST /admin/users`: a new user.
//!
//! 201 with the user, `Location` and `ETag`; 400 `invalid_json`, `invalid_field`; 401;
//! 403; 409 `username_taken`; 415. Event: `UserCreated`.

use edd_auth_rules::password::Password;
use edd_auth_rules::public_id;
use serde::Deserialize;

use super::{User, check_display_name, parse_username};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;

const SQL: &str = include_str!("create.sql");

/// Public ids that are tried. With a million users, one is taken with a
/// probability of 2 in 100,000.
const MAX_TRIES: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    username: String,
    password: String,
    display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Created { user: User },
    UsernameTaken,
    Retry,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let admin = authenticate::admin(ctx, request).await?;
    let input: Input = input::json(request)?;
    let username = parse_username(&input.username)?;
    input.display_name.as_deref().map_or(Ok(()), check_display_name)?;
    let context = [username.as_str(), input.display_name.as_deref().unwrap_or_default()];
    let password = Password::chosen(&input.password, ctx.config.password_min_length, &context)
        .map_err(|refusal| Error::field("password", refusal))?;
    let hash = ctx.hash(&password)?;
    let facts = ctx.facts(request);
    for _ in 0..MAX_TRIES {
        let public_id = public_id::generate();
        let params = [
            Param::Text(&public_id),
            Param::Text(username.as_str()),
            Param::OptionalText(input.display_name.as_deref()),
            Param::Text(&hash),
            Param::Text(&ctx.config.admin_username),
            Param::Text(&admin.public_id),
            Param::Text(&facts),
            Param::Text(username.canonical()),
        ];
        match ctx.db.one(SQL, &params).await? {
            Output::Created { user } => {
                let location = format!("/admin/users/{}", user.public_id);
                return Ok(Response::created(location, &user).with_etag(user.version));
            }
            Output::UsernameTaken => return Err(Error::UsernameTaken),
            Output::Retry => {}
        }
    }
    Err(Error::internal(format!("{MAX_TRIES} random public ids were all taken")))
}
