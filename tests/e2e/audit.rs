//! The audit log, and `GET /admin/audit`

use serde_json::{Value, json};

use crate::harness::{ADMIN, ADMIN_PASSWORD, PASSWORD, Service};

/// What an entry of the API says, but for its id and its moment.
fn essence(entry: &Value) -> [&Value; 5] {
    ["actor", "action", "outcome", "reason", "resource"].map(|name| &entry[name])
}

#[tokio::test]
async fn every_login_is_written_down() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let id = ada["public_id"].as_str().expect("an id");
    let login = async |username: &str, password: &str| {
        let body = json!({"username": username, "password": password});
        let request = service.post("/login").header("user-agent", "tests/1.0");
        request.header("x-request-id", "web-42").json(&body).send().await.status
    };
    assert_eq!(login("ada", "not the password of ada").await, 401);
    assert_eq!(login("hunter2 typed here", PASSWORD).await, 401);
    assert_eq!(login("ada", PASSWORD).await, 200);
    let path = format!("/admin/users/{id}");
    service.patch(&path).bearer(&admin).json(&json!({"disabled": true})).send().await;
    assert_eq!(login("ada", PASSWORD).await, 401);

    let entries = service.audit("login").await;
    let session: String = entries[3]["resource"].as_str().expect("a session").to_owned();
    let (user, nobody) = (json!(format!("user:{id}")), Value::Null);
    let (action, failure) = (json!("login"), json!("failure"));
    let actor = ada["public_id"].clone();
    for (entry, expected) in entries[1..].iter().zip([
        [&actor, &action, &failure, &json!("wrong_password"), &user],
        [&nobody, &action, &failure, &json!("unknown_user"), &nobody],
        [&actor, &action, &json!("success"), &nobody, &json!(session)],
        [&actor, &action, &failure, &json!("user_disabled"), &user],
    ]) {
        assert_eq!(essence(entry), expected, "{entry}");
        assert_eq!(entry["ip_address"], "127.0.0.1");
        assert_eq!(
            (&entry["request_id"], &entry["user_agent"]),
            (&json!("web-42"), &json!("tests/1.0"))
        );
        // What a person typed where the name belongs is often a password.
        assert!(!entry.to_string().contains("hunter2"));
    }
    assert!(session.starts_with("session:"));
}

#[tokio::test]
async fn every_change_is_written_down_with_what_came_of_it() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let me = service.get("/me").bearer(&admin).send().await.body;
    let ada = service.create_user(&admin, "ada").await;
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    let same = json!({"username": "ADA", "password": PASSWORD});
    service.post("/admin/users").bearer(&admin).json(&same).send().await;
    let rename = json!({"username": "admin"});
    service.patch(&path).bearer(&admin).json(&rename).send().await;
    let token = service.login("ada", PASSWORD).await;
    service.get("/admin/users?limit=1").bearer(&token).send().await;
    service.post("/logout").bearer(&token).send().await;
    service.delete(&path).bearer(&admin).send().await;
    service.delete(&path).bearer(&admin).send().await;

    let reply = service.get("/admin/audit").bearer(&admin).send().await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let entries = reply.body["entries"].as_array().expect("entries");
    let seen: Vec<Vec<&str>> = entries
        .iter()
        .rev()
        .map(|entry| {
            ["action", "outcome", "reason"]
                .iter()
                .filter_map(|name| entry[*name].as_str())
                .collect::<Vec<&str>>()
        })
        .collect();
    assert_eq!(
        seen,
        [
            &["user.create", "success"][..],
            &["login", "success"],
            &["user.create", "success"],
            &["user.create", "failure", "username_taken"],
            &["user.update", "failure", "username_taken"],
            &["login", "success"],
            &["admin.access", "denied", "forbidden"],
            &["logout", "success"],
            &["user.delete", "success"],
            &["user.delete", "failure", "not_found"],
        ]
    );
    // The default user was nobody's deed.
    let oldest = &entries[entries.len() - 1];
    assert_eq!((&oldest["actor"], &oldest["request_id"]), (&Value::Null, &Value::Null));
    assert_eq!(entries[0]["actor"], me["public_id"]);
    assert_eq!(entries[3]["actor"], ada["public_id"]);
    assert_eq!(entries[3]["resource"], "GET /admin/users");
}

#[tokio::test]
async fn what_a_statement_did_not_do_it_did_not_write_down_either() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "create function fail() returns trigger language plpgsql \
         as 'begin raise exception ''disk full''; end'; \
         create trigger fail before insert on audit_log for each row execute function fail()",
    )
    .execute(&mut service.database().await)
    .await
    .expect("a trigger");
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
    let reply = service.post("/login").json(&body).send().await;
    reply.assert_problem(503, "database_unavailable");
    // No session without its row in the audit log.
    assert_eq!(service.count("sessions").await + service.count("outbox").await, 0);
}

#[tokio::test]
async fn filters_select_and_pages_hold_each_once() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    for _ in 0..3 {
        let body = json!({"username": "ada", "password": "not the password of ada"});
        service.post("/login").json(&body).send().await;
    }
    service.login("ada", PASSWORD).await;
    let id = ada["public_id"].as_str().expect("an id");
    let list = async |query: &str| {
        let reply = service.get(&format!("/admin/audit?{query}")).bearer(&admin).send().await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.body);
        reply.body
    };
    let count = |body: &Value| body["entries"].as_array().expect("entries").len();
    for (query, expected) in [
        (format!("actor={id}"), 4),
        (format!("actor={id}&outcome=failure"), 3),
        ("action=login".to_owned(), 5),
        ("action=login&outcome=success".to_owned(), 2),
        ("outcome=denied".to_owned(), 0),
        ("actor=zzzzzz".to_owned(), 0),
        ("since=2000-01-01T00:00:00Z".to_owned(), 7),
        ("until=2000-01-01T00:00:00%2B01:00".to_owned(), 0),
        ("since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z".to_owned(), 7),
    ] {
        assert_eq!(count(&list(&query).await), expected, "{query}");
    }
    // A moment splits the log in two, to the microsecond.
    let all = list("").await;
    let middle = all["entries"][3]["occurred_at"].as_str().expect("a moment");
    assert_eq!(count(&list(&format!("since={middle}")).await), 4);
    assert_eq!(count(&list(&format!("until={middle}")).await), 3);

    let mut seen = Vec::new();
    let mut next = "limit=2&action=login".to_owned();
    loop {
        let page = list(&next).await;
        seen.extend(page["entries"].as_array().expect("entries").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("limit=2&action=login&cursor={cursor}");
    }
    assert_eq!(seen.len(), 5);
    let newest_first = |a: &Value, b: &Value| a["id"].as_i64() > b["id"].as_i64();
    assert!(seen.is_sorted_by(newest_first));
}

#[tokio::test]
async fn parameters_are_checked() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let page = service.get("/admin/audit?limit=1&action=login").bearer(&admin).send().await;
    assert_eq!(page.body["next_cursor"], Value::Null);
    service.login_admin().await;
    let page = service.get("/admin/audit?limit=1&action=login").bearer(&admin).send().await;
    let cursor = page.body["next_cursor"].as_str().expect("a cursor");
    for (query, field) in [
        ("limit=0".to_owned(), "limit"),
        ("outcome=maybe".to_owned(), "outcome"),
        ("since=yesterday".to_owned(), "since"),
        ("since=2026-01-01".to_owned(), "since"),
        ("until=2026-13-01T00:00:00Z".to_owned(), "until"),
        ("until=".to_owned(), "until"),
        ("actor=a&actor=b".to_owned(), "actor"),
        ("action=%00".to_owned(), "action"),
        (format!("cursor={cursor}"), "cursor"),
        (format!("cursor={cursor}&action=logout"), "cursor"),
    ] {
        let reply = service.get(&format!("/admin/audit?{query}")).bearer(&admin).send().await;
        reply.assert_field(field);
    }
    service.create_user(&admin, "ada").await;
    let token = service.login("ada", PASSWORD).await;
    service.get("/admin/audit").bearer(&token).send().await.assert_problem(403, "forbidden");
    service.get("/admin/audit").send().await.assert_problem(401, "missing_token");
}
