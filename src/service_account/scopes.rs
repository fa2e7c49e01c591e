//! `PUT /service-accounts/{id}/scopes`: replaces what a service account may do.
//!
//! 200 with the service account and its `ETag`; 400 `invalid_json`,
//! `invalid_field`; 401; 403 `session_required`; 404 `service_account_not_found`;
//! 412 `precondition_failed`; 415. Event: `IdentityPermissionsUpdated`.

use edd_auth_rules::scope::Scopes;
use serde::Deserialize;

use super::{ServiceAccount, check_scopes};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;
use crate::precondition;

const SQL: &str = include_str!("scopes.sql");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    scopes: Scopes,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Changed { service_account: ServiceAccount },
    PreconditionFailed,
    NotFound,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let input: Input = input::json(request)?;
    check_scopes(ctx, &claims, &input.scopes)?;
    let versions = precondition::versions(request)?;
    let (sid, facts) = (claims.sid.to_string(), ctx.facts(request));
    let scopes = serde_json::to_string(&input.scopes).map_err(Error::internal)?;
    let params = [
        Param::Text(&sid),
        Param::Text(id),
        Param::Text(&scopes),
        Param::OptionalText(versions.as_deref()),
        Param::Text(&facts),
    ];
    match ctx.db.one(SQL, &params).await? {
        Output::Changed { service_account } => {
            Ok(Response::ok(&service_account).with_etag(service_account.version))
        }
        Output::PreconditionFailed => Err(Error::PreconditionFailed),
        Output::NotFound => Err(Error::ServiceAccountNotFound),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
