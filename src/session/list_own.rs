//! `GET /me/sessions?limit&cursor`: the caller's live sessions, the oldest first.
//!
//! 200 with `{sessions, next_cursor}`; 400 `invalid_field`; 401; 403
//! `session_required`.

use serde::{Deserialize, Serialize};

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page::Page;

const SQL: &str = include_str!("list_own.sql");

#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Session {
    session_id: String,
    created_at: String,
    expires_at: String,
    ip_address: Option<String>,
    user_agent: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Found {
    Listed { sessions: Vec<Session>, next_after: Option<String> },
    NotLive,
}

#[derive(Serialize)]
struct Output {
    sessions: Vec<Session>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let page = Page::of(ctx, &Query::of(request), "me/sessions", &[Some(&claims.sub)])?;
    let sid = claims.sid.to_string();
    let params =
        [Param::Text(&sid), Param::Int8(page.limit), Param::OptionalText(page.after.as_deref())];
    match ctx.db.one(SQL, &params).await? {
        Found::Listed { sessions, next_after } => {
            Ok(Response::ok(&Output { sessions, next_cursor: page.next_cursor(ctx, next_after)? }))
        }
        Found::NotLive => Err(Error::InvalidToken),
    }
}
