//! Pages of other origins, the cookie of a session, and requests that another site
//! forges.

use serde_json::{Value, json};

use crate::harness::{ADMIN, ADMIN_PASSWORD, Reply, Service};

const APP: &str = "https://app.example.org";

fn credentials(cookie: bool) -> Value {
    json!({"username": ADMIN, "password": ADMIN_PASSWORD, "cookie": cookie})
}

/// Logs in as a page of this service does, and returns the response and the cookie
/// as the browser sends it back.
async fn login_with_cookie(service: &Service) -> (Reply, String) {
    let reply = service
        .post("/login")
        .header("sec-fetch-site", "same-origin")
        .json(&credentials(true))
        .send()
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let cookie = reply.header("set-cookie").expect("a cookie").to_owned();
    (reply, cookie.split(';').next().expect("a pair").to_owned())
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_says_what_may_be_sent() {
    // A database that nobody could reach: a preflight asks none.
    let url = "postgres://auth@127.0.0.1:1/auth";
    let variables =
        [("cors_allowed_origins", "https://other.example.org, https://app.example.org")];
    let service = Service::on_database(url, &variables).await;
    for (path, methods) in [
        ("/login", "POST"),
        ("/admin/users/a1B2c3", "GET, HEAD, PATCH, DELETE"),
        ("/healthz", "GET, HEAD"),
    ] {
        let reply = service
            .request("OPTIONS", path)
            .header("origin", APP)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
            .await;
        assert_eq!(reply.status, 204, "{}", reply.body);
        for (name, value) in [
            ("access-control-allow-origin", APP),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", "authorization, content-type, if-match, x-request-id"),
            ("access-control-max-age", "600"),
            ("vary", "Origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path} {name}");
        }
    }
    let unknown = service
        .request("OPTIONS", "/nothing")
        .header("origin", APP)
        .header("access-control-request-method", "GET")
        .send()
        .await;
    unknown.assert_problem(404, "not_found");
}

#[tokio::test]
async fn any_other_origin_is_told_nothing() {
    let service = Service::start_with(&[("cors_allowed_origins", APP)]).await;
    let token = service.login_admin().await;
    for origin in [
        "https://evil.example",
        "https://app.example.org.evil.example",
        "https://app.example.org:8443",
        "http://app.example.org",
        "https://APP.example.org",
        "null",
        "*",
    ] {
        let preflight = service
            .request("OPTIONS", "/me")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .send()
            .await;
        preflight.assert_problem(403, "origin_not_allowed");
        let reply = service.get("/me").bearer(&token).header("origin", origin).send().await;
        assert_eq!(reply.status, 200);
        for reply in [preflight, reply] {
            for name in ["allow-origin", "allow-credentials", "allow-methods", "expose-headers"] {
                let name = format!("access-control-{name}");
                assert_eq!(reply.header(&name), None, "{origin} {name}");
            }
        }
    }
}

#[tokio::test]
async fn an_allowed_origin_reads_answers_and_refusals() {
    let service = Service::start_with(&[("cors_allowed_origins", APP)]).await;
    let token = service.login_admin().await;
    let good = service.get("/me").bearer(&token).header("origin", APP).send().await;
    let bad = service.get("/me").header("origin", APP).send().await;
    bad.assert_problem(401, "missing_token");
    for reply in [good, bad] {
        assert_eq!(reply.header("access-control-allow-origin"), Some(APP));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        let exposed = reply.header("access-control-expose-headers").expect("a list");
        assert!(exposed.contains("x-request-id") && exposed.contains("etag"), "{exposed}");
    }
    // Without an origin nobody asks.
    let plain = service.get("/me").bearer(&token).send().await;
    assert_eq!(plain.header("access-control-allow-origin"), None);
    // And without a list there is nobody to allow.
    let closed = Service::start().await;
    let reply = closed.get("/healthz").header("origin", APP).send().await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn the_browser_keeps_the_token_and_no_script_sees_it() {
    let service = Service::start().await;
    let (reply, cookie) = login_with_cookie(&service).await;
    let attributes = reply.header("set-cookie").expect("a cookie");
    let (pair, attributes) = attributes.split_once("; ").expect("attributes");
    assert!(pair.starts_with("__Host-session=ey"), "{pair}");
    assert_eq!(attributes, "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax");
    assert!(reply.body.get("token").is_none() && reply.body.get("token_type").is_none());
    assert_eq!(reply.body["user"]["username"], ADMIN);

    let me = service.get("/me").header("cookie", format!("a=b; {cookie}")).send().await;
    assert_eq!((me.status, &me.body["username"]), (200, &json!(ADMIN)));
    // Without being asked for, there is no cookie.
    let plain = service.post("/login").json(&credentials(false)).send().await;
    assert_eq!(plain.header("set-cookie"), None);
    assert!(plain.body["token"].is_string());
}

/// Whatever changes something, with what another site can make a browser send.
#[tokio::test]
async fn another_site_changes_nothing_with_the_cookie() {
    let service = Service::start_with(&[("cors_allowed_origins", APP)]).await;
    let (_, cookie) = login_with_cookie(&service).await;
    let before = (service.count("users").await, service.count("sessions").await);
    let foreign: [&[(&str, &str)]; 6] = [
        &[],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://blog.example.org")],
        &[("sec-fetch-site", "none")],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
    ];
    for headers in foreign {
        for (method, path, body) in [
            ("POST", "/logout", json!({})),
            ("PATCH", "/me", json!({"display_name": "Eve"})),
            ("PUT", "/me/password", json!({"current_password": "a", "new_password": "b"})),
            ("DELETE", "/me/sessions", json!({})),
            ("POST", "/admin/users", json!({"username": "eve", "password": "x"})),
            ("PATCH", "/admin/users/zzzzzz", json!({"is_admin": true})),
            ("POST", "/service-accounts", json!({"name": "x", "scopes": {}})),
            ("DELETE", "/admin/sessions/x", json!({})),
        ] {
            let mut request = service.request(method, path).header("cookie", &cookie).json(&body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.send().await.assert_problem(403, "cross_site");
        }
        // Nor does it log somebody in: as whom, it would know.
        let mut request = service.post("/login").json(&credentials(true));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.assert_problem(403, "cross_site");
    }
    assert_eq!((service.count("users").await, service.count("sessions").await), before);

    let own = format!("http://{}", service.address);
    let good: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "same-origin")],
        &[("origin", &own)],
        &[("origin", APP), ("sec-fetch-site", "cross-site")],
        &[("origin", APP)],
    ];
    for headers in good {
        let body = json!({"display_name": "Ada"});
        let mut request = service.patch("/me").header("cookie", &cookie).json(&body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = request.send().await;
        assert_eq!(reply.status, 200, "{headers:?} {}", reply.body);
    }
}

#[tokio::test]
async fn the_header_comes_before_the_cookie() {
    let service = Service::start().await;
    let (_, cookie) = login_with_cookie(&service).await;
    let token = service.login_admin().await;
    // With a token in the header nobody can have forged the request.
    let body = json!({"display_name": "Ada"});
    let reply =
        service.patch("/me").bearer(&token).header("cookie", &cookie).json(&body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let bad = service.get("/me").bearer("x").header("cookie", &cookie).send().await;
    bad.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn the_cookie_holds_a_session_and_nothing_else() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let account = service.create_service_account(&token).await;
    let api_token = service.create_token(&token, &account).await;
    let api_token = api_token["token"].as_str().expect("a token");
    let key = crate::harness::SERVICE_API_KEY;
    for value in [api_token, key, "", "x"] {
        let cookie = format!("__Host-session={value}");
        service
            .get("/me")
            .header("cookie", &cookie)
            .send()
            .await
            .assert_problem(401, "invalid_token");
    }
    let cookie = format!("__Host-session={key}");
    let reply = service.get("/snapshot/users").header("cookie", &cookie).send().await;
    reply.assert_problem(401, "invalid_service_key");
    for name in ["session", "__Secure-session", "__host-session"] {
        let cookie = format!("{name}={token}");
        let reply = service.get("/me").header("cookie", &cookie).send().await;
        reply.assert_problem(401, "missing_token");
    }
    let twice = format!("__Host-session={token}; __Host-session={token}");
    service.get("/me").header("cookie", &twice).send().await.assert_problem(401, "invalid_token");
}

/// ASVS 5.0, 7.2.4; CVE-2024-7341 (Keycloak) kept the session's id across the login.
#[tokio::test]
async fn every_login_is_a_new_session_in_place_of_the_browser_s_old_one() {
    let service = Service::start().await;
    let other = service.login_admin().await;
    let (_, first) = login_with_cookie(&service).await;
    let again = async |body: Value| {
        let request = service.post("/login").header("sec-fetch-site", "same-origin");
        request.header("cookie", &first).json(&body).send().await
    };
    // A login that fails, or that wants no cookie, ends nothing.
    let wrong = json!({"username": ADMIN, "password": "wrong", "cookie": true});
    again(wrong).await.assert_problem(401, "invalid_credentials");
    assert_eq!(again(credentials(false)).await.status, 200);
    assert_eq!(service.count("sessions").await, 3);

    let second = again(credentials(true)).await;
    let cookie = second.header("set-cookie").expect("a cookie");
    assert!(!cookie.starts_with(&format!("{first};")), "{cookie}");
    assert_eq!(service.count("sessions").await, 3);
    let old = service.get("/me").header("cookie", &first).send().await;
    old.assert_problem(401, "invalid_token");
    assert_eq!(service.get("/me").bearer(&other).send().await.status, 200);
    let ended: Vec<(String, String, Value)> = service
        .outbox()
        .await
        .into_iter()
        .filter(|(kind, _, _)| kind == "SessionInvalidated")
        .collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].2["reason"], "logout");
    let entry = service.last_audit("logout").await;
    assert_eq!(entry["resource"], format!("session:{}", ended[0].1));

    // One that has ended, or is none, replaces nothing.
    assert_eq!(again(credentials(true)).await.status, 200);
    assert_eq!(
        service.outbox_kinds().await.iter().filter(|k| *k == "SessionInvalidated").count(),
        1
    );
}

#[tokio::test]
async fn logout_ends_the_session_and_clears_the_cookie() {
    let service = Service::start().await;
    let (_, cookie) = login_with_cookie(&service).await;
    let logout = || {
        let request = service.post("/logout").header("cookie", &cookie);
        request.header("sec-fetch-site", "same-origin").send()
    };
    let reply = logout().await;
    assert_eq!(reply.status, 204);
    let cleared = "__Host-session=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(reply.header("set-cookie"), Some(cleared));
    assert_eq!(service.count("sessions").await, 0);
    logout().await.assert_problem(401, "invalid_token");
    let me = service.get("/me").header("cookie", &cookie).send().await;
    me.assert_problem(401, "invalid_token");

    let token = service.login_admin().await;
    let plain = service.post("/logout").bearer(&token).send().await;
    assert_eq!((plain.status, plain.header("set-cookie")), (204, None));
}
