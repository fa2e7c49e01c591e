//! From a request to a message of the stream, through the relay.

use std::time::Instant;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Message, OwnNats, PASSWORD, Service, sidecar_process, temporary_directory};
use crate::publishing::relay;

#[tokio::test]
async fn a_login_arrives_within_a_second_as_documented() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    // A first event shows that the relay is up.
    service.login_admin().await;
    nats.messages(1).await;

    let client = async_nats::connect(nats.url()).await.expect("connected");
    let mut subscription = client.subscribe("auth.session.*.created").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let token = service.login_admin().await;
    let started = Instant::now();
    let message = tokio::time::timeout(crate::harness::PATIENCE, subscription.next())
        .await
        .expect("in time")
        .expect("a message");
    assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());

    let me = service.get("/me").bearer(&token).send().await.body;
    let (session, event_id, expires, occurred): (String, uuid::Uuid, i64, i64) = sqlx::query_as(
        "select sessions.id, event_id, extract(epoch from expires_at)::bigint, \
                floor(extract(epoch from occurred_at))::bigint \
         from sessions join outbox on entity_id = sessions.id order by outbox.id desc limit 1",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("the session and its event");
    let message = Message::from(message);
    assert_eq!(message.subject, format!("auth.session.{session}.created"));
    assert_eq!(
        message.payload,
        json!({
            "metadata": {
                "event_id": event_id,
                "entity_id": session,
                "timestamp": occurred,
                "source": "auth-service",
                "version": "1.0",
            },
            "session_id": session,
            "user_id": me["user_id"],
            "public_id": me["public_id"],
            "expires_at": expires,
        })
    );
    assert_eq!(message.headers["Nats-Msg-Id"], event_id.to_string());
    assert_eq!(message.headers["ce-id"], event_id.to_string());
    assert_eq!(message.headers["ce-type"], "SessionCreated");
    assert_eq!(message.headers["ce-source"], "auth-service");
    assert_eq!(message.headers["ce-specversion"], "1.0");
    assert!(message.headers["ce-time"].ends_with('Z'));
}

#[tokio::test]
async fn the_life_of_a_user_arrives_in_order_and_is_marked() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    service.patch(&path).bearer(&admin).json(&json!({"display_name": "Ada"})).send().await;
    let token = service.login("ada", PASSWORD).await;
    service.login("ada", PASSWORD).await;
    service.post("/logout").bearer(&token).send().await;
    assert_eq!(service.delete(&path).bearer(&admin).send().await.status, 204);

    assert_eq!(relay(&service, &nats).once().await.expect("published"), 8);
    let messages = nats.messages(8).await;
    let of = |prefix: &str| -> Vec<String> {
        messages
            .iter()
            .filter(|message| message.subject.starts_with(prefix))
            .map(|message| message.subject[prefix.len()..].to_owned())
            .collect()
    };
    let id = ada["public_id"].as_str().expect("an id");
    assert_eq!(of(&format!("auth.user.{id}.")), ["created", "updated", "deleted"]);
    let reasons: Vec<&Value> = messages
        .iter()
        .filter(|message| message.subject.ends_with(".invalidated"))
        .map(|message| &message.payload["reason"])
        .collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.contains(&&json!("logout")) && reasons.contains(&&json!("user_deleted")));

    let rows: Vec<(uuid::Uuid, i64)> =
        sqlx::query_as("select event_id, stream_seq from outbox where published_at is not null")
            .fetch_all(&mut service.database().await)
            .await
            .expect("rows");
    assert_eq!(rows.len(), 8);
    for (event_id, sequence) in rows {
        let message = &messages[usize::try_from(sequence).expect("fits") - 1];
        assert_eq!(message.headers["Nats-Msg-Id"], event_id.to_string());
    }
}

#[tokio::test]
async fn the_life_of_a_service_account_arrives_in_order() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let admin = service.login_admin().await;
    let account = service.create_service_account(&admin).await;
    let id = account["service_account_id"].as_str().expect("an id");
    let path = format!("/service-accounts/{id}");
    let none = json!({"scopes": {}});
    service.put(&format!("{path}/scopes")).bearer(&admin).json(&none).send().await;
    assert_eq!(service.delete(&path).bearer(&admin).send().await.status, 204);
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 4);
    let messages = nats.messages(4).await;
    let prefix = format!("auth.identity.{id}.");
    let life: Vec<(&str, &Value)> = messages
        .iter()
        .filter_map(|m| Some((m.subject.strip_prefix(&prefix)?, &m.payload["version"])))
        .collect();
    let versions = [json!(1), json!(2), json!(3)];
    let expected = ["updated", "updated", "deleted"].into_iter().zip(&versions);
    assert_eq!(life, expected.collect::<Vec<_>>());
    assert_eq!(messages[1].payload["scopes"], account["scopes"]);
}

#[tokio::test]
async fn a_row_that_is_no_event_is_set_aside_and_blocks_nothing() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    sqlx::query("insert into outbox (kind, entity_id, data) values ('UserCreated', 'x', '{}')")
        .execute(&mut service.database().await)
        .await
        .expect("inserted");
    service.login_admin().await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 1);
    let (reason, attempts): (String, i32) = sqlx::query_as(
        "select last_error, attempts from outbox \
         where set_aside_at is not null and published_at is null",
    )
    .fetch_one(&mut service.database().await)
    .await
    .expect("the row");
    assert!(reason.contains("user_id"), "{reason}");
    assert_eq!(attempts, 0);
    assert_eq!(nats.messages(1).await.len(), 1);
}

#[tokio::test]
async fn a_stream_with_other_limits_is_left_as_it_is() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let jetstream = nats.jetstream().await;
    let config = async_nats::jetstream::stream::Config {
        name: "AUTH".to_owned(),
        subjects: vec!["auth.>".to_owned()],
        max_messages: 7,
        ..Default::default()
    };
    jetstream.create_stream(config).await.expect("created");
    service.login_admin().await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 1);
    let stream = jetstream.get_stream("AUTH").await.expect("the stream");
    assert_eq!(stream.cached_info().config.max_messages, 7);
}

#[tokio::test]
async fn the_stream_is_created_with_its_limits() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 0);
    let stream = nats.jetstream().await.get_stream("AUTH").await.expect("the stream");
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["auth.>"]);
    assert_eq!((config.max_messages, config.max_bytes), (1_000_000, 1_073_741_824));
    assert_eq!(config.max_age.as_secs(), 7 * 24 * 3600);
    assert_eq!(config.duplicate_window.as_secs(), 600);
    assert_eq!(config.storage, async_nats::jetstream::stream::StorageType::File);
}

#[tokio::test]
async fn two_relays_at_once_publish_once() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    service.login_admin().await;
    let (one, two) = (relay(&service, &nats), relay(&service, &nats));
    let stop = CancellationToken::new();
    let leading = one.run(&stop);
    let challenge = async {
        nats.messages(1).await;
        let refused = two.once().await.expect_err("the other one leads");
        assert_eq!(refused.to_string(), "another process is publishing");
        stop.cancel();
    };
    tokio::join!(leading, challenge);
    // Who stops gives the lock back.
    assert_eq!(two.once().await.expect("leads"), 0);
}
