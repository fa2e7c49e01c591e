//! `/healthz`, `/readyz`, and what the routes say when they can't work.

use edd_auth_sidecar::migrate;
use serde_json::json;

use crate::harness::{ADMIN, ADMIN_PASSWORD, Service, empty_database, new_database};

async fn login(service: &Service) -> crate::harness::Reply {
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
    service.post("/login").json(&body).send().await
}

#[tokio::test]
async fn a_service_with_its_schema_is_ready() {
    let service = Service::start().await;
    let reply = service.get("/readyz").send().await;
    assert_eq!(reply.status, 200);
    let newest = migrate::newest_version();
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
    sqlx::query("delete from _sqlx_migrations where version = 3")
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
