//! What a request has to have before the component gets it.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};

/// Bytes of a body that are read. One more than the component accepts, so that
/// it is the component that refuses, as it is on Spin.
const BODY_BYTES: usize = 64 * 1024 + 1;

/// The body, as far as it is read, and whether that is all of it.
pub(super) async fn read_body(mut body: Incoming) -> Result<(Full<Bytes>, bool), hyper::Error> {
    let mut bytes = BytesMut::new();
    let mut whole = body.is_end_stream();
    while bytes.len() < BODY_BYTES && !whole {
        let Some(frame) = body.frame().await else {
            whole = true;
            break;
        };
        whole = body.is_end_stream();
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes.truncate(BODY_BYTES);
    Ok((Full::new(bytes.freeze()), whole))
}

/// Adds what Spin adds (`crates/trigger-http/src/headers.rs`) for the route
/// `/...`, behind whatever the client has sent under these names. Tells whether
/// the request names one host, which HTTP/1.1 requires (RFC 9112, section 3.2).
pub(super) fn add_spin_headers(head: &mut hyper::http::request::Parts, client: SocketAddr) -> bool {
    if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return false;
    }
    let host = match (head.uri.authority(), head.headers.get(header::HOST)) {
        (Some(authority), _) => authority.to_string(),
        (None, Some(host)) => match host.to_str() {
            Ok(host) if host.parse::<hyper::http::uri::Authority>().is_ok() => host.to_owned(),
            _ => return false,
        },
        (None, None) => return false,
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for (name, value) in [
        ("spin-path-info", head.uri.path().to_owned()),
        ("spin-full-url", format!("http://{host}{target}")),
        ("spin-matched-route", "/...".to_owned()),
        ("spin-base-path", "/".to_owned()),
        ("spin-raw-component-route", "/...".to_owned()),
        ("spin-component-route", String::new()),
        ("spin-client-addr", client.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            head.headers.append(HeaderName::from_static(name), value);
        }
    }
    true
}

/// Whether a client's `X-Request-Id` is one that the component would echo.
pub(super) fn is_plain(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len())
        && id
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
