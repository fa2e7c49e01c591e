//! One of the programs under test, and its links to the servers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use xtask::process::{Server, answers_ok, get};
use xtask::proxy::{Mode, Proxy};

use crate::schedule::Victim;

/// How long a process that was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// How a program is started, each time alike.
pub(crate) struct Start {
    /// `auth-server` or `auth-sidecar`.
    pub(crate) name: &'static str,
    pub(crate) executable: PathBuf,
    pub(crate) arguments: &'static [&'static str],
    /// All that it gets to see.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
    /// Where its health and metrics are.
    pub(crate) ops: String,
    /// Where its API is, if it has one.
    pub(crate) api: Option<String>,
}

/// A program, whether it runs or not. Stops when it is dropped.
pub(crate) struct Program {
    start: Start,
    /// Nothing while it is down on purpose. Before the links, which it needs to the end.
    process: Mutex<Option<Server>>,
    to_postgres: Proxy,
    to_nats: Proxy,
    /// The most memory that any of its processes has had, in KiB.
    memory: AtomicU64,
}

impl Program {
    /// A program that is not started yet.
    pub(crate) fn new(start: Start, to_postgres: Proxy, to_nats: Proxy) -> Self {
        let (process, memory) = (Mutex::default(), AtomicU64::default());
        Self { start, process, to_postgres, to_nats, memory }
    }

    /// `auth-server` or `auth-sidecar`.
    pub(crate) fn name(&self) -> &'static str {
        self.start.name
    }

    /// Where its API is, if it has one.
    pub(crate) fn api(&self) -> Option<&str> {
        self.start.api.as_deref()
    }

    /// Where it logs.
    pub(crate) fn log(&self) -> &PathBuf {
        &self.start.log
    }

    /// The link to the database or to the broker.
    pub(crate) fn link(&self, victim: Victim) -> &Proxy {
        match victim {
            Victim::LinkToPostgres => &self.to_postgres,
            _ => &self.to_nats,
        }
    }

    /// Starts it, without waiting for anything.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let Start { name, executable, arguments, environment, log, .. } = &self.start;
        let mut command = Command::new(executable);
        command.args(*arguments).env_clear().envs(environment.iter().map(|(k, v)| (k, v)));
        let server = Server::start(name, &mut command, log, Signal::SIGTERM)?;
        *self.process() = Some(server);
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let mut server = self.take()?;
        server.signal(Signal::SIGKILL)?;
        server.wait(KILL_TIMEOUT)?;
        Ok(())
    }

    /// Asks it to stop, and waits for it.
    ///
    /// # Errors
    ///
    /// When it does not run, does not stop in time, or does not end with success.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let mut server = self.take()?;
        server.stop().with_context(|| format!("{} was asked to stop", self.name()))?;
        let status = server.ended()?.context("it has ended")?;
        ensure!(status.success(), "{} was asked to stop and ended with {status}", self.name());
        Ok(())
    }

    /// Sends it a signal that it survives.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process().as_ref().context("it does not run")?.signal(signal)
    }

    /// Undoes whatever was left undone.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.to_postgres.set(Mode::Forward);
        self.to_nats.set(Mode::Forward);
        if self.check().is_ok() && self.process().is_some() {
            return self.signal(Signal::SIGCONT);
        }
        self.start()
    }

    /// Sees to it that it has not ended by itself, and how much memory it has had.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let mut process = self.process();
        let Some(server) = process.as_mut() else {
            return Ok(());
        };
        if let Some(status) = server.ended()? {
            *process = None;
            bail!("{} has ended by itself, with {status}", self.name());
        }
        self.memory.fetch_max(peak_memory(server.id()), Ordering::Relaxed);
        Ok(())
    }

    /// The most memory that it has had, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed) / 1024
    }

    /// Whether it says that it can do all of its work.
    pub(crate) fn is_ready(&self) -> bool {
        answers_ok(&self.start.ops, "/readyz")
            && self.api().is_none_or(|api| answers_ok(api, "/readyz"))
    }

    /// Whether it is the one that publishes.
    pub(crate) fn is_leader(&self) -> bool {
        get(&self.start.ops, "/metrics")
            .is_ok_and(|answer| answer.lines().any(|line| line == "auth_relay_leader 1"))
    }

    fn take(&self) -> anyhow::Result<Server> {
        self.check()?;
        self.process().take().with_context(|| format!("{} does not run", self.name()))
    }

    fn process(&self) -> MutexGuard<'_, Option<Server>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most memory that a process has had, in KiB; 0 where the system does not tell.
fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
