//! Rows on their way to the stream: one event of each entity at a time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use edd_auth_events::Event;
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cooling, Relay, RelayError, unacknowledged};
use crate::leader::Leader;
use crate::outbox::{self, Pending};
use crate::publish::{Fate, Publisher};

/// How long the rows of a batch are published before the outbox is looked at again: for
/// those who came meanwhile, when an entity has many events.
const TURN: Duration = Duration::from_secs(1);

/// An event that waits, with the id of its row.
pub(super) type Waiting = (i64, Event);

/// What became of a wave.
#[derive(Default)]
struct Outcome {
    /// Rows, and their sequences.
    stored: Vec<(i64, i64)>,
    /// Rows that JetStream refuses for good, and why.
    refused: Vec<(i64, String)>,
    /// Rows that are tried again, and why.
    failed: Vec<(i64, String)>,
}

impl Relay {
    /// The events of the rows, a queue for each entity. Rows that are no events
    /// are set aside, and what stands behind them waits.
    pub(super) async fn queues(
        &self,
        leader: &mut Leader,
        rows: Vec<Pending>,
    ) -> Result<Vec<VecDeque<Waiting>>, RelayError> {
        let mut places: HashMap<String, Option<usize>> = HashMap::new();
        let mut queues: Vec<VecDeque<Waiting>> = Vec::new();
        let mut refused = Vec::new();
        for row in rows {
            let (id, entity) = (row.id, row.entity_id.clone());
            let place = places.entry(entity).or_insert_with(|| {
                queues.push(VecDeque::new());
                Some(queues.len() - 1)
            });
            // Behind one that was set aside just now.
            let Some(queue) = *place else { continue };
            match Event::from_outbox(row.into()) {
                Ok(event) => queues[queue].push_back((id, event)),
                Err(error) => {
                    refused.push((id, error.to_string()));
                    *place = None;
                }
            }
        }
        self.set_aside(leader, &refused).await?;
        queues.retain(|queue| !queue.is_empty());
        Ok(queues)
    }

    /// Gives rows up, and says so.
    pub(super) async fn set_aside(
        &self,
        leader: &mut Leader,
        rows: &[(i64, String)],
    ) -> Result<(), RelayError> {
        if rows.is_empty() {
            return Ok(());
        }
        leader.ask(async |connection| outbox::set_aside(connection, rows).await).await?;
        self.metrics.rows_set_aside.inc_by(rows.len() as u64);
        for (id, reason) in rows {
            tracing::error!(
                "relay: outbox row {id} is set aside: {reason}; see `auth-sidecar status`"
            );
        }
        Ok(())
    }

    /// Publishes the queues in waves: one event of each entity is in flight, and
    /// the next one follows when it is acknowledged and marked. Entities don't
    /// wait for each other's failures; an entity waits for its own. Returns how many events
    /// were stored.
    pub(super) async fn publish(
        &self,
        leader: &mut Leader,
        publisher: &mut Publisher<'_>,
        mut queues: Vec<VecDeque<Waiting>>,
        cooling: &mut Cooling,
        stop: &CancellationToken,
    ) -> Result<usize, RelayError> {
        let (started, mut count) = (Instant::now(), 0);
        while !queues.is_empty() && started.elapsed() < TURN && !stop.is_cancelled() {
            let wave: Vec<Waiting> = queues.iter_mut().filter_map(VecDeque::pop_front).collect();
            let until = leader.certain_until();
            let sent = wave.iter().map(|(_, event)| publisher.publish(until, event));
            let fates = join_all(sent).await;
            if let Some(first) = publisher.replaced(&fates) {
                return Err(self.take_back(leader, first).await?);
            }
            let mut outcome = Outcome::default();
            let mut survivors = Vec::with_capacity(queues.len());
            let mut unanswered = None;
            for (((id, event), fate), queue) in wave.into_iter().zip(fates).zip(queues) {
                match fate {
                    Fate::Stored { sequence, .. } => {
                        // Sequences are positive; a database holds them as signed numbers.
                        outcome.stored.push((id, sequence.cast_signed()));
                        survivors.push(queue);
                    }
                    Fate::Refused(reason) => outcome.refused.push((id, reason)),
                    Fate::Unknown { reason, is_answered } => {
                        if is_answered {
                            cooling.add(event.metadata.entity_id, &reason);
                        } else {
                            unanswered.get_or_insert_with(|| reason.clone());
                        }
                        outcome.failed.push((id, reason));
                    }
                }
            }
            let noted = self.note(leader, &outcome).await;
            if let Some(reason) = unanswered {
                return Err(RelayError::Unacknowledged { reason, is_answered: false });
            }
            noted?;
            count += outcome.stored.len();
            if cooling.is_full() {
                return Err(unacknowledged(cooling.reason.clone().unwrap_or_default()));
            }
            queues = survivors;
            queues.retain(|queue| !queue.is_empty());
        }
        Ok(count)
    }

    /// Writes down what became of a wave.
    async fn note(&self, leader: &mut Leader, outcome: &Outcome) -> Result<(), RelayError> {
        leader
            .ask(async |connection| outbox::mark_published(connection, &outcome.stored).await)
            .await?;
        self.metrics.published.inc_by(outcome.stored.len() as u64);
        self.set_aside(leader, &outcome.refused).await?;
        if !outcome.failed.is_empty() {
            self.metrics.publish_failures.inc_by(outcome.failed.len() as u64);
            leader
                .ask(async |connection| outbox::mark_failed(connection, &outcome.failed).await)
                .await?;
        }
        Ok(())
    }
}
