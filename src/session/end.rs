//! `DELETE /admin/sessions/{id}`: ends anybody's session.
//!
//! 204; 401; 403; 404 `session_not_found`. Event: `SessionInvalidated`, reason
//! `revoked`.

use super::Ending;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("end.sql");

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let admin = authenticate::admin(ctx, request).await?;
    let facts = ctx.facts(request);
    let params = [Param::Text(id), Param::Text(&admin.public_id), Param::Text(&facts)];
    match ctx.db.one(SQL, &params).await? {
        Ending::Ended => Ok(Response::no_content()),
        Ending::NotFound | Ending::NotLive => Err(Error::SessionNotFound),
    }
}
