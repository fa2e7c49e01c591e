//! The rows of the outbox, held against the stream.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use uuid::Uuid;

use super::index::Index;

/// Rows that are read at once.
const PAGE: i64 = 10_000;

/// A row, as far as the stream has to agree with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    id: i64,
    event_id: Uuid,
    /// Where JetStream has stored it; none while it waits or is set aside.
    stream_seq: Option<i64>,
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            event_id: row.try_get("event_id")?,
            stream_seq: row.try_get("stream_seq")?,
        })
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It was published, and the stream has it no more.
    Lost,
    /// It was published, and is somewhere else.
    Moved(u64),
    /// It waits or is set aside, and is in the stream.
    Unmarked(u64),
}

impl Row {
    /// Holds it against the sequences that its event has. What is before the first
    /// sequence of the stream was removed by the limits of the stream.
    fn fault(self, sequences: &[u64], first: u64) -> Option<Fault> {
        let Some(marked) = self.stream_seq else {
            return sequences.first().copied().map(Fault::Unmarked);
        };
        let marked = marked.unsigned_abs();
        match sequences.first() {
            Some(_) if sequences.contains(&marked) => None,
            Some(place) => Some(Fault::Moved(*place)),
            None => (marked >= first).then_some(Fault::Lost),
        }
    }
}

/// Reads the outbox in pages, notes in the index what is there, and returns how many
/// rows there are and those that may be at fault. What the relay has published since
/// the index was made is among them.
pub(super) async fn suspects(
    connection: &mut PgConnection,
    index: &mut Index,
) -> sqlx::Result<(usize, Vec<Row>)> {
    let (mut count, mut last, mut suspects) = (0, 0, Vec::new());
    loop {
        let page: Vec<Row> = sqlx::query_as(
            "select id, event_id, stream_seq from outbox where id > $1 order by id limit $2",
        )
        .bind(last)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let Some(newest) = page.last() else {
            return Ok((count, suspects));
        };
        last = newest.id;
        count += page.len();
        for row in page {
            index.mark_known(row.event_id);
            let sequences: Vec<u64> = index.sequences(row.event_id).collect();
            if row.fault(&sequences, 0).is_some() {
                suspects.push(row);
            }
        }
    }
}

/// Rows at fault: their ids, where they say they are, and where they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) lost: Vec<(i64, i64)>,
    pub(super) moved: Vec<(i64, i64, i64)>,
    pub(super) unmarked: Vec<(i64, i64)>,
}

impl Faults {
    /// Judges the suspects, now that what was published meanwhile is known as well.
    pub(super) fn among(suspects: &[Row], index: &Index, newer: &Index, first: u64) -> Self {
        let mut faults = Self::default();
        for row in suspects {
            let sequences: Vec<u64> =
                index.sequences(row.event_id).chain(newer.sequences(row.event_id)).collect();
            let marked = row.stream_seq.unwrap_or_default();
            match row.fault(&sequences, first) {
                None => {}
                Some(Fault::Lost) => faults.lost.push((row.id, marked)),
                Some(Fault::Moved(place)) => {
                    faults.moved.push((row.id, marked, place.cast_signed()));
                }
                Some(Fault::Unmarked(place)) => faults.unmarked.push((row.id, place.cast_signed())),
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_where_it_says_or_lost_or_elsewhere() {
        let row = |stream_seq| Row { id: 1, event_id: Uuid::nil(), stream_seq };
        for (marked, sequences, expected) in [
            (Some(7), &[7][..], None),
            (Some(7), &[5, 7], None),
            (Some(7), &[5], Some(Fault::Moved(5))),
            (Some(7), &[8, 9], Some(Fault::Moved(8))),
            (Some(7), &[], Some(Fault::Lost)),
            (Some(3), &[], Some(Fault::Lost)),
            // Before the first of the stream: its time was over.
            (Some(2), &[], None),
            (Some(2), &[5], Some(Fault::Moved(5))),
            (None, &[], None),
            (None, &[5, 6], Some(Fault::Unmarked(5))),
        ] {
            assert_eq!(row(marked).fault(sequences, 3), expected, "{marked:?} in {sequences:?}");
        }
    }

    #[test]
    fn what_was_published_meanwhile_is_no_fault() {
        let [old, new] = [1, 2].map(Uuid::from_u128);
        let rows = [(1, old, Some(4)), (2, new, Some(9))].map(|(id, event_id, stream_seq)| Row {
            id,
            event_id,
            stream_seq,
        });
        let index: Index = [(old, 4)].into_iter().collect();
        let newer: Index = [(new, 9)].into_iter().collect();
        assert_eq!(Faults::among(&rows, &index, &newer, 1), Faults::default());
        let nothing = Index::default();
        assert_eq!(Faults::among(&rows, &index, &nothing, 1).lost, [(2, 9)]);
    }
}
