//! `PUT /me/password`: a new password, for whoever knows the current one.
//!
//! 204; 400 `invalid_json`, `invalid_field`; 401; 403
//! `session_required`, `wrong_password`; 415; 429 `too_many_attempts`, by the count
//! that `POST /login` has. Event:
//! `SessionInvalidated` with reason `password_changed` for every other session of
//! the user; the caller's stays.

use edd_auth_rules::password::{Password, Verdict};
use serde::Deserialize;

use crate::audit::{self, Failure};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::throttle::Quota;

const FIND: &str = include_str!("password_find.sql");
const CHANGE: &str = include_str!("password_change.sql");

/// Tries at a change whose old hash is replaced between the two statements.
const MAX_TRIES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    current_password: String,
    new_password: String,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Lookup {
    Found { public_id: String, password_hash: String },
    Throttled { quota: Quota },
    NotLive,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Changed,
    Retry,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let sid = claims.sid.to_string();
    let input: Input = input::json(request)?;
    let current = Password::presented(&input.current_password)
        .map_err(|refusal| Error::field("current_password", refusal))?;
    // As they were at the login: near enough, and it costs no statement.
    let context = [claims.username.as_str(), claims.display_name.as_deref().unwrap_or_default()];
    let new = Password::chosen(&input.new_password, ctx.config.password_min_length, &context)
        .map_err(|refusal| Error::field("new_password", refusal))?;
    let (network, facts) = (ctx.network(request), ctx.facts(request));
    for _ in 0..MAX_TRIES {
        let old_hash = verify(ctx, request, &sid, &current).await?;
        let new_hash = ctx.hash(&new)?;
        let params = [
            Param::Text(&sid),
            Param::Text(&old_hash),
            Param::Text(&new_hash),
            Param::Text(&facts),
            Param::Text(&network),
        ];
        match ctx.db.one(CHANGE, &params).await? {
            Output::Changed => return Ok(Response::no_content()),
            Output::NotLive => return Err(Error::InvalidToken),
            Output::Retry => {}
        }
    }
    Err(Error::DatabaseUnavailable(format!("the account changed in each of {MAX_TRIES} tries")))
}

/// The hash of the current password, when that is what was given.
async fn verify(
    ctx: &Context,
    request: &Request,
    sid: &str,
    current: &Password,
) -> Result<String, Error> {
    let (network, facts) = (ctx.network(request), ctx.facts(request));
    let params = [Param::Text(sid), Param::Text(&network), Param::Text(&facts)];
    let (public_id, password_hash) = match ctx.db.one(FIND, &params).await? {
        Lookup::Found { public_id, password_hash } => (public_id, password_hash),
        Lookup::Throttled { quota } => return Err(Error::Throttled(quota)),
        Lookup::NotLive => return Err(Error::InvalidToken),
    };
    match ctx.verify(current, &password_hash)? {
        Verdict::Match | Verdict::MatchOutdated => Ok(password_hash),
        Verdict::Mismatch => {
            let failure = Failure {
                actor: Some(&public_id),
                action: "password.change",
                reason: "wrong_password",
                resource: Some(&format!("user:{public_id}")),
            };
            audit::record(ctx, request, &failure).await?;
            Err(Error::WrongPassword)
        }
    }
}
