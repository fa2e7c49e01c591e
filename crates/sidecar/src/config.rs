//! Settings from flags and the environment, checked before anything starts.

use edd_auth_rules::password::{DEFAULT_MIN_CHARS, Password};
use edd_auth_rules::text::Username;
use sqlx::postgres::PgConnectOptions;
use tonic::transport::Endpoint;

use crate::database_url::DatabaseUrl;
use crate::log_service::LogService;

/// Why a setting is refused: one line that names it and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    /// A setting, and a predicate of its name: "is not set; …".
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

/// The value of a setting that has no default.
///
/// # Errors
///
/// [`ConfigError`] when there is none, or it is empty.
pub fn required(
    name: &'static str,
    value: Option<String>,
    meaning: &str,
) -> Result<String, ConfigError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ConfigError::new(name, format!("is not set: {meaning}")))
}

/// Connection options for a `DATABASE_URL`, under the name of a program.
///
/// # Errors
///
/// Those of [`DatabaseUrl::new`].
pub fn database(url: Option<String>, program: &str) -> Result<PgConnectOptions, ConfigError> {
    Ok(DatabaseUrl::new("DATABASE_URL", url)?.options(program))
}

/// The user that exists after the first start.
#[derive(Debug, Clone)]
pub struct DefaultUser {
    /// `DEFAULT_USERNAME`.
    pub username: Username,
    /// `DEFAULT_PASSWORD`.
    pub password: Password,
}

impl DefaultUser {
    /// Checks the name and the password. A weak password is accepted, with a
    /// warning: the operator chose it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], without the password.
    pub fn new(username: Option<String>, password: Option<String>) -> Result<Self, ConfigError> {
        let username =
            required("DEFAULT_USERNAME", username, "the user that is created when it is missing")?;
        let username = Username::parse(&username)
            .map_err(|refusal| ConfigError::new("DEFAULT_USERNAME", refusal.to_string()))?;
        let typed = required("DEFAULT_PASSWORD", password, "the password of DEFAULT_USERNAME")?;
        let password = Password::presented(&typed)
            .map_err(|refusal| ConfigError::new("DEFAULT_PASSWORD", refusal.to_string()))?;
        let chosen = Password::chosen(&typed, DEFAULT_MIN_CHARS, &[username.as_str()]);
        if let Err(refusal) = chosen {
            tracing::warn!("DEFAULT_PASSWORD {refusal}; choose another one");
        }
        Ok(Self { username, password })
    }
}

/// The log service, if there is one. Its connection is not encrypted: the address
/// is one of a private network.
///
/// # Errors
///
/// [`ConfigError`] when the text is no `HOST:PORT`.
pub fn log_service(address: Option<String>) -> Result<Option<LogService>, ConfigError> {
    address
        .filter(|address| !address.is_empty())
        .map(|address| {
            endpoint(&address).map(LogService::new).ok_or_else(|| {
                ConfigError::new("-log-service", "is not an address like logs.internal:9000")
            })
        })
        .transpose()
}

/// Host and port on their own: a URI would take a user or a path as well.
fn endpoint(address: &str) -> Option<Endpoint> {
    let (host, port) = address.rsplit_once(':')?;
    let host = url::Host::parse(host).ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Endpoint::from_shared(format!("http://{host}:{port}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_user_is_checked() {
        let new = |name: Option<&str>, password: Option<&str>| {
            DefaultUser::new(name.map(str::to_owned), password.map(str::to_owned))
                .map_err(|error| error.to_string())
        };
        assert!(new(Some("ada"), Some("short")).is_ok());
        assert!(new(None, Some("p")).expect_err("refused").starts_with("DEFAULT_USERNAME is not"));
        assert!(new(Some("a\nb"), Some("p")).expect_err("refused").starts_with("DEFAULT_USERNAME"));
        let error = new(Some("ada"), Some("hunter2\0")).expect_err("refused");
        assert!(error.starts_with("DEFAULT_PASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_log_service_is_a_host_and_a_port() {
        let parsed = |address: &str| log_service(Some(address.to_owned()));
        for address in ["logs:9000", "log_service.internal:9000", "127.0.0.1:1", "[::1]:65535"] {
            assert!(matches!(parsed(address), Ok(Some(_))), "{address}");
        }
        for address in [
            "logs",
            "9000",
            ":9000",
            "logs:",
            "logs:0",
            "logs:65536",
            "::1:9000",
            "http://logs:9000",
            "logs:9000/path",
            "user:hunter2@logs:9000",
            "lo gs:9000",
        ] {
            let error = parsed(address).err().expect(address).to_string();
            assert!(error.starts_with("-log-service is not"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(matches!((log_service(None), parsed("")), (Ok(None), Ok(None))));
    }
}
