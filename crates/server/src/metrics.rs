//! What the HTTP side measures.
//!
//! Requests are counted when they are done: two entries of a table that are there already,
//! and an atomic each. How much is in use is looked up only when somebody asks.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hyper::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::admission::NoTurn;
use crate::routes;

/// Few, because each route has them all: what is fast, what hashes, what waits for a turn
/// (a second), for the database (2) and for a statement (10).
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The counters of requests.
pub(crate) struct HttpMetrics {
    requests: Family<Labels<3>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    refused: Family<Labels<2>, Counter>,
}

impl HttpMetrics {
    /// Counters that are 0, for these budgets.
    pub(crate) fn new(budgets: impl Iterator<Item = &'static str>) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
        };
        // A counter that is not there before it counts has no increase when it does.
        for budget in budgets {
            for reason in Refusal::ALL {
                metrics.refused.get_or_create(&refusal(budget, reason)).inc_by(0);
            }
        }
        metrics
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests, by method, route of the API, and class of the status; aborted: the \
             client did not wait for the answer",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "From the whole request to its answer, waiting for a turn included, by route",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "http_refused",
            "Requests that were told to come back later, by budget and reason",
            self.refused.clone(),
        );
    }

    /// A request has come in.
    pub(crate) fn request(&self, method: &Method, path: &str) -> Measured<'_> {
        Measured {
            metrics: self,
            method: method_label(method),
            route: routes::template(path),
            since: Instant::now(),
            status: "aborted",
        }
    }

    /// A request is refused.
    pub(crate) fn refuse(&self, budget: &'static str, reason: Refusal) {
        self.refused.get_or_create(&refusal(budget, reason)).inc();
    }
}

/// Why a client is told to come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many wait for a turn already.
    QueueFull,
    /// There was no turn in time.
    NoTurn,
    /// The component took too long.
    TimedOut,
    /// The component has answered 429.
    TooManyAttempts,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::QueueFull, Self::NoTurn, Self::TimedOut, Self::TooManyAttempts];

    const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NoTurn => "no_turn",
            Self::TimedOut => "timed_out",
            Self::TooManyAttempts => "too_many_attempts",
        }
    }
}

impl From<NoTurn> for Refusal {
    fn from(reason: NoTurn) -> Self {
        match reason {
            NoTurn::QueueFull => Self::QueueFull,
            NoTurn::NotInTime => Self::NoTurn,
        }
    }
}

fn refusal(budget: &'static str, reason: Refusal) -> Labels<2> {
    [("budget", budget), ("reason", reason.label())]
}

/// A request that is being worked on. Counted when this is dropped: a client who goes away
/// takes it with him.
pub(crate) struct Measured<'a> {
    metrics: &'a HttpMetrics,
    method: &'static str,
    route: &'static str,
    since: Instant,
    status: &'static str,
}

impl Measured<'_> {
    /// The request is whole: how long its client took is not this service's time.
    pub(crate) fn starts_now(&mut self) {
        self.since = Instant::now();
    }

    /// There is an answer.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.status = class(status);
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let route = ("route", self.route);
        let labels = [("method", self.method), route, ("status", self.status)];
        self.metrics.requests.get_or_create(&labels).inc();
        let seconds = self.since.elapsed().as_secs_f64();
        self.metrics.seconds.get_or_create(&[route]).observe(seconds);
    }
}

/// A client may invent methods.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// How much of something there is now.
pub(crate) struct Level {
    /// Name of the metric, without the prefix.
    pub(crate) name: &'static str,
    /// What it says.
    pub(crate) help: &'static str,
    pub(crate) values: Values,
}

/// The values of a level.
pub(crate) enum Values {
    /// One, without a label.
    One(usize),
    /// One for each value of a label.
    By(&'static str, Vec<(&'static str, usize)>),
}

/// What has levels.
pub(crate) trait HasLevels: Send + Sync + 'static {
    fn levels(&self) -> Vec<Level>;
}

/// Asks for the levels whenever the metrics are read.
pub(crate) struct Levels<T>(pub(crate) Arc<T>);

impl<T> fmt::Debug for Levels<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Levels")
    }
}

impl<T: HasLevels> Collector for Levels<T> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        for Level { name, help, values } in self.0.levels() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            match values {
                Values::One(value) => gauge(value).encode(metric)?,
                Values::By(label, values) => {
                    for (of, value) in values {
                        gauge(value).encode(metric.encode_family(&[(label, of)])?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(metrics: &HttpMetrics) -> String {
        let mut registry = Registry::with_prefix("auth");
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        text
    }

    #[test]
    fn labels_are_templates_known_methods_and_classes_whatever_a_client_sends() {
        let metrics = HttpMetrics::new(["others"].into_iter());
        let method = |name: &str| Method::from_bytes(name.as_bytes()).expect("a method");
        for (name, path, status) in [
            ("GET", "/admin/users/a1B2c3", 200),
            ("GET", "/admin/users/x9Y8z7", 304),
            ("hunter2", "/me", 405),
            ("POST", "/hunter2", 404),
            ("GET", "/readyz", 503),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            metrics.request(&method(name), path).answered(status);
        }
        drop(metrics.request(&Method::GET, "/me"));
        let text = text(&metrics);
        for sample in [
            "{method=\"GET\",route=\"/admin/users/{id}\",status=\"2xx\"} 1\n",
            "{method=\"GET\",route=\"/admin/users/{id}\",status=\"3xx\"} 1\n",
            "{method=\"other\",route=\"/me\",status=\"4xx\"} 1\n",
            "{method=\"POST\",route=\"unmatched\",status=\"4xx\"} 1\n",
            "{method=\"GET\",route=\"/readyz\",status=\"5xx\"} 1\n",
            "{method=\"GET\",route=\"/me\",status=\"aborted\"} 1\n",
        ] {
            assert!(text.contains(&format!("auth_http_requests_total{sample}")), "{text}");
        }
        let count = "auth_http_request_duration_seconds_count{route=\"/admin/users/{id}\"} 2\n";
        assert!(text.contains(count), "{text}");
        assert!(!text.contains("a1B2c3") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn refusals_are_there_before_the_first() {
        let metrics = HttpMetrics::new(["hashes", "others"].into_iter());
        metrics.refuse("hashes", Refusal::QueueFull);
        let text = text(&metrics);
        let sample = |budget, reason, count| {
            format!("auth_http_refused_total{{budget=\"{budget}\",reason=\"{reason}\"}} {count}\n")
        };
        assert!(text.contains(&sample("hashes", "queue_full", 1)), "{text}");
        assert!(text.contains(&sample("others", "too_many_attempts", 0)), "{text}");
    }

    #[test]
    fn how_long_a_client_takes_to_send_is_not_measured() {
        let metrics = HttpMetrics::new(std::iter::empty());
        let mut measured = metrics.request(&Method::GET, "/me");
        let arrived = measured.since;
        measured.starts_now();
        assert!(measured.since > arrived);
    }
}
