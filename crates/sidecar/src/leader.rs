//! The leader of the relays: who holds the lock, and for how long it may rely on that.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;

use crate::lock;
use crate::statement::within;

/// How long after the last statement nobody else can hold the lock: half of what
/// PostgreSQL waits before it ends the connection. What was handed to NATS at the end of
/// it has the other half to get there.
pub const LEASE: Duration = Duration::from_secs(lock::IDLE_LIMIT.as_secs() / 2);

/// The connection that holds the leader's lock. All that the relay knows of the outbox
/// it reads through it, and all that it writes, so who has lost the lock can mark
/// nothing; and [`Leader::certain_until`] stops who may have lost it without knowing.
pub struct Leader {
    connection: PgConnection,
    /// When the last statement was sent that has been answered.
    confirmed: Instant,
}

impl Leader {
    /// Takes the lock; `None` while another process has it.
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn elect(database: &PgConnectOptions) -> sqlx::Result<Option<Self>> {
        let confirmed = Instant::now();
        let connection = within(lock::try_acquire(database, lock::RELAY)).await?;
        Ok(connection.map(|connection| Self { connection, confirmed }))
    }

    /// Until when nobody else can hold the lock. The clock goes on while a process is
    /// stopped.
    #[must_use]
    pub fn certain_until(&self) -> Instant {
        self.confirmed + LEASE
    }

    /// Gives the lock back.
    pub async fn resign(self) {
        // A connection that fails has no lock.
        let _ = within(lock::release(self.connection)).await;
    }

    /// Runs a statement on the outbox, which may not take for ever.
    ///
    /// # Errors
    ///
    /// A database error, with which the lock is lost.
    pub async fn ask<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let asked = Instant::now();
        let answer = within(statement(&mut self.connection)).await?;
        self.confirmed = asked;
        Ok(answer)
    }
}
