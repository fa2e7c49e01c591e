//! A relay in the test's process, and the changes whose events it publishes.

use std::str::FromStr;
use std::sync::Arc;

use edd_auth_sidecar::metrics::Metrics;
use edd_auth_sidecar::nats::Nats;
use edd_auth_sidecar::relay::Relay;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use crate::harness::{OwnNats, Service, eventually, sidecar_url};

/// A relay in this process.
pub(crate) fn relay(service: &Service, nats: &OwnNats) -> Relay {
    Relay {
        database: PgConnectOptions::from_str(&sidecar_url(&service.database_url)).expect("a URL"),
        nats: Nats::new(&nats.url()).expect("a URL"),
        program: "auth-sidecar",
        metrics: Arc::new(Metrics::default()),
        wake: Arc::default(),
    }
}

/// Waits until every event is published and marked.
pub(crate) async fn drained(service: &Service) {
    eventually(async || {
        (service.count("outbox where published_at is null").await == 0).then_some(())
    })
    .await;
}

pub(crate) fn public_id(user: &Value) -> String {
    user["public_id"].as_str().expect("an id").to_owned()
}

/// Gives a user another display name: one event.
pub(crate) async fn rename(service: &Service, admin: &str, public_id: &str, name: &str) {
    let path = format!("/admin/users/{public_id}");
    let change = json!({"display_name": name});
    assert_eq!(service.patch(&path).bearer(admin).json(&change).send().await.status, 200);
}
