//! `cargo xtask`: see `cargo xtask --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::artifacts::Profile;
use xtask::{
    artifacts, bench, check, fuzz, fuzz_api, install, interop, spin, test, torture, up, upgrade,
};

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
    /// Run the end-to-end tests with `spin up` in place of what auth-server has around the
    /// component; needs `spin` in the PATH
    ///
    /// Leaves out the tests of bounds and of refusals that are those of auth-server.
    Spin {
        /// Names of tests, or parts of them: only these
        #[arg(last = true)]
        names: Vec<String>,
    },
    /// Run the end-to-end tests of the last two releases on the schema of this version,
    /// and those of this version on the schemas of theirs
    ///
    /// Without a release there is nothing to do. The other version is checked out into a
    /// directory of its own and built in target/upgrade, which takes a while the first
    /// time.
    Upgrade {
        /// Another version than the last two: a commit; can be given several times
        #[arg(long, value_name = "REV")]
        from: Vec<String>,
        /// Names of tests, or parts of them: only these
        #[arg(last = true)]
        names: Vec<String>,
    },
    /// Check formatting, dependencies, lints and every SQL statement
    ///
    /// Installs cargo-deny below the directory that cargo builds in.
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
    /// Let everything fail under load, and see whether anything was lost, repeated, out of
    /// order or made up
    ///
    /// Six clients work through two auth-servers; two auth-sidecars stand beside them, with
    /// one PostgreSQL and one nats-server, all private. Meanwhile a schedule that is made up
    /// from the seed kills (SIGKILL), stops (SIGSTOP) and restarts each of these processes,
    /// cuts, swallows and slows the connections between them, takes the end of the stream
    /// away, as nats-server may lose it when the machine does, and fills JetStream; often
    /// two things at once. Then an independent checker compares what the clients were told,
    /// the tables and the stream. Prints figures; with violations also their traces and
    /// where the logs are, and fails. The same seed makes the same schedule.
    Torture {
        /// How long; the round in which that is over is played to its end
        #[arg(long, value_name = "N", default_value_t = 3,
              value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
        /// What schedule and requests are made up from
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
    },
    /// Measure the running service, and compare what belongs together
    ///
    /// Starts a PostgreSQL and an auth-server of its own. Nothing else should run on
    /// the machine: a busy one only adds noise.
    Bench {
        #[command(subcommand)]
        what: Bench,
        /// Build as `cargo xtask up` does, not for release: for a quick look
        #[arg(long, global = true)]
        dev: bool,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Whether the time of a refused login tells users apart
    ///
    /// Unknown user, wrong password and disabled user in turns, compared pair by pair
    /// by Welch's t: over the faster half of each, and over all but the slowest tenth.
    /// Then, for information, users with older kinds of hashes next to unknown ones.
    /// Fails when |t| of a pair is 4.5 or more, and when 2 ms that were added on purpose
    /// are not found.
    Timing {
        /// Logins of each kind
        #[arg(long, value_name = "N", default_value_t = 400,
              value_parser = clap::value_parser!(u16).range(40..=4000))]
        rounds: u16,
        /// What the order is shuffled by; the same seed shuffles alike
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
    /// Logins a second, next to requests that need no hash
    Login {
        /// Requests at once
        #[arg(long, value_name = "N", default_value_t = 4,
              value_parser = clap::value_parser!(u16).range(1..=64))]
        clients: u16,
        /// How long each kind of request is sent
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u64,
    },
    /// What an outage of NATS does to requests, and how its backlog goes away
    ///
    /// The same requests in turns, while NATS is there and nothing waits, and while NATS
    /// is absent and rows wait; changes also without the index that the relay needs for
    /// its order. Then NATS comes back: how fast the backlog drains, with how much
    /// memory, and how long events take that are made meanwhile. Fails when half of the
    /// requests of a kind take more than 1.5 times as long with the backlog, when the
    /// process grows by more than 100 MiB while it drains, and when half of the new
    /// events take longer than a tenth of the drain. Needs Linux, and some 2 GiB of disk
    /// for a million rows.
    Backlog {
        /// Rows that wait
        #[arg(long, value_name = "N", default_value_t = 1_000_000,
              value_parser = clap::value_parser!(u32).range(1000..))]
        rows: u32,
        /// Requests of each kind in each turn
        #[arg(long, value_name = "N", default_value_t = 200,
              value_parser = clap::value_parser!(u16).range(20..))]
        requests: u16,
        /// What the order of the requests is shuffled by; the same seed shuffles alike
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
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
        Command::Test { args } => test::run(&args, None),
        Command::Spin { names } => spin::run(&names),
        Command::Upgrade { from, names } => upgrade::run(&from, &names),
        Command::Check => check::run(),
        Command::Interop => interop::verify(),
        Command::Fuzz { seconds } => fuzz::fuzz(seconds),
        Command::FuzzApi { examples, seed } => fuzz_api::fuzz(examples, seed),
        Command::Torture { minutes, seed } => torture::run(minutes, seed),
        Command::Bench { what, dev } => {
            let profile = if dev { Profile::Dev } else { Profile::Release };
            match what {
                Bench::Timing { rounds, seed } => bench::timing::run(profile, rounds.into(), seed),
                Bench::Login { clients, seconds } => bench::login::run(profile, clients, seconds),
                Bench::Backlog { rows, requests, seed } => {
                    let size = bench::backlog::Size { rows, requests: requests.into(), seed };
                    bench::backlog::run(profile, size)
                }
            }
        }
    }
}
