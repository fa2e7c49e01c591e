//! `GET /admin/sessions?limit&cursor&user`: live sessions, of all users or of the
//! one with this public id, the oldest first.
//!
//! 200 with `{sessions, next_cursor}`; 400 `invalid_field`; 401; 403.

use serde::{Deserialize, Serialize};

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page::Page;

const SQL: &str = include_str!("list.sql");

#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Session {
    session_id: String,
    user_id: i32,
    public_id: String,
    username: String,
    created_at: String,
    expires_at: String,
    ip_address: Option<String>,
    user_agent: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    sessions: Vec<Session>,
    next_after: Option<String>,
}

#[derive(Serialize)]
struct Output {
    sessions: Vec<Session>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    authenticate::admin(ctx, request).await?;
    let query = Query::of(request);
    let user = query.get("user")?;
    let page = Page::of(ctx, &query, "admin/sessions", &[user])?;
    let params = [
        Param::Int8(page.limit),
        Param::OptionalText(page.after.as_deref()),
        Param::OptionalText(user),
    ];
    let found: Found = ctx.db.one(SQL, &params).await?;
    Ok(Response::ok(&Output {
        sessions: found.sessions,
        next_cursor: page.next_cursor(ctx, found.next_after)?,
    }))
}
