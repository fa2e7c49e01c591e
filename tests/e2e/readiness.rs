//! `/healthz`, `/readyz`, and what the routes say when they can't work.

use std::time::Duration;

use edd_auth_server::http::Limits;
use edd_auth_sidecar::migrate;
use serde_json::json;

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, LIMITS, Service, empty_database, eventually, new_database,
    newest_migration, temporary_directory,
};

async fn login(service: &Service) -> crate::harness::Reply {
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
    service.post("/login").json(&body).send().await
}

#[tokio::test]
async fn a_service_with_its_schema_is_ready() {
    let service = Service::start().await;
    let reply = service.get("/readyz").send().await;
    assert_eq!(reply.status, 200);
    let newest = newest_migration(&mut service.database().await).await;
    assert_eq!(reply.body, json!({"status": "ready", "schema_version": newest}));
    assert_eq!(service.get("/healthz").send().await.body, "ok\n");
}

#[tokio::test]
async fn without_a_schema_it_names_the_command_that_makes_it() {
    let service = Service::on_database(&empty_database().await, &[]).await;
    for reply in [service.get("/readyz").send().await, login(&service).await] {
        reply.assert_problem(503, "schema_missing");
        let detail = reply.body["detail"].as_str().expect("a detail");
        assert!(detail.contains("auth-sidecar migrate"), "{detail}");
        assert!(reply.header("retry-after").is_some());
    }
    assert_eq!(service.get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn an_older_schema_is_not_ready() {
    let service = Service::start().await;
    sqlx::query("delete from _sqlx_migrations where version > 1")
        .execute(&mut service.database().await)
        .await
        .expect("forgotten");
    service.get("/readyz").send().await.assert_problem(503, "schema_missing");
}

#[tokio::test]
async fn without_a_database_every_route_is_503_and_shows_nothing_of_it() {
    let port = xtask::process::free_port().expect("a port");
    let url = format!("postgres://auth:hunter2@127.0.0.1:{port}/auth");
    let service = Service::on_database(&url, &[]).await;
    for reply in [service.get("/readyz").send().await, login(&service).await] {
        reply.assert_problem(503, "database_unavailable");
        assert!(reply.header("retry-after").is_some());
        let text = reply.body.to_string();
        assert!(!text.contains("hunter2") && !text.contains(&port.to_string()), "{text}");
    }
    assert_eq!(service.get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn a_database_that_fails_is_503() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    sqlx::raw_sql(
        "create function fail() returns trigger language plpgsql \
         as 'begin raise exception ''disk full''; end'; \
         create trigger fail before insert on outbox for each row execute function fail()",
    )
    .execute(&mut service.database().await)
    .await
    .expect("a trigger");
    let reply = login(&service).await;
    reply.assert_problem(503, "database_unavailable");
    assert!(!reply.body.to_string().contains("disk full"));
    // Nothing of the statement has happened.
    assert_eq!(service.count("sessions").await, 1);
    assert_eq!(service.get("/me").bearer(&token).send().await.status, 200);
}

#[tokio::test]
async fn a_bad_variable_is_503_everywhere_but_on_healthz() {
    let database = new_database().await;
    for (name, value) in
        [("jwt_secret", "hunter2"), ("session_ttl", "1 day"), ("password_min_length", "three")]
    {
        let service = Service::on_database(&database, &[(name, value)]).await;
        for path in ["/readyz", "/me", "/admin/users"] {
            let reply = service.get(path).send().await;
            reply.assert_problem(503, "misconfigured");
            assert!(!reply.body.to_string().contains(value), "{}", reply.body);
        }
        login(&service).await.assert_problem(503, "misconfigured");
        assert_eq!(service.get("/healthz").send().await.status, 200);
    }
}

#[tokio::test]
async fn past_its_bound_it_refuses_and_says_when_to_come_back() {
    let queue = Duration::from_millis(100);
    let service = Service::with_limits(Limits { instances: 1, hashes: 1, queue, ..LIMITS }).await;
    let token = service.login_admin().await;
    let mut database = service.database().await;
    sqlx::raw_sql("begin; lock table users").execute(&mut database).await.expect("locked");
    let me = || service.get("/me").bearer(&token).header("x-request-id", "mine").send();
    let while_one_waits = async {
        service.until_blocked(1).await;
        let refused = me().await;
        refused.assert_problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        // Probes have instances of their own.
        assert_eq!(service.get("/healthz").send().await.status, 200);
        assert_eq!(service.get("/readyz").send().await.status, 200);
        // Those who hash have theirs, too, and leave those of the others alone.
        let while_two_wait = async {
            service.until_blocked(2).await;
            login(&service).await.assert_problem(503, "overloaded");
            sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
        };
        let (waited, ()) = tokio::join!(login(&service), while_two_wait);
        assert_eq!(waited.status, 200);
    };
    let (waited, ()) = tokio::join!(me(), while_one_waits);
    assert_eq!(waited.status, 200);
    assert_eq!(me().await.status, 200);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_503_and_does_not_go_on() {
    let limits = Limits { answer: Duration::from_millis(500), ..LIMITS };
    let service = Service::with_limits(limits).await;
    let mut database = service.database().await;
    sqlx::raw_sql("begin; lock table users").execute(&mut database).await.expect("locked");
    // More often than the pool has connections: each comes back, or is replaced.
    for _ in 0..6 {
        login(&service).await.assert_problem(503, "timed_out");
    }
    // Nobody waits for the lock any more: the statements were cancelled.
    service.until_blocked(0).await;
    sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    eventually(async || (login(&service).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn it_recovers_when_the_database_comes_back() {
    let directory = temporary_directory();
    let home = xtask::services::Home::new(directory.path()).expect("a home");
    let start = || {
        xtask::services::Postgres::start(&home, xtask::services::Durability::None).expect("started")
    };
    let postgres = start();
    let mut connection = crate::harness::connect(&postgres.url()).await;
    migrate::apply(&mut connection).await.expect("migrated");
    let service = Service::on_database(&postgres.url(), &[]).await;
    assert_eq!(service.get("/readyz").send().await.status, 200);
    drop(postgres);
    service.get("/readyz").send().await.assert_problem(503, "database_unavailable");
    let _postgres = start();
    assert_eq!(service.get("/readyz").send().await.status, 200);
}
