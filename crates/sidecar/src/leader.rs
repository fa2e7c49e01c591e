//! The leader of the relays: who holds the lock, and for how long it may rely on that.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;

use crate::lock;
use crate::outbox::{self, Page, Pending};
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

    /// See [`outbox::pending`].
    ///
    /// # Errors
    ///
    /// A database error, with which the lock is lost, as with those of all that follow.
    pub async fn pending(&mut self, from: i64, without: &[String]) -> sqlx::Result<Page> {
        let asked = Instant::now();
        let page = within(outbox::pending(&mut self.connection, from, without)).await;
        self.confirm(asked, page)
    }

    /// See [`outbox::newest`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn newest(&mut self, from: i64, without: &[String]) -> sqlx::Result<Vec<Pending>> {
        let asked = Instant::now();
        let rows = within(outbox::newest(&mut self.connection, from, without)).await;
        self.confirm(asked, rows)
    }

    /// See [`outbox::mark_published`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn mark_published(&mut self, rows: &[(i64, i64)]) -> sqlx::Result<()> {
        let asked = Instant::now();
        let marked = within(outbox::mark_published(&mut self.connection, rows)).await;
        self.confirm(asked, marked)
    }

    /// See [`outbox::mark_failed`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn mark_failed(&mut self, rows: &[(i64, String)]) -> sqlx::Result<()> {
        let asked = Instant::now();
        let marked = within(outbox::mark_failed(&mut self.connection, rows)).await;
        self.confirm(asked, marked)
    }

    /// See [`outbox::set_aside`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn set_aside(&mut self, rows: &[(i64, String)]) -> sqlx::Result<()> {
        let asked = Instant::now();
        let set = within(outbox::set_aside(&mut self.connection, rows)).await;
        self.confirm(asked, set)
    }

    /// See [`outbox::lost`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn lost(&mut self, last_sequence: i64) -> sqlx::Result<Vec<i64>> {
        let asked = Instant::now();
        let ids = within(outbox::lost(&mut self.connection, last_sequence)).await;
        self.confirm(asked, ids)
    }

    /// See [`outbox::rows`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn rows(&mut self, ids: &[i64]) -> sqlx::Result<Vec<(Pending, bool)>> {
        let asked = Instant::now();
        let rows = within(outbox::rows(&mut self.connection, ids)).await;
        self.confirm(asked, rows)
    }

    /// See [`outbox::mark_restored`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn mark_restored(&mut self, rows: &[(i64, i64)]) -> sqlx::Result<()> {
        let asked = Instant::now();
        let marked = within(outbox::mark_restored(&mut self.connection, rows)).await;
        self.confirm(asked, marked)
    }

    /// See [`outbox::take_back`].
    ///
    /// # Errors
    ///
    /// A database error.
    pub async fn take_back(&mut self, ids: &[i64]) -> sqlx::Result<()> {
        let asked = Instant::now();
        let taken = within(outbox::take_back(&mut self.connection, ids)).await;
        self.confirm(asked, taken)
    }

    fn confirm<T>(&mut self, asked: Instant, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.is_ok() {
            self.confirmed = asked;
        }
        result
    }
}
