//! The audit log. A change writes its row in its own statement; this is what is
//! left: failures that no statement would tell of, and reading.

use serde::Deserialize;

use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::Request;

pub(crate) mod list;

const SQL: &str = include_str!("record.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Recorded,
}

/// Something that did not happen.
pub(crate) struct Failure<'a> {
    /// The public id of who tried it, if that is known.
    pub(crate) actor: Option<&'a str>,
    /// What was tried.
    pub(crate) action: &'static str,
    /// Why it failed. For operators: the client may not learn as much.
    pub(crate) reason: &'static str,
    /// On what it was tried.
    pub(crate) resource: Option<&'a str>,
}

/// Writes a failure down.
///
/// # Errors
///
/// An error of the database.
pub(crate) async fn record(
    ctx: &Context,
    request: &Request,
    failure: &Failure<'_>,
) -> Result<(), Error> {
    let facts = ctx.facts(request);
    let params = [
        Param::OptionalText(failure.actor),
        Param::Text(&facts),
        Param::Text(failure.action),
        Param::Text(failure.reason),
        Param::OptionalText(failure.resource),
    ];
    let Output::Recorded = ctx.db.one(SQL, &params).await?;
    Ok(())
}
