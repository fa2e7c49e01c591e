//! `cargo xtask bench backlog`: what an outage of NATS does to requests, and how the
//! backlog goes away afterwards.
//!
//! One server answers the same requests in turns: while NATS is there and nothing
//! waits, and while NATS is absent and a million rows wait. Then NATS comes back, and
//! new events are made while the backlog drains.

mod drain;
mod requests;

use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use self::requests::{Cases, Requests};
use crate::artifacts::Profile;
use crate::install;
use crate::process::get;
use crate::services::{Home, Nats};
use crate::subject::Subject;

/// Turns of each kind.
const TURNS: usize = 2;

/// How long the relay may take to find NATS again, and to publish what a turn has left.
const RELAY_TIMEOUT: Duration = Duration::from_mins(1);

/// The index that only the relay reads.
const DROP_INDEX: &str = "drop index outbox_waiting_entity_idx";

/// How much of what the command line says.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rows that wait.
    pub rows: u32,
    /// Requests of each kind in each turn.
    pub requests: usize,
    /// What the order of the requests is shuffled by.
    pub seed: u64,
}

/// Measures, prints, and judges.
///
/// # Errors
///
/// When something fails to start or to be answered, requests are slower while rows wait,
/// the drain takes too much memory, or new events wait for it.
pub fn run(profile: Profile, size: Size) -> anyhow::Result<()> {
    let mut bench = Bench::start(profile)?;
    let mut requests = Requests::prepare(&bench.subject, size)?;
    let mut cases = Cases::default();
    for turn in 1..=TURNS {
        eprintln!("xtask: turn {turn} of {TURNS}: NATS is there, nothing waits");
        bench.wait_until("auth_relay_leader", 1)?;
        requests.send_all(&mut cases.there)?;
        bench.wait_until_empty()?;
        bench.nats = None;
        eprintln!("xtask: turn {turn} of {TURNS}: NATS is absent, {} rows wait", size.rows);
        bench.insert(size.rows)?;
        requests.send_all(&mut cases.absent)?;
        requests.change_all(&mut cases.with_index)?;
        let index = bench.index()?;
        bench.sql(DROP_INDEX)?;
        requests.change_all(&mut cases.without_index)?;
        bench.sql(&index)?;
        if turn < TURNS {
            bench.sql("delete from outbox where published_at is null")?;
            bench.sql("vacuum analyze outbox")?;
            bench.nats = Some(Nats::start(&bench.home)?);
        }
    }
    println!("{} rows; {TURNS} turns with {} requests of each kind", size.rows, size.requests);
    let ratio = cases.print();
    let drained = drain::run(&mut bench, &requests)?;
    requests::judge(ratio)?;
    drained.judge()
}

struct Bench {
    subject: Subject,
    /// `None` while it is absent.
    nats: Option<Nats>,
    home: Home,
    _directory: TempDir,
}

impl Bench {
    fn start(profile: Profile) -> anyhow::Result<Self> {
        install::servers(&[install::NATS])?;
        let directory = tempfile::Builder::new().prefix("edd-cloud-auth-bench-").tempdir()?;
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let home = Home::new(directory.path())?;
        let nats = Nats::start(&home)?;
        let subject = Subject::start(profile, &[("NATS_URL", &nats.url())])?;
        Ok(Self { subject, nats: Some(nats), home, _directory: directory })
    }

    fn sql(&self, script: &str) -> anyhow::Result<String> {
        Ok(self.subject.postgres.psql("auth", script)?.trim().to_owned())
    }

    /// The statement that makes the index.
    fn index(&self) -> anyhow::Result<String> {
        self.sql("select pg_get_indexdef('outbox_waiting_entity_idx'::regclass)")
    }

    /// An hour in which so many sessions began.
    fn insert(&self, rows: u32) -> anyhow::Result<()> {
        self.sql(&format!(
            "insert into outbox (kind, entity_id, data, occurred_at) \
             select 'SessionCreated', id, jsonb_build_object('session_id', id, 'user_id', 1, \
                 'public_id', 'AAAAAA', 'expires_at', extract(epoch from begun + '1 day')::bigint), \
                 begun \
             from generate_series(1, {rows}) as number \
             cross join lateral (\
                 select now() - interval '1 hour' * (1 - number / {rows}.0) as begun) as session \
             cross join lateral (\
                 select lpad(to_hex(floor(extract(epoch from begun) * 1000)::bigint), 12, '0') \
                     as time) as clock \
             cross join lateral (\
                 select overlay((gen_random_uuid())::text \
                     placing substr(time, 1, 8) || '-' || substr(time, 9) || '-7' from 1 for 15) \
                     as id) as identity"
        ))?;
        // As autovacuum does after so many inserts.
        self.sql("vacuum analyze outbox").map(drop)
    }

    fn waiting(&self) -> anyhow::Result<u64> {
        Ok(self.sql("select count(*) from outbox where published_at is null")?.parse()?)
    }

    fn wait_until_empty(&self) -> anyhow::Result<()> {
        within(RELAY_TIMEOUT, || Ok(self.waiting()? == 0)).context("events are left in the outbox")
    }

    fn wait_until(&self, metric: &str, value: u64) -> anyhow::Result<()> {
        within(RELAY_TIMEOUT, || Ok(self.metric(metric)? == value))
            .with_context(|| format!("{metric} is not {value}"))
    }

    /// A metric without labels.
    fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = get(&self.subject.ops, "/metrics")?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .with_context(|| format!("there is no {name}"))
    }
}

/// Waits for a condition.
fn within(limit: Duration, is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    while !is_so()? {
        if started.elapsed() > limit {
            bail!("not within {} seconds", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
