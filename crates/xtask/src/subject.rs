//! `auth-server` and a PostgreSQL of its own, for the commands that call it from
//! outside.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::artifacts::Profile;
use crate::process::{Server, answers_ok, free_port};
use crate::services::{Durability, Home, Postgres};
use crate::{artifacts, install};

/// The user that is there from the start, who is an administrator.
pub(crate) const USERNAME: &str = "admin";

/// That user's password.
pub(crate) const PASSWORD: &str = "the passphrase of whoever calls";

/// What signs the tokens unless a key does.
pub(crate) const JWT_SECRET: &str = "the secret of the tokens of this subject";

/// What services show.
pub(crate) const SERVICE_API_KEY: &str = "the key of the services of this subject";

/// Both of them, until this is dropped: first the one, then the other.
pub(crate) struct Subject {
    /// Where the HTTP API is, and, as a URL, the issuer of the tokens. It believes one
    /// proxy, so that requests can come from anywhere.
    pub(crate) address: String,
    /// Where health and metrics are.
    pub(crate) ops: String,
    pub(crate) server: Server,
    pub(crate) postgres: Postgres,
    directory: TempDir,
}

impl Subject {
    /// Builds and starts them; `environment` is set beside what is always set.
    ///
    /// # Errors
    ///
    /// When something can't be installed, built or started.
    pub(crate) fn start(profile: Profile, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        install::rust_target()?;
        install::servers(&[install::POSTGRESQL])?;
        let built = artifacts::build_as(profile)?;
        let directory = tempfile::Builder::new().prefix("edd-cloud-auth-subject-").tempdir()?;
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
            .env("JWT_SECRET", JWT_SECRET)
            .env("JWT_ISSUER", format!("http://{address}"))
            .env("SERVICE_API_KEY", SERVICE_API_KEY)
            .env("ADMIN_USERNAME", USERNAME)
            .env("DEFAULT_USERNAME", USERNAME)
            .env("DEFAULT_PASSWORD", PASSWORD)
            .env("TRUSTED_PROXY_HOPS", "1")
            .env_remove("NATS_URL")
            .env_remove("NATS_CREDS")
            .env_remove("APP_DATABASE_URL")
            .envs(environment.iter().copied());
        let log = directory.path().join("auth-server.log");
        let mut server = Server::start("auth-server", &mut command, &log, Signal::SIGTERM)?;
        server.wait_until(Duration::from_mins(1), || {
            answers_ok(&address, "/readyz") && answers_ok(&ops, "/readyz")
        })?;
        Ok(Self { address, ops, server, postgres, directory })
    }

    /// A directory that goes with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}
