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
        ];
        for refusal in refused {
            let problem = refusal.expect_err("refused");
            let verb = problem.split(' ').next();
            assert!(matches!(verb, Some("has" | "is" | "must")), "{problem}");
            assert!(!problem.contains("kkk"), "{problem}");
        }
    }
}
