//! Reading the stream: all headers, and single messages.

use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use edd_auth_events::{EventData, Kind};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

/// How long the next message may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How many messages are read between two words about it.
const PROGRESS: u64 = 100_000;

/// A part of the stream.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Event ids and sequences.
    pub(super) events: Vec<(Uuid, u64)>,
    /// Sequences of messages without an event id.
    pub(super) others: Vec<u64>,
}

/// Reads what the messages from one sequence to another say of themselves, without
/// their payloads. Those that the stream has lost or removed are not there.
pub(super) async fn read(stream: &Stream, from: u64, to: u64) -> anyhow::Result<Part> {
    let mut part = Part::default();
    if from > to {
        return Ok(part);
    }
    let consumer = stream
        .create_consumer(OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            headers_only: true,
            ..OrderedConfig::default()
        })
        .await
        .context("can't read the stream")?;
    if consumer.cached_info().num_pending == 0 {
        return Ok(part);
    }
    let mut messages = consumer.messages().await.context("can't read the stream")?;
    let mut count = 0;
    loop {
        let Ok(next) = timeout(TIMEOUT, messages.next()).await else {
            bail!("the stream can't be read: no message within {} seconds", TIMEOUT.as_secs());
        };
        let message = next.context("the stream ended early")?.context("can't read the stream")?;
        let info = message.info().map_err(|error| anyhow::anyhow!("no message: {error}"))?;
        if info.stream_sequence <= to {
            let header = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            match header.and_then(|id| Uuid::try_parse(id.as_str()).ok()) {
                Some(event_id) => part.events.push((event_id, info.stream_sequence)),
                None => part.others.push(info.stream_sequence),
            }
        }
        if info.stream_sequence >= to || info.pending == 0 {
            return Ok(part);
        }
        count += 1;
        if count % PROGRESS == 0 {
            eprintln!("{count} of {} messages", count + info.pending);
        }
    }
}

/// A whole message.
pub(super) struct Message {
    /// Its subject.
    pub(super) subject: String,
    /// When the stream stored it, in seconds since 1970.
    pub(super) time: i64,
    /// The event, if it is one.
    pub(super) event: Option<EventData>,
}

/// Reads a message; there is none when the stream has removed it meanwhile.
pub(super) async fn message(stream: &Stream, sequence: u64) -> anyhow::Result<Option<Message>> {
    let raw = match stream.get_raw_message(sequence).await {
        Ok(raw) => raw,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(error).context("can't read a message of the stream"),
    };
    let kind = raw.headers.get("ce-type").and_then(|name| Kind::from_name(name.as_str()));
    Ok(Some(Message {
        subject: raw.subject.to_string(),
        time: raw.time.unix_timestamp(),
        event: kind.and_then(|kind| event(kind, &raw.payload)),
    }))
}

/// What a payload says, if it fits its kind.
fn event(kind: Kind, payload: &[u8]) -> Option<EventData> {
    let mut json: Value = serde_json::from_slice(payload).ok()?;
    json.as_object_mut()?.remove("metadata")?;
    EventData::from_json(kind, &json).ok()
}
