//! `GET /service-accounts?limit&cursor`: the caller's service accounts, the oldest
//! first.
//!
//! 200 with `{service_accounts, next_cursor}`; 400 `invalid_field`; 401; 403
//! `session_required`.

use serde::{Deserialize, Serialize};

use super::ServiceAccount;
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
enum Found {
    Listed { service_accounts: Vec<ServiceAccount>, next_after: Option<String> },
    NotLive,
}

#[derive(Serialize)]
struct Output {
    service_accounts: Vec<ServiceAccount>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let page = Page::of(ctx, &Query::of(request), "service-accounts", &[Some(&claims.sub)])?;
    let sid = claims.sid.to_string();
    let params =
        [Param::Text(&sid), Param::Int8(page.limit), Param::OptionalText(page.after.as_deref())];
    match ctx.db.one(SQL, &params).await? {
        Found::Listed { service_accounts, next_after } => Ok(Response::ok(&Output {
            service_accounts,
            next_cursor: page.next_cursor(ctx, next_after)?,
        })),
        Found::NotLive => Err(Error::InvalidToken),
    }
}
