//! Rows that the relay has set aside, and what an operator decides about them.

use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection, Row};

/// A row that was set aside.
#[derive(Debug)]
pub struct SetAside {
    /// `outbox.id`.
    pub id: i64,
    /// What it was to announce.
    pub kind: String,
    /// About what.
    pub entity_id: String,
    /// Why it was set aside.
    pub last_error: Option<String>,
}

impl FromRow<'_, PgRow> for SetAside {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            entity_id: row.try_get("entity_id")?,
            last_error: row.try_get("last_error")?,
        })
    }
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, kind, entity_id, last_error } = self;
        write!(f, "{id} {kind} {entity_id}: {}", last_error.as_deref().unwrap_or("no reason"))
    }
}

/// The first rows that were set aside, each with the number of rows of the same entity
/// that wait behind it.
///
/// # Errors
///
/// A database error.
pub async fn first(connection: &mut PgConnection) -> sqlx::Result<Vec<(SetAside, i64)>> {
    let rows = sqlx::query(
        "select id, kind, entity_id, last_error, (\
             select count(*) from outbox as waiting \
             where waiting.entity_id = outbox.entity_id and waiting.id > outbox.id \
               and published_at is null and set_aside_at is null\
         ) as waiting \
         from outbox where set_aside_at is not null order by id limit 20",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((SetAside::from_row(row)?, row.try_get("waiting")?))).collect()
}

/// Nothing was changed, because of these ids.
#[derive(Debug, thiserror::Error)]
#[error("nothing was changed; no rows that were set aside: {}", numbers(.0))]
pub struct NotSetAside(pub Vec<i64>);

fn numbers(ids: &[i64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Has the relay try rows again: these, or all that were set aside. What they were set
/// aside for stays until it is known what becomes of them.
///
/// # Errors
///
/// [`NotSetAside`] when one of them is none, or a database error. Nothing is changed
/// then.
pub async fn requeue(
    connection: &mut PgConnection,
    ids: Option<&[i64]>,
) -> anyhow::Result<Vec<SetAside>> {
    let statement = "\
        with requeued as (\
            update outbox set set_aside_at = null, attempts = 0 \
            where set_aside_at is not null and ($1::bigint[] is null or id = any ($1)) \
            returning id, kind, entity_id, last_error\
        ) \
        select * from requeued order by id";
    decide(connection, statement, ids).await
}

/// Removes rows for good. Consumers will never know what they were to announce.
///
/// # Errors
///
/// [`NotSetAside`] when one of them is none, or a database error. Nothing is changed
/// then.
pub async fn remove(connection: &mut PgConnection, ids: &[i64]) -> anyhow::Result<Vec<SetAside>> {
    let statement = "\
        with removed as (\
            delete from outbox where set_aside_at is not null and id = any ($1::bigint[]) \
            returning id, kind, entity_id, last_error\
        ) \
        select * from removed order by id";
    decide(connection, statement, Some(ids)).await
}

/// All of them or none; and the relay looks again, since rows behind them wait no more.
async fn decide(
    connection: &mut PgConnection,
    statement: &'static str,
    ids: Option<&[i64]>,
) -> anyhow::Result<Vec<SetAside>> {
    let mut transaction = connection.begin().await?;
    let rows: Vec<SetAside> =
        sqlx::query_as(statement).bind(ids).fetch_all(&mut *transaction).await?;
    let mut others = ids.unwrap_or_default().to_vec();
    others.retain(|id| !rows.iter().any(|row| row.id == *id));
    if !others.is_empty() {
        return Err(NotSetAside(others).into());
    }
    sqlx::query("select pg_notify('outbox', '')").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}
