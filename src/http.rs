//! Requests and responses as the verbs see them, and the way there from Spin's.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use spin_sdk::http::{IncomingRequest, Method as SpinMethod, Response as SpinResponse};
use uuid::Uuid;

use crate::browser;
use crate::config::Config;
use crate::error::Error;
use crate::router;

/// Largest body that is read, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// Longest `X-Request-Id` that is taken over from the client, in characters.
const MAX_REQUEST_ID_CHARS: usize = 128;

/// What is kept of a `User-Agent`, in characters.
const USER_AGENT_CHARS: usize = 512;

/// A request, read whole.
pub(crate) struct Request {
    /// `X-Request-Id` of the response: the client's own, or a new one.
    pub(crate) id: String,
    /// The method, in capitals.
    pub(crate) method: String,
    /// The path as it was sent: nothing decoded, nothing normalised.
    pub(crate) path: String,
    /// The query, without its `?`; empty when there is none.
    pub(crate) query: String,
    /// The headers in their order, names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request of a unit test or a target of `fuzz/`, with these headers and this body.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_test(headers: &[(&str, &[u8])], body: &str) -> Self {
        Self {
            id: String::new(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            headers: headers.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    /// Every value of a header, in order. Bytes: a header is not always text.
    pub(crate) fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// The value of a header that occurs once and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.header_values(name);
        match (values.next(), values.next()) {
            (Some(value), None) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The client's address, without its port: that of the peer, or, behind so many
    /// trusted proxies, what the outermost of them has seen and appended to
    /// `X-Forwarded-For`. What a client writes there itself stands further left and
    /// is never reached; where the list is too short, or malformed at that place,
    /// the peer is all that is known.
    pub(crate) fn client_address(&self, trusted_proxy_hops: usize) -> Option<IpAddr> {
        let peer = self.peer_address()?;
        let Some(place) = trusted_proxy_hops.checked_sub(1) else {
            return Some(peer);
        };
        let forwarded: Vec<&[u8]> = self
            .header_values("x-forwarded-for")
            .flat_map(|line| line.split(|byte| *byte == b','))
            .collect();
        // What a client has put further left need not even be text.
        let seen = forwarded.iter().rev().nth(place).and_then(|element| {
            let text = std::str::from_utf8(element).ok()?;
            address_of(text.trim())
        });
        Some(seen.unwrap_or(peer))
    }

    /// Who has connected. Spin puts `spin-client-addr` behind whatever a client may
    /// have sent under that name, so the last one is Spin's.
    fn peer_address(&self) -> Option<IpAddr> {
        let value = self.header_values("spin-client-addr").last()?;
        address_of(std::str::from_utf8(value).ok()?)
    }

    /// The host, and the port unless it is the usual one, that the client has asked.
    /// WASI takes the `Host` header away; Spin puts `spin-full-url` behind whatever a
    /// client may have sent under that name.
    pub(crate) fn host(&self) -> Option<&str> {
        let url = std::str::from_utf8(self.header_values("spin-full-url").last()?).ok()?;
        let (_, rest) = url.split_once("://")?;
        rest.split('/').next()
    }

    /// The client's `User-Agent`, fit for a text column.
    fn user_agent(&self) -> Option<String> {
        let value = self.header("user-agent")?;
        Some(value.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS).collect())
    }

    /// What the audit log keeps of this request, as the text of a JSON object.
    pub(crate) fn facts(&self, trusted_proxy_hops: usize) -> String {
        let facts = Facts {
            ip_address: self.client_address(trusted_proxy_hops).map(|ip| ip.to_string()),
            request_id: &self.id,
            user_agent: self.user_agent(),
        };
        // Texts in a struct: nothing that fails.
        serde_json::to_string(&facts).unwrap_or_default()
    }
}

/// An address with or without a port, as proxies write it. IPv4 in IPv6 is IPv4.
fn address_of(text: &str) -> Option<IpAddr> {
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => text.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(address.to_canonical())
}

/// What the audit log keeps of a request.
#[derive(Serialize)]
struct Facts<'a> {
    ip_address: Option<String>,
    request_id: &'a str,
    user_agent: Option<String>,
}

/// A response.
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Headers beside those that every response has.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What it says.
    pub(crate) body: Body,
}

/// The body of a response.
pub(crate) enum Body {
    /// None at all.
    Empty,
    /// Some bytes of this media type.
    Bytes(&'static str, Vec<u8>),
}

impl Body {
    /// A value as JSON, under the given media type.
    pub(crate) fn json(media_type: &'static str, value: &impl Serialize) -> Self {
        // Strings, numbers, lists and maps with text keys: nothing that fails.
        Self::Bytes(media_type, serde_json::to_vec(value).unwrap_or_default())
    }
}

impl Response {
    /// 200 with a JSON body.
    pub(crate) fn ok(value: &impl Serialize) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::json("application/json", value) }
    }

    /// 201 with a JSON body and the path of what was created.
    pub(crate) fn created(location: String, value: &impl Serialize) -> Self {
        Self {
            status: 201,
            headers: vec![("location", location)],
            body: Body::json("application/json", value),
        }
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// Adds the `ETag` of a version (RFC 9110, section 8.8.3).
    pub(crate) fn with_etag(mut self, version: i64) -> Self {
        self.header("etag", format!("\"{version}\""));
        self
    }

    /// Adds a header.
    pub(crate) fn header(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }
}

/// Serves one request of Spin's: reads it, has it answered, and adds what every
/// response has. The one place where an error is logged.
pub(crate) async fn serve(incoming: IncomingRequest) -> SpinResponse {
    let (request, body) = read(incoming).await;
    let answer = match body {
        Ok(()) => router::answer(&request).await,
        Err(error) => Err(error),
    };
    let mut response = answer.unwrap_or_else(|error| {
        if let Some(cause) = error.cause() {
            log_error(&request.id, &error, cause);
        }
        Response::from(&error)
    });
    // Refusals as well: a page has to tell its user what is wrong.
    if request.header("origin").is_some()
        && let Ok(allowed) = Config::load_origins()
    {
        browser::share(&request, &allowed, &mut response);
    }
    into_spin(response, request.id)
}

/// Reads the request. Its head is there even when its body is refused, so that
/// the refusal can carry the request's id.
async fn read(incoming: IncomingRequest) -> (Request, Result<(), Error>) {
    let method = match incoming.method() {
        SpinMethod::Get => "GET".to_owned(),
        SpinMethod::Head => "HEAD".to_owned(),
        SpinMethod::Post => "POST".to_owned(),
        SpinMethod::Put => "PUT".to_owned(),
        SpinMethod::Delete => "DELETE".to_owned(),
        SpinMethod::Connect => "CONNECT".to_owned(),
        SpinMethod::Options => "OPTIONS".to_owned(),
        SpinMethod::Trace => "TRACE".to_owned(),
        SpinMethod::Patch => "PATCH".to_owned(),
        SpinMethod::Other(other) => other,
    };
    let target = incoming.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        id: String::new(),
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: incoming
            .headers()
            .entries()
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect(),
        body: Vec::new(),
    };
    request.id = request_id(&request);
    let body = read_body(incoming, &mut request).await;
    (request, body)
}

async fn read_body(incoming: IncomingRequest, request: &mut Request) -> Result<(), Error> {
    use futures::StreamExt;

    let announced = request.header("content-length").and_then(|value| value.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(Error::BodyTooLarge);
    }
    let mut chunks = std::pin::pin!(incoming.into_body_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::BodyUnreadable)?;
        if request.body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Error::BodyTooLarge);
        }
        request.body.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The client's own id, if it is one that can stand in a header and a log line.
pub(crate) fn request_id(request: &Request) -> String {
    request
        .header("x-request-id")
        .filter(|id| {
            (1..=MAX_REQUEST_ID_CHARS).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        })
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn into_spin(response: Response, request_id: String) -> SpinResponse {
    let mut builder = SpinResponse::builder();
    builder
        .status(response.status)
        .header("x-request-id", request_id)
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
        .header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
        .header("referrer-policy", "no-referrer")
        .header("strict-transport-security", "max-age=31536000");
    for (name, value) in response.headers {
        builder.header(name, value);
    }
    match response.body {
        Body::Empty => {}
        Body::Bytes(media_type, bytes) => {
            builder.header("content-type", media_type);
            builder.body(bytes);
        }
    }
    builder.build()
}

/// One line of JSON on standard error, which Spin and `auth-server` collect.
fn log_error(request_id: &str, error: &Error, cause: &str) {
    let (status, code, _) = error.problem_type();
    let line = serde_json::json!({
        "level": "ERROR",
        "message": "request failed",
        "request_id": request_id,
        "status": status,
        "code": code,
        "cause": cause,
    });
    // Not `eprintln`, which panics when a log can't be written: on a full disk the
    // client still gets its answer.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_headers(headers: &[(&str, &[u8])]) -> Request {
        Request::of_test(headers, "")
    }

    #[test]
    fn a_clean_request_id_is_kept() {
        let request = with_headers(&[("x-request-id", b"web-42_a.b")]);
        assert_eq!(request_id(&request), "web-42_a.b");
    }

    #[test]
    fn any_other_request_id_is_replaced() {
        for headers in [
            &[][..],
            &[("x-request-id", b"".as_slice())],
            &[("x-request-id", b"a b")],
            &[("x-request-id", b"a\"b")],
            &[("x-request-id", b"\xff")],
            &[("x-request-id", b"a"), ("x-request-id", b"b")],
            &[("x-request-id", [b'a'; 129].as_slice())],
        ] {
            let id = request_id(&with_headers(headers));
            assert!(id.parse::<Uuid>().is_ok(), "{id}");
        }
    }

    #[test]
    fn the_facts_are_what_the_audit_log_keeps() {
        let mut request = with_headers(&[
            ("spin-client-addr", b"192.0.2.7:4711"),
            ("user-agent", format!("a\tb{}", "c".repeat(600)).as_bytes()),
        ]);
        request.id = "web-42".to_owned();
        let facts: serde_json::Value = serde_json::from_str(&request.facts(0)).expect("JSON");
        let user_agent = format!("ab{}", "c".repeat(510));
        let expected = serde_json::json!({
            "ip_address": "192.0.2.7", "request_id": "web-42", "user_agent": user_agent,
        });
        assert_eq!(facts, expected);
    }

    #[test]
    fn the_last_client_address_counts() {
        let request = with_headers(&[
            ("spin-client-addr", b"6.6.6.6:1"),
            ("spin-client-addr", b"[::ffff:192.0.2.7]:4711"),
            ("x-forwarded-for", b"6.6.6.6"),
        ]);
        assert_eq!(request.client_address(0), Some([192, 0, 2, 7].into()));
        assert_eq!(with_headers(&[("spin-client-addr", b"x")]).client_address(0), None);
        assert_eq!(with_headers(&[]).client_address(0), None);
    }

    #[test]
    fn forwarded_addresses_count_as_far_as_proxies_are_trusted() {
        let address = |forwarded: &[&str], hops| {
            let mut headers = vec![("spin-client-addr", "10.0.0.1:9".as_bytes())];
            headers.extend(forwarded.iter().map(|line| ("x-forwarded-for", line.as_bytes())));
            with_headers(&headers).client_address(hops).expect("an address").to_string()
        };
        // The client has written 6.6.6.6; two proxies have appended what they saw.
        let lines = ["6.6.6.6, 192.0.2.7", "10.0.0.2"];
        assert_eq!(address(&lines, 0), "10.0.0.1");
        assert_eq!(address(&lines, 1), "10.0.0.2");
        assert_eq!(address(&lines, 2), "192.0.2.7");
        for forwarded in [&[][..], &[""], &["unknown"], &["192.0.2.7, _hidden"]] {
            assert_eq!(address(forwarded, 1), "10.0.0.1", "{forwarded:?}");
        }
        assert_eq!(address(&["192.0.2.7"], 2), "10.0.0.1");
        assert_eq!(address(&["192.0.2.7:4711"], 1), "192.0.2.7");
        assert_eq!(address(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(address(&["2001:db8::1"], 1), "2001:db8::1");
    }

    proptest! {
        /// CVE-2024-47070 was such a header: what a client writes chose its address.
        #[test]
        fn what_a_client_writes_never_moves_what_the_proxies_have_appended(
            mut written in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..4),
            seen in prop::collection::vec(any::<IpAddr>(), 1..4),
            same_line: bool,
        ) {
            for (hop, address) in seen.iter().enumerate() {
                match written.last_mut() {
                    Some(line) if same_line || hop > 0 => {
                        line.extend_from_slice(format!(", {address}").as_bytes());
                    }
                    _ => written.push(address.to_string().into_bytes()),
                }
            }
            let mut headers = vec![("spin-client-addr", b"10.0.0.1:9".as_slice())];
            headers.extend(written.iter().map(|line| ("x-forwarded-for", line.as_slice())));
            let address = with_headers(&headers).client_address(seen.len());
            prop_assert_eq!(address, Some(seen[0].to_canonical()));
        }

        #[test]
        fn an_id_of_a_request_fits_a_header_and_a_log_line(
            sent in prop_oneof![
                any::<Vec<u8>>(),
                "[a-z \"\t\u{e4}]{0,4}".prop_map(String::into_bytes),
                prop::collection::vec(Just(b'a'), 120..140),
            ],
        ) {
            let id = request_id(&with_headers(&[("x-request-id", &sent)]));
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            prop_assert!((1..=128).contains(&id.len()) && id.chars().all(plain), "{}", id);
        }
    }
}
