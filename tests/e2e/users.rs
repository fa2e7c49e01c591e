//! `/admin/users`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{ADMIN, PASSWORD, Service, eventually};

fn path_of(user: &Value) -> String {
    format!("/admin/users/{}", user["public_id"].as_str().expect("an id"))
}

#[tokio::test]
async fn only_an_administrator_may() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let token = service.login("ada", PASSWORD).await;
    let path = path_of(&ada);
    for (method, path) in [
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("GET", path.as_str()),
        ("PATCH", path.as_str()),
        ("DELETE", path.as_str()),
        // Nor learn which ids exist.
        ("GET", "/admin/users/zzzzzz"),
    ] {
        let body = json!({"username": "eve", "password": PASSWORD, "is_admin": true});
        let anonymous = service.request(method, path).json(&body).send().await;
        anonymous.assert_problem(401, "missing_token");
        let user = service.request(method, path).bearer(&token).json(&body).send().await;
        user.assert_problem(403, "forbidden");
    }
    assert_eq!(service.count("users").await, 2);

    let change = service.patch(&path).bearer(&admin).json(&json!({"is_admin": true})).send().await;
    assert_eq!(change.status, 200, "{}", change.body);
    assert_eq!(service.get("/admin/users").bearer(&token).send().await.status, 200);
}

#[tokio::test]
async fn create_answers_with_the_user_and_where_it_is() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let reply = service
        .post("/admin/users")
        .bearer(&admin)
        .json(&json!({"username": "ada", "password": PASSWORD, "display_name": "Ada Lovelace"}))
        .send()
        .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let location = reply.header("location").expect("Location").to_owned();
    assert_eq!(location, path_of(&reply.body));
    assert_eq!(reply.body["display_name"], "Ada Lovelace");
    assert_eq!(reply.body["is_admin"], false);
    assert_eq!(service.get(&location).bearer(&admin).send().await.body, reply.body);
    service.login("ada", PASSWORD).await;

    let outbox = service.outbox().await;
    let (kind, entity, data) = &outbox[1];
    assert_eq!(kind, "UserCreated");
    assert_eq!(entity, reply.body["public_id"].as_str().expect("an id"));
    assert_eq!(
        data,
        &json!({
            "user_id": reply.body["user_id"],
            "public_id": reply.body["public_id"],
            "username": "ada",
            "display_name": "Ada Lovelace",
            "version": 1,
        })
    );
}

#[tokio::test]
async fn a_name_is_taken_once_whatever_its_case() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "Ada").await;
    for username in ["Ada", "ada", "ADA"] {
        let reply = service
            .post("/admin/users")
            .bearer(&admin)
            .json(&json!({"username": username, "password": PASSWORD}))
            .send()
            .await;
        reply.assert_problem(409, "username_taken");
    }
    assert_eq!(service.outbox_kinds().await, ["SessionCreated", "UserCreated"]);
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ids: Vec<String> = {
        let mut paths = Vec::new();
        for name in ["b", "c", "d"] {
            paths.push(path_of(&service.create_user(&admin, name).await));
        }
        paths
    };
    let create = || async {
        let body = json!({"username": "wanted", "password": PASSWORD});
        service.post("/admin/users").bearer(&admin).json(&body).send().await.status
    };
    let rename = |path: String| {
        let (service, admin) = (&service, &admin);
        async move {
            let body = json!({"username": "Wanted"});
            service.patch(&path).bearer(admin).json(&body).send().await.status
        }
    };
    let statuses = tokio::join!(
        create(),
        rename(ids[0].clone()),
        rename(ids[1].clone()),
        create(),
        rename(ids[2].clone())
    );
    let statuses: [u16; 5] = statuses.into();
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 4, "{statuses:?}");
    assert_eq!(service.count("users where lower(username) = 'wanted'").await, 1);
}

#[tokio::test]
async fn create_checks_its_fields() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    for (body, field) in [
        (json!({"password": PASSWORD}), "username"),
        (json!({"username": "ada"}), "password"),
        (json!({"username": "\u{202e}ada", "password": PASSWORD}), "username"),
        (json!({"username": "a\nb", "password": PASSWORD}), "username"),
        (json!({"username": "a".repeat(255), "password": PASSWORD}), "username"),
        (json!({"username": "ada", "password": "fourteen chars"}), "password"),
        (json!({"username": "ada", "password": "a".repeat(257)}), "password"),
        (json!({"username": "ada", "password": PASSWORD, "display_name": "\0"}), "display_name"),
        (json!({"username": "ada", "password": PASSWORD, "display_name": 7}), "display_name"),
        (json!({"username": "ada", "password": PASSWORD, "is_admin": true}), "is_admin"),
        (json!({"username": "ada", "password": PASSWORD, "public_id": "aaaaaa"}), "public_id"),
    ] {
        let reply = service.post("/admin/users").bearer(&admin).json(&body).send().await;
        reply.assert_field(field);
    }
    assert_eq!(service.count("users").await, 1);
}

#[tokio::test]
async fn pages_hold_every_user_once() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    for place in 0..7 {
        service.create_user(&admin, &format!("user{place}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/admin/users?limit=3".to_owned();
    loop {
        let reply = service.get(&path).bearer(&admin).send().await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let users = reply.body["users"].as_array().expect("users");
        assert!(users.len() <= 3 && !users.is_empty());
        seen.extend(users.iter().map(|user| user["username"].as_str().expect("text").to_owned()));
        match reply.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/admin/users?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 8);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 8);
    // A page that ends with the last user has no successor.
    let whole = service.get("/admin/users?limit=8").bearer(&admin).send().await;
    assert_eq!(whole.body["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_search_finds_parts_of_names() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    service.create_user(&admin, "100%_sure").await;
    let change = json!({"display_name": "Countess"});
    service.patch(&path_of(&ada)).bearer(&admin).json(&change).send().await;
    for (q, expected) in [
        ("AD", vec![ADMIN, "ada"]),
        ("countess", vec!["ada"]),
        ("%25_", vec!["100%_sure"]),
        ("%25", vec!["100%_sure"]),
        ("nobody", vec![]),
        ("", vec![ADMIN, "ada", "100%_sure"]),
    ] {
        let reply = service.get(&format!("/admin/users?q={q}")).bearer(&admin).send().await;
        let names: Vec<&str> = reply.body["users"]
            .as_array()
            .expect("users")
            .iter()
            .map(|user| user["username"].as_str().expect("text"))
            .collect();
        assert_eq!(names, expected, "q={q}");
    }
}

#[tokio::test]
async fn a_search_among_many_goes_through_the_index() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    sqlx::raw_sql(
        "insert into users (public_id, username, password_hash) \
         select lpad(n::text, 6, '0'), 'user' || md5(n::text), 'x' \
         from generate_series(1, 20000) n; \
         analyze users",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
    // More often than PostgreSQL plans anew by itself.
    for _ in 0..8 {
        let reply = service.get("/admin/users?q=dmi").bearer(&admin).send().await;
        assert_eq!(reply.body["users"][0]["username"], ADMIN, "{}", reply.body);
    }
    let mut database = service.database().await;
    // The statistics arrive when the connection of the service is idle.
    eventually(async || {
        let scans: i64 = sqlx::query_scalar(
            "select idx_scan from pg_stat_user_indexes where indexrelname = 'users_search_idx'",
        )
        .fetch_one(&mut database)
        .await
        .expect("statistics");
        (scans == 8).then_some(())
    })
    .await;
}

#[tokio::test]
async fn list_checks_its_parameters() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "ada").await;
    let page = service.get("/admin/users?limit=1&q=a").bearer(&admin).send().await;
    let cursor = page.body["next_cursor"].as_str().expect("a cursor");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=9999999999999999999999", "limit"),
        ("cursor=", "cursor"),
        ("cursor=abc", "cursor"),
        ("cursor=%00", "cursor"),
        // Of the right form, and not signed.
        ("cursor=eyJsaXN0IjoiYWRtaW4vdXNlcnNbTm9uZV0iLCJhZnRlciI6IjEifQ.AAAA", "cursor"),
        (&format!("q=a&cursor={}", &cursor[..cursor.len() - 1]), "cursor"),
        (&format!("q=a&cursor=A{cursor}"), "cursor"),
        (&format!("q=a&cursor={admin}"), "cursor"),
        (&format!("cursor={cursor}"), "cursor"),
        (&format!("cursor={cursor}&q=b"), "cursor"),
        ("q=%00", "q"),
    ] {
        let reply = service.get(&format!("/admin/users?{query}")).bearer(&admin).send().await;
        assert_eq!(reply.body["field"], field, "{query}: {}", reply.body);
        reply.assert_field(field);
    }
    let next = format!("/admin/users?q=a&cursor={cursor}");
    assert_eq!(service.get(&next).bearer(&admin).send().await.status, 200);
}

#[tokio::test]
async fn patch_changes_what_is_given_and_nothing_else() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let path = path_of(&ada);
    let change = async |body: Value| {
        let reply = service.patch(&path).bearer(&admin).json(&body).send().await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.body);
        reply.body
    };
    let named = change(json!({"display_name": "Ada"})).await;
    assert_eq!(named["display_name"], "Ada");
    assert_eq!(named["username"], "ada");
    assert!(named["updated_at"].as_str() > ada["updated_at"].as_str());
    let renamed = change(json!({"username": "Augusta"})).await;
    assert_eq!(
        (&renamed["username"], &renamed["display_name"]),
        (&json!("Augusta"), &json!("Ada"))
    );
    assert_eq!(change(json!({"display_name": null})).await["display_name"], Value::Null);
    service.login("augusta", PASSWORD).await;

    let outbox = service.outbox().await;
    let updates: Vec<&Value> = outbox
        .iter()
        .filter(|(kind, _, _)| kind == "UserUpdated")
        .map(|(_, _, data)| data)
        .collect();
    assert_eq!(updates.len(), 3);
    assert_eq!(
        updates[1],
        &json!({
            "user_id": ada["user_id"],
            "public_id": ada["public_id"],
            "username": "Augusta",
            "display_name": "Ada",
            "version": 3,
        })
    );
}

#[tokio::test]
async fn patch_checks_its_fields() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let path = path_of(&service.create_user(&admin, "ada").await);
    for (body, field) in [
        (json!({"username": null}), "username"),
        (json!({"username": ""}), "username"),
        (json!({"username": "a\0"}), "username"),
        (json!({"disabled": null}), "disabled"),
        (json!({"disabled": "yes"}), "disabled"),
        (json!({"is_admin": 1}), "is_admin"),
        (json!({"display_name": "\u{7}"}), "display_name"),
        (json!({"password": PASSWORD}), "password"),
        (json!({"user_id": 1}), "user_id"),
    ] {
        service.patch(&path).bearer(&admin).json(&body).send().await.assert_field(field);
    }
    let empty = service.patch(&path).bearer(&admin).json(&json!({})).send().await;
    empty.assert_problem(400, "invalid_json");
    let taken =
        service.patch(&path).bearer(&admin).json(&json!({"username": "ADMIN"})).send().await;
    taken.assert_problem(409, "username_taken");
    assert_eq!(service.outbox_kinds().await, ["SessionCreated", "UserCreated"]);
}

#[tokio::test]
async fn if_match_keeps_two_administrators_apart() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let path = path_of(&service.create_user(&admin, "ada").await);
    let read = service.get(&path).bearer(&admin).send().await;
    let first = read.header("etag").expect("an ETag").to_owned();
    let rename = json!({"display_name": "Ada"});
    let rename_if = |etag: &str| {
        service.patch(&path).bearer(&admin).header("if-match", etag).json(&rename).send()
    };
    let delete_if =
        |etag: &str| service.delete(&path).bearer(&admin).header("if-match", etag).send();
    let changed = rename_if(&first).await;
    let second = changed.header("etag").expect("an ETag").to_owned();
    assert_ne!(first, second);
    rename_if(&first).await.assert_problem(412, "precondition_failed");
    delete_if(&first).await.assert_problem(412, "precondition_failed");
    rename_if("x").await.assert_field("If-Match");
    assert_eq!(service.count("users where username = 'ada' and version = 2").await, 1);
    assert_eq!(delete_if(&second).await.status, 204);
    let failed = Some("precondition_failed".to_owned());
    assert_eq!(service.audit_reasons("user.update").await, [None, failed.clone()]);
    assert_eq!(service.audit_reasons("user.delete").await, [failed, None]);
}

#[tokio::test]
async fn disabling_ends_every_session() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let tokens = [service.login("ada", PASSWORD).await, service.login("ada", PASSWORD).await];
    let path = path_of(&ada);
    let reply = service.patch(&path).bearer(&admin).json(&json!({"disabled": true})).send().await;
    assert_eq!((reply.status, &reply.body["disabled"]), (200, &json!(true)));
    for token in &tokens {
        service.get("/me").bearer(token).send().await.assert_problem(401, "invalid_token");
    }
    let outbox = service.outbox().await;
    let reasons: Vec<&Value> = outbox
        .iter()
        .filter(|(kind, _, _)| kind == "SessionInvalidated")
        .map(|(_, _, data)| &data["reason"])
        .collect();
    assert_eq!(reasons, ["user_disabled", "user_disabled"]);

    // Enabled again, the old sessions stay ended.
    service.patch(&path).bearer(&admin).json(&json!({"disabled": false})).send().await;
    service.get("/me").bearer(&tokens[0]).send().await.assert_problem(401, "invalid_token");
    service.login("ada", PASSWORD).await;
}

#[tokio::test]
async fn delete_takes_the_sessions_along_and_announces_both() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let token = service.login("ada", PASSWORD).await;
    service.login("ada", PASSWORD).await;
    let path = path_of(&ada);
    let reply = service.delete(&path).bearer(&admin).send().await;
    assert_eq!(reply.status, 204);
    service.get("/me").bearer(&token).send().await.assert_problem(401, "invalid_token");
    for _ in 0..2 {
        service.delete(&path).bearer(&admin).send().await.assert_problem(404, "user_not_found");
    }
    assert_eq!(service.count("sessions").await, 1);

    let outbox = service.outbox().await;
    let last: Vec<(&str, &Value)> = outbox[outbox.len() - 3..]
        .iter()
        .map(|(kind, _, data)| (kind.as_str(), &data["reason"]))
        .collect();
    assert_eq!(
        last,
        [
            ("SessionInvalidated", &json!("user_deleted")),
            ("SessionInvalidated", &json!("user_deleted")),
            ("UserDeleted", &Value::Null),
        ]
    );
    assert_eq!(
        outbox[outbox.len() - 1].2,
        json!({
            "user_id": ada["user_id"],
            "public_id": ada["public_id"],
            "username": "ada",
            "version": 2,
        })
    );
    // The name is free again, for somebody else.
    let successor = service.create_user(&admin, "ada").await;
    assert_ne!(successor["public_id"], ada["public_id"]);
}

#[tokio::test]
async fn a_session_that_opens_while_its_user_is_deleted_is_announced_as_ended() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let mut database = service.database().await;
    // The transaction of a login that has not committed yet. Its session is
    // invisible to the snapshot that the DELETE starts with.
    sqlx::raw_sql(
        "begin; select id from users where username = 'ada' for share; \
         insert into sessions (id, user_id, expires_at) \
         select '01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f', id, now() + interval '1 hour' \
         from users where username = 'ada'",
    )
    .execute(&mut database)
    .await
    .expect("a login in flight");
    let path = path_of(&ada);
    let delete = service.delete(&path).bearer(&admin).send();
    let commit = async {
        service.until_blocked(1).await;
        sqlx::raw_sql("commit").execute(&mut database).await.expect("committed");
    };
    let (reply, ()) = tokio::join!(delete, commit);
    assert_eq!(reply.status, 204);
    let outbox = service.outbox().await;
    let (kind, entity, data) = &outbox[outbox.len() - 2];
    assert_eq!(
        (kind.as_str(), entity.as_str(), &data["reason"]),
        ("SessionInvalidated", "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f", &json!("user_deleted"))
    );
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let me = service.get("/me").bearer(&admin).send().await.body;
    let path = path_of(&me);
    service.delete(&path).bearer(&admin).send().await.assert_problem(403, "self_forbidden");
    let entry = service.last_audit("user.delete").await;
    assert_eq!((&entry["outcome"], &entry["reason"]), (&json!("denied"), &json!("self_forbidden")));
    let ada = service.create_user(&admin, "ada").await;
    let disabled = json!({"is_admin": true, "disabled": true});
    // An administrator who can't log in is none.
    service.patch(&path_of(&ada)).bearer(&admin).json(&disabled).send().await;
    let changes = [
        json!({"disabled": true}),
        // The name is what makes this one an administrator, whatever the row says.
        json!({"username": "root"}),
    ];
    for body in &changes {
        let reply = service.patch(&path).bearer(&admin).json(body).send().await;
        reply.assert_problem(409, "last_admin");
    }
    for body in [json!({"display_name": "Root"}), json!({"is_admin": false})] {
        let reply = service.patch(&path).bearer(&admin).json(&body).send().await;
        assert_eq!((reply.status, &reply.body["is_admin"]), (200, &json!(true)), "{}", reply.body);
    }
    // With another one it may go.
    let enabled = json!({"disabled": false});
    service.patch(&path_of(&ada)).bearer(&admin).json(&enabled).send().await;
    let reply = service.patch(&path).bearer(&admin).json(&changes[0]).send().await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    service.get("/me").bearer(&admin).send().await.assert_problem(401, "invalid_token");
}

#[tokio::test]
async fn of_two_administrators_who_take_each_other_away_one_stays() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let me = service.get("/me").bearer(&admin).send().await.body;
    let ada = service.create_user(&admin, "ada").await;
    let right = json!({"is_admin": true});
    service.patch(&path_of(&ada)).bearer(&admin).json(&right).send().await;
    let token = service.login("ada", PASSWORD).await;
    let mut database = service.database().await;
    // Both statements wait at the same place, with the same snapshot.
    sqlx::raw_sql("begin; select pg_advisory_xact_lock(hashtextextended('administrators', 0))")
        .execute(&mut database)
        .await
        .expect("locked");
    let demote = json!({"is_admin": false});
    let (ada_path, my_path) = (path_of(&ada), path_of(&me));
    let one = service.patch(&ada_path).bearer(&admin).json(&demote).send();
    let two = service.delete(&my_path).bearer(&token).send();
    let release = async {
        service.until_blocked(2).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (one, two, ()) = tokio::join!(one, two, release);
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(statuses == [200, 409] || statuses == [204, 409], "{statuses:?}");
    let left = service.count("users where (is_admin or username = 'admin') and not disabled").await;
    assert_eq!(left, 1);
}

#[tokio::test]
async fn ids_that_name_nobody_are_404() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    for id in ["zzzzzz", "1", "%00", "%2e%2e", "a'b", "*"] {
        let path = format!("/admin/users/{id}");
        service.get(&path).bearer(&admin).send().await.assert_problem(404, "user_not_found");
        service.delete(&path).bearer(&admin).send().await.assert_problem(404, "user_not_found");
        let change = json!({"disabled": true});
        let reply = service.patch(&path).bearer(&admin).json(&change).send().await;
        reply.assert_problem(404, "user_not_found");
    }
}
