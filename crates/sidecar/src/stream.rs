//! NATS: the connection, and the stream `AUTH`.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Event;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, context::GetStreamErrorKind};
use edd_auth_events::{STREAM, STREAM_SUBJECTS};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::nats::{Nats, explain};

/// How long JetStream may take to acknowledge a message.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The limits of a stream that this program creates. One that is there with
/// others is left alone: its operator knows better.
fn wanted() -> Config {
    Config {
        name: STREAM.to_owned(),
        description: Some("User, session and identity events of edd-cloud-auth".to_owned()),
        subjects: vec![STREAM_SUBJECTS.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_messages: 1_000_000,
        max_bytes: 1024 * 1024 * 1024,
        max_age: Duration::from_hours(168),
        duplicate_window: Duration::from_mins(10),
        ..Config::default()
    }
}

/// Connects in the background: returns at once, and goes on trying for ever. Says
/// why it has no connection, each reason once. Rings `connected` whenever it has
/// succeeded.
///
/// # Errors
///
/// None that a server that is away can cause.
pub async fn connect(
    nats: &Nats,
    program: &str,
    metrics: Arc<Metrics>,
    connected: Arc<Notify>,
) -> anyhow::Result<jetstream::Context> {
    let failures = Arc::new(Mutex::new(Backoff::default()));
    let connection = Arc::clone(&failures);
    let client = nats
        .options(program)?
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(Backoff::delay_after)
        // Called before each attempt, with what has become of the one before.
        .reconnect_to_server_callback(move |servers, _| {
            if let Some(reason) = servers.into_iter().find_map(|server| server.last_error)
                && failures.lock().unwrap_or_else(PoisonError::into_inner).is_news(&reason)
            {
                let reason = explain(&reason);
                tracing::warn!("NATS: no connection: {reason}; trying again and again");
            }
            ready(None)
        })
        .event_callback(move |event| {
            let (metrics, connected) = (Arc::clone(&metrics), Arc::clone(&connected));
            if matches!(event, Event::Connected) {
                connection.lock().unwrap_or_else(PoisonError::into_inner).reset();
            }
            async move {
                match event {
                    Event::Connected => {
                        metrics.nats_connected.set(1);
                        connected.notify_one();
                        tracing::info!("NATS: connected");
                    }
                    Event::Disconnected => {
                        metrics.nats_connected.set(0);
                        tracing::warn!("NATS: disconnected; events wait in the outbox");
                    }
                    // An attempt that has failed; the reason is said above.
                    Event::ClientError(error) => tracing::debug!("NATS: {error}"),
                    other => tracing::warn!("NATS: {other}"),
                }
            }
        })
        .connect(nats.server())
        .await?;
    Ok(context(client))
}

/// JetStream over a connection, with the time-outs of this program.
#[must_use]
pub fn context(client: async_nats::Client) -> jetstream::Context {
    jetstream::ContextBuilder::new().timeout(ACK_TIMEOUT).ack_timeout(ACK_TIMEOUT).build(client)
}

/// Makes sure that the stream is there.
///
/// # Errors
///
/// When JetStream does not answer, is not enabled, or refuses the stream.
pub async fn ensure(jetstream: &jetstream::Context) -> anyhow::Result<()> {
    match jetstream.get_stream(STREAM).await {
        Ok(stream) => {
            warn_of_differences(&stream.cached_info().config);
            Ok(())
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                jetstream.create_stream(wanted()).await?;
                tracing::info!("JetStream: created the stream {STREAM}");
                Ok(())
            }
            _ => Err(error.into()),
        },
    }
}

fn warn_of_differences(found: &Config) {
    let wanted = wanted();
    let differences: Vec<&str> = [
        ("subjects", found.subjects != wanted.subjects),
        ("storage", found.storage != wanted.storage),
        ("max_messages", found.max_messages != wanted.max_messages),
        ("max_bytes", found.max_bytes != wanted.max_bytes),
        ("max_age", found.max_age != wanted.max_age),
        ("duplicate_window", found.duplicate_window != wanted.duplicate_window),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(name, _)| name)
    .collect();
    if !differences.is_empty() {
        tracing::warn!(
            "JetStream: the stream {STREAM} differs from the recommendation in {}; left as it is",
            differences.join(", ")
        );
    }
}
