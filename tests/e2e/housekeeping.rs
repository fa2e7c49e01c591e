//! What the sidecar removes.

use edd_auth_sidecar::housekeeping::{Removed, Retention, sweep};
use serde_json::json;

use crate::harness::{OwnNats, Service, sidecar_process, temporary_directory};

#[tokio::test]
async fn expired_sessions_end_with_their_event_and_live_ones_stay() {
    let service = Service::start().await;
    service.login_admin().await;
    service.login_admin().await;
    let mut database = service.database().await;
    let mut sidecar = service.database_as_sidecar().await;
    let expired: String = sqlx::query_scalar(
        "update sessions set expires_at = now() where id = (select min(id) from sessions) \
         returning id",
    )
    .fetch_one(&mut database)
    .await
    .expect("one session");
    let removed = sweep(&mut sidecar, Retention::default()).await.expect("swept");
    assert_eq!(removed, Removed { sessions: 1, ..Removed::default() });
    assert_eq!(service.count("sessions").await, 1);
    let (kind, entity, data) = service.outbox().await.pop().expect("an event");
    assert_eq!((kind.as_str(), &entity), ("SessionInvalidated", &expired));
    assert_eq!((&data["reason"], &data["session_id"]), (&json!("expired"), &json!(expired)));
    assert_eq!(sweep(&mut sidecar, Retention::default()).await.expect("swept"), Removed::default());
}

#[tokio::test]
async fn more_than_a_batch_goes_in_batches_and_a_locked_row_waits_for_the_next_time() {
    let service = Service::start().await;
    let mut database = service.database().await;
    let mut sidecar = service.database_as_sidecar().await;
    sqlx::query(
        "insert into sessions (id, user_id, expires_at) \
         select gen_random_uuid()::text, users.id, now() - interval '1 second' \
         from users, generate_series(1, 1201)",
    )
    .execute(&mut database)
    .await
    .expect("inserted");
    let mut other = service.database().await;
    sqlx::raw_sql("begin; select id from sessions limit 1 for update")
        .execute(&mut other)
        .await
        .expect("locked");
    let removed = sweep(&mut sidecar, Retention::default()).await.expect("swept");
    assert_eq!(removed.sessions, 1200);
    assert_eq!(service.count("outbox where kind = 'SessionInvalidated'").await, 1200);
    sqlx::raw_sql("rollback").execute(&mut other).await.expect("released");
    assert_eq!(sweep(&mut sidecar, Retention::default()).await.expect("swept").sessions, 1);
}

#[tokio::test]
async fn old_rows_go_and_what_is_still_needed_stays() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let account = service.create_service_account(&admin).await;
    service.create_token(&admin, &account).await;
    let mut database = service.database().await;
    let mut sidecar = service.database_as_sidecar().await;
    sqlx::raw_sql(
        "truncate outbox, audit_log; \
         insert into outbox (kind, entity_id, data, published_at, stream_seq) values \
             ('old', 'x', '{}', now() - interval '8 days 1 minute', 1), \
             ('kept', 'x', '{}', now() - interval '7 days 23 hours', 2); \
         insert into outbox (kind, entity_id, data, occurred_at) \
             values ('unpublished', 'x', '{}', now() - interval '1 year'); \
         insert into audit_log (action, outcome, occurred_at) values \
             ('old', 'success', now() - interval '90 days 1 minute'), \
             ('kept', 'success', now() - interval '89 days'); \
         update known_networks set last_login_at = now() - interval '31 days'; \
         insert into login_throttle (key, last_at) values \
             ('pair old', now() - interval '25 hours'), ('pair kept', now()); \
         insert into api_tokens (id, service_account_id, name, sha256, expires_at) \
             select 'NNNNNNNNNNNN', id, 'old', decode(repeat('ab', 32), 'hex'), \
                    now() - interval '31 days' from service_accounts",
    )
    .execute(&mut database)
    .await
    .expect("inserted");
    let removed = sweep(&mut sidecar, Retention::default()).await.expect("swept");
    assert_eq!(
        removed,
        Removed { outbox: 1, audit: 1, tokens: 1, networks: 1, throttle: 1, sessions: 0 }
    );
    assert_eq!(service.outbox_kinds().await, ["kept", "unpublished"]);
    assert_eq!(service.count("audit_log where action = 'kept'").await, 1);
    assert_eq!(service.count("api_tokens where expires_at is null").await, 1);
    assert_eq!(service.count("login_throttle where key = 'pair kept'").await, 1);
    // The log service has not got the row.
    let shorter = Retention { outbox_days: 7, audit_days: 30, unpushed_audit: true };
    let removed = sweep(&mut sidecar, shorter).await.expect("swept");
    assert_eq!((removed.outbox, removed.audit), (1, 0));
    sqlx::query("update audit_log set pushed_at = now()")
        .execute(&mut database)
        .await
        .expect("pushed");
    assert_eq!(sweep(&mut sidecar, shorter).await.expect("swept").audit, 1);
}

#[tokio::test]
async fn the_sidecar_does_it_by_itself() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    service.login_admin().await;
    sqlx::query("update sessions set expires_at = now()")
        .execute(&mut service.database().await)
        .await
        .expect("expired");
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let messages = nats.messages(2).await;
    assert!(messages[1].subject.ends_with(".invalidated"), "{messages:?}");
    assert_eq!(messages[1].payload["reason"], "expired");
}
