//! Building, running and testing edd-cloud-auth: what `cargo xtask` does, and
//! what the tests start their servers with.

pub mod artifacts;
pub mod bench;
pub mod check;
pub mod deny;
pub mod fuzz;
pub mod fuzz_api;
pub mod install;
pub mod interop;
pub mod process;
pub mod proxy;
pub mod secrets;
pub mod services;
pub mod spin;
mod subject;
pub mod test;
pub mod torture;
pub mod up;
pub mod upgrade;

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}
