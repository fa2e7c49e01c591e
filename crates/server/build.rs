//! With the feature `embedded`: puts the component, compiled and as it is, where
//! `src/component.rs` includes it from.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    embed("AUTH_COMPONENT_WASM", &out.join("component.wasm"));
    embed("AUTH_COMPONENT_CWASM", &out.join("component.cwasm"));
}

fn embed(variable: &str, to: &Path) {
    println!("cargo:rerun-if-env-changed={variable}");
    let Some(from) = env::var_os(variable) else {
        panic!("{variable} is not set; build auth-server with `cargo xtask build`");
    };
    println!("cargo:rerun-if-changed={}", from.display());
    if let Err(error) = fs::copy(&from, to) {
        panic!("{variable}: {}: {error}", from.display());
    }
}
