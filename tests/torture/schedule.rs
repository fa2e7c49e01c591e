//! What goes wrong when: made up from a seed, before anything starts.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

/// How many `auth-server`s there are.
pub(crate) const SERVERS: usize = 2;

/// How many programs there are: `auth-server`s first, then as many `auth-sidecar`s.
pub(crate) const PROGRAMS: usize = 4;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// SIGKILL (for PostgreSQL SIGQUIT, its immediate shutdown), and a start afterwards.
    Kill,
    /// SIGSTOP, and SIGCONT afterwards.
    Stop,
    /// An orderly end, and a start afterwards.
    Restart,
    /// Connections are reset, old and new.
    Cut,
    /// Connections take everything and pass nothing on.
    BlackHole,
    /// Connections pass everything on late.
    Slow,
    /// SIGKILL, and the messages that were last are not there afterwards: they had not
    /// been synced.
    LoseUnsynced,
    /// JetStream has no room left.
    Fill,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    /// One of the `auth-server`s.
    Server,
    /// One of the `auth-sidecar`s.
    Sidecar,
    /// The program that publishes when the fault begins.
    Leader,
    /// The database.
    Postgres,
    /// The broker.
    Nats,
    /// The connections of one program with the database.
    LinkToPostgres,
    /// The connections of one program with the broker.
    LinkToNats,
}

/// What the figures tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind(pub(crate) Action, pub(crate) Victim);

/// Everything that can go wrong.
pub(crate) const KINDS: [Kind; 22] = [
    Kind(Action::Kill, Victim::Server),
    Kind(Action::Kill, Victim::Sidecar),
    Kind(Action::Kill, Victim::Leader),
    Kind(Action::Kill, Victim::Postgres),
    Kind(Action::Kill, Victim::Nats),
    Kind(Action::Stop, Victim::Server),
    Kind(Action::Stop, Victim::Sidecar),
    Kind(Action::Stop, Victim::Leader),
    Kind(Action::Stop, Victim::Postgres),
    Kind(Action::Stop, Victim::Nats),
    Kind(Action::Restart, Victim::Server),
    Kind(Action::Restart, Victim::Sidecar),
    Kind(Action::Restart, Victim::Postgres),
    Kind(Action::Restart, Victim::Nats),
    Kind(Action::Cut, Victim::LinkToPostgres),
    Kind(Action::Cut, Victim::LinkToNats),
    Kind(Action::BlackHole, Victim::LinkToPostgres),
    Kind(Action::BlackHole, Victim::LinkToNats),
    Kind(Action::Slow, Victim::LinkToPostgres),
    Kind(Action::Slow, Victim::LinkToNats),
    Kind(Action::LoseUnsynced, Victim::Nats),
    Kind(Action::Fill, Victim::Nats),
];

/// A fault that is going to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whose it is, where it is one program's.
    pub(crate) program: usize,
    /// Not that program's, but that of the one that publishes when the fault begins.
    pub(crate) of_leader: bool,
    /// How many messages are lost.
    pub(crate) messages: usize,
    /// How late it is.
    pub(crate) delay: Duration,
    /// When it begins in its round.
    pub(crate) after: Duration,
    pub(crate) lasts: Duration,
}

/// One fault or two at once, and how long nothing happens afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) faults: Vec<Fault>,
    pub(crate) quiet: Duration,
}

/// What a round takes beside its own time: starts and recoveries.
const OVERHEAD: Duration = Duration::from_secs(3);

/// One in so many rounds has two faults.
const PAIRS: u8 = 2;

/// How long the leader is stopped or left alone, in milliseconds: longer than it can keep
/// its lock.
const PAST_THE_LOCK: RangeInclusive<u64> = 30_000..=40_000;

/// The rounds of a campaign of about this length.
pub(crate) fn plan(seed: u64, length: Duration) -> Vec<Round> {
    let mut random = Rng::with_seed(seed);
    let mut deck = Vec::new();
    let mut rounds = Vec::new();
    let mut planned = Duration::ZERO;
    while planned < length {
        let round = Round::draw(&mut random, &mut deck);
        planned += round.length();
        rounds.push(round);
    }
    rounds
}

impl Round {
    /// Kinds come from a shuffled deck, so that each comes up about as often as any other.
    fn draw(random: &mut Rng, deck: &mut Vec<Kind>) -> Self {
        if deck.is_empty() {
            deck.extend(KINDS);
            random.shuffle(deck);
        }
        let mut faults: Vec<Fault> =
            deck.pop().map(|kind| Fault::make(random, kind)).into_iter().collect();
        if random.u8(..PAIRS) == 0
            && let (Some(first), Some(kind)) = (faults.first(), deck.last())
        {
            let mut second = Fault::make(random, *kind);
            // Whoever is the leader is found before the other one begins.
            second.after = Duration::from_millis(random.u64(500..=4_000));
            second.of_leader = false;
            if !first.excludes(&second) && second.kind.1 != Victim::Leader {
                deck.pop();
                faults.push(second);
            }
        }
        Self { faults, quiet: Duration::from_millis(random.u64(1_500..=4_500)) }
    }

    fn length(&self) -> Duration {
        let faults = self.faults.iter().map(|fault| fault.after + fault.lasts).max();
        faults.unwrap_or_default() + OVERHEAD + self.quiet
    }
}

impl Fault {
    fn make(random: &mut Rng, kind: Kind) -> Self {
        let programs = match kind.1 {
            Victim::Server => 0..SERVERS,
            Victim::Sidecar => SERVERS..PROGRAMS,
            _ => 0..PROGRAMS,
        };
        let is_link = matches!(kind.1, Victim::LinkToPostgres | Victim::LinkToNats);
        let of_leader = is_link && random.bool();
        let milliseconds = match kind {
            Kind(Action::Stop, Victim::Leader) => random.u64(PAST_THE_LOCK),
            Kind(Action::BlackHole, _) if of_leader && random.bool() => random.u64(PAST_THE_LOCK),
            Kind(Action::Stop, Victim::Sidecar) => random.u64(1_000..=15_000),
            Kind(Action::BlackHole | Action::Slow, _) => random.u64(2_000..=12_000),
            Kind(Action::Restart, _) => 0,
            Kind(Action::Kill | Action::LoseUnsynced, _) => random.u64(..=3_000),
            Kind(Action::Stop | Action::Cut | Action::Fill, _) => random.u64(1_000..=6_000),
        };
        Self {
            kind,
            program: random.usize(programs),
            of_leader,
            messages: random.usize(1..=60),
            delay: Duration::from_millis(random.u64(20..=300)),
            after: Duration::ZERO,
            lasts: Duration::from_millis(milliseconds),
        }
    }

    /// Whether both can't be at once: they would undo each other, or leave no
    /// `auth-server`.
    fn excludes(&self, other: &Self) -> bool {
        let is_program =
            |victim| matches!(victim, Victim::Server | Victim::Sidecar | Victim::Leader);
        match (self.kind.1, other.kind.1) {
            (Victim::Leader, other) | (other, Victim::Leader) => is_program(other),
            (Victim::Sidecar, Victim::Sidecar)
            | (Victim::LinkToPostgres, Victim::LinkToPostgres)
            | (Victim::LinkToNats, Victim::LinkToNats) => {
                self.program == other.program || self.of_leader || other.of_leader
            }
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victim = match self.1 {
            Victim::Server => "auth-server",
            Victim::Sidecar => "auth-sidecar",
            Victim::Leader => "leader",
            Victim::Postgres => "PostgreSQL",
            Victim::Nats => "nats-server",
            Victim::LinkToPostgres => "link to PostgreSQL",
            Victim::LinkToNats => "link to NATS",
        };
        let text = match self.0 {
            Action::Kill => format!("kill {victim}"),
            Action::Stop => format!("stop {victim}"),
            Action::Restart => format!("restart {victim}"),
            Action::Cut => format!("cut {victim}"),
            Action::BlackHole => format!("black-hole {victim}"),
            Action::Slow => format!("slow {victim}"),
            Action::LoseUnsynced => format!("kill {victim}, unsynced lost"),
            Action::Fill => "fill JetStream".to_owned(),
        };
        // With the width that a table asks for.
        f.pad(&text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.kind.1 {
            _ if self.of_leader => f.write_str(" of the leader")?,
            Victim::Leader | Victim::Postgres | Victim::Nats => {}
            _ => write!(f, " of program {}", self.program)?,
        }
        match self.kind.0 {
            Action::Slow => write!(f, ", {} ms late", self.delay.as_millis())?,
            Action::LoseUnsynced => write!(f, ", at most {} messages", self.messages)?,
            _ => {}
        }
        write!(f, ", {:.1} s", self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(rounds: &[Round]) -> Vec<Kind> {
        let mut kinds: Vec<Kind> =
            rounds.iter().flat_map(|round| &round.faults).map(|fault| fault.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    #[test]
    fn a_seed_makes_one_schedule() {
        let minutes = Duration::from_mins(10);
        assert_eq!(plan(7, minutes), plan(7, minutes));
        assert_ne!(plan(7, minutes), plan(8, minutes));
        // A longer one begins alike.
        let longer = plan(7, Duration::from_hours(1));
        assert!(longer.starts_with(&plan(7, minutes)));
    }

    #[test]
    fn an_hour_has_every_kind_and_three_minutes_have_most() {
        for seed in 0..100 {
            assert_eq!(kinds(&plan(seed, Duration::from_hours(1))), KINDS, "seed {seed}");
            let short = kinds(&plan(seed, Duration::from_mins(3)));
            assert!(short.len() > KINDS.len() / 2, "seed {seed}: {short:?}");
        }
    }

    #[test]
    fn a_schedule_is_about_as_long_as_it_has_to_be() {
        for seed in 0..100 {
            let length = Duration::from_mins(3);
            let rounds = plan(seed, length);
            let planned: Duration = rounds.iter().map(Round::length).sum();
            assert!(planned >= length && planned < length + Duration::from_mins(1));
            assert!(rounds.iter().all(|round| round.quiet >= Duration::from_secs(1)));
        }
    }

    #[test]
    fn two_at_once_happen_and_leave_each_other_and_a_server_alone() {
        let rounds = plan(1, Duration::from_hours(10));
        let pairs: Vec<(Fault, Fault)> = rounds
            .iter()
            .filter_map(|round| Some((*round.faults.first()?, *round.faults.get(1)?)))
            .collect();
        assert!(pairs.len() > rounds.len() / 4, "{} of {}", pairs.len(), rounds.len());
        for (first, second) in pairs {
            assert!(!first.excludes(&second) && !second.excludes(&first));
            let of = |victim| (first.kind.1 == victim, second.kind.1 == victim);
            assert_ne!(of(Victim::Server), (true, true));
            assert_ne!(of(Victim::Nats), (true, true));
            assert_ne!(of(Victim::Postgres), (true, true));
            assert!(!of(Victim::Leader).1 && !second.of_leader, "the leader is found first");
        }
    }

    #[test]
    fn faults_hit_what_they_are_named_after() {
        for round in plan(3, Duration::from_hours(10)) {
            for fault in round.faults {
                match fault.kind.1 {
                    Victim::Server => assert!(fault.program < SERVERS, "{fault}"),
                    Victim::Sidecar => assert!((SERVERS..PROGRAMS).contains(&fault.program)),
                    _ => assert!(fault.program < PROGRAMS),
                }
                let is_link = matches!(fault.kind.1, Victim::LinkToPostgres | Victim::LinkToNats);
                assert!(is_link || !fault.of_leader, "{fault}");
                if fault.kind == Kind(Action::Stop, Victim::Leader) {
                    assert!(fault.lasts >= Duration::from_secs(30), "{fault}");
                }
            }
        }
    }
}
