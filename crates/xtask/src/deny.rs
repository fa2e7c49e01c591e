//! What dependencies may be, which `deny.toml` says and cargo-deny checks.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::process::{output, run};
use crate::{artifacts, root};

/// The release that is installed.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Checks licenses, sources, and that a cryptographic crate is there once. Not
/// advisories: they come from the network, and change without a change here.
///
/// # Errors
///
/// When cargo-deny can't be installed, or refuses a dependency.
pub fn check() -> anyhow::Result<()> {
    let cargo_deny = cargo_deny()?;
    // Those of other systems are looked at as well, and nothing has fetched them.
    run(artifacts::cargo().args(["fetch", "--quiet", "--locked"]))?;
    run(Command::new(cargo_deny)
        .args(["--offline", "--locked", "check", "--deny", "warnings"])
        .args(["licenses", "sources", "bans"])
        .current_dir(root()))
    .context("deny.toml says what dependencies may be")
}

/// The program, installed once.
fn cargo_deny() -> anyhow::Result<PathBuf> {
    let root = artifacts::target().join("cargo-deny");
    let program = root.join("bin/cargo-deny");
    let installed = program.exists() && {
        let version = output(Command::new(&program).arg("--version"))?;
        version.trim().ends_with(&format!(" {CARGO_DENY_VERSION}"))
    };
    if !installed {
        eprintln!("xtask: installing cargo-deny {CARGO_DENY_VERSION} (two minutes)");
        // Its release profile takes long to build, and it has seconds of work to do.
        run(artifacts::cargo()
            .args(["install", "cargo-deny", "--version", CARGO_DENY_VERSION, "--locked"])
            .args(["--quiet", "--profile", "dev", "--root"])
            .arg(&root)
            .env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
    }
    Ok(program)
}
