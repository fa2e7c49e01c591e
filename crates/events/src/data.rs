//! The seven kinds of event and what each carries beside its metadata.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What happened: the `kind` of an outbox row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A user came into being.
    UserCreated,
    /// A user's names or rights changed.
    UserUpdated,
    /// A user is gone, with everything it owned.
    UserDeleted,
    /// Somebody logged in.
    SessionCreated,
    /// A session ended, however it ended.
    SessionInvalidated,
    /// A service account has these permissions from now on.
    IdentityPermissionsUpdated,
    /// A service account has no permissions any more.
    IdentityPermissionsDeleted,
}

impl Kind {
    /// Every kind, for documentation and tests.
    pub const ALL: [Self; 7] = [
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserDeleted,
        Self::SessionCreated,
        Self::SessionInvalidated,
        Self::IdentityPermissionsUpdated,
        Self::IdentityPermissionsDeleted,
    ];

    /// The name of the kind, as in the outbox and in `ce-type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "UserCreated",
            Self::UserUpdated => "UserUpdated",
            Self::UserDeleted => "UserDeleted",
            Self::SessionCreated => "SessionCreated",
            Self::SessionInvalidated => "SessionInvalidated",
            Self::IdentityPermissionsUpdated => "IdentityPermissionsUpdated",
            Self::IdentityPermissionsDeleted => "IdentityPermissionsDeleted",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The sort of entity that the kind is about: the second token of its
    /// subject. Entities of different sorts may share an id.
    #[must_use]
    pub fn entity(self) -> &'static str {
        match self {
            Self::UserCreated | Self::UserUpdated | Self::UserDeleted => "user",
            Self::SessionCreated | Self::SessionInvalidated => "session",
            Self::IdentityPermissionsUpdated | Self::IdentityPermissionsDeleted => "identity",
        }
    }

    /// The last token of its subject.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::UserCreated | Self::SessionCreated => "created",
            Self::UserUpdated | Self::IdentityPermissionsUpdated => "updated",
            Self::UserDeleted | Self::IdentityPermissionsDeleted => "deleted",
            Self::SessionInvalidated => "invalidated",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The data of [`Kind::UserCreated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserCreated {
    /// The integer id, `users.id`.
    pub user_id: i32,
    /// The 6-character id that stands in paths and subjects.
    pub public_id: String,
    /// The name the user logs in with.
    pub username: String,
    /// The name to show, if the user has one.
    pub display_name: Option<String>,
    /// Rises with every change of the user: an event with a version that a
    /// consumer has seen, or a lower one, is old news.
    pub version: i64,
}

/// The data of [`Kind::UserUpdated`]: the user as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserUpdated {
    /// The integer id, `users.id`.
    pub user_id: i32,
    /// The 6-character id that stands in paths and subjects.
    pub public_id: String,
    /// The name the user logs in with.
    pub username: String,
    /// The name to show, if the user has one.
    pub display_name: Option<String>,
    /// Higher than in any event about this user before.
    pub version: i64,
}

/// The data of [`Kind::UserDeleted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserDeleted {
    /// The integer id that the user had.
    pub user_id: i32,
    /// The 6-character id that the user had.
    pub public_id: String,
    /// The name the user logged in with.
    pub username: String,
    /// One more than the last version it had.
    pub version: i64,
}

/// The data of [`Kind::SessionCreated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionCreated {
    /// The session, as in the token's `sid`.
    pub session_id: Uuid,
    /// The integer id of the user.
    pub user_id: i32,
    /// The 6-character id of the user.
    pub public_id: String,
    /// When the session ends by itself, in seconds since 1970.
    pub expires_at: i64,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its user logged out.
    Logout,
    /// Its user, from another session, or an administrator ended it.
    Revoked,
    /// The user's password changed.
    PasswordChanged,
    /// The user was disabled.
    UserDisabled,
    /// The user was deleted.
    UserDeleted,
    /// Its time was over.
    Expired,
}

/// The data of [`Kind::SessionInvalidated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionInvalidated {
    /// The session, as in the token's `sid`.
    pub session_id: Uuid,
    /// The integer id of the user.
    pub user_id: i32,
    /// The 6-character id of the user.
    pub public_id: String,
    /// Why it ended.
    pub reason: Reason,
}

/// The data of [`Kind::IdentityPermissionsUpdated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityPermissionsUpdated {
    /// The service account.
    pub service_account_id: String,
    /// The integer id of its owner.
    pub user_id: i32,
    /// The 6-character id of its owner.
    pub public_id: String,
    /// What the service account may do: scope to actions. All of it, not a change.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Rises with every change of the service account.
    pub version: i64,
}

/// The data of [`Kind::IdentityPermissionsDeleted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityPermissionsDeleted {
    /// The service account.
    pub service_account_id: String,
    /// The integer id of its owner.
    pub user_id: i32,
    /// The 6-character id of its owner.
    pub public_id: String,
    /// One more than the last version it had.
    pub version: i64,
}

/// The data of an event of any kind. Written without a tag: its kind stands in
/// the subject and in `ce-type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// See [`UserCreated`].
    UserCreated(UserCreated),
    /// See [`UserUpdated`].
    UserUpdated(UserUpdated),
    /// See [`UserDeleted`].
    UserDeleted(UserDeleted),
    /// See [`SessionCreated`].
    SessionCreated(SessionCreated),
    /// See [`SessionInvalidated`].
    SessionInvalidated(SessionInvalidated),
    /// See [`IdentityPermissionsUpdated`].
    IdentityPermissionsUpdated(IdentityPermissionsUpdated),
    /// See [`IdentityPermissionsDeleted`].
    IdentityPermissionsDeleted(IdentityPermissionsDeleted),
}

impl EventData {
    /// Reads the data of an event of this kind.
    ///
    /// # Errors
    ///
    /// When a field is missing, unknown or of another type.
    pub fn from_json(kind: Kind, json: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::UserCreated => Self::UserCreated(Deserialize::deserialize(json)?),
            Kind::UserUpdated => Self::UserUpdated(Deserialize::deserialize(json)?),
            Kind::UserDeleted => Self::UserDeleted(Deserialize::deserialize(json)?),
            Kind::SessionCreated => Self::SessionCreated(Deserialize::deserialize(json)?),
            Kind::SessionInvalidated => Self::SessionInvalidated(Deserialize::deserialize(json)?),
            Kind::IdentityPermissionsUpdated => {
                Self::IdentityPermissionsUpdated(Deserialize::deserialize(json)?)
            }
            Kind::IdentityPermissionsDeleted => {
                Self::IdentityPermissionsDeleted(Deserialize::deserialize(json)?)
            }
        })
    }

    /// The kind of this data.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::UserCreated(_) => Kind::UserCreated,
            Self::UserUpdated(_) => Kind::UserUpdated,
            Self::UserDeleted(_) => Kind::UserDeleted,
            Self::SessionCreated(_) => Kind::SessionCreated,
            Self::SessionInvalidated(_) => Kind::SessionInvalidated,
            Self::IdentityPermissionsUpdated(_) => Kind::IdentityPermissionsUpdated,
            Self::IdentityPermissionsDeleted(_) => Kind::IdentityPermissionsDeleted,
        }
    }

    /// The id of the entity that this is about: a user's public id, a session's
    /// id, a service account's id.
    #[must_use]
    pub fn entity_id(&self) -> String {
        match self {
            Self::UserCreated(data) => data.public_id.clone(),
            Self::UserUpdated(data) => data.public_id.clone(),
            Self::UserDeleted(data) => data.public_id.clone(),
            Self::SessionCreated(data) => data.session_id.to_string(),
            Self::SessionInvalidated(data) => data.session_id.to_string(),
            Self::IdentityPermissionsUpdated(data) => data.service_account_id.clone(),
            Self::IdentityPermissionsDeleted(data) => data.service_account_id.clone(),
        }
    }
}
