//! What names may be: usernames, display names, labels.

use std::fmt;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

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
    /// A character that is not seen, or changes the direction of others: two names
    /// would look the same, or one like another.
    InvisibleCharacter,
    /// White space at its start or end, which nobody sees.
    OuterSpace,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "must not be empty"),
            Self::TooLong(max) => write!(f, "must have at most {max} characters"),
            Self::ControlCharacter => write!(f, "must not contain control characters"),
            Self::InvisibleCharacter => {
                write!(f, "must not contain characters that are invisible or change its direction")
            }
            Self::OuterSpace => write!(f, "must not start or end with white space"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A username.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    text: String,
    canonical: String,
}

impl Username {
    /// Takes a username, without the white space around it: 1 to
    /// [`USERNAME_MAX_CHARS`] characters, none of them a control character or one
    /// that can't be seen.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] that applies.
    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        let text = typed.trim();
        check_name(text, USERNAME_MAX_CHARS)?;
        let canonical = canonical(text);
        // One character can become eighteen (U+FDFA), so the limit counts again.
        if canonical.chars().nth(USERNAME_MAX_CHARS).is_some() {
            return Err(Refusal::TooLong(USERNAME_MAX_CHARS));
        }
        if canonical.is_empty() {
            return Err(Refusal::InvisibleCharacter);
        }
        Ok(Self { text: text.to_owned(), canonical })
    }

    /// The name as its user writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What all spellings of the name have in common, and no other name has.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// `toNFKC_Casefold` (Unicode Standard, section 3.13.5, rule R5): folding undoes
/// what normalising does and the other way round, hence twice. `lower` is not
/// enough: it knows one of `ß`, `ẞ` and `ss`, and not that `ﬁ` is `fi`.
#[must_use]
pub fn canonical(text: &str) -> String {
    text.chars()
        .filter(|c| !is_joiner(*c))
        .nfd()
        .default_case_fold()
        .nfkd()
        .default_case_fold()
        .nfkc()
        .collect()
}

/// Checks a display name: at most [`DISPLAY_NAME_MAX_CHARS`] characters, none
/// of them a control character. An empty one is allowed.
///
/// # Errors
///
/// The first [`Refusal`] that applies.
pub fn check_display_name(text: &str) -> Result<(), Refusal> {
    check_shown(text, DISPLAY_NAME_MAX_CHARS)
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
    check_shown(text, max_chars)?;
    if text.trim() == text { Ok(()) } else { Err(Refusal::OuterSpace) }
}

/// The part that every text shares that people see.
fn check_shown(text: &str, max_chars: usize) -> Result<(), Refusal> {
    check_length_and_characters(text, max_chars)?;
    if text.chars().any(is_invisible) {
        return Err(Refusal::InvisibleCharacter);
    }
    Ok(())
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

/// Characters that a password may have and a name may not: they direct the text
/// around them (Unicode Standard Annex 9, section 2), separate lines, or take no
/// room.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// What scripts and emoji need between or behind characters, and no name differs by.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(typed: &str) -> Refusal {
        Username::parse(typed).expect_err(typed)
    }

    #[test]
    fn usernames() {
        let text = |typed: &str| Username::parse(typed).expect(typed).as_str().to_owned();
        assert_eq!(text("ada"), "ada");
        assert_eq!(
            text(" Ada Lovelace <ada@example.org>\u{2003}"),
            "Ada Lovelace <ada@example.org>"
        );
        assert_eq!(text(&"ä".repeat(254)), "ä".repeat(254));
        assert_eq!(refused(""), Refusal::Empty);
        assert_eq!(refused(" \u{a0} "), Refusal::Empty);
        assert_eq!(refused(&"a".repeat(255)), Refusal::TooLong(254));
        assert_eq!(refused(&"\u{fdfa}".repeat(20)), Refusal::TooLong(254));
        assert_eq!(refused("a\0b"), Refusal::ControlCharacter);
        assert_eq!(refused("a\u{85}b"), Refusal::ControlCharacter);
    }

    /// Where a name ends, and in which direction it runs, is not for it to say.
    #[test]
    fn what_can_not_be_seen_is_no_part_of_a_name() {
        for c in [
            '\u{202e}',
            '\u{202a}',
            '\u{2066}',
            '\u{2069}',
            '\u{200e}',
            '\u{200f}',
            '\u{61c}',
            '\u{200b}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{2028}',
            '\u{3164}',
            '\u{e0041}',
        ] {
            let name = format!("a{c}b");
            assert_eq!(refused(&name), Refusal::InvisibleCharacter, "{c:?}");
            assert_eq!(check_display_name(&name), Err(Refusal::InvisibleCharacter), "{c:?}");
            assert_eq!(check_label(&name), Err(Refusal::InvisibleCharacter), "{c:?}");
        }
        assert_eq!(refused("\u{200d}"), Refusal::InvisibleCharacter);
        assert_eq!(check_display_name("\u{1f469}\u{200d}\u{1f680}"), Ok(()));
    }

    #[test]
    fn spellings_of_a_name_are_one_name() {
        let canonical = |typed: &str| Username::parse(typed).expect(typed).canonical().to_owned();
        for (one, other) in [
            ("Ada", "aDA"),
            ("STRASSE", "Straße"),
            ("STRA\u{1e9e}E", "straße"),
            ("\u{130}stanbul", "i\u{307}stanbul"),
            ("Zo\u{eb}", "ZOE\u{308}"),
            ("\u{fb01}n", "FIN"),
            ("\u{ff21}da", "ada"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("a\u{200d}da", "ada"),
            ("\u{1c5}", "\u{1c4}"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
            let again = canonical(one);
            assert_eq!(canonical(&again), again, "{one}");
        }
        for (one, other) in [("ada", "adá"), ("istanbul", "\u{130}stanbul"), ("a b", "ab")] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
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
