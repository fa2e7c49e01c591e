//! `DELETE /service-accounts/{id}`: removes a service account with its tokens.
//!
//! 204; 401; 403 `session_required`; 404 `service_account_not_found`; 412
//! `precondition_failed`. Event: `IdentityPermissionsDeleted`.

use serde::Deserialize;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::precondition;

const SQL: &str = include_str!("delete.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Deleted,
    PreconditionFailed,
    NotFound,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    let versions = precondition::versions(request)?;
    let facts = ctx.facts(request);
    let params = [
        Param::Text(&sid),
        Param::Text(id),
        Param::OptionalText(versions.as_deref()),
        Param::Text(&facts),
    ];
    match ctx.db.one(SQL, &params).await? {
        Output::Deleted => Ok(Response::no_content()),
        Output::PreconditionFailed => Err(Error::PreconditionFailed),
        Output::NotFound => Err(Error::ServiceAccountNotFound),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
