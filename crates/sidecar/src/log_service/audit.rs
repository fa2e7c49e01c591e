//! Pushes audit rows, at least once.
//!
//! As in the relay, one connection holds the advisory lock that makes a process
//! the one that pushes, reads the rows and marks them.

use std::collections::BTreeMap;
use std::time::Duration;

use edd_auth_events::SOURCE;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{FromRow, PgConnection, Row};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::{Client, NotAcknowledged};
use super::contract::{LogEntry, LogLevel};
use super::pause;
use crate::backoff::Backoff;
use crate::lock;
use crate::statement::within;

/// Rows that are read, and marked, at once.
const BATCH: i64 = 100;

/// How often the table is looked at, and a standby asks for the lock.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long rows are pushed before those that were acknowledged are marked: so often
/// PostgreSQL hears of this connection, which it would end otherwise.
const MARK_INTERVAL: Duration = Duration::from_secs(lock::IDLE_LIMIT.as_secs() / 4);

/// How long the row in flight may take after a stop was asked for; the rows
/// before it are still to be marked.
const LAST_ROW_TIMEOUT: Duration = Duration::from_secs(1);

/// Attributes beside `audit`: the name of each, and its column.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("action", "action"),
    ("outcome", "outcome"),
    ("actor", "actor"),
    ("client_ip", "ip_address"),
    ("request_id", "request_id"),
    ("resource", "resource"),
    ("reason", "reason"),
    ("user_agent", "user_agent"),
];

/// Why pushing stopped for now. Every one of them is tried again.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    /// The database failed; the lock is gone.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The log service has not taken a row.
    #[error(transparent)]
    NotAcknowledged(#[from] NotAcknowledged),
}

/// Pushes until `stop`, whatever is away meanwhile.
pub(super) async fn push(database: PgConnectOptions, mut client: Client, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        match lead(&database, &mut client, &mut backoff, &stop).await {
            Ok(()) => idle(&stop).await,
            Err(error) => {
                // The client has said what there is to say about itself.
                if !matches!(error, AuditError::NotAcknowledged(_)) {
                    tracing::warn!("log service: audit rows: {error}; trying again");
                }
                pause(&mut backoff, &stop).await;
            }
        }
    }
}

/// Pushes for as long as nothing goes wrong; returns at once while another
/// process does it. An error gives the lock up: another process may be able to
/// reach the log service.
async fn lead(
    database: &PgConnectOptions,
    client: &mut Client,
    backoff: &mut Backoff,
    stop: &CancellationToken,
) -> Result<(), AuditError> {
    let Some(mut connection) = within(lock::try_acquire(database, lock::LOG_SERVICE)).await? else {
        return Ok(());
    };
    let result = async {
        while !stop.is_cancelled() {
            let rows = within(pending(&mut connection)).await?;
            if rows.is_empty() {
                idle(stop).await;
            } else {
                push_batch(&mut connection, client, rows, stop).await?;
            }
            backoff.reset();
        }
        Ok(())
    }
    .await;
    let _ = within(lock::release(connection)).await;
    result
}

async fn idle(stop: &CancellationToken) {
    tokio::select! {
        () = sleep(POLL_INTERVAL) => {}
        () = stop.cancelled() => {}
    }
}

/// Pushes rows one after the other, so that they arrive in their order, and marks
/// those that were acknowledged, also when a later one was not, or takes too long. A
/// crash in between pushes them again.
async fn push_batch(
    connection: &mut PgConnection,
    client: &mut Client,
    rows: Vec<AuditRow>,
    stop: &CancellationToken,
) -> Result<(), AuditError> {
    let mut acknowledged = Vec::with_capacity(rows.len());
    let mut result = Ok(());
    let started = Instant::now();
    for row in rows {
        if stop.is_cancelled() || started.elapsed() >= MARK_INTERVAL {
            break;
        }
        tokio::select! {
            pushed = client.push(row.entry) => result = pushed,
            () = last_row_is_over(stop) => break,
        }
        if result.is_err() {
            break;
        }
        acknowledged.push(row.id);
    }
    within(mark_pushed(connection, &acknowledged)).await?;
    Ok(result?)
}

async fn last_row_is_over(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(LAST_ROW_TIMEOUT).await;
}

/// A row that waits to be pushed.
struct AuditRow {
    id: i64,
    entry: LogEntry,
}

impl FromRow<'_, PgRow> for AuditRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (action, outcome): (&str, &str) = (row.try_get("action")?, row.try_get("outcome")?);
        let level = if outcome == "success" { LogLevel::Info } else { LogLevel::Warn };
        let mut attributes = BTreeMap::from([("audit".to_owned(), "true".to_owned())]);
        for (name, column) in ATTRIBUTES {
            if let Some(value) = row.try_get(column)? {
                attributes.insert(name.to_owned(), value);
            }
        }
        Ok(Self {
            id: row.try_get("id")?,
            entry: LogEntry {
                source: SOURCE.to_owned(),
                level: level.into(),
                message: format!("{action} {outcome}"),
                timestamp: row.try_get("occurred_at_unix")?,
                attributes,
            },
        })
    }
}

/// The oldest rows that wait, chosen by their state as those of the outbox.
async fn pending(connection: &mut PgConnection) -> sqlx::Result<Vec<AuditRow>> {
    sqlx::query_as(
        "select id, floor(extract(epoch from occurred_at))::bigint as occurred_at_unix, \
                actor, action, outcome, reason, resource, ip_address, request_id, user_agent \
         from audit_log \
         where pushed_at is null \
         order by id \
         limit $1",
    )
    .bind(BATCH)
    .fetch_all(connection)
    .await
}

async fn mark_pushed(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "update audit_log set pushed_at = now() where id = any ($1::bigint[]) and pushed_at is null",
    )
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// How many rows wait, counted by the partial index.
///
/// # Errors
///
/// A database error.
pub async fn unpushed(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from audit_log where pushed_at is null")
        .fetch_one(connection)
        .await
}
