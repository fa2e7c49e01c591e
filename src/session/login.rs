//! `POST /login`: a name and a password for a token.
//!
//! 200 with the token; 400 `invalid_json`, `invalid_field`; 401
//! `invalid_credentials`; 415. Event: `SessionCreated`.
//!
//! A name that nobody has, a wrong password and a disabled user get the same
//! answer after the same work: one statement and one hash
//! (OWASP Authentication Cheat Sheet, "Authentication and Error Messages").

use edd_auth_rules::password::{DUMMY_HASH, Password, Verdict};
use edd_auth_rules::text;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::token::Claims;
use crate::user::User;

const FIND: &str = include_str!("login_find.sql");
const OPEN: &str = include_str!("login_open.sql");

/// Tries at a login whose hash is replaced, by another login or a new password,
/// between the two statements.
const MAX_TRIES: usize = 3;

/// What is kept of a `User-Agent`, in characters.
const USER_AGENT_CHARS: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Found {
    Found { user_id: i32, password_hash: String, disabled: bool },
    Unknown,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Opened {
    Opened { issued_at: i64, expires_at: i64, expires_at_text: String, user: User },
    Changed,
}

#[derive(Serialize)]
struct Output {
    token: String,
    token_type: &'static str,
    expires_at: String,
    expires_in: i64,
    user: User,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let input: Input = input::json(request)?;
    text::check_username(&input.username).map_err(|refusal| Error::field("username", refusal))?;
    let password = Password::presented(&input.password)
        .map_err(|refusal| Error::field("password", refusal))?;
    for _ in 0..MAX_TRIES {
        let verified = verify(ctx, &input.username, &password).await?;
        if let Some(response) = open(ctx, request, &verified).await? {
            return Ok(response);
        }
    }
    Err(Error::InvalidCredentials)
}

/// An account whose password was right a moment ago.
struct Verified {
    user_id: i32,
    hash: String,
    new_hash: Option<String>,
}

async fn verify(ctx: &Context, username: &str, password: &Password) -> Result<Verified, Error> {
    let found = ctx.db.one(FIND, &[Param::Text(username)]).await?;
    let stored = match &found {
        Found::Found { password_hash, .. } => password_hash,
        Found::Unknown => DUMMY_HASH,
    };
    let verdict = ctx.verify(password, stored)?;
    match found {
        Found::Found { user_id, password_hash: hash, disabled: false } => {
            let new_hash = match verdict {
                Verdict::Match => None,
                Verdict::MatchOutdated => Some(ctx.hash(password)?),
                Verdict::Mismatch => return Err(Error::InvalidCredentials),
            };
            Ok(Verified { user_id, hash, new_hash })
        }
        Found::Found { .. } | Found::Unknown => Err(Error::InvalidCredentials),
    }
}

/// Opens the session. `None` when the account has changed since it was verified.
async fn open(
    ctx: &Context,
    request: &Request,
    verified: &Verified,
) -> Result<Option<Response>, Error> {
    let sid = Uuid::now_v7();
    let session_id = sid.to_string();
    let client_address = request.client_address();
    let user_agent = user_agent(request);
    let params = [
        Param::Int4(verified.user_id),
        Param::Text(&verified.hash),
        Param::OptionalText(verified.new_hash.as_deref()),
        Param::Text(&session_id),
        Param::Float8(ctx.config.session_ttl.as_secs_f64().floor()),
        Param::OptionalText(client_address.as_deref()),
        Param::OptionalText(user_agent.as_deref()),
        Param::Text(&ctx.config.admin_username),
    ];
    match ctx.db.one(OPEN, &params).await? {
        Opened::Opened { issued_at, expires_at, expires_at_text, user } => {
            let token = ctx.config.token_key.sign(Claims {
                user_id: user.user_id,
                username: user.username.clone(),
                display_name: user.display_name.clone(),
                is_admin: user.is_admin,
                sub: user.public_id.clone(),
                sid,
                iat: issued_at,
                exp: expires_at,
            })?;
            Ok(Some(Response::ok(&Output {
                token,
                token_type: "Bearer",
                expires_at: expires_at_text,
                expires_in: expires_at - issued_at,
                user,
            })))
        }
        Opened::Changed => Ok(None),
    }
}

/// The client's `User-Agent`, fit for a text column.
fn user_agent(request: &Request) -> Option<String> {
    let value = request.header("user-agent")?;
    Some(value.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS).collect())
}
