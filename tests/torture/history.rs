//! What the clients asked, and what they were told.

use std::time::Duration;

use serde_json::Value;
use xtask::secrets;

/// The number of the administrator's password.
pub(crate) const ADMIN_PASSWORD: u32 = 0;

/// The text of a password. Histories and traces have the number only.
pub(crate) fn password(number: u32) -> String {
    if number == ADMIN_PASSWORD {
        secrets::ADMIN_PASSWORD.to_owned()
    } else {
        format!("{} {number}", secrets::PASSWORD)
    }
}

/// Every request of a campaign.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// When the clock of the records began, in microseconds since 1970.
    pub(crate) started_at: i64,
    /// The requests, in the order in which their fates were known.
    pub(crate) records: Vec<Record>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Which client.
    pub(crate) client: usize,
    /// `X-Request-Id`: in the audit log, `request_id`.
    pub(crate) request_id: String,
    /// What was asked.
    pub(crate) operation: Operation,
    /// When it was sent, since the start.
    pub(crate) sent: Duration,
    /// When its answer had come, or the client gave up.
    pub(crate) answered: Duration,
    /// What the client knows.
    pub(crate) outcome: Outcome,
}

/// What a client knows of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Acknowledged(Facts),
    /// It was not: status and code.
    Refused(u16, String),
    /// No answer, half an answer, or one of the service's own failure; and why.
    Unknown(String),
}

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The id of what was made.
    pub(crate) id: Option<String>,
    /// The `user_id` of a user.
    pub(crate) user_id: Option<i64>,
    /// The `ETag`.
    pub(crate) version: Option<i64>,
    /// When a session ends by itself, in seconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// What a client asks. Users are named by their public ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `POST /login`; the administrator is known by the name alone.
    Login { user: Option<String>, username: String, password: u32 },
    /// `POST /logout`
    Logout { session: String },
    /// `POST /admin/users`
    CreateUser { username: String, display_name: String, password: u32 },
    /// `PATCH /admin/users/{id}`
    UpdateUser { user: String, change: UserChange },
    /// `PATCH /me`
    UpdateProfile { user: String, display_name: String },
    /// `PUT /me/password`
    ChangePassword { user: String, session: String, current: u32, new: u32 },
    /// `PUT /admin/users/{id}/password`
    ResetPassword { user: String, password: u32 },
    /// `DELETE /admin/users/{id}`
    DeleteUser { user: String },
    /// `DELETE /me/sessions/{id}`, or with `by_admin` `DELETE /admin/sessions/{id}`
    EndSession { session: String, by_admin: bool },
    /// `DELETE /me/sessions`
    EndOtherSessions { user: String, kept: String },
    /// `POST /service-accounts`
    CreateAccount { owner: String, name: String, scopes: Value },
    /// `PUT /service-accounts/{id}/scopes`
    SetScopes { account: String, scopes: Value },
    /// `DELETE /service-accounts/{id}`
    DeleteAccount { account: String },
    /// `POST /service-accounts/{id}/tokens`
    CreateToken { account: String, name: String },
    /// `DELETE /service-accounts/{id}/tokens/{token_id}`
    DeleteToken { account: String, token: String },
    /// `GET /admin/users/{id}`
    ReadUser { user: String },
    /// `GET /me`
    ReadOwn { session: String },
    /// `GET /admin/users?q=…`
    FindUser { username: String },
}

/// The fields of a user that are to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UserChange {
    /// A new name.
    pub(crate) username: Option<String>,
    /// A new display name.
    pub(crate) display_name: Option<String>,
    /// Whether the user can't log in.
    pub(crate) disabled: Option<bool>,
}

impl Operation {
    /// What the audit log calls it; nothing when it changes nothing.
    pub(crate) const fn action(&self) -> Option<&'static str> {
        Some(match self {
            Self::Login { .. } => "login",
            Self::Logout { .. } => "logout",
            Self::CreateUser { .. } => "user.create",
            Self::UpdateUser { .. } => "user.update",
            Self::UpdateProfile { .. } => "profile.update",
            Self::ChangePassword { .. } => "password.change",
            Self::ResetPassword { .. } => "password.reset",
            Self::DeleteUser { .. } => "user.delete",
            Self::EndSession { .. } => "session.revoke",
            Self::EndOtherSessions { .. } => "sessions.revoke",
            Self::CreateAccount { .. } => "service_account.create",
            Self::SetScopes { .. } => "service_account.update",
            Self::DeleteAccount { .. } => "service_account.delete",
            Self::CreateToken { .. } => "token.create",
            Self::DeleteToken { .. } => "token.revoke",
            Self::ReadUser { .. } | Self::ReadOwn { .. } | Self::FindUser { .. } => return None,
        })
    }

    /// On what it is done, as the audit log names it: with the id in the answer where
    /// something is made. Nothing when nobody knows yet.
    pub(crate) fn resource(&self, facts: Option<&Facts>) -> Option<String> {
        let made = || facts?.id.as_deref();
        let (kind, id) = match self {
            Self::Login { .. } => ("session", made()?),
            Self::CreateUser { .. } => ("user", made()?),
            Self::CreateAccount { .. } => ("service_account", made()?),
            Self::CreateToken { .. } => ("token", made()?),
            Self::Logout { session } | Self::EndSession { session, .. } => ("session", &**session),
            Self::UpdateUser { user, .. }
            | Self::UpdateProfile { user, .. }
            | Self::ChangePassword { user, .. }
            | Self::ResetPassword { user, .. }
            | Self::DeleteUser { user }
            | Self::EndOtherSessions { user, .. } => ("user", &**user),
            Self::SetScopes { account, .. } | Self::DeleteAccount { account } => {
                ("service_account", &**account)
            }
            Self::DeleteToken { token, .. } => ("token", &**token),
            Self::ReadUser { .. } | Self::ReadOwn { .. } | Self::FindUser { .. } => return None,
        };
        Some(format!("{kind}:{id}"))
    }

    /// Whether it is done on, or reads, this user, session, service account or token.
    pub(crate) fn is_about(&self, id: &str) -> bool {
        match self {
            Self::ReadUser { user: read } | Self::ReadOwn { session: read } => read == id,
            _ => {
                let resource = self.resource(None);
                resource.is_some_and(|resource| resource.split_once(':').unzip().1 == Some(id))
            }
        }
    }
}

impl Record {
    /// What the answer says, when it was done.
    pub(crate) fn facts(&self) -> Option<&Facts> {
        match &self.outcome {
            Outcome::Acknowledged(facts) => Some(facts),
            Outcome::Refused(..) | Outcome::Unknown(_) => None,
        }
    }
}
