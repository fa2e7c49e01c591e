//! What the machine has to have, and how it gets it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process;

/// The target of the component.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// A server: a program of it that is looked for, and its package's name with apt
/// and brew.
pub type Needed = (&'static str, &'static str);

/// PostgreSQL.
pub const POSTGRESQL: Needed = ("initdb", "postgresql");

/// NATS.
pub const NATS: Needed = ("nats-server", "nats-server");

/// Makes sure that Rust can build for [`WASM_TARGET`].
///
/// # Errors
///
/// When it can't, and rustup can't change that.
pub fn rust_target() -> anyhow::Result<()> {
    let libraries = process::output(Command::new("rustc").args([
        "--print",
        "target-libdir",
        "--target",
        WASM_TARGET,
    ]))?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    eprintln!("xtask: installing the Rust target {WASM_TARGET}");
    process::run(Command::new("rustup").args(["target", "add", WASM_TARGET]))
        .with_context(|| format!("install the Rust target {WASM_TARGET}"))
}

/// Makes sure that these servers are there: installs them on Debian
/// and its relatives where that is possible without a password.
///
/// # Errors
///
/// When one is missing and can't be installed; with the commands that would.
pub fn servers(needed: &[Needed]) -> anyhow::Result<()> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = apt() else {
        bail!("{}", instructions(&missing));
    };
    eprintln!("xtask: installing {} with apt-get", missing.join(" and "));
    let apt_get = |args: &[&str]| {
        let mut command = Command::new(apt[0]);
        command.args(&apt[1..]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(&mut command)
    };
    apt_get(&["update"])
        .and_then(|()| {
            let options = ["install", "--yes", "--no-install-recommends"];
            apt_get(&[&options, missing.as_slice()].concat())
        })
        .with_context(|| instructions(&missing))
}

/// How to call `apt-get`: as root, or with a sudo that asks nothing.
fn apt() -> Option<&'static [&'static str]> {
    in_path("apt-get")?;
    if nix::unistd::geteuid().is_root() {
        return Some(&["apt-get"]);
    }
    process::output(Command::new("sudo").args(["--non-interactive", "true"])).ok()?;
    Some(&["sudo", "--non-interactive", "apt-get"])
}

fn instructions(missing: &[&str]) -> String {
    let packages = missing.join(" ");
    format!(
        "{} missing; install with one of\n  \
         sudo apt-get install {packages}\n  \
         brew install {packages}\n\
         or download from https://www.postgresql.org/download/ and \
         https://github.com/nats-io/nats-server/releases, and put the programs in the PATH.\n\
         Or set DATABASE_URL and NATS_URL to servers that run already.",
        missing.join(" and ")
    )
}

/// Finds a program: in the PATH, or where packages of PostgreSQL put theirs.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    in_path(program).or_else(|| {
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"]
            .into_iter()
            .filter_map(|parent| std::fs::read_dir(parent).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(program)))
            .filter(|path| path.is_file())
            .max()
    })
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
