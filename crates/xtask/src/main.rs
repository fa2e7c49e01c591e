//! `cargo xtask`: see `cargo xtask --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{artifacts, check, fuzz, fuzz_api, install, interop, test, up};

/// Build, run and test edd-cloud-auth.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole service: PostgreSQL, NATS JetStream, auth-server
    ///
    /// Installs what is missing. Environment variables that are set win:
    /// DATABASE_URL, NATS_URL, JWT_SECRET, SERVICE_API_KEY, ADMIN_USERNAME,
    /// DEFAULT_USERNAME, DEFAULT_PASSWORD.
    Up {
        /// Where the HTTP API is served
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
        addr: String,
        /// Where data, passwords and logs are kept
        #[arg(long, value_name = "DIR", default_value = ".dev")]
        data_dir: PathBuf,
    },
    /// Start all but the HTTP side, and print what `spin up` needs
    Services {
        /// Where data, passwords and logs are kept
        #[arg(long, value_name = "DIR", default_value = ".dev")]
        data_dir: PathBuf,
    },
    /// Build the component, auth-sidecar, and auth-server around the component
    Build,
    /// Run every test; installs what is missing
    Test {
        /// Arguments for `cargo test`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Check formatting, lints and every SQL statement
    Check,
    /// Have PyJWT, joserfc (`PyPI`) and jose (npm) verify tokens with nothing but what
    /// the service publishes; needs Python 3 and Node.js
    Interop,
    /// Feed what reads the bytes of strangers with bytes, through cargo-fuzz; fails when
    /// that finds anything
    Fuzz {
        /// How long, in all
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Call the API as docs/openapi.yaml describes it, and otherwise, with
    /// schemathesis (from `PyPI`); fails when it finds anything
    FuzzApi {
        /// Most requests that are made up for an operation, in each of the phases
        #[arg(long, value_name = "N", default_value_t = 100)]
        examples: u32,
        /// What they are made up from; the same seed makes up the same
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u32,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { addr, data_dir } => up::up(&addr, &data_dir),
        Command::Services { data_dir } => up::services(&data_dir),
        Command::Build => {
            install::rust_target()?;
            let built = artifacts::build()?;
            println!("{}\n{}", built.server.display(), built.sidecar.display());
            Ok(())
        }
        Command::Test { args } => test::run(&args),
        Command::Check => check::run(),
        Command::Interop => interop::verify(),
        Command::Fuzz { seconds } => fuzz::fuzz(seconds),
        Command::FuzzApi { examples, seed } => fuzz_api::fuzz(examples, seed),
    }
}
