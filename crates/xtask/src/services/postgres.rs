//! A private PostgreSQL cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::{Certificate, Home, kept_port, kept_secret};
use crate::install;
use crate::process::{Server, output};

/// The superuser of the cluster.
const USER: &str = "auth";

/// The database of the service.
const DATABASE: &str = "auth";

/// A running cluster. Stops when it is dropped; its data stays.
pub struct Postgres {
    server: Server,
    port: u16,
    password: String,
    data: PathBuf,
}

/// Whether a crash of the machine may lose what was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It may not.
    Full,
    /// It may: for tests, which are faster that way.
    None,
}

impl Postgres {
    /// Starts the cluster of `home`, and makes it first where there is none.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing or does not start.
    pub fn start(home: &Home, durability: Durability) -> anyhow::Result<Self> {
        Self::start_with(home, durability, None)
    }

    /// The same, which speaks TLS when it has a certificate.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing or does not start.
    pub fn start_with(
        home: &Home,
        durability: Durability,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<Self> {
        let password = kept_secret(&home.directory().join("database-password"))?;
        let parent = home.private_directory("postgres")?;
        let data = parent.join("data");
        if !data.join("PG_VERSION").exists() {
            initialize(home, &parent, &data, &password)?;
        }
        refuse_second_server(&data)?;
        let port = kept_port(&home.directory().join("postgres.port"))?;
        let mut command = home.command(&program("postgres")?);
        command.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            // Their paths may be no longer than 107 bytes, and nobody needs them.
            "unix_socket_directories=",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        if let Some(certificate) = certificate {
            let [file, key] = certificate.write(home, &parent)?;
            command.args(["-c", "ssl=on"]);
            command.arg("-c").arg(format!("ssl_cert_file={}", file.display()));
            command.arg("-c").arg(format!("ssl_key_file={}", key.display()));
        }
        if durability == Durability::None {
            command.args(["-c", "fsync=off", "-c", "synchronous_commit=off"]);
            command.args(["-c", "full_page_writes=off"]);
        }
        // SIGINT: disconnect clients, write everything, end ("fast shutdown").
        let log = home.directory().join("postgres.log");
        let server = Server::start("PostgreSQL", &mut command, &log, Signal::SIGINT)?;
        let mut postgres = Self { server, port, password, data };
        let mut probe = postgres.client("pg_isready")?;
        probe.arg("--quiet");
        postgres.server.wait_until(Duration::from_mins(1), || output(&mut probe).is_ok())?;
        postgres.create_database()?;
        Ok(postgres)
    }

    /// The URL of the service's database, for its superuser.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The URL of another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The password in its URLs.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs `psql` on a database; the first error ends it.
    ///
    /// # Errors
    ///
    /// When the script fails; with what PostgreSQL said.
    pub fn psql(&self, database: &str, script: &str) -> anyhow::Result<String> {
        output(
            self.client("psql")?
                .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
                .args(["--set", "ON_ERROR_STOP=1", "--dbname", database, "--command", script]),
        )
    }

    /// The process.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Sends a signal to every process of the cluster, such as SIGSTOP, after which it
    /// accepts connections and answers none.
    ///
    /// # Errors
    ///
    /// When the system does not tell which they are, or the server is gone.
    pub fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        // The first of them first: it starts the others.
        self.server.signal(signal)?;
        let id = self.server.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
            .context("the processes of PostgreSQL")?;
        for child in children.split_whitespace() {
            // One that has ended meanwhile needs no signal.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.parse()?), signal);
        }
        Ok(())
    }

    /// Where its files are.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    fn create_database(&self) -> anyhow::Result<()> {
        let exists = self.psql(
            "postgres",
            &format!("select count(*) from pg_database where datname = '{DATABASE}'"),
        )?;
        if exists.trim() == "0" {
            self.psql("postgres", &format!("create database {DATABASE}"))?;
        }
        Ok(())
    }

    fn client(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program(name)?);
        command
            .env("PGPASSWORD", &self.password)
            .args(["--host", "127.0.0.1", "--username", USER])
            .args(["--port", &self.port.to_string()]);
        Ok(command)
    }
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    install::find(name).with_context(|| format!("PostgreSQL's `{name}` is missing"))
}

fn initialize(home: &Home, parent: &Path, data: &Path, password: &str) -> anyhow::Result<()> {
    let password_file = parent.join("initial-password");
    home.write(&password_file, password)?;
    let mut command = home.command(&program("initdb")?);
    command
        .arg("--pgdata")
        .arg(data)
        .arg("--pwfile")
        .arg(&password_file)
        .args(["--username", USER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8"]);
    let result = output(&mut command);
    fs::remove_file(&password_file)?;
    result.map(drop)
}

/// PostgreSQL would refuse, too, but in its log.
fn refuse_second_server(data: &Path) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.parse().ok());
    match pid.map(nix::unistd::Pid::from_raw) {
        Some(pid) if is_postgres(pid) => bail!(
            "another PostgreSQL, process {pid}, runs on {}; stop the other `cargo xtask` \
             (or that process), or choose another --data-dir",
            data.display()
        ),
        _ => Ok(()),
    }
}

/// Whether the process lives and, where the system tells, is a PostgreSQL: after
/// a restart of the machine another program may have its number.
fn is_postgres(pid: nix::unistd::Pid) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name.trim() == "postgres",
        Err(_) => nix::sys::signal::kill(pid, None).is_ok(),
    }
}
