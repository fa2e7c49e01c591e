//! Configuration: the Spin variables of the component, read once a request.

use std::time::Duration;

use edd_auth_rules::scope::Catalog;
use edd_auth_rules::setting;
use edd_auth_rules::signing_key::SigningKey;
use spin_sdk::variables;

use crate::error::Error;
use crate::token::{Keys, TokenKey};

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
    /// What services show at their routes, which are not there without it.
    pub(crate) service_api_key: Option<Secret>,
    /// The scopes that there are, if that is restricted.
    pub(crate) scope_catalog: Option<Catalog>,
    /// Most service accounts of a user.
    pub(crate) service_accounts_per_user: i64,
    /// Most live tokens of a service account.
    pub(crate) tokens_per_service_account: i64,
    /// Proxies in front of this service whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxy_hops: usize,
    /// Origins of the pages that may call this service from a browser.
    pub(crate) cors_allowed_origins: Vec<String>,
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

    /// Reads `cors_allowed_origins` alone, for the responses that carry no more of
    /// the configuration than that.
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`] when it is malformed.
    pub(crate) fn load_origins() -> Result<Vec<String>, Error> {
        origins(&|name: &str| variables::get(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let optional = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let required = |name: &str| {
            optional(name)
                .ok_or_else(|| Error::Misconfigured(format!("variable `{name}` is not set")))
        };
        let limit = |name: &str| by_rule(name, &required(name)?, setting::limit);
        let jwt_secret = required("jwt_secret")?;
        let previous_secret = optional("jwt_secret_previous");
        let signing_key = |name: &str| {
            optional(name).map(|pem| by_rule(name, &pem, SigningKey::parse)).transpose()
        };
        let service_api_key = optional("service_api_key");
        if let Some(key) = &service_api_key {
            by_rule("service_api_key", key, setting::key)?;
        }
        let previous_signing_key = signing_key("jwt_signing_key_previous")?;
        let signing_key = signing_key("jwt_signing_key")?;
        if signing_key.is_none() && previous_signing_key.is_some() {
            let problem = "variable `jwt_signing_key_previous` needs `jwt_signing_key` beside it";
            return Err(Error::Misconfigured(problem.to_owned()));
        }
        Ok(Self {
            database_url: Secret(required("database_url")?),
            token_key: TokenKey::new(
                &Keys {
                    secret: by_rule("jwt_secret", &jwt_secret, setting::key)?,
                    previous_secret: previous_secret
                        .as_deref()
                        .map(|secret| by_rule("jwt_secret_previous", secret, setting::key))
                        .transpose()?,
                    signing_key,
                    previous_signing_key,
                },
                required("jwt_issuer")?,
                required("jwt_audience")?,
            ),
            admin_username: required("admin_username")?,
            session_ttl: by_rule("session_ttl", &required("session_ttl")?, setting::session_ttl)?,
            password_min_length: by_rule(
                "password_min_length",
                &required("password_min_length")?,
                setting::password_min_length,
            )?,
            service_api_key: service_api_key.map(Secret),
            scope_catalog: by_rule(
                "scope_catalog",
                &optional("scope_catalog").unwrap_or_default(),
                Catalog::parse,
            )?,
            service_accounts_per_user: limit("service_accounts_per_user")?,
            tokens_per_service_account: limit("tokens_per_service_account")?,
            trusted_proxy_hops: by_rule(
                "trusted_proxy_hops",
                &required("trusted_proxy_hops")?,
                setting::proxy_hops,
            )?,
            cors_allowed_origins: origins(&lookup)?,
        })
    }
}

fn origins(lookup: &impl Fn(&str) -> Option<String>) -> Result<Vec<String>, Error> {
    let name = "cors_allowed_origins";
    by_rule(name, &lookup(name).unwrap_or_default(), setting::origins)
}

/// The value of a variable, as a rule reads it.
fn by_rule<'a, T>(
    name: &str,
    value: &'a str,
    rule: impl Fn(&'a str) -> Result<T, String>,
) -> Result<T, Error> {
    rule(value).map_err(|problem| Error::Misconfigured(format!("variable `{name}` {problem}")))
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
                "service_accounts_per_user" | "tokens_per_service_account" => "100",
                "service_api_key" | "scope_catalog" => "",
                "trusted_proxy_hops" => "0",
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
        assert!(config.service_api_key.is_none() && config.scope_catalog.is_none());
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
            ("service_api_key", Some("0123456789")),
            ("scope_catalog", Some("[]")),
            ("service_accounts_per_user", Some("-1")),
            ("tokens_per_service_account", None),
            ("trusted_proxy_hops", Some("all")),
            ("jwt_secret_previous", Some("0123456789")),
            ("jwt_signing_key", Some("-----BEGIN PRIVATE KEY-----0123456789")),
            ("jwt_signing_key_previous", Some("0123456789")),
            ("cors_allowed_origins", Some("*")),
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
