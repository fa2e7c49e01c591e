//! `/me/sessions`, `/admin/sessions`

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Service};

fn ids(body: &Value) -> Vec<&str> {
    let sessions = body["sessions"].as_array().expect("sessions");
    sessions.iter().map(|session| session["session_id"].as_str().expect("an id")).collect()
}

/// Entity and reason of each `SessionInvalidated`, oldest first.
async fn invalidations(service: &Service) -> Vec<(String, Value)> {
    let outbox = service.outbox().await;
    outbox
        .into_iter()
        .filter(|(kind, _, _)| kind == "SessionInvalidated")
        .map(|(_, entity, data)| (entity, data["reason"].clone()))
        .collect()
}

#[tokio::test]
async fn a_user_sees_the_own_sessions_and_which_one_asks() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    service.login("ada", PASSWORD).await;
    let reply = service.get("/me/sessions").bearer(&token).send().await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let sessions = reply.body["sessions"].as_array().expect("sessions");
    let current: Vec<&Value> = sessions.iter().map(|session| &session["current"]).collect();
    // The oldest first; the administrator's is not among them.
    assert_eq!(current, [&json!(true), &json!(false)]);
    assert_eq!(sessions[0]["ip_address"], "127.0.0.1");
    assert!(sessions[0]["user_agent"].is_null());
    assert!(sessions[0]["created_at"].as_str() < sessions[0]["expires_at"].as_str());
    assert_eq!(reply.body["next_cursor"], Value::Null);
}

#[tokio::test]
async fn pages_of_sessions_hold_each_once() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    for _ in 0..4 {
        service.login("ada", PASSWORD).await;
    }
    let admin = service.login_admin().await;
    let of_ada = format!("/admin/sessions?user={}&", ada["public_id"].as_str().expect("an id"));
    for (path, token, expected) in [
        ("/me/sessions?", &token, 5),
        (of_ada.as_str(), &admin, 5),
        ("/admin/sessions?", &admin, 7),
    ] {
        let mut seen = Vec::new();
        let mut next = format!("{path}limit=2");
        loop {
            let reply = service.get(&next).bearer(token).send().await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            seen.extend(ids(&reply.body).into_iter().map(str::to_owned));
            let Some(cursor) = reply.body["next_cursor"].as_str() else { break };
            next = format!("{path}limit=2&cursor={cursor}");
        }
        assert_eq!(seen.len(), expected, "{path}");
        assert!(seen.is_sorted_by(|a, b| a < b), "{path}");
    }
    // A cursor is good for the list that it came from, and for no other.
    let page = service.get(&format!("{of_ada}limit=1")).bearer(&admin).send().await;
    let cursor = page.body["next_cursor"].as_str().expect("a cursor");
    for path in ["/admin/sessions?", "/me/sessions?", "/admin/users?", "/admin/sessions?user=x&"] {
        let reply = service.get(&format!("{path}cursor={cursor}")).bearer(&admin).send().await;
        reply.assert_field("cursor");
    }
    let own = service.get("/me/sessions?limit=1").bearer(&token).send().await;
    let cursor = own.body["next_cursor"].as_str().expect("a cursor");
    let reply = service.get(&format!("/me/sessions?cursor={cursor}")).bearer(&admin).send().await;
    reply.assert_field("cursor");
}

#[tokio::test]
async fn administrators_see_whose_sessions_they_are() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    service.get("/admin/sessions").bearer(&token).send().await.assert_problem(403, "forbidden");
    let admin = service.login_admin().await;
    let path = format!("/admin/sessions?user={}", ada["public_id"].as_str().expect("an id"));
    let reply = service.get(&path).bearer(&admin).send().await;
    let [session] = reply.body["sessions"].as_array().expect("sessions").as_slice() else {
        panic!("{}", reply.body);
    };
    for (name, value) in [("username", json!("ada")), ("user_id", ada["user_id"].clone())] {
        assert_eq!(session[name], value);
    }
    let nobody = service.get("/admin/sessions?user=zzzzzz").bearer(&admin).send().await;
    assert_eq!(nobody.body["sessions"], json!([]));
}

#[tokio::test]
async fn a_user_ends_one_of_the_own_sessions_and_nobody_elses() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let other = service.login("ada", PASSWORD).await;
    let admin = service.login_admin().await;
    let of = async |token: &str| {
        let reply = service.get("/me/sessions").bearer(token).send().await;
        ids(&reply.body).into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let (mine, admins) = (of(&token).await, of(&admin).await);
    for id in [admins[0].as_str(), "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f", "x", "%00"] {
        let reply = service.delete(&format!("/me/sessions/{id}")).bearer(&token).send().await;
        reply.assert_problem(404, "session_not_found");
    }
    let path = format!("/me/sessions/{}", mine[1]);
    assert_eq!(service.delete(&path).bearer(&token).send().await.status, 204);
    service.delete(&path).bearer(&token).send().await.assert_problem(404, "session_not_found");
    service.get("/me").bearer(&other).send().await.assert_problem(401, "invalid_token");
    assert_eq!(invalidations(&service).await, [(mine[1].clone(), json!("revoked"))]);
    // The one that asks may go, too.
    let path = format!("/me/sessions/{}", mine[0]);
    assert_eq!(service.delete(&path).bearer(&token).send().await.status, 204);
    service.delete(&path).bearer(&token).send().await.assert_problem(401, "invalid_token");
    let reasons = service.audit_reasons("session.revoke").await;
    assert_eq!(reasons.iter().filter(|reason| reason.is_none()).count(), 2);
    assert_eq!(reasons.len(), 7);
}

#[tokio::test]
async fn a_user_ends_all_other_sessions() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let others = [service.login("ada", PASSWORD).await, service.login("ada", PASSWORD).await];
    assert_eq!(service.delete("/me/sessions").bearer(&token).send().await.status, 204);
    for other in &others {
        service.get("/me").bearer(other).send().await.assert_problem(401, "invalid_token");
        let reply = service.delete("/me/sessions").bearer(other).send().await;
        reply.assert_problem(401, "invalid_token");
    }
    assert_eq!(service.get("/me").bearer(&token).send().await.status, 200);
    let ended = invalidations(&service).await;
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|(_, reason)| reason == "revoked"));
    assert_eq!(service.audit_reasons("sessions.revoke").await, [None]);
}

#[tokio::test]
async fn an_administrator_ends_a_session() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let admin = service.login_admin().await;
    let list = service.get("/me/sessions").bearer(&token).send().await;
    let id = ids(&list.body)[0].to_owned();
    let path = format!("/admin/sessions/{id}");
    service.delete(&path).bearer(&token).send().await.assert_problem(403, "forbidden");
    assert_eq!(service.delete(&path).bearer(&admin).send().await.status, 204);
    service.get("/me").bearer(&token).send().await.assert_problem(401, "invalid_token");
    service.delete(&path).bearer(&admin).send().await.assert_problem(404, "session_not_found");
    assert_eq!(invalidations(&service).await, [(id.clone(), json!("revoked"))]);
    let data = &service.outbox().await.pop().expect("an event").2;
    assert_eq!(data["public_id"], ada["public_id"]);
    let entry = service.last_audit("session.revoke").await;
    assert_eq!(
        (&entry["reason"], &entry["resource"]),
        (&json!("not_found"), &json!(format!("session:{id}")))
    );
}

#[tokio::test]
async fn an_expired_session_is_none() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let admin = service.login_admin().await;
    let list = service.get("/me/sessions").bearer(&token).send().await;
    let id = ids(&list.body)[0].to_owned();
    sqlx::query("update sessions set expires_at = now() where id = $1")
        .bind(&id)
        .execute(&mut service.database().await)
        .await
        .expect("expired");
    service.get("/me/sessions").bearer(&token).send().await.assert_problem(401, "invalid_token");
    let all = service.get("/admin/sessions").bearer(&admin).send().await;
    assert!(!ids(&all.body).contains(&id.as_str()));
    let reply = service.delete(&format!("/admin/sessions/{id}")).bearer(&admin).send().await;
    reply.assert_problem(404, "session_not_found");
}

#[tokio::test]
async fn a_session_that_is_ended_while_its_request_waits_changes_nothing_any_more() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let account = service.create_service_account(&token).await;
    let scopes = format!(
        "/service-accounts/{}/scopes",
        account["service_account_id"].as_str().expect("an id")
    );
    let body = json!({"name": "late", "scopes": {}, "display_name": "late"});
    let only = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), body[*name].clone())).collect()
    };
    for (method, path, body) in [
        ("PATCH", "/me", only(&["display_name"])),
        ("DELETE", "/me/sessions", Value::Null),
        ("POST", "/service-accounts", only(&["name", "scopes"])),
    ] {
        let token = service.login("ada", PASSWORD).await;
        let mut database = service.database().await;
        // An administrator's reset of the password, before it commits.
        sqlx::raw_sql(
            "begin; select id from users where username = 'ada' for update; \
             delete from sessions where user_id = (select id from users where username = 'ada')",
        )
        .execute(&mut database)
        .await
        .expect("a reset in flight");
        let late = service.request(method, path).bearer(&token).json(&body).send();
        let commit = async {
            service.until_blocked(1).await;
            sqlx::raw_sql("commit").execute(&mut database).await.expect("committed");
        };
        let (reply, ()) = tokio::join!(late, commit);
        reply.assert_problem(401, "invalid_token");
    }
    assert_eq!(service.count("users where display_name is not null").await, 0);
    assert_eq!(service.count("service_accounts").await, 1);

    // Where the wait is for the account, the session is kept until it is over.
    let token = service.login("ada", PASSWORD).await;
    let mut database = service.database().await;
    sqlx::raw_sql("begin; select id from service_accounts for update")
        .execute(&mut database)
        .await
        .expect("locked");
    let change = service.put(&scopes).bearer(&token).json(&only(&["scopes"])).send();
    let logout = async {
        service.until_blocked(1).await;
        service.post("/logout").bearer(&token).send().await
    };
    let release = async {
        service.until_blocked(2).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (change, logout, ()) = tokio::join!(change, logout, release);
    assert_eq!((change.status, logout.status), (200, 204));
}
