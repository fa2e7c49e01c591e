//! A PostgreSQL that is away, in all the ways there are: what a client is told, how soon,
//! what the log says, and that nobody has to do anything when it is back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use edd_auth_sidecar::{migrate, roles as database_roles};
use futures::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port};
use xtask::proxy::{Mode, Proxy};
use xtask::services::{Durability, Home, Postgres};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, PATIENCE, Reply, SERVICE_API_KEY, Service, connect, eventually,
    log_file, roles, temporary_directory, with_role,
};
use crate::mutations::{self, Draft};
use crate::processes::with_environment;

/// Within which every request has to be answered, and within which everything has to
/// work again.
const PROMISED: Duration = Duration::from_secs(2);

/// What says nothing of the database.
const WITHOUT_DATABASE: [&str; 4] = [
    "GET /healthz",
    "GET /openapi.json",
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
];

/// `auth-server` as a process, behind it a link that can be cut, and a PostgreSQL of its
/// own. The component has its role.
struct Outage {
    server: Server,
    service: Service,
    link: Proxy,
    postgres: Option<Postgres>,
    directory: TempDir,
}

impl Outage {
    async fn start() -> Self {
        let directory = temporary_directory();
        let postgres = start_postgres(&directory);
        let url = postgres.url();
        let mut connection = connect(&url).await;
        migrate::apply(&mut connection).await.expect("migrated");
        database_roles::prepare(&mut connection, roles()).await.expect("granted");
        let port = url::Url::parse(&url).expect("a URL").port().expect("a port");
        let link = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("a link");
        let through_link =
            url.replace(&format!(":{port}/"), &format!(":{}/", link.address().port()));
        let address = format!("127.0.0.1:{}", free_port().expect("a port"));
        let mut command = Command::new(Artifacts::paths().server);
        with_environment(
            &mut command,
            &through_link,
            &[
                ("APP_DATABASE_URL", &with_role(&through_link, roles().app())),
                ("SERVICE_API_KEY", SERVICE_API_KEY),
                ("TRUSTED_PROXY_HOPS", "1"),
                ("ADDR", &address),
            ],
        );
        let log = log_file(directory.path(), "server");
        let mut server =
            Server::start("auth-server", &mut command, &log, Signal::SIGTERM).expect("started");
        // Ready is soon; the default user is there a little later.
        server.wait_until(PATIENCE, || answers_ok(&address, "/readyz")).expect("ready");
        let service = Service::at(address, &url);
        eventually(async || (service.count("users").await == 1).then_some(())).await;
        Self { server, service, link, postgres: Some(postgres), directory }
    }

    fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("it runs")
    }

    fn stop_postgres(&mut self) {
        self.postgres = None;
    }

    fn start_postgres(&mut self) {
        self.postgres = Some(start_postgres(&self.directory));
    }

    fn psql(&self, script: &str) {
        self.postgres().psql("auth", script).expect("done");
    }

    /// A request for each operation.
    async fn drafts(&self) -> Vec<(String, bool, Draft)> {
        let admin = self.service.login_admin().await;
        mutations::one_of_each(&self.service, &admin).await
    }

    async fn log_in(&self) -> Reply {
        let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
        self.service.post("/login").json(&body).send().await
    }

    /// While the database is away: every request is answered in time, with 503.
    async fn assert_away(&self, kind: &str, drafts: &[(String, bool, Draft)]) {
        // First when nobody has noticed, in which case not all get their turn; then again.
        for noticed in [false, true] {
            let answers = drafts.iter().map(async |(name, _, draft)| {
                let started = Instant::now();
                let reply = mutations::send(&self.service, draft).await;
                (name.as_str(), reply, started.elapsed())
            });
            for (name, reply, took) in join_all(answers).await {
                assert!(took < PROMISED, "{kind}: {name} took {took:?}");
                if WITHOUT_DATABASE.contains(&name) && reply.status < 500 {
                    continue;
                }
                let code = reply.body["code"].as_str().unwrap_or_default();
                let expected = if noticed {
                    &["database_unavailable"][..]
                } else {
                    &["database_unavailable", "overloaded"]
                };
                assert!(
                    expected.contains(&code),
                    "{kind}: {name}: {} {}",
                    reply.status,
                    reply.body
                );
                assert_eq!(reply.status, 503, "{kind}: {name}");
                assert!(reply.header("retry-after").is_some(), "{kind}: {name}");
            }
        }
    }

    /// Once the database is back: in time, and without a single failure from then on.
    async fn assert_back(&self, kind: &str) {
        let started = Instant::now();
        eventually(async || (self.service.get("/readyz").send().await.status == 200).then_some(()))
            .await;
        assert!(started.elapsed() < PROMISED, "{kind}: back after {:?}", started.elapsed());
        for _ in 0..3 {
            let reply = self.log_in().await;
            assert_eq!(reply.status, 200, "{kind}: {}", reply.body);
        }
    }

    /// Sees to it that `/healthz` answers with 200 all the time.
    async fn while_it_lives<T>(&self, work: impl Future<Output = T>) -> T {
        let done = CancellationToken::new();
        let watch = async {
            let mut interval = tokio::time::interval(Duration::from_millis(100));
            while !done.is_cancelled() {
                interval.tick().await;
                let started = Instant::now();
                assert_eq!(self.service.get("/healthz").send().await.status, 200);
                assert!(started.elapsed() < PROMISED, "{:?}", started.elapsed());
            }
        };
        let work = async {
            let result = work.await;
            done.cancel();
            result
        };
        tokio::join!(work, watch).0
    }

    /// The lines of the log that the component has written.
    fn causes(&self) -> Vec<String> {
        let log = self.server.log();
        log.lines().filter(|line| line.contains("\"cause\"")).map(str::to_owned).collect()
    }
}

fn start_postgres(directory: &TempDir) -> Postgres {
    let home = Home::new(directory.path()).expect("a home");
    Postgres::start(&home, Durability::None).expect("started")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_keeps_the_database_away_every_route_says_so_in_time_and_comes_back() {
    let mut outage = Outage::start().await;
    let drafts = outage.drafts().await;
    outage.link.set(Mode::BlackHole);
    outage.while_it_lives(outage.assert_away("black hole", &drafts)).await;
    outage.link.set(Mode::Forward);
    outage.assert_back("black hole").await;

    outage.link.set(Mode::Reset);
    outage.while_it_lives(outage.assert_away("reset", &drafts)).await;
    outage.link.set(Mode::Forward);
    outage.assert_back("reset").await;

    outage.postgres().signal_all(Signal::SIGSTOP).expect("stopped");
    outage.while_it_lives(outage.assert_away("SIGSTOP", &drafts)).await;
    outage.postgres().signal_all(Signal::SIGCONT).expect("continued");
    outage.assert_back("SIGSTOP").await;

    outage.stop_postgres();
    outage.while_it_lives(outage.assert_away("stopped", &drafts)).await;
    outage.start_postgres();
    outage.assert_back("stopped").await;

    let role = roles().app();
    let end =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
    outage.psql(&format!("alter role {role} connection limit 0"));
    outage.psql(&end);
    outage.while_it_lives(outage.assert_away("53300", &drafts)).await;
    assert!(outage.causes().last().expect("a line").contains("too many connections"));
    outage.psql(&format!("alter role {role} connection limit -1"));
    outage.assert_back("53300").await;

    // A shutdown that waits for the last client, which is this one.
    let last = connect(&outage.postgres().url()).await;
    outage.psql(&end);
    outage.postgres.as_mut().expect("it runs").server().signal(Signal::SIGTERM).expect("asked");
    outage.link.cut();
    outage.while_it_lives(outage.assert_away("57P03", &drafts)).await;
    assert!(
        outage.causes().last().expect("a line").contains("the database system is shutting down")
    );
    drop(last);
    outage.stop_postgres();
    outage.start_postgres();
    outage.assert_back("57P03").await;
    // Nothing has ended the process, and it has said in a line what was the matter.
    let log = outage.server.log();
    assert!(log.contains("PostgreSQL does not answer: requests are refused"), "{log}");
    assert!(log.contains("PostgreSQL answers again"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_for_a_lock_but_not_for_a_server_that_is_gone() {
    let outage = Outage::start().await;
    let mut holder = connect(&outage.postgres().url()).await;
    let token = outage.service.login_admin().await;
    let me = || outage.service.get("/me").bearer(&token).send();
    let lock = "begin; lock table users";
    sqlx::raw_sql(lock).execute(&mut holder).await.expect("locked");
    let release = async {
        outage.service.until_blocked(1).await;
        // Longer than a server that is gone is waited for.
        tokio::time::sleep(PROMISED + Duration::from_millis(500)).await;
        sqlx::raw_sql("rollback").execute(&mut holder).await.expect("released");
    };
    let (reply, ()) = tokio::join!(me(), release);
    assert_eq!(reply.status, 200, "{}", reply.body);

    sqlx::raw_sql(lock).execute(&mut holder).await.expect("locked");
    let stop = async {
        outage.service.until_blocked(1).await;
        outage.postgres().signal_all(Signal::SIGSTOP).expect("stopped");
        Instant::now()
    };
    let (reply, stopped) = tokio::join!(me(), stop);
    assert!(stopped.elapsed() < PROMISED, "{:?}", stopped.elapsed());
    reply.assert_problem(503, "database_unavailable");
    outage.postgres().signal_all(Signal::SIGCONT).expect("continued");
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("released");
    outage.assert_back("SIGSTOP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lead_nowhere_any_more_cost_no_request() {
    let outage = Outage::start().await;
    let token = outage.service.login_admin().await;
    let me = || outage.service.get("/me").bearer(&token).send();
    // More than one connection in the pool.
    join_all((0..8).map(|_| me())).await;
    assert!(outage.link.connections() > 2);
    outage.link.strand();
    // Long enough unused for a check before they are used again.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for reply in join_all((0..8).map(|_| me())).await {
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    // Those that were cut are noticed without one.
    assert!(outage.link.connections() > 2);
    outage.link.cut();
    eventually(async || (outage.link.connections() == 0).then_some(())).await;
    for _ in 0..8 {
        assert_eq!(me().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_and_a_full_disk_are_told_in_the_log() {
    let mut outage = Outage::start().await;
    let drafts = outage.drafts().await;
    outage.psql("alter system set default_transaction_read_only = on");
    outage.psql("select pg_reload_conf()");
    eventually(async || (outage.log_in().await.status == 503).then_some(())).await;
    for (name, changes, draft) in &drafts {
        let reply = mutations::send(&outage.service, draft).await;
        let told = reply.status == 503;
        if told {
            reply.assert_problem(503, "database_unavailable");
            assert!(reply.header("retry-after").is_some());
            assert!(!reply.body.to_string().contains("read-only"), "{}", reply.body);
        }
        // What would write down that somebody was refused is no mere reading, either.
        assert!(told || !changes && reply.status < 500, "{name}: {}", reply.body);
        assert!(!told || name != "GET /me", "{}", reply.body);
    }
    let causes = outage.causes();
    assert!(causes.iter().any(|line| line.contains("in a read-only transaction")), "{causes:?}");
    outage.psql("alter system reset default_transaction_read_only");
    outage.psql("select pg_reload_conf()");
    eventually(async || (outage.log_in().await.status == 200).then_some(())).await;

    // The file of a table without rows becomes the device that is always full: what
    // PostgreSQL gets from the system then is ENOSPC, as on a disk that is.
    outage.psql("truncate outbox");
    let file = outage.postgres().psql("auth", "select pg_relation_filepath('outbox')");
    let file = outage.postgres().data_directory().join(PathBuf::from(file.expect("a file").trim()));
    outage.stop_postgres();
    std::fs::remove_file(&file).expect("removed");
    std::os::unix::fs::symlink("/dev/full", &file).expect("linked");
    outage.start_postgres();
    eventually(async || (outage.service.get("/readyz").send().await.status == 200).then_some(()))
        .await;
    let reply = outage.log_in().await;
    reply.assert_problem(503, "database_unavailable");
    assert!(reply.header("retry-after").is_some());
    let causes = outage.causes();
    assert!(causes.last().expect("a line").contains("No space left on device"), "{causes:?}");
    assert_eq!(outage.service.get("/healthz").send().await.status, 200);
}
