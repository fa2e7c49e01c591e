//! What a campaign prints in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::check::Report;
use crate::history::{History, Outcome};
use crate::schedule::Kind;

/// Faults of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    count: u32,
    slowest: Duration,
}

/// Everything that is counted but by the checker.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// What the schedule was made from.
    pub(crate) seed: u64,
    /// How long there were faults.
    pub(crate) length: Duration,
    /// Messages that nats-server had acknowledged and lost.
    pub(crate) lost: u64,
    /// The longest time between two acknowledged requests.
    pub(crate) stall: Duration,
    /// The longest time between a change and the acknowledgement of its event.
    pub(crate) wait: Duration,
    /// The most memory that a program has had, in MiB.
    pub(crate) memory: BTreeMap<&'static str, u64>,
    faults: BTreeMap<Kind, Tally>,
}

impl Figures {
    /// Of a campaign that begins.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Counts a fault, and how long after its end everything was ready.
    pub(crate) fn count(&mut self, kind: Kind, ready_after: Duration) {
        let tally = self.faults.entry(kind).or_default();
        tally.count += 1;
        tally.slowest = tally.slowest.max(ready_after);
    }

    /// How many faults there were.
    pub(crate) fn faults(&self) -> u32 {
        self.faults.values().map(|tally| tally.count).sum()
    }

    /// Everything, a figure a line.
    pub(crate) fn table(&self, report: Option<&Report>) -> String {
        let mut lines = vec![
            line("seed", self.seed),
            line("length", format!("{:.0} s", self.length.as_secs_f64())),
            line("faults", self.faults()),
        ];
        lines.extend(self.faults.iter().map(|(kind, tally)| {
            let slowest = tally.slowest.as_secs_f64();
            format!("  {kind:<38} {:>8}, ready again within {slowest:.1} s", tally.count)
        }));
        if let Some(report) = report {
            lines.extend([
                line("requests", report.requests),
                line("  acknowledged", report.acknowledged),
                line("  refused", report.refused),
                line("  answer lost, it happened", report.unknown_happened),
                line("  answer lost, nothing happened", report.unknown_did_not),
                line("events", report.events),
            ]);
        }
        lines.extend([
            line("  acknowledged and lost by nats-server", self.lost),
            line("longest time without an acknowledgement", seconds(self.stall)),
            line("longest time an event waited", seconds(self.wait)),
        ]);
        let memory = self.memory.iter();
        lines.extend(
            memory.map(|(name, mib)| line(&format!("memory of {name}"), format!("{mib} MiB"))),
        );
        lines.join("\n")
    }
}

fn line(name: &str, value: impl fmt::Display) -> String {
    format!("{name:<40} {value:>8}")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// The longest time in which no request was acknowledged.
pub(crate) fn longest_stall(history: &History) -> Duration {
    let end = history.records.iter().map(|record| record.answered).max().unwrap_or_default();
    let acknowledged = history.records.iter().filter_map(|record| match record.outcome {
        Outcome::Acknowledged(_) => Some(record.answered),
        Outcome::Refused(..) | Outcome::Unknown(_) => None,
    });
    let mut moments: Vec<Duration> = acknowledged.chain([Duration::ZERO, end]).collect();
    moments.sort_unstable();
    let gaps = moments.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
    gaps.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Facts, Operation, Record};
    use crate::schedule::{Action, Victim};

    fn record(answered: u64, outcome: Outcome) -> Record {
        Record {
            client: 0,
            request_id: String::new(),
            operation: Operation::ReadOwn { session: String::new() },
            sent: Duration::ZERO,
            answered: Duration::from_secs(answered),
            outcome,
        }
    }

    #[test]
    fn a_stall_is_the_longest_time_without_an_acknowledgement() {
        let done = || Outcome::Acknowledged(Facts::default());
        let lost = || Outcome::Unknown(String::new());
        let stall =
            |records: Vec<Record>| longest_stall(&History { started_at: 0, records }).as_secs();
        assert_eq!(stall(vec![]), 0);
        assert_eq!(stall(vec![record(3, done()), record(1, done()), record(8, done())]), 5);
        let refused = Outcome::Refused(404, String::new());
        assert_eq!(stall(vec![record(1, done()), record(3, refused), record(9, lost())]), 8);
        assert_eq!(stall(vec![record(4, done()), record(5, done())]), 4);
    }

    #[test]
    fn faults_are_counted_with_their_slowest_recovery() {
        let mut figures = Figures::new(7);
        let kill = Kind(Action::Kill, Victim::Nats);
        for seconds in [2, 3, 1] {
            figures.count(kill, Duration::from_secs(seconds));
        }
        figures.count(Kind(Action::Fill, Victim::Nats), Duration::ZERO);
        assert_eq!(figures.faults(), 4);
        let table = figures.table(None);
        assert!(table.contains("3, ready again within 3.0 s"), "{table}");
    }
}
