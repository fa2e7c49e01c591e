//! The log service, from this side: what is pushed, when, and what is not lost.

mod audit;
mod double;
mod own;
mod process;

use std::sync::Arc;
use std::time::Duration;

use edd_auth_sidecar::config;
use edd_auth_sidecar::log_service::{LogService, Pushers, Queue};
use edd_auth_sidecar::metrics::{self, Metrics};
use edd_auth_sidecar::migrate;
use edd_auth_sidecar::roles::{self, Roles};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use double::Double;

/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The URL of a database of the test's own, without a schema.
async fn empty_database() -> String {
    let server = std::env::var("TEST_DATABASE_URL").expect("set by `cargo xtask test`");
    let name = format!("log_service_{}", Uuid::now_v7().simple());
    let options: PgConnectOptions = server.parse().expect("a URL");
    let mut connection = options.connect().await.expect("a server");
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("created");
    connection.close().await.expect("closed");
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_path(&name);
    url.into()
}

/// A database with the schema, for the sidecar's role, and a connection of its owner.
async fn database() -> (PgConnectOptions, PgConnection) {
    const PASSWORD: &str = "the password of the sidecar's role";
    let options: PgConnectOptions = empty_database().await.parse().expect("a URL");
    let mut connection = options.connect().await.expect("connected");
    migrate::apply(&mut connection).await.expect("migrated");
    let name = format!("log_service_{}", Uuid::now_v7().simple());
    let roles = Roles::new(&name, None, Some(PASSWORD.to_owned())).expect("a name");
    roles::prepare(&mut connection, &roles).await.expect("granted");
    (options.username(roles.sidecar()).password(PASSWORD), connection)
}

/// What a process runs: its pushers, with their queue and metrics. Dropping it is
/// a crash.
struct Process {
    pushers: Pushers,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
}

impl Process {
    fn start(double: &Double) -> Self {
        let service = service(double);
        let queue = service.queue();
        let metrics = Arc::new(Metrics::new(metrics::registry(), "test", queue.dropped()));
        Self { pushers: Pushers::start(service, Arc::clone(&metrics)), queue, metrics }
    }

    fn with_audit(double: &Double, database: &PgConnectOptions) -> Self {
        let mut process = Self::start(double);
        process.pushers.add_audit(database.clone());
        process
    }
}

fn service(double: &Double) -> LogService {
    config::log_service(Some(double.address())).expect("an address").expect("one")
}

/// Waits until `look` finds something.
async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("in time")
}
