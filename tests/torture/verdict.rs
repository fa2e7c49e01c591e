//! What came of a campaign.

use std::fs;
use std::mem::take;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use xtask::secrets;

use crate::campaign::Campaign;
use crate::check::{self, Report};
use crate::figures::longest_stall;
use crate::history::History;
use crate::jetstream;

/// How long it may take, with everything in order, until every event is published.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(2);

/// How often that is looked at.
const DRAIN_POLL: Duration = Duration::from_millis(500);

/// What a campaign has found.
pub(crate) struct Verdict {
    /// The figures, to be printed.
    pub(crate) figures: String,
    /// What must not be; with traces.
    pub(crate) violations: Vec<String>,
    /// Where everything is, when there were violations.
    pub(crate) kept: Option<PathBuf>,
}

impl Campaign {
    /// Waits until all events are published, compares everything, and sums up. The
    /// clients have stopped.
    ///
    /// # Errors
    ///
    /// When something can't be looked at.
    pub(crate) fn judge(&mut self, history: &History) -> anyhow::Result<Verdict> {
        let drained = self.cluster.until_ready().and_then(|_| self.drain());
        self.violations.extend(drained.err().map(|error| format!("{error:#}")));
        let (database, nats) =
            (self.cluster.servers.database_url()?, self.cluster.servers.nats_url()?);
        let report: Report = self.runtime.block_on(check::verify(history, &database, &nats))?;
        self.violations.extend(report.violations.iter().map(ToString::to_string));
        let wait = self.runtime.block_on(longest_wait(&database))?;
        self.search_logs()?;
        self.cluster.check()?;
        let memory = self.cluster.memory();
        self.with_figures(|figures| {
            figures.stall = longest_stall(history);
            figures.wait = wait;
            figures.memory = memory;
        });
        let mut table = String::new();
        self.with_figures(|figures| table = figures.table(Some(&report)));
        let kept = if self.violations.is_empty() { None } else { self.keep(history)? };
        Ok(Verdict { figures: table, violations: take(&mut self.violations), kept })
    }

    fn drain(&self) -> anyhow::Result<()> {
        self.say("waiting until every event is published");
        let started = Instant::now();
        loop {
            let url = self.cluster.servers.database_url()?;
            let counts = self.runtime.block_on(count(&url))?;
            let nats = self.cluster.servers.nats_url()?;
            let (messages, _) = self.runtime.block_on(jetstream::state(&nats))?;
            // A tail that nats-server has lost is missing in the stream, and no row waits.
            if counts.waiting == 0 && u64::try_from(counts.events) == Ok(messages) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < DRAIN_TIMEOUT,
                "not drained after {} seconds: {} of {} events wait, the stream has {messages}",
                DRAIN_TIMEOUT.as_secs(),
                counts.waiting,
                counts.events
            );
            std::thread::sleep(DRAIN_POLL);
        }
    }

    /// Secrets and panics.
    fn search_logs(&mut self) -> anyhow::Result<()> {
        for program in &self.cluster.programs {
            let log = program.log();
            let text = fs::read(log).with_context(|| log.display().to_string())?;
            let text = String::from_utf8_lossy(&text);
            let secret = secrets::find(&text, &self.cluster.secrets());
            let found = secret.map(|found| format!("{} has {found}", log.display()));
            let panic = text.lines().find(|line| line.contains("panicked"));
            let panic = panic.map(|line| format!("{} has a panic: {line}", log.display()));
            self.violations.extend(found.into_iter().chain(panic));
        }
        Ok(())
    }

    /// Keeps all files, with the history among them.
    fn keep(&mut self, history: &History) -> anyhow::Result<Option<PathBuf>> {
        let kept = self.cluster.keep();
        if let Some(directory) = &kept {
            fs::write(directory.join("logs/history.txt"), format!("{history:#?}\n"))?;
            fs::write(directory.join("logs/violations.txt"), self.violations.join("\n\n"))?;
        }
        Ok(kept)
    }
}

/// What is in the outbox.
pub(crate) struct Counts {
    /// Rows.
    pub(crate) events: i64,
    /// Those that are not published.
    pub(crate) waiting: i64,
}

/// Counts.
///
/// # Errors
///
/// A database error.
pub(crate) async fn count(database_url: &str) -> sqlx::Result<Counts> {
    let mut connection = PgConnection::connect(database_url).await?;
    let (events, waiting) =
        sqlx::query_as("select count(*), count(*) filter (where published_at is null) from outbox")
            .fetch_one(&mut connection)
            .await?;
    connection.close().await?;
    Ok(Counts { events, waiting })
}

/// The longest time between a change and the acknowledgement of its event: the last one,
/// if the event was lost and repeated.
async fn longest_wait(database_url: &str) -> anyhow::Result<Duration> {
    let mut connection = PgConnection::connect(database_url).await?;
    let seconds: f64 = sqlx::query_scalar(
        "select coalesce(extract(epoch from max(published_at - occurred_at)), 0)::float8 \
         from outbox",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}
