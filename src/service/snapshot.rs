//! `GET /snapshot/users?limit&cursor` and `GET /snapshot/identities?limit&cursor`:
//! what there is, to load a cache from before following the events.
//!
//! 200 with `{users, position, next_cursor}` or `{identities, …}`; 400
//! `invalid_field`; 401 `invalid_service_key`; 404 without a key in the
//! configuration.
//!
//! `position` is a sequence of the stream `AUTH`: every event up to it was
//! committed before the first page was read. All pages of a snapshot carry the
//! position of the first one, because a later page says nothing of what has
//! happened meanwhile to the rows of an earlier one. So a consumer follows the
//! stream from `position + 1`, and applies an event only when its version is
//! higher than the one it has of that entity (docs/adr/0012).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page::Page;

const USERS: &str = include_str!("snapshot_users.sql");
const IDENTITIES: &str = include_str!("snapshot_identities.sql");

/// A page of rows, which have the form of the data of an event: what the SQL
/// functions `user_event` and `identity_event` return.
#[derive(Deserialize)]
struct Found {
    rows: Box<RawValue>,
    position: i64,
    next_after: Option<String>,
}

#[derive(Serialize)]
struct UserPage {
    users: Box<RawValue>,
    position: i64,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct IdentityPage {
    identities: Box<RawValue>,
    position: i64,
    next_cursor: Option<String>,
}

/// `GET /snapshot/users`
pub(crate) async fn users(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let (users, position, next_cursor) = page(ctx, request, "snapshot/users", USERS).await?;
    Ok(Response::ok(&UserPage { users, position, next_cursor }))
}

/// `GET /snapshot/identities`
pub(crate) async fn identities(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let (identities, position, next_cursor) =
        page(ctx, request, "snapshot/identities", IDENTITIES).await?;
    Ok(Response::ok(&IdentityPage { identities, position, next_cursor }))
}

async fn page(
    ctx: &Context,
    request: &Request,
    name: &str,
    sql: &'static str,
) -> Result<(Box<RawValue>, i64, Option<String>), Error> {
    authenticate::service(ctx, request)?;
    let page = Page::of(ctx, &Query::of(request), name, &[])?;
    // The cursor carries the position of the first page: "POSITION ID".
    let carried = page.after.as_deref().and_then(|after| after.split_once(' '));
    let params = [Param::Int8(page.limit), Param::OptionalText(carried.map(|(_, id)| id))];
    let found: Found = ctx.db.one(sql, &params).await?;
    let position = match carried {
        Some((position, _)) => position.parse().map_err(Error::internal)?,
        None => found.position,
    };
    let next = found.next_after.map(|id| format!("{position} {id}"));
    Ok((found.rows, position, page.next_cursor(ctx, next)?))
}
