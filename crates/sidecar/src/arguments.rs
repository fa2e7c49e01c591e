//! Command-line arguments that the programs share, and Go's form of them.

use std::ffi::OsString;

use tokio::net::TcpListener;

use crate::housekeeping::Retention;

/// The service was specified with the flags of Go's `flag` package, which has
/// long names behind one dash: `-addr`, `-session-ttl=1h`. Gives them the second
/// dash that clap expects; leaves everything else, and all behind `--`, alone.
pub fn with_double_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut verbatim = false;
    args.map(|arg| {
        verbatim |= arg == "--";
        match arg.to_str() {
            Some(text) if !verbatim && is_go_flag(text) => OsString::from(format!("-{text}")),
            _ => arg,
        }
    })
    .collect()
}

/// One dash, and a name of at least two characters that begins with a letter.
fn is_go_flag(text: &str) -> bool {
    let mut rest = text.chars();
    rest.next() == Some('-')
        && rest.next().is_some_and(|c| c.is_ascii_alphabetic())
        && rest.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// A listen address; Go's `:8080` means every interface.
///
/// # Errors
///
/// When the text is no `HOST:PORT` with a numeric port. The host may be a name.
pub fn listen_address(text: &str) -> Result<String, String> {
    let invalid = || format!("`{text}` is not an address; write it like 127.0.0.1:8080 or :8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    Ok(if host.is_empty() { format!("[::]:{port}") } else { text.to_owned() })
}

/// Listens on an address of [`listen_address`]. Every interface means those of
/// IPv4 where the machine has no IPv6.
///
/// # Errors
///
/// When the address is taken, or is none of this machine's.
pub async fn listen(address: &str) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            match address.strip_prefix("[::]:") {
                Some(port) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
                None => Err(error),
            }
        }
        result => result,
    }
}

/// How long rows are kept, in days.
#[derive(clap::Args)]
pub struct RetentionArgs {
    /// Days that a published event is kept in the database: more than the stream
    /// keeps it
    #[arg(long, env = "OUTBOX_RETENTION_DAYS", value_name = "DAYS",
          default_value_t = Retention::default().outbox_days,
          value_parser = clap::value_parser!(u16).range(1..))]
    outbox_retention_days: u16,
    /// Days that a row of the audit log is kept; longer while the log service, if
    /// there is one, has not got it
    #[arg(long, env = "AUDIT_RETENTION_DAYS", value_name = "DAYS",
          default_value_t = Retention::default().audit_days,
          value_parser = clap::value_parser!(u16).range(1..))]
    audit_retention_days: u16,
}

impl RetentionArgs {
    /// What they mean, with a log service or without one.
    #[must_use]
    pub fn retention(&self, log_service: bool) -> Retention {
        Retention {
            outbox_days: self.outbox_retention_days,
            audit_days: self.audit_retention_days,
            unpushed_audit: log_service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(args: &[&str]) -> Vec<String> {
        with_double_dashes(args.iter().map(OsString::from))
            .into_iter()
            .map(|arg| arg.into_string().expect("text"))
            .collect()
    }

    #[test]
    fn single_dashes_become_double() {
        assert_eq!(
            converted(&["auth-server", "-addr", ":8080", "-session-ttl=1h", "--help", "-h", "-"]),
            ["auth-server", "--addr", ":8080", "--session-ttl=1h", "--help", "-h", "-"]
        );
    }

    #[test]
    fn values_and_what_follows_two_dashes_stay() {
        assert_eq!(converted(&["-5", "-1h", "--", "-addr"]), ["-5", "-1h", "--", "-addr"]);
    }

    #[test]
    fn listen_addresses() {
        assert_eq!(listen_address(":8080").as_deref(), Ok("[::]:8080"));
        assert_eq!(listen_address("127.0.0.1:0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(listen_address("localhost:80").as_deref(), Ok("localhost:80"));
        for text in ["8080", "", "localhost", "127.0.0.1:http", ":99999"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
