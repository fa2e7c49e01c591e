//! What browsers need, and what they must not be made to do: calls of pages from
//! other origins (Fetch standard, section 3.3 "CORS protocol"), the cookie of a
//! session, and requests that another site forges (OWASP Cross-Site Request Forgery
//! Prevention Cheat Sheet, "Fetch Metadata").

use crate::error::Error;
use crate::http::{Request, Response};

/// The cookie of a session. A browser takes a cookie of this prefix only when it is
/// `Secure`, has the path `/` and no domain: no other host can plant one
/// (draft-ietf-httpbis-rfc6265bis-20, section 4.1.3.2).
const COOKIE: &str = "__Host-session";

/// What a cookie is beside its name and value. `HttpOnly`: no script reads it.
const COOKIE_ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// Headers that a page of another origin may send.
const ALLOWED_HEADERS: &str = "authorization, content-type, if-match, x-request-id";

/// Headers that a page of another origin may read.
const EXPOSED_HEADERS: &str =
    "etag, location, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id";

/// The origin of the page that asks, if it is one of those that may, to the letter.
fn allowed_origin<'a>(request: &'a Request, allowed: &[String]) -> Option<&'a str> {
    request.header("origin").filter(|origin| allowed.iter().any(|allowed| allowed == origin))
}

/// Whether a browser asks what it may send.
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.method == "OPTIONS"
        && request.header("origin").is_some()
        && request.header("access-control-request-method").is_some()
}

/// The answer to a preflight: 204, or 403 `origin_not_allowed`. Touches no database.
///
/// # Errors
///
/// [`Error::OriginNotAllowed`].
pub(crate) fn preflight(
    request: &Request,
    allowed: &[String],
    methods: &'static str,
) -> Result<Response, Error> {
    if allowed_origin(request, allowed).is_none() {
        return Err(Error::OriginNotAllowed);
    }
    let mut response = Response::no_content();
    response.header("access-control-allow-methods", methods);
    response.header("access-control-allow-headers", ALLOWED_HEADERS);
    response.header("access-control-max-age", PREFLIGHT_SECONDS);
    Ok(response)
}

/// Lets the page that has called read the response, if its origin is allowed.
/// Credentials are allowed with it, so the origin is named and never a wildcard.
pub(crate) fn share(request: &Request, allowed: &[String], response: &mut Response) {
    let Some(origin) = allowed_origin(request, allowed) else {
        return;
    };
    response.header("access-control-allow-origin", origin);
    response.header("access-control-allow-credentials", "true");
    response.header("access-control-expose-headers", EXPOSED_HEADERS);
    response.header("vary", "Origin");
}

/// Refuses a request that changes something unless a page of this service, or of an
/// allowed origin, has sent it. A browser says so itself, and no page can change what
/// it says; whoever says nothing is refused.
///
/// # Errors
///
/// [`Error::CrossSite`].
pub(crate) fn check_site(request: &Request, allowed: &[String]) -> Result<(), Error> {
    let is_own = match request.header("sec-fetch-site") {
        Some(site) => site == "same-origin",
        // A browser from before 2023, or a page that is not secure.
        None => request
            .host()
            .zip(request.header("origin"))
            .is_some_and(|(host, origin)| is_origin_of(origin, host)),
    };
    if is_own || allowed_origin(request, allowed).is_some() {
        Ok(())
    } else {
        Err(Error::CrossSite)
    }
}

/// Whether this is the origin of pages of this host. Behind a proxy nobody knows
/// whether the browser has come with TLS; a page without it is trusted on the
/// machine itself only.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    origin.strip_prefix("https://") == Some(host)
        || (is_loopback && origin.strip_prefix("http://") == Some(host))
}

/// The value of the session's cookie.
///
/// # Errors
///
/// [`Error::InvalidToken`] when there are two.
pub(crate) fn session_cookie(request: &Request) -> Result<Option<&str>, Error> {
    let mut values = request
        .header_values("cookie")
        .filter_map(|line| std::str::from_utf8(line).ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Error::InvalidToken),
    }
}

/// Has the browser keep a token for so many seconds.
pub(crate) fn set_session_cookie(response: &mut Response, token: &str, seconds: i64) {
    let cookie = format!("{COOKIE}={token}; Max-Age={seconds}; {COOKIE_ATTRIBUTES}");
    response.header("set-cookie", cookie);
}

/// Has the browser forget it.
pub(crate) fn clear_session_cookie(response: &mut Response) {
    set_session_cookie(response, "", 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(headers: &[(&str, &str)]) -> bool {
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let allowed = ["https://app.example.org".to_owned()];
        check_site(&Request::of_test(&headers, ""), &allowed).is_ok()
    }

    #[test]
    fn only_pages_of_this_service_change_something() {
        let host = ("spin-full-url", "http://auth.example.org/me");
        for headers in [
            &[host, ("sec-fetch-site", "same-origin")][..],
            &[host, ("origin", "https://auth.example.org")],
            &[host, ("sec-fetch-site", "same-site"), ("origin", "https://app.example.org")],
            &[host, ("origin", "https://app.example.org")],
            &[("spin-full-url", "http://localhost:8080/me"), ("origin", "http://localhost:8080")],
            &[("spin-full-url", "http://[::1]:8080/me"), ("origin", "http://[::1]:8080")],
        ] {
            assert!(is_accepted(headers), "{headers:?}");
        }
        for headers in [
            &[host][..],
            &[host, ("sec-fetch-site", "cross-site"), ("origin", "https://auth.example.org")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", "https://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://auth.example.org")],
            &[host, ("origin", "https://auth.example.org.evil.example")],
            &[host, ("origin", "https://auth.example.org:8443")],
            &[host, ("origin", "https://evil.app.example.org")],
            &[("origin", "https://auth.example.org")],
            &[host, ("referer", "https://auth.example.org/")],
            &[("spin-full-url", "http://evil.example/"), host, ("origin", "https://evil.example")],
        ] {
            assert!(!is_accepted(headers), "{headers:?}");
        }
    }

    #[test]
    fn one_cookie_is_the_session_s() {
        let cookie = |lines: &[&str]| {
            let headers: Vec<(&str, &[u8])> =
                lines.iter().map(|line| ("cookie", line.as_bytes())).collect();
            session_cookie(&Request::of_test(&headers, "")).map(|value| value.map(str::to_owned))
        };
        let is = |lines: &[&str], expected: Option<&str>| {
            assert_eq!(cookie(lines).expect("accepted").as_deref(), expected, "{lines:?}");
        };
        is(&[], None);
        is(&["a=b"], None);
        is(&["__Host-session=x.y.z"], Some("x.y.z"));
        is(&["a=b; __Host-session=x.y.z; c=d"], Some("x.y.z"));
        is(&["a=b", "__Host-session=x.y.z"], Some("x.y.z"));
        is(&["x__Host-session=a", "__Host-sessions=b", "__host-session=c", "__Host-session"], None);
        for two in [&["__Host-session=a; __Host-session=b"][..], &["__Host-session=a"; 2]] {
            assert!(matches!(cookie(two), Err(Error::InvalidToken)), "{two:?}");
        }
    }
}
