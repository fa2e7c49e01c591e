//! `GET /me`

use crate::harness::{ADMIN, PASSWORD, Service};

#[tokio::test]
async fn it_is_the_user_behind_the_token() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let created = service.create_user(&admin, "ada").await;
    let token = service.login("ada", PASSWORD).await;
    let reply = service.get("/me").bearer(&token).send().await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, created);
    let keys: Vec<&String> = reply.body.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "created_at",
            "disabled",
            "display_name",
            "is_admin",
            "public_id",
            "updated_at",
            "user_id",
            "username"
        ]
    );
}

#[tokio::test]
async fn without_a_token_it_is_401_with_a_challenge() {
    let service = Service::start().await;
    let reply = service.get("/me").send().await;
    reply.assert_problem(401, "missing_token");
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="edd-cloud-auth""#));
}

#[tokio::test]
async fn a_session_whose_row_has_expired_is_over_whatever_the_token_says() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    sqlx::query("update sessions set expires_at = now() - interval '1 second'")
        .execute(&mut service.database().await)
        .await
        .expect("updated");
    service.get("/me").bearer(&token).send().await.assert_problem(401, "invalid_token");
    service.post("/logout").bearer(&token).send().await.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn the_configured_administrator_is_one_whatever_its_row_says() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    assert_eq!(service.count("users where is_admin").await, 0);
    let reply = service.get("/me").bearer(&token).send().await;
    assert_eq!(reply.body["username"], ADMIN);
    assert_eq!(reply.body["is_admin"], true);
}
