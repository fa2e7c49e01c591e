//! `PATCH /me`, `PUT /me/password`

use serde_json::{Value, json};

use crate::harness::{ADMIN, ADMIN_PASSWORD, PASSWORD, Service};

const NEW_PASSWORD: &str = "another horse, another staple";

#[tokio::test]
async fn a_user_changes_and_removes_the_display_name() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    for (name, version) in [(json!("Ada"), 2), (Value::Null, 3), (json!(""), 4)] {
        let body = json!({"display_name": name});
        let reply = service.patch("/me").bearer(&token).json(&body).send().await;
        assert_eq!((reply.status, &reply.body["display_name"]), (200, &name), "{}", reply.body);
        assert_eq!(reply.header("etag"), Some(format!("\"{version}\"").as_str()));
        assert_eq!(service.get("/me").bearer(&token).send().await.body, reply.body);
    }
    let outbox = service.outbox().await;
    let (kind, entity, data) = &outbox[outbox.len() - 3];
    assert_eq!((kind.as_str(), json!(entity)), ("UserUpdated", ada["public_id"].clone()));
    assert_eq!(
        data,
        &json!({
            "user_id": ada["user_id"],
            "public_id": ada["public_id"],
            "username": "ada",
            "display_name": "Ada",
            "version": 2,
        })
    );
}

#[tokio::test]
async fn nothing_else_can_be_changed_by_oneself() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    for (body, field) in [
        (json!({}), "display_name"),
        (json!({"display_name": 7}), "display_name"),
        (json!({"display_name": "a\0"}), "display_name"),
        (json!({"display_name": "a".repeat(257)}), "display_name"),
        (json!({"display_name": "Ada", "is_admin": true}), "is_admin"),
        (json!({"display_name": "Ada", "username": "admin2"}), "username"),
        (json!({"display_name": "Ada", "version": 7}), "version"),
    ] {
        service.patch("/me").bearer(&token).json(&body).send().await.assert_field(field);
    }
    assert_eq!(service.count("users where version > 1").await, 0);
}

#[tokio::test]
async fn if_match_keeps_two_writers_apart() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let read = service.get("/me").bearer(&token).send().await;
    let etag = read.header("etag").expect("an ETag").to_owned();
    let rename = async |etag: &str, name: &str| {
        let body = json!({"display_name": name});
        service.patch("/me").bearer(&token).header("if-match", etag).json(&body).send().await
    };
    assert_eq!(rename(&etag, "first").await.status, 200);
    rename(&etag, "second").await.assert_problem(412, "precondition_failed");
    rename("W/\"2\"", "weak").await.assert_problem(412, "precondition_failed");
    rename("2", "malformed").await.assert_field("If-Match");
    assert_eq!(rename("\"1\", \"2\"", "third").await.status, 200);
    assert_eq!(rename("*", "fourth").await.status, 200);
    let reasons = service.audit_reasons("profile.update").await;
    let failed = Some("precondition_failed".to_owned());
    assert_eq!(reasons, [None, failed.clone(), failed, None, None]);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let others = [service.login("ada", PASSWORD).await, service.login("ada", PASSWORD).await];
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let reply = service.put("/me/password").bearer(&token).json(&body).send().await;
    assert_eq!(reply.status, 204, "{}", reply.body);

    assert_eq!(service.get("/me").bearer(&token).send().await.status, 200);
    for other in &others {
        service.get("/me").bearer(other).send().await.assert_problem(401, "invalid_token");
    }
    let outbox = service.outbox().await;
    let reasons: Vec<&Value> = outbox
        .iter()
        .filter(|(kind, _, _)| kind == "SessionInvalidated")
        .map(|(_, _, data)| &data["reason"])
        .collect();
    assert_eq!(reasons, ["password_changed", "password_changed"]);

    let old = json!({"username": "ada", "password": PASSWORD});
    service.post("/login").json(&old).send().await.assert_problem(401, "invalid_credentials");
    service.login("ada", NEW_PASSWORD).await;
    // The administrator's session is somebody else's.
    assert_eq!(
        service.count("sessions join users on users.id = user_id where username = 'admin'").await,
        1
    );
}

#[tokio::test]
async fn the_current_password_is_needed() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        service.put("/me/password").bearer(&token).json(&body).send().await
    };
    let reply = change(ADMIN_PASSWORD, NEW_PASSWORD).await;
    reply.assert_problem(403, "wrong_password");
    assert_eq!(reply.body["field"], "current_password");
    change(PASSWORD, "too short").await.assert_field("new_password");
    change(PASSWORD, &"a".repeat(257)).await.assert_field("new_password");
    change("", NEW_PASSWORD).await.assert_field("current_password");
    service.login("ada", PASSWORD).await;
    let entry = service.last_audit("password.change").await;
    assert_eq!(entry["outcome"], "failure");
    assert_eq!(entry["reason"], "wrong_password");
    assert_eq!(entry["actor"], ada["public_id"]);
}

#[tokio::test]
async fn a_session_that_has_ended_changes_nothing() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    service.post("/logout").bearer(&token).send().await;
    let rename = json!({"display_name": "Ada"});
    let password = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    for reply in [
        service.patch("/me").bearer(&token).json(&rename).send().await,
        service.put("/me/password").bearer(&token).json(&password).send().await,
    ] {
        reply.assert_problem(401, "invalid_token");
    }
    for request in [service.patch("/me").json(&rename), service.put("/me/password").json(&password)]
    {
        request.send().await.assert_problem(401, "missing_token");
    }
}

#[tokio::test]
async fn an_administrator_resets_a_password() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let admin = service.login_admin().await;
    let path = format!("/admin/users/{}/password", ada["public_id"].as_str().expect("an id"));
    let body = json!({"new_password": NEW_PASSWORD});
    service.put(&path).bearer(&token).json(&body).send().await.assert_problem(403, "forbidden");
    let short = json!({"new_password": "short"});
    service.put(&path).bearer(&admin).json(&short).send().await.assert_field("new_password");
    let nobody = "/admin/users/zzzzzz/password";
    let reply = service.put(nobody).bearer(&admin).json(&body).send().await;
    reply.assert_problem(404, "user_not_found");

    assert_eq!(service.put(&path).bearer(&admin).json(&body).send().await.status, 204);
    service.get("/me").bearer(&token).send().await.assert_problem(401, "invalid_token");
    service.login("ada", NEW_PASSWORD).await;
    let (kind, _, data) = service.outbox().await.pop().expect("an event");
    assert_eq!(kind, "SessionCreated", "{data}");
    let outbox = service.outbox().await;
    let (kind, _, data) = &outbox[outbox.len() - 2];
    assert_eq!(
        (kind.as_str(), &data["reason"]),
        ("SessionInvalidated", &json!("password_changed"))
    );
    let entry = service.last_audit("password.reset").await;
    assert_eq!(entry["outcome"], "success");
    assert_eq!(entry["resource"], format!("user:{}", ada["public_id"].as_str().expect("an id")));
}

#[tokio::test]
async fn a_login_that_is_under_way_does_not_survive_a_new_password() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let mut database = service.database().await;
    // Both wait for the row of the user: the change of the password first.
    sqlx::raw_sql("begin; select id from users where username = 'ada' for update")
        .execute(&mut database)
        .await
        .expect("locked");
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let change = service.put("/me/password").bearer(&token).json(&body).send();
    let login = async {
        service.until_blocked(1).await;
        let body = json!({"username": "ada", "password": PASSWORD});
        service.post("/login").json(&body).send().await
    };
    let release = async {
        service.until_blocked(2).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (change, login, ()) = tokio::join!(change, login, release);
    assert_eq!(change.status, 204);
    login.assert_problem(401, "invalid_credentials");
    assert_eq!(
        service.count("sessions join users on users.id = user_id where username = 'ada'").await,
        1
    );
    service.login(ADMIN, ADMIN_PASSWORD).await;
}
