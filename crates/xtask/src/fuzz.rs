//! `cargo xtask fuzz`: every target of `fuzz/`, with cargo-fuzz.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process::{output, run};
use crate::{artifacts, root};

/// The release that is installed.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Longest input that is made up, in bytes: what has to be longer is in the tests.
const MAX_INPUT_BYTES: u32 = 2048;

/// What libFuzzer puts before the number of inputs that it has made up.
const EXECUTED: &str = "stat::number_of_executed_units:";

/// How long one input may take, in seconds.
const MAX_INPUT_SECONDS: u32 = 5;

/// Builds the targets and runs one after the other, for so many seconds in all. What
/// is found stays in `target/fuzz/corpus`, and is where the next run starts.
///
/// # Errors
///
/// When cargo-fuzz can't be installed, something does not build, or a target finds
/// something; cargo-fuzz has shown the input then.
pub fn fuzz(seconds: u64) -> anyhow::Result<()> {
    let program = cargo_fuzz()?;
    let cargo_fuzz = |subcommand: &str| {
        let mut command = Command::new(&program);
        command.arg(subcommand).arg("--fuzz-dir").arg(root().join("fuzz"));
        command
    };
    let target_directory = artifacts::target().join("fuzz");
    // Other sanitizers than none need a nightly compiler, and look for what safe Rust
    // can't do.
    let options = ["--sanitizer=none", "--codegen-units=16", "--target-dir"];
    let list = output(&mut cargo_fuzz("list"))?;
    let targets: Vec<&str> = list.lines().collect();
    if targets.is_empty() {
        bail!("fuzz/ has no targets");
    }
    eprintln!("xtask: building the fuzz targets");
    run(cargo_fuzz("build").args(options).arg(&target_directory))?;
    let seconds = (seconds / targets.len() as u64).max(1);
    for target in &targets {
        let corpus = target_directory.join("corpus").join(target);
        let found = target_directory.join("artifacts").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let fuzzed = cargo_fuzz("run")
            .args(options)
            .args([&target_directory, &PathBuf::from(target), &corpus])
            .arg(root().join("fuzz/seeds").join(target))
            .arg("--")
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={MAX_INPUT_BYTES}"))
            .arg(format!("-timeout={MAX_INPUT_SECONDS}"))
            .args(["-verbosity=0", "-print_funcs=0", "-print_final_stats=1"])
            .output()?;
        let log = String::from_utf8_lossy(&fuzzed.stderr);
        if !fuzzed.status.success() {
            bail!("the fuzz target {target} has found something:\n{log}");
        }
        let inputs = log.lines().find_map(|line| line.strip_prefix(EXECUTED));
        let inputs = inputs.with_context(|| format!("{target} has run nothing:\n{log}"))?;
        eprintln!("xtask: {target}: {} inputs in {seconds} seconds", inputs.trim());
    }
    println!("{} fuzz targets: nothing found", targets.len());
    Ok(())
}

/// The program, which is built once.
fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    let directory = artifacts::target().join("cargo-fuzz");
    let program = directory.join("bin/cargo-fuzz");
    let installed = program.exists() && {
        let version = output(Command::new(&program).arg("--version"))?;
        version.trim().ends_with(&format!(" {CARGO_FUZZ_VERSION}"))
    };
    if !installed {
        eprintln!("xtask: installing cargo-fuzz {CARGO_FUZZ_VERSION}");
        run(artifacts::cargo()
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&directory)
            .arg(format!("cargo-fuzz@{CARGO_FUZZ_VERSION}")))?;
    }
    Ok(program)
}
