//! `cargo xtask fuzz-api`: schemathesis over `docs/openapi.yaml`, against the
//! running component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::artifacts::Profile;
use crate::process::{output, run};
use crate::subject::{self, Subject};
use crate::{artifacts, root};

/// The release that is installed.
const SCHEMATHESIS_VERSION: &str = "4.32.5";

/// Requests that all callers together have to make.
const LEAST_REQUESTS: u64 = 5_000;

/// Who calls, in this order.
const CALLERS: [&str; 3] = ["nobody", "user", "admin"];

/// What the audit log says has been done, and how often.
const SUCCESSES: &str = "select action, count(*) from audit_log where outcome = 'success' \
                         group by action order by action";

/// Kinds of change that at least must have succeeded: with fewer, the callers
/// were hardly ever let in, and the requests say little.
const LEAST_ACTIONS: usize = 10;

/// Checks that are left out, because the document can't say what they ask for:
/// that a password has the configured length, that a cursor was given out, and
/// whose public id a scope names are not in a schema.
const EXCLUDED_CHECKS: &str = "positive_data_acceptance";

/// Starts the service and lets schemathesis call it, as nobody, as a user and as
/// an administrator.
///
/// # Errors
///
/// When something fails to start, schemathesis finds something, or it makes too
/// few requests to say much.
pub fn fuzz(examples: u32, seed: u32) -> anyhow::Result<()> {
    let schemathesis = schemathesis()?;
    let subject = Subject::start(Profile::Dev, &[])?;
    let before = subject.server.log().len();
    let mut total = 0;
    for caller in CALLERS {
        eprintln!("xtask: schemathesis calls as {caller}");
        let report = subject.directory().join(format!("{caller}.json"));
        let arguments = [format!("--max-examples={examples}"), format!("--seed={seed}")];
        let mut command = Command::new(&schemathesis);
        call_as(&mut command, caller, &subject.address, &report);
        run(command.args(arguments).current_dir(subject.directory()))
            .with_context(|| format!("schemathesis, as {caller}, with --seed {seed}"))?;
        total += requests_in(&report)?;
    }
    let log = subject.server.log();
    if let Some(error) = log[before..].lines().find(|line| line.contains("\"ERROR\"")) {
        bail!("the server has logged an error: {error}");
    }
    let done = subject.postgres.psql("auth", SUCCESSES)?;
    if done.lines().count() < LEAST_ACTIONS {
        bail!("the callers have hardly succeeded with anything, only with:\n{done}");
    }
    eprintln!("xtask: what the callers have succeeded with:\n{done}");
    if total < LEAST_REQUESTS {
        bail!("{total} requests are too few; use a larger --examples than {examples}");
    }
    println!("{total} generated requests as {}: 0 failures", CALLERS.join(", "));
    Ok(())
}

/// Everything that schemathesis is told, but for how much and what from. One
/// worker: with two, its `ast.parse` fails now and then on `CPython` 3.11.
fn call_as(command: &mut Command, caller: &str, address: &str, report: &Path) {
    command
        .args(["run", &format!("http://{address}/openapi.json")])
        .args(["--checks=all", &format!("--exclude-checks={EXCLUDED_CHECKS}")])
        .args(["--workers=1", "--request-timeout=30", "--warnings=off", "--report=json"])
        .arg(format!("--report-json-path={}", report.display()))
        .env("SCHEMATHESIS_HOOKS", root().join("tests/fuzz_api/hooks.py"))
        .env("FUZZ_URL", format!("http://{address}"))
        .env("FUZZ_CALLER", caller)
        .env("FUZZ_USERNAME", subject::USERNAME)
        .env("FUZZ_PASSWORD", subject::PASSWORD)
        .env("FUZZ_SERVICE_API_KEY", subject::SERVICE_API_KEY);
}

/// The program, in an environment of its own that is made once.
fn schemathesis() -> anyhow::Result<PathBuf> {
    let environment = artifacts::target().join("schemathesis");
    let bin = environment.join("bin");
    let program = bin.join("schemathesis");
    let installed = program.exists() && {
        let version = output(Command::new(&program).arg("--version"))?;
        version.trim().ends_with(&format!(" {SCHEMATHESIS_VERSION}"))
    };
    if installed {
        return Ok(program);
    }
    eprintln!("xtask: installing schemathesis {SCHEMATHESIS_VERSION}");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .context("needs Python 3 with its module venv (on Debian: apt-get install python3-venv)")?;
    let package = format!("schemathesis=={SCHEMATHESIS_VERSION}");
    run(Command::new(bin.join("pip")).args(["install", "--quiet", &package]))?;
    Ok(program)
}

/// How many requests a report of schemathesis is about.
fn requests_in(report: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(report)
        .with_context(|| format!("schemathesis has written no {}", report.display()))?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    report["test_cases"]["generated"].as_u64().context("the report counts no test cases")
}
