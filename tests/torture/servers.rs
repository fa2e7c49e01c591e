//! PostgreSQL and nats-server, which end and come back.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use url::Url;
use xtask::process::Server;
use xtask::services::{Durability, Home, Nats, Postgres};

use crate::jetstream::{CONFIGURATION, STREAM};

/// How long a server may take to end.
const END_TIMEOUT: Duration = Duration::from_mins(1);

/// Both servers, whether they run or not.
pub(crate) struct Servers {
    home: Home,
    postgres: Mutex<Option<Postgres>>,
    nats: Mutex<Option<Nats>>,
    database_password: String,
}

impl Servers {
    /// Starts them, with their data in a directory.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub(crate) fn start(directory: &Path) -> anyhow::Result<Self> {
        let home = Home::new(directory)?;
        let postgres = Postgres::start(&home, Durability::Full)?;
        let nats = Nats::start_with(&home, None, CONFIGURATION)?;
        let database_password = postgres.password().to_owned();
        let (postgres, nats) = (Mutex::new(Some(postgres)), Mutex::new(Some(nats)));
        Ok(Self { home, postgres, nats, database_password })
    }

    /// The password of the database's owner.
    pub(crate) fn database_password(&self) -> &str {
        &self.database_password
    }

    /// The database, for its owner.
    ///
    /// # Errors
    ///
    /// While it is down.
    pub(crate) fn database_url(&self) -> anyhow::Result<String> {
        Ok(lock(&self.postgres).as_ref().context("PostgreSQL is down")?.url())
    }

    /// The broker.
    ///
    /// # Errors
    ///
    /// While it is down.
    pub(crate) fn nats_url(&self) -> anyhow::Result<String> {
        Ok(lock(&self.nats).as_ref().context("nats-server is down")?.url())
    }

    /// Ends PostgreSQL with a signal.
    ///
    /// # Errors
    ///
    /// When it does not run or does not end.
    pub(crate) fn end_postgres(&self, signal: Signal) -> anyhow::Result<()> {
        let mut postgres = lock(&self.postgres).take().context("PostgreSQL is down")?;
        end(postgres.server(), signal)
    }

    /// Starts PostgreSQL again. Returns where it is: not where it was, if somebody has
    /// taken its port.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start_postgres(&self) -> anyhow::Result<SocketAddr> {
        let postgres = Postgres::start(&self.home, Durability::Full)?;
        let address = address_of(&postgres.url())?;
        *lock(&self.postgres) = Some(postgres);
        Ok(address)
    }

    /// Sees to it that PostgreSQL runs. Returns where it is.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn heal_postgres(&self) -> anyhow::Result<SocketAddr> {
        match self.database_url() {
            Ok(url) => {
                signal_all(&self.postgres_processes()?, Signal::SIGCONT)?;
                address_of(&url)
            }
            Err(_) => self.start_postgres(),
        }
    }

    /// Every process of PostgreSQL, the one that starts the others first.
    ///
    /// # Errors
    ///
    /// When it does not run, or the system does not tell.
    pub(crate) fn postgres_processes(&self) -> anyhow::Result<Vec<Pid>> {
        let mut postgres = lock(&self.postgres);
        let first = postgres.as_mut().context("PostgreSQL is down")?.server().id();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        let children = children.split_whitespace().map(str::parse);
        let processes = std::iter::once(Ok(i32::try_from(first)?)).chain(children);
        processes.map(|process| Ok(Pid::from_raw(process?))).collect()
    }

    /// Ends nats-server with a signal.
    ///
    /// # Errors
    ///
    /// When it does not run or does not end.
    pub(crate) fn end_nats(&self, signal: Signal) -> anyhow::Result<()> {
        let mut nats = lock(&self.nats).take().context("nats-server is down")?;
        end(nats.server(), signal)
    }

    /// Starts nats-server again. Returns where it is.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start_nats(&self) -> anyhow::Result<SocketAddr> {
        let nats = Nats::start_with(&self.home, None, CONFIGURATION)?;
        let address = address_of(&nats.url())?;
        *lock(&self.nats) = Some(nats);
        Ok(address)
    }

    /// Sends nats-server a signal that it survives.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub(crate) fn signal_nats(&self, signal: Signal) -> anyhow::Result<()> {
        lock(&self.nats).as_mut().context("nats-server is down")?.server().signal(signal)
    }

    /// Sees to it that nats-server runs. Returns where it is.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn heal_nats(&self) -> anyhow::Result<SocketAddr> {
        match self.nats_url() {
            Ok(url) => {
                self.signal_nats(Signal::SIGCONT)?;
                address_of(&url)
            }
            Err(_) => self.start_nats(),
        }
    }

    /// Where nats-server keeps the stream of the events.
    pub(crate) fn stream_directory(&self) -> PathBuf {
        self.home.directory().join("nats/jetstream/$G/streams").join(STREAM)
    }
}

fn end(server: &mut Server, signal: Signal) -> anyhow::Result<()> {
    let ended = server.ended()?;
    ensure!(ended.is_none(), "a server has ended by itself; its log:\n{}", server.log());
    server.signal(signal)?;
    server.wait(END_TIMEOUT)?;
    Ok(())
}

/// Sends a signal to processes of which some may be gone.
///
/// # Errors
///
/// When the first is gone.
pub(crate) fn signal_all(processes: &[Pid], signal: Signal) -> anyhow::Result<()> {
    let (first, others) = processes.split_first().context("no process")?;
    kill(*first, signal)?;
    for process in others {
        let _ = kill(*process, signal);
    }
    Ok(())
}

/// What a mutex holds, whatever became of others who held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a URL of a server on this machine leads.
///
/// # Errors
///
/// When it names no address.
pub(crate) fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    let url = Url::parse(url)?;
    let host: IpAddr = url.host_str().context("no host")?.parse()?;
    Ok((host, url.port().context("no port")?).into())
}
