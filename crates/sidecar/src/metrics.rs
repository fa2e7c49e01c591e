//! What the background side counts, in the Prometheus text format.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The metrics of the relay and the outbox.
pub struct Metrics {
    registry: Registry,
    /// Outbox rows that wait to be published.
    pub backlog: Gauge,
    /// Age of the oldest of them, in seconds; 0 when there is none.
    pub backlog_age_seconds: Gauge,
    /// Outbox rows that were set aside.
    pub set_aside: Gauge,
    /// 1 while this process is the one that publishes.
    pub leader: Gauge,
    /// 1 while there is a connection to NATS.
    pub nats_connected: Gauge,
    /// Events that JetStream has acknowledged.
    pub published: Counter,
    /// Publishes that JetStream did not acknowledge, and will be tried again.
    pub publish_failures: Counter,
    /// From publish to acknowledgement, in seconds.
    pub publish_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("auth");
        let backlog = Gauge::default();
        registry.register("outbox_backlog", "Events that wait to be published", backlog.clone());
        let backlog_age_seconds = Gauge::default();
        registry.register_with_unit(
            "outbox_backlog_age",
            "Age of the oldest event that waits to be published",
            Unit::Seconds,
            backlog_age_seconds.clone(),
        );
        let set_aside = Gauge::default();
        registry.register(
            "outbox_set_aside",
            "Outbox rows that are no events and were set aside",
            set_aside.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "relay_leader",
            "1 while this process is the one that publishes",
            leader.clone(),
        );
        let nats_connected = Gauge::default();
        registry.register(
            "nats_connected",
            "1 while there is a connection to NATS",
            nats_connected.clone(),
        );
        let published = Counter::default();
        registry.register(
            "relay_published",
            "Events that JetStream has acknowledged",
            published.clone(),
        );
        let publish_failures = Counter::default();
        registry.register(
            "relay_publish_failures",
            "Publishes without an acknowledgement; they are tried again",
            publish_failures.clone(),
        );
        let publish_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        registry.register_with_unit(
            "relay_publish",
            "From publish to acknowledgement",
            Unit::Seconds,
            publish_seconds.clone(),
        );
        Self {
            registry,
            backlog,
            backlog_age_seconds,
            set_aside,
            leader,
            nats_connected,
            published,
            publish_failures,
            publish_seconds,
        }
    }
}

impl Metrics {
    /// All metrics in the `OpenMetrics` text format, which Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
