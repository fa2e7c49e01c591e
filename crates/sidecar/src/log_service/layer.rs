//! From this process's log into the queue.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use edd_auth_events::SOURCE;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::contract::{LogEntry, LogLevel};
use super::queue::Queue;

/// What pushing itself may write to the log, and so must not be pushed: each
/// record would make the next.
const OF_PUSHING: [&str; 6] =
    ["h2", "hyper", "hyper_util", "tonic", "tower", "edd_auth_sidecar::log_service"];

/// Puts a copy of each log record into a queue.
pub struct QueueLayer(Arc<Queue>);

impl QueueLayer {
    /// A layer that fills this queue.
    #[must_use]
    pub fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }
}

impl<S: Subscriber> Layer<S> for QueueLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if is_of_pushing(metadata.target()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.attributes.insert("target".to_owned(), metadata.target().to_owned());
        self.0.push(LogEntry {
            source: SOURCE.to_owned(),
            level: level(*metadata.level()).into(),
            message: fields.message,
            timestamp: now(),
            attributes: fields.attributes,
        });
    }
}

fn is_of_pushing(target: &str) -> bool {
    OF_PUSHING.iter().any(|module| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The contract has nothing below DEBUG.
fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

/// Unix seconds.
fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// The message of a record, and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    attributes: BTreeMap<String, String>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => {
                self.attributes.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    /// Without the quotes of `Debug`.
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What the queue gets of what is logged meanwhile.
    fn logged(log: impl FnOnce()) -> Vec<LogEntry> {
        let queue = Arc::new(Queue::default());
        let subscriber = tracing_subscriber::registry().with(QueueLayer::new(Arc::clone(&queue)));
        tracing::subscriber::with_default(subscriber, log);
        let mut records = Vec::new();
        while let Some((place, record)) = queue.oldest() {
            queue.remove(place);
            records.push(LogEntry::clone(&record));
        }
        records
    }

    #[test]
    fn a_record_keeps_its_level_message_target_and_fields() {
        let before = now();
        let records = logged(|| {
            tracing::warn!(target: "auth::test", rows = 7, user = "ada", ok = true, "{} rows", 7);
        });
        let attributes = [("ok", "true"), ("rows", "7"), ("target", "auth::test"), ("user", "ada")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!((before..=now()).contains(&records[0].timestamp));
        let expected = LogEntry {
            source: "auth-service".to_owned(),
            level: LogLevel::Warn.into(),
            message: "7 rows".to_owned(),
            timestamp: records[0].timestamp,
            attributes: attributes.into(),
        };
        assert_eq!(records, [expected]);
    }

    #[test]
    fn levels() {
        let records = logged(|| {
            tracing::trace!(target: "auth::test", "");
            tracing::debug!(target: "auth::test", "");
            tracing::info!(target: "auth::test", "");
            tracing::warn!(target: "auth::test", "");
            tracing::error!(target: "auth::test", "");
        });
        let levels: Vec<i32> = records.iter().map(|record| record.level).collect();
        assert_eq!(levels, [0, 0, 1, 2, 3]);
    }

    #[test]
    fn what_pushing_logs_is_not_pushed() {
        let records = logged(|| {
            tracing::error!(target: "h2", "");
            tracing::error!(target: "h2::client", "");
            tracing::error!(target: "hyper_util::client", "");
            tracing::error!(target: "tonic::transport", "");
            tracing::error!(target: "tower::buffer", "");
            tracing::error!(target: "edd_auth_sidecar::log_service::client", "");
            tracing::error!(target: "towering", "of another");
        });
        let messages: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(messages, ["of another"]);
    }
}
