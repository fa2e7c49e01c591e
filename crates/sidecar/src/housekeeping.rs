//! Housekeeping: sessions whose time is over end, rows that are too old go.
//!
//! In batches, each a transaction of its own, so that no lock is held for long;
//! and never waiting for a row that somebody else is working on, since the next
//! round will find what is left.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::query::Query;
use tokio::time::sleep;

use crate::lock;
use crate::metrics::Metrics;
use crate::statement::within;

/// How often it is done.
const INTERVAL: Duration = Duration::from_secs(10);

/// Rows of a batch.
const BATCH: i64 = 500;

/// How long a token stays in its owner's list after it has expired, in days.
const EXPIRED_TOKEN_DAYS: i32 = 30;

/// How long rows are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Days that a published event stays in the outbox. A day longer than in the
    /// stream, so that what the stream loses can be published again.
    pub outbox_days: u16,
    /// Days that a row stays in the audit log.
    pub audit_days: u16,
    /// Whether a row stays longer when the log service has not got it yet.
    pub unpushed_audit: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { outbox_days: 8, audit_days: 90, unpushed_audit: false }
    }
}

/// How long a network stays known after the last login from there, in days.
const KNOWN_NETWORK_DAYS: i32 = 30;

/// How long wrong passwords are remembered, in days: longer than they count.
const THROTTLE_DAYS: i32 = 1;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Sessions that had expired. Each has its event now.
    pub sessions: u64,
    /// Published events.
    pub outbox: u64,
    /// Rows of the audit log.
    pub audit: u64,
    /// Tokens that had expired long ago.
    pub tokens: u64,
    /// Networks that nobody has logged in from for long.
    pub networks: u64,
    /// Counts of wrong passwords that count no more.
    pub throttle: u64,
}

/// Ends expired sessions as every session ends: with its event.
const SESSIONS: &str = "\
    with expired as (\
        select id from sessions where expires_at <= now() \
        order by expires_at limit $1 for update skip locked\
    ), ended as (\
        delete from sessions using expired, users \
        where sessions.id = expired.id and users.id = sessions.user_id \
        returning sessions.id, users.id as user_id, users.public_id\
    ) \
    insert into outbox (kind, entity_id, data) \
    select 'SessionInvalidated', id, jsonb_build_object(\
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'expired') \
    from ended";

const OUTBOX: &str = "\
    delete from outbox where id in (\
        select id from outbox where published_at < now() - make_interval(days => $2) \
        order by published_at limit $1 for update skip locked)";

const AUDIT: &str = "\
    delete from audit_log where id in (\
        select id from audit_log \
        where occurred_at < now() - make_interval(days => $2) \
          and (pushed_at is not null or not $3) \
        order by occurred_at limit $1 for update skip locked)";

const TOKENS: &str = "\
    delete from api_tokens where id in (\
        select id from api_tokens where expires_at < now() - make_interval(days => $2) \
        order by expires_at limit $1 for update skip locked)";

const NETWORKS: &str = "\
    delete from known_networks where (user_id, network) in (\
        select user_id, network from known_networks \
        where last_login_at < now() - make_interval(days => $2) \
        order by last_login_at limit $1 for update skip locked)";

const THROTTLE: &str = "\
    delete from login_throttle where key in (\
        select key from login_throttle where last_at < now() - make_interval(days => $2) \
        order by last_at limit $1 for update skip locked)";

/// Does it again and again, whenever no other process does.
pub async fn run(database: PgConnectOptions, retention: Retention, metrics: Arc<Metrics>) {
    loop {
        if let Err(error) = keep_house(&database, retention, &metrics).await {
            metrics.housekeeping_failures.inc();
            tracing::warn!("housekeeping: {error}");
        }
        sleep(INTERVAL).await;
    }
}

/// Does it for as long as this process holds the lock and nothing goes wrong.
async fn keep_house(
    database: &PgConnectOptions,
    retention: Retention,
    metrics: &Metrics,
) -> sqlx::Result<()> {
    let acquired = within(lock::try_acquire(database, lock::HOUSEKEEPING)).await?;
    let Some(mut connection) = acquired else {
        return Ok(());
    };
    loop {
        let removed = sweep(&mut connection, retention).await?;
        metrics.housekeeping_done(&removed);
        if removed != Removed::default() {
            tracing::debug!("housekeeping: {removed:?}");
        }
        sleep(INTERVAL).await;
    }
}

/// Does it once, until nothing is left to do.
///
/// # Errors
///
/// A database error; what was removed before it stays removed.
pub async fn sweep(connection: &mut PgConnection, retention: Retention) -> sqlx::Result<Removed> {
    let (outbox_days, audit_days) =
        (i32::from(retention.outbox_days), i32::from(retention.audit_days));
    let query = |sql| sqlx::query(sql).bind(BATCH);
    Ok(Removed {
        sessions: in_batches(connection, || query(SESSIONS)).await?,
        outbox: in_batches(connection, || query(OUTBOX).bind(outbox_days)).await?,
        audit: in_batches(connection, || {
            query(AUDIT).bind(audit_days).bind(retention.unpushed_audit)
        })
        .await?,
        tokens: in_batches(connection, || query(TOKENS).bind(EXPIRED_TOKEN_DAYS)).await?,
        networks: in_batches(connection, || query(NETWORKS).bind(KNOWN_NETWORK_DAYS)).await?,
        throttle: in_batches(connection, || query(THROTTLE).bind(THROTTLE_DAYS)).await?,
    })
}

async fn in_batches(
    connection: &mut PgConnection,
    batch: impl Fn() -> Query<'static, Postgres, PgArguments>,
) -> sqlx::Result<u64> {
    let mut total = 0;
    loop {
        let rows = within(batch().execute(&mut *connection)).await?.rows_affected();
        total += rows;
        if rows < BATCH.unsigned_abs() {
            return Ok(total);
        }
    }
}
