//! `POST /logout`: ends the session of the token.
//!
//! 204; 403 `session_required`; 401 `missing_token`, `invalid_token`, also when the session has ended
//! before. Event: `SessionInvalidated`, reason `logout`.

use super::Ending;
use crate::authenticate;
use crate::browser;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("logout.sql");

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid;
    let session_id = sid.to_string();
    match ctx.db.one(SQL, &[Param::Text(&session_id), Param::Text(&ctx.facts(request))]).await? {
        Ending::Ended => {
            let mut response = Response::no_content();
            // A cookie of another session stays: nobody could end that one any more.
            if authenticate::shown_by_browser(ctx, request) == Some(sid) {
                browser::clear_session_cookie(&mut response);
            }
            Ok(response)
        }
        Ending::NotFound | Ending::NotLive => Err(Error::InvalidToken),
    }
}
