//! The relay: drains the outbox to JetStream, strictly in order per entity.
//!
//! One process leads ([`crate::leader`]), through a connection to NATS that is never
//! used again once it was lost ([`crate::stream`]). Before it publishes anything new, it
//! publishes again what JetStream has acknowledged and lost.

mod cooling;
mod restore;
mod servers;
mod wave;

use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::cooling::Cooling;
use self::servers::Servers;
use crate::backoff::Backoff;
use crate::causes::with_causes;
use crate::leader::Leader;
use crate::metrics::Metrics;
use crate::nats::Nats;
use crate::outbox;
use crate::publish::Publisher;
use crate::stream::{self, Link};

/// How often a standby asks for the lock.
const STANDBY_INTERVAL: Duration = Duration::from_millis(500);

/// How often the leader looks without having been woken: for a NOTIFY that was
/// lost with its connection. And so often PostgreSQL hears of it, which would end its
/// connection otherwise.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How long the backlog is worked on after a shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the relay works with.
pub struct Relay {
    /// Where the outbox is.
    pub database: PgConnectOptions,
    /// Where the events go.
    pub nats: Nats,
    /// The name of this process, for NATS.
    pub program: &'static str,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Rung when rows were inserted.
    pub wake: Arc<Notify>,
}

/// Why the relay stopped for now. Every one of them is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database failed; the lock is gone.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// There is no connection to NATS.
    #[error("NATS: no connection: {}", with_causes(.0))]
    Nats(anyhow::Error),
    /// There is none any more, which the link has told.
    #[error("NATS: disconnected")]
    Disconnected,
    /// The stream is missing and could not be created.
    #[error("stream: {}", with_causes(.0))]
    Stream(anyhow::Error),
    /// Events were not acknowledged.
    #[error("events were not acknowledged: {reason}")]
    Unacknowledged {
        /// What happened to the first of them.
        reason: String,
        /// Whether JetStream has answered.
        is_answered: bool,
    },
    /// A new event got a sequence that an older one had.
    #[error("the stream has lost events that it had acknowledged")]
    StreamWentBack,
    /// Another process is the leader.
    #[error("another process is publishing")]
    NotLeader,
}

impl Relay {
    /// Runs until `shutdown`, then works off what is left of the backlog.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::default();
        let mut servers = Servers::new(self.nats.servers());
        let mut link = None;
        while !shutdown.is_cancelled() {
            let delay = match self.lead(&mut link, &mut servers, shutdown, &mut backoff).await {
                Ok(()) => Duration::ZERO,
                Err(RelayError::NotLeader) => STANDBY_INTERVAL,
                Err(error) => {
                    let reason = error.to_string();
                    match error {
                        // The link has said it already.
                        RelayError::Disconnected => {}
                        _ if !backoff.is_news(&reason) => {}
                        RelayError::Nats(_) => {
                            tracing::warn!("{reason}; trying again and again");
                        }
                        _ => tracing::warn!("relay: {reason}; trying again and again"),
                    }
                    if !error.leaves_link() {
                        link = None;
                    }
                    backoff.next_delay()
                }
            };
            self.metrics.leader.set(0);
            tokio::select! {
                () = sleep(delay) => {}
                () = shutdown.cancelled() => {}
            }
        }
        drop(link);
        // Requests that were in flight have committed their events by now.
        if timeout(DRAIN_TIMEOUT, self.drain_before_exit(&mut servers)).await.is_err() {
            tracing::warn!("relay: stopped with events left in the outbox");
        }
    }

    /// Publishes what there is, unless another process does it.
    async fn drain_before_exit(&self, servers: &mut Servers) {
        let mut backoff = Backoff::default();
        loop {
            match self.once_through(&[servers.next()]).await {
                Ok(_) | Err(RelayError::NotLeader) => return,
                Err(error) => {
                    tracing::warn!("relay: {error}");
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Publishes what there is, once. Returns how many events that were.
    ///
    /// # Errors
    ///
    /// [`RelayError`]; what was published before it stays published.
    pub async fn once(&self) -> Result<usize, RelayError> {
        self.once_through(self.nats.servers()).await
    }

    async fn once_through(&self, servers: &[ServerAddr]) -> Result<usize, RelayError> {
        let link = self.open(servers).await?;
        let mut leader = self.elect().await?;
        let (never, mut cooling) = (CancellationToken::new(), Cooling::default());
        let published = async {
            let mut publisher = self.publisher(&mut leader, &link, &never).await?;
            self.drain(&mut leader, &mut publisher, &mut cooling, &never).await
        }
        .await;
        leader.resign().await;
        match cooling.reason_of_those_left() {
            Some(reason) => published.and(Err(unacknowledged(reason))),
            None => published,
        }
    }

    /// Leads for as long as nothing goes wrong. Opens a link where there is none.
    async fn lead(
        &self,
        link: &mut Option<Link>,
        servers: &mut Servers,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), RelayError> {
        if link.as_ref().is_none_or(Link::is_lost) {
            // The old one ends before there is a new one.
            *link = None;
        }
        let ready = async {
            let link = match link {
                Some(link) => link,
                None => link.insert(self.open(&[servers.next()]).await?),
            };
            Ok::<_, RelayError>((link, self.elect().await?))
        };
        // Nothing was begun that can't be dropped.
        let (link, mut leader) = tokio::select! {
            ready = ready => ready?,
            () = shutdown.cancelled() => return Ok(()),
        };
        self.metrics.leader.set(1);
        let led = async {
            let mut publisher = self.publisher(&mut leader, link, shutdown).await?;
            servers.learn(link.servers());
            tracing::info!("relay: this process publishes");
            let mut cooling = Cooling::default();
            while !link.is_lost() {
                self.drain(&mut leader, &mut publisher, &mut cooling, shutdown).await?;
                backoff.reset();
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep(POLL_INTERVAL) => {}
                    () = link.lost.cancelled() => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
            }
            Err(RelayError::Disconnected)
        }
        .await;
        leader.resign().await;
        led
    }

    async fn open(&self, servers: &[ServerAddr]) -> Result<Link, RelayError> {
        let metrics = Arc::clone(&self.metrics);
        Link::open(&self.nats, servers, self.program, metrics).await.map_err(RelayError::Nats)
    }

    async fn elect(&self) -> Result<Leader, RelayError> {
        Leader::elect(&self.database).await?.ok_or(RelayError::NotLeader)
    }

    /// Sees to it that the stream is there, and that nothing of it is missing at its end.
    async fn publisher<'a>(
        &'a self,
        leader: &mut Leader,
        link: &'a Link,
        stop: &CancellationToken,
    ) -> Result<Publisher<'a>, RelayError> {
        let stream = stream::ensure(&link.jetstream).await.map_err(RelayError::Stream)?;
        let last_sequence = stream.state.last_sequence;
        let mut publisher = Publisher::new(link, stream, &self.metrics);
        // Sequences are positive; a database holds them as signed numbers.
        let lost = leader
            .ask(async |connection| outbox::lost(connection, last_sequence.cast_signed()).await)
            .await?;
        if !lost.is_empty() {
            tracing::warn!(
                "JetStream: the stream ends at {last_sequence} and has lost {} events that it had \
                 acknowledged; they are published again",
                lost.len()
            );
            self.restore(leader, &mut publisher, &lost, stop).await?;
        }
        Ok(publisher)
    }

    /// Publishes batch after batch until nothing is left that may be published, or `stop`.
    async fn drain(
        &self,
        leader: &mut Leader,
        publisher: &mut Publisher<'_>,
        cooling: &mut Cooling,
        stop: &CancellationToken,
    ) -> Result<usize, RelayError> {
        let (mut total, mut from) = (0, 0);
        while !stop.is_cancelled() {
            let without = cooling.entities();
            let page = leader
                .ask(async |connection| outbox::pending(connection, from, &without).await)
                .await?;
            let mut rows = page.rows;
            if let Some(next) = page.next {
                rows.extend(
                    leader
                        .ask(async |connection| outbox::newest(connection, next, &without).await)
                        .await?,
                );
                from = next;
            } else if rows.is_empty() {
                return Ok(total);
            }
            if rows.is_empty() {
                continue;
            }
            from = 0;
            let queues = self.queues(leader, rows).await?;
            total += self.publish(leader, publisher, queues, cooling, stop).await?;
        }
        Ok(total)
    }
}

impl RelayError {
    /// Whether nothing is wrong with the connection to NATS, and nothing that may be in
    /// it still.
    fn leaves_link(&self) -> bool {
        match self {
            Self::Database(_) | Self::StreamWentBack | Self::NotLeader => true,
            Self::Unacknowledged { is_answered, .. } => *is_answered,
            Self::Nats(_) | Self::Disconnected | Self::Stream(_) => false,
        }
    }
}

/// For an answer of JetStream.
fn unacknowledged(reason: String) -> RelayError {
    RelayError::Unacknowledged { reason, is_answered: true }
}
