//! The records that wait to be pushed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;

use super::contract::LogEntry;

/// How many records wait at most.
const CAPACITY: usize = 1_024;

/// A bounded queue that whoever logs can fill without waiting: when it is full,
/// the oldest record goes. A channel would refuse the newest, which is the one
/// that tells what is going on.
#[derive(Default)]
pub struct Queue {
    records: Mutex<Records>,
    filled: Notify,
    dropped: Counter,
}

#[derive(Default)]
struct Records {
    waiting: VecDeque<Arc<LogEntry>>,
    /// How many have left the queue: what tells the oldest from its predecessor.
    gone: u64,
}

/// A record's place in all that were ever queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Queue {
    /// Adds a record. The lock is held for moments only: nobody does more under
    /// it than move pointers.
    pub(super) fn push(&self, record: LogEntry) {
        let record = Arc::new(record);
        let mut records = self.lock();
        let oldest = if records.waiting.len() == CAPACITY { records.take_oldest() } else { None };
        records.waiting.push_back(record);
        drop(records);
        if oldest.is_some() {
            self.dropped.inc();
        }
        self.filled.notify_one();
    }

    /// The oldest record. It stays until [`Queue::remove`], or until the queue is
    /// full.
    pub(super) fn oldest(&self) -> Option<(Place, Arc<LogEntry>)> {
        let records = self.lock();
        records.waiting.front().map(|record| (Place(records.gone), Arc::clone(record)))
    }

    /// Removes a record, unless it was dropped meanwhile.
    pub(super) fn remove(&self, place: Place) {
        let mut records = self.lock();
        if Place(records.gone) == place {
            records.take_oldest();
        }
    }

    /// Waits for a record that was added since the last call. For one caller.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How many records wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What counts the records that were dropped. [`crate::metrics::Metrics`] shows it.
    #[must_use]
    pub fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn take_oldest(&mut self) -> Option<Arc<LogEntry>> {
        self.gone += 1;
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize) -> LogEntry {
        LogEntry { message: number.to_string(), ..LogEntry::default() }
    }

    fn oldest(queue: &Queue) -> (Place, String) {
        let (place, record) = queue.oldest().expect("a record");
        (place, record.message.clone())
    }

    #[test]
    fn a_full_queue_drops_its_oldest_and_counts() {
        let queue = Queue::default();
        (0..CAPACITY).for_each(|number| queue.push(record(number)));
        assert_eq!((queue.len(), queue.dropped().get()), (CAPACITY, 0));
        (0..3).for_each(|number| queue.push(record(CAPACITY + number)));
        assert_eq!((queue.len(), queue.dropped().get()), (CAPACITY, 3));
        assert_eq!(oldest(&queue).1, "3");
    }

    #[test]
    fn a_record_that_was_dropped_while_it_was_pushed_does_not_take_another_along() {
        let queue = Queue::default();
        (0..CAPACITY).for_each(|number| queue.push(record(number)));
        let (first, _) = oldest(&queue);
        queue.push(record(CAPACITY));
        queue.remove(first);
        let (second, message) = oldest(&queue);
        assert_eq!((message.as_str(), queue.len()), ("1", CAPACITY));
        queue.remove(second);
        assert_eq!((oldest(&queue).1.as_str(), queue.len()), ("2", CAPACITY - 1));
    }
}
