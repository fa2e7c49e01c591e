//! Puts `docs/openapi.yaml` into JSON, for `src/openapi.rs`.

use std::path::PathBuf;
use std::{env, fs};

const DOCUMENT: &str = "docs/openapi.yaml";

fn main() {
    println!("cargo:rerun-if-changed={DOCUMENT}");
    println!("cargo:rerun-if-changed=build.rs");
    let yaml = fs::read_to_string(DOCUMENT).expect("docs/openapi.yaml can be read");
    let document: serde_json::Value =
        serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("openapi.json"), document.to_string()).expect("OUT_DIR can be written");
}
