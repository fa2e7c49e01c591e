//! `cargo xtask up` and `cargo xtask services`: the service on this machine.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::process::{Server, answers_ok, free_port};
use crate::services::{Durability, Home, Nats, Postgres, kept_secret};
use crate::{artifacts, install};

/// How long a server may take to become ready.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Starts everything, says that it is ready, and runs until Ctrl-C.
///
/// # Errors
///
/// When something can't be installed, built or started, or ends by itself.
pub fn up(addr: &str, data_dir: &Path) -> anyhow::Result<()> {
    let here = &reachable(addr)?;
    install::rust_target()?;
    let built = artifacts::build()?;
    let interrupts = interrupts()?;
    let setting = Setting::prepare(data_dir)?;
    let ops = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(&built.server);
    setting.apply(&mut command);
    command
        .env("ADDR", addr)
        .env("OPS_ADDR", &ops)
        .env("JWT_SECRET", &setting.jwt_secret)
        .env("SERVICE_API_KEY", &setting.service_api_key);
    let log = setting.home.directory().join("auth-server.log");
    let mut server = Server::start("auth-server", &mut command, &log, Signal::SIGTERM)?;
    // The API answers, the default user is there, and NATS is connected.
    server
        .wait_until(START_TIMEOUT, || answers_ok(here, "/readyz") && answers_ok(&ops, "/readyz"))?;
    println!("ready: http://{here}");
    eprintln!("{}", setting.describe());
    eprintln!("  metrics   http://{ops}/metrics\n  logs      {}\n", log.display());
    eprintln!("{}", curl_lines(here, &setting));
    setting.run_until_interrupted(server, &interrupts)
}

/// Starts all but the HTTP side, and prints the variables for `spin up`.
///
/// # Errors
///
/// As [`up`].
pub fn services(data_dir: &Path) -> anyhow::Result<()> {
    install::rust_target()?;
    let built = artifacts::build()?;
    let interrupts = interrupts()?;
    let setting = Setting::prepare(data_dir)?;
    let ops = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(&built.sidecar);
    setting.apply(&mut command);
    command.arg("run").env("OPS_ADDR", &ops);
    let log = setting.home.directory().join("auth-sidecar.log");
    let mut sidecar = Server::start("auth-sidecar", &mut command, &log, Signal::SIGTERM)?;
    sidecar.wait_until(START_TIMEOUT, || answers_ok(&ops, "/readyz"))?;
    println!("{}", setting.spin_exports()?);
    eprintln!("{}", setting.describe());
    eprintln!("  metrics   http://{ops}/metrics\n  logs      {}\n", log.display());
    eprintln!("Run the lines that start with `export` in another terminal, then `spin up` there.");
    eprintln!("{}", curl_lines("127.0.0.1:3000", &setting));
    setting.run_until_interrupted(sidecar, &interrupts)
}

/// What the service runs with. The private servers end with it.
struct Setting {
    home: Home,
    database_url: String,
    nats_url: String,
    default_username: String,
    default_password: String,
    admin_username: String,
    jwt_secret: String,
    service_api_key: String,
    nats: Option<Nats>,
    postgres: Option<Postgres>,
}

impl Setting {
    /// Takes what the environment says, and starts or makes up the rest.
    fn prepare(data_dir: &Path) -> anyhow::Result<Self> {
        let home = Home::new(data_dir)?;
        let (database_url, nats_url) =
            (from_environment("DATABASE_URL"), from_environment("NATS_URL"));
        let postgres = if database_url.is_none() {
            install::servers(&[install::POSTGRESQL])?;
            Some(Postgres::start(&home, Durability::Full)?)
        } else {
            None
        };
        let nats = if nats_url.is_none() {
            install::servers(&[install::NATS])?;
            Some(Nats::start(&home)?)
        } else {
            None
        };
        let secret = |variable: &str, file: &str| match from_environment(variable) {
            Some(value) => Ok(value),
            None => kept_secret(&home.directory().join(file)),
        };
        let default_username =
            from_environment("DEFAULT_USERNAME").unwrap_or_else(|| "admin".to_owned());
        Ok(Self {
            database_url: database_url
                .or_else(|| Some(postgres.as_ref()?.url()))
                .unwrap_or_default(),
            nats_url: nats_url.or_else(|| Some(nats.as_ref()?.url())).unwrap_or_default(),
            admin_username: from_environment("ADMIN_USERNAME")
                .unwrap_or_else(|| default_username.clone()),
            default_username,
            default_password: secret("DEFAULT_PASSWORD", "password")?,
            jwt_secret: secret("JWT_SECRET", "jwt-secret")?,
            service_api_key: secret("SERVICE_API_KEY", "service-api-key")?,
            nats,
            postgres,
            home,
        })
    }

    /// Gives a program what it needs of it.
    fn apply(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url)
            .env("DEFAULT_USERNAME", &self.default_username)
            .env("DEFAULT_PASSWORD", &self.default_password)
            .env("ADMIN_USERNAME", &self.admin_username);
    }

    fn describe(&self) -> String {
        format!(
            "  user      {}\n  password  {}\n  database  {}\n  NATS      {}\n  services  {}",
            self.default_username,
            self.default_password,
            self.database_url,
            self.nats_url,
            self.service_api_key
        )
    }

    fn spin_exports(&self) -> anyhow::Result<String> {
        let host = self
            .database_url
            .split_once("://")
            .and_then(|(_, rest)| rest.split(['/', '?']).next())
            .and_then(|authority| authority.rsplit('@').next())
            .context("DATABASE_URL is not a URL like postgres://user:password@host:5432/auth")?;
        let host = if host.ends_with(']') || !host.contains(':') {
            format!("{host}:5432")
        } else {
            host.to_owned()
        };
        // Spin's host has no time-outs of its own: neither for connecting nor for a
        // statement.
        let database_url = if self.postgres.is_some() {
            format!(
                "{}?connect_timeout=2&options=-c%20statement_timeout%3D10000",
                self.database_url
            )
        } else {
            self.database_url.clone()
        };
        Ok([
            ("DATABASE_URL", database_url.as_str()),
            ("DATABASE_HOST", &host),
            ("JWT_SECRET", &self.jwt_secret),
            ("ADMIN_USERNAME", &self.admin_username),
            ("SERVICE_API_KEY", &self.service_api_key),
        ]
        .map(|(name, value)| {
            format!("export SPIN_VARIABLE_{name}='{}'", value.replace('\'', r"'\''"))
        })
        .join("\n"))
    }

    /// Runs until Ctrl-C or SIGTERM, then stops what was started, last first.
    fn run_until_interrupted(
        mut self,
        mut server: Server,
        interrupts: &mpsc::Receiver<()>,
    ) -> anyhow::Result<()> {
        let end = loop {
            match interrupts.recv_timeout(Duration::from_millis(200)) {
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => break None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(status) = server.ended()? {
                        break Some(status);
                    }
                }
            }
        };
        eprintln!("xtask: stopping; the data stays in {}", self.home.directory().display());
        server.stop()?;
        if let Some(nats) = &mut self.nats {
            nats.server().stop()?;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.server().stop()?;
        }
        match end {
            Some(status) => bail!("the server ended with {status}; its log says why"),
            None => Ok(()),
        }
    }
}

/// The address at which this machine reaches a server that listens on `addr`.
fn reachable(addr: &str) -> anyhow::Result<String> {
    let (host, port) = addr
        .rsplit_once(':')
        .filter(|(_, port)| port.parse().is_ok_and(|port: u16| port > 0))
        .with_context(|| format!("--addr {addr} is no HOST:PORT, like 127.0.0.1:8080"))?;
    Ok(match host {
        "" | "0.0.0.0" | "[::]" => format!("127.0.0.1:{port}"),
        _ => addr.to_owned(),
    })
}

fn from_environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn curl_lines(addr: &str, setting: &Setting) -> String {
    format!(
        "TOKEN=$(curl -s http://{addr}/login -H 'Content-Type: application/json' \
         -d '{{\"username\":\"{}\",\"password\":\"{}\"}}' | \
         sed -n 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/p')\n\
         curl -s http://{addr}/me -H \"Authorization: Bearer $TOKEN\"",
        setting.default_username, setting.default_password
    )
}

/// Rings for each Ctrl-C, SIGTERM and end of the terminal (SIGHUP) from now on, instead of
/// ending the process.
fn interrupts() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_ends_it_before_what_it_has_started() {
        let interrupts = interrupts().expect("handlers");
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            nix::sys::signal::raise(signal).expect("raised");
            interrupts.recv_timeout(Duration::from_secs(10)).expect("noticed");
        }
    }
}
