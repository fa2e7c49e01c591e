//! One event on its way to JetStream, and what became of it.

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode, stream};
use edd_auth_events::{Event, Kind, STREAM};
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::metrics::Metrics;
use crate::stream::{LAST_MESSAGE_API, Link, Stored, takes};

/// How often a publish is tried with another expectation. One repetition is usual; more
/// mean that somebody else publishes on the subject.
const ATTEMPTS: usize = 3;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in the stream.
    Stored {
        /// Its sequence.
        sequence: u64,
        /// Whether it came there just now.
        is_new: bool,
    },
    /// JetStream will never take it as it is, for this reason.
    Refused(String),
    /// It is not known to be there, for this reason. To be tried again.
    Unknown {
        /// The reason.
        reason: String,
        /// Whether JetStream has answered: then others may fare better.
        is_answered: bool,
    },
}

/// Publishes events through a link, into a stream that was looked at before.
pub struct Publisher<'a> {
    link: &'a Link,
    metrics: &'a Metrics,
    subjects: Vec<String>,
    last_sequence: u64,
}

impl<'a> Publisher<'a> {
    /// A publisher for what is known of the stream.
    #[must_use]
    pub fn new(link: &'a Link, stream: stream::Info, metrics: &'a Metrics) -> Self {
        let last_sequence = stream.state.last_sequence;
        Self { link, metrics, subjects: stream.config.subjects, last_sequence }
    }

    /// Publishes an event and waits for its place in the stream. Begins nothing after
    /// `until`, when another process may have become the leader.
    ///
    /// The message says which one it expects to be the last of its subject, so that
    /// JetStream stores no event twice, however long ago the first time was and whoever
    /// did it: `Nats-Msg-Id` does that for the time of the duplicate window only.
    pub async fn publish(&self, until: Instant, event: &Event) -> Fate {
        let subject = event.subject();
        // Nothing is expected before an event that happens once. Before others may be some
        // of their kind: the last of them is looked up.
        let mut expected = (!is_repeated(event.data.kind())).then_some(0);
        for _ in 0..ATTEMPTS {
            let last = match expected {
                Some(last) => last,
                None => match self.link.last_of(&subject).await {
                    Ok(Some(last)) if is_message_of(&last, event) => {
                        return Fate::Stored { sequence: last.sequence, is_new: false };
                    }
                    Ok(last) => last.map_or(0, |last| last.sequence),
                    Err(error) => {
                        let causes = with_causes(&error);
                        let reason = format!("the last message of the subject: {causes}");
                        let is_answered = !self.may_look();
                        return Fate::Unknown { reason, is_answered };
                    }
                },
            };
            match self.send(until, event, &subject, last).await {
                Some(fate) => return fate,
                None => expected = None,
            }
        }
        let reason = "somebody else publishes on the subject".to_owned();
        Fate::Unknown { reason, is_answered: true }
    }

    /// Whether the last message of a subject can be looked up: the NATS user may lack the
    /// right.
    #[must_use]
    pub fn may_look(&self) -> bool {
        !self.link.is_refused(LAST_MESSAGE_API)
    }

    /// The first sequence of new messages that an older one had, if there is one: then the
    /// stream has lost its end since it was looked at.
    pub fn replaced(&mut self, fates: &[Fate]) -> Option<u64> {
        let new = || {
            fates.iter().filter_map(|fate| match fate {
                Fate::Stored { sequence, is_new: true } => Some(*sequence),
                _ => None,
            })
        };
        let first = new().filter(|sequence| *sequence <= self.last_sequence).min();
        self.last_sequence = new().fold(self.last_sequence, u64::max);
        first
    }

    /// `None` when another message than the expected one is the last of the subject.
    async fn send(
        &self,
        until: Instant,
        event: &Event,
        subject: &str,
        expected: u64,
    ) -> Option<Fate> {
        let mut headers = HeaderMap::new();
        for (name, value) in event.headers() {
            headers.insert(name, value);
        }
        headers.insert(NATS_EXPECTED_STREAM, STREAM);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        let payload = match event.payload() {
            Ok(payload) => payload,
            Err(error) => return Some(Fate::Refused(error.to_string())),
        };
        self.link.forget_refusal(subject);
        let started = Instant::now();
        if started >= until {
            let reason = "another process may be publishing".to_owned();
            return Some(Fate::Unknown { reason, is_answered: false });
        }
        let published = async {
            let jetstream = &self.link.jetstream;
            jetstream.publish_with_headers(subject.to_owned(), headers, payload.into()).await?.await
        }
        .await;
        match published {
            Ok(acknowledgement) => {
                self.metrics.publish_seconds.observe(started.elapsed().as_secs_f64());
                let (sequence, is_new) = (acknowledgement.sequence, !acknowledgement.duplicate);
                Some(Fate::Stored { sequence, is_new })
            }
            Err(error) if is_unexpected(&error) => None,
            Err(error) => Some(self.fate_of_failure(subject, &error)),
        }
    }

    /// Whether waiting can help.
    fn fate_of_failure(&self, subject: &str, error: &PublishError) -> Fate {
        let reason = error.to_string();
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Fate::Refused(reason),
            PublishErrorKind::StreamNotFound if !takes(&self.subjects, subject) => Fate::Refused(
                format!("the stream {STREAM} takes {}, not {subject}", self.subjects.join(", ")),
            ),
            _ if self.link.is_refused(subject) => {
                Fate::Refused(format!("the NATS user may not publish on {subject}"))
            }
            _ if is_too_large(error) => Fate::Refused(reason),
            _ => Fate::Unknown { reason, is_answered: answer(error).is_some() },
        }
    }
}

/// Whether an entity may have more than one event of the kind.
fn is_repeated(kind: Kind) -> bool {
    match kind {
        Kind::UserUpdated | Kind::IdentityPermissionsUpdated => true,
        Kind::UserCreated
        | Kind::UserDeleted
        | Kind::SessionCreated
        | Kind::SessionInvalidated
        | Kind::IdentityPermissionsDeleted => false,
    }
}

fn is_message_of(stored: &Stored, event: &Event) -> bool {
    stored.message_id.as_ref() == Some(&event.metadata.event_id.to_string())
}

/// What JetStream has answered, if it was that.
fn answer(error: &PublishError) -> Option<ErrorCode> {
    let source = std::error::Error::source(error)?;
    Some(source.downcast_ref::<jetstream::Error>()?.error_code())
}

/// Whether another message than the expected one is the last of the subject, or, in a
/// cluster, may become it.
fn is_unexpected(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
        || answer(error) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
}

/// Whether the message is larger than the stream allows.
fn is_too_large(error: &PublishError) -> bool {
    matches!(
        answer(error),
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM)
    )
}
