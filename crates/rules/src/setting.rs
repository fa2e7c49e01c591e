//! Settings that are texts, as the component reads them from its variables and
//! `auth-server` checks them at its start.
//!
//! Each rule takes a text that is not empty. What it says of one that it refuses
//! is a predicate of the setting's name, "must …", and quotes no secret.

use std::time::Duration;

use crate::{go_duration, password};

/// The shortest key that is accepted, in bytes: for HS256 one has at least the
/// size of its hash (RFC 7518, section 3.2), and the key of the services opens as
/// much.
pub const KEY_MIN_BYTES: usize = 32;

/// Checks a key: what signs the tokens, or what services show.
///
/// # Errors
///
/// When it has fewer than [`KEY_MIN_BYTES`] bytes.
pub fn key(text: &str) -> Result<&str, String> {
    match text.len() {
        KEY_MIN_BYTES.. => Ok(text),
        bytes => Err(format!("has {bytes} bytes; it needs at least {KEY_MIN_BYTES}")),
    }
}

/// Reads the issuer of the tokens as the address of the service, without a slash at
/// its end: what discovery is built on (`OpenID` Connect Discovery 1.0, section 3).
/// `None` when it is a mere name, which is allowed, too.
#[must_use]
pub fn issuer_url(text: &str) -> Option<&str> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let is_plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '\\' | '<' | '>');
    (!rest.is_empty() && !rest.starts_with('/') && rest.chars().all(is_plain)).then_some(url)
}

/// Reads the origins (RFC 6454, section 6.1) of the pages that may call this service
/// from a browser: a list with commas between.
///
/// # Errors
///
/// When one is not written as browsers write it, or is a wildcard: their cookies
/// come along, so each is named.
pub fn origins(text: &str) -> Result<Vec<String>, String> {
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    origins
        .map(|origin| {
            is_origin(origin).then(|| origin.to_owned()).ok_or_else(|| {
                format!(
                    "must be origins like https://app.example.org, with commas between and no \
                     wildcard; `{origin}` is none"
                )
            })
        })
        .collect()
}

fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_name = |c: char| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || matches!(c, '.' | '-' | '_' | '[' | ']' | ':')
    };
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        digits && port.parse::<u16>().is_ok()
    };
    !name.is_empty() && name.chars().all(is_name) && port.is_none_or(is_port)
}

/// Reads how long a session lives: a Go duration of a second or more.
///
/// # Errors
///
/// When it is none.
pub fn session_ttl(text: &str) -> Result<Duration, String> {
    let duration = go_duration::parse(text).map_err(|error| format!("is wrong: {error}"))?;
    if duration < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    Ok(duration)
}

/// Reads the fewest characters of a new password.
///
/// # Errors
///
/// When it is no number from 8 to 256.
pub fn password_min_length(text: &str) -> Result<usize, String> {
    let range = password::LOWEST_MIN_CHARS..=password::MAX_CHARS;
    text.parse()
        .ok()
        .filter(|length| range.contains(length))
        .ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

/// Reads how many of something there may be.
///
/// # Errors
///
/// When it is no number from 0 to 4,294,967,295.
pub fn limit(text: &str) -> Result<i64, String> {
    let number: u32 =
        text.parse().map_err(|_| format!("must be a number from 0 to {}", u32::MAX))?;
    Ok(number.into())
}

/// Reads how many proxies in front of the service are to be believed.
///
/// # Errors
///
/// When it is no number from 0 to 255.
pub fn proxy_hops(text: &str) -> Result<usize, String> {
    let number: u8 = text.parse().map_err(|_| format!("must be a number from 0 to {}", u8::MAX))?;
    Ok(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_read() {
        assert_eq!(key(&"k".repeat(32)), Ok("k".repeat(32).as_str()));
        assert_eq!(session_ttl("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!((password_min_length("8"), password_min_length("256")), (Ok(8), Ok(256)));
        assert_eq!((limit("0"), limit("100")), (Ok(0), Ok(100)));
        assert_eq!(proxy_hops("2"), Ok(2));
        assert_eq!(origins(""), Ok(vec![]));
        let list = "https://app.example.org, http://localhost:5173,https://[::1]:8443";
        let expected = ["https://app.example.org", "http://localhost:5173", "https://[::1]:8443"];
        assert_eq!(origins(list), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_issuer_may_be_an_address() {
        assert_eq!(issuer_url("https://auth.example.org"), Some("https://auth.example.org"));
        assert_eq!(issuer_url("http://localhost:8080/"), Some("http://localhost:8080"));
        assert_eq!(issuer_url("https://example.org/auth"), Some("https://example.org/auth"));
        for name in
            ["edd-cloud-auth", "https://", "https:///x", "https://a b", "https://a?b", "ftp://a"]
        {
            assert_eq!(issuer_url(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_a_predicate() {
        let refused = [
            key(&"k".repeat(31)).map(drop),
            session_ttl("1 day").map(drop),
            session_ttl("999ms").map(drop),
            password_min_length("7").map(drop),
            password_min_length("257").map(drop),
            password_min_length("many").map(drop),
            limit("-1").map(drop),
            limit("4294967296").map(drop),
            limit("1.5").map(drop),
            proxy_hops("256").map(drop),
            origins("*").map(drop),
            origins("https://*.example.org").map(drop),
            origins("https://app.example.org/").map(drop),
            origins("https://App.example.org").map(drop),
            origins("app.example.org").map(drop),
            origins("null").map(drop),
            origins("https://").map(drop),
            origins("https://app.example.org:").map(drop),
            origins("https://app.example.org:443443").map(drop),
            origins("https://user@app.example.org").map(drop),
        ];
        for refusal in refused {
            let problem = refusal.expect_err("refused");
            let verb = problem.split(' ').next();
            assert!(matches!(verb, Some("has" | "is" | "must")), "{problem}");
            assert!(!problem.contains("kkk"), "{problem}");
        }
    }
}
