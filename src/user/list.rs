//! `GET /admin/users?limit&cursor&q`: users by age, a page at a time.
//!
//! 200 with `{users, next_cursor}`; 400 `invalid_field`; 401; 403.

use serde::{Deserialize, Serialize};

use super::User;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page;

const SQL: &str = include_str!("list.sql");

/// The name of this list in its cursors.
const LIST: &str = "users";

#[derive(Deserialize)]
struct Found {
    users: Vec<User>,
    next_after: Option<i32>,
}

#[derive(Serialize)]
struct Output {
    users: Vec<User>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    authenticate::admin(ctx, request).await?;
    let query = Query::of(request);
    let q = query.get("q")?.filter(|q| !q.is_empty());
    let limit = page::limit(&query)?;
    let after = page::after(&query, LIST, q)?;
    let params = [
        Param::Int8(limit),
        Param::Int4(after),
        Param::OptionalText(q),
        Param::Text(&ctx.config.admin_username),
    ];
    let found: Found = ctx.db.one(SQL, &params).await?;
    Ok(Response::ok(&Output {
        users: found.users,
        next_cursor: found.next_after.map(|after| page::cursor(LIST, q, after)),
    }))
}
