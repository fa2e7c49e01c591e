//! `auth-sidecar status`, `requeue` and `drop`: rows that the relay has set aside.

use serde_json::json;
use sqlx::postgres::PgListener;

use crate::harness::{
    OwnNats, Service, eventually, sidecar_process, sidecar_url, temporary_directory,
};
use crate::processes;
use crate::publishing::drained;

/// Runs a command with the sidecar's role.
fn sidecar(service: &Service, args: &[&str]) -> (Option<i32>, String, String) {
    processes::sidecar(args, &sidecar_url(&service.database_url), &[])
}

/// Three rows that were set aside, and four that wait: two behind the first, one before the
/// second, and one of another entity.
async fn rows(service: &Service) {
    sqlx::raw_sql(
        "insert into outbox (id, kind, entity_id, data, set_aside_at, last_error, attempts) values \
         (11, 'UserCreated', 'AAAAAA', '{}', now(), 'missing field', 3), \
         (22, 'UserUpdated', 'BBBBBB', '{}', now(), 'too large', 0), \
         (33, 'UserDeleted', 'CCCCCC', '{}', now(), null, 0); \
         insert into outbox (id, kind, entity_id, data) values \
         (12, 'UserUpdated', 'AAAAAA', '{}'), (13, 'UserDeleted', 'AAAAAA', '{}'), \
         (14, 'UserCreated', 'BBBBBB', '{}'), (15, 'UserCreated', 'DDDDDD', '{}')",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
}

#[tokio::test]
async fn status_tells_what_was_set_aside_why_and_what_waits_behind_it() {
    let service = Service::start().await;
    let (code, before, _) = sidecar(&service, &["status"]);
    assert!(code == Some(0) && !before.contains("set aside"), "{before}");
    rows(&service).await;
    // One behind another does not wait: it was set aside itself.
    sqlx::raw_sql(
        "insert into outbox (id, kind, entity_id, data, set_aside_at, last_error) \
         values (44, 'UserUpdated', 'CCCCCC', '{}', now(), 'a mistake')",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
    let (code, after, _) = sidecar(&service, &["status"]);
    assert_eq!(code, Some(0));
    for line in [
        "set aside: 4 rows; the first of them:",
        "  11 UserCreated AAAAAA: missing field (2 events of the entity wait behind it)",
        "  22 UserUpdated BBBBBB: too large (0 events of the entity wait behind it)",
        "  33 UserDeleted CCCCCC: no reason (0 events of the entity wait behind it)",
    ] {
        assert!(after.lines().any(|other| other == line), "{line}\n{after}");
    }
}

#[tokio::test]
async fn requeue_tries_named_rows_again_or_all_and_wakes_the_relay() {
    let service = Service::start().await;
    rows(&service).await;
    let mut listener = PgListener::connect(&service.database_url).await.expect("a listener");
    listener.listen("outbox").await.expect("listening");
    let set_aside = async || service.count("outbox where set_aside_at is not null").await;

    // One that waits, one that is not there: nothing happens to the one that was set aside.
    let (code, out, error) = sidecar(&service, &["requeue", "11", "12", "99"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let told = "auth-sidecar: nothing was changed; no rows that were set aside: 12, 99\n";
    assert_eq!(error, told);
    assert_eq!(set_aside().await, 3);

    let (code, out, error) = sidecar(&service, &["requeue", "22", "11", "11"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let told = "tried again: 11 UserCreated AAAAAA: missing field\n\
                tried again: 22 UserUpdated BBBBBB: too large\n\
                tried again: 2 rows\n";
    assert_eq!(out, told);
    assert_eq!(set_aside().await, 1);
    let fresh = "outbox where id = 11 and attempts = 0 and last_error = 'missing field'";
    assert_eq!(service.count(fresh).await, 1);
    let notified = tokio::time::timeout(crate::harness::PATIENCE, listener.recv()).await;
    assert_eq!(notified.expect("in time").expect("notified").channel(), "outbox");

    let (code, out, _) = sidecar(&service, &["requeue", "--all"]);
    assert_eq!(code, Some(0));
    assert_eq!(out, "tried again: 33 UserDeleted CCCCCC: no reason\ntried again: 1 rows\n");
    let (code, out, _) = sidecar(&service, &["requeue", "--all"]);
    assert_eq!((code, out.as_str()), (Some(0), "tried again: 0 rows\n"));
    for args in [&["requeue"][..], &["requeue", "11", "--all"], &["requeue", "x"]] {
        assert_eq!(sidecar(&service, args).0, Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn drop_removes_named_rows_says_which_and_wakes_the_relay() {
    let service = Service::start().await;
    rows(&service).await;
    let mut listener = PgListener::connect(&service.database_url).await.expect("a listener");
    listener.listen("outbox").await.expect("listening");

    let (code, out, error) = sidecar(&service, &["drop", "11", "12"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.ends_with("no rows that were set aside: 12\n"), "{error}");
    assert_eq!(service.count("outbox").await, 7);

    let (code, out, error) = sidecar(&service, &["drop", "33", "11"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let told = "dropped: 11 UserCreated AAAAAA: missing field\n\
                dropped: 33 UserDeleted CCCCCC: no reason\n\
                dropped: 2 rows\n";
    assert_eq!(out, told);
    assert_eq!(service.count("outbox").await, 5);
    assert_eq!(service.count("outbox where id in (11, 33)").await, 0);
    let notified = tokio::time::timeout(crate::harness::PATIENCE, listener.recv()).await;
    assert_eq!(notified.expect("in time").expect("notified").channel(), "outbox");

    // What is gone is gone, and nobody drops all by mistake.
    assert_eq!(sidecar(&service, &["drop", "11"]).0, Some(1));
    for args in [&["drop"][..], &["drop", "--all"]] {
        assert_eq!(sidecar(&service, args).0, Some(2), "{args:?}");
    }
    let (_, help, _) = sidecar(&service, &["drop", "--help"]);
    assert!(help.contains("Consumers never learn"), "{help}");
}

#[tokio::test]
async fn a_row_that_was_mended_is_published_and_what_is_behind_it_follows() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let id = ada["public_id"].as_str().expect("an id").to_owned();
    sqlx::query("update outbox set data = data - 'username' where entity_id = $1")
        .bind(&id)
        .execute(&mut service.database().await)
        .await
        .expect("spoilt");
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    eventually(async || {
        (service.count("outbox where set_aside_at is not null").await == 1).then_some(())
    })
    .await;

    sqlx::query("update outbox set data = data || $2 where entity_id = $1")
        .bind(&id)
        .bind(json!({"username": "ada"}))
        .execute(&mut service.database().await)
        .await
        .expect("mended");
    let rename = json!({"display_name": "Ada"});
    let path = format!("/admin/users/{id}");
    let (code, _, error) = sidecar(&service, &["requeue", "--all"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(service.patch(&path).bearer(&admin).json(&rename).send().await.status, 200);
    drained(&service).await;
    let messages = nats.messages(3).await;
    let of_ada = messages.iter().filter(|message| message.subject.contains(&id));
    let subjects: Vec<&str> = of_ada.map(|message| message.subject.as_str()).collect();
    assert_eq!(subjects, [format!("auth.user.{id}.created"), format!("auth.user.{id}.updated")]);
}
