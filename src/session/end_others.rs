//! `DELETE /me/sessions`: ends every session of the caller but the one that asks.
//!
//! 204; 401; 403 `session_required`. Event: `SessionInvalidated`, reason `revoked`, for each.

use super::Ending;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("end_others.sql");

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    match ctx.db.one(SQL, &[Param::Text(&sid), Param::Text(&ctx.facts(request))]).await? {
        Ending::Ended => Ok(Response::no_content()),
        Ending::NotFound | Ending::NotLive => Err(Error::InvalidToken),
    }
}
