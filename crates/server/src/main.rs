//! `auth-server`: the whole service in one process.

mod descriptors;
mod variables;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use edd_auth_server::host::Shared;
use edd_auth_server::http::{Limits, Server};
use edd_auth_server::manifest::Environment;
use edd_auth_server::{component, host};
use edd_auth_sidecar::causes::with_causes;
use edd_auth_sidecar::config::{self, ConfigError, DefaultUser};
use edd_auth_sidecar::database_url::DatabaseUrl;
use edd_auth_sidecar::log_service::LogService;
use edd_auth_sidecar::nats::NatsArgs;
use edd_auth_sidecar::service::{self, Settings};
use edd_auth_sidecar::{arguments, logging, metrics};
use tokio_util::sync::CancellationToken;

/// The name of this process to PostgreSQL and NATS.
const PROGRAM: &str = "auth-server";

/// Secrets have no flags: other users of the machine can read the arguments of a
/// process.
const SECRETS: &str = "Only from the environment:
  JWT_SECRET        Signs the tokens; at least 32 random bytes
  JWT_SECRET_PREVIOUS
                    The secret before it, which still verifies
  JWT_SIGNING_KEY   Signs the tokens instead: a private key of Ed25519 or P-256 (PKCS#8
                    PEM; \\n for a line feed); its public key is at /.well-known/jwks.json
  JWT_SIGNING_KEY_PREVIOUS
                    The key before it, which still verifies
  SERVICE_API_KEY   Opens /introspect and /snapshot to services; at least 32 random bytes;
                    without it these routes are not there
  DEFAULT_PASSWORD  The password of DEFAULT_USERNAME, if that is created";

/// edd-cloud-auth in one process: the HTTP API, and everything that auth-sidecar
/// does (schema, default user, events to NATS JetStream).
///
/// Flags may be given Go's way, too: -addr :8080 -session-ttl 12h.
#[derive(Parser)]
#[command(name = "auth-server", version, after_help = SECRETS)]
struct Cli {
    /// Where the HTTP API is served
    #[arg(long, env = "ADDR", value_name = "HOST:PORT", default_value = ":8080",
          value_parser = arguments::listen_address)]
    addr: String,
    /// How long a session lives, as a Go duration: 24h, 1h30m
    #[arg(long, env = "SESSION_TTL", value_name = "DURATION", default_value = "24h")]
    session_ttl: String,
    /// Where log records and audit rows are pushed (gRPC logging.LogService)
    ///
    /// Without encryption: for a private network.
    #[arg(long, env = "LOG_SERVICE", value_name = "HOST:PORT")]
    log_service: Option<String>,
    /// PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE
    ///
    /// `?sslmode=verify-full`, or `require`, encrypts and verifies certificate and host
    /// name, with the authorities of the system (or of the file that SSL_CERT_FILE
    /// names) and of `&sslrootcert=FILE`.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The same database with the role of the component, where that is another one
    /// than the role of the background tasks (`auth-sidecar migrate --app-role`)
    #[arg(long, env = "APP_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    app_database_url: Option<String>,
    #[command(flatten)]
    nats: NatsArgs,
    /// `iss` of the tokens
    #[arg(long, env = "JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// `aud` of the tokens
    #[arg(long, env = "JWT_AUDIENCE", value_name = "TEXT")]
    jwt_audience: Option<String>,
    /// The user who may use the admin API whatever its row says
    #[arg(long, env = "ADMIN_USERNAME", value_name = "NAME")]
    admin_username: Option<String>,
    /// The user that is created if it is missing
    #[arg(long, env = "DEFAULT_USERNAME", value_name = "NAME")]
    default_username: Option<String>,
    /// The fewest characters of a new password, 8 to 256
    #[arg(long, env = "PASSWORD_MIN_LENGTH", value_name = "N")]
    password_min_length: Option<String>,
    /// The scopes that service accounts may have, as JSON; any of the right form
    /// when it is not set
    #[arg(long, env = "SCOPE_CATALOG", value_name = "JSON")]
    scope_catalog: Option<String>,
    /// Most service accounts of a user (100)
    #[arg(long, env = "SERVICE_ACCOUNTS_PER_USER", value_name = "N")]
    service_accounts_per_user: Option<String>,
    /// Most live tokens of a service account (100)
    #[arg(long, env = "TOKENS_PER_SERVICE_ACCOUNT", value_name = "N")]
    tokens_per_service_account: Option<String>,
    /// Proxies in front of this server whose X-Forwarded-For is believed (0: the
    /// peer is the client)
    #[arg(long, env = "TRUSTED_PROXY_HOPS", value_name = "N")]
    trusted_proxy_hops: Option<String>,
    /// Origins of the pages that may call from a browser, as they write them
    /// (`https://app.example.org`), with commas between
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_name = "ORIGINS")]
    cors_allowed_origins: Option<String>,
    /// Where /healthz, /readyz and /metrics of the background tasks are served
    #[arg(long, env = "OPS_ADDR", value_name = "HOST:PORT", default_value = "127.0.0.1:9464",
          value_parser = arguments::listen_address)]
    ops_addr: String,
    #[command(flatten)]
    retention: arguments::RetentionArgs,
    /// Requests that are worked on at once, but for those that hash a password; past
    /// it and a second of waiting, 503 (8 for each core, at least 16)
    #[arg(long, env = "MAX_INSTANCES", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_instances: Option<u32>,
    /// The same for requests that hash a password, such as logins (2 for each core)
    ///
    /// Together with --max-instances it bounds the memory that is used: 10 MiB for
    /// each of both.
    #[arg(long, env = "MAX_HASHES", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_hashes: Option<u32>,
    /// Connections of clients at once; past it, those that have waited longest for
    /// their clients are closed (4096)
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Connections to PostgreSQL for requests; the background tasks need 4 more,
    /// and 5 with a log service
    #[arg(long, env = "DATABASE_CONNECTIONS", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    database_connections: u16,
    /// Another component than the one that is built in: a .wasm file
    #[arg(long, env = "COMPONENT", value_name = "FILE")]
    component: Option<PathBuf>,
}

impl Cli {
    fn limits(&self, cores: u32) -> Limits {
        let defaults = Limits::of_cores(cores);
        Limits {
            instances: self.max_instances.unwrap_or(defaults.instances),
            hashes: self.max_hashes.unwrap_or(defaults.hashes),
            connections: self.max_connections.map_or(defaults.connections, |most| most as usize),
            ..defaults
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments::with_double_dashes(std::env::args_os()));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let limits = cli.limits(u32::try_from(cores).unwrap_or(1));
    // A hash keeps its thread busy. With a thread for each, and some that have none,
    // there is always one that takes what arrives from the network at once.
    let threads = limits.hashes as usize + cores;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli, limits)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-server: {}", with_causes(&error));
            // 2, as for a flag that is wrong: nothing was started.
            if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(cli: Cli, limits: Limits) -> anyhow::Result<()> {
    let log_service = config::log_service(cli.log_service.clone())?;
    logging::init(log_service.as_ref().map(LogService::queue));
    let database_url = DatabaseUrl::new("DATABASE_URL", cli.database_url.clone())?;
    let of_its_own = cli.app_database_url.clone().filter(|url| !url.is_empty());
    let of_its_own =
        of_its_own.map(|url| DatabaseUrl::new("APP_DATABASE_URL", Some(url))).transpose()?;
    let of_component = of_its_own.as_ref().unwrap_or(&database_url);
    let variables = variables::of(&cli, of_component)?;
    let nats = cli.nats.nats()?;
    let default_user =
        DefaultUser::new(cli.default_username, std::env::var("DEFAULT_PASSWORD").ok())?;

    // From the first connection on, a signal must not end the process at once.
    let stop_accepting = service::stop_on_signal()?;
    let listen = async |address: &str, flag: &str| {
        arguments::listen(address)
            .await
            .with_context(|| format!("can't listen on {address} ({flag})"))
    };
    let listener = listen(&cli.addr, "-addr").await?;
    let ops = listen(&cli.ops_addr, "-ops-addr").await?;

    let environment = Environment::new(&variables)?;
    let to_database = usize::from(cli.database_connections);
    let connections = descriptors::allow(limits.connections, to_database)?;
    let limits = Limits { connections, ..limits };
    let shared = Shared::trusting(environment, to_database, of_component.authorities())?;
    let server = server(cli.component.as_deref(), shared, limits)?;
    let mut registry = metrics::registry();
    server.register(&mut registry);

    let stop_background = CancellationToken::new();
    tracing::info!(
        "serving on http://{}, health and metrics on http://{}",
        listener.local_addr()?,
        ops.local_addr()?
    );
    let admin_username = variables["admin_username"].clone();
    let retention = cli.retention.retention(log_service.is_some());
    let settings = Settings {
        database: database_url.options(PROGRAM),
        nats,
        log_service,
        default_user,
        admin_username,
        retention,
        ops,
        registry,
        program: PROGRAM,
    };
    let mut background = pin!(service::run(settings, stop_background.clone()));
    let mut serving = tokio::spawn(server.serve(listener, stop_accepting.clone()));
    tokio::select! {
        result = &mut serving => result??,
        // It ends by itself only when it can't go on.
        result = &mut background => return result,
    }
    // Requests are done, so their events are in the outbox: now it can be drained.
    stop_background.cancel();
    background.await
}

/// The component on an engine with room for its instances.
fn server(file: Option<&Path>, shared: Shared, limits: Limits) -> anyhow::Result<Arc<Server>> {
    let engine = component::engine(limits.total_instances())?;
    let component = match file {
        Some(file) => component::from_file(&engine, file)?,
        None => component::embedded(&engine)?,
    };
    component::start_ticking(&engine)?;
    Ok(Arc::new(Server::new(host::link(&component)?, shared, limits)))
}
