//! A relay in the test's process, and the changes whose events it publishes.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use edd_auth_sidecar::metrics::Metrics;
use edd_auth_sidecar::nats::Nats;
use edd_auth_sidecar::relay::Relay;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use crate::harness::{OwnNats, PATIENCE, Service, sidecar_url, within};

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
    drained_within(PATIENCE, service).await;
}

/// The same, for what takes its time.
pub(crate) async fn drained_within(patience: Duration, service: &Service) {
    within(patience, async || {
        (service.count("outbox where published_at is null").await == 0).then_some(())
    })
    .await;
}

/// The ids of the events of each entity, in their order, of pairs of entity and id.
pub(crate) fn by_entity(
    events: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, Vec<String>> {
    let mut entities: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (entity, event_id) in events {
        entities.entry(entity).or_default().push(event_id);
    }
    entities
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
