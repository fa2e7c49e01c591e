//! The component, and the programs around it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::WASM_TARGET;
use crate::{process, root};

/// How the programs are optimised. The component always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Built fast.
    Dev,
    /// Runs fast.
    Release,
}

impl Profile {
    /// What cargo calls it, and where it puts what it builds.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Dev => ("dev", "debug"),
            Self::Release => ("release", "release"),
        }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The component.
    pub component: PathBuf,
    /// The component, compiled for this machine.
    pub precompiled: PathBuf,
    /// `auth-server`, with the component inside.
    pub server: PathBuf,
    /// `auth-sidecar`.
    pub sidecar: PathBuf,
}

impl Artifacts {
    /// Where they are, built or not.
    #[must_use]
    pub fn paths() -> Self {
        Self::paths_as(Profile::Dev)
    }

    fn paths_as(profile: Profile) -> Self {
        let target = target();
        let (_, directory) = profile.names();
        let component = target.join(WASM_TARGET).join("component/edd_cloud_auth.wasm");
        Self {
            precompiled: component.with_extension("cwasm"),
            component,
            server: target.join(directory).join("auth-server"),
            sidecar: target.join(directory).join("auth-sidecar"),
        }
    }
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds them all.
///
/// # Errors
///
/// When cargo or the component's compiler fails.
pub fn build() -> anyhow::Result<Artifacts> {
    build_as(Profile::Dev)
}

/// Builds them all, the programs with another profile.
///
/// # Errors
///
/// As [`build`].
pub fn build_as(profile: Profile) -> anyhow::Result<Artifacts> {
    let built = Artifacts::paths_as(profile);
    let (profile, directory) = profile.names();
    eprintln!("xtask: building the component");
    process::run(cargo().args([
        "build",
        "--package",
        "edd-cloud-auth",
        "--lib",
        "--target",
        WASM_TARGET,
        "--profile",
        "component",
    ]))?;
    eprintln!("xtask: building the programs (minutes, the first time)");
    // Always the whole workspace, so that every build has the same features and
    // none compiles wasmtime anew.
    process::run(cargo().args([
        "build",
        "--workspace",
        "--example",
        "precompile",
        "--profile",
        profile,
    ]))?;
    let precompile = target().join(directory).join("examples/precompile");
    if is_older(&built.precompiled, &built.component) || is_older(&built.precompiled, &precompile) {
        eprintln!("xtask: compiling the component for this machine");
        process::run(Command::new(&precompile).arg(&built.component).arg(&built.precompiled))?;
    }
    process::run(
        cargo()
            .args(["build", "--workspace", "--bins", "--features", "edd-auth-server/embedded"])
            .args(["--profile", profile])
            .env("AUTH_COMPONENT_WASM", &built.component)
            .env("AUTH_COMPONENT_CWASM", &built.precompiled),
    )?;
    Ok(built)
}

/// `cargo` of the same toolchain, in the root of the repository.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` has set for us would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

fn is_older(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    modified(file) < modified(than)
}
