//! `auth-sidecar`: migrations, default user, outbox relay, log service.

mod commands;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use commands::import::Import;
use commands::reconcile::{FindingsLeft, Reconcile};
use commands::set_aside::{Drop, Requeue};
use edd_auth_sidecar::causes::with_causes;
use edd_auth_sidecar::config::{self, ConfigError, DefaultUser};
use edd_auth_sidecar::log_service::LogService;
use edd_auth_sidecar::metrics::{self, Metrics};
use edd_auth_sidecar::nats::{Nats, NatsArgs, explain};
use edd_auth_sidecar::relay::Relay;
use edd_auth_sidecar::roles::{self, Roles};
use edd_auth_sidecar::service::{self, Settings};
use edd_auth_sidecar::{arguments, logging, migrate, status, stream};
use futures::StreamExt;
use sqlx::{ConnectOptions, Connection};

/// The name of this process to PostgreSQL and NATS.
const PROGRAM: &str = "auth-sidecar";

/// How long `status` and `relay --once` wait for NATS.
const NATS_TIMEOUT: Duration = Duration::from_secs(5);

/// Secrets have no flags: other users of the machine can read the arguments of a
/// process.
const SECRETS: &str = "Only from the environment:
  DEFAULT_PASSWORD  The password of DEFAULT_USERNAME, if that is created";

/// Those of `migrate`.
const ROLE_SECRETS: &str = "Only from the environment, with --app-role:
  APP_ROLE_PASSWORD      The password that the component's role is to have
  SIDECAR_ROLE_PASSWORD  The password that the sidecar's role is to have";

/// The background side of edd-cloud-auth: keeps the database schema, creates the
/// default user, and publishes events to NATS JetStream.
#[derive(Parser)]
#[command(name = "auth-sidecar", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Do everything, until SIGTERM or Ctrl-C
    #[command(after_help = SECRETS)]
    Run(Run),
    /// Bring the database schema up to date, and exit
    #[command(after_help = ROLE_SECRETS)]
    Migrate(MigrateArgs),
    /// Create users of another system, with the hashes of their passwords: all of
    /// them or, when anything is wrong, none
    ///
    /// The file has a JSON object a line, with `username`, `password_hash` and, if
    /// there is one, `display_name`.
    /// Hashes are bcrypt ($2a$, $2b$, $2y$; cost 4 to 14) or Argon2 (PHC string of
    /// argon2id or argon2i; at most m=19456,t=10). Whoever logs in gets a new one.
    /// The schema has to be up to date: see `migrate`.
    Import(Import),
    /// Show schema, backlog, rows that were set aside, leader and stream
    Status(StatusArgs),
    /// Try to publish rows again that were set aside: all of these or, when one of them is
    /// no such row, none
    Requeue(Requeue),
    /// Remove rows that were set aside, for good
    ///
    /// Consumers never learn what such a row was to tell them. After a `UserDeleted` or
    /// `IdentityPermissionsDeleted` they keep what is gone; after a `SessionInvalidated` they take
    /// the session for alive until its time is over; what a `UserCreated`, `UserUpdated` or
    /// `IdentityPermissionsUpdated` says, the next one of the same entity says again. Rows of
    /// the same entity behind it are published now. Try `requeue` first.
    Drop(Drop),
    /// Compare outbox and stream, and publish again what the stream has lost
    ///
    /// For a stream that was restored, or has lost something in the middle, and for a
    /// database that was restored to an earlier point (see --announce). Safe while the
    /// relay runs; what is published again keeps its id. An event that was deleted from the stream by hand is
    /// taken for a duplicate until the duplicate window is over: run it again then.
    ///
    /// Exit code 0: nothing was wrong, or all of it was mended. 3: something is left:
    /// consumers have a wrong idea of entities (--announce puts them right), messages that
    /// are no events of this service, or, with --dry-run, anything at all.
    Reconcile(Reconcile),
    /// Publish events
    Relay(RelayArgs),
    /// Print events as they are published, until Ctrl-C
    Watch(Watch),
}

#[derive(Args)]
struct Database {
    /// PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE
    ///
    /// `?sslmode=verify-full`, or `require`, encrypts and verifies certificate and host
    /// name, with the authorities of the system (or of the file that SSL_CERT_FILE
    /// names) and of `&sslrootcert=FILE`.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    nats: NatsArgs,
    /// The user that is created if it is missing
    #[arg(long, env = "DEFAULT_USERNAME", value_name = "NAME")]
    default_username: Option<String>,
    /// The user who may use the admin API whatever its row says
    #[arg(long, env = "ADMIN_USERNAME", value_name = "NAME")]
    admin_username: Option<String>,
    /// Where log records and audit rows are pushed (gRPC logging.LogService)
    ///
    /// Without encryption: for a private network.
    #[arg(long, env = "LOG_SERVICE", value_name = "HOST:PORT")]
    log_service: Option<String>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "OPS_ADDR", value_name = "HOST:PORT", default_value = "127.0.0.1:9464",
          value_parser = arguments::listen_address)]
    ops_addr: String,
    #[command(flatten)]
    retention: arguments::RetentionArgs,
}

#[derive(Args)]
struct MigrateArgs {
    #[command(flatten)]
    database: Database,
    /// Also create two roles if they are missing, and grant them what they need and no
    /// more: NAME for the component, and NAME_sidecar for `auth-sidecar run`
    ///
    /// To be given again with each upgrade: what a version needs is granted here.
    #[arg(long, env = "APP_ROLE", value_name = "NAME")]
    app_role: Option<String>,
}

#[derive(Args)]
struct StatusArgs {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    nats: NatsArgs,
}

#[derive(Args)]
struct RelayArgs {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    nats: NatsArgs,
    /// Publish what waits now, and exit; fails while another process publishes
    #[arg(long, required = true)]
    once: bool,
}

#[derive(Args)]
struct Watch {
    #[command(flatten)]
    nats: NatsArgs,
    /// Subject, which may have wildcards
    #[arg(default_value = edd_auth_events::STREAM_SUBJECTS)]
    subject: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments::with_double_dashes(std::env::args_os()));
    match execute(cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-sidecar: {}", with_causes(&error));
            // 2, as for a flag that is wrong: nothing was started.
            if error.is::<ConfigError>() {
                ExitCode::from(2)
            } else if error.is::<FindingsLeft>() {
                ExitCode::from(3)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<()> {
    let log_service = match &command {
        Command::Run(args) => config::log_service(args.log_service.clone())?,
        _ => None,
    };
    logging::init(log_service.as_ref().map(LogService::queue));
    match command {
        Command::Run(args) => run(args, log_service).await,
        Command::Migrate(args) => migrate(args).await,
        Command::Import(args) => commands::import::import(args).await,
        Command::Status(args) => status(args).await,
        Command::Requeue(args) => commands::set_aside::requeue(args).await,
        Command::Drop(args) => commands::set_aside::drop(args).await,
        Command::Reconcile(args) => commands::reconcile::reconcile(args).await,
        Command::Relay(args) => relay_once(args).await,
        Command::Watch(args) => watch(args).await,
    }
}

async fn run(args: Run, log_service: Option<LogService>) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let nats = args.nats.nats()?;
    let default_user =
        DefaultUser::new(args.default_username, std::env::var("DEFAULT_PASSWORD").ok())?;
    let admin_username = config::required(
        "ADMIN_USERNAME",
        args.admin_username,
        "the user who may use the admin API",
    )?;
    let ops = arguments::listen(&args.ops_addr)
        .await
        .with_context(|| format!("can't listen on {} (--ops-addr)", args.ops_addr))?;
    tracing::info!("health and metrics on http://{}", ops.local_addr()?);
    let retention = args.retention.retention(log_service.is_some());
    let settings = Settings {
        database,
        nats,
        log_service,
        default_user,
        admin_username,
        retention,
        ops,
        registry: metrics::registry(),
        program: PROGRAM,
    };
    service::run(settings, service::stop_on_signal()?).await
}

async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let roles = args
        .app_role
        .filter(|name| !name.is_empty())
        .map(|name| {
            let password = |variable| std::env::var(variable).ok();
            Roles::new(&name, password("APP_ROLE_PASSWORD"), password("SIDECAR_ROLE_PASSWORD"))
        })
        .transpose()?;
    let mut connection = database.connect().await.context("database")?;
    let applied = migrate::apply(&mut connection).await.context("database")?;
    for version in &applied {
        println!("applied migration {version}");
    }
    println!("the schema has version {}", migrate::newest_version());
    if let Some(roles) = roles {
        for role in roles::prepare(&mut connection, &roles).await? {
            println!("{role}");
        }
    }
    connection.close().await?;
    Ok(())
}

async fn status(args: StatusArgs) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let nats = args.nats.nats()?;
    let mut connection = database.connect().await.context("database")?;
    print!("{}", status::database(&mut connection).await.context("database")?);
    connection.close().await?;
    match nats {
        Some(nats) => {
            let jetstream = stream::context(connect(&nats).await?);
            print!("{}", status::stream(&jetstream).await);
        }
        None => println!("stream:    unknown; NATS_URL is not set"),
    }
    Ok(())
}

async fn relay_once(args: RelayArgs) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let relay = Relay {
        database,
        nats: args.nats.required()?,
        program: PROGRAM,
        metrics: Arc::new(Metrics::default()),
        wake: Arc::default(),
    };
    let published = relay.once().await?;
    println!("published {published} events");
    Ok(())
}

/// Prints subject and payload of each event, a line each.
async fn watch(args: Watch) -> anyhow::Result<()> {
    let client = connect(&args.nats.required()?).await?;
    let mut events = client.subscribe(args.subject).await?;
    client.flush().await?;
    eprintln!("watching; end with Ctrl-C");
    while let Some(event) = events.next().await {
        println!("{} {}", event.subject, String::from_utf8_lossy(&event.payload));
    }
    Ok(())
}

/// Connects to NATS, or fails: nobody wants to wait at a prompt for ever.
async fn connect(nats: &Nats) -> anyhow::Result<async_nats::Client> {
    let options = nats.options(PROGRAM)?.connection_timeout(NATS_TIMEOUT);
    let connected = options.connect(nats.servers()).await;
    connected.map_err(|error| anyhow::anyhow!("NATS: {}", explain(&error.to_string())))
}
