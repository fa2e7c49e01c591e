//! Spellings of a name, and what is no part of one.

use edd_auth_sidecar::migrate;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, Service};

async fn create(service: &Service, admin: &str, username: &str) -> Reply {
    let body = json!({"username": username, "password": PASSWORD});
    service.post("/admin/users").bearer(admin).json(&body).send().await
}

#[tokio::test]
async fn spellings_of_a_name_are_one_name() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    for spellings in [
        ["Stra\u{df}e", "STRASSE", "stra\u{1e9e}e"],
        ["\u{130}nci", "i\u{307}nci", "I\u{307}NCI"],
        ["Zo\u{eb}", "zoe\u{308}", "ZO\u{cb}"],
        ["\u{fb01}ne", "fine", "\u{ff26}\u{ff29}\u{ff2e}\u{ff25}"],
        ["ΣΊΣΥΦΟΣ", "σίσυφος", "ΣΊΣΥΦΟΣ"],
    ] {
        assert_eq!(create(&service, &admin, spellings[0]).await.status, 201);
        for spelling in spellings {
            create(&service, &admin, spelling).await.assert_problem(409, "username_taken");
            // Each of them logs in, too.
            service.login(spelling, PASSWORD).await;
        }
    }
    // A letter with a dot is another letter than one without.
    assert_eq!(create(&service, &admin, "inci").await.status, 201);
}

#[tokio::test]
async fn a_user_may_spell_the_name_otherwise_and_takes_nobody_else_s() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let ada = create(&service, &admin, "ada").await.body;
    create(&service, &admin, "Gro\u{df}").await;
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    let rename = async |username: &str| {
        service.patch(&path).bearer(&admin).json(&json!({"username": username})).send().await
    };
    rename("GROSS").await.assert_problem(409, "username_taken");
    assert_eq!(rename("ADA").await.body["username"], "ADA");
    assert_eq!(rename("Groß-Gerau").await.status, 200);
    service.login("gross-gerau", PASSWORD).await;
    // The name that was given up is free.
    assert_eq!(create(&service, &admin, "ada").await.status, 201);
}

#[tokio::test]
async fn white_space_around_a_name_is_none_of_it() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let reply = create(&service, &admin, "  Ada Lovelace\u{2003}").await;
    assert_eq!(reply.body["username"], "Ada Lovelace", "{}", reply.body);
    create(&service, &admin, "ada lovelace ").await.assert_problem(409, "username_taken");
    service.login(" ada lovelace", PASSWORD).await;
}

#[tokio::test]
async fn what_can_not_be_seen_is_refused() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let longest = "\u{1f469}".repeat(254);
    assert_eq!(create(&service, &admin, &longest).await.status, 201);
    for name in [
        String::new(),
        " ".to_owned(),
        "a".repeat(255),
        // Its canonical form would not fit into an index.
        "\u{fdfa}".repeat(254),
        "a\u{0}b".to_owned(),
        "a\nb".to_owned(),
        "a\u{9f}b".to_owned(),
        "ada\u{202e}nimda".to_owned(),
        "ada\u{2066}".to_owned(),
        "ada\u{200b}".to_owned(),
        "\u{200f}ada".to_owned(),
        "a\u{ad}da".to_owned(),
        "\u{200d}".to_owned(),
    ] {
        create(&service, &admin, &name).await.assert_field("username");
    }
    let body = json!({"username": "ada", "password": PASSWORD, "display_name": "A\u{202e}da"});
    let reply = service.post("/admin/users").bearer(&admin).json(&body).send().await;
    reply.assert_field("display_name");
}

/// Whatever a name has in it, subjects are made of ids.
#[tokio::test]
async fn no_character_of_a_name_reaches_a_subject() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    for name in ["auth.user.*", "> everything", "a.b.c", "* *", "\u{1f469}\u{200d}\u{1f680}"] {
        let user = create(&service, &admin, name).await;
        assert_eq!(user.status, 201, "{}", user.body);
        let (kind, entity, data) = service.outbox().await.pop().expect("an event");
        assert_eq!((kind.as_str(), &data["username"]), ("UserCreated", &json!(name)));
        assert_eq!(Value::from(entity.clone()), user.body["public_id"]);
        assert!(entity.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{entity}");
    }
}

/// Rows from before the column, and of a component from before it.
#[tokio::test]
async fn the_sidecar_computes_what_older_rows_lack() {
    let service = Service::start().await;
    let mut database = service.database().await;
    sqlx::raw_sql(
        "insert into users (public_id, username, password_hash) \
         select 'AAAAAA', 'Gro\u{df}', password_hash from users",
    )
    .execute(&mut database)
    .await
    .expect("inserted");
    migrate::apply(&mut database).await.expect("applied");
    service.login("GROSS", crate::harness::ADMIN_PASSWORD).await;

    sqlx::raw_sql(
        "insert into users (public_id, username, password_hash) values ('BBBBBB', 'gross', 'x')",
    )
    .execute(&mut database)
    .await
    .expect("inserted");
    let refusal = migrate::apply(&mut database).await.expect_err("refused").to_string();
    assert!(refusal.contains("BBBBBB") && refusal.contains("gross"), "{refusal}");
}
