//! `DELETE /admin/users/{id}`: removes a user and all that is theirs.
//!
//! 204; 401; 403 `forbidden`, `self_forbidden`; 404 `user_not_found`; 409
//! `last_admin`; 412 `precondition_failed`. Events: `SessionInvalidated` with reason
//! `user_deleted` for each session, `IdentityPermissionsDeleted` for each service
//! account, and `UserDeleted`, in no order between them.

use serde::Deserialize;

use crate::audit::{self, Failure};
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
    LastAdmin,
    PreconditionFailed,
    NotFound,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let admin = authenticate::admin(ctx, request).await?;
    if admin.public_id == id {
        let failure = Failure {
            actor: Some(id),
            action: "user.delete",
            reason: "self_forbidden",
            resource: Some(&format!("user:{id}")),
        };
        audit::record(ctx, request, &failure).await?;
        return Err(Error::SelfForbidden);
    }
    let versions = precondition::versions(request)?;
    let facts = ctx.facts(request);
    let params = [
        Param::Text(id),
        Param::Text(&ctx.config.admin_username),
        Param::OptionalText(versions.as_deref()),
        Param::Text(&admin.public_id),
        Param::Text(&facts),
    ];
    match ctx.db.one(SQL, &params).await? {
        Output::Deleted => Ok(Response::no_content()),
        // Of two administrators who delete each other, the second.
        Output::LastAdmin => Err(Error::LastAdmin),
        Output::PreconditionFailed => Err(Error::PreconditionFailed),
        Output::NotFound => Err(Error::UserNotFound),
    }
}
