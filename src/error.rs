//! The one error type, and what a client sees of it (RFC 9457).

use edd_auth_rules::password::HashError;
use serde::Serialize;

use crate::http::{Body, Response};
use crate::throttle::Quota;

/// Everything that keeps a request from being answered as asked.
#[derive(Debug)]
pub(crate) enum Error {
    /// No such path.
    UnknownRoute,
    /// The path exists, but not with this method; these are its methods.
    MethodNotAllowed(&'static str),
    /// The body is larger than [`crate::http::MAX_BODY_BYTES`].
    BodyTooLarge,
    /// The client went away, or broke the protocol, in the middle of the body.
    BodyUnreadable,
    /// The body is not of this media type.
    UnsupportedMediaType(&'static str),
    /// The body is not a JSON object; the text says where it goes wrong.
    InvalidJson(String),
    /// A field of the body, or a parameter of the query, is not acceptable.
    InvalidField {
        /// Its name.
        field: String,
        /// A predicate of the name: "must …".
        reason: String,
    },
    /// No token came with the request.
    MissingToken,
    /// The token is malformed, not ours, expired, or its session has ended.
    InvalidToken,
    /// The name or the password is wrong, or the user is disabled.
    InvalidCredentials(Quota),
    /// Too many wrong passwords: this one is not even looked at.
    Throttled(Quota),
    /// The current password, which the user has to give once more, is wrong.
    WrongPassword,
    /// The token of a service account came where a session is asked for.
    SessionRequired,
    /// The key of a service is missing or wrong.
    InvalidServiceKey,
    /// A request with a cookie that no page of this service has sent.
    CrossSite,
    /// The page that asks may not call this service.
    OriginNotAllowed,
    /// The user is not an administrator.
    Forbidden,
    /// An administrator tried to delete itself.
    SelfForbidden,
    /// There is no user with this public id.
    UserNotFound,
    /// There is no live session with this id, or it is not the caller's.
    SessionNotFound,
    /// The caller has no service account with this id.
    ServiceAccountNotFound,
    /// The service account has no token with this id.
    TokenNotFound,
    /// Nobody knows at which address this service is reached.
    NoDiscovery,
    /// Another user has this name.
    UsernameTaken,
    /// Nobody would be an administrator any more.
    LastAdmin,
    /// There are as many of these as there may be.
    LimitReached {
        /// What there are too many of, and where.
        what: &'static str,
        /// How many there may be.
        limit: i64,
    },
    /// `If-Match` names no version that is current.
    PreconditionFailed,
    /// A variable is missing or malformed; the text names it.
    Misconfigured(String),
    /// The database lacks the tables, or some of their columns.
    SchemaMissing(String),
    /// The database can't be reached, or failed; the text is for the log.
    DatabaseUnavailable(String),
    /// A fault of this program; the text is for the log.
    Internal(String),
}

impl Error {
    /// An error that only a fault of this program can cause.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// A field that is refused, with a reason that reads on from its name.
    pub(crate) fn field(field: &str, reason: impl std::fmt::Display) -> Self {
        Self::InvalidField { field: field.to_owned(), reason: reason.to_string() }
    }

    /// What the log has to say, if the client is not the one to blame.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self {
            Self::Misconfigured(cause)
            | Self::SchemaMissing(cause)
            | Self::DatabaseUnavailable(cause)
            | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// Status, code and title: the stable part of the problem.
    pub(crate) fn problem_type(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::UnknownRoute => (404, "not_found", "Not found"),
            Self::MethodNotAllowed(_) => (405, "method_not_allowed", "Method not allowed"),
            Self::BodyTooLarge => (413, "body_too_large", "Body too large"),
            Self::BodyUnreadable => (400, "body_unreadable", "Body unreadable"),
            Self::UnsupportedMediaType(_) => {
                (415, "unsupported_media_type", "Unsupported media type")
            }
            Self::InvalidJson(_) => (400, "invalid_json", "Invalid JSON"),
            Self::InvalidField { .. } => (400, "invalid_field", "Invalid field"),
            Self::MissingToken => (401, "missing_token", "Authentication required"),
            Self::InvalidToken => (401, "invalid_token", "Invalid token"),
            Self::Throttled(_) => (429, "too_many_attempts", "Too many attempts"),
            Self::InvalidCredentials(_) => (401, "invalid_credentials", "Invalid credentials"),
            Self::WrongPassword => (403, "wrong_password", "Wrong password"),
            Self::SessionRequired => (403, "session_required", "Session required"),
            Self::CrossSite => (403, "cross_site", "Cross-site request"),
            Self::OriginNotAllowed => (403, "origin_not_allowed", "Origin not allowed"),
            Self::InvalidServiceKey => (401, "invalid_service_key", "Invalid service key"),
            Self::Forbidden => (403, "forbidden", "Forbidden"),
            Self::SelfForbidden => (403, "self_forbidden", "Not on yourself"),
            Self::UserNotFound => (404, "user_not_found", "User not found"),
            Self::SessionNotFound => (404, "session_not_found", "Session not found"),
            Self::ServiceAccountNotFound => {
                (404, "service_account_not_found", "Service account not found")
            }
            Self::TokenNotFound => (404, "token_not_found", "Token not found"),
            Self::NoDiscovery => (404, "no_discovery", "No discovery"),
            Self::UsernameTaken => (409, "username_taken", "Username taken"),
            Self::LastAdmin => (409, "last_admin", "Last administrator"),
            Self::LimitReached { .. } => (409, "limit_reached", "Limit reached"),
            Self::PreconditionFailed => (412, "precondition_failed", "Precondition failed"),
            Self::Misconfigured(_) => (503, "misconfigured", "Service misconfigured"),
            Self::SchemaMissing(_) => (503, "schema_missing", "Database schema missing"),
            Self::DatabaseUnavailable(_) => (503, "database_unavailable", "Database unavailable"),
            Self::Internal(_) => (500, "internal", "Internal error"),
        }
    }

    /// What is wrong this time, and what to do about it.
    fn detail(&self) -> String {
        match self {
            Self::UnknownRoute => "There is nothing at this path.".to_owned(),
            Self::MethodNotAllowed(allowed) => format!("This path answers to {allowed}."),
            Self::BodyTooLarge => {
                format!("The body may have at most {} bytes.", crate::http::MAX_BODY_BYTES)
            }
            Self::BodyUnreadable => "The body ended before it was complete.".to_owned(),
            Self::UnsupportedMediaType(wanted) => {
                format!("Send the body with the header Content-Type: {wanted}.")
            }
            Self::InvalidJson(reason) => format!("The body {reason}."),
            Self::InvalidField { field, reason } => format!("`{field}` {reason}."),
            Self::MissingToken => {
                "Send the token of POST /login in the header Authorization: Bearer.".to_owned()
            }
            Self::InvalidToken => {
                "The token is malformed, expired, or its session has ended; log in again."
                    .to_owned()
            }
            Self::Throttled(quota) => format!(
                "Too many wrong passwords; try again in {} seconds.",
                quota.retry_after
            ),
            Self::InvalidCredentials(_) => "The username or the password is wrong.".to_owned(),
            Self::Forbidden => "Only an administrator may do this.".to_owned(),
            Self::WrongPassword => "`current_password` is not your password.".to_owned(),
            Self::SessionRequired => {
                "The token of a service account can't do this; log in, and send the session's token."
                    .to_owned()
            }
            Self::InvalidServiceKey => {
                "Send the key of the service in the header Authorization: Bearer.".to_owned()
            }
            Self::CrossSite => {
                "With the session's cookie, a change has to come from a page of this service or of \
                 an origin that cors_allowed_origins names; other clients send the token in the \
                 header Authorization: Bearer."
                    .to_owned()
            }
            Self::OriginNotAllowed => {
                "Pages of this origin may not call this service; cors_allowed_origins names those \
                 that may."
                    .to_owned()
            }
            Self::SelfForbidden => {
                "You can't delete yourself; ask another administrator.".to_owned()
            }
            Self::UserNotFound => "There is no user with this id.".to_owned(),
            Self::SessionNotFound => "There is no live session with this id.".to_owned(),
            Self::ServiceAccountNotFound => {
                "You have no service account with this id.".to_owned()
            }
            Self::TokenNotFound => "The service account has no token with this id.".to_owned(),
            Self::LastAdmin => {
                "Nobody else is an administrator; make somebody one first.".to_owned()
            }
            Self::LimitReached { what, limit } => {
                format!("There are {limit} {what}, which is the limit; delete one first.")
            }
            Self::PreconditionFailed => {
                "It has changed since you read it; read it again, and repeat your change if it \
                 still makes sense."
                    .to_owned()
            }
            Self::NoDiscovery => {
                "Discovery is off; set the variable jwt_issuer to the address of this service, \
                 such as https://auth.example.org."
                    .to_owned()
            }
            Self::UsernameTaken => "Another user has this username.".to_owned(),
            Self::Misconfigured(_) => {
                "The service is misconfigured; its log names the variable.".to_owned()
            }
            Self::SchemaMissing(_) => {
                "The database has no schema for this version; run `auth-sidecar migrate`."
                    .to_owned()
            }
            Self::DatabaseUnavailable(_) => {
                "The database does not answer; try again in a moment.".to_owned()
            }
            Self::Internal(_) => {
                "Something went wrong here; the service's log knows more.".to_owned()
            }
        }
    }
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        Self::internal(error)
    }
}

/// The members of a problem detail (RFC 9457, section 3.1), a stable `code`,
/// and the `field` at fault where there is one.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl From<&Error> for Response {
    fn from(error: &Error) -> Self {
        let (status, code, title) = error.problem_type();
        let problem = Problem {
            kind: format!("urn:problem-type:edd-cloud-auth:{code}"),
            title,
            status,
            detail: error.detail(),
            code,
            field: match error {
                Error::InvalidField { field, .. } => Some(field),
                Error::WrongPassword => Some("current_password"),
                _ => None,
            },
        };
        let mut response = Response {
            status,
            headers: Vec::new(),
            body: Body::json("application/problem+json", &problem),
        };
        match error {
            Error::MethodNotAllowed(allowed) => response.header("allow", *allowed),
            // RFC 6750, section 3: no error code when there was no token.
            Error::MissingToken | Error::InvalidServiceKey => {
                response.header("www-authenticate", r#"Bearer realm="edd-cloud-auth""#);
            }
            Error::InvalidCredentials(quota) => {
                response.header("www-authenticate", r#"Bearer realm="edd-cloud-auth""#);
                quota.describe(&mut response);
            }
            Error::Throttled(quota) => {
                response.header("retry-after", quota.retry_after.to_string());
                quota.describe(&mut response);
            }
            Error::InvalidToken => response.header(
                "www-authenticate",
                r#"Bearer realm="edd-cloud-auth", error="invalid_token""#,
            ),
            Error::SessionRequired => response.header(
                "www-authenticate",
                r#"Bearer realm="edd-cloud-auth", error="insufficient_scope""#,
            ),
            Error::DatabaseUnavailable(_) => response.header("retry-after", "2"),
            Error::Misconfigured(_) | Error::SchemaMissing(_) => {
                response.header("retry-after", "30");
            }
            _ => {}
        }
        response
    }
}
