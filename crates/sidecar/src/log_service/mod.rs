//! The log service: another program that gets a copy of this process's log
//! records, best effort, and every row of the audit log, at least once.
//!
//! Nothing waits for it. Records go through a [`Queue`] that forgets its oldest
//! when it is full; audit rows wait in the database until the service has
//! acknowledged them.
//!
//! The connection is not encrypted: the flag is for a private network.

mod audit;
mod client;
mod contract;
mod layer;
mod own;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

pub use audit::unpushed;
pub use layer::QueueLayer;
pub use queue::Queue;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use client::Client;

/// How long what waits is worked on after a shutdown was asked for.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A log service that was asked for, and the records that wait for it.
pub struct LogService {
    endpoint: Endpoint,
    queue: Arc<Queue>,
}

impl LogService {
    /// Nothing is connected yet, and nothing fails when nobody is there.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, queue: Arc::default() }
    }

    /// What [`QueueLayer`] fills. It is there before anything runs, so that the
    /// first record gets in.
    #[must_use]
    pub fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

/// The tasks that push.
pub struct Pushers {
    service: LogService,
    metrics: Arc<Metrics>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Pushers {
    /// Pushes this process's own records from now on.
    #[must_use]
    pub fn start(service: LogService, metrics: Arc<Metrics>) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let client = Client::new("log records", service.endpoint.clone(), Arc::clone(&metrics));
        tasks.spawn(own::push(service.queue(), client, stop.clone()));
        Self { service, metrics, tasks, stop }
    }

    /// Pushes audit rows, too. The database must have its schema.
    pub fn add_audit(&mut self, database: PgConnectOptions) {
        let endpoint = self.service.endpoint.clone();
        let client = Client::new("audit rows", endpoint, Arc::clone(&self.metrics));
        self.tasks.spawn(audit::push(database, client, self.stop.clone()));
    }

    /// Lets the tasks finish, but not for long. Audit rows that are left wait in
    /// the database for the next start, or for another process.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(FLUSH_TIMEOUT, finished).await;
        let left = self.service.queue.len();
        if left > 0 {
            tracing::warn!("log service: stopped with {left} log records that it has not got");
        }
    }
}

/// Waits before another try. The request to stop ends the wait, and makes the
/// next ones short: there is little time left.
async fn pause(backoff: &mut Backoff, stop: &CancellationToken) {
    let delay = backoff.next_delay();
    if stop.is_cancelled() {
        sleep(delay).await;
        return;
    }
    tokio::select! {
        () = sleep(delay) => {}
        () = stop.cancelled() => backoff.reset(),
    }
}
