//! Puts the paths of `docs/openapi.yaml` where `src/routes.rs` includes them from.
//!
//! With the feature `embedded`: puts the component, compiled and as it is, where
//! `src/component.rs` includes it from.

use std::path::{Path, PathBuf};
use std::{env, fs};

const DOCUMENT: &str = "../../docs/openapi.yaml";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    write_routes(&out.join("routes.rs"));
    if env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return;
    }
    embed("AUTH_COMPONENT_WASM", &out.join("component.wasm"));
    embed("AUTH_COMPONENT_CWASM", &out.join("component.cwasm"));
}

/// Writes the paths as an array of Rust. Those with the fewest parameters come first: they
/// are meant where a path fits two.
fn write_routes(to: &Path) {
    println!("cargo:rerun-if-changed={DOCUMENT}");
    let yaml = fs::read_to_string(DOCUMENT).expect("docs/openapi.yaml can be read");
    let document: serde_json::Value =
        serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"));
    let mut paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    paths.sort_by_key(|path| path.matches('{').count());
    fs::write(to, format!("&{paths:?}")).expect("OUT_DIR can be written");
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
