//! The fault campaign (`cargo xtask torture`), and the tests of its parts.
//!
//! Clients work, a schedule that a seed has made up lets things go wrong, and when all is
//! in order again a checker compares what clients were told, the tables, and the stream.
//! The campaign is an ignored test; the parts have their tests beside them, which run with
//! all others.

mod campaign;
mod check;
mod cluster;
mod faults;
mod figures;
mod history;
mod jetstream;
mod program;
mod schedule;
mod servers;
mod unsynced;
mod verdict;
mod workload;

use std::time::Duration;

use anyhow::{Context, ensure};
use xtask::torture::{MINUTES, SEED};

/// How many violations are printed; all of them are kept.
const PRINTED: usize = 5;

fn setting(name: &str) -> anyhow::Result<u64> {
    let value = std::env::var(name).ok().and_then(|value| value.parse().ok());
    value.with_context(|| format!("{name} is no number; run this with `cargo xtask torture`"))
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture` runs it"]
fn a_campaign() -> anyhow::Result<()> {
    let (seed, minutes) = (setting(SEED)?, setting(MINUTES)?);
    let campaign = || format!("seed {seed}, {minutes} minutes");
    let verdict = campaign::run(seed, Duration::from_mins(minutes)).with_context(campaign)?;
    println!("\n{}\n", verdict.figures);
    for violation in verdict.violations.iter().take(PRINTED) {
        println!("violation: {violation}\n");
    }
    if let Some(kept) = verdict.kept {
        println!("logs, history and all violations: {}", kept.join("logs").display());
    }
    let violations = verdict.violations.len();
    ensure!(violations == 0, "{}: {violations} violations", campaign());
    println!("{}: 0 violations", campaign());
    Ok(())
}
