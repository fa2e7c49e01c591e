//! `GET /admin/audit?limit&cursor&actor&action&outcome&since&until`: who did what,
//! the newest first.
//!
//! 200 with `{entries, next_cursor}`; 400 `invalid_field`; 401; 403.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input::Query;
use crate::page::Page;

const SQL: &str = include_str!("list.sql");

/// A row of the audit log.
#[derive(Serialize, Deserialize)]
struct Entry {
    id: i64,
    occurred_at: String,
    actor: Option<String>,
    action: String,
    outcome: String,
    reason: Option<String>,
    resource: Option<String>,
    ip_address: Option<String>,
    request_id: Option<String>,
    user_agent: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    entries: Vec<Entry>,
    next_after: Option<String>,
}

#[derive(Serialize)]
struct Output {
    entries: Vec<Entry>,
    next_cursor: Option<String>,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    authenticate::admin(ctx, request).await?;
    let query = Query::of(request);
    let (actor, action) = (query.get("actor")?, query.get("action")?);
    let outcome = query.get("outcome")?;
    if outcome.is_some_and(|outcome| !matches!(outcome, "success" | "failure" | "denied")) {
        return Err(Error::field("outcome", "must be success, failure or denied"));
    }
    let (since, until) = (moment(&query, "since")?, moment(&query, "until")?);
    let selection = [actor, action, outcome, query.get("since")?, query.get("until")?];
    let page = Page::of(ctx, &query, "audit", &selection)?;
    let params = [
        Param::Int8(page.limit),
        Param::OptionalText(page.after.as_deref()),
        Param::OptionalText(actor),
        Param::OptionalText(action),
        Param::OptionalText(outcome),
        Param::OptionalFloat8(since),
        Param::OptionalFloat8(until),
    ];
    let found: Found = ctx.db.one(SQL, &params).await?;
    Ok(Response::ok(&Output {
        entries: found.entries,
        next_cursor: page.next_cursor(ctx, found.next_after)?,
    }))
}

/// A parameter that is a moment (RFC 3339), in seconds since 1970.
fn moment(query: &Query, name: &str) -> Result<Option<f64>, Error> {
    let Some(text) = query.get(name)? else {
        return Ok(None);
    };
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        Error::field(name, "must be a moment in RFC 3339, like 2026-01-31T12:00:00Z")
    })?;
    #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond for millennia")]
    Ok(Some(moment.unix_timestamp_nanos() as f64 / 1e9))
}
