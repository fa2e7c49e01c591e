//! Where NATS is, whom it is to be, and who this program is to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use crate::config::ConfigError;
use crate::database_url::read_authorities;

const URL: &str = "NATS_URL";
const CREDS: &str = "NATS_CREDS";
const CA: &str = "NATS_CA";
const CERT: &str = "NATS_CERT";
const KEY: &str = "NATS_KEY";

/// What flags and environment say about NATS.
#[derive(clap::Args)]
pub struct NatsArgs {
    /// NATS, as nats://HOST:PORT, or tls://HOST:PORT, which encrypts and verifies
    /// certificate and host name; without it events wait in the outbox
    ///
    /// A user and password, or a token, may stand before the host. The servers of a cluster
    /// are separated by commas; user and token of one of them count for all, and so does tls.
    #[arg(
        long = "nats-url",
        env = "NATS_URL",
        value_name = "URL[,URL...]",
        hide_env_values = true
    )]
    url: Option<String>,
    /// The credentials file of a NATS user (a .creds file: JWT and seed)
    #[arg(long = "nats-creds", env = "NATS_CREDS", value_name = "FILE", hide_env_values = true)]
    creds: Option<String>,
    /// Certificate authorities of the NATS server, in PEM form, in place of the
    /// system's; requires TLS
    #[arg(long = "nats-ca", env = "NATS_CA", value_name = "FILE")]
    ca: Option<String>,
    /// Certificate that is shown to the NATS server, in PEM form; requires TLS
    #[arg(long = "nats-cert", env = "NATS_CERT", value_name = "FILE")]
    cert: Option<String>,
    /// Its key, in PEM form
    #[arg(long = "nats-key", env = "NATS_KEY", value_name = "FILE", hide_env_values = true)]
    key: Option<String>,
}

impl NatsArgs {
    /// NATS, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the name of a file and never its content.
    pub fn nats(self) -> Result<Option<Nats>, ConfigError> {
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let file = |name, value| match given(value) {
            // The file itself, which must not be shown as its own name.
            Some(text) if text.contains('\n') => {
                Err(ConfigError::new(name, "is not the name of a file"))
            }
            file => Ok(file),
        };
        let (creds, ca) = (file(CREDS, self.creds)?, file(CA, self.ca)?);
        let (cert, key) = (file(CERT, self.cert)?, file(KEY, self.key)?);
        let Some(url) = given(self.url) else {
            let files = [(CREDS, creds), (CA, ca), (CERT, cert), (KEY, key)];
            return match files.into_iter().find(|(_, file)| file.is_some()) {
                Some((name, _)) => Err(ConfigError::new(name, "is set, and NATS_URL is not")),
                None => Ok(None),
            };
        };
        let mut nats = Nats::new(&url)?;
        if let Some(file) = creds {
            if !matches!(nats.login, Login::None) {
                let problem = "is set, and NATS_URL has a user or a token as well; choose one";
                return Err(ConfigError::new(CREDS, problem));
            }
            nats.login = Login::Credentials(credentials(&file)?);
        }
        nats.ca = ca.map(certificates(CA)).transpose()?;
        nats.identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((certificates(CERT)(cert)?, private_key(&key)?)),
            (Some(_), None) => return Err(ConfigError::new(CERT, "is set, and NATS_KEY is not")),
            (None, Some(_)) => return Err(ConfigError::new(KEY, "is set, and NATS_CERT is not")),
        };
        Ok(Some(nats))
    }

    /// NATS, for commands that can't do without.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], also when `NATS_URL` is not set.
    pub fn required(self) -> Result<Nats, ConfigError> {
        self.nats()?.ok_or_else(|| ConfigError::new(URL, "is not set: where the events are"))
    }
}

/// The servers of NATS, and how to be let in.
pub struct Nats {
    servers: Vec<ServerAddr>,
    login: Login,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

/// What is shown to the server.
#[derive(PartialEq, Eq)]
enum Login {
    None,
    Token(String),
    User(String, String),
    /// The content of a credentials file.
    Credentials(String),
}

impl Nats {
    /// The servers of one or more URLs with commas between them, without any files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], for a URL that can't be understood, or two with different users.
    pub fn new(urls: &str) -> Result<Self, ConfigError> {
        let (mut servers, mut login) = (Vec::new(), Login::None);
        for url in urls.split(',') {
            let (server, shown) = address(url.trim())?;
            servers.push(server);
            if login == Login::None {
                login = shown;
            } else if shown != Login::None && shown != login {
                let problem = "has different users or tokens; one counts for all servers";
                return Err(ConfigError::new(URL, problem));
            }
        }
        Ok(Self { servers, login, ca: None, identity: None })
    }

    /// Their addresses, without a user or a password. There is at least one.
    #[must_use]
    pub fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// How to connect, under the name of a program. TLS is required where anything
    /// says that it is wanted: a server without it, or somebody in between who says
    /// that it has none, is refused before anything secret is sent.
    ///
    /// # Errors
    ///
    /// When the credentials can't be used, which [`NatsArgs::nats`] has refused.
    pub fn options(&self, program: &str) -> std::io::Result<ConnectOptions> {
        let mut options = ConnectOptions::new().name(program);
        let tls = self.servers.iter().any(ServerAddr::tls_required);
        if tls || self.ca.is_some() || self.identity.is_some() {
            // The list of a cluster's other servers comes before TLS, from whoever
            // has answered.
            options = options.require_tls(true).ignore_discovered_servers();
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        match &self.login {
            Login::None => Ok(options),
            Login::Token(token) => Ok(options.token(token.clone())),
            Login::User(user, password) => {
                Ok(options.user_and_password(user.clone(), password.clone()))
            }
            Login::Credentials(text) => options.credentials(text),
        }
    }
}

/// Why there is no connection, for a person. A server that knows no TLS answers its
/// first message with something else.
#[must_use]
pub fn explain(reason: &str) -> String {
    if ["corrupt message", "handshake eof"].iter().any(|sign| reason.contains(sign)) {
        format!("{reason}; the server may not speak TLS")
    } else {
        reason.to_owned()
    }
}

/// The address, and what stands before its `@`. It is taken out of the address
/// because the client logs that.
fn address(url: &str) -> Result<(ServerAddr, Login), ConfigError> {
    let malformed = || {
        let problem = "is not a URL like nats://user:password@host:4222, or several with commas \
                       between them (in a password, a comma is %2C)";
        ConfigError::new(URL, problem)
    };
    let text = if url.contains("://") { url.to_owned() } else { format!("nats://{url}") };
    let mut url = Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host())
        .ok_or_else(malformed)?;
    let decoded = |text: &str| {
        percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| malformed())
    };
    let login = match (url.username(), url.password()) {
        ("", None) => Login::None,
        (token, None) => Login::Token(decoded(token)?),
        (user, Some(password)) => Login::User(decoded(user)?, decoded(password)?),
    };
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| malformed())?;
    Ok((ServerAddr::from_url(url).map_err(|_| malformed())?, login))
}

/// The content of a credentials file, once it was seen that it can be used.
fn credentials(file: &str) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(CREDS, file, &error))?;
    // The reason may quote the file.
    if ConnectOptions::new().credentials(&text).is_err() {
        return Err(ConfigError::new(CREDS, format!("names {file}, which has no JWT and seed")));
    }
    warn_if_everybody_reads(CREDS, file);
    Ok(text)
}

fn private_key(file: &str) -> Result<PathBuf, ConfigError> {
    let pem = std::fs::read(file).map_err(|error| unreadable(KEY, file, &error))?;
    if PrivateKeyDer::from_pem_slice(&pem).is_err() {
        return Err(ConfigError::new(KEY, format!("names {file}, which has no key in PEM form")));
    }
    warn_if_everybody_reads(KEY, file);
    Ok(file.into())
}

/// Looks at a file of certificates. The client reads it anew for each connection,
/// so that a new one can be put in its place.
fn certificates(name: &'static str) -> impl Fn(String) -> Result<PathBuf, ConfigError> {
    move |file| {
        let pem = std::fs::read(&file).map_err(|error| unreadable(name, &file, &error))?;
        if read_authorities(&pem).is_none() {
            let problem = format!("names {file}, which has no certificates in PEM form");
            return Err(ConfigError::new(name, problem));
        }
        Ok(file.into())
    }
}

fn unreadable(name: &'static str, file: &str, error: &std::io::Error) -> ConfigError {
    ConfigError::new(name, format!("names {file}, which can't be read: {error}"))
}

fn warn_if_everybody_reads(name: &str, file: &str) {
    let mode = Path::new(file).metadata().map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!("{name}: every user of this machine can read {file}; chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str) -> NatsArgs {
        let none = || None;
        NatsArgs { url: Some(url.to_owned()), creds: none(), ca: none(), cert: none(), key: none() }
    }

    fn addresses(nats: &Nats) -> Vec<&str> {
        nats.servers().iter().map(ServerAddr::as_url_str).collect()
    }

    fn refusal(args: NatsArgs) -> String {
        let error = args.nats().err().expect("refused").to_string();
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn it_may_be_absent() {
        assert!(args("").nats().expect("accepted").is_none());
        let refused = args("").required().err().expect("refused").to_string();
        assert!(refused.starts_with("NATS_URL is not set"), "{refused}");
        for (name, args) in [
            ("NATS_CREDS", NatsArgs { creds: Some("hunter2".into()), ..args("") }),
            ("NATS_CA", NatsArgs { ca: Some("hunter2".into()), ..args("") }),
        ] {
            assert_eq!(refusal(args), format!("{name} is set, and NATS_URL is not"));
        }
    }

    #[test]
    fn user_password_and_token_leave_the_address() {
        for (url, server, expected) in [
            ("h:1", "nats://h:1", None),
            ("nats://h", "nats://h", None),
            ("tls://t%40ken@h:1", "tls://h:1", Some(("t@ken", None))),
            ("nats://u:p%3Aw@h:1", "nats://h:1", Some(("u", Some("p:w")))),
        ] {
            let nats = args(url).nats().expect("accepted").expect("one");
            assert_eq!(addresses(&nats), [server]);
            let login = match &nats.login {
                Login::Token(token) => Some((token.as_str(), None)),
                Login::User(user, password) => Some((user.as_str(), Some(password.as_str()))),
                Login::None | Login::Credentials(_) => None,
            };
            assert_eq!(login, expected, "{url}");
        }
        for url in
            ["nats://hunter2@[", "http://hunter2@h", "nats://", "ws://hunter2@h", "nats://%ff@h"]
        {
            assert!(refusal(args(url)).starts_with("NATS_URL is not a URL"), "{url}");
        }
    }

    #[test]
    fn there_may_be_several_with_one_user() {
        for urls in ["nats://t@a:1,b, nats://t@c", "a:1,t@b,c"] {
            let nats = args(urls).nats().expect("accepted").expect("some");
            assert_eq!(addresses(&nats), ["nats://a:1", "nats://b", "nats://c"]);
            assert!(nats.login == Login::Token("t".into()), "{urls}");
        }
        let different = refusal(args("nats://u:hunter2@a,nats://u:other@b"));
        assert!(different.starts_with("NATS_URL has different users"), "{different}");
        for urls in ["a,", ",a", "nats://u:hunter2,@a", "a,http://hunter2@b"] {
            assert!(refusal(args(urls)).starts_with("NATS_URL is not a URL"), "{urls}");
        }
    }

    #[test]
    fn files_that_are_of_no_use_are_named() {
        let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authority.pem").to_owned();
        let useless = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned();
        for file in [&useless, "/none"] {
            let file = || Some(file.to_owned());
            let cert = || Some(authority.clone());
            for (name, args) in [
                (CREDS, NatsArgs { creds: file(), ..args("h") }),
                (CA, NatsArgs { ca: file(), ..args("h") }),
                (CERT, NatsArgs { cert: file(), key: file(), ..args("h") }),
                (KEY, NatsArgs { cert: cert(), key: file(), ..args("h") }),
            ] {
                let error = refusal(args);
                let start = format!("{name} names {}, which ", file().expect("one"));
                assert!(error.starts_with(&start), "{error}");
            }
        }
        let twice = NatsArgs { creds: Some(useless), ..args("nats://hunter2@h") };
        assert!(refusal(twice).starts_with("NATS_CREDS is set, and NATS_URL has a user"));
        let pasted = NatsArgs { creds: Some("SU\nhunter2".into()), ..args("h") };
        assert_eq!(refusal(pasted), "NATS_CREDS is not the name of a file");
        let half = NatsArgs { cert: Some(authority), ..args("h") };
        assert_eq!(refusal(half), "NATS_CERT is set, and NATS_KEY is not");
    }
}
