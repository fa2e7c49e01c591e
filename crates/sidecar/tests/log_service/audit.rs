//! Audit rows: at least once, in order, whatever is away.

use std::collections::BTreeMap;

use edd_auth_sidecar::log_service::unpushed;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::double::{Answer, Double, LogEntry, LogLevel};
use crate::{Process, database, eventually};

/// Inserts rows whose `request_id` is their number.
async fn insert(connection: &mut PgConnection, numbers: std::ops::RangeInclusive<i32>) {
    sqlx::query(
        "insert into audit_log (action, outcome, request_id) \
         select 'login', 'success', number from generate_series($1, $2) as number order by number",
    )
    .bind(numbers.start())
    .bind(numbers.end())
    .execute(connection)
    .await
    .expect("inserted");
}

fn number(entry: &LogEntry) -> i32 {
    entry.attributes["request_id"].parse().expect("a number")
}

fn numbers(entries: &[LogEntry]) -> Vec<i32> {
    entries.iter().map(number).collect()
}

async fn until_all_are_marked(connection: &mut PgConnection) {
    eventually(async || (unpushed(connection).await.expect("counted") == 0).then_some(())).await;
}

/// The numbers of the rows that are marked.
async fn marked(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select request_id from audit_log where pushed_at is not null order by id")
        .fetch_all(connection)
        .await
        .expect("read")
}

#[tokio::test]
async fn rows_wait_for_a_service_that_is_away() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=3).await;
    let double = Double::away();
    let process = Process::with_audit(&double, &options);
    eventually(async || (process.metrics.log_push_failures.get() > 1).then_some(())).await;
    assert_eq!(unpushed(&mut connection).await.expect("counted"), 3);
    double.come_up();
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), [1, 2, 3]);
    assert_eq!(process.metrics.log_pushed.get(), 3);
}

#[tokio::test]
async fn nothing_is_lost_and_the_order_is_kept_when_the_service_goes_away() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=250).await;
    let double = Double::start();
    let process = Process::with_audit(&double, &options);
    double.until(|taken| taken.len() >= 120).await;
    double.go_away();
    insert(&mut connection, 251..=300).await;
    eventually(async || (process.metrics.log_push_failures.get() > 0).then_some(())).await;
    double.come_up();
    until_all_are_marked(&mut connection).await;
    let mut taken = numbers(&double.taken());
    // The one in flight may have been stored without an answer.
    assert!(taken.len() <= 301, "{}", taken.len());
    taken.dedup();
    assert_eq!(taken, (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_before_one_that_fails_are_marked_and_those_behind_it_wait() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=5).await;
    let double = Double::start();
    double.answer(|entry| if number(entry) == 3 { Answer::Refuse } else { Answer::Take });
    let process = Process::with_audit(&double, &options);
    eventually(async || (process.metrics.log_push_failures.get() > 2).then_some(())).await;
    assert_eq!(numbers(&double.taken()), [1, 2]);
    assert_eq!(marked(&mut connection).await, ["1", "2"]);
    double.answer(|_| Answer::Take);
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_slow_service_gets_each_row_once() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=8).await;
    let double = Double::start();
    double.answer(|_| Answer::TakeLate);
    let _process = Process::with_audit(&double, &options);
    // Longer than PostgreSQL keeps a connection that holds a lock and says nothing.
    double.until(|taken| taken.len() >= 8).await;
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn a_crash_between_push_and_mark_pushes_again() {
    let (options, mut connection) = database().await;
    let mut observer = options.connect().await.expect("connected");
    insert(&mut connection, 1..=2).await;
    let mut holder = connection.begin().await.expect("begun");
    sqlx::query("select from audit_log for update").execute(&mut *holder).await.expect("locked");
    let double = Double::start();
    let first = Process::with_audit(&double, &options);
    eventually(async || waits_for_a_row(&mut observer).await.then_some(())).await;
    assert_eq!(numbers(&double.taken()), [1, 2]);
    drop(first);
    // PostgreSQL would go on with the statement of a client that is gone.
    end_pusher(&mut observer).await;
    eventually(async || (!waits_for_a_row(&mut observer).await).then_some(())).await;
    holder.rollback().await.expect("rolled back");
    assert_eq!(unpushed(&mut connection).await.expect("counted"), 2);

    let _second = Process::with_audit(&double, &options);
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), [1, 2, 1, 2]);
}

/// Whether the pusher waits for the lock on a row.
async fn waits_for_a_row(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity \
                        where datname = current_database() and wait_event_type = 'Lock')",
    )
    .fetch_one(connection)
    .await
    .expect("read")
}

/// Ends the session of the pusher, as a restart of the database would.
async fn end_pusher(connection: &mut PgConnection) {
    let ended: i64 = sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_locks \
         where locktype = 'advisory' and granted \
           and database = (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(connection)
    .await
    .expect("ended");
    assert_eq!(ended, 1);
}

#[tokio::test]
async fn of_two_processes_one_pushes_and_the_other_takes_over() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=300).await;
    let double = Double::start();
    let mut processes =
        vec![Process::with_audit(&double, &options), Process::with_audit(&double, &options)];
    until_all_are_marked(&mut connection).await;
    insert(&mut connection, 301..=320).await;
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), (1..=320).collect::<Vec<_>>());

    let pushed = |process: &Process| process.metrics.log_pushed.get();
    let leader = processes.iter().position(|process| pushed(process) > 0).expect("one pushed");
    drop(processes.remove(leader));
    assert_eq!(pushed(&processes[0]), 0);
    insert(&mut connection, 321..=330).await;
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), (1..=330).collect::<Vec<_>>());
    assert_eq!(pushed(&processes[0]), 10);
}

#[tokio::test]
async fn a_database_that_was_away_is_found_again() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=1).await;
    let double = Double::start();
    let _process = Process::with_audit(&double, &options);
    until_all_are_marked(&mut connection).await;
    end_pusher(&mut connection).await;
    insert(&mut connection, 2..=4).await;
    until_all_are_marked(&mut connection).await;
    assert_eq!(numbers(&double.taken()), [1, 2, 3, 4]);
}

#[tokio::test]
async fn stopping_marks_what_was_acknowledged() {
    let (options, mut connection) = database().await;
    insert(&mut connection, 1..=3).await;
    let double = Double::start();
    double.answer(|entry| if number(entry) == 3 { Answer::Wait } else { Answer::Take });
    let process = Process::with_audit(&double, &options);
    double.until_it_keeps_somebody_waiting().await;
    process.pushers.stop().await;
    assert_eq!(marked(&mut connection).await, ["1", "2"]);
}

#[tokio::test]
async fn a_row_becomes_an_entry() {
    let (options, mut connection) = database().await;
    sqlx::query(
        "insert into audit_log (occurred_at, actor, action, outcome, reason, resource, \
                                ip_address, request_id, user_agent) \
         values ('2026-11-24 04:37:58.9+00', 'FPRNxg', 'login', 'success', null, \
                 'session:s1', '192.0.2.1', 'r1', 'curl/8'), \
                ('2026-11-24 04:37:59+00', null, 'login', 'failure', 'invalid_credentials', \
                 null, null, null, null), \
                ('1969-12-31 23:59:58.5+00', 'a', 'user.create', 'denied', 'not_admin', \
                 'POST /admin/users', '::1', 'r3', null)",
    )
    .execute(&mut connection)
    .await
    .expect("inserted");
    let double = Double::start();
    let _process = Process::with_audit(&double, &options);
    let taken = double.until(|taken| taken.len() == 3).await;
    assert_eq!(
        taken,
        [
            entry(
                (LogLevel::Info, "login success", 1_795_495_078),
                &[
                    ("audit", "true"),
                    ("action", "login"),
                    ("outcome", "success"),
                    ("actor", "FPRNxg"),
                    ("client_ip", "192.0.2.1"),
                    ("request_id", "r1"),
                    ("resource", "session:s1"),
                    ("user_agent", "curl/8"),
                ],
            ),
            entry(
                (LogLevel::Warn, "login failure", 1_795_495_079),
                &[
                    ("audit", "true"),
                    ("action", "login"),
                    ("outcome", "failure"),
                    ("reason", "invalid_credentials"),
                ],
            ),
            entry(
                (LogLevel::Warn, "user.create denied", -2),
                &[
                    ("audit", "true"),
                    ("action", "user.create"),
                    ("outcome", "denied"),
                    ("reason", "not_admin"),
                    ("actor", "a"),
                    ("client_ip", "::1"),
                    ("request_id", "r3"),
                    ("resource", "POST /admin/users"),
                ],
            ),
        ]
    );
}

fn entry(
    (level, message, timestamp): (LogLevel, &str, i64),
    attributes: &[(&str, &str)],
) -> LogEntry {
    let attributes: BTreeMap<String, String> =
        attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    LogEntry {
        source: "auth-service".into(),
        level: level.into(),
        message: message.into(),
        timestamp,
        attributes,
    }
}
