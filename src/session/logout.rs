//! `POST /logout`: ends the session of the token.
//!
//! 204; 401 `missing_token`, `invalid_token`, also when the session has ended
//! before. Event: `SessionInvalidated`, reason `logout`.

use serde::Deserialize;

use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};

const SQL: &str = include_str!("logout.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Ended,
    NotLive,
}

pub(crate) async fn handle(ctx: &Context, request: &Request) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    match ctx.db.one(SQL, &[Param::Text(&sid)]).await? {
        Output::Ended => Ok(Response::no_content()),
        Output::NotLive => Err(Error::InvalidToken),
    }
}
