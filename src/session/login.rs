//! `POST /login`: a name and a password for a token.
//!
//! 200 with the token, in the body or, with `"cookie": true`, in a cookie; 400
//! `invalid_json`, `invalid_field`; 401 `invalid_credentials`; 403 `cross_site`; 415;
//! 429 `too_many_attempts`. Events: `SessionCreated`, and `SessionInvalidated` with
//! reason `logout` for the session whose cookie the new one replaces.
//!
//! A name that nobody has, a wrong password and a disabled user get the same
//! answer after the same work: two statements, one of them for the audit log, and
//! one hash (OWASP Authentication Cheat Sheet, "Authentication and Error Messages").

use edd_auth_rules::password::{DUMMY_HASH, Password, Verdict};
use edd_auth_rules::text::Username;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::{self, Failure};
use crate::authenticate;
use crate::browser;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::throttle::Quota;
use crate::token::Claims;
use crate::user::{self, User};

const FIND: &str = include_str!("login_find.sql");
const OPEN: &str = include_str!("login_open.sql");

/// Tries at a login whose hash is replaced, by another login or a new password,
/// between the two statements.
const MAX_TRIES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    username: String,
    password: String,
    /// Whether the token goes into a cookie, and nowhere else.
    #[serde(default)]
    cookie: bool,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Lookup {
    Found { quota: Quota, user_id: i32, public_id: String, password_hash: String, disabled: bool },
    Unknown { quota: Quota, stand_in: Option<String> },
    Throttled { quota: Quota },
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Opened {
    Opened { issued_at: i64, expires_at: i64, expires_at_text: String, user: User },
    Retry,
}

#[derive(Serialize)]
struct Output {
    /// Not for the page when the browser keeps it: no script is to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    expires_at: String,
    expires_in: i64,
    user: User,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let input: Input = input::json(request)?;
    let mut replaced = None;
    if input.cookie {
        // Nobody is logged in by another site, as somebody else.
        browser::check_site(request, &ctx.config.cors_allowed_origins)?;
        replaced = authenticate::shown_by_browser(ctx, request);
    }
    let username = user::parse_username(&input.username)?;
    let password = Password::presented(&input.password)
        .map_err(|refusal| Error::field("password", refusal))?;
    for _ in 0..MAX_TRIES {
        let verified = verify(ctx, request, &username, &password).await?;
        if let Some((token, output)) = open(ctx, request, &username, &verified, replaced).await? {
            return Ok(respond(token, output, input.cookie));
        }
    }
    Err(Error::DatabaseUnavailable(format!("the account changed in each of {MAX_TRIES} tries")))
}

/// An account whose password was right a moment ago.
struct Verified {
    user_id: i32,
    hash: String,
    new_hash: Option<String>,
}

async fn verify(
    ctx: &Context,
    request: &Request,
    username: &Username,
    password: &Password,
) -> Result<Verified, Error> {
    let (network, facts) = (ctx.network(request), ctx.facts(request));
    // An HMAC that is shown to nobody.
    let mark = ctx.config.token_key.seal(username.canonical())?;
    let params = [
        Param::Text(username.canonical()),
        Param::Text(&network),
        Param::Text(&facts),
        Param::Text(&mark),
    ];
    let found = ctx.db.one(FIND, &params).await?;
    let (stored, quota) = match &found {
        Lookup::Found { password_hash, quota, .. } => (password_hash.as_str(), *quota),
        // Where there are users, imported ones may have other hashes than today's.
        Lookup::Unknown { quota, stand_in } => (stand_in.as_deref().unwrap_or(DUMMY_HASH), *quota),
        Lookup::Throttled { quota } => return Err(Error::Throttled(*quota)),
    };
    let verdict = ctx.verify(password, stored)?;
    let (actor, reason) = match (found, verdict) {
        (Lookup::Found { user_id, password_hash: hash, disabled: false, .. }, Verdict::Match) => {
            return Ok(Verified { user_id, hash, new_hash: None });
        }
        (
            Lookup::Found { user_id, password_hash: hash, disabled: false, .. },
            Verdict::MatchOutdated,
        ) => return Ok(Verified { user_id, hash, new_hash: Some(ctx.hash(password)?) }),
        (Lookup::Found { public_id, disabled: true, .. }, _) => (Some(public_id), "user_disabled"),
        (Lookup::Found { public_id, .. }, Verdict::Mismatch) => (Some(public_id), "wrong_password"),
        // The name is not kept: people type passwords into the wrong field.
        (Lookup::Unknown { .. } | Lookup::Throttled { .. }, _) => (None, "unknown_user"),
    };
    let resource = actor.as_ref().map(|public_id| format!("user:{public_id}"));
    let failure =
        Failure { actor: actor.as_deref(), action: "login", reason, resource: resource.as_deref() };
    audit::record(ctx, request, &failure).await?;
    Err(Error::InvalidCredentials(quota))
}

/// The token for the caller's own hands, or for its browser's.
fn respond(token: String, output: Output, cookie: bool) -> Response {
    if cookie {
        let mut response = Response::ok(&output);
        browser::set_session_cookie(&mut response, &token, output.expires_in);
        return response;
    }
    Response::ok(&Output { token: Some(token), token_type: Some("Bearer"), ..output })
}

/// Opens the session in place of the one that the browser had, and signs its token.
/// `None` when the account has changed since it was verified.
async fn open(
    ctx: &Context,
    request: &Request,
    username: &Username,
    verified: &Verified,
    replaced: Option<Uuid>,
) -> Result<Option<(String, Output)>, Error> {
    let sid = Uuid::now_v7();
    let session_id = sid.to_string();
    let replaced = replaced.map(|sid| sid.to_string());
    let (network, facts) = (ctx.network(request), ctx.facts(request));
    let params = [
        Param::Int4(verified.user_id),
        Param::Text(&verified.hash),
        Param::OptionalText(verified.new_hash.as_deref()),
        Param::Text(&session_id),
        Param::Float8(ctx.config.session_ttl.as_secs_f64().floor()),
        Param::Text(&ctx.config.admin_username),
        Param::Text(&facts),
        Param::Text(username.canonical()),
        Param::Text(&network),
        Param::OptionalText(replaced.as_deref()),
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
            let output = Output {
                token: None,
                token_type: None,
                expires_at: expires_at_text,
                expires_in: expires_at - issued_at,
                user,
            };
            Ok(Some((token, output)))
        }
        Opened::Retry => Ok(None),
    }
}
