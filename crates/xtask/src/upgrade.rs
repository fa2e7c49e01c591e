//! `cargo xtask upgrade`: whether two versions get on with each other's schema, which
//! they have to while one replaces the other (`migrations/README.md`).

use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::artifacts;
use crate::test::MIGRATE_WITH;
use crate::{install, process, root};

/// How many of the newest releases are looked at.
const RELEASES: usize = 2;

/// Tests of the right of each role, column by column: those of one version.
const RIGHTS: &str = "least_privilege::";

/// Tests of what comes with the schema, and is never run on an older one: the background
/// tasks, which migrate first.
const BACKGROUND: [&str; 12] = [
    "events::",
    "housekeeping::",
    "import::",
    "nats_cluster::",
    "operations::",
    "processes::",
    "reconcile::",
    "relay::",
    "relay_faults::",
    "secrets::",
    "set_aside::",
    "snapshot::",
];

/// Runs, for each version, its end-to-end tests on the schema of this one, and the tests
/// of this one on its schema. Without versions: the last two that were released, which
/// may be none. Of the tests, those with these names; all, when there are no names.
///
/// # Errors
///
/// When a version is not known or from before this command, something can't be built, or
/// a test fails.
pub fn run(versions: &[String], names: &[String]) -> anyhow::Result<()> {
    let versions = if versions.is_empty() { released()? } else { versions.to_vec() };
    if versions.is_empty() {
        println!("nothing was released yet (no tag v*): there is no version to upgrade from");
        return Ok(());
    }
    install::rust_target()?;
    for version in &versions {
        let other = Version::check_out(version)?;
        other.verify(names).with_context(|| format!("between {version} and this version"))?;
        println!("{version} and this version get on with each other's schema");
    }
    Ok(())
}

/// The newest tags `v*` but for those of the commit that is being tested.
fn released() -> anyhow::Result<Vec<String>> {
    let sorted = ["tag", "--list", "v*", "--sort=-version:refname", "--no-contains", "HEAD"];
    let tags = process::output(git().args(sorted))?;
    Ok(tags.lines().take(RELEASES).map(str::to_owned).collect())
}

fn git() -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root());
    command
}

/// The files of a version.
struct Version {
    /// Outside of the repository, whose settings of cargo would count for it as well.
    directory: TempDir,
}

impl Version {
    fn check_out(name: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("edd-cloud-auth-upgrade-").tempdir()?;
        let version = Self { directory };
        process::run(git().args(["worktree", "add", "--detach"]).arg(version.path()).arg(name))?;
        let test = std::fs::read_to_string(version.path().join("crates/xtask/src/test.rs"))?;
        ensure!(
            test.contains(MIGRATE_WITH),
            "{name} is from before this command: its tests make their own schema"
        );
        Ok(version)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn verify(&self, names: &[String]) -> anyhow::Result<()> {
        eprintln!("xtask: the other version, on the schema of this one");
        let newer = absolute(artifacts::build()?.sidecar)?;
        let own = absolute(artifacts::target())?;
        // Not where this one is built: cargo gives what has the same place in its workspace
        // the same name, and would take one version for the other.
        let others = own.join("upgrade");
        test(&self.path(), &others, &newer, names, &[RIGHTS])?;
        eprintln!("xtask: this version, on the schema of the other one");
        let older = others.join("debug/auth-sidecar");
        let skipped = [&[RIGHTS], BACKGROUND.as_slice()].concat();
        test(&root(), &own, &older, names, &skipped)
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        let removed = git().args(["worktree", "remove", "--force"]).arg(self.path()).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("xtask: {} stays; see `git worktree prune`", self.path().display());
        }
    }
}

/// Runs the tests of the version in a directory, on the schema that a program makes.
fn test(
    directory: &Path,
    target: &Path,
    migrate_with: &Path,
    names: &[String],
    skipped: &[&str],
) -> anyhow::Result<()> {
    let skipped = skipped.iter().flat_map(|name| ["--skip", name]);
    process::run_verbatim(
        artifacts::cargo()
            .current_dir(directory)
            .args(["xtask", "test", "--", "--test", "e2e", "--"])
            .args(names)
            .args(skipped)
            .env(MIGRATE_WITH, migrate_with)
            .env("CARGO_TARGET_DIR", target),
    )
}
