//! Entities that JetStream takes nothing of for now.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long an entity is left alone when JetStream has not taken its event.
const TIME: Duration = Duration::from_secs(5);

/// So many entities that are left alone mean that it is not about any of them.
const MOST: usize = 500;

/// Entities whose events JetStream does not take for now, while it takes others: they are
/// left alone for a while, so that nobody else waits for them.
#[derive(Default)]
pub(super) struct Cooling {
    until: HashMap<String, Instant>,
    /// Why the latest of them is one.
    pub(super) reason: Option<String>,
}

impl Cooling {
    /// Says why, when it is another reason than that of the one before.
    pub(super) fn add(&mut self, entity: String, reason: &str) {
        if self.reason.as_deref() != Some(reason) {
            tracing::warn!(
                "relay: JetStream has not taken an event of {entity}: {reason}; tried again and \
                 again, and what follows it waits"
            );
            self.reason = Some(reason.to_owned());
        }
        self.until.insert(entity, Instant::now() + TIME);
    }

    /// Whether there are too many of them.
    pub(super) fn is_full(&self) -> bool {
        self.until.len() > MOST
    }

    /// Those that are left alone now.
    pub(super) fn entities(&mut self) -> Vec<String> {
        let now = Instant::now();
        self.until.retain(|_, until| *until > now);
        self.until.keys().cloned().collect()
    }

    /// Why those are left alone that were when [`Cooling::entities`] was asked last, if
    /// there are any.
    pub(super) fn reason_of_those_left(self) -> Option<String> {
        self.reason.filter(|_| !self.until.is_empty())
    }
}
