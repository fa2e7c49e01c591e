//! What the background side counts, in the Prometheus text format.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::housekeeping::Removed;

/// The metrics of the relay, the outbox, housekeeping and the log service.
pub struct Metrics {
    registry: Registry,
    /// Outbox rows that wait to be published.
    pub backlog: Gauge,
    /// Age of the oldest of them, in seconds; 0 when there is none.
    pub backlog_age_seconds: Gauge,
    /// Outbox rows that are set aside.
    pub set_aside: Gauge,
    /// Rows that this process has set aside.
    pub rows_set_aside: Counter,
    /// 1 while this process is the one that publishes.
    pub leader: Gauge,
    /// 1 while there is a connection to NATS.
    pub nats_connected: Gauge,
    /// Events that JetStream has acknowledged.
    pub published: Counter,
    /// Publishes that JetStream did not acknowledge, and will be tried again.
    pub publish_failures: Counter,
    /// Events that JetStream had acknowledged and lost; they are published again.
    pub lost: Counter,
    /// From publish to acknowledgement, in seconds.
    pub publish_seconds: Histogram,
    /// Entries, audit rows included, that the log service has acknowledged.
    pub log_pushed: Counter,
    /// Entries that it did not acknowledge, and that will be tried again.
    pub log_push_failures: Counter,
    /// Audit rows that wait to be pushed, where a log service is configured.
    pub audit_unpushed: Gauge,
    /// Rows that housekeeping has removed, by `kind`.
    removed: Family<[(&'static str, &'static str); 1], Counter>,
    /// Unix time of this process's last round of housekeeping; 0 before the first.
    last_housekeeping: Gauge,
    /// Rounds that failed; the next one tries again.
    pub housekeeping_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(registry(), "test", Counter::default())
    }
}

/// The registry of a process: all names begin with `auth_`.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("auth")
}

impl Metrics {
    /// Beside what the registry has already, for the program of that name. With the
    /// counter of dropped log records, which is older than all others: records are
    /// queued before there is anything else.
    #[must_use]
    pub fn new(mut r: Registry, program: &'static str, log_dropped: Counter) -> Self {
        add_process(&mut r, program);
        r.register("log_dropped", "Own log records that there was no room for", log_dropped);
        let removed = add(&mut r, "housekeeping_removed", "Rows that were too old, by kind");
        let metrics = Self {
            backlog: add(&mut r, "outbox_backlog", "Events that wait to be published"),
            backlog_age_seconds: add_seconds(
                &mut r,
                "outbox_backlog_age",
                "Age of the oldest event that waits and is not held up by one that was set aside",
                Gauge::default(),
            ),
            set_aside: add(&mut r, "outbox_set_aside", "Outbox rows that are set aside now"),
            rows_set_aside: add(&mut r, "relay_set_aside", "Rows that this process has set aside"),
            leader: add(&mut r, "relay_leader", "1 while this process is the one that publishes"),
            nats_connected: add(&mut r, "nats_connected", "1 while there is a connection to NATS"),
            published: add(&mut r, "relay_published", "Events that JetStream has acknowledged"),
            publish_failures: add(
                &mut r,
                "relay_publish_failures",
                "Publishes without an acknowledgement; they are tried again",
            ),
            lost: add(
                &mut r,
                "relay_lost",
                "Events that JetStream had acknowledged and lost; they are published again",
            ),
            publish_seconds: add_seconds(
                &mut r,
                "relay_publish",
                "From publish to acknowledgement",
                Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            ),
            log_pushed: add(&mut r, "log_pushed", "Entries that the log service has acknowledged"),
            log_push_failures: add(
                &mut r,
                "log_push_failures",
                "Entries without an acknowledgement; they are tried again",
            ),
            audit_unpushed: add(&mut r, "audit_unpushed", "Audit rows that wait to be pushed"),
            removed,
            last_housekeeping: add_seconds(
                &mut r,
                "housekeeping_last_success_timestamp",
                "When this process did its last round of housekeeping, as Unix time; 0: never",
                Gauge::default(),
            ),
            housekeeping_failures: add(
                &mut r,
                "housekeeping_failures",
                "Rounds of housekeeping that failed; they are tried again",
            ),
            registry: r,
        };
        // A counter that is not there before it counts has no increase when it does.
        metrics.count_removed(&Removed::default());
        metrics
    }

    /// Counts a round of housekeeping that has removed this.
    pub fn housekeeping_done(&self, removed: &Removed) {
        self.count_removed(removed);
        self.last_housekeeping.set(unix_now());
    }

    fn count_removed(&self, removed: &Removed) {
        for (kind, rows) in [
            ("sessions", removed.sessions),
            ("outbox", removed.outbox),
            ("audit", removed.audit),
            ("tokens", removed.tokens),
            ("networks", removed.networks),
            ("throttle", removed.throttle),
        ] {
            self.removed.get_or_create(&[("kind", kind)]).inc_by(rows);
        }
    }

    /// All metrics in the `OpenMetrics` text format, which Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Which version of which program this is, and since when it runs.
fn add_process(registry: &mut Registry, program: &'static str) {
    let labels = [("program", program), ("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "What this process is", Info::new(labels));
    let help = "When this process started, as Unix time";
    add_seconds(registry, "process_start_time", help, Gauge::<i64>::default()).set(unix_now());
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Registers a metric and gives it back, to be counted with.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The same for one that is measured in seconds.
fn add_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}
