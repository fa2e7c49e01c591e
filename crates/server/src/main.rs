//! `auth-server`: the whole service in one process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use edd_auth_rules::{JWT_SECRET_MIN_BYTES, go_duration};
use edd_auth_server::host::Shared;
use edd_auth_server::http::{Limits, Server};
use edd_auth_server::manifest::Environment;
use edd_auth_server::{component, host};
use edd_auth_sidecar::config::{self, ConfigError, DefaultUser};
use edd_auth_sidecar::service::{self, Settings};
use edd_auth_sidecar::{arguments, logging};
use tokio_util::sync::CancellationToken;

/// The name of this process to PostgreSQL and NATS.
const PROGRAM: &str = "auth-server";

/// Secrets have no flags: other users of the machine can read the arguments of a
/// process.
const SECRETS: &str = "Only from the environment:
  JWT_SECRET        Signs the tokens; at least 32 random bytes
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
    /// Where log records are pushed (gRPC logging.LogService); not available yet
    #[arg(long, env = "LOG_SERVICE", value_name = "HOST:PORT")]
    log_service: Option<String>,
    /// PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE
    ///
    /// `?sslmode=require` encrypts and verifies certificate and host name, with the
    /// authorities of the system or of the file that SSL_CERT_FILE names.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// NATS, as nats://HOST:PORT; without it events wait in the outbox
    #[arg(long, env = "NATS_URL", value_name = "URL", hide_env_values = true)]
    nats_url: Option<String>,
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
    /// Where /healthz, /readyz and /metrics of the background tasks are served
    #[arg(long, env = "OPS_ADDR", value_name = "HOST:PORT", default_value = "127.0.0.1:9464",
          value_parser = arguments::listen_address)]
    ops_addr: String,
    /// Requests that are served at once; 503 past it
    #[arg(long, env = "MAX_INSTANCES", value_name = "N", default_value_t = Limits::default().instances,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_instances: u32,
    /// Connections to PostgreSQL for requests; the background tasks need 3 more
    #[arg(long, env = "DATABASE_CONNECTIONS", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    database_connections: u16,
    /// Another component than the one that is built in: a .wasm file
    #[arg(long, env = "COMPONENT", value_name = "FILE")]
    component: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments::with_double_dashes(std::env::args_os()));
    logging::init();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-server: {error:#}");
            // 2, as for a flag that is wrong: nothing was started.
            if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let database = config::database(cli.database_url.clone(), PROGRAM)?;
    let variables = variables(&cli)?;
    if cli.log_service.is_some() {
        tracing::warn!("-log-service is not available yet; log records stay here");
    }
    let nats = config::nats(cli.nats_url)?;
    let default_user =
        DefaultUser::new(cli.default_username, std::env::var("DEFAULT_PASSWORD").ok())?;

    let listen = async |address: &str, flag: &str| {
        arguments::listen(address)
            .await
            .with_context(|| format!("can't listen on {address} ({flag})"))
    };
    let listener = listen(&cli.addr, "-addr").await?;
    let ops = listen(&cli.ops_addr, "-ops-addr").await?;

    let engine = component::engine(cli.max_instances)?;
    let component = match &cli.component {
        Some(path) => component::from_file(&engine, path)?,
        None => component::embedded(&engine)?,
    };
    component::start_ticking(&engine)?;
    let shared = Shared::new(Environment::new(&variables)?, usize::from(cli.database_connections))?;
    let limits = Limits { instances: cli.max_instances, ..Limits::default() };
    let server = Arc::new(Server::new(host::link(&component)?, shared, limits));

    let stop_accepting = service::stop_on_signal()?;
    let stop_background = CancellationToken::new();
    tracing::info!(
        "serving on http://{}, health and metrics on http://{}",
        listener.local_addr()?,
        ops.local_addr()?
    );
    let admin_username = variables["admin_username"].clone();
    let settings = Settings { database, nats, default_user, admin_username, ops, program: PROGRAM };
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

/// The values of the variables of `spin.toml`, checked as the component will,
/// so that a mistake stops the start instead of every request.
fn variables(cli: &Cli) -> Result<BTreeMap<String, String>, ConfigError> {
    let database_url = cli.database_url.clone().unwrap_or_default();
    if let Err(error) = database_url.parse::<tokio_postgres::Config>() {
        // The message names the parameter and not its value.
        return Err(ConfigError::new("DATABASE_URL", format!("is not understood: {error}")));
    }
    let jwt_secret = config::required(
        "JWT_SECRET",
        std::env::var("JWT_SECRET").ok(),
        "what tokens are signed with, at least 32 random bytes",
    )?;
    if jwt_secret.len() < JWT_SECRET_MIN_BYTES {
        return Err(ConfigError::new(
            "JWT_SECRET",
            format!("has {} bytes; it needs at least {JWT_SECRET_MIN_BYTES}", jwt_secret.len()),
        ));
    }
    let admin_username = config::required(
        "ADMIN_USERNAME",
        cli.admin_username.clone(),
        "the user who may use the admin API",
    )?;
    let ttl = go_duration::parse(&cli.session_ttl)
        .map_err(|error| ConfigError::new("-session-ttl", format!("is wrong: {error}")))?;
    if ttl < Duration::from_secs(1) {
        return Err(ConfigError::new("-session-ttl", "must be at least 1s"));
    }
    if let Some(length) = cli.password_min_length.as_ref().filter(|length| !length.is_empty())
        && !length.parse().is_ok_and(|length: usize| (8..=256).contains(&length))
    {
        return Err(ConfigError::new("PASSWORD_MIN_LENGTH", "must be a number from 8 to 256"));
    }
    let host = url::Url::parse(&database_url)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(5432))))
        .ok_or_else(|| ConfigError::new("DATABASE_URL", "names no host"))?;
    let mut variables = BTreeMap::from([
        ("database_url".to_owned(), database_url),
        ("database_host".to_owned(), host),
        ("jwt_secret".to_owned(), jwt_secret),
        ("admin_username".to_owned(), admin_username),
        ("session_ttl".to_owned(), cli.session_ttl.clone()),
    ]);
    for (name, value) in [
        ("jwt_issuer", &cli.jwt_issuer),
        ("jwt_audience", &cli.jwt_audience),
        ("password_min_length", &cli.password_min_length),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            variables.insert(name.to_owned(), value.clone());
        }
    }
    Ok(variables)
}
