//! What was found and done, for a person.

use std::fmt::{self, Display, Formatter};

use super::repairs::{Mended, Repairs};
use super::unknown::Unknown;

/// Examples of a finding that are shown.
const EXAMPLES: usize = 20;

/// What a run has found, and what it has done about it.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) dry_run: bool,
    pub(super) messages: usize,
    pub(super) rows: usize,
    pub(super) repeated: usize,
    pub(super) repairs: Repairs,
    pub(super) unknown: Unknown,
    /// Entities of `unknown` that nothing has been said about since, each in words.
    pub(super) unanswered: Vec<String>,
    /// The events that were written about them.
    pub(super) announced: Vec<String>,
    /// How many of them are still so.
    pub(super) open: usize,
    /// The id of a user after which new ones go on.
    pub(super) user_ids_after: Option<i32>,
}

impl Report {
    /// How many findings are left: what no run can mend, what one with `--announce`
    /// could, and in a dry run all.
    #[must_use]
    pub fn left(&self) -> usize {
        let left = self.open + self.unknown.others.len();
        if !self.dry_run {
            return left;
        }
        let Repairs { requeued, moved, unmarked } = &self.repairs;
        let mendable = requeued.lost.count + moved.count + unmarked.count;
        left + usize::try_from(mendable).unwrap_or(usize::MAX)
            + usize::from(self.user_ids_after.is_some())
    }
}

/// A line with a number, and examples below it.
fn finding(
    f: &mut Formatter<'_>,
    name: &str,
    count: usize,
    what: &str,
    examples: &[String],
) -> fmt::Result {
    if count == 0 {
        return Ok(());
    }
    writeln!(f, "{name:<12} {count} {what}")?;
    for example in examples.iter().take(EXAMPLES) {
        writeln!(f, "  {example}")?;
    }
    if count > EXAMPLES && !examples.is_empty() {
        writeln!(f, "  …")?;
    }
    Ok(())
}

fn mended(f: &mut Formatter<'_>, name: &str, mended: &Mended, what: &str) -> fmt::Result {
    finding(f, name, usize::try_from(mended.count).unwrap_or(0), what, &mended.examples)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(f, "dry run:     nothing is changed; what would be done:")?;
        }
        let (messages, rows) = (self.messages, self.rows);
        writeln!(f, "compared:    {messages} messages of the stream, {rows} rows of the outbox")?;
        let Repairs { requeued, moved, unmarked } = &self.repairs;
        mended(f, "lost:", &requeued.lost, "events are published again")?;
        let late = Mended { count: requeued.late, examples: requeued.late_examples.clone() };
        mended(f, "late:", &late, "of them come after later ones of the same entity")?;
        let ended_again = Mended { count: requeued.ended_again, examples: Vec::new() };
        mended(f, "ended again:", &ended_again, "sessions, whose beginning comes late")?;
        mended(f, "misplaced:", moved, "rows get the sequence that their event has")?;
        mended(f, "unmarked:", unmarked, "rows whose event is in the stream are marked")?;
        finding(f, "repeated:", self.repeated, "messages are in the stream more than once", &[])?;
        let events = self.unknown.events;
        let what = format!("events of {} entities have no row", self.unknown.entities.len());
        finding(f, "unknown:", events, &what, &[])?;
        let what = "entities of them that consumers have a wrong idea of";
        finding(f, "unanswered:", self.unanswered.len(), what, &self.unanswered)?;
        let what = "events tell consumers what the tables hold";
        finding(f, "announced:", self.announced.len(), what, &self.announced)?;
        if let Some(id) = self.user_ids_after {
            writeln!(f, "user ids:    new users get ids after {id}, the highest in the stream")?;
        }
        let what = "messages are no events of this service";
        finding(f, "foreign:", self.unknown.others.len(), what, &self.unknown.others)?;
        match self.left() {
            0 => writeln!(f, "all is well"),
            _ if self.dry_run => Ok(()),
            left => writeln!(f, "left:        {left}"),
        }
    }
}
