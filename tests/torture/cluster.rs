//! Everything that runs in a campaign: the programs, and the servers behind them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use tempfile::TempDir;
use tokio::runtime::Handle;
use url::Url;
use xtask::artifacts::Artifacts;
use xtask::process::output;
use xtask::proxy::Proxy;
use xtask::secrets::{ADMIN_PASSWORD, JWT_SECRET, SERVICE_API_KEY};

use crate::jetstream;
use crate::program::{Program, Start};
use crate::schedule::{PROGRAMS, SERVERS, Victim};
use crate::servers::{Servers, address_of};

/// The administrator.
const ADMIN: &str = "admin";

/// The role of the component; that of the background tasks is named after it.
const ROLE: &str = "auth_app";

/// The password of both roles.
const ROLE_PASSWORD: &str = "the password of the campaign's roles";

/// How long everything may take to be ready, at the start and after a fault.
const READY_TIMEOUT: Duration = Duration::from_secs(90);

/// How often that is looked at.
const READY_POLL: Duration = Duration::from_millis(100);

/// The programs, PostgreSQL, nats-server and their directory. All of it ends when this
/// is dropped.
pub(crate) struct Cluster {
    /// `auth-server`s, then `auth-sidecar`s.
    pub(crate) programs: Vec<Program>,
    pub(crate) servers: Servers,
    pub(crate) runtime: Handle,
    /// Last, so that it is there until all have stopped.
    directory: Option<TempDir>,
}

impl Cluster {
    /// Starts everything, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub(crate) fn start(runtime: &Handle) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("edd-cloud-auth-torture-").tempdir()?;
        // The servers' user has to get in.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(directory.path().join("logs"))?;
        let servers = Servers::start(directory.path())?;
        let (database, nats) = (servers.database_url()?, servers.nats_url()?);
        make_roles(&database)?;
        runtime.block_on(jetstream::create_stream(&nats))?;
        let mut programs = Vec::new();
        for number in 0..PROGRAMS {
            let to_postgres = Proxy::start(address_of(&database)?)?;
            let to_nats = Proxy::start(address_of(&nats)?)?;
            let start = start(number, directory.path(), &database, &to_postgres, &to_nats)?;
            programs.push(Program::new(start, to_postgres, to_nats));
        }
        let directory = Some(directory);
        let cluster = Self { programs, servers, runtime: runtime.clone(), directory };
        for program in &cluster.programs {
            program.start()?;
        }
        cluster.until_ready()?;
        Ok(cluster)
    }

    /// Where the API is, once for each `auth-server`.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.programs.iter().filter_map(Program::api).map(str::to_owned).collect()
    }

    /// Tells every program's proxy where a server is now, or that it is nowhere.
    pub(crate) fn retarget(&self, link: Victim, address: Option<SocketAddr>) {
        for program in &self.programs {
            program.link(link).retarget(address);
        }
    }

    /// Sees to it that no program has ended by itself.
    ///
    /// # Errors
    ///
    /// When one has.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.programs.iter().try_for_each(Program::check)
    }

    /// Waits until every program is ready and one publishes. Returns how long that took.
    ///
    /// # Errors
    ///
    /// When it takes too long, or a program ends.
    pub(crate) fn until_ready(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            self.check()?;
            let waiting = self.programs.iter().find(|program| !program.is_ready());
            if waiting.is_none() && self.leader().is_some() {
                return Ok(started.elapsed());
            }
            if started.elapsed() > READY_TIMEOUT {
                let who = waiting.map_or("no program publishes", |program| program.name());
                bail!("not ready after {} seconds: {who}", READY_TIMEOUT.as_secs());
            }
            std::thread::sleep(READY_POLL);
        }
    }

    /// The program that publishes.
    pub(crate) fn leader(&self) -> Option<&Program> {
        self.programs.iter().find(|program| program.is_leader())
    }

    /// Undoes whatever was left undone.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        let postgres = self.servers.heal_postgres()?;
        self.retarget(Victim::LinkToPostgres, Some(postgres));
        let nats = self.servers.heal_nats()?;
        self.retarget(Victim::LinkToNats, Some(nats));
        self.programs.iter().try_for_each(Program::heal)
    }

    /// The most memory that each kind of program has had, in MiB.
    pub(crate) fn memory(&self) -> BTreeMap<&'static str, u64> {
        let mut memory = BTreeMap::new();
        for program in &self.programs {
            let most: &mut u64 = memory.entry(program.name()).or_default();
            *most = program.memory().max(*most);
        }
        memory
    }

    /// Leaves the files there. Returns where.
    pub(crate) fn keep(&mut self) -> Option<PathBuf> {
        self.directory.take().map(TempDir::keep)
    }

    /// Secrets of this campaign alone, which no log may have.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [self.servers.database_password(), ROLE_PASSWORD]
    }
}

/// Applies the migrations as the owner, and makes the roles of the programs.
fn make_roles(database_url: &str) -> anyhow::Result<()> {
    output(
        Command::new(Artifacts::paths().sidecar)
            .args(["migrate", "--app-role", ROLE])
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("APP_ROLE_PASSWORD", ROLE_PASSWORD)
            .env("SIDECAR_ROLE_PASSWORD", ROLE_PASSWORD),
    )?;
    Ok(())
}

/// How a program is started.
fn start(
    number: usize,
    directory: &Path,
    database_url: &str,
    to_postgres: &Proxy,
    to_nats: &Proxy,
) -> anyhow::Result<Start> {
    let built = Artifacts::paths();
    let is_server = number < SERVERS;
    let database = |role: &str| -> anyhow::Result<String> {
        let mut url = Url::parse(database_url)?;
        let refused = |()| anyhow::anyhow!("a URL without a host");
        url.set_username(role).map_err(refused)?;
        url.set_password(Some(ROLE_PASSWORD)).map_err(refused)?;
        url.set_port(Some(to_postgres.address().port())).map_err(refused)?;
        Ok(url.into())
    };
    let (ops, api) = (own_address()?, own_address()?);
    let mut environment = vec![
        ("DATABASE_URL", database(&format!("{ROLE}_sidecar"))?),
        ("NATS_URL", format!("nats://{}", to_nats.address())),
        ("ADMIN_USERNAME", ADMIN.to_owned()),
        ("DEFAULT_USERNAME", ADMIN.to_owned()),
        ("DEFAULT_PASSWORD", ADMIN_PASSWORD.to_owned()),
        ("OPS_ADDR", ops.clone()),
    ];
    if is_server {
        environment.extend([
            ("APP_DATABASE_URL", database(ROLE)?),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("SERVICE_API_KEY", SERVICE_API_KEY.to_owned()),
            ("ADDR", api.clone()),
            // Clients say where they are.
            ("TRUSTED_PROXY_HOPS", "1".to_owned()),
            // So that sessions expire while it lasts.
            ("SESSION_TTL", "2m".to_owned()),
        ]);
    }
    let (name, executable, arguments): (_, _, &[&str]) = if is_server {
        ("auth-server", built.server, &[])
    } else {
        ("auth-sidecar", built.sidecar, &["run"])
    };
    let log = directory.join("logs").join(format!("{name}-{number}.log"));
    let api = is_server.then_some(api);
    Ok(Start { name, executable, arguments, environment, log, ops, api })
}

/// An address of this process alone: its port is still free when a program that was
/// killed starts again, because connections go out from 127.0.0.1.
fn own_address() -> anyhow::Result<String> {
    // Process numbers have 22 bits.
    let host = Ipv4Addr::from(0x7f40_0000 | (std::process::id() & 0x003f_ffff));
    Ok(TcpListener::bind((host, 0))?.local_addr()?.to_string())
}
