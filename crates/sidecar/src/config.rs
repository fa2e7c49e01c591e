//! Settings from flags and the environment, checked before anything starts.

use std::str::FromStr;

use edd_auth_rules::password::{DEFAULT_MIN_CHARS, Password};
use edd_auth_rules::text::Username;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tonic::transport::Endpoint;

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

/// Connection options for a `DATABASE_URL`, with the meaning that Spin's driver
/// gives to `sslmode=require`: it verifies the certificate and the host name,
/// which sqlx calls `verify-full`. Parameters and modes that only one of the two
/// drivers knows are refused, so that one URL works in all parts of the service.
/// One difference stays: under `prefer`, the default, a server that offers TLS is
/// verified by the component's driver and not by sqlx.
///
/// # Errors
///
/// [`ConfigError`], without any part of the URL, which may hold a password.
pub fn database(url: Option<String>, program: &str) -> Result<PgConnectOptions, ConfigError> {
    const NAME: &str = "DATABASE_URL";
    const PARAMETERS: [&str; 4] = ["sslmode", "options", "application_name", "connect_timeout"];
    let url = required(NAME, url, "a URL like postgres://user:password@host:5432/auth")?;
    let mut parsed = url::Url::parse(&url)
        .ok()
        .filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))
        .ok_or_else(|| {
            ConfigError::new(NAME, "is not a URL like postgres://user:password@host:5432/auth")
        })?;
    for (key, value) in parsed.query_pairs() {
        if !PARAMETERS.contains(&&*key) {
            return Err(ConfigError::new(
                NAME,
                format!("has a parameter that is none of {}", PARAMETERS.join(", ")),
            ));
        }
        if key == "sslmode" && !matches!(&*value, "disable" | "prefer" | "require") {
            return Err(ConfigError::new(
                NAME,
                "has an sslmode that is none of disable, prefer and require; \
                 require verifies the certificate and the host name",
            ));
        }
    }
    // The component's driver knows this one, sqlx would warn about it.
    let known: Vec<(String, String)> = parsed
        .query_pairs()
        .filter(|(key, _)| key != "connect_timeout")
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    parsed.query_pairs_mut().clear().extend_pairs(known);
    let options = PgConnectOptions::from_str(parsed.as_str())
        .map_err(|_| ConfigError::new(NAME, "has parameters that can't be understood"))?
        .application_name(program);
    Ok(match options.get_ssl_mode() {
        PgSslMode::Require => options.ssl_mode(PgSslMode::VerifyFull),
        _ => options,
    })
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

/// Where NATS is, if anywhere.
///
/// # Errors
///
/// [`ConfigError`] when the text is no server address.
pub fn nats(url: Option<String>) -> Result<Option<async_nats::ServerAddr>, ConfigError> {
    url.filter(|url| !url.is_empty())
        .map(|url| {
            url.parse().map_err(|_| {
                ConfigError::new("NATS_URL", "is not a URL like nats://user:password@host:4222")
            })
        })
        .transpose()
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

    fn database_error(url: &str) -> String {
        let error = database(Some(url.to_owned()), "test").expect_err("refused").to_string();
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn require_verifies() {
        let mode =
            |url: &str| database(Some(url.to_owned()), "test").expect("accepted").get_ssl_mode();
        assert!(matches!(mode("postgres://a:b@h/d?sslmode=require"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://a:b@h/d?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgresql://a:b@h/d"), PgSslMode::Prefer));
        let with_options =
            "postgres://a:b@h/d?connect_timeout=2&options=-c%20statement_timeout%3D5000";
        assert!(matches!(mode(with_options), PgSslMode::Prefer));
    }

    #[test]
    fn a_bad_database_url_is_named_and_not_shown() {
        assert!(
            database(None, "test")
                .expect_err("missing")
                .to_string()
                .starts_with("DATABASE_URL is not set")
        );
        for url in [
            "",
            "host=db user=auth password=hunter2",
            "mysql://auth:hunter2@db/auth",
            "postgres://auth:hunter2@db/auth?sslmode=verify-ca",
            "postgres://auth:hunter2@db/auth?sslmode=allow",
            "postgres://auth:hunter2@db:port/auth",
            "postgres://auth@db/auth?sslpassword=hunter2",
        ] {
            assert!(database_error(url).starts_with("DATABASE_URL "), "{url}");
        }
    }

    #[test]
    fn the_default_user_is_checked() {
        let new = |name: Option<&str>, password: Option<&str>| {
            DefaultUser::new(name.map(str::to_owned), password.map(str::to_owned))
                .map_err(|error| error.to_string())
        };
        assert!(new(Some("ada"), Some("short")).is_ok());
        assert!(new(None, Some("p")).expect_err("refused").starts_with("DEFAULT_USERNAME is not"));
        assert!(new(Some("a\n"), Some("p")).expect_err("refused").starts_with("DEFAULT_USERNAME"));
        let error = new(Some("ada"), Some("hunter2\0")).expect_err("refused");
        assert!(error.starts_with("DEFAULT_PASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn nats_may_be_absent() {
        assert!(nats(None).expect("accepted").is_none());
        assert!(nats(Some(String::new())).expect("accepted").is_none());
        assert!(nats(Some("nats://127.0.0.1:4222".to_owned())).expect("accepted").is_some());
        assert!(nats(Some("nats://[".to_owned())).is_err());
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
