//! Keyset pages: a cursor says after which row the next page starts.

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::input::Query;
use crate::token::TokenKey;

/// Rows of a page unless the client asks for another number.
const DEFAULT_LIMIT: i64 = 50;

/// Most rows of a page.
const MAX_LIMIT: i64 = 500;

/// Where a page starts, in which list. Opaque to clients, and sealed: a cursor
/// that this service has not given out, or for another list, is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    list: String,
    after: String,
}

impl Cursor {
    /// The text that clients get.
    pub(crate) fn seal(&self, key: &TokenKey) -> Result<String, Error> {
        key.seal(&serde_json::to_string(self).map_err(Error::internal)?)
    }

    /// The cursor of a text that [`Cursor::seal`] has made with this key.
    pub(crate) fn unseal(sealed: &str, key: &TokenKey) -> Option<Self> {
        serde_json::from_str(&key.unseal(sealed)?).ok()
    }
}

/// A list as one request asks for it.
pub(crate) struct Page {
    /// The name of the list with everything that selects its rows.
    list: String,
    /// Most rows of the page.
    pub(crate) limit: i64,
    /// The key after whose row the page starts; `None` for the first page.
    pub(crate) after: Option<String>,
}

impl Page {
    /// Reads `limit` (1 to 500, 50 when it is not there) and `cursor` of a query.
    /// `selection` is what else decides which rows the list has: its filters, its
    /// owner.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] when the limit is something else, or the cursor is
    /// none of this list.
    pub(crate) fn of(
        ctx: &Context,
        query: &Query,
        name: &str,
        selection: &[Option<&str>],
    ) -> Result<Self, Error> {
        let list = list_of(name, selection);
        let limit = limit_of(query)?;
        let after = match query.get("cursor")? {
            None => None,
            Some(sealed) => Some(
                Cursor::unseal(sealed, &ctx.config.token_key)
                    .filter(|cursor| cursor.list == list)
                    .map(|cursor| cursor.after)
                    .ok_or_else(|| {
                        Error::field("cursor", "must be the next_cursor of this very list")
                    })?,
            ),
        };
        Ok(Self { list, limit, after })
    }

    /// The cursor of the page after this one; `None` when this is the last.
    pub(crate) fn next_cursor(
        self,
        ctx: &Context,
        after: Option<String>,
    ) -> Result<Option<String>, Error> {
        let Some(after) = after else {
            return Ok(None);
        };
        Cursor { list: self.list, after }.seal(&ctx.config.token_key).map(Some)
    }
}

/// What tells a list from every other: no two of them may share a text.
fn list_of(name: &str, selection: &[Option<&str>]) -> String {
    format!("{name}{selection:?}")
}

/// The parameter `limit`.
pub(crate) fn limit_of(query: &Query) -> Result<i64, Error> {
    let Some(text) = query.get("limit")? else {
        return Ok(DEFAULT_LIMIT);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|limit| digits && (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| Error::field("limit", format!("must be a number from 1 to {MAX_LIMIT}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz;
    use crate::http::Request;

    fn query_of(text: &str) -> Query {
        Query::of(&Request { query: text.to_owned(), ..Request::of_test(&[], "") })
    }

    /// A list of few letters, so that two of them are often almost the same.
    fn a_list() -> impl Strategy<Value = (&'static str, Vec<Option<String>>)> {
        let name = prop::sample::select(vec!["audit", "me/sessions"]);
        (name, prop::collection::vec(prop::option::of("[a,\" ]{0,3}"), 0..3))
    }

    fn text_of((name, selection): &(&'static str, Vec<Option<String>>)) -> String {
        list_of(name, &selection.iter().map(Option::as_deref).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn a_cursor_opens_as_it_was_sealed(list in any::<String>(), after in any::<String>()) {
            let sealed = Cursor { list: list.clone(), after: after.clone() }.seal(fuzz::key());
            let opened = Cursor::unseal(&sealed.expect("sealed"), fuzz::key()).expect("genuine");
            prop_assert_eq!((opened.list, opened.after), (list, after));
        }

        #[test]
        fn a_cursor_that_was_changed_opens_nothing(
            after in any::<String>(),
            place in any::<prop::sample::Index>(),
            replacement in "[A-Za-z0-9_.=-]{0,2}",
        ) {
            let cursor = Cursor { list: "audit[]".to_owned(), after };
            let sealed = cursor.seal(fuzz::key()).expect("sealed");
            let mut changed = sealed.clone();
            let place = place.index(sealed.len());
            changed.replace_range(place..=place, &replacement);
            prop_assume!(changed != sealed);
            prop_assert!(Cursor::unseal(&changed, fuzz::key()).is_none());
        }

        #[test]
        fn two_lists_have_two_texts(one in a_list(), other in a_list()) {
            prop_assert_eq!(text_of(&one) == text_of(&other), one == other);
        }

        #[test]
        fn a_limit_is_digits_from_1_to_500(number in 0_u32..1_000, text in "[0-9+. -]{0,4}") {
            let limit = limit_of(&query_of(&format!("limit={number}"))).ok();
            prop_assert_eq!(limit, (1..=500).contains(&number).then_some(i64::from(number)));
            let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let mut query = form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair("limit", &text).finish();
            let read = limit_of(&query_of(&query)).is_ok();
            prop_assert!(digits || !read, "{}", text);
        }
    }
}
