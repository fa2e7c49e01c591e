//! The requests of the turns.

use std::time::Instant;

use anyhow::ensure;

use super::Size;
use crate::bench::caller::Caller;
use crate::bench::sample::Sample;
use crate::subject::{PASSWORD, Subject};

/// How many users take turns, in the turns and during the drain.
const USERS: u16 = 20;

/// How many times as long half of the requests of a kind may take while rows wait. They
/// should take as long; this is for the noise of a machine that does other things.
const BOUND: f64 = 1.5;

/// The kinds of requests.
const KINDS: [&str; 3] = ["GET /me", "PATCH /me", "POST /login"];
const CHANGE: usize = 1;
const LOGIN: usize = 2;

/// Times in milliseconds, a list for each kind.
type Times = [Vec<f64>; KINDS.len()];

/// The times of all turns.
#[derive(Default)]
pub(super) struct Cases {
    pub(super) there: Times,
    pub(super) absent: Times,
    pub(super) with_index: Vec<f64>,
    pub(super) without_index: Vec<f64>,
}

impl Cases {
    /// Prints the table. Returns the largest ratio that stands for "the requests suffer".
    pub(super) fn print(self) -> f64 {
        println!(
            "  {:<28} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
            "ms: median and 95 %", "NATS", "", "backlog", "", "ratio", ""
        );
        let mut largest = 0.0_f64;
        for ((kind, there), absent) in KINDS.iter().zip(self.there).zip(self.absent) {
            largest = largest.max(compare(kind, there, absent));
        }
        println!("  {:<28} {:>9} {:>9} {:>9}", "with the backlog", "no index", "", "index");
        compare("PATCH /me", self.without_index, self.with_index);
        largest
    }
}

/// Prints a line. Returns the ratio of the medians.
fn compare(title: &str, before: Vec<f64>, after: Vec<f64>) -> f64 {
    let [before, after] = [before, after].map(Sample::new);
    let [median, slow] =
        [50, 95].map(|percent| (before.percentile(percent), after.percentile(percent)));
    println!(
        "  {title:<28} {:9.2} {:9.2} {:9.2} {:9.2} {:7.3} {:7.3}",
        median.0,
        slow.0,
        median.1,
        slow.1,
        median.1 / median.0,
        slow.1 / slow.0
    );
    median.1 / median.0
}

/// # Errors
///
/// When it is too large.
pub(super) fn judge(ratio: f64) -> anyhow::Result<()> {
    ensure!(ratio <= BOUND, "requests take {ratio:.2} times as long while rows wait");
    Ok(())
}

/// Who sends them.
pub(super) struct Requests {
    callers: Vec<Caller>,
    /// Those whose events don't wait.
    others: Vec<Caller>,
    random: fastrand::Rng,
    count: usize,
    sent: usize,
}

impl Requests {
    pub(super) fn prepare(service: &Subject, size: Size) -> anyhow::Result<Self> {
        let log_in = |letter| {
            service.create_users(letter, USERS.into())?;
            (0..USERS)
                .map(|number| Caller::log_in(service.client(), letter, number))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        let random = fastrand::Rng::with_seed(size.seed);
        let count = size.requests;
        Ok(Self { callers: log_in('c')?, others: log_in('n')?, random, count, sent: 0 })
    }

    /// Sends requests of each kind, in an order that is shuffled anew for each round.
    pub(super) fn send_all(&mut self, times: &mut Times) -> anyhow::Result<()> {
        let mut order = std::array::from_fn::<_, { KINDS.len() }, _>(|kind| kind);
        for _ in 0..self.count {
            self.random.shuffle(&mut order);
            for kind in order {
                times[kind].push(self.send(kind)?);
            }
        }
        Ok(())
    }

    /// Sends those that write an event.
    pub(super) fn change_all(&mut self, times: &mut Vec<f64>) -> anyhow::Result<()> {
        for _ in 0..self.count {
            times.push(self.send(CHANGE)?);
        }
        Ok(())
    }

    /// Writes the event of a user of whom none waits, unless the last one still does.
    pub(super) fn change_other(&self, number: usize) -> anyhow::Result<()> {
        self.others[number % self.others.len()].change(number)
    }

    fn send(&mut self, kind: usize) -> anyhow::Result<f64> {
        self.sent += 1;
        let caller = &self.callers[self.sent / KINDS.len() % self.callers.len()];
        let started = Instant::now();
        match kind {
            CHANGE => caller.change(self.sent)?,
            LOGIN => caller.login(PASSWORD, 200)?,
            _ => caller.me()?,
        }
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }
}
