//! `cargo xtask interop`: whether libraries of other hands verify the tokens, with
//! nothing but what the service publishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::artifacts::Profile;
use crate::process::{output, run};
use crate::subject::{self, Subject};
use crate::{artifacts, root};

/// From `PyPI`, with the releases that are installed.
const PYTHON_PACKAGES: [&str; 2] = ["PyJWT[crypto]==2.15.1", "joserfc==1.8.0"];

/// From npm.
const NODE_PACKAGE: &str = "jose@6.2.18";

/// What signs, and the private key, if it is none of the default.
///
/// The keys were made for this.
const KEYS: [(&str, &str); 3] = [
    ("HS256", ""),
    (
        "EdDSA",
        "-----BEGIN PRIVATE KEY-----\n\
         MC4CAQAwBQYDK2VwBCIEIARJ+tcyda/FHx5J0vNUiSJajkIh6rW86qU2GHsGAr12\n\
         -----END PRIVATE KEY-----\n",
    ),
    (
        "ES256",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrTp2BTnS2gWt99Ty\n\
         OFpssASsnlpcS+/aLMrTBHHBHjChRANCAASwolaSxASHxXy+rQzZ1fItEckfNqus\n\
         Z17wqSf4VYi5+TYRLSKQVDPjABwknyOWKaR+8//AXfjGtQMJCWbyhDT6\n\
         -----END PRIVATE KEY-----\n",
    ),
];

/// Has each library verify a token of each kind of key.
///
/// # Errors
///
/// When something fails to start, or a library refuses what is good or accepts what
/// is not.
pub fn verify() -> anyhow::Result<()> {
    let python = python()?;
    let node = node_packages()?;
    for (algorithm, key) in KEYS {
        let subject = Subject::start(Profile::Dev, &[("JWT_SIGNING_KEY", key)])?;
        let scripts = root().join("tests/interop");
        let verifiers: [(&Path, PathBuf); 3] = [
            (&python, scripts.join("verify_pyjwt.py")),
            (&python, scripts.join("verify_joserfc.py")),
            // Node looks for packages beside the script.
            (Path::new("node"), node.join("verify_jose.mjs")),
        ];
        for (program, script) in verifiers {
            let name = script.file_stem().unwrap_or_default().display().to_string();
            run(Command::new(program)
                .arg(&script)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("INTEROP_ISSUER", format!("http://{}", subject.address))
                .env("INTEROP_AUDIENCE", "edd-cloud")
                .env("INTEROP_PASSWORD", subject::PASSWORD)
                .env("INTEROP_SECRET", subject::JWT_SECRET))
            .with_context(|| format!("{name}, {algorithm}"))?;
            println!("{algorithm}: {name} accepts what is good, and nothing else");
        }
    }
    Ok(())
}

/// Python with the packages, in an environment of its own that is made once.
fn python() -> anyhow::Result<PathBuf> {
    let environment = artifacts::target().join("interop");
    let bin = environment.join("bin");
    let program = bin.join("python3");
    let stamp = environment.join("installed");
    let wanted = PYTHON_PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(program);
    }
    eprintln!("xtask: installing {}", PYTHON_PACKAGES.join(", "));
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .context("needs Python 3 with its module venv (on Debian: apt-get install python3-venv)")?;
    run(Command::new(bin.join("pip")).args(["install", "--quiet"]).args(PYTHON_PACKAGES))?;
    fs::write(stamp, wanted)?;
    Ok(program)
}

/// The directory with the package of npm and the script that needs it.
fn node_packages() -> anyhow::Result<PathBuf> {
    let directory = artifacts::target().join("interop-node");
    fs::create_dir_all(&directory)?;
    let script = root().join("tests/interop/verify_jose.mjs");
    fs::copy(script, directory.join("verify_jose.mjs"))?;
    let manifest = directory.join("node_modules/jose/package.json");
    let installed = fs::read_to_string(manifest)
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .is_some_and(|manifest| {
            Some(manifest["version"].as_str().unwrap_or_default())
                == NODE_PACKAGE.strip_prefix("jose@")
        });
    if !installed {
        eprintln!("xtask: installing {NODE_PACKAGE}");
        output(
            Command::new("npm")
                .args(["install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix"])
                .arg(&directory)
                .arg(NODE_PACKAGE),
        )
        .context("needs Node.js 18 or later with npm (on Debian: apt-get install npm)")?;
    }
    Ok(directory)
}
