//! Tokens of service accounts: what they look like, and how they are made and
//! revoked.
//!
//! `ecloud_`, 32 random letters and digits, and 6 that are a checksum of those.
//! The prefix lets scanners of repositories find a token that was committed; the
//! checksum lets this service refuse a mistyped one without asking the database.

use edd_auth_rules::public_id::ALPHABET;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;

const PREFIX: &str = "ecloud_";

/// Random characters: 190 bits.
const RANDOM_CHARS: usize = 32;

/// Characters of the checksum: enough for 32 bits.
const CHECKSUM_CHARS: usize = 6;

/// A text of the right form and checksum. That there is such a token, only the
/// database knows.
pub(crate) struct ApiToken<'a>(&'a str);

impl<'a> ApiToken<'a> {
    /// A text that may be a token; `None` when it can't be.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        let well_formed = body.len() == RANDOM_CHARS + CHECKSUM_CHARS
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let random = text.get(..text.len() - CHECKSUM_CHARS)?;
        (well_formed && text.strip_prefix(random)? == checksum(random)).then_some(Self(text))
    }

    /// What the database keeps of it.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

/// A new token.
fn generate() -> String {
    let token = format!("{PREFIX}{}", nanoid::nanoid!(RANDOM_CHARS, &ALPHABET));
    let checksum = checksum(&token);
    format!("{token}{checksum}")
}

/// CRC-32 of a token up to its checksum, in base 62, the last digit first.
fn checksum(token: &str) -> String {
    let mut rest = crc32fast::hash(token.as_bytes()) as usize;
    let mut digits = String::new();
    for _ in 0..CHECKSUM_CHARS {
        digits.push(ALPHABET[rest % ALPHABET.len()]);
        rest /= ALPHABET.len();
    }
    digits
}

/// A token as the API shows it once it was made: what the SQL function
/// `api_token_json` returns.
#[derive(Serialize, Deserialize)]
struct TokenInfo {
    token_id: String,
    name: String,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_generated_token_parses_and_no_other_text_does() {
        let token = generate();
        assert!(ApiToken::parse(&token).is_some());
        assert_eq!(token.len(), 45);
        for place in 0..token.len() {
            let mut mistyped = token.clone().into_bytes();
            mistyped[place] = if mistyped[place] == b'x' { b'y' } else { b'x' };
            let mistyped = String::from_utf8(mistyped).expect("text");
            assert!(ApiToken::parse(&mistyped).is_none(), "{mistyped}");
        }
        let swapped = format!("ecloud_{}{}", &token[8..9], &token[7..8]) + &token[9..];
        assert!(token[7..8] == token[8..9] || ApiToken::parse(&swapped).is_none());
        for text in ["", "ecloud_", &token[..44], &format!("{token}0"), &token[7..]] {
            assert!(ApiToken::parse(text).is_none(), "{text}");
        }
        assert!(ApiToken::parse(&"ä".repeat(20)).is_none());
        assert!(ApiToken::parse(&format!("ecloud_{}", "ä".repeat(19))).is_none());
    }

    proptest! {
        #[test]
        fn a_mistyped_token_does_not_parse(
            random in "[0-9A-Za-z]{32}",
            place in prop_oneof![0_usize..45, 39_usize..45],
            typed in "[0-9A-Za-z_]{0,3}",
            missing in 0_usize..3,
        ) {
            let token = format!("{PREFIX}{random}");
            let token = format!("{token}{}", checksum(&token));
            prop_assert!(ApiToken::parse(&token).is_some());
            let end = (place + missing).min(token.len());
            let mistyped = format!("{}{typed}{}", &token[..place], &token[end..]);
            prop_assert!(mistyped == token || ApiToken::parse(&mistyped).is_none(), "{}", mistyped);
        }

        #[test]
        fn any_text_is_looked_at_without_a_panic(text in "(ecloud_)?.{0,45}") {
            let parsed = ApiToken::parse(&text).is_some();
            prop_assert!(!parsed || text.len() == 45, "{}", text);
        }
    }

    #[test]
    fn the_checksum_stays_what_it_is() {
        // Tokens are out there: another checksum would refuse them all.
        assert_eq!(checksum("ecloud_00000000000000000000000000000000"), "IzfaO2");
    }
}
