//! `auth-sidecar import`, as an operator runs it.

use std::process::Output;

use xtask::artifacts::Artifacts;

use crate::harness::{
    OwnNats, PASSWORD, Service, sidecar_process, sidecar_url, temporary_directory,
};

fn bcrypt_of(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, *b"0123456789abcdef").expect("hashes").to_string()
}

fn import(service: &Service, lines: &[String]) -> Output {
    let directory = temporary_directory();
    let file = directory.path().join("users.ndjson");
    std::fs::write(&file, lines.join("\n")).expect("written");
    std::process::Command::new(Artifacts::paths().sidecar)
        .args(["import", "--file"])
        .arg(&file)
        .env("DATABASE_URL", sidecar_url(&service.database_url))
        .output()
        .expect("it runs")
}

fn line(username: &str, password_hash: &str) -> String {
    serde_json::json!({"username": username, "password_hash": password_hash}).to_string()
}

#[tokio::test]
async fn users_of_another_system_log_in_with_their_passwords_and_have_their_events() {
    let service = Service::start().await;
    let ada = serde_json::json!({
        "username": " Ada", "display_name": "Ada L.", "password_hash": bcrypt_of(PASSWORD),
    });
    let argon2 = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                  $7Yc4bPb8xGv6N9tO1m7kGk0u6bq1M8x3cXq5l9eW2aE";
    // More than one statement's worth.
    let mut lines = vec![ada.to_string(), String::new(), line("bob", argon2)];
    lines.extend((0..1500).map(|n| line(&format!("user{n}"), argon2)));
    let output = import(&service, &lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "imported 1502 users\n");
    assert_eq!(service.count("users").await, 1503);
    assert_eq!(service.count("outbox where kind = 'UserCreated'").await, 1502);
    // With that of the administrator.
    assert_eq!(service.audit("user.create").await.len(), 1503);
    let (_, entity, data) = service.outbox().await.swap_remove(0);
    assert_eq!((&data["username"], &data["display_name"]), (&"Ada".into(), &"Ada L.".into()));
    assert_eq!(data["public_id"], entity);

    service.login("ada", PASSWORD).await;
    assert_eq!(service.count("users where password_hash like '$argon2id$%m=7168%'").await, 2);

    let nats = OwnNats::start();
    let directory = temporary_directory();
    let _sidecar = sidecar_process(directory.path(), "sidecar", &service.database_url, &nats.url());
    let messages = nats.messages(1503).await;
    let created = messages.iter().filter(|message| message.subject.ends_with(".created"));
    assert_eq!(created.count(), 1503);
}

#[tokio::test]
async fn one_bad_line_and_nothing_is_imported() {
    let service = Service::start().await;
    let good = bcrypt_of(PASSWORD);
    let cases: [(&[String], &[&str]); 3] = [
        (
            &[line("ada", &good), line("", &good), line("bob", "secret text"), "{".to_owned()],
            &[
                "users.ndjson: line 2: `username` must not be empty",
                "users.ndjson: line 3: `password_hash` must be a bcrypt hash",
                "users.ndjson: line 4: is not valid JSON",
                "nothing was imported; wrong lines of",
            ],
        ),
        (
            &[line("ada", &good), line("ADMIN", &good)],
            &["users.ndjson: line 2: `username` is taken", "nothing was imported; wrong lines of"],
        ),
        (
            &[line("ada", &good), line("\u{ff21}DA", &good)],
            &["users.ndjson: line 2: `username` is that of line 1"],
        ),
    ];
    for (lines, expected) in cases {
        let output = import(&service, lines);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for expected in expected {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("secret text") && !text.contains(&good[7..]), "{text}");
        assert_eq!((service.count("users").await, service.count("outbox").await), (1, 0));
    }
}
