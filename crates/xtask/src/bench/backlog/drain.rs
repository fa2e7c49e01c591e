//! NATS is back: how fast the backlog goes away, what that takes, and who waits.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Bench;
use super::requests::Requests;
use crate::services::Nats;

/// How often the counters are looked at.
const POLL: Duration = Duration::from_millis(100);

/// Time between new events.
const NEW_EVENT_INTERVAL: Duration = Duration::from_millis(200);

/// After how long without any event the relay has stopped.
const STALL: Duration = Duration::from_mins(1);

/// By how much the process may grow, in MiB, however long the backlog is.
const MEMORY_BOUND: u64 = 100;

/// The part of the drain's time that half of the new events may take at most.
const PART_BOUND: f64 = 0.1;

/// Parts that are printed.
const PARTS: u64 = 10;

/// What came of it.
pub(super) struct Drained {
    seconds: f64,
    /// MiB at the most, more than at the start.
    growth: u64,
    /// Seconds that half of the new events took.
    median: f64,
}

impl Drained {
    /// # Errors
    ///
    /// When a bound is passed.
    pub(super) fn judge(&self) -> anyhow::Result<()> {
        let Self { seconds, growth, median } = self;
        ensure!(*growth <= MEMORY_BOUND, "the process grew by {growth} MiB");
        ensure!(
            *median <= seconds * PART_BOUND,
            "new events wait for the backlog: half of them longer than {median:.2} seconds of \
             {seconds:.2}"
        );
        Ok(())
    }
}

/// Starts NATS and waits until nothing of the backlog is left, while new events are made.
pub(super) fn run(bench: &mut Bench, requests: &Requests) -> anyhow::Result<Drained> {
    let backlog = bench.waiting()?;
    let last: u64 = bench.sql("select max(id) from outbox")?.parse()?;
    println!("{backlog} rows wait, and NATS comes back");
    // From here on the system notes a new peak.
    let process = bench.subject.server.id();
    fs::write(format!("/proc/{process}/clear_refs"), "5")?;
    let first = bench.metric("auth_relay_published_total")?;
    let before = memory(process, "VmRSS")?;
    bench.nats = Some(Nats::start(&bench.home)?);
    let returned = Instant::now();
    bench.wait_until("auth_relay_leader", 1)?;
    let (started, waited) = (Instant::now(), returned.elapsed().as_secs_f64());
    println!("  the relay has found it      {waited:9.1} s");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let mut numbers = (0..).take_while(|_| !done.load(Relaxed));
            numbers.try_for_each(|number| {
                thread::sleep(NEW_EVENT_INTERVAL);
                requests.change_other(number).context("a request during the drain")
            })
        });
        let watched = watch(bench, first, backlog, started);
        done.store(true, Relaxed);
        let result = changing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        watched.and(result)
    })?;
    bench.wait_until_empty()?;
    let peak = memory(process, "VmHWM")?;
    let seconds = print_rate(bench, last, backlog)?;
    println!("  memory of the process       {before:9} MiB before, {peak} MiB at most");
    let median = print_delays(bench, last)?;
    Ok(Drained { seconds, growth: peak.saturating_sub(before), median })
}

/// Returns how many seconds there are between the first and the last row of the backlog.
fn print_rate(bench: &Bench, last: u64, backlog: u64) -> anyhow::Result<f64> {
    let seconds: f64 = bench
        .sql(&format!(
            "select extract(epoch from max(published_at) - min(published_at)) from (\
                 select published_at from outbox where id <= {last} \
                 order by published_at desc limit {backlog}) as drained"
        ))?
        .parse()?;
    #[expect(clippy::cast_precision_loss, reason = "there are less than 2^52")]
    let rate = backlog as f64 / seconds;
    println!("  all of them                 {seconds:9.1} s {rate:9.0} rows a second");
    Ok(seconds)
}

/// Prints how far the relay is, which had published `first` events before, until it is
/// through.
fn watch(bench: &Bench, first: u64, backlog: u64, started: Instant) -> anyhow::Result<()> {
    let (mut part, mut seen) = (0, (started, 0));
    let mut last_progress = (started, 0);
    while part < PARTS {
        thread::sleep(POLL);
        let published = bench.metric("auth_relay_published_total")? - first;
        let now = Instant::now();
        if published > last_progress.1 {
            last_progress = (now, published);
        } else if now - last_progress.0 > STALL {
            bail!("nothing was published for {} seconds", STALL.as_secs());
        }
        if published >= backlog * (part + 1) / PARTS {
            part = published * PARTS / backlog;
            #[expect(clippy::cast_precision_loss, reason = "there are less than 2^52")]
            let rate = (published - seen.1) as f64 / (now - seen.0).as_secs_f64();
            let elapsed = (now - started).as_secs_f64();
            println!("  {:3} % {elapsed:29.1} s {rate:9.0} rows a second", part * 100 / PARTS);
            seen = (now, published);
        }
    }
    Ok(())
}

/// How long the new events took, from the transaction of their change until the relay
/// had noted that JetStream has them. Returns the median, in seconds.
fn print_delays(bench: &Bench, last: u64) -> anyhow::Result<f64> {
    let delays = bench.sql(&format!(
        "select count(*), percentile_disc(0.5) within group (order by delay), max(delay) \
         from (select extract(epoch from published_at - occurred_at)::float8 as delay \
               from outbox where id > {last} and kind = 'UserUpdated') as new"
    ))?;
    let fields: Vec<&str> = delays.split('|').collect();
    let [count, median, longest] = fields[..] else { bail!("not three fields: {delays}") };
    let (median, longest): (f64, f64) = (median.parse()?, longest.parse()?);
    println!(
        "  {count:>5} new events meanwhile {median:12.3} s for half of them, {longest:.3} s for all"
    );
    Ok(median)
}

/// A figure of a process, in MiB.
fn memory(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"))
        .with_context(|| format!("the system does not tell the {name}"))?;
    Ok(kib.trim().parse::<u64>()? / 1024)
}
