//! Which events the stream has, and where.

use uuid::Uuid;

/// A message of the stream.
#[derive(Debug, Clone, Copy)]
struct Entry {
    event_id: Uuid,
    sequence: u64,
    /// Whether the outbox has a row of it.
    known: bool,
}

/// The ids of the stream's events with their sequences: 32 bytes a message, however
/// large the messages are.
#[derive(Debug, Default)]
pub(super) struct Index(Vec<Entry>);

impl FromIterator<(Uuid, u64)> for Index {
    fn from_iter<T: IntoIterator<Item = (Uuid, u64)>>(messages: T) -> Self {
        let entry = |(event_id, sequence)| Entry { event_id, sequence, known: false };
        let mut entries: Vec<Entry> = messages.into_iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| (entry.event_id, entry.sequence));
        Self(entries)
    }
}

impl Index {
    /// Where an event is, the lowest sequence first. More than one, when it was
    /// published again after the duplicate window.
    pub(super) fn sequences(&self, event_id: Uuid) -> impl Iterator<Item = u64> {
        self.0[self.range(event_id)].iter().map(|entry| entry.sequence)
    }

    /// Notes that the outbox has a row of an event.
    pub(super) fn mark_known(&mut self, event_id: Uuid) {
        let range = self.range(event_id);
        self.0[range].iter_mut().for_each(|entry| entry.known = true);
    }

    /// Whether the outbox has a row of any event.
    pub(super) fn any_known(&self) -> bool {
        self.0.iter().any(|entry| entry.known)
    }

    /// The sequences of events without a row, the newest first.
    pub(super) fn unknown(&self) -> Vec<u64> {
        let unknown = self.0.iter().filter(|entry| !entry.known);
        let mut sequences: Vec<u64> = unknown.map(|entry| entry.sequence).collect();
        sequences.sort_unstable_by_key(|sequence| std::cmp::Reverse(*sequence));
        sequences
    }

    /// How many messages repeat one that the stream has.
    pub(super) fn repeated(&self) -> usize {
        self.0.windows(2).filter(|pair| pair[0].event_id == pair[1].event_id).count()
    }

    fn range(&self, event_id: Uuid) -> std::ops::Range<usize> {
        let start = self.0.partition_point(|entry| entry.event_id < event_id);
        let length = self.0[start..].partition_point(|entry| entry.event_id == event_id);
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_they_are() {
        let ids: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        let messages = [(ids[2], 1), (ids[0], 2), (ids[3], 3), (ids[0], 9), (ids[1], 4)];
        let mut index: Index = messages.into_iter().collect();
        assert_eq!(index.sequences(ids[0]).collect::<Vec<_>>(), [2, 9]);
        assert_eq!(index.sequences(ids[3]).collect::<Vec<_>>(), [3]);
        assert_eq!(index.sequences(Uuid::from_u128(5)).count(), 0);
        assert_eq!(index.sequences(Uuid::nil()).count(), 0);
        assert_eq!(index.repeated(), 1);
        assert!(!index.any_known());
        index.mark_known(ids[0]);
        index.mark_known(Uuid::from_u128(5));
        assert!(index.any_known());
        assert_eq!(index.unknown(), [4, 3, 1]);
    }
}
