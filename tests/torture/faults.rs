//! Faults as they are done to a running cluster. Each is undone before [`Scene::play`]
//! returns; one that can't be done is an error of the campaign.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xtask::proxy::Mode;

use crate::cluster::Cluster;
use crate::jetstream;
use crate::program::Program;
use crate::schedule::{Action, Fault, Kind, Victim};
use crate::servers::signal_all;
use crate::unsynced::cut_off;

/// How long there may be no leader when one is to be stopped or killed.
const LEADER_TIMEOUT: Duration = Duration::from_mins(1);

/// How often the leader is looked for.
const LEADER_POLL: Duration = Duration::from_millis(100);

/// Where faults happen, and what cuts them short.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) interrupted: &'a CancellationToken,
}

impl Scene<'_> {
    /// Does it, waits for as long as it lasts, and undoes it. Returns how many messages
    /// the stream has lost.
    ///
    /// # Errors
    ///
    /// When it can't be done or undone.
    pub(crate) fn play(&self, fault: &Fault) -> anyhow::Result<u64> {
        let Kind(action, victim) = fault.kind;
        match victim {
            Victim::Server | Victim::Sidecar => {
                self.program(action, &self.cluster.programs[fault.program], fault.lasts)?;
            }
            Victim::Leader => self.program(action, self.leader()?, fault.lasts)?,
            Victim::Postgres => self.postgres(action, fault.lasts)?,
            Victim::Nats => return self.nats(fault),
            Victim::LinkToPostgres | Victim::LinkToNats => {
                let program = &self.cluster.programs[fault.program];
                let program = if fault.of_leader { self.leader()? } else { program };
                let link = program.link(victim);
                link.set(match action {
                    Action::Cut => Mode::Reset,
                    Action::BlackHole => Mode::BlackHole,
                    _ => Mode::Delay(fault.delay),
                });
                self.pause(fault.lasts);
                link.set(Mode::Forward);
            }
        }
        Ok(0)
    }

    /// Waits, but not when all is to end.
    pub(crate) fn pause(&self, time: Duration) {
        let pause = async {
            // Either is a reason to go on.
            let _ = timeout(time, self.interrupted.cancelled()).await;
        };
        self.cluster.runtime.block_on(pause);
    }

    fn program(&self, action: Action, program: &Program, lasts: Duration) -> anyhow::Result<()> {
        match action {
            Action::Stop => {
                program.signal(Signal::SIGSTOP)?;
                self.pause(lasts);
                program.signal(Signal::SIGCONT)
            }
            Action::Restart => {
                program.stop()?;
                program.start()
            }
            _ => {
                program.kill()?;
                self.pause(lasts);
                program.start()
            }
        }
    }

    fn leader(&self) -> anyhow::Result<&Program> {
        let started = Instant::now();
        loop {
            if let Some(leader) = self.cluster.leader() {
                return Ok(leader);
            }
            ensure!(started.elapsed() < LEADER_TIMEOUT, "no program publishes");
            std::thread::sleep(LEADER_POLL);
        }
    }

    fn postgres(&self, action: Action, lasts: Duration) -> anyhow::Result<()> {
        let servers = &self.cluster.servers;
        if action == Action::Stop {
            // The first one before the others are looked up: then there are no more of them.
            signal_all(&servers.postgres_processes()?[..1], Signal::SIGSTOP)?;
            let processes = servers.postgres_processes()?;
            signal_all(&processes, Signal::SIGSTOP)?;
            self.pause(lasts);
            return signal_all(&processes, Signal::SIGCONT);
        }
        // Its immediate shutdown, without a checkpoint, or its fast one.
        let signal = if action == Action::Kill { Signal::SIGQUIT } else { Signal::SIGINT };
        servers.end_postgres(signal)?;
        self.cluster.retarget(Victim::LinkToPostgres, None);
        self.pause(lasts);
        let address = servers.start_postgres()?;
        self.cluster.retarget(Victim::LinkToPostgres, Some(address));
        Ok(())
    }

    fn nats(&self, fault: &Fault) -> anyhow::Result<u64> {
        let (servers, runtime) = (&self.cluster.servers, &self.cluster.runtime);
        let signal = match fault.kind.0 {
            Action::Stop => {
                servers.signal_nats(Signal::SIGSTOP)?;
                self.pause(fault.lasts);
                servers.signal_nats(Signal::SIGCONT)?;
                return Ok(0);
            }
            Action::Fill => {
                let url = servers.nats_url()?;
                runtime.block_on(jetstream::fill(&url))?;
                self.pause(fault.lasts);
                runtime.block_on(jetstream::empty(&url))?;
                return Ok(0);
            }
            Action::Restart => Signal::SIGTERM,
            _ => Signal::SIGKILL,
        };
        servers.end_nats(signal)?;
        self.cluster.retarget(Victim::LinkToNats, None);
        let lost = if fault.kind.0 == Action::LoseUnsynced {
            Some(cut_off(&servers.stream_directory(), fault.messages)?)
        } else {
            None
        };
        self.pause(fault.lasts);
        let address = servers.start_nats()?;
        if let Some(lost) = lost {
            // Before anybody publishes again.
            let (_, recovered) = runtime.block_on(jetstream::state(&servers.nats_url()?))?;
            ensure!(
                recovered == lost.last_sequence,
                "nats-server has recovered up to sequence {recovered}, not {}",
                lost.last_sequence
            );
        }
        self.cluster.retarget(Victim::LinkToNats, Some(address));
        Ok(lost.map_or(0, |lost| lost.messages))
    }
}
