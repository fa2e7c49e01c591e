//! The secrets of the tests, and the search for them where none may be.

/// Signs the tokens of the tests' services.
pub const JWT_SECRET: &str = "a secret of tests that has more than 32 bytes";

/// The password of the default user.
pub const ADMIN_PASSWORD: &str = "the password of the tests' admin";

/// The key that services show.
pub const SERVICE_API_KEY: &str = "the key of the services of the tests";

/// The password of every other user.
pub const PASSWORD: &str = "seven quiet otters under one bridge";

/// How secrets begin whose values nobody knows beforehand.
const STARTS: [(&str, &str); 3] =
    [("a hash", "$argon2"), ("a hash", "$2b$"), ("a private key", "PRIVATE KEY-----")];

/// Names the first secret that a text has: one of the above or of `others`, a hash,
/// a token of a session or of a service account, or the seed of an nkey.
///
/// Not the secret itself: what is found ends in the log of a test.
#[must_use]
pub fn find(text: &str, others: &[&str]) -> Option<String> {
    let known = [
        ("JWT_SECRET", JWT_SECRET),
        ("ADMIN_PASSWORD", ADMIN_PASSWORD),
        ("SERVICE_API_KEY", SERVICE_API_KEY),
        ("PASSWORD", PASSWORD),
    ];
    let others = others.iter().map(|secret| ("a secret of this test", *secret));
    let known = known.into_iter().chain(others).chain(STARTS);
    let known = known.filter_map(|(name, secret)| Some((text.find(secret)?, name)));
    // The first, so that no other one stands before it.
    let (place, name) = known.chain(token(text)).min()?;
    let line = text[..place].rsplit('\n').next().unwrap_or_default();
    let skipped = line.chars().count().saturating_sub(200);
    let line: String = line.chars().skip(skipped).collect();
    Some(format!("{name} behind `{line}`"))
}

/// Looks for what has the form of a token: a JWT, the token of a service account, a
/// seed of NATS.
fn token(text: &str) -> Option<(usize, &'static str)> {
    let ends = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.');
    text.split(ends).find_map(|word| {
        let name = if is_jwt(word) {
            "a JWT"
        } else if word.strip_prefix("ecloud_").is_some_and(|rest| rest.len() >= 32) {
            "an API token"
        } else if is_seed(word) {
            "a seed of NATS"
        } else {
            return None;
        };
        Some((text.find(word)?, name))
    })
}

fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    matches!(parts.as_slice(), [head, claims, signature]
        if head.starts_with("eyJ") && claims.starts_with("eyJ") && signature.len() >= 40)
}

fn is_seed(word: &str) -> bool {
    let base32 = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7');
    word.len() == 58 && word.starts_with('S') && word.bytes().all(base32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_and_not_shown() {
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.{}", "s".repeat(43));
        let api_token = format!("ecloud_{}", "t".repeat(38));
        let seed = format!("SU{}", "A".repeat(56));
        for secret in [
            JWT_SECRET,
            ADMIN_PASSWORD,
            SERVICE_API_KEY,
            PASSWORD,
            "hunter2",
            "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA$aGFzaA",
            "$2b$12$abcdefghijklmnopqrstuv",
            "-----BEGIN PRIVATE KEY-----",
            &jwt,
            &api_token,
            &seed,
        ] {
            let text = format!("first line\nsecond: \"{secret}\"\nthird");
            let found = find(&text, &["hunter2"]).expect(secret);
            assert!(found.contains("second: ") && !found.contains("first"), "{found}");
            assert!(!found.contains(&secret[secret.len() - 6..]), "{found}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in [
            "",
            "the token is malformed",
            "ecloud_…",
            "eyJhbGciOiJIUzI1NiJ9.x.y",
            "auth.session.01a214b0-2c34-76a6-80c5-091fb651bf82.created",
            "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
        ] {
            assert_eq!(find(text, &["hunter2"]), None);
        }
    }
}
