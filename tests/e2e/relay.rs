//! The relay as a process, and what may happen to it.

use nix::sys::signal::Signal;

use crate::harness::{
    OwnNats, PATIENCE, Service, eventually, metric, sidecar_process, temporary_directory,
};
use crate::publishing::drained;

async fn backlog(service: &Service) -> i64 {
    service.count("outbox where published_at is null").await
}

#[tokio::test]
async fn killed_between_publish_and_mark_it_loses_and_repeats_nothing() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    service.login_admin().await;
    // Whoever wants to mark the row has to wait for this transaction.
    let mut lock = service.database().await;
    sqlx::raw_sql("begin; select id from outbox for update")
        .execute(&mut lock)
        .await
        .expect("held");
    let (mut first, _) =
        sidecar_process(directory.path(), "first", &service.database_url, &nats.url());
    nats.messages(1).await;
    service.until_blocked(1).await;
    first.signal(Signal::SIGKILL).expect("killed");
    first.wait(PATIENCE).expect("ended");
    // Its statement must not finish without it.
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'auth-sidecar' and datname = current_database()",
    )
    .execute(&mut service.database().await)
    .await
    .expect("terminated");
    sqlx::raw_sql("rollback").execute(&mut lock).await.expect("released");
    assert_eq!(backlog(&service).await, 1);

    let (_second, _) =
        sidecar_process(directory.path(), "second", &service.database_url, &nats.url());
    drained(&service).await;
    assert_eq!(nats.messages(1).await.len(), 1);
    assert_eq!(service.count("outbox where stream_seq = 1").await, 1);
}

#[tokio::test]
async fn while_nats_is_away_requests_work_and_the_backlog_follows_in_order() {
    let service = Service::start().await;
    let mut nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, ops) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    nats.messages(1).await;
    nats.stop();
    eventually(async || (!xtask::process::answers_ok(&ops, "/readyz")).then_some(())).await;

    let ada = service.create_user(&admin, "ada").await;
    let id = ada["public_id"].as_str().expect("an id");
    let path = format!("/admin/users/{id}");
    for place in 0..20 {
        let change = serde_json::json!({"display_name": format!("Ada {place}")});
        assert_eq!(service.patch(&path).bearer(&admin).json(&change).send().await.status, 200);
    }
    assert_eq!(service.delete(&path).bearer(&admin).send().await.status, 204);
    assert_eq!(backlog(&service).await, 22);

    nats.start_again();
    drained(&service).await;
    let messages = nats.messages(23).await;
    assert_eq!(messages.len(), 23);
    let names: Vec<String> = messages
        .iter()
        .filter(|message| message.subject == format!("auth.user.{id}.updated"))
        .map(|message| message.payload["display_name"].as_str().expect("text").to_owned())
        .collect();
    let expected: Vec<String> = (0..20).map(|place| format!("Ada {place}")).collect();
    assert_eq!(names, expected);
    assert!(messages[1].subject.ends_with(".created"));
    assert!(messages[22].subject.ends_with(".deleted"));
    eventually(async || xtask::process::answers_ok(&ops, "/readyz").then_some(())).await;
}

#[tokio::test]
async fn of_two_sidecars_one_publishes_and_the_other_takes_over() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let mut sidecars: Vec<_> = ["first", "second"]
        .into_iter()
        .map(|name| sidecar_process(directory.path(), name, &service.database_url, &nats.url()))
        .collect();
    service.login_admin().await;
    // Also marked: what is not would be published by the other one, too.
    drained(&service).await;
    let leaders = || -> Vec<usize> {
        (0..2).filter(|place| metric(&sidecars[*place].1, "auth_relay_leader") == Some(1)).collect()
    };
    let leader = eventually(async || match leaders().as_slice() {
        [leader] => Some(*leader),
        _ => None,
    })
    .await;
    let standby = 1 - leader;
    let published = async || metric(&sidecars[standby].1, "auth_relay_published_total");
    assert_eq!(eventually(published).await, 0);

    sidecars[leader].0.signal(Signal::SIGKILL).expect("killed");
    sidecars[leader].0.wait(PATIENCE).expect("ended");
    service.login_admin().await;
    drained(&service).await;
    assert_eq!(nats.messages(2).await.len(), 2);
    eventually(async || {
        (metric(&sidecars[standby].1, "auth_relay_published_total") == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_starts_before_its_servers_and_stops_when_asked() {
    let mut nats = OwnNats::start();
    nats.stop();
    let directory = temporary_directory();
    let home = temporary_directory();
    let home = xtask::services::Home::new(home.path()).expect("a home");
    let start = || {
        xtask::services::Postgres::start(&home, xtask::services::Durability::None).expect("started")
    };
    let postgres = start();
    let url = postgres.url();
    drop(postgres);
    // The port is known, and nobody is there.
    let nats_url = {
        nats.start_again();
        let url = nats.url();
        nats.stop();
        url
    };
    let (mut sidecar, ops) = sidecar_process(directory.path(), "early", &url, &nats_url);
    eventually(async || xtask::process::answers_ok(&ops, "/healthz").then_some(())).await;
    assert!(!xtask::process::answers_ok(&ops, "/readyz"));
    let _postgres = start();
    nats.start_again();
    eventually(async || xtask::process::answers_ok(&ops, "/readyz").then_some(())).await;
    // The default user is there, and was announced.
    let messages = nats.messages(1).await;
    assert!(
        messages[0].subject.starts_with("auth.user.") && messages[0].subject.ends_with(".created")
    );

    sidecar.signal(Signal::SIGTERM).expect("asked");
    assert!(sidecar.wait(PATIENCE).expect("ended").success());
}

#[tokio::test]
async fn many_migrations_at_once_are_one() {
    let url = crate::harness::empty_database().await;
    let migrate = || async {
        let mut connection = crate::harness::connect(&url).await;
        edd_auth_sidecar::migrate::apply(&mut connection).await.expect("migrated");
    };
    futures::future::join_all((0..10).map(|_| migrate())).await;
    let mut connection = crate::harness::connect(&url).await;
    let applied = edd_auth_sidecar::migrate::applied(&mut connection).await.expect("versions");
    let newest = edd_auth_sidecar::migrate::newest_version();
    assert_eq!(applied, (1..=newest).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_that_wait_from_before_versions_get_them() {
    let url = crate::harness::empty_database().await;
    let mut connection = crate::harness::connect(&url).await;
    for file in ["0001_users", "0002_outbox", "0003_sessions"] {
        let path = xtask::root().join(format!("migrations/{file}.sql"));
        let sql = std::fs::read_to_string(path).expect("a migration");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("applied");
    }
    let event = r#"{"user_id":1,"public_id":"AAAAAA","username":"ada","display_name":null}"#;
    sqlx::query(
        "insert into outbox (kind, entity_id, data) values \
         ('UserCreated', 'AAAAAA', $1::text::jsonb), ('UserUpdated', 'AAAAAA', $1::text::jsonb)",
    )
    .bind(event)
    .execute(&mut connection)
    .await
    .expect("inserted");
    sqlx::raw_sql(
        "insert into users (public_id, username, password_hash) values ('AAAAAA', 'ada', 'x')",
    )
    .execute(&mut connection)
    .await
    .expect("inserted");
    let path = xtask::root().join("migrations/0004_user_versions.sql");
    let sql = std::fs::read_to_string(path).expect("a migration");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("applied");
    let versions: Vec<i64> =
        sqlx::query_scalar("select (data ->> 'version')::bigint from outbox order by id")
            .fetch_all(&mut connection)
            .await
            .expect("rows");
    assert_eq!(versions, [1, 2]);
    let current: i64 = sqlx::query_scalar("select version from users")
        .fetch_one(&mut connection)
        .await
        .expect("a user");
    assert_eq!(current, 2);
}
