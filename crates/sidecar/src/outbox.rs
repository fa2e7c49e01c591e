//! The outbox table, as the relay works on it.

use edd_auth_events::OutboxRow;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

/// Rows that are read at once.
pub const BATCH: i64 = 500;

/// A row that waits to be published.
#[derive(Debug, Clone)]
pub struct Pending {
    /// `outbox.id`.
    pub id: i64,
    event_id: Uuid,
    kind: String,
    entity_id: String,
    data: Value,
    occurred_at_unix: i64,
    occurred_at_rfc3339: String,
}

impl FromRow<'_, PgRow> for Pending {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            event_id: row.try_get("event_id")?,
            kind: row.try_get("kind")?,
            entity_id: row.try_get("entity_id")?,
            data: row.try_get("data")?,
            occurred_at_unix: row.try_get("occurred_at_unix")?,
            occurred_at_rfc3339: row.try_get("occurred_at_rfc3339")?,
        })
    }
}

impl From<Pending> for OutboxRow {
    fn from(row: Pending) -> Self {
        Self {
            event_id: row.event_id,
            kind: row.kind,
            entity_id: row.entity_id,
            data: row.data,
            occurred_at_unix: row.occurred_at_unix,
            occurred_at_rfc3339: row.occurred_at_rfc3339,
        }
    }
}

/// The oldest rows that wait, in the order of their ids. Chosen by their state:
/// a row with a lower id than the last published one may be committed later.
///
/// # Errors
///
/// A database error.
pub async fn pending(connection: &mut PgConnection) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as(
        "select id, event_id, kind, entity_id, data, \
                floor(extract(epoch from occurred_at))::bigint as occurred_at_unix, \
                rfc3339(occurred_at) as occurred_at_rfc3339 \
         from outbox \
         where published_at is null and set_aside_at is null \
         order by id \
         limit $1",
    )
    .bind(BATCH)
    .fetch_all(connection)
    .await
}

/// Marks rows as published, each with its sequence in the stream.
///
/// # Errors
///
/// A database error.
pub async fn mark_published(
    connection: &mut PgConnection,
    published: &[(i64, i64)],
) -> sqlx::Result<()> {
    let (ids, sequences): (Vec<i64>, Vec<i64>) = published.iter().copied().unzip();
    sqlx::query(
        "update outbox set published_at = now(), stream_seq = published.seq, last_error = null \
         from unnest($1::bigint[], $2::bigint[]) as published (id, seq) \
         where outbox.id = published.id and outbox.published_at is null",
    )
    .bind(ids)
    .bind(sequences)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that a publish failed and will be tried again.
///
/// # Errors
///
/// A database error.
pub async fn mark_failed(connection: &mut PgConnection, id: i64, reason: &str) -> sqlx::Result<()> {
    sqlx::query("update outbox set attempts = attempts + 1, last_error = $2 where id = $1")
        .bind(id)
        .bind(reason)
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives a row up: it is no event, and no later try can make it one.
///
/// # Errors
///
/// A database error.
pub async fn set_aside(connection: &mut PgConnection, id: i64, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update outbox set set_aside_at = now(), last_error = $2 \
         where id = $1 and published_at is null",
    )
    .bind(id)
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(())
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Rows that wait to be published.
    pub backlog: i64,
    /// Age of the oldest of them in seconds, 0 when there is none.
    pub age_seconds: i64,
    /// Rows that were set aside.
    pub set_aside: i64,
}

/// Measures the outbox, by its partial indexes only: published rows stay for
/// days, and are not looked at.
///
/// # Errors
///
/// A database error.
pub async fn depth(connection: &mut PgConnection) -> sqlx::Result<Depth> {
    let (backlog, age_seconds, set_aside) = sqlx::query_as(
        "with waiting as not materialized (\
             select id, occurred_at from outbox where published_at is null and set_aside_at is null\
         ), oldest as (\
             select occurred_at from waiting order by id limit 1\
         ) \
         select (select count(*) from waiting), \
                coalesce((select floor(extract(epoch from now() - occurred_at)) from oldest), 0)\
                    ::bigint, \
                (select count(*) from outbox where set_aside_at is not null)",
    )
    .fetch_one(connection)
    .await?;
    Ok(Depth { backlog, age_seconds, set_aside })
}
