//! `cargo xtask test`: every test of the workspace, with real servers.

use std::path::Path;

use anyhow::{Context, bail};

use crate::services::{Durability, Home, Postgres};
use crate::{artifacts, install, process, secrets};

/// The variable with the URL of a PostgreSQL whose user may create databases.
pub const DATABASE_URL: &str = "TEST_DATABASE_URL";

/// The variable with the directory where the processes that tests start write their
/// logs.
pub const LOGS: &str = "TEST_LOGS";

/// The variable with an `auth-sidecar` that makes the schema, and grants, for the tests,
/// where that is to be another version's.
pub const MIGRATE_WITH: &str = "TEST_MIGRATE_WITH";

/// The variable with a `spin` that serves the component in the end-to-end tests, in place
/// of the host of `auth-server`.
pub const SPIN: &str = "TEST_SPIN";

/// Runs the tests; `args` go to `cargo test`. A `spin` serves the component in the
/// end-to-end tests, if there is one. Then searches what their processes have
/// logged for secrets.
///
/// # Errors
///
/// When something can't be installed, built or started, a test fails, or a secret
/// is found.
pub fn run(args: &[String], spin: Option<&Path>) -> anyhow::Result<()> {
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
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs)?;
    eprintln!("xtask: running the tests");
    let mut tests = artifacts::cargo();
    tests
        .args(["test", "--workspace"])
        .args(args)
        .env(DATABASE_URL, postgres.url_of("postgres"))
        .env(LOGS, &logs)
        .envs(spin.map(|spin| (SPIN, spin)));
    let tested = process::run_verbatim(&mut tests);
    // What the tests have to say was said.
    search(&logs, &[postgres.password()]).and(tested)
}

/// Searches every file of a directory for secrets.
fn search(logs: &Path, others: &[&str]) -> anyhow::Result<()> {
    let mut files = 0;
    for entry in std::fs::read_dir(logs)? {
        let file = entry?.path();
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        if let Some(found) = secrets::find(&String::from_utf8_lossy(&text), others) {
            bail!("{} has {found}", file.display());
        }
        files += 1;
    }
    eprintln!("xtask: no secret in the logs of {files} processes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_log_is_an_error() {
        let logs = tempfile::tempdir().expect("a directory");
        let write = |text: &str| std::fs::write(logs.path().join("a.log"), text).expect("written");
        write("a line\n");
        search(logs.path(), &["hunter2"]).expect("nothing found");
        write("a line\npassword hunter2\n");
        let found = search(logs.path(), &["hunter2"]).expect_err("found").to_string();
        assert!(found.contains("a.log has") && !found.contains("hunter2"), "{found}");
    }
}
