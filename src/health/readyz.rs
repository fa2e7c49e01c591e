//! `GET /readyz`: whether the database answers and has this version's schema.
//!
//! 200 with `{status, schema_version}`; 503 `misconfigured`, `schema_missing`,
//! `database_unavailable`.

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::http::Response;

const SQL: &str = include_str!("readyz.sql");

/// The newest migration that the statements of this version rely on: the oldest schema
/// that it works with, not the newest that there is. A newer one is fine: migrations
/// only add (migrations/README.md).
pub(crate) const SCHEMA_VERSION: i64 = 8;

#[derive(Deserialize)]
struct Found {
    schema_version: i64,
}

#[derive(Serialize)]
struct Output {
    status: &'static str,
    schema_version: i64,
}

pub(crate) async fn handle(ctx: &Context) -> Result<Response, Error> {
    let Found { schema_version } = ctx.db.one(SQL, &[]).await?;
    if schema_version < SCHEMA_VERSION {
        return Err(Error::SchemaMissing(format!(
            "the schema has version {schema_version}, this component needs {SCHEMA_VERSION}"
        )));
    }
    Ok(Response::ok(&Output { status: "ready", schema_version }))
}
