//! The relay: drains the outbox to JetStream, strictly in order per entity.
//!
//! One connection holds the advisory lock that makes a process the leader, reads
//! the rows and marks them. A process that loses the connection has lost the
//! lock with it, and can mark nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream;
use edd_auth_events::Event;
use futures::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::lock;
use crate::metrics::Metrics;
use crate::outbox;
use crate::statement::within;
use crate::stream;

/// How often a standby asks for the lock.
const STANDBY_INTERVAL: Duration = Duration::from_millis(500);

/// How often the leader looks without having been woken: for a NOTIFY that was
/// lost with its connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How long the backlog is worked on after a shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the relay works with.
pub struct Relay {
    /// Where the outbox is.
    pub database: PgConnectOptions,
    /// Where the events go.
    pub jetstream: jetstream::Context,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Rung when rows were inserted.
    pub wake: Arc<Notify>,
    /// Rung when the connection to NATS is there.
    pub connected: Arc<Notify>,
}

/// Why the relay stopped for now. Every one of them is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database failed; the lock is gone.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// There is no connection to NATS.
    #[error("NATS: not connected")]
    NatsDisconnected,
    /// The stream is missing and could not be created.
    #[error("stream: {0:#}")]
    Stream(anyhow::Error),
    /// JetStream did not acknowledge some events.
    #[error("{failures} of {tried} events were not acknowledged: {first}")]
    Publish {
        /// Events without an acknowledgement.
        failures: usize,
        /// Events that were published.
        tried: usize,
        /// What happened to the first of them.
        first: String,
    },
    /// Another process is the leader.
    #[error("another process is publishing")]
    NotLeader,
}

impl Relay {
    /// Runs until `shutdown`, then works off what is left of the backlog.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !shutdown.is_cancelled() {
            let delay = match self.lead(shutdown, &mut backoff).await {
                Ok(()) => Duration::ZERO,
                Err(RelayError::NotLeader) => STANDBY_INTERVAL,
                Err(error) => {
                    let reason = error.to_string();
                    if backoff.is_news(&reason) {
                        tracing::warn!("relay: {reason}; trying again and again");
                    }
                    backoff.next_delay()
                }
            };
            self.metrics.leader.set(0);
            tokio::select! {
                () = sleep(delay) => {}
                () = self.connected.notified() => backoff.reset(),
                () = shutdown.cancelled() => {}
            }
        }
        // Requests that were in flight have committed their events by now.
        if timeout(DRAIN_TIMEOUT, self.drain_before_exit()).await.is_err() {
            tracing::warn!("relay: stopped with events left in the outbox");
        }
    }

    /// Publishes what there is, unless another process does it.
    async fn drain_before_exit(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.once().await {
                Ok(_) | Err(RelayError::NotLeader) => return,
                Err(error) => {
                    tracing::warn!("relay: {error}");
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Publishes what there is, once.
    ///
    /// # Errors
    ///
    /// [`RelayError`]; what was published before it stays published.
    pub async fn once(&self) -> Result<usize, RelayError> {
        let mut connection = self.elect().await?;
        let published = async {
            self.ensure_stream().await?;
            self.drain(&mut connection, &CancellationToken::new()).await
        }
        .await;
        let _ = within(lock::release(connection)).await;
        published
    }

    /// Leads for as long as nothing goes wrong.
    async fn lead(
        &self,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), RelayError> {
        self.check_nats()?;
        let mut connection = self.elect().await?;
        self.metrics.leader.set(1);
        let led = async {
            self.ensure_stream().await?;
            tracing::info!("relay: this process publishes");
            loop {
                self.drain(&mut connection, shutdown).await?;
                backoff.reset();
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep(POLL_INTERVAL) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
            }
        }
        .await;
        let _ = within(lock::release(connection)).await;
        led
    }

    /// A connection that holds the leader's lock.
    async fn elect(&self) -> Result<PgConnection, RelayError> {
        within(lock::try_acquire(&self.database, lock::RELAY)).await?.ok_or(RelayError::NotLeader)
    }

    async fn ensure_stream(&self) -> Result<(), RelayError> {
        self.check_nats()?;
        stream::ensure(&self.jetstream).await.map_err(RelayError::Stream)
    }

    /// A publish without a connection would be buffered, time out, and be sent
    /// much later.
    fn check_nats(&self) -> Result<(), RelayError> {
        match self.jetstream.client().connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(RelayError::NatsDisconnected),
        }
    }

    /// Publishes batch after batch until the outbox is empty, or `stop`.
    async fn drain(
        &self,
        connection: &mut PgConnection,
        stop: &CancellationToken,
    ) -> Result<usize, RelayError> {
        let mut total = 0;
        loop {
            let rows = within(outbox::pending(connection)).await?;
            if rows.is_empty() || stop.is_cancelled() {
                return Ok(total);
            }
            self.check_nats()?;
            let queues = self.queues(connection, rows).await?;
            total += self.publish(connection, queues).await?;
        }
    }

    /// The events of the rows, a queue for each entity. Rows that are no events
    /// are set aside.
    async fn queues(
        &self,
        connection: &mut PgConnection,
        rows: Vec<outbox::Pending>,
    ) -> Result<Vec<VecDeque<(i64, Event)>>, RelayError> {
        let mut places: HashMap<(&'static str, String), usize> = HashMap::new();
        let mut queues: Vec<VecDeque<(i64, Event)>> = Vec::new();
        for row in rows {
            let id = row.id;
            match Event::from_outbox(row.into()) {
                Ok(event) => {
                    let entity = (event.data.kind().entity(), event.metadata.entity_id.clone());
                    let place = *places.entry(entity).or_insert_with(|| {
                        queues.push(VecDeque::new());
                        queues.len() - 1
                    });
                    queues[place].push_back((id, event));
                }
                Err(error) => {
                    tracing::error!("relay: outbox row {id} is set aside: {error}");
                    within(outbox::set_aside(connection, id, &error.to_string())).await?;
                }
            }
        }
        Ok(queues)
    }

    /// Publishes the queues in waves: one event of each entity is in flight, and
    /// the next one follows when it is acknowledged and marked. Entities don't
    /// wait for each other's failures; an entity waits for its own.
    async fn publish(
        &self,
        connection: &mut PgConnection,
        mut queues: Vec<VecDeque<(i64, Event)>>,
    ) -> Result<usize, RelayError> {
        let (mut published, mut failures, mut first_failure) = (0, 0, None);
        while !queues.is_empty() {
            let wave: Vec<(i64, Event)> =
                queues.iter_mut().filter_map(VecDeque::pop_front).collect();
            let results = join_all(wave.iter().map(|(_, event)| self.publish_one(event))).await;
            let mut acknowledged = Vec::with_capacity(wave.len());
            let mut survivors = Vec::with_capacity(queues.len());
            for (((id, _), result), queue) in wave.iter().zip(results).zip(queues) {
                match result {
                    Ok(sequence) => {
                        acknowledged.push((*id, sequence));
                        survivors.push(queue);
                    }
                    Err(reason) => {
                        failures += 1;
                        self.metrics.publish_failures.inc();
                        within(outbox::mark_failed(connection, *id, &reason)).await?;
                        first_failure.get_or_insert(reason);
                    }
                }
            }
            within(outbox::mark_published(connection, &acknowledged)).await?;
            published += acknowledged.len();
            self.metrics.published.inc_by(acknowledged.len() as u64);
            queues = survivors;
            queues.retain(|queue| !queue.is_empty());
        }
        match first_failure {
            None => Ok(published),
            Some(first) => {
                Err(RelayError::Publish { failures, tried: published + failures, first })
            }
        }
    }

    /// Publishes an event and waits for its sequence in the stream.
    async fn publish_one(&self, event: &Event) -> Result<i64, String> {
        let started = Instant::now();
        let mut headers = HeaderMap::new();
        for (name, value) in event.headers() {
            headers.insert(name, value);
        }
        let payload = event.payload().map_err(|error| error.to_string())?;
        let acknowledgement = self
            .jetstream
            .publish_with_headers(event.subject(), headers, payload.into())
            .await
            .map_err(|error| error.to_string())?
            .await
            .map_err(|error| error.to_string())?;
        self.metrics.publish_seconds.observe(started.elapsed().as_secs_f64());
        i64::try_from(acknowledgement.sequence).map_err(|error| error.to_string())
    }
}
