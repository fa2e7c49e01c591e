//! Where connections come from: pools, and what is known of the servers behind them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_postgres::config::{Host as PgHost, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pulse::{self, Pulse};
use super::{Connection, Error, display_chain, failed_to_connect};
use crate::manifest::AllowedHosts;
use crate::metrics::{HasLevels, Level, Values};

/// How long a request may wait for its turn and then for a connection, together.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1900);

/// How long a connection may take to be made. The request that wanted it may have
/// given up by then; the next ones have it.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long in the pool a connection has to show that it still leads somewhere,
/// before a statement is risked on it.
const IDLE: Duration = Duration::from_secs(1);

/// How long it may take to show that.
const CHECK_TIMEOUT: Duration = Duration::from_millis(750);

/// After so long without traffic the system asks whether the other side is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// How often it asks again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// How long what was sent may stay unacknowledged until the connection is given up: a
/// machine that is gone acknowledges nothing.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Pools of connections, one for each address, and where they may lead.
pub struct Databases {
    allowed: AllowedHosts,
    connections: usize,
    tls: MakeRustlsConnect,
    servers: Mutex<HashMap<String, Server>>,
}

/// The pool of an address, and whether anybody is behind it.
#[derive(Clone)]
struct Server {
    pool: Pool,
    pulse: Arc<Pulse>,
}

impl Databases {
    /// No connection is made yet. `connections` is the size of each pool;
    /// `authorities` are trusted beside those of the system.
    ///
    /// # Errors
    ///
    /// When one of them is none, or TLS can't be set up.
    pub fn new(
        allowed: AllowedHosts,
        connections: usize,
        authorities: &[CertificateDer<'static>],
    ) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        // From SSL_CERT_FILE where it is set, as in sqlx and Spin.
        let loaded = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(loaded.certs);
        for authority in authorities {
            roots.add(authority.clone()).context("an authority of the database")?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            allowed,
            connections,
            tls: MakeRustlsConnect::new(config),
            servers: Mutex::default(),
        })
    }

    /// The settings of TLS.
    pub(super) fn tls(&self) -> &MakeRustlsConnect {
        &self.tls
    }

    /// A connection to an address, for a request that has waited for its turn so long.
    pub(super) async fn connect(
        &self,
        address: &str,
        queued: Duration,
    ) -> Result<Connection, Error> {
        let Server { pool, pulse } = self.server(address)?;
        // In a task of its own, so that a connection that takes longer to be made than
        // this request can wait is there for the next.
        let connection = tokio::spawn(async move { pool.get().await });
        let wait = CONNECT_TIMEOUT.saturating_sub(queued);
        let client = match pulse.during(timeout(wait, connection)).await {
            Some(Ok(Ok(Ok(client)))) => client,
            Some(Ok(Ok(Err(PoolError::Timeout(_)))) | Err(_)) => {
                return Err(failed_to_connect(format!(
                    "none of {} connections became free in time, and none could be made",
                    self.connections
                )));
            }
            Some(Ok(Ok(Err(PoolError::Backend(error))))) => {
                pulse.heard_in(&error);
                return Err(failed_to_connect(display_chain(&error)));
            }
            Some(Ok(Ok(Err(error)))) => return Err(failed_to_connect(error.to_string())),
            Some(Ok(Err(error))) => return Err(failed_to_connect(error.to_string())),
            None => return Err(failed_to_connect(pulse::NO_ANSWER.to_owned())),
        };
        Ok(Connection { client: Some(client), pulse })
    }

    /// Every host of a connection string has to be one that `spin.toml` allows.
    fn check_allowed(&self, config: &Config) -> Result<(), Error> {
        let ports = config.get_ports();
        if config.get_hosts().is_empty() {
            return Err(failed_to_connect("the connection string names no host".to_owned()));
        }
        // It would be connected to in place of the host that is looked at here.
        if !config.get_hostaddrs().is_empty() {
            return Err(failed_to_connect("hostaddr is not supported".to_owned()));
        }
        for (place, host) in config.get_hosts().iter().enumerate() {
            let PgHost::Tcp(host) = host else {
                return Err(failed_to_connect("Unix sockets are not supported".to_owned()));
            };
            let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
            if !self.allowed.permit(host, port) {
                return Err(failed_to_connect(format!(
                    "address postgres://{host}:{port} is not permitted"
                )));
            }
        }
        Ok(())
    }

    /// What is known of an address; made when it is asked for the first time.
    fn server(&self, address: &str) -> Result<Server, Error> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(address) {
            return Ok(server.clone());
        }
        let mut config: Config =
            address.parse().map_err(|error| failed_to_connect(format!("{error:?}")))?;
        self.check_allowed(&config)?;
        complete(&mut config);
        let pulse = Arc::new(Pulse::of(&config));
        let pool = self.pool(config, &pulse)?;
        let server = Server { pool, pulse };
        servers.insert(address.to_owned(), server.clone());
        Ok(server)
    }

    fn pool(&self, config: Config, pulse: &Arc<Pulse>) -> Result<Pool, Error> {
        // Nothing is left behind on a connection: there are no transactions, and
        // no statement of the component changes a setting. So nothing is cleaned.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config, NoTls, recycling)
        } else {
            Manager::from_config(config, self.tls.clone(), recycling)
        };
        Pool::builder(manager)
            .max_size(self.connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(CONNECT_TIMEOUT),
                create: Some(CREATE_TIMEOUT),
                recycle: Some(CHECK_TIMEOUT),
            })
            .post_create(hear(Arc::clone(pulse)))
            .pre_recycle(check(Arc::clone(pulse)))
            .build()
            .map_err(|error| failed_to_connect(format!("{error:?}")))
    }
}

impl HasLevels for Databases {
    fn levels(&self) -> Vec<Level> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut in_use, mut idle, mut waiting) = (0, 0, 0);
        for status in servers.values().map(|server| server.pool.status()) {
            in_use += status.size - status.available;
            idle += status.available;
            waiting += status.waiting;
        }
        let one = |name, help, value| Level { name, help, values: Values::One(value) };
        vec![
            Level {
                name: "database_connections",
                help: "Connections to PostgreSQL for requests, by state",
                values: Values::By("state", vec![("in_use", in_use), ("idle", idle)]),
            },
            // The pool is made with the first request.
            one(
                "database_connections_limit",
                "How many there may be",
                self.connections * servers.len().max(1),
            ),
            one(
                "database_connections_waiting",
                "Requests that wait for one to become free",
                waiting,
            ),
        ]
    }
}

/// A connection that was made was made by both sides.
fn hear(pulse: Arc<Pulse>) -> Hook {
    Hook::sync_fn(move |_, _| {
        pulse.heard();
        Ok(())
    })
}

/// Keeps a connection in the pool from being used when it leads nowhere any more: a
/// statement that is sent there may have run or not, and could not be tried again.
fn check(pulse: Arc<Pulse>) -> Hook {
    Hook::async_fn(move |client, metrics| {
        let pulse = Arc::clone(&pulse);
        Box::pin(async move {
            let last_used = metrics.recycled.unwrap_or(metrics.created);
            if !pulse.trusts(last_used) {
                return Err(HookError::message("from before an interruption"));
            }
            if last_used.elapsed() < IDLE {
                return Ok(());
            }
            match timeout(CHECK_TIMEOUT, client.simple_query("")).await {
                Ok(Ok(_)) => {
                    pulse.heard();
                    Ok(())
                }
                Ok(Err(error)) => Err(HookError::Backend(error)),
                Err(_) => {
                    // Whatever has swallowed this one has swallowed those beside it.
                    pulse.distrust();
                    Err(HookError::message("no answer"))
                }
            }
        })
    })
}

/// Adds what a connection string does not say: how soon a server that has vanished is
/// noticed.
fn complete(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
    }
}
