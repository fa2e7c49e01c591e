//! `/service-accounts`, `/service-accounts/{id}/scopes`

use serde_json::{Value, json};

use crate::harness::Service;

fn path_of(service_account: &Value) -> String {
    format!("/service-accounts/{}", service_account["service_account_id"].as_str().expect("an id"))
}

#[tokio::test]
async fn the_life_of_a_service_account() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let owner = ada["public_id"].as_str().expect("an id");
    let scopes = json!({format!("sfs.{owner}.files"): ["read", "write"]});
    let body = json!({"name": "CI of the wiki", "scopes": scopes});
    let created = service.post("/service-accounts").bearer(&token).json(&body).send().await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.header("etag"), Some("\"1\""));
    let path = path_of(&created.body);
    assert_eq!(created.header("location"), Some(path.as_str()));
    assert_eq!((&created.body["name"], &created.body["scopes"]), (&body["name"], &scopes));
    let read = service.get(&path).bearer(&token).send().await;
    assert_eq!((&read.body, read.header("etag")), (&created.body, Some("\"1\"")));

    let scopes = json!({format!("compute.{owner}"): ["start"], format!("sfs.{owner}"): ["list"]});
    let reply = service
        .put(&format!("{path}/scopes"))
        .bearer(&token)
        .json(&json!({"scopes": scopes}))
        .send()
        .await;
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"2\"")), "{}", reply.body);
    assert_eq!((&reply.body["scopes"], &reply.body["version"]), (&scopes, &json!(2)));

    assert_eq!(service.delete(&path).bearer(&token).send().await.status, 204);
    let gone = service.get(&path).bearer(&token).send().await;
    gone.assert_problem(404, "service_account_not_found");

    let id = created.body["service_account_id"].clone();
    let identity: Vec<(String, Value)> = service
        .outbox()
        .await
        .into_iter()
        .filter(|(_, entity, _)| *entity == id)
        .map(|(kind, _, data)| (kind, data))
        .collect();
    let with = |rest: Value| {
        let mut data = json!({
            "service_account_id": id, "user_id": ada["user_id"], "public_id": ada["public_id"],
        });
        data.as_object_mut().expect("an object").extend(rest.as_object().expect("one").clone());
        data
    };
    let updated = "IdentityPermissionsUpdated".to_owned();
    assert_eq!(
        identity,
        [
            (updated.clone(), with(json!({"scopes": body["scopes"], "version": 1}))),
            (updated, with(json!({"scopes": scopes, "version": 2}))),
            ("IdentityPermissionsDeleted".to_owned(), with(json!({"version": 3}))),
        ]
    );
    for action in ["service_account.create", "service_account.update", "service_account.delete"] {
        let entry = service.last_audit(action).await;
        assert_eq!((&entry["outcome"], &entry["actor"]), (&json!("success"), &ada["public_id"]));
    }
}

#[tokio::test]
async fn pages_hold_the_own_service_accounts_in_the_order_of_their_age() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let admin = service.login_admin().await;
    service.create_service_account(&admin).await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.push(service.create_service_account(&token).await);
    }
    let mut seen = Vec::new();
    let mut path = "/service-accounts?limit=2".to_owned();
    loop {
        let reply = service.get(&path).bearer(&token).send().await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        seen.extend(reply.body["service_accounts"].as_array().expect("accounts").clone());
        let Some(cursor) = reply.body["next_cursor"].as_str() else { break };
        let stolen = format!("/service-accounts?cursor={cursor}");
        service.get(&stolen).bearer(&admin).send().await.assert_field("cursor");
        path = format!("/service-accounts?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, created);
}

#[tokio::test]
async fn nobody_else_reads_or_changes_a_service_account() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let path = path_of(&service.create_service_account(&token).await);
    // Not even an administrator.
    let admin = service.login_admin().await;
    let scopes = json!({"scopes": {}});
    let tokens = format!("{path}/tokens");
    let new_token = json!({"name": "x", "expires_in": "never"});
    for reply in [
        service.get(&path).bearer(&admin).send().await,
        service.put(&format!("{path}/scopes")).bearer(&admin).json(&scopes).send().await,
        service.delete(&path).bearer(&admin).send().await,
        service.get(&tokens).bearer(&admin).send().await,
        service.post(&tokens).bearer(&admin).json(&new_token).send().await,
    ] {
        reply.assert_problem(404, "service_account_not_found");
    }
    service.get(&path).send().await.assert_problem(401, "missing_token");
    assert_eq!(service.count("service_accounts where version = 1").await, 1);
    assert_eq!(service.count("api_tokens").await, 0);
    let mine = service.get(&path).bearer(&token).send().await.body;
    let created = service.create_token(&token, &mine).await;
    let one = format!("{tokens}/{}", created["token_id"].as_str().expect("an id"));
    service.delete(&one).bearer(&admin).send().await.assert_problem(404, "token_not_found");
    assert_eq!(service.count("api_tokens").await, 1);
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let own = format!("sfs.{}", ada["public_id"].as_str().expect("an id"));
    for (body, field) in [
        (json!({"scopes": {}}), "name"),
        (json!({"name": "ci"}), "scopes"),
        (json!({"name": "", "scopes": {}}), "name"),
        (json!({"name": " ci", "scopes": {}}), "name"),
        (json!({"name": "a".repeat(101), "scopes": {}}), "name"),
        (json!({"name": "a\0", "scopes": {}}), "name"),
        (json!({"name": "ci", "scopes": []}), "scopes"),
        (json!({"name": "ci", "scopes": {"sfs.zzzzzz": ["read"]}}), "scopes"),
        (json!({"name": "ci", "scopes": {"sfs": ["read"]}}), "scopes"),
        (json!({"name": "ci", "scopes": {&own: []}}), "scopes"),
        (json!({"name": "ci", "scopes": {&own: ["read", "read"]}}), "scopes"),
        (json!({"name": "ci", "scopes": {}, "owner": "zzzzzz"}), "owner"),
    ] {
        let reply = service.post("/service-accounts").bearer(&token).json(&body).send().await;
        reply.assert_field(field);
    }
    let text = format!(r#"{{"name":"ci","scopes":{{"{own}":["a"],"{own}":["b"]}}}}"#);
    let twice =
        service.post("/service-accounts").bearer(&token).text("application/json", &text).send();
    twice.await.assert_field("scopes");
    assert_eq!(service.count("service_accounts").await, 0);
    assert_eq!(service.audit("service_account.create").await.len(), 0);
}

#[tokio::test]
async fn a_catalogue_restricts_scopes() {
    let catalog = r#"{"sfs":{"resources":{"files":["read"]}}}"#;
    let service = Service::start_with(&[("scope_catalog", catalog)]).await;
    let token = service.login_admin().await;
    let me = service.get("/me").bearer(&token).send().await.body;
    let owner = me["public_id"].as_str().expect("an id");
    let create = async |scope: &str, action: &str| {
        let body = json!({"name": "ci", "scopes": {scope: [action]}});
        service.post("/service-accounts").bearer(&token).json(&body).send().await
    };
    assert_eq!(create(&format!("sfs.{owner}.files"), "read").await.status, 201);
    create(&format!("sfs.{owner}.files"), "write").await.assert_field("scopes");
    create(&format!("sfs.{owner}"), "read").await.assert_field("scopes");
    create(&format!("mail.{owner}"), "read").await.assert_field("scopes");
}

#[tokio::test]
async fn if_match_keeps_two_writers_apart() {
    let service = Service::start().await;
    let (_, token) = service.ada().await;
    let path = path_of(&service.create_service_account(&token).await);
    let change = async |etag: &str| {
        let request = service.put(&format!("{path}/scopes")).bearer(&token);
        request.header("if-match", etag).json(&json!({"scopes": {}})).send().await
    };
    assert_eq!(change("\"1\"").await.status, 200);
    change("\"1\"").await.assert_problem(412, "precondition_failed");
    let stale = service.delete(&path).bearer(&token).header("if-match", "\"1\"").send().await;
    stale.assert_problem(412, "precondition_failed");
    assert_eq!(service.count("service_accounts").await, 1);
    let fresh = service.delete(&path).bearer(&token).header("if-match", "\"2\"").send().await;
    assert_eq!(fresh.status, 204);
}

#[tokio::test]
async fn there_is_a_limit_and_many_at_once_do_not_pass_it() {
    let service = Service::start_with(&[("service_accounts_per_user", "3")]).await;
    let (_, token) = service.ada().await;
    for _ in 0..2 {
        service.create_service_account(&token).await;
    }
    let mut database = service.database().await;
    sqlx::raw_sql("begin; select id from users where username = 'ada' for update")
        .execute(&mut database)
        .await
        .expect("locked");
    // There is room for one, and three want it, each with the snapshot from before.
    let create = || async {
        let body = json!({"name": "ci", "scopes": {}});
        service.post("/service-accounts").bearer(&token).json(&body).send().await
    };
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
        assert!(reply.body["detail"].as_str().expect("a detail").contains("3 service accounts"));
    }
    assert_eq!(service.count("service_accounts").await, 3);
    // Somebody else's count is another one.
    let admin = service.login_admin().await;
    service.create_service_account(&admin).await;
}

#[tokio::test]
async fn deleting_the_owner_deletes_and_announces_them() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let mut accounts = Vec::new();
    for _ in 0..2 {
        accounts.push(service.create_service_account(&token).await);
    }
    let secret = service.create_token(&token, &accounts[0]).await;
    let admin = service.login_admin().await;
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    assert_eq!(service.delete(&path).bearer(&admin).send().await.status, 204);
    assert_eq!(service.count("service_accounts").await + service.count("api_tokens").await, 0);
    let secret = secret["token"].as_str().expect("a token");
    service.get("/me").bearer(secret).send().await.assert_problem(401, "invalid_token");
    let outbox = service.outbox().await;
    let kinds: Vec<&str> = outbox.iter().map(|(kind, _, _)| kind.as_str()).collect();
    let tail = &kinds[kinds.len() - 3..];
    assert_eq!(tail, ["IdentityPermissionsDeleted", "IdentityPermissionsDeleted", "UserDeleted"]);
    let (_, _, data) = &outbox[outbox.len() - 2];
    assert_eq!((&data["version"], &data["public_id"]), (&json!(2), &ada["public_id"]));
}

#[tokio::test]
async fn an_account_that_is_made_while_its_owner_is_deleted_is_announced_as_deleted() {
    let service = Service::start().await;
    let (ada, token) = service.ada().await;
    let admin = service.login_admin().await;
    let mut database = service.database().await;
    // The transaction of a POST that has not committed yet.
    sqlx::raw_sql(
        "begin; select id from users where username = 'ada' for no key update; \
         insert into service_accounts (id, owner_id, name, scopes) \
         select 'NNNNNNNNNNNN', id, 'late', '{}' from users where username = 'ada'",
    )
    .execute(&mut database)
    .await
    .expect("a creation in flight");
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    let delete = service.delete(&path).bearer(&admin).send();
    let commit = async {
        service.until_blocked(1).await;
        sqlx::raw_sql("commit").execute(&mut database).await.expect("committed");
    };
    let (reply, ()) = tokio::join!(delete, commit);
    assert_eq!(reply.status, 204);
    let outbox = service.outbox().await;
    let deleted = |(kind, entity, _): &(String, String, Value)| {
        kind == "IdentityPermissionsDeleted" && entity == "NNNNNNNNNNNN"
    };
    assert!(outbox.iter().any(deleted), "{outbox:?}");
    // And one that comes after finds nobody to own it.
    let body = json!({"name": "ci", "scopes": {}});
    let late = service.post("/service-accounts").bearer(&token).json(&body).send().await;
    late.assert_problem(401, "invalid_token");
}
