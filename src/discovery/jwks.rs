//! `GET /.well-known/jwks.json`: the public keys (RFC 7517, section 5).
//!
//! 200 with `{keys}`, the key that signs first; none where `jwt_secret` signs.

use crate::context::Context;
use crate::http::Response;

pub(crate) fn handle(ctx: &Context) -> Response {
    Response::ok(ctx.config.token_key.published())
}
