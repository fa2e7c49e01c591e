//! Advisory locks: of many processes, one does a task.
//!
//! A lock belongs to a connection, and a task works through the connection that
//! holds its lock: who loses one has lost the other.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use crate::statement::TIMEOUT;

/// Publishing events: "`edd_auth`" in ASCII. Locks are per database.
pub const RELAY: i64 = 0x6564_645f_6175_7468;

/// Removing what is too old.
pub const HOUSEKEEPING: i64 = RELAY + 1;

/// Pushing audit rows to the log service.
pub const LOG_SERVICE: i64 = RELAY + 2;

/// Creating roles, and granting.
pub const ROLES: i64 = RELAY + 3;

/// After how long without a statement PostgreSQL ends a connection that holds a lock,
/// and gives the lock to whoever asks next. A process that was stopped looks alive to
/// the network, and would keep its lock for as long as it is stopped. Whoever holds a
/// lock says something more often than that.
pub const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// After how long PostgreSQL ends a statement of such a connection: before nobody waits for
/// it any more (`statement::TIMEOUT`). It would go on to wait for a lock on a row, and keep
/// the lock of the task, for a client that is gone.
const STATEMENT_LIMIT: Duration = TIMEOUT.saturating_sub(Duration::from_secs(1));

/// A new connection that holds a lock; `None` while another process holds it.
/// [`release`] gives the lock back, and the end of the connection does, a while later.
///
/// The server gives a connection up whose machine does not answer for some 20 seconds;
/// the defaults of most systems are hours.
///
/// # Errors
///
/// A database error.
pub async fn try_acquire(
    database: &PgConnectOptions,
    lock: i64,
) -> sqlx::Result<Option<PgConnection>> {
    let mut connection = database.connect().await?;
    let acquired: bool = sqlx::query_scalar(
        "select pg_try_advisory_lock($1), \
                set_config('idle_session_timeout', $2, false), \
                set_config('statement_timeout', $3, false), \
                set_config('tcp_keepalives_idle', '10', false), \
                set_config('tcp_keepalives_interval', '5', false), \
                set_config('tcp_keepalives_count', '2', false), \
                set_config('tcp_user_timeout', '20s', false)",
    )
    .bind(lock)
    .bind(format!("{}s", IDLE_LIMIT.as_secs()))
    .bind(format!("{}s", STATEMENT_LIMIT.as_secs()))
    .fetch_one(&mut connection)
    .await?;
    if acquired {
        return Ok(Some(connection));
    }
    let _ = connection.close().await;
    Ok(None)
}

/// Gives a lock back. The server ends a session some time after its connection was
/// closed, and who asks for the lock meanwhile would be told that somebody has it.
///
/// # Errors
///
/// A database error, with which the lock is given back as well.
pub async fn release(mut connection: PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut connection).await?;
    connection.close().await
}
