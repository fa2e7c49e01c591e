//! `GET /healthz`: 200 `ok` while the component can answer at all. Touches
//! nothing, not even the configuration.

use crate::http::{Body, Response};

pub(crate) fn handle() -> Response {
    Response {
        status: 200,
        headers: Vec::new(),
        body: Body::Bytes("text/plain; charset=utf-8", b"ok\n".to_vec()),
    }
}
