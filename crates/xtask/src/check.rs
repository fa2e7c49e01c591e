//! `cargo xtask check`: formatting, dependencies, lints, and SQL that fits the schema.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::install::WASM_TARGET;
use crate::services::{Durability, Home, Postgres};
use crate::{artifacts, deny, install, process, root};

/// Runs every check.
///
/// # Errors
///
/// The first check that fails.
pub fn run() -> anyhow::Result<()> {
    install::rust_target()?;
    install::servers(&[install::POSTGRESQL])?;
    eprintln!("xtask: formatting");
    process::run(artifacts::cargo().args(["fmt", "--all", "--check"]))?;
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    process::run(artifacts::cargo().args(fuzz))?;
    eprintln!("xtask: dependencies");
    deny::check()?;
    eprintln!("xtask: lints of the native code");
    process::run(artifacts::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    eprintln!("xtask: lints of the component");
    process::run(artifacts::cargo().args([
        "clippy",
        "--package",
        "edd-cloud-auth",
        "--lib",
        "--target",
        WASM_TARGET,
        "--",
        "--deny",
        "warnings",
    ]))?;
    eprintln!("xtask: SQL");
    statements()
}

/// Applies the migrations to an empty database and PREPAREs every statement of
/// the component, and those of the sidecar that have files of their own.
fn statements() -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("edd-cloud-auth-check-").tempdir()?;
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let home = Home::new(directory.path())?;
    let postgres = Postgres::start(&home, Durability::None)?;
    let run = |file: &Path, script: &str| {
        postgres.psql("auth", script).with_context(|| file.display().to_string())
    };
    for file in sql_files(&root().join("migrations"))? {
        run(&file, &fs::read_to_string(&file)?)?;
    }
    // sqlx makes this table, which readyz reads.
    postgres.psql("auth", "create table _sqlx_migrations (version bigint, success boolean)")?;
    let mut files = sql_files(&root().join("src"))?;
    files.extend(sql_files(&root().join("crates/sidecar/src"))?);
    // No statement: a script with places for names.
    files.retain(|file| !file.ends_with("roles.sql"));
    for file in &files {
        run(file, &format!("prepare statement as\n{}", fs::read_to_string(file)?))?;
    }
    eprintln!("xtask: {} statements fit the schema", files.len());
    Ok(())
}

/// The `.sql` files below a directory, in the order of their names.
fn sql_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sql_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
