//! Which passwords there may be, and whose hashes come from elsewhere.

use serde_json::json;

use crate::harness::{ADMIN_PASSWORD, PASSWORD, Service};

/// What is guessed first, and why it is refused.
const WEAK: [(&str, &str); 5] = [
    ("1234567890qwertyuiop", "a common password"),
    ("football2026!!!", "a common password"),
    ("Ada.Lovelace.1815", "the username or the display name"),
    ("xkqxkqxkqxkqxkqxkq", "a repetition"),
    ("ghijklmnopqrstuvwx", "a sequence"),
];

#[tokio::test]
async fn what_is_guessed_first_is_refused_wherever_a_password_is_chosen() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let body = json!({"username": "ada", "password": PASSWORD, "display_name": "Ada Lovelace"});
    let ada = service.post("/admin/users").bearer(&admin).json(&body).send().await.body;
    let token = service.login("ada", PASSWORD).await;
    let path = format!("/admin/users/{}/password", ada["public_id"].as_str().expect("an id"));
    for (weak, why) in WEAK {
        let create = json!({"username": "ada2", "password": weak, "display_name": "Ada Lovelace"});
        let change = json!({"current_password": PASSWORD, "new_password": weak});
        let reset = json!({"new_password": weak});
        for (reply, field) in [
            (service.post("/admin/users").bearer(&admin).json(&create).send().await, "password"),
            (service.put("/me/password").bearer(&token).json(&change).send().await, "new_password"),
            (service.put(&path).bearer(&admin).json(&reset).send().await, "new_password"),
        ] {
            reply.assert_field(field);
            let detail = reply.body["detail"].as_str().expect("a detail");
            assert!(detail.ends_with(&format!("{why}.")) || detail.contains(why), "{detail}");
            assert!(!detail.contains(weak), "{detail}");
        }
    }
    // Nothing has changed.
    service.login("ada", PASSWORD).await;
    assert_eq!(service.count("users").await, 2);
}

#[tokio::test]
async fn forms_of_the_same_text_are_the_same_password() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let body = json!({"username": "zoe", "password": "Zo\u{eb} \u{2460} wohnt nebenan"});
    let reply = service.post("/admin/users").bearer(&admin).json(&body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    service.login("zoe", "Zoe\u{308} 1 wohnt nebenan").await;
}

#[tokio::test]
async fn no_character_of_a_long_password_is_cut_off() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    // 72 bytes are where bcrypt stops, 128 where others do.
    let long: String = (0..256_u32)
        .map(|i| char::from(b'!' + u8::try_from(i * i * 7 % 89).expect("fits")))
        .collect();
    let body = json!({"username": "ada", "password": long});
    let reply = service.post("/admin/users").bearer(&admin).json(&body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let mut cut = long.clone();
    cut.pop();
    for wrong in [cut.clone(), format!("{cut}~")] {
        let body = json!({"username": "ada", "password": wrong});
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(401, "invalid_credentials");
    }
    service.login("ada", &long).await;
}

/// Gives the only user a hash of another system.
async fn give_hash(service: &Service, hash: &str) {
    sqlx::query("update users set password_hash = $1")
        .bind(hash)
        .execute(&mut service.database().await)
        .await
        .expect("updated");
}

async fn hash(service: &Service) -> String {
    sqlx::query_scalar("select password_hash from users")
        .fetch_one(&mut service.database().await)
        .await
        .expect("a hash")
}

#[tokio::test]
async fn a_bcrypt_hash_logs_in_and_is_replaced() {
    let service = Service::start().await;
    let bcrypt = bcrypt::hash_with_salt(ADMIN_PASSWORD, 4, *b"0123456789abcdef").expect("hashes");
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let imported = bcrypt.format_for_version(version);
        give_hash(&service, &imported).await;
        let wrong = json!({"username": "admin", "password": PASSWORD});
        let reply = service.post("/login").json(&wrong).send().await;
        reply.assert_problem(401, "invalid_credentials");
        assert_eq!(hash(&service).await, imported);
        service.login_admin().await;
        let replaced = hash(&service).await;
        assert!(replaced.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{replaced}");
        service.login_admin().await;
        assert_eq!(hash(&service).await, replaced);
    }
    // Nobody is told of it.
    assert!(service.outbox_kinds().await.iter().all(|kind| kind == "SessionCreated"));
}

/// What follows the 72 bytes that bcrypt looks at is part of the password.
#[tokio::test]
async fn a_password_that_bcrypt_would_cut_is_wrong() {
    let service = Service::start().await;
    let typed = "seventy-two bytes are what bcrypt looks at, whatever follows behind them";
    assert_eq!(typed.len(), 72);
    let bcrypt = bcrypt::hash_with_salt(typed, 4, *b"0123456789abcdef").expect("hashes");
    give_hash(&service, &bcrypt.to_string()).await;
    let longer = json!({"username": "admin", "password": format!("{typed}!")});
    let reply = service.post("/login").json(&longer).send().await;
    reply.assert_problem(401, "invalid_credentials");
    service.login("admin", typed).await;
}
