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
use crate::page::Page;

const LIST: &str = include_str!("list.sql");
const SEARCH: &str = include_str!("search.sql");

#[derive(Deserialize)]
struct Found {
    users: Vec<User>,
    next_after: Option<String>,
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
    let page = Page::of(ctx, &query, "admin/users", &[q])?;
    let mut params = vec![
        Param::Int8(page.limit),
        Param::OptionalText(page.after.as_deref()),
        Param::Text(&ctx.config.admin_username),
    ];
    let sql = match q {
        None => LIST,
        Some(q) => {
            params.push(Param::Text(q));
            SEARCH
        }
    };
    let found: Found = ctx.db.one(sql, &params).await?;
    Ok(Response::ok(&Output {
        users: found.users,
        next_cursor: page.next_cursor(ctx, found.next_after)?,
    }))
}
