//! `DELETE /service-accounts/{id}/tokens/{token_id}`: ends a token at once.
//!
//! 204; 401; 403 `session_required`; 404 `token_not_found`.

use serde::Deserialize;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("revoke.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Revoked,
    NotFound,
    NotLive,
}

pub(crate) async fn handle(
    ctx: &Context,
    request: &Request,
    id: &str,
    token_id: &str,
) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    let facts = ctx.facts(request);
    let params = [Param::Text(&sid), Param::Text(id), Param::Text(token_id), Param::Text(&facts)];
    match ctx.db.one(SQL, &params).await? {
        Output::Revoked => Ok(Response::no_content()),
        Output::NotFound => Err(Error::TokenNotFound),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
