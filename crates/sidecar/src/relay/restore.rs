//! What JetStream has acknowledged and lost.

use std::collections::HashSet;
use std::time::Duration;

use edd_auth_events::Event;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Relay, RelayError};
use crate::leader::{LEASE, Leader};
use crate::outbox::{self, Pending};
use crate::publish::{Fate, Publisher};

/// Most events that are published before they are marked.
const AT_ONCE: usize = 100;

/// Longest time that passes before they are.
const AT_ONCE_TIME: Duration = Duration::from_secs(LEASE.as_secs() / 2);

/// How often it is said how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What became of some lost events.
#[derive(Default)]
struct Restored {
    /// The last row that was looked at.
    last: Option<i64>,
    /// Rows, and their sequences.
    stored: Vec<(i64, i64)>,
    /// Rows that JetStream refuses by now, and why.
    refused: Vec<(i64, String)>,
    /// These, and rows behind one of their entity that waits.
    behind: Vec<i64>,
    /// Why it ended early.
    failure: Option<RelayError>,
}

impl Relay {
    /// Publishes again what JetStream has lost, one by one in the order that it had: so
    /// each event gets the sequence that it had, unless there was one between that nobody
    /// had marked, and what consumers know of the stream stays right. What JetStream refuses
    /// by now is set aside, and later events of the entity wait again.
    pub(super) async fn restore(
        &self,
        leader: &mut Leader,
        publisher: &mut Publisher<'_>,
        mut lost: &[i64],
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let (all, mut said) = (lost.len(), Instant::now());
        while !lost.is_empty() && !stop.is_cancelled() {
            if said.elapsed() >= PROGRESS_INTERVAL {
                said = Instant::now();
                tracing::info!("relay: {} of {all} lost events are back", all - lost.len());
            }
            let some = lost.len().min(AT_ONCE);
            let rows = leader
                .ask(async |connection| outbox::rows(connection, &lost[..some]).await)
                .await?;
            let restored = self.restore_some(leader, publisher, rows).await?;
            leader
                .ask(async |connection| outbox::mark_restored(connection, &restored.stored).await)
                .await?;
            self.metrics.lost.inc_by(restored.stored.len() as u64);
            if !restored.behind.is_empty() {
                leader
                    .ask(async |connection| outbox::take_back(connection, &restored.behind).await)
                    .await?;
                self.set_aside(leader, &restored.refused).await?;
            }
            if let Some(failure) = restored.failure {
                return Err(failure);
            }
            // Rows may be gone by now.
            let place = lost.iter().position(|id| Some(*id) == restored.last);
            lost = &lost[place.map_or(some, |place| place + 1)..];
        }
        Ok(())
    }

    /// Ends before the second event of an entity: that follows when the first is marked.
    async fn restore_some(
        &self,
        leader: &mut Leader,
        publisher: &mut Publisher<'_>,
        rows: Vec<(Pending, bool)>,
    ) -> Result<Restored, RelayError> {
        let (started, until) = (Instant::now(), leader.certain_until());
        let mut restored = Restored::default();
        let mut seen = HashSet::new();
        for (row, is_blocked) in rows {
            let id = row.id;
            if started.elapsed() >= AT_ONCE_TIME || !seen.insert(row.entity_id.clone()) {
                break;
            }
            restored.last = Some(id);
            if is_blocked {
                restored.behind.push(id);
                continue;
            }
            let fate = match Event::from_outbox(row.into()) {
                Ok(event) => publisher.publish(until, &event).await,
                Err(error) => Fate::Refused(error.to_string()),
            };
            if let Some(first) = publisher.replaced(std::slice::from_ref(&fate)) {
                restored.failure = Some(self.take_back(leader, first).await?);
                break;
            }
            match fate {
                Fate::Stored { sequence, .. } => restored.stored.push((id, sequence.cast_signed())),
                Fate::Refused(reason) => {
                    restored.behind.push(id);
                    restored.refused.push((id, reason));
                }
                // It waits as one of a wave would, and is no reason for all others to wait.
                Fate::Unknown { is_answered: true, .. } if !publisher.may_look() => {
                    restored.behind.push(id);
                }
                Fate::Unknown { reason, is_answered } => {
                    restored.failure = Some(RelayError::Unacknowledged { reason, is_answered });
                    break;
                }
            }
        }
        Ok(restored)
    }

    /// Has everything wait again whose place is `first` or behind it: new events stand
    /// there now, so the stream was put back while the connection lived on. Too late to
    /// put it before them. Nothing of the wave is marked, so that all of it is looked for
    /// again. Returns what to stop with.
    pub(super) async fn take_back(
        &self,
        leader: &mut Leader,
        first: u64,
    ) -> Result<RelayError, RelayError> {
        let lost = leader
            .ask(async |connection| outbox::lost(connection, first.cast_signed() - 1).await)
            .await?;
        leader.ask(async |connection| outbox::take_back(connection, &lost).await).await?;
        tracing::warn!(
            "JetStream: the stream has lost {} events that it had acknowledged, from {first} on; \
             they are published again, behind newer ones",
            lost.len()
        );
        self.metrics.lost.inc_by(lost.len() as u64);
        Ok(RelayError::StreamWentBack)
    }
}
