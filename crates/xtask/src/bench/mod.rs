//! `cargo xtask bench`: figures about the running service. They are ratios and
//! differences within one run, since the figures of two machines don't compare.

pub mod login;
mod sample;
pub mod timing;

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::artifacts::{self, Profile};
use crate::install;
use crate::process::{Server, answers_ok, free_port};
use crate::services::{Durability, Home, Postgres};

/// The user that is there from the start.
const USERNAME: &str = "admin";

/// Everybody's password.
const PASSWORD: &str = "the password of all who are measured";

/// Another one.
const WRONG_PASSWORD: &str = "a password that nobody there does have";

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// `auth-server` and its PostgreSQL, until this is dropped: first the one, then the
/// other.
struct Service {
    address: String,
    _server: Server,
    postgres: Postgres,
    _directory: TempDir,
}

impl Service {
    fn start(profile: Profile) -> anyhow::Result<Self> {
        install::rust_target()?;
        install::servers(&[install::POSTGRESQL])?;
        let built = artifacts::build_as(profile)?;
        let directory = tempfile::Builder::new().prefix("edd-cloud-auth-bench-").tempdir()?;
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let home = Home::new(directory.path())?;
        let postgres = Postgres::start(&home, Durability::None)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let ops = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(&built.server);
        command
            .env("DATABASE_URL", postgres.url())
            .env("ADDR", &address)
            .env("OPS_ADDR", &ops)
            .env("JWT_SECRET", "the secret of the tokens that are measured")
            .env("ADMIN_USERNAME", USERNAME)
            .env("DEFAULT_USERNAME", USERNAME)
            .env("DEFAULT_PASSWORD", PASSWORD)
            // So that requests can come from anywhere.
            .env("TRUSTED_PROXY_HOPS", "1")
            .env_remove("NATS_URL")
            .env_remove("NATS_CREDS")
            .env_remove("APP_DATABASE_URL");
        let log = directory.path().join("auth-server.log");
        let mut server = Server::start("auth-server", &mut command, &log, Signal::SIGTERM)?;
        server.wait_until(Duration::from_mins(1), || {
            answers_ok(&address, "/readyz") && answers_ok(&ops, "/readyz")
        })?;
        Ok(Self { address, _server: server, postgres, _directory: directory })
    }

    /// Creates users that are called `letter` and five digits, from 0.
    fn create_users(&self, letter: char, count: usize) -> anyhow::Result<()> {
        let client = self.client();
        let admin = client.login(Ipv4Addr::LOCALHOST, USERNAME, PASSWORD)?.token()?;
        (0..count).try_for_each(|number| client.create_user(&admin, &name(letter, number)))
    }

    fn client(&self) -> Client {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        Client { agent, url: format!("http://{}", self.address) }
    }
}

/// The name of a user of [`Service::create_users`].
fn name(letter: char, number: usize) -> String {
    format!("{letter}{number:05}")
}

/// A client on a connection that is kept. A response has arrived when its last byte
/// has.
struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn login(&self, from: Ipv4Addr, username: &str, password: &str) -> anyhow::Result<Answer> {
        let request = self.agent.post(format!("{}/login", self.url));
        let body = json!({"username": username, "password": password});
        Answer::read(
            request
                .header("x-forwarded-for", from.to_string())
                .content_type("application/json")
                .send(body.to_string())?,
        )
    }

    fn me(&self, token: &str) -> anyhow::Result<Answer> {
        let request = self.agent.get(format!("{}/me", self.url));
        Answer::read(request.header("authorization", format!("Bearer {token}")).call()?)
    }

    fn create_user(&self, admin: &str, username: &str) -> anyhow::Result<()> {
        let request = self.agent.post(format!("{}/admin/users", self.url));
        let body = json!({"username": username, "password": PASSWORD});
        let response = request
            .header("authorization", format!("Bearer {admin}"))
            .content_type("application/json")
            .send(body.to_string())?;
        Answer::read(response)?.expect(201).map(drop)
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Self> {
        let body = response.body_mut().read_to_vec()?;
        Ok(Self { status: response.status().as_u16(), body })
    }

    /// # Errors
    ///
    /// When it has another status; with what it says.
    fn expect(self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "{} instead of {status}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The token of a login.
    fn token(self) -> anyhow::Result<String> {
        let answer = self.expect(200)?;
        Ok(answer["token"].as_str().context("a login without a token")?.to_owned())
    }
}
