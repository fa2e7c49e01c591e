//! `cargo xtask torture`: faults of every kind under load, and whether anything was lost.

use crate::{artifacts, install, process};

/// The variable with the length of the campaign.
pub const MINUTES: &str = "TORTURE_MINUTES";

/// The variable with the seed of its schedule.
pub const SEED: &str = "TORTURE_SEED";

/// Builds everything and runs a campaign.
///
/// # Errors
///
/// When something can't be installed, built or started, or anything was lost, repeated,
/// out of order or made up; it has been printed then.
pub fn run(minutes: u64, seed: u64) -> anyhow::Result<()> {
    install::rust_target()?;
    install::servers(&[install::POSTGRESQL, install::NATS])?;
    artifacts::build()?;
    process::run_verbatim(
        artifacts::cargo()
            .args(["test", "--quiet", "--workspace", "--test", "torture", "--"])
            .args(["--ignored", "--exact", "a_campaign", "--nocapture"])
            // What it has to say is no bug of its own.
            .env("RUST_BACKTRACE", "0")
            .env(MINUTES, minutes.to_string())
            .env(SEED, seed.to_string()),
    )
}
