//! NATS: the connection, and the stream `AUTH`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, ErrorCode, stream};
use async_nats::{Client, Event, ServerAddr, ServerError, header};
use edd_auth_events::{STREAM, STREAM_SUBJECTS};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::nats::{Nats, explain};

/// How long JetStream may take to acknowledge a message.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may take to let a client in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent server is asked whether it is there. Two questions without an
/// answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Where JetStream is asked for the last message of a subject.
pub const LAST_MESSAGE_API: &str = "$JS.API.STREAM.MSG.GET.AUTH";

/// Where nobody ever listens.
const NOWHERE: &str = "nats://127.0.0.1:0";

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

/// A connection to NATS that is used until it is lost, and never comes back.
///
/// A client that connects again by itself sends what it was given before: into a
/// stream that may have lost its end meanwhile, or after another process has become
/// the leader. What was given to this one is sent through it or not at all.
pub struct Link {
    /// JetStream, with the time-outs of this program.
    pub jetstream: jetstream::Context,
    /// Cancelled when the connection is lost.
    pub lost: CancellationToken,
    refused: Arc<Mutex<HashSet<String>>>,
    servers: Vec<ServerAddr>,
    metrics: Arc<Metrics>,
}

impl Link {
    /// Connects to one of these servers.
    ///
    /// # Errors
    ///
    /// When there is no connection, with the reason for a person.
    pub async fn open(
        nats: &Nats,
        servers: &[ServerAddr],
        program: &str,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let (lost, refused) = (CancellationToken::new(), Arc::new(Mutex::default()));
        let (is_lost, refusals) = (lost.clone(), Arc::clone(&refused));
        let counted = Arc::clone(&metrics);
        let options = nats
            .options(program)?
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            // One attempt when the connection is lost, and that leads nowhere; see below.
            .max_reconnects(1)
            .reconnect_delay_callback(|_| Duration::ZERO)
            .event_callback(move |event| {
                note(&event, &counted, &is_lost, &refusals);
                std::future::ready(())
            });
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| anyhow::anyhow!(explain(&error.to_string())))?;
        let servers = pin(&client).await?;
        tracing::info!("NATS: connected");
        metrics.nats_connected.set(i64::from(!lost.is_cancelled()));
        Ok(Self { jetstream: context(client), lost, refused, servers, metrics })
    }

    /// The servers that are known by now: those of a cluster tell of each other.
    #[must_use]
    pub fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// Whether the server has refused a message on this subject, because the client may
    /// not publish there. It says so beside the message, which is never acknowledged.
    #[must_use]
    pub fn is_refused(&self, subject: &str) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(subject)
    }

    /// Forgets such a refusal: permissions may be others by now.
    pub fn forget_refusal(&self, subject: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }

    /// Whether the connection is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let state = self.jetstream.client().connection_state();
        self.lost.is_cancelled() || state != State::Connected
    }

    /// The last message of a subject.
    ///
    /// # Errors
    ///
    /// When JetStream does not answer.
    pub async fn last_of(&self, subject: &str) -> anyhow::Result<Option<Stored>> {
        self.forget_refusal(LAST_MESSAGE_API);
        let stream = self.jetstream.get_stream_no_info(STREAM).await?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(Stored {
                sequence: message.sequence,
                message_id: message.headers.get(header::NATS_MESSAGE_ID).map(ToString::to_string),
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(_) if self.is_refused(LAST_MESSAGE_API) => {
                anyhow::bail!("the NATS user may not publish on {LAST_MESSAGE_API}")
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.lost.cancel();
        self.metrics.nats_connected.set(0);
    }
}

/// A message of the stream, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<String>,
}

/// Takes away from a client all servers that it could connect to again. Returns those
/// that it knew.
async fn pin(client: &Client) -> anyhow::Result<Vec<ServerAddr>> {
    let servers = client.server_pool().await?;
    let nowhere: ServerAddr = NOWHERE.parse()?;
    client.set_server_pool(&[nowhere][..]).await?;
    Ok(servers.into_iter().map(|server| server.addr).collect())
}

/// What the client has to say of its connection.
fn note(
    event: &Event,
    metrics: &Metrics,
    lost: &CancellationToken,
    refused: &Mutex<HashSet<String>>,
) {
    match event {
        // The end of a link that was given up is nothing to tell.
        _ if lost.is_cancelled() => {}
        Event::Disconnected | Event::Closed => {
            metrics.nats_connected.set(0);
            lost.cancel();
            tracing::warn!("NATS: disconnected; events wait in the outbox");
        }
        Event::ServerError(ServerError::Other(text)) => {
            tracing::warn!("NATS: {text}");
            if let Some(subject) = refused_subject(text) {
                refused.lock().unwrap_or_else(PoisonError::into_inner).insert(subject.to_owned());
            }
        }
        // What is left is the attempt that leads nowhere.
        other => tracing::debug!("NATS: {other}"),
    }
}

/// The subject in `Permissions Violation for Publish to "auth.user.x.created"`
/// (NATS, "Client Protocol", -ERR).
fn refused_subject(text: &str) -> Option<&str> {
    text.strip_prefix("Permissions Violation for Publish to ")?.split('"').nth(1)
}

/// JetStream over a connection, with the time-outs of this program.
#[must_use]
pub fn context(client: async_nats::Client) -> jetstream::Context {
    jetstream::ContextBuilder::new().timeout(ACK_TIMEOUT).ack_timeout(ACK_TIMEOUT).build(client)
}

/// Makes sure that the stream is there. Returns what is known of it.
///
/// # Errors
///
/// When JetStream does not answer, is not enabled, or refuses the stream.
pub async fn ensure(jetstream: &jetstream::Context) -> anyhow::Result<stream::Info> {
    match jetstream.get_stream(STREAM).await {
        Ok(stream) => {
            warn_of_differences(&stream.cached_info().config);
            Ok(stream.cached_info().clone())
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                let stream = jetstream.create_stream(wanted()).await?;
                tracing::info!("JetStream: created the stream {STREAM}");
                Ok(stream.cached_info().clone())
            }
            _ => Err(error.into()),
        },
    }
}

/// Whether a stream of these subjects takes messages of `subject`. Wildcards as in NATS,
/// "Subject-Based Messaging".
#[must_use]
pub fn takes(subjects: &[String], subject: &str) -> bool {
    subjects.iter().any(|pattern| {
        let mut tokens = subject.split('.');
        for wanted in pattern.split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_takes_what_its_subjects_match() {
        let takes = |pattern: &str| takes(&[pattern.to_owned()], "auth.user.x.created");
        for pattern in ["auth.>", ">", "auth.user.x.created", "auth.*.*.created", "auth.user.x.*"] {
            assert!(takes(pattern), "{pattern}");
        }
        for pattern in ["auth.session.>", "auth.user.x", "auth.user.x.created.>", "auth.*", "x.>"] {
            assert!(!takes(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_refusal_names_its_subject() {
        let text = r#"Permissions Violation for Publish to "auth.user.x.created""#;
        assert_eq!(refused_subject(text), Some("auth.user.x.created"));
        assert_eq!(refused_subject(r#"Permissions Violation for Subscription to "a""#), None);
    }
}
