//! Keyset pages: a cursor says after which row the next page starts.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::input::Query;

/// Rows of a page unless the client asks for another number.
const DEFAULT_LIMIT: i64 = 50;

/// Most rows of a page.
const MAX_LIMIT: i64 = 500;

/// Where a page starts, in which list. Opaque to clients: base64url of this as
/// JSON. It grants nothing, so it is not signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    list: String,
    q: Option<String>,
    after: i32,
}

/// The `limit` of a query: 1 to 500, 50 when it is not there.
///
/// # Errors
///
/// [`Error::InvalidField`] when it is something else.
pub(crate) fn limit(query: &Query) -> Result<i64, Error> {
    let Some(text) = query.get("limit")? else {
        return Ok(DEFAULT_LIMIT);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| Error::field("limit", format!("must be a number from 1 to {MAX_LIMIT}")))
}

/// The id after which the page starts: that of the `cursor` of a query, or 0.
///
/// # Errors
///
/// [`Error::InvalidField`] when the cursor is malformed, or belongs to another
/// list or to another `q`.
pub(crate) fn after(query: &Query, list: &str, q: Option<&str>) -> Result<i32, Error> {
    let Some(text) = query.get("cursor")? else {
        return Ok(0);
    };
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|json| {
            let cursor: Cursor = serde_json::from_slice(&json).ok()?;
            let same = cursor.list == list && cursor.q.as_deref() == q && cursor.after >= 0;
            same.then_some(cursor.after)
        })
        .ok_or_else(|| Error::field("cursor", "must be the next_cursor of this very list"))
}

/// The cursor of the page that starts after this id.
pub(crate) fn cursor(list: &str, q: Option<&str>, after: i32) -> String {
    let cursor = Cursor { list: list.to_owned(), q: q.map(str::to_owned), after };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}
