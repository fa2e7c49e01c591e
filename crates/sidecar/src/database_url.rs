//! `DATABASE_URL`: one text that means the same to both drivers of the service.
//!
//! The sidecar connects with sqlx; the component with what its host has, Spin's
//! `tokio-postgres` or that of `auth-server`. Their `sslmode`s have the same names
//! for different things, so this is the one place that says what each means.

use std::str::FromStr;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::config::{ConfigError, required};

/// The parameters that it may have.
const PARAMETERS: [&str; 5] =
    ["sslmode", "sslrootcert", "options", "application_name", "connect_timeout"];

/// A `DATABASE_URL` that both drivers understand. A secret: it may hold a password.
pub struct DatabaseUrl {
    name: &'static str,
    options: PgConnectOptions,
    for_component: String,
    authorities: Vec<CertificateDer<'static>>,
}

impl DatabaseUrl {
    /// Reads the setting of this name. `sslmode=require` verifies the certificate and
    /// the host name, as it does in Spin's driver; sqlx calls that `verify-full`, which
    /// is accepted as another name of it. Parameters and modes that only one of the
    /// drivers knows are refused. One difference stays: under `prefer`, the default, a
    /// server that offers TLS is verified by the component's driver and not by sqlx.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], without any part of the URL, which may hold a password, but
    /// the name of the file in `sslrootcert`.
    pub fn new(name: &'static str, url: Option<String>) -> Result<Self, ConfigError> {
        let refused = |problem: &str| ConfigError::new(name, problem);
        let text = required(name, url, "a URL like postgres://user:password@host:5432/auth")?;
        let mut url = Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))
            .ok_or_else(|| refused("is not a URL like postgres://user:password@host:5432/auth"))?;
        let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        for (place, (key, _)) in parameters.iter().enumerate() {
            if !PARAMETERS.contains(&key.as_str()) {
                let known = PARAMETERS.join(", ");
                return Err(refused(&format!("has a parameter that is none of {known}")));
            }
            // The drivers may not agree on which of two counts.
            if parameters[..place].iter().any(|(earlier, _)| earlier == key) {
                return Err(refused(&format!("has the parameter {key} twice")));
            }
        }
        let parameter = |name: &str| {
            parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let mode = ssl_mode(parameter("sslmode")).map_err(refused)?;
        let root_file = parameter("sslrootcert");
        // An authority that nobody is held against is a mistake.
        if root_file.is_some() && !matches!(mode, PgSslMode::VerifyFull) {
            return Err(refused("has sslrootcert without sslmode=require or verify-full"));
        }
        let for_component = for_component(&text, &url);
        // The component's driver knows connect_timeout, sqlx would warn about it; the
        // two others are set below, the mode whatever PGSSLMODE says.
        let others = parameters
            .iter()
            .filter(|(key, _)| !["connect_timeout", "sslmode", "sslrootcert"].contains(&&**key));
        url.query_pairs_mut().clear().extend_pairs(others);
        let mut options = PgConnectOptions::from_str(url.as_str())
            .map_err(|_| refused("has parameters that can't be understood"))?
            .ssl_mode(mode);
        let mut authorities = Vec::new();
        if let Some(file) = root_file {
            let problem = |why: &str| refused(&format!("has an sslrootcert, {file}, that {why}"));
            let pem =
                std::fs::read(file).map_err(|error| problem(&format!("can't be read: {error}")))?;
            authorities =
                read_authorities(&pem).ok_or_else(|| problem("has no certificates in PEM form"))?;
            options = options.ssl_root_cert_from_pem(pem);
        }
        Ok(Self { name, options, for_component, authorities })
    }

    /// The setting that it comes from.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// For sqlx, under the name of a program.
    #[must_use]
    pub fn options(&self, program: &str) -> PgConnectOptions {
        self.options.clone().application_name(program)
    }

    /// The variable `database_url` of the component: what Spin's driver knows.
    #[must_use]
    pub fn for_component(&self) -> &str {
        &self.for_component
    }

    /// The authorities of `sslrootcert`, which are trusted beside those of the
    /// system.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }
}

fn ssl_mode(text: Option<&str>) -> Result<PgSslMode, &'static str> {
    match text {
        None | Some("prefer") => Ok(PgSslMode::Prefer),
        Some("disable") => Ok(PgSslMode::Disable),
        Some("require" | "verify-full") => Ok(PgSslMode::VerifyFull),
        Some("verify-ca") => {
            Err("has sslmode=verify-ca, which lets every host of the authority pass for the \
             database; write verify-full")
        }
        Some(_) => Err("has an sslmode that is none of disable, prefer, require and verify-full; \
             the last two verify the certificate and the host name"),
    }
}

/// The certificates of a text in PEM form: at least one, and all of them fit to be
/// an authority's.
pub(crate) fn read_authorities(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    let mut store = RootCertStore::empty();
    certificates.iter().try_for_each(|certificate| store.add(certificate.clone())).ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// The URL without `sslrootcert`, and with `require` for `verify-full`. Everything
/// else stays as it was written: drivers differ in how they decode a query.
fn for_component(text: &str, url: &Url) -> String {
    let query = url.query().unwrap_or_default();
    let parts: Vec<&str> = query
        .split('&')
        .filter(|part| !part.starts_with("sslrootcert="))
        .map(|part| if part == "sslmode=verify-full" { "sslmode=require" } else { part })
        .collect();
    let translated = parts.join("&");
    if translated == query {
        return text.to_owned();
    }
    let mut url = url.clone();
    url.set_query(Some(&translated));
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<DatabaseUrl, String> {
        DatabaseUrl::new("DATABASE_URL", Some(url.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn require_verifies_and_nothing_but_the_url_decides() {
        let mode = |url: &str| read(url).expect("accepted").options("test").get_ssl_mode();
        for name in ["require", "verify-full"] {
            let url = format!("postgres://a:b@h/d?sslmode={name}");
            assert!(matches!(mode(&url), PgSslMode::VerifyFull), "{name}");
        }
        assert!(matches!(mode("postgres://a:b@h/d?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgresql://a:b@h/d"), PgSslMode::Prefer));
        let with_options =
            "postgres://a:b@h/d?connect_timeout=2&options=-c%20statement_timeout%3D5000";
        assert!(matches!(mode(with_options), PgSslMode::Prefer));
    }

    #[test]
    fn the_component_gets_what_its_driver_knows() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authority.pem");
        let read = |url: &str| read(url).expect("accepted");
        for url in [
            "postgres://a:b%40c@h/d",
            "postgres://a:b@h:1/d?sslmode=require&options=-c%20statement_timeout%3D5000",
        ] {
            assert_eq!(read(url).for_component(), url);
            assert!(read(url).authorities().is_empty());
        }
        let url = format!(
            "postgres://a:b%40c@h/d?options=-c%20a%3Db&sslrootcert={file}&sslmode=verify-full"
        );
        assert_eq!(
            read(&url).for_component(),
            "postgres://a:b%40c@h/d?options=-c%20a%3Db&sslmode=require"
        );
        assert_eq!(read(&url).authorities().len(), 1);
    }

    #[test]
    fn a_bad_url_is_named_and_not_shown() {
        let missing = DatabaseUrl::new("DATABASE_URL", None).err().expect("missing").to_string();
        assert!(missing.starts_with("DATABASE_URL is not set"), "{missing}");
        let no_certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (url, why) in [
            ("", "is not set"),
            ("host=db user=auth password=hunter2", "is not a URL"),
            ("mysql://auth:hunter2@db/auth", "is not a URL"),
            ("postgres://auth:hunter2@db:port/auth", "is not a URL"),
            ("postgres://auth:hunter2@db/auth?sslmode=verify-ca", "verify-full"),
            ("postgres://auth:hunter2@db/auth?sslmode=allow", "none of disable"),
            ("postgres://auth:hunter2@db/auth?sslmode=require&sslmode=disable", "twice"),
            ("postgres://auth@db/auth?sslpassword=hunter2", "none of sslmode"),
            ("postgres://auth:hunter2@db/auth?sslrootcert=/ca.pem", "without sslmode=require"),
            ("postgres://auth:hunter2@db/auth?sslmode=prefer&sslrootcert=/ca.pem", "without"),
            ("postgres://auth:hunter2@db/a?sslmode=require&sslrootcert=/none.pem", "/none.pem"),
            (
                &format!("postgres://a:hunter2@db/a?sslmode=require&sslrootcert={no_certificates}"),
                "no certificates",
            ),
        ] {
            let error = read(url).err().expect(url);
            assert!(error.starts_with("DATABASE_URL ") && error.contains(why), "{url}: {error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }
}
