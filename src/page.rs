//! Keyset pages: a cursor says after which row the next page starts.

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::input::Query;

/// Rows of a page unless the client asks for another number.
const DEFAULT_LIMIT: i64 = 50;

/// Most rows of a page.
const MAX_LIMIT: i64 = 500;

/// Where a page starts, in which list. Opaque to clients, and sealed: a cursor
/// that this service has not given out, or for another list, is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    list: String,
    after: String,
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
        let list = format!("{name}{selection:?}");
        let limit = match query.get("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse()
                    .ok()
                    .filter(|limit| digits && (1..=MAX_LIMIT).contains(limit))
                    .ok_or_else(|| {
                        Error::field("limit", format!("must be a number from 1 to {MAX_LIMIT}"))
                    })?
            }
        };
        let after = match query.get("cursor")? {
            None => None,
            Some(sealed) => Some(
                ctx.config
                    .token_key
                    .unseal(sealed)
                    .and_then(|json| serde_json::from_str::<Cursor>(&json).ok())
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
        let cursor = serde_json::to_string(&Cursor { list: self.list, after });
        ctx.config.token_key.seal(&cursor.map_err(Error::internal)?).map(Some)
    }
}
