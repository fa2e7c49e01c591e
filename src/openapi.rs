//! `GET /openapi.json`: this API as an `OpenAPI` 3.1 document.
//!
//! 200.

use crate::http::{Body, Response};

/// `docs/openapi.yaml`, which the build script has put into JSON.
pub(crate) const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

pub(crate) fn handle() -> Response {
    Response {
        status: 200,
        headers: Vec::new(),
        body: Body::Bytes("application/json", DOCUMENT.as_bytes().to_vec()),
    }
}
