//! Passwords that are guessed first.
//!
//! A password has to have eight characters beside what an attacker writes down
//! without thinking: a common password, a name of its user, a repetition, a run
//! along the alphabet (NIST SP 800-63B-4, section 3.1.1.2: common values and
//! context-specific words). There is no rule about kinds of characters.

use std::fmt;

use passwords::analyzer;
use unicode_normalization::UnicodeNormalization;

use crate::password::LOWEST_MIN_CHARS;

/// The shortest entry of the table that counts, in characters: it has single
/// characters and syllables as well, which are part of anything.
const SHORTEST_COMMON: usize = 5;

/// The shortest run of one character that counts: words have double letters.
const SHORTEST_RUN: usize = 3;

/// The shortest part of a name that counts as a word of it, in characters.
const SHORTEST_WORD: usize = 3;

/// What a password is little more than. Displayed as a predicate of the field's
/// name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// One of the hundred thousand most common passwords.
    Common,
    /// A name of its user.
    Context,
    /// The same characters over and over.
    Repetition,
    /// Characters in the order of the alphabet, or of the digits.
    Sequence,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must not be little more than ")?;
        f.write_str(match self {
            Self::Common => "a common password",
            Self::Context => "the username or the display name",
            Self::Repetition => "a repetition",
            Self::Sequence => "a sequence like abcd or 1234",
        })
    }
}

/// What a password is little more than, if anything. `context` is how its user is
/// called.
pub(crate) fn weakness(password: &str, context: &[&str]) -> Option<Weakness> {
    let lower: Vec<char> = password.to_lowercase().chars().collect();
    if is_context(&lower, context) {
        return Some(Weakness::Context);
    }
    if is_repetition(&lower) {
        return Some(Weakness::Repetition);
    }
    if is_common(password) || has_common_part(&lower) {
        return Some(Weakness::Common);
    }
    let runs = analyzer::analyze(password).progressive_count() + in_runs(&lower);
    (lower.len().saturating_sub(runs) < LOWEST_MIN_CHARS).then_some(Weakness::Sequence)
}

/// How many characters are in runs of the same one.
fn in_runs(password: &[char]) -> usize {
    let runs = password.chunk_by(|one, next| one == next).map(<[char]>::len);
    runs.filter(|length| *length >= SHORTEST_RUN).sum()
}

/// The table's own spelling: `Password` and `password` are both in it, most are in
/// lower case only.
fn is_common(text: &str) -> bool {
    analyzer::is_common_password(text)
}

/// Whether a common password leaves too little of this one. Only parts that are
/// nearly as long as the whole are looked at: at most 36.
fn has_common_part(password: &[char]) -> bool {
    (0..LOWEST_MIN_CHARS).any(|left| {
        let length = password.len().saturating_sub(left);
        length >= SHORTEST_COMMON
            && password.windows(length).any(|part| is_common(&part.iter().collect::<String>()))
    })
}

/// Whether the words of the names leave too little.
fn is_context(password: &[char], context: &[&str]) -> bool {
    let normalized = |name: &&str| name.nfkc().collect::<String>().to_lowercase();
    let names: Vec<String> = context.iter().map(normalized).collect();
    let parts = names.iter().flat_map(|name| name.split(|c: char| !c.is_alphanumeric()));
    let mut words: Vec<&str> = names.iter().map(String::as_str).chain(parts).collect();
    words.retain(|word| word.chars().count() >= SHORTEST_WORD);
    // The longest first: a part must not break the whole.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let password: String = password.iter().collect();
    let rest = words.iter().fold(password.clone(), |rest, word| rest.replace(word, ""));
    rest != password && rest.chars().count() < LOWEST_MIN_CHARS
}

/// Whether fewer than eight characters, or a common password, make the whole by
/// being repeated.
fn is_repetition(password: &[char]) -> bool {
    (1..=password.len() / 2).any(|unit| {
        password[unit..].iter().zip(password).all(|(later, earlier)| later == earlier)
            && (unit < LOWEST_MIN_CHARS || is_common(&password[..unit].iter().collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_weak(password: &str, context: &[&str], expected: Weakness) {
        assert_eq!(weakness(password, context), Some(expected), "{password}");
    }

    #[test]
    fn a_common_password_with_a_little_around_it_is_weak() {
        for password in [
            "1234567890qwertyuiop",
            "football2026!!!",
            "Password1234567",
            "!!PRINCESS2026!",
            "iloveyou",
        ] {
            assert_weak(password, &[], Weakness::Common);
        }
    }

    #[test]
    fn names_of_the_user_are_weak() {
        let names = ["ada.lovelace@example.org", "Ada Lovelace"];
        for password in
            ["AdaLovelace1815", "ada.lovelace@example.org", "lovelace-ada-ada", "exampleLovelace!"]
        {
            assert_weak(password, &names, Weakness::Context);
        }
        assert_eq!(weakness("ada likes analytical engines", &names), None);
        let wide = ["Rene\u{301}e", "\u{ff32}ene\u{301}e"];
        assert_weak("renée1815renée", &wide, Weakness::Context);
        // Two letters are no word, and nothing is not in every password.
        assert_eq!(weakness("jo has a long password", &["jo", ""]), None);
    }

    #[test]
    fn repetitions_and_sequences_are_weak() {
        assert_weak("xkqxkqxkqxkqxkqxkq", &[], Weakness::Repetition);
        assert_weak("zzzzzzzzzzzzzzzz", &[], Weakness::Repetition);
        assert_weak("xkqxkqxkqxkqxkqxk", &[], Weakness::Repetition);
        assert_weak("ghijklmnopqrstuvw", &[], Weakness::Sequence);
        assert_weak("zyxwvutsrq87654!", &[], Weakness::Sequence);
        // Eight characters that nobody guesses, twice.
        assert_eq!(weakness("k3vd9wqxk3vd9wqx", &[]), None);
    }

    #[test]
    fn what_is_left_may_be_anything() {
        for password in [
            "correct horse battery staple",
            "correcthorsebatterystaple",
            "wrong donkey engine paperclip",
            "wagon zebra fifteen moon",
            "пароль из длинных слов",
            "四月是你的谎言和一只猫和一条鱼",
            "a7Gk!pQ2vLx9@Wz",
            "committeebookkeeper",
            "k3vvd9wq",
            "Tq7#mZ1p",
            "x0!b4azcQ",
        ] {
            assert_eq!(weakness(password, &["ada"]), None, "{password}");
        }
    }
}
