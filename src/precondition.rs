//! `If-Match` (RFC 9110, section 13.1.1): a change that is made only to the
//! version that the client has seen.

use crate::error::Error;
use crate::http::Request;

/// The versions that `If-Match` allows, as the SQL function `version_matches`
/// takes them: `3,4`. `None` when any will do: there is no such header, or it is
/// `*`. Tags that are not of a version, and weak ones, match nothing.
///
/// # Errors
///
/// [`Error::InvalidField`] when the header is no list of entity tags.
pub(crate) fn versions(request: &Request) -> Result<Option<String>, Error> {
    let mut any = false;
    let mut present = false;
    let mut versions: Vec<String> = Vec::new();
    for line in request.header_values("if-match") {
        present = true;
        let line = std::str::from_utf8(line).map_err(|_| malformed())?.trim_matches([' ', '\t']);
        if line == "*" {
            any = true;
            continue;
        }
        for (weak, opaque) in tags(line)? {
            let version = opaque.parse::<i64>().ok().filter(|version| *version > 0);
            // As it was sent: "03" is another tag than "3".
            if !weak && version.is_some_and(|version| version.to_string() == opaque) {
                versions.push(opaque.to_owned());
            }
        }
    }
    Ok((present && !any).then(|| versions.join(",")))
}

/// The entity tags of a list (section 8.8.3): whether each is weak, and what
/// stands between its quotation marks, which may be a comma.
fn tags(list: &str) -> Result<Vec<(bool, &str)>, Error> {
    let mut tags = Vec::new();
    // Empty elements count for nothing (section 5.6.1.2).
    let mut rest = list.trim_start_matches([' ', '\t', ',']);
    loop {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let opaque = quoted.strip_prefix('"').ok_or_else(malformed)?;
        let (opaque, after) = opaque.split_once('"').ok_or_else(malformed)?;
        tags.push((weak, opaque));
        let next = after.trim_start_matches([' ', '\t', ',']);
        if next.is_empty() {
            return Ok(tags);
        }
        if !after.trim_start_matches([' ', '\t']).starts_with(',') {
            return Err(malformed());
        }
        rest = next;
    }
}

fn malformed() -> Error {
    Error::field("If-Match", "must be * or a list of entity tags, like the ETag that you were sent")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn versions_of(lines: &[&str]) -> Result<Option<String>, Error> {
        let headers: Vec<(&str, &[u8])> =
            lines.iter().map(|line| ("if-match", line.as_bytes())).collect();
        versions(&Request::of_test(&headers, ""))
    }

    #[test]
    fn tags_are_versions() {
        for (lines, expected) in [
            (&[][..], None),
            (&["*"], None),
            (&["\"3\""], Some("3")),
            (&["\"3\", \"4\" ,\"5\""], Some("3,4,5")),
            (&["\"3\"", "\"4\""], Some("3,4")),
            (&[", \"3\",, \"4\","], Some("3,4")),
            // Nothing of these is a current version, ever.
            (&["W/\"3\""], Some("")),
            (&["\"a,b\", \"\", \"-3\", \"03\""], Some("")),
        ] {
            assert_eq!(versions_of(lines).expect("well-formed").as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for line in ["", ",", "3", "\"3", "\"3\" \"4\"", "w/\"3\"", "*, \"3\""] {
            assert!(versions_of(&[line]).is_err(), "{line}");
        }
    }

    /// A tag of a version, or one that looks much like it: weak or not, and what it quotes.
    fn a_tag() -> impl Strategy<Value = (bool, String)> {
        let opaque = prop_oneof![
            (1..=i64::MAX).prop_map(|version| version.to_string()),
            "[0-9+, *W/-]{0,20}",
            "[!#-~]{0,6}",
        ];
        (any::<bool>(), opaque)
    }

    proptest! {
        #[test]
        fn versions_are_the_strong_tags_of_positive_numbers(
            tags in prop::collection::vec((a_tag(), "[ \t]{0,2},[ \t,]{0,2}"), 1..6),
        ) {
            let mut line = String::new();
            let mut expected = Vec::new();
            for ((weak, opaque), separator) in &tags {
                line.push_str(if *weak { "W/" } else { "" });
                line.extend(["\"", opaque, "\"", separator]);
                let canonical = opaque.parse::<i64>().is_ok_and(|n| n > 0 && n.to_string() == *opaque);
                if canonical && !weak {
                    expected.push(opaque.as_str());
                }
            }
            let versions = versions_of(&[&line]).expect("well-formed");
            prop_assert_eq!(versions, Some(expected.join(",")), "{}", line);
        }

        #[test]
        fn whatever_is_sent_sql_gets_numbers_and_commas(
            lines in prop::collection::vec(
                "((W/)?\"[0-9;'\u{e4}+-]{0,2}\"[, ]){0,2}|[\"W/*, 0-9a;'\u{e4}-]{0,12}",
                0..3,
            ),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            if let Ok(Some(versions)) = versions_of(&lines) {
                let numbers = |v: &str| v.split(',').all(|n| n.parse::<i64>().is_ok_and(|n| n > 0));
                prop_assert!(versions.is_empty() || numbers(&versions), "{}", versions);
            }
        }
    }
}
