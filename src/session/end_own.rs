//! `DELETE /me/sessions/{id}`: ends one of the caller's sessions; it may be the
//! one that asks.
//!
//! 204; 401; 403 `session_required`; 404 `session_not_found`. Event:
//! `SessionInvalidated`, reason `revoked`.

use super::Ending;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("end_own.sql");

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    let facts = ctx.facts(request);
    match ctx.db.one(SQL, &[Param::Text(&sid), Param::Text(id), Param::Text(&facts)]).await? {
        Ending::Ended => Ok(Response::no_content()),
        Ending::NotFound => Err(Error::SessionNotFound),
        Ending::NotLive => Err(Error::InvalidToken),
    }
}
