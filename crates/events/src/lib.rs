//! The events of the authentication service: what other services build their
//! caches from.
//!
//! A change in the database writes an outbox row; the relay turns the row into
//! an [`Event`] with [`Event::from_outbox`] and publishes [`Event::payload`]
//! with [`Event::headers`] on [`Event::subject`]. No I/O here, so that a
//! consumer, native or WebAssembly, can use the same types to read them.

mod data;
mod message;

pub use data::{
    EventData, IdentityPermissionsDeleted, IdentityPermissionsUpdated, Kind, Reason,
    SessionCreated, SessionInvalidated, UserCreated, UserDeleted, UserUpdated,
};
pub use message::{Event, Metadata, OutboxRow, RowError};

/// Name of the JetStream stream that holds every event.
pub const STREAM: &str = "AUTH";

/// Subjects of that stream.
pub const STREAM_SUBJECTS: &str = "auth.>";

/// `metadata.source` of every event, and its CloudEvents `source`.
pub const SOURCE: &str = "auth-service";

/// `metadata.version` of every event: the version of these schemas. A field
/// that is added keeps it; a change that breaks a reader raises it.
pub const SCHEMA_VERSION: &str = "1.0";
