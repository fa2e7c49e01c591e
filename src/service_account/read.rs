//! `GET /service-accounts/{id}`: one service account of the caller's.
//!
//! 200 with the service account and its `ETag`; 401; 403 `session_required`; 404
//! `service_account_not_found`.

use serde::Deserialize;

use super::ServiceAccount;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("read.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Found { service_account: ServiceAccount },
    NotFound,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    match ctx.db.one(SQL, &[Param::Text(&sid), Param::Text(id)]).await? {
        Output::Found { service_account } => {
            Ok(Response::ok(&service_account).with_etag(service_account.version))
        }
        Output::NotFound => Err(Error::ServiceAccountNotFound),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
