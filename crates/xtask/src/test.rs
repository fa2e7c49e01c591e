//! `cargo xtask test`: every test of the workspace, with real servers.

use crate::services::{Durability, Home, Postgres};
use crate::{artifacts, install, process};

/// The variable with the URL of a PostgreSQL whose user may create databases.
pub const DATABASE_URL: &str = "TEST_DATABASE_URL";

/// Runs the tests; `args` go to `cargo test`.
///
/// # Errors
///
/// When something can't be installed, built or started, or a test fails.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    install::rust_target()?;
    install::servers(&[install::POSTGRESQL, install::NATS])?;
    artifacts::build()?;
    let directory = tempfile::Builder::new().prefix("edd-cloud-auth-test-").tempdir()?;
    // The servers' user has to get in.
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let home = Home::new(directory.path())?;
    let postgres = Postgres::start(&home, Durability::None)?;
    eprintln!("xtask: running the tests");
    process::run_verbatim(
        artifacts::cargo()
            .args(["test", "--workspace"])
            .args(args)
            .env(DATABASE_URL, postgres.url_of("postgres")),
    )
}
