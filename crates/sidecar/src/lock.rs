//! Advisory locks: of many processes, one does a task.
//!
//! A lock belongs to a connection, and a task works through the connection that
//! holds its lock: who loses one has lost the other.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

/// Publishing events: "`edd_auth`" in ASCII. Locks are per database.
pub const RELAY: i64 = 0x6564_645f_6175_7468;

/// Removing what is too old.
pub const HOUSEKEEPING: i64 = RELAY + 1;

/// Pushing audit rows to the log service.
pub const LOG_SERVICE: i64 = RELAY + 2;

/// Creating roles, and granting.
pub const ROLES: i64 = RELAY + 3;

/// A new connection that holds a lock; `None` while another process holds it.
/// [`release`] gives the lock back, and the end of the connection does, a while later.
///
/// # Errors
///
/// A database error.
pub async fn try_acquire(
    database: &PgConnectOptions,
    lock: i64,
) -> sqlx::Result<Option<PgConnection>> {
    let mut connection = database.connect().await?;
    let acquired: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(lock)
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
