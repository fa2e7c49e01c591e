//! `GET /admin/users/{id}`: one user.
//!
//! 200 with the user and its `ETag`; 401; 403; 404 `user_not_found`.

use serde::Deserialize;

use super::User;
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("read.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Found { user: User },
    NotFound,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    authenticate::admin(ctx, request).await?;
    let user = find(ctx, id).await?.ok_or(Error::UserNotFound)?;
    Ok(Response::ok(&user).with_etag(user.version))
}

/// The user with this public id.
pub(super) async fn find(ctx: &Context, id: &str) -> Result<Option<User>, Error> {
    let params = [Param::Text(id), Param::Text(&ctx.config.admin_username)];
    match ctx.db.one(SQL, &params).await? {
        Output::Found { user } => Ok(Some(user)),
        Output::NotFound => Ok(None),
    }
}
