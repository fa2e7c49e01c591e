//! The outbox table, as the relay works on it.

use edd_auth_events::OutboxRow;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

/// Rows that are read at once. In the text of the statements: the plan for a number that
/// PostgreSQL doesn't know is one for a tenth of the backlog.
macro_rules! batch {
    () => {
        500
    };
}

/// The same, as a number.
const BATCH: usize = batch!();

/// A row that waits to be published.
#[derive(Debug, Clone)]
pub struct Pending {
    /// `outbox.id`.
    pub id: i64,
    event_id: Uuid,
    kind: String,
    /// `outbox.entity_id`.
    pub entity_id: String,
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

/// Some of the oldest rows that wait.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that may be published, in the order of their ids.
    pub rows: Vec<Pending>,
    /// Where the next page begins, if there may be one.
    pub next: Option<i64>,
}

/// What the relay reads of a row.
macro_rules! columns {
    () => {
        "id, event_id, kind, entity_id, data, \
         floor(extract(epoch from occurred_at))::bigint as occurred_at_unix, \
         rfc3339(occurred_at) as occurred_at_rfc3339"
    };
}

/// The oldest rows that wait, from the id `from` on. Chosen by their state: a row with a
/// lower id than the last published one may be committed later. Rows of an entity that
/// stand behind one that was set aside are left out, and those behind one that waits
/// before `from`: it may have been there when the page before was read, or not. So are the
/// entities `without`.
///
/// # Errors
///
/// A database error.
pub async fn pending(
    connection: &mut PgConnection,
    from: i64,
    without: &[String],
) -> sqlx::Result<Page> {
    // The limit comes first, so that no plan looks at the whole backlog.
    let rows = sqlx::query(concat!(
        "with oldest as materialized (\
             select ",
        columns!(),
        "    from outbox \
             where published_at is null and set_aside_at is null and id >= $1 \
               and entity_id <> all($2) \
             order by id limit ",
        batch!(),
        ") \
         select oldest.*, exists (\
             select from outbox as earlier \
             where earlier.published_at is null \
               and (earlier.set_aside_at is not null or earlier.id < $1) \
               and earlier.entity_id = oldest.entity_id and earlier.id < oldest.id) as is_blocked \
         from oldest order by id"
    ))
    .bind(from)
    .bind(without)
    .fetch_all(connection)
    .await?;
    let is_full = rows.len() == BATCH;
    let mut page = Page::default();
    for row in rows {
        let (id, is_blocked): (i64, bool) = (row.try_get("id")?, row.try_get("is_blocked")?);
        page.next = is_full.then_some(id + 1);
        if !is_blocked {
            page.rows.push(Pending::from_row(&row)?);
        }
    }
    Ok(page)
}

/// The newest rows that wait, from the id `from` on, for whose entity nothing older
/// waits: in a long backlog they need not wait for the oldest.
///
/// # Errors
///
/// A database error.
pub async fn newest(
    connection: &mut PgConnection,
    from: i64,
    without: &[String],
) -> sqlx::Result<Vec<Pending>> {
    // EXISTS is no condition: it would become a join, and where the statistics are older
    // than the backlog, one that reads the whole backlog for each of the rows.
    let rows = sqlx::query(concat!(
        "with newest as materialized (\
             select ",
        columns!(),
        "    from outbox \
             where published_at is null and set_aside_at is null and id >= $1 \
               and entity_id <> all($2) \
             order by id desc limit ",
        batch!(),
        ") \
         select newest.*, exists (\
             select from outbox as earlier \
             where earlier.published_at is null \
               and earlier.entity_id = newest.entity_id and earlier.id < newest.id) as is_behind \
         from newest order by id"
    ))
    .bind(from)
    .bind(without)
    .fetch_all(connection)
    .await?;
    let mut free = Vec::new();
    for row in rows {
        if !row.try_get::<bool, _>("is_behind")? {
            free.push(Pending::from_row(&row)?);
        }
    }
    Ok(free)
}

/// Marks rows as published, each with its sequence in the stream.
///
/// # Errors
///
/// A database error.
pub async fn mark_published(
    connection: &mut PgConnection,
    rows: &[(i64, i64)],
) -> sqlx::Result<()> {
    let statement = "update outbox set published_at = now(), stream_seq = published.seq, last_error = null \
         from unnest($1::bigint[], $2::bigint[]) as published (id, seq) \
         where outbox.id = published.id \
           and outbox.published_at is null and outbox.set_aside_at is null";
    with_sequences(connection, statement, rows).await
}

/// Records that publishes failed, with the reasons, and will be tried again.
///
/// # Errors
///
/// A database error.
pub async fn mark_failed(
    connection: &mut PgConnection,
    rows: &[(i64, String)],
) -> sqlx::Result<()> {
    let statement = "update outbox set attempts = attempts + 1, last_error = failed.reason \
         from unnest($1::bigint[], $2::text[]) as failed (id, reason) \
         where outbox.id = failed.id and outbox.published_at is null";
    with_reasons(connection, statement, rows).await
}

/// Gives rows up, with the reasons: no later try can change anything, until somebody
/// does.
///
/// # Errors
///
/// A database error.
pub async fn set_aside(connection: &mut PgConnection, rows: &[(i64, String)]) -> sqlx::Result<()> {
    let statement = "update outbox set set_aside_at = now(), last_error = refused.reason \
         from unnest($1::bigint[], $2::text[]) as refused (id, reason) \
         where outbox.id = refused.id and outbox.published_at is null";
    with_reasons(connection, statement, rows).await
}

/// Runs a statement that takes ids, and a sequence of the stream for each.
async fn with_sequences(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &[(i64, i64)],
) -> sqlx::Result<()> {
    let (ids, sequences): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
    sqlx::query(statement).bind(ids).bind(sequences).execute(connection).await.map(drop)
}

/// Runs a statement that takes ids, and a reason for each.
async fn with_reasons(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &[(i64, String)],
) -> sqlx::Result<()> {
    let (ids, reasons): (Vec<i64>, Vec<&str>) =
        rows.iter().map(|(id, text)| (*id, &**text)).unzip();
    sqlx::query(statement).bind(ids).bind(reasons).execute(connection).await.map(drop)
}

/// The ids of the rows whose place is behind the end of the stream: JetStream has
/// acknowledged them and lost them. In the order in which they were there.
///
/// # Errors
///
/// A database error.
pub async fn lost(connection: &mut PgConnection, last_sequence: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("select id from outbox where stream_seq > $1 order by stream_seq, id")
        .bind(last_sequence)
        .fetch_all(connection)
        .await
}

/// Some rows, in the order of the ids, and whether something older of their entity waits.
///
/// # Errors
///
/// A database error.
pub async fn rows(
    connection: &mut PgConnection,
    ids: &[i64],
) -> sqlx::Result<Vec<(Pending, bool)>> {
    let rows = sqlx::query(concat!(
        "select ",
        columns!(),
        ", exists (\
             select from outbox as earlier \
             where earlier.published_at is null \
               and earlier.entity_id = outbox.entity_id and earlier.id < outbox.id) as is_blocked \
         from unnest($1::bigint[]) with ordinality as wanted (id, place) \
         join outbox using (id) order by place"
    ))
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((Pending::from_row(row)?, row.try_get("is_blocked")?))).collect()
}

/// Notes the new places of rows that JetStream had lost. They were published when they
/// were published first.
///
/// # Errors
///
/// A database error.
pub async fn mark_restored(connection: &mut PgConnection, rows: &[(i64, i64)]) -> sqlx::Result<()> {
    let statement = "update outbox set stream_seq = restored.seq \
         from unnest($1::bigint[], $2::bigint[]) as restored (id, seq) \
         where outbox.id = restored.id and outbox.published_at is not null";
    with_sequences(connection, statement, rows).await
}

/// Has rows wait again that were published once, and are not in the stream.
///
/// # Errors
///
/// A database error.
pub async fn take_back(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("update outbox set published_at = null, stream_seq = null where id = any($1)")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// How full the outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Rows that wait to be published. More than 10,000 are not counted but estimated:
    /// it is never less than there are, and too much by what was published between the
    /// oldest and the newest of them.
    pub backlog: i64,
    /// Age of the oldest of them in seconds that does not stand behind one that was set
    /// aside; 0 when there is none.
    pub age_seconds: i64,
    /// Rows that were set aside.
    pub set_aside: i64,
}

/// Why the oldest row that has failed, and waits, was not taken the last time.
///
/// # Errors
///
/// A database error.
pub async fn last_failure(connection: &mut PgConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select last_error from outbox \
         where published_at is null and set_aside_at is null and attempts > 0 \
         order by id limit 1",
    )
    .fetch_optional(connection)
    .await
    .map(Option::flatten)
}

/// Measures the outbox, by its partial indexes only: published rows stay for
/// days, and are not looked at. To count a million rows takes up to half a second,
/// which is too much to be spent every few seconds while the outbox is in trouble already.
///
/// The order is there for the planner: it counts with the index whatever it believes
/// of the table.
///
/// # Errors
///
/// A database error.
pub async fn depth(connection: &mut PgConnection) -> sqlx::Result<Depth> {
    let (backlog, age_seconds, set_aside) = sqlx::query_as(
        "with waiting as not materialized (\
             select id, occurred_at from outbox where published_at is null and set_aside_at is null\
         ), oldest as (\
             select id from waiting order by id limit 1\
         ), aside as (\
             select from outbox where set_aside_at is not null order by id limit 10001\
         ), oldest_free as (\
             select occurred_at from outbox \
             where published_at is null and set_aside_at is null and not exists (\
                 select from outbox as earlier \
                 where earlier.published_at is null and earlier.set_aside_at is not null \
                   and earlier.entity_id = outbox.entity_id and earlier.id < outbox.id \
                 offset 0) \
             order by id limit 1\
         ), counted as (\
             select count(*) as rows from (select from waiting order by id limit 10001) as first\
         ) \
         select case when rows <= 10000 then rows \
                     else (select id from waiting order by id desc limit 1) \
                          - (select id from oldest) + 1 end, \
                coalesce((select floor(extract(epoch from now() - occurred_at)) \
                          from oldest_free), 0)::bigint, \
                (select count(*) from aside) \
         from counted",
    )
    .fetch_one(connection)
    .await?;
    Ok(Depth { backlog, age_seconds, set_aside })
}
