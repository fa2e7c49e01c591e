//! What a service account may do: scopes, and the actions in each.
//!
//! A scope is `ROOT.OWNER[.RESOURCE[.ID]]`: the service (`sfs`, `compute`), the
//! public id of the user whose things they are, and which of them. Without a
//! resource it is all of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Most scopes of a service account.
pub const MAX_SCOPES: usize = 100;

/// Most actions of a scope.
pub const MAX_ACTIONS: usize = 50;

/// Longest segment of a scope, and longest action, in characters.
pub const MAX_SEGMENT_CHARS: usize = 64;

/// What is shown of a malformed scope, or one of another user, in characters: less than
/// a token has, or a key. Who has put one there does not get it back, into a log perhaps.
const MAX_SHOWN_CHARS: usize = 24;

/// Scope to actions. In JSON an object, in which no scope stands twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scopes(BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Scopes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of scope to actions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scopes, A::Error> {
                let mut scopes = BTreeMap::new();
                while let Some((scope, actions)) = map.next_entry::<String, Vec<String>>()? {
                    if scopes.insert(scope, actions).is_some() {
                        // serde's own map would keep the last one in silence.
                        return Err(A::Error::custom("expected an object with each scope once"));
                    }
                }
                Ok(Scopes(scopes))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Why scopes are refused. Displayed as a predicate of the field's name:
/// "`scopes` …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More scopes than [`MAX_SCOPES`].
    #[error("must have at most {MAX_SCOPES} scopes")]
    TooMany,
    /// Not of the form of a scope.
    #[error(
        "has `{0}`, which is no scope; write ROOT.OWNER, ROOT.OWNER.RESOURCE or \
         ROOT.OWNER.RESOURCE.ID, each of 1 to {MAX_SEGMENT_CHARS} letters, digits, - and _"
    )]
    Form(String),
    /// The second segment is another user.
    #[error("has `{scope}`, whose second segment must be your own public id, {owner}")]
    Owner {
        /// The scope.
        scope: String,
        /// Whose it has to be.
        owner: String,
    },
    /// No actions, or too many.
    #[error("must give `{0}` a list of 1 to {MAX_ACTIONS} actions")]
    ActionCount(String),
    /// An action that is malformed, or stands there twice.
    #[error(
        "has an action of `{0}` that is given twice, or is not 1 to {MAX_SEGMENT_CHARS} letters, \
         digits, - and _"
    )]
    Action(String),
    /// The catalogue has no such root or resource.
    #[error("has `{0}`, which the catalogue of this service does not know")]
    NotInCatalog(String),
    /// The catalogue does not know the action there.
    #[error("has an action of `{scope}` that the catalogue does not know; it knows {known}")]
    ActionNotInCatalog {
        /// The scope.
        scope: String,
        /// The actions that it may have.
        known: String,
    },
}

impl Scopes {
    /// The actions of each scope.
    #[must_use]
    pub fn actions(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }

    /// Checks form, owner and, where there is one, catalogue.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] that applies.
    pub fn check(&self, owner: &str, catalog: Option<&Catalog>) -> Result<(), Refusal> {
        if self.0.len() > MAX_SCOPES {
            return Err(Refusal::TooMany);
        }
        for (scope, actions) in &self.0 {
            let segments: Vec<&str> = scope.split('.').collect();
            if !(2..=4).contains(&segments.len()) || !segments.iter().all(|s| is_segment(s)) {
                return Err(Refusal::Form(shortened(scope)));
            }
            if segments[1] != owner {
                return Err(Refusal::Owner { scope: shortened(scope), owner: owner.to_owned() });
            }
            if actions.is_empty() || actions.len() > MAX_ACTIONS {
                return Err(Refusal::ActionCount(scope.clone()));
            }
            let twice = |place: usize| actions[..place].contains(&actions[place]);
            if (0..actions.len()).any(|place| !is_segment(&actions[place]) || twice(place)) {
                return Err(Refusal::Action(scope.clone()));
            }
            if let Some(catalog) = catalog {
                catalog.check(scope, segments[0], segments.get(2).copied(), actions)?;
            }
        }
        Ok(())
    }
}

fn is_segment(text: &str) -> bool {
    (1..=MAX_SEGMENT_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What an error message can bear of a malformed scope: its first characters, up
/// to the first that no scope has; and none of a text without segments.
fn shortened(scope: &str) -> String {
    if !scope.contains('.') {
        return "…".to_owned();
    }
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    scope.chars().take_while(fits).take(MAX_SHOWN_CHARS).collect()
}

/// The scopes that there are: the variable `scope_catalog`. A JSON object of
/// root to `{"actions": [...], "resources": {RESOURCE: [ACTION, ...]}}`, where
/// `actions` are those of a scope without a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog(BTreeMap<String, Root>);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    resources: BTreeMap<String, Vec<String>>,
}

impl Catalog {
    /// Reads a catalogue. An empty text is none: every scope of the right form
    /// may be given.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in one line.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        Self::from_json(text).map(Some).map_err(|error| {
            format!(
                "is not a JSON object like \
                 {{\"sfs\": {{\"actions\": [\"read\"], \"resources\": {{\"files\": [\"read\"]}}}}}}: \
                 {error}"
            )
        })
    }

    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        // Objects first: serde would take a list as the fields of a struct.
        let roots: BTreeMap<String, serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(text)?;
        let roots = roots.into_iter().map(|(root, members)| {
            Ok((root, serde_json::from_value(serde_json::Value::Object(members))?))
        });
        roots.collect::<Result<_, _>>().map(Self)
    }

    fn check(
        &self,
        scope: &str,
        root: &str,
        resource: Option<&str>,
        actions: &[String],
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::NotInCatalog(scope.to_owned());
        let root = self.0.get(root).ok_or_else(unknown)?;
        let known = match resource {
            Some(resource) => root.resources.get(resource).ok_or_else(unknown)?,
            None => &root.actions,
        };
        if actions.iter().all(|action| known.contains(action)) {
            return Ok(());
        }
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Refusal::ActionNotInCatalog { scope: scope.to_owned(), known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(json: &str) -> Scopes {
        serde_json::from_str(json).expect("scopes")
    }

    fn refusal(json: &str, catalog: Option<&Catalog>) -> String {
        scopes(json).check("a1B2c3", catalog).expect_err("refused").to_string()
    }

    #[test]
    fn scopes_of_the_owner_pass() {
        for json in [
            "{}",
            r#"{"sfs.a1B2c3":["read"]}"#,
            r#"{"sfs.a1B2c3.files":["read","write"],"compute.a1B2c3.containers.web-1":["start"]}"#,
        ] {
            assert_eq!(scopes(json).check("a1B2c3", None), Ok(()), "{json}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, expected) in [
            (r#"{"sfs":["read"]}"#, "`…`, which is no scope"),
            (r#"{"":["read"]}"#, "`…`, which is no scope"),
            (r#"{"sfs.a1B2c3.":["read"]}"#, "no scope"),
            (r#"{"sfs.a1B2c3.a.b.c":["read"]}"#, "no scope"),
            (r#"{"sfs.a1B2c3.*":["read"]}"#, "`sfs.a1B2c3.`, which is no scope"),
            (r#"{"sfs.eyJ0eXAiOiJzZXNzaW9uK2p3dCJ9.e30":["read"]}"#, "`sfs.eyJ0eXAiOiJzZXNzaW9u`"),
            (r#"{"sfs.a1B2c3.a b":["read"]}"#, "no scope"),
            ("{\"sfs.a1B2c3.\\u0000\":[\"read\"]}", "no scope"),
            (r#"{"sfs.zzzzzz.files":["read"]}"#, "your own public id, a1B2c3"),
            (r#"{"sfs.A1B2C3.files":["read"]}"#, "your own public id"),
            (r#"{"sfs.a1B2c3":[]}"#, "a list of 1 to 50 actions"),
            (r#"{"sfs.a1B2c3":["read","read"]}"#, "given twice"),
            (r#"{"sfs.a1B2c3":["re ad"]}"#, "letters, digits"),
            (r#"{"sfs.a1B2c3":[""]}"#, "letters, digits"),
        ] {
            let message = refusal(json, None);
            assert!(message.contains(expected), "{json}: {message}");
        }
        let long = format!(r#"{{"sfs.a1B2c3.{}":["read"]}}"#, "x".repeat(65));
        assert!(refusal(&long, None).len() < 300);
        let many: Vec<String> = (0..101).map(|n| format!(r#""sfs.a1B2c3.f{n}":["r"]"#)).collect();
        assert!(refusal(&format!("{{{}}}", many.join(",")), None).contains("at most 100"));
    }

    #[test]
    fn a_scope_that_stands_there_twice_is_an_error() {
        let twice = r#"{"sfs.a1B2c3":["read"],"sfs.a1B2c3":["write"]}"#;
        let error = serde_json::from_str::<Scopes>(twice).expect_err("refused").to_string();
        assert!(error.contains("each scope once"), "{error}");
    }

    #[test]
    fn a_catalogue_restricts() {
        let text = r#"{"sfs":{"actions":["list"],"resources":{"files":["read","write"]}}}"#;
        let catalog = Catalog::parse(text).expect("a catalogue").expect("one");
        let catalog = Some(&catalog);
        for json in [r#"{"sfs.a1B2c3":["list"]}"#, r#"{"sfs.a1B2c3.files.7":["write"]}"#] {
            assert_eq!(scopes(json).check("a1B2c3", catalog), Ok(()), "{json}");
        }
        for (json, expected) in [
            (r#"{"mail.a1B2c3":["list"]}"#, "does not know"),
            (r#"{"sfs.a1B2c3.disks":["read"]}"#, "`sfs.a1B2c3.disks`, which the catalogue"),
            (r#"{"sfs.a1B2c3":["read"]}"#, "it knows list"),
            (r#"{"sfs.a1B2c3.files":["read","list"]}"#, "it knows read, write"),
        ] {
            let message = refusal(json, catalog);
            assert!(message.contains(expected), "{json}: {message}");
        }
        assert_eq!(Catalog::parse(""), Ok(None));
        for text in ["[]", "{\"sfs\":[]}", "{\"sfs\":{\"action\":[]}}", "{"] {
            let error = Catalog::parse(text).expect_err("refused");
            assert!(error.starts_with("is not a JSON object like"), "{error}");
        }
    }
}
