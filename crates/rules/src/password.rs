//! The password policy (NIST SP 800-63B-4, section 3.1.1) and its hash.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use unicode_normalization::UnicodeNormalization;

use crate::text;

/// Length that is asked for unless the configuration says otherwise, in
/// characters: NIST's figure for a password that is the only factor.
pub const DEFAULT_MIN_CHARS: usize = 15;

/// The lowest minimum that may be configured, in characters.
pub const LOWEST_MIN_CHARS: usize = 8;

/// Longest password, in characters. Longer ones are refused, never cut.
pub const MAX_CHARS: usize = 256;

/// Memory of one hash, in KiB. With [`PASSES`] and one lane this is one of the
/// five settings of equal strength in OWASP's Password Storage Cheat Sheet, the
/// one that a fresh WebAssembly instance computes fastest.
pub const MEMORY_KIB: u32 = 7168;

/// Passes over that memory.
pub const PASSES: u32 = 5;

const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 32;

/// A hash of a password that nobody has: what a login with an unknown username
/// is checked against, so that it costs what a wrong password costs.
pub const DUMMY_HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$cVZ0b2x0d2tXeGZlS3NHag\
                              $7Yc4bPb8xGv6N9tO1m7kGk0u6bq1M8x3cXq5l9eW2aE";

/// A password as a person typed it, in Unicode normalisation form KC, so that
/// the same password from another keyboard is the same bytes. `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a password is refused. Displayed as a predicate of the field's name:
/// "`new_password` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Fewer characters than the given number.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// Too long, or with characters that no password can have.
    #[error("{0}")]
    Text(text::Refusal),
}

impl Password {
    /// Takes a password that is to be compared with a stored one: only what can
    /// never have been stored is refused.
    ///
    /// # Errors
    ///
    /// [`text::Refusal`] when it is empty, longer than [`MAX_CHARS`], or holds
    /// a control character.
    pub fn presented(typed: &str) -> Result<Self, text::Refusal> {
        if typed.is_empty() {
            return Err(text::Refusal::Empty);
        }
        text::check_length_and_characters(typed, MAX_CHARS)?;
        let normalized: String = typed.nfkc().collect();
        // One character can become eighteen (U+FDFA), so the limit counts again.
        text::check_length_and_characters(&normalized, MAX_CHARS)?;
        Ok(Self(normalized))
    }

    /// Takes a password that somebody wants to have from now on.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when it is one that [`Password::presented`] refuses, or has
    /// fewer than `min_chars` characters.
    pub fn chosen(typed: &str, min_chars: usize) -> Result<Self, Refusal> {
        let password = Self::presented(typed).map_err(Refusal::Text)?;
        if password.0.chars().count() < min_chars {
            return Err(Refusal::TooShort(min_chars));
        }
        Ok(password)
    }

    /// The PHC string of this password under a new random salt, with the
    /// parameters above.
    ///
    /// # Errors
    ///
    /// [`HashError`] when the system has no randomness or no memory to give.
    pub fn hash(&self) -> Result<String, HashError> {
        argon2id()?
            .hash_password(self.0.as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| HashError(error.to_string()))
    }

    /// Compares this password with a stored PHC string, under the parameters
    /// that the string names.
    ///
    /// # Errors
    ///
    /// [`HashError`] when the stored string is not one that can be computed.
    pub fn verify(&self, stored: &str) -> Result<Verdict, HashError> {
        let hash = PasswordHash::new(stored).map_err(|error| HashError(error.to_string()))?;
        match argon2id()?.verify_password(self.0.as_bytes(), &hash) {
            Ok(()) if is_current(&hash) => Ok(Verdict::Match),
            Ok(()) => Ok(Verdict::MatchOutdated),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verdict::Mismatch),
            Err(error) => Err(HashError(error.to_string())),
        }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match,
    /// The password is right, and its hash should be made anew with today's
    /// parameters.
    MatchOutdated,
    /// The password is wrong.
    Mismatch,
}

/// A hash could not be computed. Never the caller's fault.
#[derive(Debug, Clone, thiserror::Error)]
#[error("password hash: {0}")]
pub struct HashError(String);

fn argon2id() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES))
        .map_err(|error| HashError(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_current(hash: &PasswordHash) -> bool {
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash).is_ok_and(|params| {
            params.m_cost() == MEMORY_KIB && params.t_cost() == PASSES && params.p_cost() == LANES
        })
        && hash.hash.as_ref().is_some_and(|output| output.len() == OUTPUT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(text: &str) -> Password {
        Password::presented(text).expect("the password of a test is acceptable")
    }

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let hash = presented("correct horse battery staple").hash().expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
        let verify = |text: &str| presented(text).verify(&hash).expect("verifies");
        assert_eq!(verify("correct horse battery staple"), Verdict::Match);
        assert_eq!(verify("correct horse battery stapler"), Verdict::Mismatch);
    }

    #[test]
    fn the_dummy_hash_costs_what_a_real_one_costs_and_matches_nothing() {
        let dummy = PasswordHash::new(DUMMY_HASH).expect("the dummy is a PHC string");
        assert!(is_current(&dummy));
        assert_eq!(presented("anything").verify(DUMMY_HASH).expect("verifies"), Verdict::Mismatch);
    }

    #[test]
    fn other_parameters_verify_and_ask_for_a_new_hash() {
        let params = Params::new(8 * 1024, 2, 1, Some(32)).expect("valid parameters");
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(b"correct horse battery staple")
            .expect("hashes")
            .to_string();
        let verdict = presented("correct horse battery staple").verify(&old).expect("verifies");
        assert_eq!(verdict, Verdict::MatchOutdated);
    }

    #[test]
    fn a_corrupt_hash_is_an_error_and_not_a_mismatch() {
        assert!(presented("anything").verify("not a hash").is_err());
    }

    #[test]
    fn forms_of_the_same_text_are_the_same_password() {
        let composed = presented("Zo\u{eb}'s long password").hash().expect("hashes");
        let decomposed = presented("Zoe\u{308}'s long password");
        assert_eq!(decomposed.verify(&composed).expect("verifies"), Verdict::Match);
    }

    #[test]
    fn the_policy_counts_characters() {
        assert!(Password::chosen(&"ä".repeat(15), 15).is_ok());
        let refused = |text: &str| Password::chosen(text, 15).expect_err("refused");
        assert_eq!(refused(&"a".repeat(14)), Refusal::TooShort(15));
        assert_eq!(refused(""), Refusal::Text(text::Refusal::Empty));
        assert_eq!(refused(&"a".repeat(257)), Refusal::Text(text::Refusal::TooLong(256)));
        assert_eq!(refused(&"\u{fdfa}".repeat(100)), Refusal::Text(text::Refusal::TooLong(256)));
        assert_eq!(
            refused("a password with a \0 in it"),
            Refusal::Text(text::Refusal::ControlCharacter)
        );
        assert!(Password::chosen(&"a".repeat(256), 15).is_ok());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", presented("hunter2")), "Password(…)");
    }
}
