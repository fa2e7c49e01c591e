//! What JetStream, PostgreSQL and the relay itself may do to the order of events.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use edd_auth_events::{Event, OutboxRow};
use edd_auth_sidecar::metrics::Metrics;
use edd_auth_sidecar::nats::Nats;
use edd_auth_sidecar::publish::{Fate, Publisher};
use edd_auth_sidecar::stream::{self, Link};
use edd_auth_sidecar::{lock, outbox, status};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{
    Message, OwnNats, PATIENCE, Service, eventually, metric, sidecar_process, temporary_directory,
};
use crate::publishing::{drained, public_id, relay, rename};

/// A stream with a setting of its own.
async fn create_stream(nats: &OwnNats, config: Config) {
    let wanted = Config { name: "AUTH".to_owned(), ..config };
    nats.jetstream().await.create_stream(wanted).await.expect("created");
}

fn all_subjects() -> Vec<String> {
    vec!["auth.>".to_owned()]
}

/// The ids of the messages, in the order of the stream.
fn ids(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.headers["Nats-Msg-Id"].clone()).collect()
}

/// The ids of the outbox, in the order of the rows.
async fn outbox_ids(service: &Service) -> Vec<String> {
    sqlx::query_scalar("select event_id::text from outbox order by id")
        .fetch_all(&mut service.database().await)
        .await
        .expect("the rows")
}

/// The subjects of an entity, in the order of the stream.
fn verbs<'a>(messages: &'a [Message], entity: &str) -> Vec<&'a str> {
    messages
        .iter()
        .filter_map(|message| message.subject.strip_prefix(&format!("auth.{entity}.")))
        .collect()
}

#[tokio::test]
async fn what_jetstream_has_acknowledged_and_lost_comes_back_before_anything_newer() {
    let service = Service::start().await;
    let mut nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, ops) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    for place in 0..20 {
        rename(&service, &admin, &ada, &format!("Ada {place}")).await;
    }
    let bob = public_id(&service.create_user(&admin, "bob").await);
    drained(&service).await;
    let before = ids(&nats.messages(23).await);

    nats.kill();
    nats.cut_off_the_end();
    // These must not come before what they follow.
    rename(&service, &admin, &ada, "Ada again").await;
    assert_eq!(
        service.delete(&format!("/admin/users/{bob}")).bearer(&admin).send().await.status,
        204
    );
    nats.start_again();
    drained(&service).await;
    let messages = nats.messages(25).await;
    let after = ids(&messages);
    // Each where it was, so that no consumer's position means another event.
    assert_eq!(after[..23], before);
    assert_eq!(after.len(), 25);
    assert_eq!(verbs(&messages, &format!("user.{bob}")), ["created", "deleted"]);
    let noted: Vec<String> =
        sqlx::query_scalar("select event_id::text from outbox order by stream_seq")
            .fetch_all(&mut service.database().await)
            .await
            .expect("the rows");
    assert_eq!(noted, after);
    // There was something to restore.
    let restored = eventually(async || metric(&ops, "auth_relay_lost_total")).await;
    assert!((1..23).contains(&restored), "{restored}");
}

#[tokio::test]
async fn a_stream_that_is_gone_is_made_anew_from_the_outbox() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    for _ in 0..3 {
        service.login_admin().await;
        assert_eq!(relay(&service, &nats).once().await.expect("published"), 1);
    }
    // The place in the stream counts, whatever the clock said.
    sqlx::query("update outbox set published_at = now() + interval '1 hour' where stream_seq = 1")
        .execute(&mut service.database().await)
        .await
        .expect("updated");
    let before = ids(&nats.messages(3).await);
    nats.jetstream().await.delete_stream("AUTH").await.expect("deleted");
    service.login_admin().await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 1);
    let after = ids(&nats.messages(4).await);
    assert_eq!((after.len(), &after[..3]), (4, &before[..]));
}

#[tokio::test]
async fn a_stream_that_goes_back_under_the_relay_is_noticed() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (sidecar, ops) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    drained(&service).await;
    // The connection lives on, so nothing tells the relay; and it has much to send.
    sidecar.signal(Signal::SIGSTOP).expect("stopped");
    nats.jetstream().await.delete_stream("AUTH").await.expect("deleted");
    create_stream(&nats, Config { subjects: all_subjects(), ..Config::default() }).await;
    for name in ["one", "two", "three"] {
        rename(&service, &admin, &ada, name).await;
    }
    sidecar.signal(Signal::SIGCONT).expect("continued");
    let messages = nats.messages(5).await;
    let mut found = ids(&messages);
    let mut wanted = outbox_ids(&service).await;
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    // The first one has shown it, and the others have waited.
    assert_eq!(
        verbs(&messages, &format!("user.{ada}")),
        ["updated", "created", "updated", "updated"]
    );
    drained(&service).await;
    assert_eq!(metric(&ops, "auth_relay_lost_total"), Some(2));
}

#[tokio::test]
async fn what_was_handed_to_a_lost_connection_is_never_sent() {
    let mut nats = OwnNats::start();
    create_stream(&nats, Config { subjects: all_subjects(), ..Config::default() }).await;
    let link = link(&nats).await;
    nats.kill();
    tokio::time::timeout(PATIENCE, link.lost.cancelled()).await.expect("noticed");
    let handed = link.jetstream.publish("auth.user.old.created", "{}".into()).await;
    nats.start_again();
    if let Ok(acknowledgement) = handed {
        acknowledgement.await.expect_err("nobody acknowledges it");
    }
    let jetstream = nats.jetstream().await;
    let sent = jetstream.publish("auth.user.new.created", "{}".into()).await.expect("sent");
    assert_eq!(sent.await.expect("stored").sequence, 1);
}

#[tokio::test]
async fn without_a_certain_lock_nothing_is_published() {
    let nats = OwnNats::start();
    create_stream(&nats, Config { subjects: all_subjects(), ..Config::default() }).await;
    let link = link(&nats).await;
    let (event_id, session_id) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7().to_string());
    let data = json!({
        "session_id": session_id, "user_id": 1, "public_id": "AAAAAA", "expires_at": 1
    });
    let event = Event::from_outbox(OutboxRow {
        event_id,
        kind: "SessionCreated".to_owned(),
        entity_id: session_id,
        data,
        occurred_at_unix: 0,
        occurred_at_rfc3339: "1970-01-01T00:00:00Z".to_owned(),
    });
    let event = event.expect("an event");
    let stream = stream::ensure(&link.jetstream).await.expect("the stream");
    let metrics = Metrics::default();
    let publisher = Publisher::new(&link, stream, &metrics);
    let over = tokio::time::Instant::now();
    assert!(matches!(
        publisher.publish(over, &event).await,
        Fate::Unknown { is_answered: false, .. }
    ));
    let held = over + PATIENCE;
    let stored = Fate::Stored { sequence: 1, is_new: true };
    assert_eq!(publisher.publish(held, &event).await, stored);
}

/// A connection of the relay's kind.
async fn link(nats: &OwnNats) -> Link {
    let to = Nats::new(&nats.url()).expect("a URL");
    Link::open(&to, to.servers(), "auth-sidecar", Arc::default()).await.expect("connected")
}

/// Publishes what waits, and has PostgreSQL forget that, as when the relay is killed
/// between the two.
async fn publish_without_a_mark(service: &Service, nats: &OwnNats) -> usize {
    let published = relay(service, nats).once().await.expect("published");
    sqlx::query("update outbox set published_at = null, stream_seq = null")
        .execute(&mut service.database().await)
        .await
        .expect("forgotten");
    published
}

#[tokio::test]
async fn after_the_duplicate_window_nothing_is_published_twice_either() {
    let service = Service::start().await;
    let mut nats = OwnNats::start();
    let window = Duration::from_millis(100);
    let config = Config { subjects: all_subjects(), duplicate_window: window, ..Config::default() };
    create_stream(&nats, config).await;
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    rename(&service, &admin, &ada, "Ada").await;
    assert_eq!(publish_without_a_mark(&service, &nats).await, 3);
    // A server that starts knows the ids of the window's messages, and there are none.
    nats.stop();
    nats.start_again();
    let again = async || nats.messages(3).await.len();
    assert_eq!(again().await, 3);
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 3);
    assert_eq!(again().await, 3);
    assert_eq!(service.count("outbox where stream_seq between 1 and 3").await, 3);
    // And the next one of the same subject follows.
    rename(&service, &admin, &ada, "Ada again").await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 1);
    assert_eq!(ids(&nats.messages(4).await), outbox_ids(&service).await);
}

#[tokio::test]
async fn a_message_of_somebody_else_is_no_reason_to_stop() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 2);
    let jetstream = nats.jetstream().await;
    for verb in ["updated", "deleted"] {
        let subject = format!("auth.user.{ada}.{verb}");
        let sent = jetstream.publish(subject, "{}".into()).await.expect("sent");
        sent.await.expect("stored");
    }
    rename(&service, &admin, &ada, "Ada").await;
    service.delete(&format!("/admin/users/{ada}")).bearer(&admin).send().await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 2);
    assert_eq!(service.count("outbox where stream_seq in (5, 6)").await, 2);
}

#[tokio::test]
async fn a_leader_that_was_stopped_is_replaced_and_publishes_nothing_more() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let mut sidecars: Vec<_> = ["first", "second"]
        .into_iter()
        .map(|name| sidecar_process(directory.path(), name, &service.database_url, &nats.url()))
        .collect();
    let admin = service.login_admin().await;
    drained(&service).await;
    let leads = |place: usize| metric(&sidecars[place].1, "auth_relay_leader") == Some(1);
    let leader = eventually(async || (0..2).find(|place| leads(*place))).await;
    let (stopped, other) = (leader, 1 - leader);
    sidecars[stopped].0.signal(Signal::SIGSTOP).expect("stopped");
    // PostgreSQL ends the session of who is silent for too long.
    let ada = public_id(&service.create_user(&admin, "ada").await);
    rename(&service, &admin, &ada, "Ada").await;
    drained(&service).await;
    assert_eq!(
        metric(&sidecars[other].1, "auth_relay_leader"),
        Some(1),
        "the other one has taken over"
    );
    sidecars[stopped].0.signal(Signal::SIGCONT).expect("continued");
    let published = || metric(&sidecars[stopped].1, "auth_relay_published_total");
    let before = eventually(async || published()).await;
    eventually(async || (metric(&sidecars[stopped].1, "auth_relay_leader")? == 0).then_some(()))
        .await;
    rename(&service, &admin, &ada, "Ada again").await;
    drained(&service).await;
    assert_eq!(published(), Some(before));
    assert_eq!(ids(&nats.messages(4).await), outbox_ids(&service).await);

    // It takes over in its turn.
    sidecars[other].0.signal(Signal::SIGKILL).expect("killed");
    sidecars[other].0.wait(PATIENCE).expect("ended");
    rename(&service, &admin, &ada, "Ada for ever").await;
    drained(&service).await;
    assert_eq!(ids(&nats.messages(5).await), outbox_ids(&service).await);
}

#[tokio::test]
async fn a_leader_whose_session_was_ended_stops_at_once_and_asks_again() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    drained(&service).await;
    for _ in 0..3 {
        let ended: i64 = eventually(async || {
            let ended: i64 = sqlx::query_scalar(
                "select count(pg_terminate_backend(pid)) \
                 from pg_locks join pg_stat_activity using (pid) \
                 where locktype = 'advisory' and datname = current_database()",
            )
            .fetch_one(&mut service.database().await)
            .await
            .expect("terminated");
            (ended > 0).then_some(ended)
        })
        .await;
        assert!(ended >= 1);
        service.create_user(&admin, &format!("user{}", service.count("users").await)).await;
        drained(&service).await;
    }
    assert_eq!(ids(&nats.messages(4).await), outbox_ids(&service).await);
}

/// What is set aside: kind and reason.
async fn set_aside(service: &Service) -> Vec<(String, String)> {
    sqlx::query_as("select kind, last_error from outbox where set_aside_at is not null order by id")
        .fetch_all(&mut service.database().await)
        .await
        .expect("the rows")
}

async fn requeue(service: &Service) {
    sqlx::query("update outbox set set_aside_at = null")
        .execute(&mut service.database().await)
        .await
        .expect("requeued");
}

#[tokio::test]
async fn what_is_too_large_is_set_aside_and_holds_up_its_own_entity_only() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let small = Config { subjects: all_subjects(), max_message_size: 600, ..Config::default() };
    create_stream(&nats, small).await;
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    rename(&service, &admin, &ada, &"A".repeat(200)).await;
    rename(&service, &admin, &ada, "Ada").await;
    let bob = public_id(&service.create_user(&admin, "bob").await);
    rename(&service, &admin, &bob, "Bob").await;
    let relay = relay(&service, &nats);
    assert_eq!(relay.once().await.expect("published"), 4);
    let aside = set_aside(&service).await;
    assert!(matches!(&aside[..], [(kind, why)] if kind == "UserUpdated" && !why.is_empty()));
    assert_eq!(service.count("outbox where published_at is null").await, 2);
    assert_eq!(relay.metrics.rows_set_aside.get(), 1);
    // What waits for an operator does not look like an outage.
    let mut connection = service.database_as_sidecar().await;
    sqlx::query("update outbox set occurred_at = now() - interval '1 hour'")
        .execute(&mut service.database().await)
        .await
        .expect("updated");
    let depth = outbox::depth(&mut connection).await.expect("measured");
    assert_eq!((depth.backlog, depth.age_seconds, depth.set_aside), (1, 0, 1));
    // Nothing changes by itself.
    assert_eq!(relay.once().await.expect("published"), 0);

    let jetstream = nats.jetstream().await;
    let larger = Config { max_message_size: -1, ..stream_config(&jetstream).await };
    jetstream.update_stream(larger).await.expect("updated");
    requeue(&service).await;
    assert_eq!(relay.once().await.expect("published"), 2);
    let messages = nats.messages(6).await;
    let updates: Vec<usize> = messages
        .iter()
        .filter(|message| message.subject == format!("auth.user.{ada}.updated"))
        .map(|message| message.payload["display_name"].as_str().expect("text").len())
        .collect();
    assert_eq!(updates, [200, 3]);
}

async fn stream_config(jetstream: &jetstream::Context) -> Config {
    jetstream.get_stream("AUTH").await.expect("the stream").cached_info().config.clone()
}

#[tokio::test]
async fn subjects_that_the_stream_does_not_take_are_set_aside() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let subjects = vec!["auth.session.>".to_owned(), "auth.user.*.created".to_owned()];
    create_stream(&nats, Config { subjects, ..Config::default() }).await;
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    rename(&service, &admin, &ada, "Ada").await;
    service.login_admin().await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 3);
    let aside = set_aside(&service).await;
    assert!(matches!(&aside[..], [(_, why)] if why.contains("takes auth.session.>")), "{aside:?}");
}

#[tokio::test]
async fn subjects_that_nats_does_not_allow_are_set_aside() {
    let service = Service::start().await;
    let nats = OwnNats::with_configuration(
        r#"authorization { users = [{ user: relay, password: x, permissions: {
            publish: { deny: ["auth.user.*.updated"] } } }] }
        no_auth_user: relay"#,
    );
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    rename(&service, &admin, &ada, "Ada").await;
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 2);
    let aside = set_aside(&service).await;
    assert!(matches!(&aside[..], [(_, why)] if why.contains("may not publish on")), "{aside:?}");
}

/// So many sessions that began while nobody published, and their order.
async fn backlog(service: &Service, sessions: i32) {
    sqlx::query(
        "insert into outbox (kind, entity_id, data) \
         select 'SessionCreated', id, jsonb_build_object('session_id', id, 'user_id', 1, \
             'public_id', 'AAAAAA', 'expires_at', 1) \
         from (select gen_random_uuid()::text as id from generate_series(1, $1)) as sessions",
    )
    .bind(sessions)
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
}

#[tokio::test]
async fn what_is_new_does_not_wait_for_a_long_backlog() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let admin = service.login_admin().await;
    backlog(&service, 600).await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    backlog(&service, 2_000).await;
    // Its own older event is in the middle, and comes first all the same.
    rename(&service, &admin, &ada, "Ada").await;
    let bob = public_id(&service.create_user(&admin, "bob").await);
    assert_eq!(relay(&service, &nats).once().await.expect("published"), 2_604);
    let messages = nats.messages(2_604).await;
    let place = |subject: String| messages.iter().position(|m| m.subject == subject);
    let bob = place(format!("auth.user.{bob}.created")).expect("there");
    assert!(bob < 1_000, "{bob}");
    assert_eq!(verbs(&messages, &format!("user.{ada}")), ["created", "updated"]);
    let mut found = ids(&messages);
    let mut wanted = outbox_ids(&service).await;
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_backlog_that_statistics_do_not_know_is_read_once() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let relay = relay(&service, &nats);
    backlog(&service, 400).await;
    assert_eq!(relay.once().await.expect("published"), 400);
    // A backlog of minutes may be there before the next ANALYZE.
    let mut database = service.database().await;
    for sql in ["alter table outbox set (autovacuum_enabled = off)", "vacuum analyze outbox"] {
        sqlx::raw_sql(sql).execute(&mut database).await.expect("done");
    }
    backlog(&service, 3_000).await;
    assert_eq!(relay.once().await.expect("published"), 3_000);
    // Three pages of the newest rows. PostgreSQL counts when a session is over.
    let read: i64 = eventually(async || {
        let (lookups, read): (i64, i64) = sqlx::query_as(
            "select idx_scan, idx_tup_read from pg_stat_user_indexes \
             where indexrelname = 'outbox_waiting_entity_idx'",
        )
        .fetch_one(&mut database)
        .await
        .expect("the counters");
        (lookups >= 1_500).then_some(read)
    })
    .await;
    assert!(read <= 3_000, "{read} entries were read");
}

#[tokio::test]
async fn more_than_a_page_of_rows_behind_one_that_is_set_aside_holds_up_nobody() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    sqlx::raw_sql(
        "insert into outbox (kind, entity_id, data) values ('UserCreated', 'AAAAAA', '{}'); \
         insert into outbox (kind, entity_id, data) \
         select 'UserUpdated', 'AAAAAA', jsonb_build_object('user_id', 1, 'public_id', 'AAAAAA', \
             'username', 'ada', 'display_name', null, 'version', number) \
         from generate_series(1, 1200) as number",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
    service.login_admin().await;
    let relay = relay(&service, &nats);
    assert_eq!(relay.once().await.expect("published"), 1);
    assert_eq!(service.count("outbox where published_at is null").await, 1_201);
    service.login_admin().await;
    assert_eq!(relay.once().await.expect("published"), 1);
}

#[tokio::test]
async fn a_later_page_never_overtakes_an_earlier_one() {
    let service = Service::start().await;
    sqlx::raw_sql(
        "insert into outbox (kind, entity_id, data, set_aside_at) \
         values ('UserCreated', 'AAAAAA', '{}', now()); \
         insert into outbox (kind, entity_id, data) \
         select 'UserUpdated', 'AAAAAA', '{}' from generate_series(1, 700)",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
    let mut connection = service.database_as_sidecar().await;
    let first = outbox::pending(&mut connection, 0, &[]).await.expect("a page");
    assert!(first.rows.is_empty());
    // Just now somebody requeues the row that they stand behind.
    requeue(&service).await;
    let next = first.next.expect("more");
    let second = outbox::pending(&mut connection, next, &[]).await.expect("a page");
    assert!(second.rows.is_empty(), "{}", second.rows.len());
    let again = outbox::pending(&mut connection, 0, &[]).await.expect("a page");
    assert_eq!(again.rows.len(), 500);
}

#[tokio::test]
async fn an_entity_that_jetstream_does_not_take_for_now_holds_up_nobody() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let one_each = Config {
        subjects: all_subjects(),
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        ..Config::default()
    };
    create_stream(&nats, one_each).await;
    let admin = service.login_admin().await;
    let ada = public_id(&service.create_user(&admin, "ada").await);
    let bob = public_id(&service.create_user(&admin, "bob").await);
    for user in [&ada, &bob] {
        rename(&service, &admin, user, "one").await;
        rename(&service, &admin, user, "two").await;
    }
    backlog(&service, 3_000).await;
    let relay = relay(&service, &nats);
    let refused = relay.once().await.expect_err("two wait").to_string();
    assert!(refused.starts_with("events were not acknowledged: "), "{refused}");
    assert_eq!(service.count("outbox where published_at is null").await, 2);
    assert_eq!(service.count("outbox where last_error is not null and attempts > 0").await, 2);
    let told = status::database(&mut service.database().await).await.expect("a status");
    assert!(told.contains("not taken: "), "{told}");
    // Alone, they are no reason to begin anew either.
    service.login_admin().await;
    relay.once().await.expect_err("two wait");
    assert_eq!(service.count("outbox where published_at is null").await, 2);
}

#[tokio::test]
async fn a_leader_that_waits_too_long_for_a_row_loses_its_lock_with_it() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (sidecar, _) = sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    service.login_admin().await;
    drained(&service).await;
    let mut holder = service.database().await;
    sidecar.signal(Signal::SIGSTOP).expect("stopped");
    service.login_admin().await;
    sqlx::raw_sql("begin; select id from outbox for update")
        .execute(&mut holder)
        .await
        .expect("held");
    sidecar.signal(Signal::SIGCONT).expect("continued");
    let leader = async || {
        sqlx::query_scalar::<_, i32>(
            "select pid from pg_locks join pg_stat_activity using (pid) \
             where locktype = 'advisory' and datname = current_database() and objid = $1::bigint::oid",
        )
        .bind(lock::RELAY & 0xffff_ffff)
        .fetch_optional(&mut service.database().await)
        .await
        .expect("read")
    };
    let before = eventually(leader).await;
    // Nobody waits for its statement any more, and PostgreSQL does not either.
    eventually(async || leader().await.filter(|after| *after != before)).await;
    sqlx::raw_sql("rollback").execute(&mut holder).await.expect("released");
    drained(&service).await;
    assert_eq!(ids(&nats.messages(2).await).len(), 2);
}
