//! A campaign: clients work while things go wrong.

use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::faults::Scene;
use crate::figures::Figures;
use crate::history::History;
use crate::schedule::{Fault, Round, plan};
use crate::verdict::{Verdict, count};
use crate::{jetstream, workload};

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long the database may take to answer when that is asked.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long clients may take to finish their last requests.
const CLIENTS_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the clients may take to have made some events.
const WARM_UP_TIMEOUT: Duration = Duration::from_mins(1);

/// How many: so that there is something to lose.
const WARM_UP_EVENTS: u64 = 50;

/// How often that is looked at.
const WARM_UP_POLL: Duration = Duration::from_millis(200);

/// A running campaign.
pub(crate) struct Campaign {
    /// Before what its proxies run on, so that the programs can finish when it is dropped.
    pub(crate) cluster: Cluster,
    pub(crate) runtime: Runtime,
    started: Instant,
    pub(crate) figures: Mutex<Figures>,
    /// Rung by Ctrl-C and SIGTERM.
    interrupted: CancellationToken,
    pub(crate) violations: Vec<String>,
}

/// Runs the schedule of a seed for so long, to the end of a round, and checks what came of
/// it.
///
/// # Errors
///
/// When something does not start, or can't be looked at in the end; with where the logs
/// are.
pub(crate) fn run(seed: u64, length: Duration) -> anyhow::Result<Verdict> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let interrupted = interrupts(&runtime)?;
    // How long a round takes is an estimate.
    let rounds = plan(seed, 2 * length);
    println!("torture: {} minutes of faults, from seed {seed}", length.as_secs() / 60);
    let cluster = Cluster::start(runtime.handle())?;
    let mut campaign = Campaign {
        cluster,
        runtime,
        started: Instant::now(),
        figures: Mutex::new(Figures::new(seed)),
        interrupted,
        violations: Vec::new(),
    };
    let verdict =
        campaign.trouble(&rounds, length, seed).and_then(|history| campaign.judge(&history));
    verdict.map_err(|error| {
        if campaign.interrupted.is_cancelled() {
            return error;
        }
        match campaign.cluster.keep() {
            Some(kept) => error.context(format!("logs are in {}", kept.join("logs").display())),
            None => error,
        }
    })
}

/// A token that Ctrl-C and SIGTERM cancel, so that nothing is left running.
fn interrupts(runtime: &Runtime) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = runtime.block_on(async { signal(kind) })?;
        let token = token.clone();
        runtime.spawn(async move {
            signal.recv().await;
            token.cancel();
        });
    }
    Ok(token)
}

impl Campaign {
    /// Lets the clients work and the faults happen. Afterwards all is in order again, and
    /// the clients have stopped.
    fn trouble(
        &mut self,
        rounds: &[Round],
        length: Duration,
        seed: u64,
    ) -> anyhow::Result<History> {
        let (stop, done) = (CancellationToken::new(), CancellationToken::new());
        let work = workload::run(self.cluster.addresses(), seed, stop.clone());
        let clients = self.runtime.spawn(work);
        let played = std::thread::scope(|scope| {
            scope.spawn(|| self.tell_progress(&done));
            let played = self.warm_up().and_then(|()| self.play(rounds, length));
            done.cancel();
            played
        });
        self.with_figures(|figures| figures.length = self.started.elapsed());
        if let Err(error) = played {
            self.violations.push(format!("{error:#}"));
            self.cluster.heal()?;
        }
        stop.cancel();
        let history = self.runtime.block_on(async { timeout(CLIENTS_TIMEOUT, clients).await });
        ensure!(!self.interrupted.is_cancelled(), "interrupted");
        history.context("the clients do not stop")?.context("a client has panicked")
    }

    /// Waits until the clients are at work.
    fn warm_up(&self) -> anyhow::Result<()> {
        let (started, url) = (Instant::now(), self.cluster.servers.nats_url()?);
        while self.runtime.block_on(jetstream::state(&url))?.0 < WARM_UP_EVENTS {
            ensure!(started.elapsed() < WARM_UP_TIMEOUT, "hardly an event arrives in the stream");
            std::thread::sleep(WARM_UP_POLL);
        }
        Ok(())
    }

    /// The rounds, one after the other, until the time is over.
    fn play(&self, rounds: &[Round], length: Duration) -> anyhow::Result<()> {
        let scene = Scene { cluster: &self.cluster, interrupted: &self.interrupted };
        for round in rounds.iter().take_while(|_| self.started.elapsed() < length) {
            self.play_round(scene, round)?;
            scene.pause(round.quiet);
            ensure!(!self.interrupted.is_cancelled(), "interrupted");
            self.cluster.check()?;
        }
        Ok(())
    }

    fn play_round<'a>(&'a self, scene: Scene<'a>, round: &'a Round) -> anyhow::Result<()> {
        let lost: Vec<anyhow::Result<u64>> = std::thread::scope(|scope| {
            let play = |fault: &'a Fault| {
                scope.spawn(move || {
                    scene.pause(fault.after);
                    self.say(&fault.to_string());
                    scene.play(fault).with_context(|| fault.to_string())
                })
            };
            let playing: Vec<_> = round.faults.iter().map(play).collect();
            let joined = playing.into_iter().map(ScopedJoinHandle::join);
            joined.map(|lost| lost.unwrap_or_else(|_| anyhow::bail!("a fault panicked"))).collect()
        });
        let lost = lost.into_iter().sum::<anyhow::Result<u64>>()?;
        let names = || round.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let ready_after =
            self.cluster.until_ready().with_context(|| format!("after {}", names()))?;
        self.with_figures(|figures| {
            figures.lost += lost;
            for fault in &round.faults {
                figures.count(fault.kind, ready_after);
            }
        });
        Ok(())
    }

    pub(crate) fn with_figures(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Prints a line, with the time.
    pub(crate) fn say(&self, text: &str) {
        println!("{:>7.1} s  {text}", self.started.elapsed().as_secs_f64());
    }

    fn tell_progress(&self, done: &CancellationToken) {
        let waited = async || timeout(PROGRESS, done.cancelled()).await;
        while self.runtime.block_on(waited()).is_err() {
            let counted = self.cluster.servers.database_url().ok().and_then(|url| {
                let counting = async { timeout(PROGRESS_TIMEOUT, count(&url)).await };
                self.runtime.block_on(counting).ok()?.ok()
            });
            let mut faults = 0;
            self.with_figures(|figures| faults = figures.faults());
            let events = counted.map_or("the database does not answer".to_owned(), |counts| {
                format!("{} events, {} wait", counts.events, counts.waiting)
            });
            self.say(&format!("-- {faults} faults; {events}"));
        }
    }
}
