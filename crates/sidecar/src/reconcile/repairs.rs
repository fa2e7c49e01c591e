//! Mending rows that do not agree with the stream.

use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection, Row};

use super::rows::Faults;

/// Rows that were mended.
#[derive(Debug, Default)]
pub(super) struct Mended {
    /// How many.
    pub(super) count: i64,
    /// The first of them, each in words.
    pub(super) examples: Vec<String>,
}

impl FromRow<'_, PgRow> for Mended {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { count: row.try_get("count")?, examples: row.try_get("examples")? })
    }
}

/// What was done about lost events.
#[derive(Debug, Default)]
pub(super) struct Requeued {
    /// Those that wait to be published again.
    pub(super) lost: Mended,
    /// How many of them consumers see after a later one of the same entity.
    pub(super) late: i64,
    /// The first of these, each in words.
    pub(super) late_examples: Vec<String>,
    /// Sessions that are ended once more, since the news of their beginning comes late.
    pub(super) ended_again: i64,
}

impl FromRow<'_, PgRow> for Requeued {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            lost: Mended::from_row(row)?,
            late: row.try_get("late")?,
            late_examples: row.try_get("late_examples")?,
            ended_again: row.try_get("ended_again")?,
        })
    }
}

/// All that was done about the rows.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    pub(super) requeued: Requeued,
    pub(super) moved: Mended,
    pub(super) unmarked: Mended,
}

impl Faults {
    /// Mends the rows that are still as they were read: whatever the relay has done to
    /// others since is newer than this knowledge. Takes it back in a dry run.
    pub(super) async fn mend(
        self,
        connection: &mut PgConnection,
        dry_run: bool,
    ) -> sqlx::Result<Repairs> {
        let mut transaction = connection.begin().await?;
        let mut repairs = Repairs::default();
        if !self.unmarked.is_empty() {
            let (ids, places): (Vec<i64>, Vec<i64>) = self.unmarked.into_iter().unzip();
            repairs.unmarked = sqlx::query_as(include_str!("mark.sql"))
                .bind(ids)
                .bind(places)
                .fetch_one(&mut *transaction)
                .await?;
        }
        if !self.moved.is_empty() {
            let (ids, (marked, places)): (Vec<i64>, (Vec<i64>, Vec<i64>)) =
                self.moved.into_iter().map(|(id, marked, place)| (id, (marked, place))).unzip();
            repairs.moved = sqlx::query_as(include_str!("move.sql"))
                .bind(ids)
                .bind(marked)
                .bind(places)
                .fetch_one(&mut *transaction)
                .await?;
        }
        if !self.lost.is_empty() {
            let (ids, marked): (Vec<i64>, Vec<i64>) = self.lost.into_iter().unzip();
            // PostgreSQL takes the rows for few, and would compare each with each: with a
            // whole stream that is lost, for hours.
            sqlx::query("set local enable_nestloop = off").execute(&mut *transaction).await?;
            repairs.requeued = sqlx::query_as(include_str!("requeue.sql"))
                .bind(ids)
                .bind(marked)
                .fetch_one(&mut *transaction)
                .await?;
        }
        if dry_run {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        Ok(repairs)
    }
}
