//! What HTTP clients get wrong.

use std::time::Duration;

use edd_auth_server::http::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADMIN, ADMIN_PASSWORD, LIMITS, PATIENCE, Service};

#[tokio::test]
async fn unknown_paths_are_404() {
    let service = Service::start().await;
    for path in ["/", "/nothing", "/login/", "//login", "/Login", "/me%00", "/admin", "/%6cogin"] {
        service.get(path).send().await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn other_methods_are_405_and_name_those_that_work() {
    let service = Service::start().await;
    for (path, allowed) in [
        ("/login", "POST"),
        ("/logout", "POST"),
        ("/me", "GET, HEAD, PATCH"),
        ("/me/password", "PUT"),
        ("/me/sessions", "GET, HEAD, DELETE"),
        ("/service-accounts/zzzzzz/tokens/zzzzzz", "DELETE"),
        ("/introspect", "POST"),
        ("/admin/users", "GET, HEAD, POST"),
        ("/admin/users/a1B2c3", "GET, HEAD, PATCH, DELETE"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ] {
        for method in ["TRACE", "OPTIONS", "BREW"] {
            let reply = service.request(method, path).send().await;
            reply.assert_problem(405, "method_not_allowed");
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_objects_are_400() {
    let service = Service::start().await;
    for body in ["", "{", "null", "[]", "\"a\"", "{\"username\":}", "\u{feff}{}", "{'username':1}"]
    {
        let reply = service.post("/login").text("application/json", body).send().await;
        reply.assert_problem(400, "invalid_json");
    }
    let deep = format!("{{\"username\":{}", "[".repeat(10_000));
    let reply = service.post("/login").text("application/json", &deep).send().await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn other_media_types_are_415() {
    let service = Service::start().await;
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/json-seq"] {
        let reply = service.post("/login").text(media_type, &body).send().await;
        reply.assert_problem(415, "unsupported_media_type");
    }
    service.post("/login").send().await.assert_problem(415, "unsupported_media_type");
    for media_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let reply = service.post("/login").text(media_type, &body).send().await;
        assert_eq!(reply.status, 200, "{media_type}");
    }
}

#[tokio::test]
async fn a_body_of_64_kib_is_read_and_a_larger_one_is_413() {
    let service = Service::start().await;
    let padded = |length: usize| {
        let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
        body.clone() + &" ".repeat(length - body.len())
    };
    let fits = service.post("/login").text("application/json", &padded(65_536)).send().await;
    assert_eq!(fits.status, 200, "{}", fits.body);
    for length in [65_537, 66_560, 1_000_000] {
        let reply = service.post("/login").text("application/json", &padded(length)).send().await;
        reply.assert_problem(413, "body_too_large");
    }
    // Before anybody is asked who they are.
    let reply = service.post("/admin/users").text("application/json", &padded(66_560)).send().await;
    reply.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_chunked_body_past_the_limit_is_413_as_well() {
    let service = Service::start().await;
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096)).repeat(17);
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}0\r\n\r\n"
    );
    assert!(exchange(&service, &request).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_connection_whose_request_is_not_read_whole_says_that_it_ends() {
    let service = Service::start().await;
    let head = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 1000000\r\n\r\n";
    let answer = exchange(&service, &format!("{head}{}", " ".repeat(70_000))).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let healthy = service.get("/healthz").send().await;
    assert_eq!(healthy.header("connection"), None);
}

#[tokio::test]
async fn requests_that_are_not_http_are_refused_without_a_crash() {
    let service = Service::start().await;
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        ("GET http://a/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 "),
    ] {
        let answer = exchange(&service, request).await;
        assert!(answer.starts_with(expected), "{request:?}: {answer}");
    }
    let mut stream = TcpStream::connect(&service.address).await.expect("connected");
    let request = b"GET /me HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let half = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{";
    let mut stream = TcpStream::connect(&service.address).await.expect("connected");
    stream.write_all(half.as_bytes()).await.expect("sent");
    drop(stream);
    assert_eq!(service.get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let limits = Limits { body: Duration::from_millis(100), ..LIMITS };
    let service = Service::with_limits(limits).await;
    let answer = exchange(
        &service,
        "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"body_timed_out\""), "{answer}");
}

pub(crate) async fn exchange(service: &Service, request: &str) -> String {
    let mut stream = TcpStream::connect(&service.address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let service = Service::start().await;
    let answer =
        exchange(&service, "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_request_id_is_echoed_or_made() {
    let service = Service::start().await;
    let echoed = service.get("/healthz").header("x-request-id", "trace-1.a_B").send().await;
    assert_eq!(echoed.header("x-request-id"), Some("trace-1.a_B"));
    let answer = exchange(
        &service,
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: a b\"c\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(!answer.contains("a b\"c"), "{answer}");
}

#[tokio::test]
async fn forged_spin_headers_do_not_change_the_client_address() {
    let service = Service::start().await;
    let reply = service
        .post("/login")
        .header("spin-client-addr", "6.6.6.6:1")
        .header("x-forwarded-for", "6.6.6.6")
        .json(&json!({"username": ADMIN, "password": ADMIN_PASSWORD}))
        .send()
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(service.count("sessions where ip_address = '127.0.0.1'").await, 1);
}
