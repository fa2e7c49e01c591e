//! The process's own log: lines on standard error, and a copy for the log service.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::log_service::{Queue, QueueLayer};

/// Whether a record is of what passes between a component and its host: paths,
/// headers and bodies with all their tokens and passwords. No level shows that.
#[must_use]
pub fn is_traffic(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::TRACE && metadata.target().starts_with("wasmtime")
}

/// Starts logging: text for a terminal, one JSON object a line otherwise; and
/// into `queue`, when there is a log service. `RUST_LOG` sets the level for both
/// (`info` when it is unset).
pub fn init(queue: Option<Arc<Queue>>) {
    let filter = EnvFilter::try_from_default_env()
        // What async_nats has to say comes through its events, once.
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=off,sqlx=warn"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(|metadata| !is_traffic(metadata)))
        .with(lines)
        .with(queue.map(QueueLayer::new))
        .init();
}
