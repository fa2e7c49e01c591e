//! From an outbox row to the message that is published.

use serde::Serialize;
use uuid::Uuid;

use crate::data::{EventData, Kind};
use crate::{SCHEMA_VERSION, SOURCE};

/// A row of the `outbox` table, as far as an event is made of it.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// `event_id`: names the event for ever, and makes a repeated publish harmless.
    pub event_id: Uuid,
    /// `kind`: the name of a [`Kind`].
    pub kind: String,
    /// `entity_id`: what the event is about.
    pub entity_id: String,
    /// `data`: the fields beside `metadata`.
    pub data: serde_json::Value,
    /// `occurred_at` in seconds since 1970.
    pub occurred_at_unix: i64,
    /// `occurred_at` as RFC 3339, in UTC.
    pub occurred_at_rfc3339: String,
}

/// Why an outbox row is not an event. Such a row is set aside: no later try can
/// change what it holds.
#[derive(Debug, PartialEq, Eq)]
pub enum RowError {
    /// `kind` names no [`Kind`].
    UnknownKind(String),
    /// `data` does not fit the kind; the text says which field.
    Data(Kind, String),
    /// `entity_id` is not the id that stands in `data`.
    EntityMismatch {
        /// The id in the column.
        column: String,
        /// The id in the data.
        data: String,
    },
    /// The entity's id can't stand in a NATS subject.
    Subject(String),
}

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "outbox.kind: no event is called `{kind}`"),
            Self::Data(kind, reason) => write!(f, "outbox.data does not fit {kind}: {reason}"),
            Self::EntityMismatch { column, data } => {
                write!(f, "outbox.entity_id is `{column}`, but outbox.data is about `{data}`")
            }
            Self::Subject(id) => {
                write!(f, "outbox.entity_id: `{id}` can't be a token of a NATS subject")
            }
        }
    }
}

impl std::error::Error for RowError {}

/// What every event says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Metadata {
    /// Names the event; the same in every delivery of it.
    pub event_id: Uuid,
    /// What the event is about: a user's public id, a session's id, a service
    /// account's id.
    pub entity_id: String,
    /// When it happened, in seconds since 1970.
    pub timestamp: i64,
    /// Always [`SOURCE`].
    pub source: String,
    /// Always [`SCHEMA_VERSION`] for these types.
    pub version: String,
}

/// An event that is ready to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What the event says about itself.
    pub metadata: Metadata,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
    #[serde(skip)]
    time: String,
}

impl Event {
    /// Makes the event of an outbox row.
    ///
    /// # Errors
    ///
    /// [`RowError`] when the row does not fit its kind.
    pub fn from_outbox(row: OutboxRow) -> Result<Self, RowError> {
        let Some(kind) = Kind::from_name(&row.kind) else {
            return Err(RowError::UnknownKind(row.kind));
        };
        let data = EventData::from_json(kind, &row.data)
            .map_err(|error| RowError::Data(kind, error.to_string()))?;
        let entity_id = data.entity_id();
        if entity_id != row.entity_id {
            return Err(RowError::EntityMismatch { column: row.entity_id, data: entity_id });
        }
        if !is_subject_token(&entity_id) {
            return Err(RowError::Subject(entity_id));
        }
        Ok(Self {
            metadata: Metadata {
                event_id: row.event_id,
                entity_id,
                timestamp: row.occurred_at_unix,
                source: SOURCE.to_owned(),
                version: SCHEMA_VERSION.to_owned(),
            },
            data,
            time: row.occurred_at_rfc3339,
        })
    }

    /// The NATS subject: `auth.{entity}.{entity_id}.{verb}`.
    #[must_use]
    pub fn subject(&self) -> String {
        let kind = self.data.kind();
        format!("auth.{}.{}.{}", kind.entity(), self.metadata.entity_id, kind.verb())
    }

    /// The NATS headers: `Nats-Msg-Id` for JetStream's duplicate window, and the
    /// attributes of CloudEvents 1.0 in binary mode (its NATS protocol binding,
    /// section 3.1).
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 6] {
        let event_id = self.metadata.event_id.to_string();
        [
            ("Nats-Msg-Id", event_id.clone()),
            ("ce-id", event_id),
            ("ce-source", SOURCE.to_owned()),
            ("ce-type", self.data.kind().as_str().to_owned()),
            ("ce-time", self.time.clone()),
            ("ce-specversion", "1.0".to_owned()),
        ]
    }

    /// The payload: one JSON object, `metadata` first.
    ///
    /// # Errors
    ///
    /// None that these types can cause; the signature is `serde_json`'s.
    pub fn payload(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// Whether a text is one token of a subject: not empty, no separator, no
/// wildcard, no white space (NATS, "Subject-Based Messaging"). Stricter than
/// NATS: ASCII letters, digits, `-` and `_` only.
fn is_subject_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
