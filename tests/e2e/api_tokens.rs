//! `/service-accounts/{id}/tokens`, and what such a token opens

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Service};

/// A service account of ada's, a session's token of hers, and ada.
async fn ada(service: &Service) -> (Value, String, Value) {
    let (ada, token) = service.ada().await;
    (service.create_service_account(&token).await, token, ada)
}

fn tokens_of(service_account: &Value) -> String {
    let id = service_account["service_account_id"].as_str().expect("an id");
    format!("/service-accounts/{id}/tokens")
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_as_its_hash() {
    let service = Service::start().await;
    let (account, token, ada) = ada(&service).await;
    let path = tokens_of(&account);
    let body = json!({"name": "laptop", "expires_in": "30d"});
    let created = service.post(&path).bearer(&token).json(&body).send().await;
    assert_eq!(created.status, 201, "{}", created.body);
    let secret = created.body["token"].as_str().expect("a token");
    assert!(secret.starts_with("ecloud_") && secret.len() == 45, "{secret}");
    assert_eq!(
        (&created.body["name"], &created.body["last_used_at"]),
        (&json!("laptop"), &Value::Null)
    );
    let days: f64 = sqlx::query_scalar(
        "select extract(epoch from expires_at - created_at)::float8 / 86400 from api_tokens",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("one token");
    assert!((days - 30.0).abs() < 1e-6, "{days}");

    let list = service.get(&path).bearer(&token).send().await;
    let [listed] = list.body["tokens"].as_array().expect("tokens").as_slice() else {
        panic!("{}", list.body);
    };
    assert!(listed.get("token").is_none());
    assert_eq!(listed["token_id"], created.body["token_id"]);
    // Nothing in the database holds the secret.
    let rows: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(api_tokens)::text from api_tokens \
         union all select to_jsonb(audit_log)::text from audit_log \
         union all select to_jsonb(outbox)::text from outbox",
    )
    .fetch_all(&mut service.database().await)
    .await
    .expect("rows");
    assert!(rows.iter().all(|row| !row.contains(&secret[7..])), "{rows:?}");

    let me = service.get("/me").bearer(secret).send().await;
    assert_eq!((me.status, &me.body), (200, &ada));
    let entry = service.last_audit("token.create").await;
    let resource = format!("token:{}", created.body["token_id"].as_str().expect("an id"));
    assert_eq!((&entry["outcome"], &entry["resource"]), (&json!("success"), &json!(resource)));
}

#[tokio::test]
async fn a_token_manages_nothing() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    // Of an administrator, even.
    let account = service.create_service_account(&admin).await;
    let secret = service.create_token(&admin, &account).await;
    let secret = secret["token"].as_str().expect("a token");
    assert_eq!(service.get("/me").bearer(secret).send().await.status, 200);
    let tokens = tokens_of(&account);
    let path = tokens.trim_end_matches("/tokens");
    let id = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f";
    for (method, path) in [
        ("POST", "/logout"),
        ("PATCH", "/me"),
        ("PUT", "/me/password"),
        ("GET", "/me/sessions"),
        ("DELETE", "/me/sessions"),
        ("DELETE", &format!("/me/sessions/{id}")),
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("GET", "/admin/users/zzzzzz"),
        ("PATCH", "/admin/users/zzzzzz"),
        ("DELETE", "/admin/users/zzzzzz"),
        ("PUT", "/admin/users/zzzzzz/password"),
        ("GET", "/admin/sessions"),
        ("DELETE", &format!("/admin/sessions/{id}")),
        ("GET", "/admin/audit"),
        ("GET", "/service-accounts"),
        ("POST", "/service-accounts"),
        ("GET", path),
        ("DELETE", path),
        ("PUT", &format!("{path}/scopes")),
        ("GET", &tokens),
        ("POST", &tokens),
        ("DELETE", &format!("{tokens}/zzzzzz")),
    ] {
        let body = json!({"name": "x", "expires_in": "never", "scopes": {}});
        let reply = service.request(method, path).bearer(secret).json(&body).send().await;
        reply.assert_problem(403, "session_required");
        let challenge = reply.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
    }
    let reply = service.post("/introspect").bearer(secret).send().await;
    reply.assert_problem(401, "invalid_service_key");
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_expired_or_its_account_is_gone() {
    let service = Service::start().await;
    let (account, token, ada) = ada(&service).await;
    let path = tokens_of(&account);
    let mut database = service.database().await;
    let fresh = async || {
        let created = service.create_token(&token, &account).await;
        let secret = created["token"].as_str().expect("a token").to_owned();
        assert_eq!(service.get("/me").bearer(&secret).send().await.status, 200);
        (created["token_id"].as_str().expect("an id").to_owned(), secret)
    };
    let dead = async |secret: &str| {
        service.get("/me").bearer(secret).send().await.assert_problem(401, "invalid_token");
    };

    let (id, revoked) = fresh().await;
    let one = format!("{path}/{id}");
    assert_eq!(service.delete(&one).bearer(&token).send().await.status, 204);
    dead(&revoked).await;
    service.delete(&one).bearer(&token).send().await.assert_problem(404, "token_not_found");

    let (id, expired) = fresh().await;
    sqlx::query("update api_tokens set expires_at = now() where id = $1")
        .bind(&id)
        .execute(&mut database)
        .await
        .expect("expired");
    dead(&expired).await;

    // Disabled and enabled again, as the owner's sessions are not.
    let (_, secret) = fresh().await;
    let admin = service.login_admin().await;
    let user = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    for disabled in [true, false] {
        let body = json!({"disabled": disabled});
        service.patch(&user).bearer(&admin).json(&body).send().await;
        let status = service.get("/me").bearer(&secret).send().await.status;
        assert_eq!(status, if disabled { 401 } else { 200 });
    }
    let token = service.login("ada", PASSWORD).await;
    let account_path = path.trim_end_matches("/tokens");
    assert_eq!(service.delete(account_path).bearer(&token).send().await.status, 204);
    dead(&secret).await;
    assert_eq!(service.count("api_tokens").await, 0);
}

#[tokio::test]
async fn a_mistyped_token_is_refused_without_a_query() {
    // No database at all: a statement would be a 503.
    let port = xtask::process::free_port().expect("a port");
    let url = format!("postgres://auth@127.0.0.1:{port}/auth");
    let service = Service::on_database(&url, &[]).await;
    let mistyped = format!("ecloud_{}", "a".repeat(38));
    service.get("/me").bearer(&mistyped).send().await.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn the_last_use_is_kept_to_the_minute() {
    let service = Service::start().await;
    let (account, token, _) = ada(&service).await;
    let secret = service.create_token(&token, &account).await;
    let secret = secret["token"].as_str().expect("a token");
    let mut database = service.database().await;
    let mut last_use = async || -> Option<String> {
        assert_eq!(service.get("/me").bearer(secret).send().await.status, 200);
        sqlx::query_scalar("select rfc3339(last_used_at) from api_tokens")
            .fetch_one(&mut database)
            .await
            .expect("one token")
    };
    let first = last_use().await;
    assert!(first.is_some());
    assert_eq!(last_use().await, first);
    sqlx::query("update api_tokens set last_used_at = now() - interval '61 seconds'")
        .execute(&mut service.database().await)
        .await
        .expect("aged");
    assert!(last_use().await > first);
    // Whoever finds the row locked has the answer all the same.
    sqlx::query("update api_tokens set last_used_at = null")
        .execute(&mut service.database().await)
        .await
        .expect("forgotten");
    let mut other = service.database().await;
    sqlx::raw_sql("begin; select id from api_tokens for update")
        .execute(&mut other)
        .await
        .expect("locked");
    assert_eq!(last_use().await, None);
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let service = Service::start().await;
    let (account, token, _) = ada(&service).await;
    let path = tokens_of(&account);
    for (body, field) in [
        (json!({"expires_in": "30d"}), "name"),
        (json!({"name": "", "expires_in": "30d"}), "name"),
        (json!({"name": "a\0", "expires_in": "30d"}), "name"),
        (json!({"name": "laptop"}), "expires_in"),
        (json!({"name": "laptop", "expires_in": null}), "expires_in"),
        (json!({"name": "laptop", "expires_in": "soon"}), "expires_in"),
        (json!({"name": "laptop", "expires_in": 0}), "expires_in"),
        (json!({"name": "laptop", "expires_in": "3651d"}), "expires_in"),
        (json!({"name": "laptop", "expires_in": 1.5}), "expires_in"),
        (json!({"name": "laptop", "expires_in": "30d", "token": "mine"}), "token"),
    ] {
        service.post(&path).bearer(&token).json(&body).send().await.assert_field(field);
    }
    assert_eq!(service.count("api_tokens").await, 0);
    for expires_in in [json!("90d"), json!("365d"), json!(7), json!("never")] {
        let body = json!({"name": "laptop", "expires_in": expires_in});
        let reply = service.post(&path).bearer(&token).json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
}

#[tokio::test]
async fn there_is_a_limit_and_expired_tokens_do_not_count() {
    let service = Service::start_with(&[("tokens_per_service_account", "2")]).await;
    let (account, token, _) = ada(&service).await;
    let path = tokens_of(&account);
    let create = || async {
        let body = json!({"name": "laptop", "expires_in": "never"});
        service.post(&path).bearer(&token).json(&body).send().await
    };
    assert_eq!(create().await.status, 201);
    let mut database = service.database().await;
    sqlx::raw_sql("begin; select id from service_accounts for update")
        .execute(&mut database)
        .await
        .expect("locked");
    // There is room for one, and three want it, each with the snapshot from before.
    let release = async {
        service.until_blocked(3).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (one, two, three, ()) = tokio::join!(create(), create(), create(), release);
    let (created, refused): (Vec<_>, Vec<_>) =
        [one, two, three].into_iter().partition(|reply| reply.status == 201);
    assert_eq!((created.len(), refused.len()), (1, 2));
    for reply in &refused {
        reply.assert_problem(409, "limit_reached");
    }
    sqlx::query("update api_tokens set expires_at = now()")
        .execute(&mut service.database().await)
        .await
        .expect("expired");
    assert_eq!(create().await.status, 201);
}

#[tokio::test]
async fn pages_hold_each_token_once() {
    let service = Service::start().await;
    let (account, token, _) = ada(&service).await;
    let other = service.create_service_account(&token).await;
    service.create_token(&token, &other).await;
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(service.create_token(&token, &account).await["token_id"].clone());
    }
    let path = tokens_of(&account);
    let first = service.get(&format!("{path}?limit=2")).bearer(&token).send().await;
    let cursor = first.body["next_cursor"].as_str().expect("a cursor");
    let second =
        service.get(&format!("{path}?limit=2&cursor={cursor}")).bearer(&token).send().await;
    let ids = |body: &Value| -> Vec<Value> {
        let tokens = body["tokens"].as_array().expect("tokens");
        tokens.iter().map(|token| token["token_id"].clone()).collect()
    };
    assert_eq!([ids(&first.body), ids(&second.body)].concat(), created);
    assert_eq!(second.body["next_cursor"], Value::Null);
    let elsewhere = format!("{}?cursor={cursor}", tokens_of(&other));
    service.get(&elsewhere).bearer(&token).send().await.assert_field("cursor");
}
