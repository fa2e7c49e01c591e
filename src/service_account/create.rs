//! `POST /service-accounts`: a new service account of the caller's.
//!
//! 201 with the service account, `Location` and `ETag`; 400 `invalid_json`,
//! `invalid_field`; 401; 403 `session_required`; 409 `limit_reached`; 415. Event:
//! `IdentityPermissionsUpdated`.

use edd_auth_rules::scope::Scopes;
use edd_auth_rules::{public_id, text};
use serde::Deserialize;

use super::{ServiceAccount, check_scopes};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;

const SQL: &str = include_str!("create.sql");

/// Ids that are tried. One is taken with a probability that nobody will see.
const MAX_TRIES: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    name: String,
    scopes: Scopes,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Created { service_account: ServiceAccount },
    LimitReached,
    Retry,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let claims = authenticate::claims(ctx, request)?;
    let input: Input = input::json(request)?;
    text::check_label(&input.name).map_err(|refusal| Error::field("name", refusal))?;
    check_scopes(ctx, &claims, &input.scopes)?;
    let (sid, facts) = (claims.sid.to_string(), ctx.facts(request));
    let scopes = serde_json::to_string(&input.scopes).map_err(Error::internal)?;
    let limit = ctx.config.service_accounts_per_user;
    for _ in 0..MAX_TRIES {
        let id = public_id::generate_long();
        let params = [
            Param::Text(&sid),
            Param::Text(&id),
            Param::Text(&input.name),
            Param::Text(&scopes),
            Param::Int8(limit),
            Param::Text(&facts),
        ];
        match ctx.db.one(SQL, &params).await? {
            Output::Created { service_account } => {
                let location = format!("/service-accounts/{}", service_account.service_account_id);
                return Ok(Response::created(location, &service_account)
                    .with_etag(service_account.version));
            }
            Output::LimitReached => {
                return Err(Error::LimitReached { what: "service accounts of yours", limit });
            }
            Output::NotLive => return Err(Error::InvalidToken),
            Output::Retry => {}
        }
    }
    Err(Error::internal(format!("{MAX_TRIES} random ids were all taken")))
}
