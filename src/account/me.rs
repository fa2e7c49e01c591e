//! `GET /me`: the user behind the token, a session's or a service account's.
//!
//! 200 with the user and its `ETag`; 401 `missing_token`, `invalid_token`.

use crate::authenticate;
use crate::context::Context;
use crate::error::Error;
use crate::http::{Request, Response};

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let user = authenticate::user(ctx, request).await?;
    Ok(Response::ok(&user).with_etag(user.version))
}
