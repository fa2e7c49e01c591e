//! The password policy (NIST SP 800-63B-4, section 3.1.1) and its hash.

use std::fmt;
use std::ops::RangeInclusive;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use unicode_normalization::UnicodeNormalization;

use crate::guess::{self, Weakness};
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

/// Most memory of an imported Argon2 hash, in KiB: the largest of OWASP's settings
/// but one, and what an instance of the component has room for.
pub const IMPORT_MAX_MEMORY_KIB: u32 = 19_456;

/// Most passes of an imported Argon2 hash.
pub const IMPORT_MAX_PASSES: u32 = 10;

/// Costs of an imported bcrypt hash. At 14 a login takes a second.
pub const IMPORT_BCRYPT_COSTS: RangeInclusive<u32> = 4..=14;

/// What bcrypt looks at, in bytes.
const BCRYPT_MAX_BYTES: usize = 72;

/// A password as a person typed it, and in Unicode normalisation form KC, so that
/// the same password from another keyboard is the same bytes. `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct Password {
    typed: String,
    normalized: String,
}

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
    /// Guessed first.
    #[error("{0}")]
    Weak(Weakness),
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
        Ok(Self { typed: typed.to_owned(), normalized })
    }

    /// Takes a password that somebody wants to have from now on.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when it is one that [`Password::presented`] refuses, has fewer
    /// than `min_chars` characters, or is guessed first. `context` is how its user
    /// is called: no password is made of that.
    pub fn chosen(typed: &str, min_chars: usize, context: &[&str]) -> Result<Self, Refusal> {
        let password = Self::presented(typed).map_err(Refusal::Text)?;
        if password.normalized.chars().count() < min_chars {
            return Err(Refusal::TooShort(min_chars));
        }
        match guess::weakness(&password.normalized, context) {
            Some(weakness) => Err(Refusal::Weak(weakness)),
            None => Ok(password),
        }
    }

    /// The PHC string of this password under a new random salt, with the
    /// parameters above.
    ///
    /// # Errors
    ///
    /// [`HashError`] when the system has no randomness or no memory to give.
    pub fn hash(&self) -> Result<String, HashError> {
        argon2id()?
            .hash_password(self.normalized.as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| HashError(error.to_string()))
    }

    /// Compares this password with a stored PHC string, under the parameters
    /// that the string names, or with the bcrypt hash of an imported user.
    ///
    /// # Errors
    ///
    /// [`HashError`] when the stored string is not one that can be computed.
    pub fn verify(&self, stored: &str) -> Result<Verdict, HashError> {
        if is_bcrypt(stored) {
            return self.verify_bcrypt(stored);
        }
        let hash = PasswordHash::new(stored).map_err(|error| HashError(error.to_string()))?;
        if argon2_matches(&self.normalized, &hash)? {
            return Ok(if is_current(&hash) { Verdict::Match } else { Verdict::MatchOutdated });
        }
        // An imported hash is one of what was typed. That a second one is computed
        // depends on the password that was sent, and not on the user.
        if self.typed != self.normalized && argon2_matches(&self.typed, &hash)? {
            return Ok(Verdict::MatchOutdated);
        }
        Ok(Verdict::Mismatch)
    }

    /// Other systems hash what is typed and do not normalise. bcrypt looks at 72
    /// bytes: a longer password is compared, so that it takes as long, and never
    /// right, since whatever follows them would be.
    fn verify_bcrypt(&self, stored: &str) -> Result<Verdict, HashError> {
        let matches = bcrypt::verify(self.typed.as_bytes(), stored)
            .map_err(|error| HashError(error.to_string()))?;
        Ok(if matches && self.typed.len() <= BCRYPT_MAX_BYTES {
            Verdict::MatchOutdated
        } else {
            Verdict::Mismatch
        })
    }
}

/// Whether this is a bcrypt hash. `$2x$` marks those of a faulty implementation.
fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

/// Checks the hash of a user that comes from another system: what a login can
/// compute, in the memory and the time that it has.
///
/// # Errors
///
/// A predicate that does not quote the hash.
pub fn check_imported(hash: &str) -> Result<(), String> {
    if is_bcrypt(hash) {
        let parts: bcrypt::HashParts =
            hash.parse().map_err(|_| "is not a whole bcrypt hash".to_owned())?;
        let costs = IMPORT_BCRYPT_COSTS;
        return if costs.contains(&parts.get_cost()) {
            Ok(())
        } else {
            Err(format!("must have a cost from {} to {}", costs.start(), costs.end()))
        };
    }
    let wanted = "must be a bcrypt hash ($2a$, $2b$, $2y$) or a PHC string of argon2id or argon2i";
    let phc = PasswordHash::new(hash).map_err(|_| wanted.to_owned())?;
    let is_argon2 =
        [Algorithm::Argon2id, Algorithm::Argon2i].iter().any(|a| a.ident() == phc.algorithm);
    let has_version = phc.version == Some(Version::V0x13.into());
    let has_output = phc.salt.is_some() && phc.hash.as_ref().is_some_and(|hash| hash.len() >= 16);
    if !is_argon2 || !has_version || !has_output {
        return Err(format!("{wanted}, version 19, with a salt and 16 bytes of hash or more"));
    }
    let params = Params::try_from(&phc).map_err(|_| "has no parameters of Argon2".to_owned())?;
    if params.m_cost() > IMPORT_MAX_MEMORY_KIB || params.t_cost() > IMPORT_MAX_PASSES {
        return Err(format!(
            "must have at most m={IMPORT_MAX_MEMORY_KIB} and t={IMPORT_MAX_PASSES}"
        ));
    }
    Ok(())
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

fn argon2_matches(text: &str, hash: &PasswordHash) -> Result<bool, HashError> {
    match argon2id()?.verify_password(text.as_bytes(), hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(HashError(error.to_string())),
    }
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
        assert!(Password::chosen("zwölf Böen, Öl!", 15, &[]).is_ok());
        let refused = |text: &str| Password::chosen(text, 15, &[]).expect_err("refused");
        assert_eq!(refused(&"a".repeat(14)), Refusal::TooShort(15));
        assert_eq!(refused(""), Refusal::Text(text::Refusal::Empty));
        assert_eq!(refused(&"a".repeat(257)), Refusal::Text(text::Refusal::TooLong(256)));
        assert_eq!(refused(&"\u{fdfa}".repeat(100)), Refusal::Text(text::Refusal::TooLong(256)));
        assert_eq!(
            refused("a password with a \0 in it"),
            Refusal::Text(text::Refusal::ControlCharacter)
        );
        let long: String = (0..256_u32).map(|i| (b'!' + (i * i * 7 % 89) as u8) as char).collect();
        assert!(Password::chosen(&long, 15, &[]).is_ok());
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        let refused =
            |text: &str| Password::chosen(text, 15, &["ada.lovelace"]).expect_err("refused");
        assert_eq!(refused("1234567890qwertyuiop"), Refusal::Weak(Weakness::Common));
        assert_eq!(refused("Ada Lovelace 1815"), Refusal::Weak(Weakness::Context));
        // Wide letters are the same letters.
        let wide = "\u{ff41}\u{ff44}\u{ff41}.lovelace 1815";
        assert_eq!(refused(wide), Refusal::Weak(Weakness::Context));
    }

    #[test]
    fn bcrypt_verifies_and_asks_for_a_new_hash() {
        let hash = bcrypt::hash_with_salt("correct horse battery staple", 4, *b"0123456789abcdef")
            .expect("hashes");
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let stored = hash.format_for_version(version);
            let verify = |text: &str| presented(text).verify(&stored).expect("verifies");
            assert_eq!(verify("correct horse battery staple"), Verdict::MatchOutdated, "{stored}");
            assert_eq!(verify("correct horse battery stapler"), Verdict::Mismatch);
        }
        assert!(presented("a").verify("$2b$04$short").is_err());
        assert!(presented("a").verify(&hash.format_for_version(bcrypt::Version::TwoX)).is_err());
    }

    #[test]
    fn bcrypt_cuts_nothing_off() {
        let typed = "a".repeat(72);
        let hash = |text: &str| {
            bcrypt::hash_with_salt(text, 4, *b"0123456789abcdef").expect("hashes").to_string()
        };
        let stored = hash(&typed);
        assert_eq!(presented(&typed).verify(&stored).expect("verifies"), Verdict::MatchOutdated);
        let longer = format!("{typed}b");
        assert_eq!(hash(&longer), stored, "bcrypt itself sees no difference");
        assert_eq!(presented(&longer).verify(&stored).expect("verifies"), Verdict::Mismatch);
    }

    #[test]
    fn an_imported_hash_is_one_of_what_was_typed() {
        let typed = "Stra\u{df}e, x\u{b2}, \u{ff57}ide";
        let params = Params::new(8 * 1024, 2, 1, Some(32)).expect("valid parameters");
        let stored = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(typed.as_bytes())
            .expect("hashes")
            .to_string();
        assert_eq!(presented(typed).verify(&stored).expect("verifies"), Verdict::MatchOutdated);
        assert_eq!(presented("another").verify(&stored).expect("verifies"), Verdict::Mismatch);
    }

    #[test]
    fn bcrypt_gets_what_was_typed() {
        let typed = "\u{ff50}assword, wide";
        let stored = bcrypt::hash_with_salt(typed, 4, *b"0123456789abcdef").expect("hashes");
        let verdict = presented(typed).verify(&stored.to_string()).expect("verifies");
        assert_eq!(verdict, Verdict::MatchOutdated);
    }

    #[test]
    fn a_hash_is_imported_when_a_login_can_compute_it() {
        let bcrypt = |cost: u32| {
            format!("$2y${cost:02}$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232")
        };
        let argon2 = |kind: &str, params: &str| {
            format!(
                "${kind}$v=19${params}$c29tZXNhbHRzb21lc2FsdA$7Yc4bPb8xGv6N9tO1m7kGk0u6bq1M8x3cXq5l9eW2aE"
            )
        };
        for hash in [
            bcrypt(4),
            bcrypt(14),
            argon2("argon2id", "m=19456,t=2,p=1"),
            argon2("argon2i", "m=4096,t=3,p=1"),
        ] {
            assert_eq!(check_imported(&hash), Ok(()), "{hash}");
            assert!(presented("x").verify(&hash).is_ok(), "{hash}");
        }
        for hash in [
            String::new(),
            "plain text".to_owned(),
            "5f4dcc3b5aa765d61d8327deb882cf99".to_owned(),
            bcrypt(3),
            bcrypt(15),
            bcrypt(10).replace("$2y$", "$2x$"),
            bcrypt(10)[..59].to_owned(),
            argon2("argon2d", "m=4096,t=3,p=1"),
            argon2("argon2id", "m=65536,t=3,p=4"),
            argon2("argon2id", "m=4096,t=11,p=1"),
            argon2("argon2id", "m=4096,t=3,p=1").replace("v=19", "v=16"),
            "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(),
            "$scrypt$ln=15,r=8,p=1$c2FsdA$aGFzaA".to_owned(),
        ] {
            let refusal = check_imported(&hash).expect_err(&hash);
            assert!(hash.is_empty() || !refusal.contains(&hash), "{refusal}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", presented("hunter2")), "Password(…)");
    }
}
