//! `DELETE /admin/users/{id}`: removes a user and all that is theirs.
//!
//! 204; 401; 403 `forbidden`, `self_forbidden`; 404 `user_not_found`. Events:
//! `SessionInvalidated` with reason `user_deleted` for each session, then
//! `UserDeleted`.

use serde::Deserialize;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("delete.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Deleted,
    NotFound,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let caller = authenticate::admin(ctx, request).await?;
    if caller.public_id == id {
        return Err(Error::SelfForbidden("delete"));
    }
    match ctx.db.one(SQL, &[Param::Text(id)]).await? {
        Output::Deleted => Ok(Response::no_content()),
        Output::NotFound => Err(Error::UserNotFound),
    }
}
