//! `POST /introspect` (RFC 7662): whether a token is good, and for whom it speaks.
//!
//! 200, with `{"active": false}` for every token that is not good, whatever the
//! reason; 400 `invalid_field`; 401 `invalid_service_key`; 404 without a key in the
//! configuration; 415.

use std::collections::BTreeMap;

use edd_auth_rules::scope::Scopes;
use serde::{Deserialize, Serialize};

use crate::api_token::ApiToken;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;

const SESSION: &str = include_str!("introspect_session.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Session {
    Live { user_id: i32, public_id: String, username: String },
    NotLive,
}

/// The members of RFC 7662, section 2.2, and `user_id`, `sid` and `scopes` beside
/// them.
#[derive(Default, Serialize)]
struct Output {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    authenticate::service(ctx, request)?;
    let form = Query::of_form(request)?;
    let token = form.get_any("token")?.ok_or_else(|| Error::field("token", "is missing"))?;
    let found = match ApiToken::parse(token) {
        Some(token) => api_token(ctx, &token).await?,
        None => session(ctx, token).await?,
    };
    Ok(Response::ok(&found.unwrap_or_default()))
}

async fn api_token(ctx: &Context, token: &ApiToken<'_>) -> Result<Option<Output>, Error> {
    let identity = authenticate::identity(ctx, token).await?;
    Ok(identity.map(|identity| Output {
        active: true,
        sub: Some(identity.user.public_id),
        user_id: Some(identity.user.user_id),
        username: Some(identity.user.username),
        client_id: Some(identity.service_account_id),
        scope: Some(scope(identity.scopes.actions())),
        scopes: Some(identity.scopes),
        exp: identity.expires_at,
        iat: Some(identity.issued_at),
        token_type: Some("Bearer"),
        ..Output::default()
    }))
}

async fn session(ctx: &Context, token: &str) -> Result<Option<Output>, Error> {
    let Ok(claims) = ctx.config.token_key.verify(token) else {
        return Ok(None);
    };
    let sid = claims.sid.to_string();
    match ctx.db.one(SESSION, &[Param::Text(&sid)]).await? {
        Session::Live { user_id, public_id, username } => Ok(Some(Output {
            active: true,
            sub: Some(public_id),
            user_id: Some(user_id),
            username: Some(username),
            sid: Some(sid),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            token_type: Some("Bearer"),
            ..Output::default()
        })),
        Session::NotLive => Ok(None),
    }
}

/// Scopes as RFC 6749, section 3.3, has them: `SCOPE:ACTION`, with spaces between.
fn scope(scopes: &BTreeMap<String, Vec<String>>) -> String {
    let pairs = scopes
        .iter()
        .flat_map(|(scope, actions)| actions.iter().map(move |action| format!("{scope}:{action}")));
    pairs.collect::<Vec<String>>().join(" ")
}
