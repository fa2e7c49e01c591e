//! What names may be: usernames, display names, labels.

use std::fmt;

/// Longest username, in characters.
pub const USERNAME_MAX_CHARS: usize = 254;

/// Longest display name, in characters.
pub const DISPLAY_NAME_MAX_CHARS: usize = 256;

/// Longest label, in characters.
pub const LABEL_MAX_CHARS: usize = 100;

/// Why a text is refused. Displayed as a predicate of the field's name:
/// "`username` …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing in it.
    Empty,
    /// More characters than the given number.
    TooLong(usize),
    /// A control character, which PostgreSQL (NUL), logs and terminals can't hold.
    ControlCharacter,
    /// White space at its start or end, which nobody sees.
    OuterSpace,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "must not be empty"),
            Self::TooLong(max) => write!(f, "must have at most {max} characters"),
            Self::ControlCharacter => write!(f, "must not contain control characters"),
            Self::OuterSpace => write!(f, "must not start or end with white space"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Checks a username: 1 to [`USERNAME_MAX_CHARS`] characters, none of them a
/// control character, no white space around it.
///
/// # Errors
///
/// The first [`Refusal`] that applies.
pub fn check_username(text: &str) -> Result<(), Refusal> {
    check_name(text, USERNAME_MAX_CHARS)
}

/// Checks a display name: at most [`DISPLAY_NAME_MAX_CHARS`] characters, none
/// of them a control character. An empty one is allowed.
///
/// # Errors
///
/// The first [`Refusal`] that applies.
pub fn check_display_name(text: &str) -> Result<(), Refusal> {
    check_length_and_characters(text, DISPLAY_NAME_MAX_CHARS)
}

/// Checks a label, which is what a user calls a thing of its own: 1 to
/// [`LABEL_MAX_CHARS`] characters, none of them a control character, no white
/// space around it.
///
/// # Errors
///
/// The first [`Refusal`] that applies.
pub fn check_label(text: &str) -> Result<(), Refusal> {
    check_name(text, LABEL_MAX_CHARS)
}

fn check_name(text: &str, max_chars: usize) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    check_length_and_characters(text, max_chars)?;
    if text.trim() == text { Ok(()) } else { Err(Refusal::OuterSpace) }
}

/// The part that every text a person types shares.
pub(crate) fn check_length_and_characters(text: &str, max_chars: usize) -> Result<(), Refusal> {
    if text.chars().nth(max_chars).is_some() {
        return Err(Refusal::TooLong(max_chars));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        assert_eq!(check_username("ada"), Ok(()));
        assert_eq!(check_username("Ada Lovelace <ada@example.org>"), Ok(()));
        assert_eq!(check_username(&"ä".repeat(254)), Ok(()));
        assert_eq!(check_username(""), Err(Refusal::Empty));
        assert_eq!(check_username(&"a".repeat(255)), Err(Refusal::TooLong(254)));
        assert_eq!(check_username("a\0b"), Err(Refusal::ControlCharacter));
        assert_eq!(check_username("a\u{85}b"), Err(Refusal::ControlCharacter));
        assert_eq!(check_username(" ada"), Err(Refusal::OuterSpace));
        assert_eq!(check_username("ada\u{2003}"), Err(Refusal::OuterSpace));
    }

    #[test]
    fn labels() {
        assert_eq!(check_label("CI of the wiki"), Ok(()));
        assert_eq!(check_label(""), Err(Refusal::Empty));
        assert_eq!(check_label(&"a".repeat(101)), Err(Refusal::TooLong(100)));
        assert_eq!(check_label("CI "), Err(Refusal::OuterSpace));
    }

    #[test]
    fn display_names() {
        assert_eq!(check_display_name(""), Ok(()));
        assert_eq!(check_display_name(" Ada "), Ok(()));
        assert_eq!(check_display_name("tab\t"), Err(Refusal::ControlCharacter));
        assert_eq!(check_display_name(&"a".repeat(257)), Err(Refusal::TooLong(256)));
    }
}
