//! `POST /introspect`

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, SERVICE_API_KEY, Service};

pub(crate) async fn introspect(service: &Service, token: &str) -> Reply {
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("token_type_hint", "access_token")
        .finish();
    service
        .post("/introspect")
        .bearer(SERVICE_API_KEY)
        .text("application/x-www-form-urlencoded", &form)
        .send()
        .await
}

#[tokio::test]
async fn a_session_is_active_until_it_ends() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let token = service.login("ada", PASSWORD).await;
    let reply = introspect(&service, &token).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let (sid, exp): (String, i64) = sqlx::query_as(
        "select sessions.id, extract(epoch from expires_at)::bigint \
         from sessions join users on users.id = user_id where username = 'ada'",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("a session");
    assert_eq!(
        reply.body,
        json!({
            "active": true,
            "sub": ada["public_id"],
            "user_id": ada["user_id"],
            "username": "ada",
            "sid": sid,
            "exp": exp,
            "iat": exp - 86_400,
            "token_type": "Bearer",
        })
    );
    service.post("/logout").bearer(&token).send().await;
    assert_eq!(introspect(&service, &token).await.body, json!({"active": false}));
}

#[tokio::test]
async fn a_token_of_a_service_account_says_what_it_may_do() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let me = service.get("/me").bearer(&token).send().await.body;
    let account = service.create_service_account(&token).await;
    let created = service.create_token(&token, &account).await;
    let secret = created["token"].as_str().expect("a token");
    let reply = introspect(&service, secret).await;
    let owner = me["public_id"].as_str().expect("an id");
    let iat = reply.body["iat"].as_i64().expect("iat");
    assert_eq!(
        reply.body,
        json!({
            "active": true,
            "sub": owner,
            "user_id": me["user_id"],
            "username": "admin",
            "client_id": account["service_account_id"],
            "scope": format!("sfs.{owner}.files:read sfs.{owner}.files:write"),
            "scopes": account["scopes"],
            "iat": iat,
            "token_type": "Bearer",
        })
    );
    // Being asked about is a use.
    assert_eq!(service.count("api_tokens where last_used_at is not null").await, 1);
    sqlx::query("update api_tokens set expires_at = now() + interval '1 hour'")
        .execute(&mut service.database().await)
        .await
        .expect("changed");
    let with_end = introspect(&service, secret).await.body;
    assert!(with_end["exp"].as_i64().expect("exp") > iat);
}

#[tokio::test]
async fn whatever_is_not_good_is_inactive_and_nothing_more() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let mistyped = format!("ecloud_{}", "a".repeat(38));
    let long = "a".repeat(9000);
    for bad in
        ["", "x", "\0", "x\n", &token[..token.len() - 1], &mistyped, &long, SERVICE_API_KEY, "ä ö"]
    {
        let reply = introspect(&service, bad).await;
        assert_eq!((reply.status, &reply.body), (200, &json!({"active": false})), "{bad}");
    }
}

#[tokio::test]
async fn only_a_service_may_ask() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let form = format!("token={admin}");
    let media_type = "application/x-www-form-urlencoded";
    let ask = |path: &str| service.post(path).text(media_type, &form);
    let almost = &SERVICE_API_KEY[..SERVICE_API_KEY.len() - 1];
    for key in [admin.as_str(), almost, "", "x"] {
        let reply = ask("/introspect").bearer(key).send().await;
        reply.assert_problem(401, "invalid_service_key");
        assert!(reply.header("www-authenticate").is_some());
    }
    ask("/introspect").send().await.assert_problem(401, "invalid_service_key");
    for path in ["/snapshot/users", "/snapshot/identities"] {
        service.get(path).send().await.assert_problem(401, "invalid_service_key");
        service.get(path).bearer(&admin).send().await.assert_problem(401, "invalid_service_key");
    }
    // And with the key of a service nothing else.
    let reply = service.get("/me").bearer(SERVICE_API_KEY).send().await;
    reply.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let service = Service::start().await;
    let media_type = "application/x-www-form-urlencoded";
    let ask = |media_type: &str, body: &str| {
        service.post("/introspect").bearer(SERVICE_API_KEY).text(media_type, body).send()
    };
    ask(media_type, "").await.assert_field("token");
    ask(media_type, "token_type_hint=access_token").await.assert_field("token");
    ask(media_type, "token=a&token=b").await.assert_field("token");
    let json = ask("application/json", "{\"token\":\"a\"}").await;
    json.assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn without_a_key_in_the_configuration_there_are_no_such_routes() {
    let service = Service::start_with(&[("service_api_key", "")]).await;
    for (method, path) in
        [("POST", "/introspect"), ("GET", "/snapshot/users"), ("GET", "/snapshot/identities")]
    {
        for key in ["", SERVICE_API_KEY] {
            let reply = service.request(method, path).bearer(key).send().await;
            reply.assert_problem(404, "not_found");
        }
    }
    let short = Service::start_with(&[("service_api_key", "too short")]).await;
    let reply = short.get("/snapshot/users").bearer("too short").send().await;
    reply.assert_problem(503, "misconfigured");
    assert_ne!(reply.body["detail"], Value::Null);
}
