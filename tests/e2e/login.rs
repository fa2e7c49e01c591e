//! `POST /login`

use serde_json::{Value, json};

use crate::harness::{ADMIN, ADMIN_PASSWORD, PASSWORD, Service};

#[tokio::test]
async fn a_right_password_gives_a_token_and_writes_a_session_and_its_event() {
    let service = Service::start().await;
    let reply = service
        .post("/login")
        .header("user-agent", "tests/1.0")
        .json(&json!({"username": ADMIN, "password": ADMIN_PASSWORD}))
        .send()
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["token_type"], "Bearer");
    assert_eq!(reply.body["expires_in"], 24 * 60 * 60);
    assert_eq!(reply.body["user"]["username"], ADMIN);
    assert_eq!(reply.body["user"]["is_admin"], true);
    assert!(reply.body["user"].get("password_hash").is_none());

    let (id, ip, agent, expires): (String, String, String, i64) = sqlx::query_as(
        "select id, ip_address, user_agent, extract(epoch from expires_at)::bigint from sessions",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("one session");
    assert_eq!((ip.as_str(), agent.as_str()), ("127.0.0.1", "tests/1.0"));
    let outbox = service.outbox().await;
    assert_eq!(
        outbox,
        [(
            "SessionCreated".to_owned(),
            id.clone(),
            json!({
                "session_id": id,
                "user_id": reply.body["user"]["user_id"],
                "public_id": reply.body["user"]["public_id"],
                "expires_at": expires,
            })
        )]
    );
}

#[tokio::test]
async fn the_time_to_live_is_configured_as_a_go_duration() {
    let service = Service::start_with(&[("session_ttl", "1h30m")]).await;
    let reply = service
        .post("/login")
        .json(&json!({"username": ADMIN, "password": ADMIN_PASSWORD}))
        .send()
        .await;
    assert_eq!(reply.body["expires_in"], 5400);
}

#[tokio::test]
async fn the_name_is_compared_without_case() {
    let service = Service::start().await;
    service.login("ADMIN", ADMIN_PASSWORD).await;
}

#[tokio::test]
async fn unknown_wrong_and_disabled_get_one_answer_and_leave_nothing() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let user = service.create_user(&admin, "ada").await;
    let path = format!("/admin/users/{}", user["public_id"].as_str().expect("an id"));
    let disabled =
        service.patch(&path).bearer(&admin).json(&json!({"disabled": true})).send().await;
    assert_eq!(disabled.status, 200);
    let sessions = service.count("sessions").await;
    let events = service.count("outbox").await;

    let mut answers: Vec<(u16, Value, Option<String>)> = Vec::new();
    for (username, password) in
        [("nobody", PASSWORD), (ADMIN, "not the password of admin"), ("ada", PASSWORD)]
    {
        let reply = service
            .post("/login")
            .json(&json!({"username": username, "password": password}))
            .send()
            .await;
        reply.assert_problem(401, "invalid_credentials");
        let challenge = reply.header("www-authenticate").map(str::to_owned);
        assert!(challenge.is_some());
        answers.push((reply.status, reply.body, challenge));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(service.count("sessions").await, sessions);
    assert_eq!(service.count("outbox").await, events);
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let service = Service::start().await;
    let long = "a".repeat(255);
    for (body, field) in [
        (json!({"password": PASSWORD}), "username"),
        (json!({"username": ADMIN}), "password"),
        (json!({"username": 1, "password": PASSWORD}), "username"),
        (json!({"username": ADMIN, "password": ["a"]}), "password"),
        (json!({"username": "", "password": PASSWORD}), "username"),
        (json!({"username": long, "password": PASSWORD}), "username"),
        (json!({"username": "a\0b", "password": PASSWORD}), "username"),
        (json!({"username": ADMIN, "password": "a\0b"}), "password"),
        (json!({"username": ADMIN, "password": "a".repeat(257)}), "password"),
        (json!({"username": ADMIN, "password": PASSWORD, "admin": true}), "admin"),
    ] {
        service.post("/login").json(&body).send().await.assert_field(field);
    }
    assert_eq!(service.count("sessions").await, 0);
}

#[tokio::test]
async fn a_hash_with_older_parameters_is_replaced_in_silence() {
    let service = Service::start().await;
    // Argon2id of PASSWORD with m=8 MiB, t=2: weaker than what is made today.
    let old = old_hash();
    let mut database = service.database().await;
    sqlx::query("update users set password_hash = $1")
        .bind(&old)
        .execute(&mut database)
        .await
        .expect("updated");
    service.login(ADMIN, PASSWORD).await;
    let new: String = sqlx::query_scalar("select password_hash from users")
        .fetch_one(&mut database)
        .await
        .expect("a hash");
    assert!(new.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{new}");
    assert_eq!(service.outbox_kinds().await, ["SessionCreated"]);
    service.login(ADMIN, PASSWORD).await;
    let unchanged: String = sqlx::query_scalar("select password_hash from users")
        .fetch_one(&mut database)
        .await
        .expect("a hash");
    assert_eq!(new, unchanged);
}

fn old_hash() -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    let params = Params::new(8 * 1024, 2, 1, Some(32)).expect("parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(PASSWORD.as_bytes())
        .expect("a hash")
        .to_string()
}

#[tokio::test]
async fn a_login_that_waits_for_a_user_to_be_disabled_is_refused() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "ada").await;
    let mut database = service.database().await;
    // The transaction of a PATCH that has not committed yet.
    sqlx::raw_sql("begin; update users set disabled = true where username = 'ada'")
        .execute(&mut database)
        .await
        .expect("locked");
    let login = async {
        service.post("/login").json(&json!({"username": "ada", "password": PASSWORD})).send().await
    };
    let commit = async {
        service.until_blocked(1).await;
        sqlx::raw_sql("commit").execute(&mut database).await.expect("committed");
    };
    let (reply, ()) = tokio::join!(login, commit);
    reply.assert_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn two_logins_that_replace_the_same_hash_both_succeed() {
    let service = Service::start().await;
    sqlx::query("update users set password_hash = $1")
        .bind(old_hash())
        .execute(&mut service.database().await)
        .await
        .expect("updated");
    let mut database = service.database().await;
    sqlx::raw_sql("begin; select id from users for update")
        .execute(&mut database)
        .await
        .expect("locked");
    // Both wait for the row, with a hash each has made, before either gets it.
    let both =
        futures::future::join(service.login(ADMIN, PASSWORD), service.login(ADMIN, PASSWORD));
    let release = async {
        service.until_blocked(2).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    tokio::join!(both, release);
    assert_eq!(service.count("sessions").await, 2);
}
