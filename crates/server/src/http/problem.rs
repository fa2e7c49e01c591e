//! What is refused before the component sees it, or in its place.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response, StatusCode};

/// A refusal that does not come from the component (RFC 9457).
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
    retry_after: Option<&'static str>,
}

pub(super) const NO_HOST: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    code: "host_missing",
    title: "Host missing",
    detail: "Send one Host header, with the name of this service.",
    retry_after: None,
};

/// Spin answers such a request with 500, before the component sees it.
pub(super) const HEADER_NOT_TEXT: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    code: "header_not_text",
    title: "Header not text",
    detail: "Send headers whose values are UTF-8.",
    retry_after: None,
};

pub(super) const BODY_UNREADABLE: Problem = Problem {
    status: StatusCode::BAD_REQUEST,
    code: "body_unreadable",
    title: "Body unreadable",
    detail: "The body ended before it was complete.",
    retry_after: None,
};

pub(super) const BODY_TIMED_OUT: Problem = Problem {
    status: StatusCode::REQUEST_TIMEOUT,
    code: "body_timed_out",
    title: "Body timed out",
    detail: "The body took too long to arrive.",
    retry_after: None,
};

pub(super) const OVERLOADED: Problem = Problem {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "overloaded",
    title: "Overloaded",
    detail: "Too many requests are being served; try again in a moment.",
    retry_after: Some("1"),
};

pub(super) const TIMED_OUT: Problem = Problem {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "timed_out",
    title: "Timed out",
    detail: "The request took too long; try again in a moment.",
    retry_after: Some("2"),
};

pub(super) const FAILED: Problem = Problem {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "internal",
    title: "Internal error",
    detail: "Something went wrong here; the service's log knows more.",
    retry_after: None,
};

impl Problem {
    /// The response, with the client's id of the request, or one of its own.
    pub(super) fn response(&self, request_id: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "type": format!("urn:problem-type:edd-cloud-auth:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        set(headers, "content-type", "application/problem+json");
        set(headers, "cache-control", "no-store");
        set(headers, "x-content-type-options", "nosniff");
        set(headers, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
        set(headers, "referrer-policy", "no-referrer");
        set(headers, "strict-transport-security", "max-age=31536000");
        if let Some(seconds) = self.retry_after {
            set(headers, "retry-after", seconds);
        }
        let own_id = || HeaderValue::try_from(uuid::Uuid::now_v7().to_string()).ok();
        if let Some(id) = request_id.cloned().or_else(own_id) {
            headers.insert("x-request-id", id);
        }
        response
    }
}

/// Says that the connection ends with this response. hyper closes one whose request was
/// not read whole; a client that is not told may be sending the next there already.
pub(super) fn last(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    set(response.headers_mut(), "connection", "close");
    response
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
