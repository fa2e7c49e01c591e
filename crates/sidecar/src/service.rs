//! The background side as one future: start, work, stop.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::causes::with_causes;
use crate::config::DefaultUser;
use crate::housekeeping::{self, Retention};
use crate::log_service::{self, LogService, Pushers};
use crate::metrics::Metrics;
use crate::nats::Nats;
use crate::ops::Health;
use crate::relay::Relay;
use crate::{default_user, migrate, ops, outbox};

/// How often the outbox is measured for the metrics.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the database may take to answer when it is measured.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long clients of the health and metrics port may take to finish.
const OPS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Checked settings of the background side.
pub struct Settings {
    /// The database.
    pub database: PgConnectOptions,
    /// NATS, if events are to leave the outbox.
    pub nats: Option<Nats>,
    /// The log service, if one gets log records and audit rows.
    pub log_service: Option<LogService>,
    /// The user that exists after the first start.
    pub default_user: DefaultUser,
    /// Who may administer.
    pub admin_username: String,
    /// How long rows are kept.
    pub retention: Retention,
    /// The listener of `/healthz`, `/readyz` and `/metrics`, bound already, so
    /// that a port that is taken is noticed before anything starts.
    pub ops: TcpListener,
    /// What else this process measures: an empty [`metrics::registry`](crate::metrics::registry),
    /// or one with more than the background side.
    pub registry: Registry,
    /// The name of this process, for NATS and for the metrics.
    pub program: &'static str,
}

/// A token that is cancelled by SIGTERM and by Ctrl-C.
///
/// # Errors
///
/// When the signals can't be caught.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(token)
}

/// Runs until `shutdown`: prepares the database, then relays. Survives a
/// database, a NATS server and a log service that are away, now or later.
///
/// # Errors
///
/// Only what no waiting can mend: a schema that another version has made.
pub async fn run(mut settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let log_service = settings.log_service.take();
    let dropped = log_service.as_ref().map(|service| service.queue().dropped());
    let registry = std::mem::take(&mut settings.registry);
    let metrics = Metrics::new(registry, settings.program, dropped.unwrap_or_default());
    let metrics = Arc::new(metrics);
    // First and last, so that what is logged in between is pushed.
    let mut pushers = log_service.map(|service| Pushers::start(service, Arc::clone(&metrics)));
    // On the heap: it is too large to be passed around.
    let result = Box::pin(work(settings, metrics, pushers.as_mut(), shutdown)).await;
    if let Some(pushers) = pushers {
        pushers.stop().await;
    }
    result
}

async fn work(
    settings: Settings,
    metrics: Arc<Metrics>,
    pushers: Option<&mut Pushers>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    health.nats_expected.store(settings.nats.is_some(), Relaxed);
    let ops_stop = CancellationToken::new();
    let ops = tokio::spawn(ops::serve(
        settings.ops,
        Arc::clone(&metrics),
        Arc::clone(&health),
        ops_stop.clone(),
    ));
    let result = tokio::select! {
        result = prepare(&settings.database, &settings.default_user) => result,
        () = shutdown.cancelled() => return Ok(()),
    };
    result?;
    health.database.store(true, Relaxed);
    warn_without_administrator(&settings.database, &settings.admin_username).await;

    let database = settings.database;
    let audited = pushers.is_some();
    if let Some(pushers) = pushers {
        pushers.add_audit(database.clone());
    }
    let measuring =
        tokio::spawn(measure(database.clone(), audited, Arc::clone(&metrics), Arc::clone(&health)));
    let retention = settings.retention;
    let housekeeping =
        tokio::spawn(housekeeping::run(database.clone(), retention, Arc::clone(&metrics)));
    if let Some(nats) = settings.nats {
        relay(database, nats, settings.program, metrics, &shutdown).await;
    } else {
        tracing::warn!("NATS_URL is not set: events wait in the outbox");
        shutdown.cancelled().await;
    }
    housekeeping.abort();
    measuring.abort();
    // Health and metrics answer until the very end, so that a drain can be watched.
    ops_stop.cancel();
    // A client that never ends its request would hold this for ever.
    if let Ok(served) = timeout(OPS_STOP_TIMEOUT, ops).await {
        served?;
    }
    Ok(())
}

/// Relays until `shutdown`.
async fn relay(
    database: PgConnectOptions,
    nats: Nats,
    program: &'static str,
    metrics: Arc<Metrics>,
    shutdown: &CancellationToken,
) {
    let wake = Arc::new(Notify::new());
    let listening = tokio::spawn(listen(database.clone(), Arc::clone(&wake)));
    let relay = Relay { database, nats, program, metrics, wake };
    relay.run(shutdown).await;
    listening.abort();
}

/// Migrates and creates the default user, as soon as the database lets it.
async fn prepare(database: &PgConnectOptions, user: &DefaultUser) -> anyhow::Result<()> {
    let mut backoff = Backoff::default();
    loop {
        let error = match prepare_once(database, user).await {
            Ok(()) => return Ok(()),
            Err(error) if is_permanent(&error) => return Err(error),
            Err(error) => error,
        };
        let reason = with_causes(&error);
        if backoff.is_news(&reason) {
            tracing::warn!("database: {reason}; trying again and again");
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn prepare_once(database: &PgConnectOptions, user: &DefaultUser) -> anyhow::Result<()> {
    let mut connection = database.connect().await?;
    for version in migrate::apply(&mut connection).await? {
        tracing::info!("database: applied migration {version}");
    }
    if default_user::ensure(&mut connection, user).await? == default_user::Outcome::Created {
        tracing::info!("database: created the default user");
    }
    connection.close().await?;
    Ok(())
}

/// A migration that reads otherwise than when it was applied stays that way.
fn is_permanent(error: &anyhow::Error) -> bool {
    use sqlx::migrate::MigrateError;
    matches!(error.downcast_ref(), Some(MigrateError::VersionMismatch(_) | MigrateError::Dirty(_)))
}

async fn warn_without_administrator(database: &PgConnectOptions, admin_username: &str) {
    let asked = timeout(MEASURE_TIMEOUT, has_administrator(database, admin_username)).await;
    if let Ok(Ok(false)) = asked {
        tracing::warn!(
            "nobody is an administrator: no user is called ADMIN_USERNAME and none has is_admin"
        );
    }
}

async fn has_administrator(
    database: &PgConnectOptions,
    admin_username: &str,
) -> sqlx::Result<bool> {
    let mut connection = database.connect().await?;
    let exists = sqlx::query_scalar(
        "select exists (select from users where (username = $1 or is_admin) and not disabled)",
    )
    .bind(admin_username)
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(exists)
}

/// Rings `wake` for each NOTIFY. A lost connection rings too, because a NOTIFY
/// may have been lost with it.
async fn listen(database: PgConnectOptions, wake: Arc<Notify>) {
    let mut backoff = Backoff::default();
    loop {
        let result: sqlx::Result<()> = async {
            let pool =
                PgPoolOptions::new().max_connections(1).connect_with(database.clone()).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen("outbox").await?;
            backoff.reset();
            wake.notify_one();
            while listener.try_recv().await?.is_some() {
                wake.notify_one();
            }
            Ok(())
        }
        .await;
        wake.notify_one();
        if let Err(error) = result {
            tracing::debug!("LISTEN: {error}");
        }
        sleep(backoff.next_delay()).await;
    }
}

/// Keeps the gauges of the outbox and, where a log service gets it, of the audit
/// log up to date, and with them the health of the database.
async fn measure(
    database: PgConnectOptions,
    audited: bool,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) {
    loop {
        match timeout(MEASURE_TIMEOUT, depth(&database, audited)).await {
            Ok(Ok((outbox, unpushed))) => {
                health.database.store(true, Relaxed);
                metrics.backlog.set(outbox.backlog);
                metrics.backlog_age_seconds.set(outbox.age_seconds);
                metrics.set_aside.set(outbox.set_aside);
                metrics.audit_unpushed.set(unpushed);
            }
            Ok(Err(_)) | Err(_) => health.database.store(false, Relaxed),
        }
        sleep(MEASURE_INTERVAL).await;
    }
}

/// What waits in the outbox, and how many audit rows wait.
async fn depth(database: &PgConnectOptions, audited: bool) -> sqlx::Result<(outbox::Depth, i64)> {
    let mut connection = database.connect().await?;
    let outbox = outbox::depth(&mut connection).await?;
    let unpushed = if audited { log_service::unpushed(&mut connection).await? } else { 0 };
    connection.close().await?;
    Ok((outbox, unpushed))
}
