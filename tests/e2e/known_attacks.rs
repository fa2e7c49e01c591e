//! What broke others stays fixed here: an attack for each class of hole that has been
//! found in services like this one. Each test names where it was found and what went
//! wrong there, and comes from that side; the behaviour that it relies on is tested in
//! the file of its resource.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::forgery::Forgery;
use crate::harness::{
    ADMIN, ADMIN_PASSWORD, JWT_SECRET, PASSWORD, Request, SERVICE_API_KEY, Service,
};
use crate::introspect::introspect;
use crate::protocol::exchange;
use crate::throttle::{behind_a_proxy, execute, login_from};

const WRONG: &str = "not the password of anybody";
const NEW_PASSWORD: &str = "another horse, another staple";

/// What the database says of users, sessions, service accounts and tokens, but for when
/// a token was last used.
async fn contents(service: &Service) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_array( \
             (select jsonb_agg(to_jsonb(users) order by id) from users), \
             (select jsonb_agg(to_jsonb(sessions) order by id) from sessions), \
             (select jsonb_agg(to_jsonb(service_accounts) order by id) from service_accounts), \
             (select jsonb_agg(to_jsonb(api_tokens) - 'last_used_at' order by id) \
              from api_tokens))",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("the contents")
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().expect("a text")
}

fn user_path(user: &Value) -> String {
    format!("/admin/users/{}", text(user, "public_id"))
}

fn account_path(account: &Value) -> String {
    format!("/service-accounts/{}", text(account, "service_account_id"))
}

/// The base of a test of forged tokens: a live session's token, and a copy of it that is
/// as good.
async fn forgery(service: &Service) -> Forgery {
    let forgery = Forgery::of(&service.login_admin().await);
    let copy = service.get("/me").bearer(&forgery.signed()).send().await;
    assert_eq!(copy.status, 200, "{}", copy.body);
    forgery
}

/// Whoever shows the token is refused, and whoever asks about it learns nothing.
async fn assert_refused(service: &Service, what: &str, token: &str) {
    let reply = service.get("/me").bearer(token).send().await;
    assert_eq!((reply.status, reply.body["code"].as_str()), (401, Some("invalid_token")), "{what}");
    let asked = introspect(service, token).await;
    assert_eq!((asked.status, &asked.body), (200, &json!({"active": false})), "{what}");
}

/// CVE-2025-61928 (Better Auth): without a session, the user that a request for an API
/// key named in its body was taken for the caller.
#[tokio::test]
async fn an_owner_in_the_body_mints_nothing() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let account = service.create_service_account(&token).await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "bob").await;
    let bob = service.login("bob", PASSWORD).await;
    let before = contents(&service).await;

    let own = json!({"name": "ci", "scopes": {}});
    let of_ada = json!({"name": "ci", "expires_in": "never"});
    let login = json!({"username": "ada"});
    let tokens = format!("{}/tokens", account_path(&account));
    let mut accepted = Vec::new();
    for name in ["user_id", "userId", "owner", "owner_id", "public_id", "sub", "sid", "is_admin"] {
        let value = match name {
            "user_id" | "owner_id" => &ada["user_id"],
            "is_admin" => &json!(true),
            _ => &ada["public_id"],
        };
        let with = |body: &Value| {
            let mut body = body.clone();
            body[name] = value.clone();
            body
        };
        for (path, body) in [("/service-accounts", &own), (tokens.as_str(), &of_ada)] {
            let query = format!("{path}?{name}={}", value.to_string().trim_matches('"'));
            for path in [path, &query] {
                let nobody = service.post(path).json(&with(body)).send().await;
                let somebody = service.post(path).bearer(&bob).json(&with(body)).send().await;
                if (nobody.status, somebody.status) != (401, 400) {
                    accepted.push((path.to_owned(), name, nobody.status, somebody.status));
                }
            }
        }
        let reply = service.post("/login").json(&with(&login)).send().await;
        if reply.status != 400 {
            accepted.push(("/login".to_owned(), name, reply.status, 0));
        }
    }
    assert_eq!(accepted, []);
    assert_eq!(contents(&service).await, before);
}

/// CVE-2024-47070 (authentik): with an address in `X-Forwarded-For` that did not parse,
/// the step that asks for the password was left out.
#[tokio::test]
async fn an_address_that_does_not_parse_opens_nothing_and_hides_nobody() {
    let long = "1,".repeat(1000);
    let unparsable = [
        "a",
        "",
        ",",
        "unknown",
        "999.1.1.1",
        "127.0.0.1,",
        "[::1]x",
        "::1%lo",
        "1.2.3.4 x",
        &long,
    ];
    for hops in ["0", "1", "2"] {
        let service = Service::start_with(&[("trusted_proxy_hops", hops)]).await;
        // All of these are the peer's, whose tries are counted together.
        for forwarded in &unparsable[..4] {
            let reply = login_from(&service, forwarded, ADMIN, WRONG).await;
            reply.assert_problem(401, "invalid_credentials");
        }
        let body = json!({"username": ADMIN, "password": WRONG});
        let plain = service.post("/login").json(&body).send().await;
        plain.assert_problem(401, "invalid_credentials");
        for forwarded in unparsable {
            for password in [WRONG, ADMIN_PASSWORD] {
                let reply = login_from(&service, forwarded, ADMIN, password).await;
                reply.assert_problem(429, "too_many_attempts");
            }
        }
        assert_eq!(service.count("login_throttle where key like 'pair %'").await, 1);
        assert_eq!(service.count("sessions").await, 0);
    }
}

/// GHSA-7h8m-vrxx-vr4m (ZITADEL): of passwords that were checked at the same moment, more
/// were tried than the lockout allowed, as each check saw the count from before.
#[tokio::test]
async fn guesses_that_are_made_together_are_no_more_than_guesses_in_a_row() {
    // Three hosts with four connections each, and both entrances of each host.
    let first = Service::start().await;
    let second = Service::on_database(&first.database_url, &[]).await;
    let third = Service::on_database(&first.database_url, &[]).await;
    let token = first.login_admin().await;
    execute(
        &first,
        "insert into login_throttle (key) values (login_throttle_key('pair', 'admin 127.0.0.1'))",
    )
    .await;
    let mut database = first.database().await;
    sqlx::raw_sql("begin; select key from login_throttle for update")
        .execute(&mut database)
        .await
        .expect("locked");
    let login = json!({"username": ADMIN, "password": WRONG});
    let change = json!({"current_password": WRONG, "new_password": NEW_PASSWORD});
    let guesses = [&first, &second, &third].into_iter().flat_map(|service| {
        [
            service.post("/login").json(&login),
            service.post("/login").json(&login),
            service.put("/me/password").bearer(&token).json(&change),
            service.put("/me/password").bearer(&token).json(&change),
        ]
    });
    let guesses = futures::future::join_all(guesses.map(Request::send));
    let release = async {
        first.until_blocked(12).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (replies, ()) = tokio::join!(guesses, release);
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    let tried = statuses.iter().filter(|status| matches!(status, 401 | 403)).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((tried, refused), (5, 7), "{statuses:?}");
}

/// CVE-2026-9798 (Keycloak): an account that was locked after too many wrong passwords
/// could still be signed in to by another flow, which did not ask about the lock.
#[tokio::test]
async fn no_second_entrance_skips_the_limiter() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let right = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
    for _ in 0..5 {
        let body = json!({"username": ADMIN, "password": WRONG});
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(401, "invalid_credentials");
    }
    // The other place that verifies a password.
    let change = json!({"current_password": ADMIN_PASSWORD, "new_password": NEW_PASSWORD});
    let reply = service.put("/me/password").bearer(&token).json(&change).send().await;
    reply.assert_problem(429, "too_many_attempts");
    // The same place under other names, the same user under other names.
    for path in ["/login?", "/login?a=b", "/login?username=ada"] {
        let reply = service.post(path).json(&right).send().await;
        reply.assert_problem(429, "too_many_attempts");
    }
    for path in ["//login", "/login/", "/Login", "/./login", "/me/../login", "/%6cogin", "/login;a"]
    {
        service.post(path).json(&right).send().await.assert_problem(404, "not_found");
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "post"] {
        let reply = service.request(method, "/login").json(&right).send().await;
        reply.assert_problem(405, "method_not_allowed");
    }
    let head = format!(
        "HEAD /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{right}",
        right.to_string().len()
    );
    assert!(exchange(&service, &head).await.starts_with("HTTP/1.1 405 "));
    for username in ["ADMIN", "Admin", " admin", "\u{ff21}\u{ff24}\u{ff2d}\u{ff29}\u{ff2e}"] {
        let body = json!({"username": username, "password": ADMIN_PASSWORD});
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(429, "too_many_attempts");
    }
    let form = format!("username={ADMIN}&password={ADMIN_PASSWORD}");
    let reply = service.post("/login").text("application/x-www-form-urlencoded", &form).send();
    reply.await.assert_problem(415, "unsupported_media_type");
    // Nothing takes a name and a password in a header.
    let basic = format!("Basic {}", STANDARD.encode(format!("{ADMIN}:{ADMIN_PASSWORD}")));
    for path in ["/me", "/admin/users", "/service-accounts"] {
        let reply = service.get(path).header("authorization", &basic).send().await;
        reply.assert_problem(401, "invalid_token");
    }
    assert_eq!(service.count("sessions").await, 1);
}

/// GHSA-cq42-vhv7-xr7p (Keycloak): a user whose name had the form of an e-mail address
/// could be kept out by wrong passwords that somebody else gave.
#[tokio::test]
async fn nobody_is_kept_out_by_what_others_get_wrong() {
    let service = behind_a_proxy().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada@example.org").await;
    service.create_user(&admin, "ada").await;
    service.create_user(&admin, "ada@example.com").await;
    let home = "192.0.2.7";
    let reply = login_from(&service, home, "ada@example.org", PASSWORD).await;
    let token = text(&reply.body, "token").to_owned();
    let rename = json!({"display_name": "Ada"});
    service.patch("/me").bearer(&token).json(&rename).send().await;

    // From her own network, under what is hers and is not the name she logs in with.
    for name in [text(&ada, "public_id"), &ada["user_id"].to_string(), "Ada", "ada@example"] {
        for _ in 0..6 {
            login_from(&service, home, name, WRONG).await;
        }
    }
    assert_eq!(login_from(&service, home, "ada@example.org", PASSWORD).await.status, 200);

    // From everywhere, under her name.
    execute(
        &service,
        "insert into login_throttle (key, failures) \
         values (login_throttle_key('name', 'ada@example.org'), 150) \
         on conflict (key) do update set failures = 150, since = now()",
    )
    .await;
    let stranger = login_from(&service, "198.51.100.1", "Ada@Example.org", PASSWORD).await;
    stranger.assert_problem(429, "too_many_attempts");
    // Her session goes on, wherever she is, and so does her own network.
    let away = "203.0.113.9";
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let request = service.put("/me/password").bearer(&token).header("x-forwarded-for", away);
    assert_eq!(request.json(&change).send().await.status, 204);
    assert_eq!(login_from(&service, home, "ada@example.org", NEW_PASSWORD).await.status, 200);
    // Names like hers are other names.
    for name in ["ada", "ada@example.com"] {
        assert_eq!(login_from(&service, away, name, PASSWORD).await.status, 200, "{name}");
    }
}

/// CVE-2026-23511 (ZITADEL): a login page told names that exist from names that do not,
/// even where it was set to ignore unknown ones.
#[tokio::test]
async fn a_name_that_exists_gets_the_answer_of_one_that_does_not() {
    let service = behind_a_proxy().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let carol = service.create_user(&admin, "carol").await;
    let dave = service.create_user(&admin, "dave").await;
    let body = json!({"disabled": true});
    service.patch(&user_path(&carol)).bearer(&admin).json(&body).send().await;
    service.delete(&user_path(&dave)).bearer(&admin).send().await;

    // Each from a network of its own, and past the limit.
    let guess = async |place: usize, name: &str, password: &str| {
        let address = format!("192.0.2.{place}");
        let mut replies = Vec::new();
        for _ in 0..7 {
            replies.push(login_from(&service, &address, name, password).await);
        }
        replies
    };
    let of_nobody = guess(0, "nobody", PASSWORD).await;
    for (place, name, password) in [
        (1, ADMIN, WRONG),
        (2, "carol", PASSWORD),
        (3, "carol", WRONG),
        (4, "dave", PASSWORD),
        (5, text(&ada, "public_id"), PASSWORD),
    ] {
        let replies = guess(place, name, password).await;
        for (expected, reply) in of_nobody.iter().zip(&replies) {
            let (status, headers, body) = expected.appearance();
            if status == 401 {
                assert_eq!(reply.appearance(), (status, headers, body), "{name}");
                continue;
            }
            // The seconds to wait run on.
            let (other_status, other_headers, other_body) = reply.appearance();
            assert_eq!((status, &body["code"]), (other_status, &other_body["code"]), "{name}");
            assert!(headers.keys().eq(other_headers.keys()), "{name}");
        }
    }
}

/// CVE-2026-23511 (ZITADEL): pages for a new password told ids that exist from ids that do
/// not, whoever asked.
#[tokio::test]
async fn an_id_that_exists_gets_the_answer_of_one_that_does_not() {
    let service = Service::start().await;
    let (ada, of_ada) = service.ada().await;
    let account = service.create_service_account(&of_ada).await;
    let secret = service.create_token(&of_ada, &account).await;
    let session = Forgery::of(&of_ada);
    let admin = service.login_admin().await;
    service.create_user(&admin, "bob").await;
    let bob = service.login("bob", PASSWORD).await;

    let known = |path: &str| {
        path.replace("USER", text(&ada, "public_id"))
            .replace("SESSION", session.get("sid").as_str().expect("a session"))
            .replace("ACCOUNT", text(&account, "service_account_id"))
            .replace("TOKEN", text(&secret, "token_id"))
    };
    let unknown = |path: &str| {
        path.replace("USER", "zzzzzz")
            .replace("SESSION", "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f")
            .replace("ACCOUNT", "zzzzzzzzzzzz")
            .replace("TOKEN", "zzzzzzzzzzzz")
    };
    for (method, path) in [
        ("GET", "/admin/users/USER"),
        ("PATCH", "/admin/users/USER"),
        ("DELETE", "/admin/users/USER"),
        ("PUT", "/admin/users/USER/password"),
        ("GET", "/admin/sessions?user=USER"),
        ("GET", "/admin/audit?actor=USER"),
        ("DELETE", "/admin/sessions/SESSION"),
        ("DELETE", "/me/sessions/SESSION"),
        ("GET", "/service-accounts/ACCOUNT"),
        ("DELETE", "/service-accounts/ACCOUNT"),
        ("GET", "/service-accounts/ACCOUNT/tokens"),
        ("DELETE", "/service-accounts/ACCOUNT/tokens/TOKEN"),
    ] {
        // Another user, and nobody.
        let as_bob = |path: &str| service.request(method, path).bearer(&bob).send();
        let (one, other) = (as_bob(&known(path)).await, as_bob(&unknown(path)).await);
        assert!(matches!(one.status, 403 | 404), "{method} {path}: {}", one.body);
        assert_eq!(one.appearance(), other.appearance(), "{method} {path}");
        let as_nobody = |path: &str| service.request(method, path).send();
        let (one, other) = (as_nobody(&known(path)).await, as_nobody(&unknown(path)).await);
        assert_eq!(one.status, 401, "{method} {path}");
        assert_eq!(one.appearance(), other.appearance(), "{method} {path}");
    }
    let create = async |username: &str| {
        let body = json!({"username": username, "password": PASSWORD});
        service.post("/admin/users").bearer(&bob).json(&body).send().await
    };
    let (taken, free) = (create("ada").await, create("nobody").await);
    taken.assert_problem(403, "forbidden");
    assert_eq!(taken.appearance(), free.appearance());
}

/// CVE-2026-7507, CVE-2024-7341 (Keycloak): whoever logged in was put into a session that
/// an attacker had begun, or kept the session id from before the login.
#[tokio::test]
async fn a_login_opens_a_session_that_nobody_has_known_before() {
    let service = Service::start().await;
    let (ada, _) = service.ada().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "mallory").await;
    let live = service.login("mallory", PASSWORD).await;
    let dead = service.login("mallory", PASSWORD).await;
    service.post("/logout").bearer(&dead).send().await;
    let me = service.get("/me").bearer(&live).send().await.body;

    for planted in [&dead, &live] {
        let sid = Forgery::of(planted).get("sid").as_str().expect("a session").to_owned();
        let cookie = format!(
            "session={planted}; __Host-session={planted}; sid={sid}; session_id={sid}; SID={sid}"
        );
        // What a browser sends whose attacker could write cookies, links and headers.
        let body = json!({"username": "ada", "password": PASSWORD});
        let reply = service
            .post(&format!("/login?sid={sid}&session_id={sid}&token={planted}"))
            .bearer(planted)
            .header("cookie", &cookie)
            .header("sec-fetch-site", "same-origin")
            .header("x-session-id", &sid)
            .json(&body)
            .send()
            .await;
        assert_eq!((reply.status, &reply.body["user"]), (200, &ada), "{}", reply.body);
        assert_eq!(reply.header("set-cookie"), None);
        let new = text(&reply.body, "token");
        let new_sid = Forgery::of(new).get("sid").as_str().expect("a session").to_owned();
        assert!(new != planted && new_sid != sid);
        // One of its own in the database, too, and in the events.
        assert_eq!(service.outbox().await.last().expect("an event").1, new_sid);
        for name in ["sid", "session_id", "token"] {
            let mut body = body.clone();
            body[name] = json!(sid);
            service.post("/login").json(&body).send().await.assert_field(name);
        }
        // And the same user again: again another one.
        let again = service.post("/login").bearer(new).json(&body).send().await;
        assert_ne!(Forgery::of(text(&again.body, "token")).get("sid"), &json!(new_sid));
    }
    // What was planted is what it was.
    assert_eq!(service.get("/me").bearer(&live).send().await.body, me);
    service.get("/me").bearer(&dead).send().await.assert_problem(401, "invalid_token");
}

/// CVE-2019-3868 (Keycloak): an access or an id token, which other services get to see,
/// was as good as the cookie of the user's own session.
#[tokio::test]
async fn a_token_of_one_kind_is_no_token_of_another() {
    let service = Service::start().await;
    let session = service.login_admin().await;
    service.create_user(&session, "ada").await;
    let account = service.create_service_account(&session).await;
    let api_token = service.create_token(&session, &account).await;
    let (token_id, api_token) = (text(&api_token, "token_id"), text(&api_token, "token"));
    let list = service.get("/admin/users?limit=1").bearer(&session).send().await.body;
    let cursor = text(&list, "next_cursor");
    let (sealed, seal) = cursor.split_once('.').expect("two parts");
    let (head, signature) = session.rsplit_once('.').expect("three parts");
    let (header, claims) = head.split_once('.').expect("three parts");
    let base = forgery(&service).await;
    let hash: String = sqlx::query_scalar("select password_hash from users where username = $1")
        .bind(ADMIN)
        .fetch_one(&mut service.database().await)
        .await
        .expect("a hash");

    // As a session: what is signed with the same key for something else, and what else
    // there is of secrets, ids and hashes. A cursor is signed behind `sealed.`.
    let sid = base.get("sid").as_str().expect("a session");
    for (what, token) in [
        ("a cursor", cursor.to_owned()),
        ("what a cursor signs", format!("sealed.{cursor}")),
        ("a cursor behind the header of a session", format!("{header}.{cursor}")),
        ("the claims of a session under the seal of a cursor", format!("{head}.{seal}")),
        ("an access token", base.header("typ", json!("at+jwt")).signed()),
        ("a plain token", base.header("typ", json!("JWT")).signed()),
        ("a token without a kind", base.without_header("typ").signed()),
        ("a token of kind null", base.header("typ", Value::Null).signed()),
        ("the key of the services", SERVICE_API_KEY.to_owned()),
        ("the key of the tokens", JWT_SECRET.to_owned()),
        ("the id of a session", sid.to_owned()),
        ("the id of an API token", token_id.to_owned()),
        ("the hash of a password", hash.clone()),
    ] {
        assert_refused(&service, what, &token).await;
    }
    for path in ["/me/sessions", "/admin/users", "/service-accounts"] {
        let reply = service.get(path).bearer(api_token).send().await;
        reply.assert_problem(403, "session_required");
    }
    // As the key of a service.
    for token in [session.as_str(), api_token, cursor, JWT_SECRET, sid] {
        let form = format!("token={session}");
        let request = service.post("/introspect").bearer(token);
        let reply = request.text("application/x-www-form-urlencoded", &form).send().await;
        reply.assert_problem(401, "invalid_service_key");
        for path in ["/snapshot/users", "/snapshot/identities"] {
            let reply = service.get(path).bearer(token).send().await;
            reply.assert_problem(401, "invalid_service_key");
        }
    }
    // As a cursor.
    let wanted = URL_SAFE_NO_PAD.encode(r#"{"list":"admin/users[None]","after":"0"}"#);
    for token in [
        session.clone(),
        format!("{claims}.{signature}"),
        format!("{head}.{seal}"),
        format!("{sealed}.{signature}"),
        format!("{wanted}.{signature}"),
        format!("{wanted}.{seal}"),
        api_token.to_owned(),
        SERVICE_API_KEY.replace(' ', "+"),
    ] {
        let path = format!("/admin/users?cursor={token}");
        service.get(&path).bearer(&session).send().await.assert_field("cursor");
    }
    // As a password.
    for password in [hash.as_str(), api_token, SERVICE_API_KEY, JWT_SECRET] {
        let body = json!({"username": ADMIN, "password": password});
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(401, "invalid_credentials");
    }
}

/// CVE-2026-55669 (ZITADEL): a token of a trusted issuer was good whoever it had been
/// issued for, so that any other service of that issuer could use what it was shown.
#[tokio::test]
async fn a_token_for_others_or_of_others_is_refused() {
    let service = Service::start().await;
    let base = forgery(&service).await;
    for claim in ["aud", "iss"] {
        let ours = base.get(claim).as_str().expect("a text");
        for value in [
            json!("mail"),
            json!(""),
            json!(ours.to_uppercase()),
            json!(format!("{ours}/")),
            json!(format!("{ours} mail")),
            json!(&ours[..ours.len() - 1]),
            json!(["mail"]),
            json!([]),
            json!({ours: true}),
            json!(0),
            json!(true),
            Value::Null,
        ] {
            let what = format!("{claim} {value}");
            assert_refused(&service, &what, &base.claim(claim, value).signed()).await;
        }
        assert_refused(&service, claim, &base.without(claim).signed()).await;
    }
    // Two services with one key and one database: the session is live in both.
    for variable in ["jwt_audience", "jwt_issuer"] {
        let other = Service::on_database(&service.database_url, &[(variable, "mail")]).await;
        assert_refused(&other, variable, &base.signed()).await;
        assert_refused(&service, variable, &other.login_admin().await).await;
    }
}

/// CVE-2023-48223 (fast-jwt): the token said which algorithm verifies it, so a public key
/// was used as the secret of an HMAC.
#[tokio::test]
async fn the_token_does_not_choose_how_it_is_verified() {
    let service = Service::start().await;
    let base = forgery(&service).await;
    let secret = JWT_SECRET.as_bytes();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let forged = base.header("alg", json!(name));
        assert_refused(&service, name, &forged.unsigned()).await;
        assert_refused(&service, name, &forged.signed()).await;
        assert_refused(&service, name, forged.unsigned().trim_end_matches('.')).await;
    }
    for name in [
        "HS384", "HS512", "hs256", "HS1", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384",
        "EdDSA", "Ed25519", "dir",
    ] {
        assert_refused(&service, name, &base.under(name, secret)).await;
        let forged = base.header("alg", json!(name));
        assert_refused(&service, name, &forged.signed()).await;
    }
    for alg in [Value::Null, json!(["HS256"]), json!(256), json!({"name": "HS256"})] {
        let what = alg.to_string();
        assert_refused(&service, &what, &base.header("alg", alg).signed()).await;
    }
    assert_refused(&service, "no alg", &base.without_header("alg").signed()).await;
    for hmac in [Algorithm::HS384, Algorithm::HS512] {
        assert_refused(&service, "another hash", &base.signed_with(hmac, secret)).await;
    }
    // Nor does it bring its key, or say where one is.
    let own = b"a key that the attacker has made up";
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(own)});
    let url = format!("http://{}/openapi.json", service.address);
    for (name, value, key) in [
        ("jwk", jwk.clone(), own.as_slice()),
        ("jku", json!(&url), own),
        ("x5u", json!(&url), own),
        ("x5c", json!([STANDARD.encode(own)]), own),
        ("kid", json!("../../../../dev/null"), b""),
        ("kid", json!(&url), own),
        ("kid", json!("' union select 'a key that the attacker has made up"), own),
    ] {
        let forged = base.header(name, value).signed_with(Algorithm::HS256, key);
        assert_refused(&service, name, &forged).await;
    }
    let keyless = base.signed_with(Algorithm::HS256, b"");
    assert_refused(&service, "no key", &keyless).await;
    let critical = base.header("crit", json!(["exp"])).signed();
    assert_refused(&service, "crit", &critical).await;
}

/// CVE-2026-25537 (jsonwebtoken): a time that was no number counted as one that was not
/// there, so that nobody asked whether it had passed.
#[tokio::test]
async fn a_time_that_is_no_time_is_refused() {
    let service = Service::start().await;
    let base = forgery(&service).await;
    let now = base.get("iat").as_i64().expect("a time");
    let malformed = [
        json!("32503680000"),
        json!("never"),
        json!(""),
        json!(32_503_680_000.5),
        json!(1e300),
        json!(-1e300),
        json!(u64::MAX),
        json!(true),
        json!([]),
        json!([now]),
        json!({}),
        Value::Null,
    ];
    let mut accepted = Vec::new();
    for claim in ["exp", "nbf", "iat"] {
        for value in &malformed {
            let token = base.claim(claim, value.clone()).signed();
            if service.get("/me").bearer(&token).send().await.status != 401 {
                accepted.push(format!("{claim} {value}"));
            }
        }
    }
    for (what, token) in [
        ("no exp", base.without("exp")),
        ("no iat", base.without("iat")),
        ("exp -1", base.claim("exp", json!(-1))),
        ("iat -1", base.claim("iat", json!(-1))),
        ("nbf -1", base.claim("nbf", json!(-1))),
        ("exp 0", base.claim("exp", json!(0))),
        ("exp passed", base.claim("exp", json!(now - 3600))),
        ("nbf to come", base.claim("nbf", json!(now + 3600))),
        ("iat to come", base.claim("iat", json!(now + 3600))),
    ] {
        if service.get("/me").bearer(&token.signed()).send().await.status != 401 {
            accepted.push(what.to_owned());
        }
    }
    assert_eq!(accepted, [] as [String; 0]);
}

/// CVE-2023-22492 (ZITADEL): refresh tokens of a user who had been locked or deactivated
/// went on giving access.
#[tokio::test]
async fn nothing_of_a_disabled_or_deleted_user_is_alive() {
    let service = Service::start().await;
    let (ada, session) = service.ada().await;
    let account = service.create_service_account(&session).await;
    let api_token = service.create_token(&session, &account).await;
    let api_token = text(&api_token, "token");
    let admin = service.login_admin().await;
    let dead = async |token: &str| assert_refused(&service, "of a user who is out", token).await;
    let opens = async |token: &str| service.get("/me").bearer(token).send().await.status;
    assert_eq!((opens(&session).await, opens(api_token).await), (200, 200));

    let body = json!({"username": "ada", "password": PASSWORD});
    let disable = async |disabled: bool| {
        let body = json!({"disabled": disabled});
        let reply = service.patch(&user_path(&ada)).bearer(&admin).json(&body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    disable(true).await;
    dead(&session).await;
    dead(api_token).await;
    service.post("/login").json(&body).send().await.assert_problem(401, "invalid_credentials");
    // A row that should have gone, and was left behind, opens nothing either.
    let base = Forgery::of(&session);
    sqlx::query(
        "insert into sessions (id, user_id, expires_at) \
         select $1, id, now() + interval '1 day' from users where username = 'ada'",
    )
    .bind(base.get("sid").as_str())
    .execute(&mut service.database().await)
    .await
    .expect("a session that was left behind");
    dead(&session).await;
    let accounts = account_path(&account);
    let mint = json!({"name": "late", "expires_in": "never"});
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    for reply in [
        service.post(&format!("{accounts}/tokens")).bearer(&session).json(&mint).send().await,
        service.put("/me/password").bearer(&session).json(&change).send().await,
        service.get("/me/sessions").bearer(&session).send().await,
        service.get(&accounts).bearer(&session).send().await,
        service.delete(&accounts).bearer(&session).send().await,
        service.post("/logout").bearer(&session).send().await,
    ] {
        reply.assert_problem(401, "invalid_token");
    }
    execute(
        &service,
        "delete from sessions using users where users.id = user_id and username = 'ada'",
    )
    .await;
    // Enabled again, a user logs in again.
    disable(false).await;
    dead(&session).await;
    let session = service.login("ada", PASSWORD).await;

    assert_eq!(service.delete(&user_path(&ada)).bearer(&admin).send().await.status, 204);
    for path in ["/snapshot/users", "/snapshot/identities"] {
        let rows = service.get(path).bearer(SERVICE_API_KEY).send().await.body.to_string();
        assert!(!rows.contains(text(&ada, "public_id")), "{rows}");
    }
    // Nor does it come back with somebody who gets the name.
    service.create_user(&admin, "ada").await;
    let heir = service.login("ada", PASSWORD).await;
    service.create_service_account(&heir).await;
    for token in [session.as_str(), api_token] {
        dead(token).await;
    }
    assert_eq!(opens(&heir).await, 200);
}

/// CVE-2026-27946 (ZITADEL): a user who could change the own e-mail address could send
/// along that it had been verified.
#[tokio::test]
async fn a_field_that_is_not_offered_is_refused() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let admin = service.login_admin().await;
    let account = service.create_service_account(&token).await;
    let before = contents(&service).await;
    let path = account_path(&account);
    let (scopes, tokens) = (format!("{path}/scopes"), format!("{path}/tokens"));
    let (user, password) = (user_path(&ada), format!("{}/password", user_path(&ada)));
    let hash = json!("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA");
    let columns = json!({
        "id": 1, "user_id": 1, "public_id": "zzzzzz", "username": "root", "password": PASSWORD,
        "display_name": "x", "is_admin": true, "isAdmin": true, "IS_ADMIN": true,
        "disabled": false, "password_hash": hash, "version": 7, "created_at": 0, "updated_at": 0,
        "owner_id": 1, "service_account_id": "zzzzzzzzzzzz", "name": "x", "scopes": {},
        "token": "x", "token_hash": "x", "token_id": "zzzzzzzzzzzz", "expires_at": 0, "sid": "x",
        "session_id": "x", "current_password": PASSWORD, "roles": ["admin"], "__proto__": {},
    });
    let mut accepted = Vec::new();
    for (method, path, bearer, body) in [
        ("PATCH", "/me", &token, json!({"display_name": "Ada"})),
        (
            "PUT",
            "/me/password",
            &token,
            json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
        ),
        ("POST", "/service-accounts", &token, json!({"name": "ci", "scopes": {}})),
        ("PUT", &scopes, &token, json!({"scopes": {}})),
        ("POST", &tokens, &token, json!({"name": "ci", "expires_in": "never"})),
        ("POST", "/login", &token, json!({"username": "ada", "password": PASSWORD})),
        (
            "POST",
            "/admin/users",
            &admin,
            json!({"username": "bob", "password": PASSWORD, "display_name": "b"}),
        ),
        (
            "PATCH",
            &user,
            &admin,
            json!({"display_name": "x", "username": "ada", "disabled": false, "is_admin": false}),
        ),
        ("PUT", &password, &admin, json!({"new_password": NEW_PASSWORD})),
    ] {
        for (name, value) in columns.as_object().expect("an object") {
            if body.get(name).is_some() {
                continue;
            }
            let mut body = body.clone();
            body[name] = value.clone();
            let reply = service.request(method, path).bearer(bearer).json(&body).send().await;
            if (reply.status, &reply.body["field"]) != (400, &json!(name)) {
                accepted.push(format!("{method} {path} {name}: {}", reply.status));
            }
        }
    }
    assert_eq!(accepted, [] as [String; 0]);
    assert_eq!(contents(&service).await, before);
}

/// GHSA-xxwr-vvr3-2g9f: what somebody was allowed to read could be edited as well.
#[tokio::test]
async fn what_one_may_read_one_may_not_change() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let account = service.create_service_account(&token).await;
    let secret = service.create_token(&token, &account).await;
    let api_token = text(&secret, "token");
    let admin = service.login_admin().await;
    service.create_user(&admin, "bob").await;
    let bob = service.login("bob", PASSWORD).await;
    let sid = Forgery::of(&token).get("sid").as_str().expect("a session").to_owned();
    let before = contents(&service).await;

    let account = account_path(&account);
    let secret = format!("{account}/tokens/{}", text(&secret, "token_id"));
    let (user, sessions) = (user_path(&ada), format!("/admin/sessions/{sid}"));
    let (scopes, tokens) = (format!("{account}/scopes"), format!("{account}/tokens"));
    let (reset, own_session) = (format!("{user}/password"), format!("/me/sessions/{sid}"));
    let rename = json!({"display_name": "x"});
    let demote = json!({"disabled": true, "is_admin": true, "username": "eve"});
    let users = "/admin/users".to_owned();
    let password = json!({"new_password": NEW_PASSWORD});
    let create = json!({"username": "eve", "password": PASSWORD});
    let (empty, mint) = (json!({"scopes": {}}), json!({"name": "x", "expires_in": "never"}));
    // What a user may do with users, and with things of other users: nothing.
    let of_admins = [
        ("PATCH", &user, &demote),
        ("DELETE", &user, &Value::Null),
        ("PUT", &reset, &password),
        ("DELETE", &sessions, &Value::Null),
        ("POST", &users, &create),
    ];
    let of_ada = [
        ("PUT", &scopes, &empty),
        ("DELETE", &account, &Value::Null),
        ("POST", &tokens, &mint),
        ("DELETE", &secret, &Value::Null),
        ("DELETE", &own_session, &Value::Null),
    ];
    let attempt = async |bearer: &str, expected: u16, attempts: &[(&str, &String, &Value)]| {
        let mut others = Vec::new();
        for (method, path, body) in attempts {
            let request = service.request(method, path).bearer(bearer).header("if-match", "*");
            let status = request.json(body).send().await.status;
            if status != expected {
                others.push(format!("{method} {path}: {status}"));
            }
        }
        assert_eq!(others, [] as [String; 0]);
    };
    // Another user.
    attempt(&bob, 404, &of_ada).await;
    attempt(&bob, 403, &of_admins).await;
    // She herself.
    attempt(&token, 403, &of_admins).await;
    // An administrator, who sees her session and ends it where administrators do.
    attempt(&admin, 404, &of_ada).await;
    // Her own program, which reads who she is.
    let me = "/me".to_owned();
    assert_eq!(service.get("/me").bearer(api_token).send().await.body, ada);
    attempt(api_token, 403, &of_ada).await;
    attempt(api_token, 403, &of_admins).await;
    attempt(api_token, 403, &[("PATCH", &me, &rename)]).await;
    // A service, which reads everybody.
    let snapshot = service.get("/snapshot/users").bearer(SERVICE_API_KEY).send().await;
    assert_eq!(snapshot.status, 200);
    attempt(SERVICE_API_KEY, 401, &of_ada).await;
    attempt(SERVICE_API_KEY, 401, &of_admins).await;
    attempt(SERVICE_API_KEY, 401, &[("PATCH", &me, &rename)]).await;
    // Reading with another word in a header is reading.
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        for (bearer, path) in [(api_token, &me), (token.as_str(), &account)] {
            let request = service.get(path).bearer(bearer).header(name, "DELETE");
            assert_eq!(request.json(&rename).send().await.status, 200);
        }
    }
    assert_eq!(contents(&service).await, before);
}

/// CVE-2026-56654 (Gitea): a token that was sent as the name of Basic authentication
/// passed for a password, and made tokens with scopes that it did not have.
#[tokio::test]
async fn a_token_makes_no_token_and_gives_itself_no_scope() {
    let service = Service::start().await;
    let (ada, session) = service.ada().await;
    let account = service.create_service_account(&session).await;
    let created = service.create_token(&session, &account).await;
    let token = text(&created, "token");
    let admin = service.get("/me").bearer(&service.login_admin().await).send().await.body;
    let before = (contents(&service).await, introspect(&service, token).await.body);

    let path = account_path(&account);
    let (scopes, tokens) = (format!("{path}/scopes"), format!("{path}/tokens"));
    let (own, others) = (text(&ada, "public_id"), text(&admin, "public_id"));
    let wider = json!({format!("sfs.{own}"): ["read", "write", "delete"]});
    let accounts = "/service-accounts".to_owned();
    let attempts = [
        ("POST", &tokens, json!({"name": "x", "expires_in": "never"})),
        ("POST", &accounts, json!({"name": "x", "scopes": &wider})),
        ("PUT", &scopes, json!({"scopes": &wider})),
    ];
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    for (method, path, body) in &attempts {
        let request = || service.request(method, path).json(body);
        request().bearer(token).send().await.assert_problem(403, "session_required");
        for value in [
            basic(format!("{token}:x-oauth-basic")),
            basic(format!("{token}:")),
            basic(format!(":{token}")),
            basic(format!("ada:{token}")),
            format!("token {token}"),
            format!("Basic {token}"),
            token.to_owned(),
        ] {
            let reply = request().header("authorization", &value).send().await;
            reply.assert_problem(401, "invalid_token");
        }
        let query = format!("{path}?access_token={token}");
        let reply = service.request(method, &query).json(body).send().await;
        reply.assert_problem(401, "missing_token");
        let reply = request().header("x-api-key", token).header("cookie", format!("token={token}"));
        reply.send().await.assert_problem(401, "missing_token");
    }
    // Nor for a session of its own.
    for body in [
        json!({"username": "ada", "password": token}),
        json!({"username": token, "password": "x-oauth-basic"}),
    ] {
        let reply = service.post("/login").bearer(token).json(&body).send().await;
        reply.assert_problem(401, "invalid_credentials");
    }
    // And with a session nobody gives a program what is somebody else's.
    for scope in [
        format!("sfs.{others}"),
        format!("sfs.{others}.files.{own}"),
        format!("sfs.{}", ada["user_id"]),
        format!("sfs.{own}{others}"),
        format!("sfs.{own}.files.x.{others}"),
        format!("{own}.sfs"),
        "sfs.*".to_owned(),
        "sfs.>".to_owned(),
        "*.*".to_owned(),
        format!("sfs..{own}"),
        format!("sfs.{own}\0.files"),
        format!("sfs.{others} sfs.{own}"),
        format!("sfs.{others}\u{2024}{own}"),
        String::new(),
    ] {
        let wanted = json!({format!("sfs.{own}"): ["read"], scope: ["read"]});
        let body = json!({"name": "x", "scopes": &wanted});
        let reply = service.post("/service-accounts").bearer(&session).json(&body).send().await;
        reply.assert_field("scopes");
        let body = json!({"scopes": &wanted});
        let reply = service.put(&scopes).bearer(&session).json(&body).send().await;
        reply.assert_field("scopes");
    }
    assert_eq!((contents(&service).await, introspect(&service, token).await.body), before);
}
