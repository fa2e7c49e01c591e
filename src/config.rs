//! Configuration: the Spin variables of the component, read once a request.

use std::time::Duration;

use edd_auth_rules::{JWT_SECRET_MIN_BYTES, go_duration, password};
use spin_sdk::variables;

use crate::error::Error;
use crate::token::TokenKey;

/// What the variables say, checked.
pub(crate) struct Config {
    /// Connection string of the database. A secret: it may hold a password.
    pub(crate) database_url: Secret,
    /// Signs and verifies the tokens of sessions.
    pub(crate) token_key: TokenKey,
    /// The user with this name is an administrator whatever its row says.
    pub(crate) admin_username: String,
    /// How long a session lives.
    pub(crate) session_ttl: Duration,
    /// The fewest characters of a password that is set from now on.
    pub(crate) password_min_length: usize,
}

/// A text that `Debug` does not show.
pub(crate) struct Secret(String);

impl Secret {
    /// The text. Every call is a place to look at.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Config {
    /// Reads the variables (fermyon:spin/variables@2.0.0).
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`], naming the variable, when one is missing or
    /// malformed.
    pub(crate) fn load() -> Result<Self, Error> {
        Self::from_lookup(|name| variables::get(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let required = |name: &str| {
            lookup(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Error::Misconfigured(format!("variable `{name}` is not set")))
        };
        let jwt_secret = required("jwt_secret")?;
        if jwt_secret.len() < JWT_SECRET_MIN_BYTES {
            return Err(Error::Misconfigured(format!(
                "variable `jwt_secret` has {} bytes; it needs at least {JWT_SECRET_MIN_BYTES}",
                jwt_secret.len()
            )));
        }
        let session_ttl = go_duration::parse(&required("session_ttl")?)
            .map_err(|error| Error::Misconfigured(format!("variable `session_ttl`: {error}")))?;
        if session_ttl < Duration::from_secs(1) {
            return Err(Error::Misconfigured(
                "variable `session_ttl` must be at least 1s".to_owned(),
            ));
        }
        let password_min_length = required("password_min_length")?
            .parse()
            .ok()
            .filter(|length| (password::LOWEST_MIN_CHARS..=password::MAX_CHARS).contains(length))
            .ok_or_else(|| {
                Error::Misconfigured(format!(
                    "variable `password_min_length` must be a number from {} to {}",
                    password::LOWEST_MIN_CHARS,
                    password::MAX_CHARS
                ))
            })?;
        Ok(Self {
            database_url: Secret(required("database_url")?),
            token_key: TokenKey::new(
                jwt_secret.as_bytes(),
                required("jwt_issuer")?,
                required("jwt_audience")?,
            ),
            admin_username: required("admin_username")?,
            session_ttl,
            password_min_length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(change: (&str, Option<&str>)) -> Result<Config, Error> {
        Config::from_lookup(|name| {
            if name == change.0 {
                return change.1.map(str::to_owned);
            }
            let value = match name {
                "database_url" => "postgres://auth@db.example/auth",
                "jwt_secret" => "0123456789abcdef0123456789abcdef",
                "jwt_issuer" => "edd-cloud-auth",
                "jwt_audience" => "edd-cloud",
                "admin_username" => "admin",
                "session_ttl" => "24h",
                "password_min_length" => "15",
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn complete_variables_are_a_configuration() {
        let config = load_with(("", None)).expect("complete");
        assert_eq!(config.session_ttl, Duration::from_hours(24));
        assert_eq!(config.password_min_length, 15);
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named() {
        for (name, value) in [
            ("database_url", None),
            ("database_url", Some("")),
            ("jwt_secret", None),
            ("jwt_secret", Some("0123456789abcdef0123456789abcde")),
            ("jwt_issuer", None),
            ("jwt_audience", None),
            ("admin_username", None),
            ("session_ttl", Some("1 day")),
            ("session_ttl", Some("10ms")),
            ("password_min_length", Some("7")),
            ("password_min_length", Some("257")),
            ("password_min_length", Some("many")),
        ] {
            match load_with((name, value)) {
                Err(Error::Misconfigured(reason)) => {
                    assert!(reason.contains(name), "{reason}");
                    assert!(!reason.contains("0123456789"), "a secret in: {reason}");
                }
                _ => panic!("{name} = {value:?} was accepted"),
            }
        }
    }
}
