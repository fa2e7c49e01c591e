//! `GET /service-accounts/{id}/tokens?limit&cursor`: the tokens of a service
//! account, the oldest first, and for 30 days those that have expired.
//!
//! 200 with `{tokens, next_cursor}`; 400 `invalid_field`; 401; 403
//! `session_required`; 404 `service_account_not_found`.

use serde::{Deserialize, Serialize};

use super::TokenInfo;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page::Page;

const SQL: &str = include_str!("list.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Listing {
    Listed { tokens: Vec<TokenInfo>, next_after: Option<String> },
    NotFound,
    NotLive,
}

#[derive(Serialize)]
struct Output {
    tokens: Vec<TokenInfo>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let selection = [Some(claims.sub.as_str()), Some(id)];
    let page = Page::of(ctx, &Query::of(request), "tokens", &selection)?;
    let sid = claims.sid.to_string();
    let params = [
        Param::Text(&sid),
        Param::Text(id),
        Param::Int8(page.limit),
        Param::OptionalText(page.after.as_deref()),
    ];
    match ctx.db.one(SQL, &params).await? {
        Listing::Listed { tokens, next_after } => {
            Ok(Response::ok(&Output { tokens, next_cursor: page.next_cursor(ctx, next_after)? }))
        }
        Listing::NotFound => Err(Error::ServiceAccountNotFound),
        Listing::NotLive => Err(Error::InvalidToken),
    }
}
