//! `auth-sidecar reconcile`: what the stream has lost comes back, and consumers end with
//! what a database that was restored to an earlier point holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{
    Message, OwnNats, PASSWORD, Service, copy_database, sidecar_process, sidecar_url,
    temporary_directory,
};
use crate::processes::sidecar;
use crate::publishing::{by_entity, drained, public_id, rename};
use crate::snapshot::Cache;

/// Runs a command under a URL: exit code, standard output, standard error.
fn command(url: &str, nats: &OwnNats, args: &[&str]) -> (Option<i32>, String, String) {
    sidecar(args, url, &[("NATS_URL", &nats.url())])
}

/// Publishes what waits.
fn relay(service: &Service, nats: &OwnNats) {
    let url = sidecar_url(&service.database_url);
    let (code, _, error) = command(&url, nats, &["relay", "--once"]);
    assert_eq!(code, Some(0), "{error}");
}

/// `reconcile` with the sidecar's role, which has to end with this code. Returns its report.
#[track_caller]
fn reconcile(service: &Service, nats: &OwnNats, args: &[&str], expected: i32) -> String {
    let url = sidecar_url(&service.database_url);
    let args: Vec<&str> = ["reconcile"].iter().chain(args).copied().collect();
    let (code, report, error) = command(&url, nats, &args);
    assert_eq!(code, Some(expected), "{report}{error}");
    report
}

#[track_caller]
fn assert_lines(report: &str, beginnings: &[&str]) {
    for beginning in beginnings {
        assert!(report.lines().any(|line| line.starts_with(beginning)), "{beginning}\n{report}");
    }
}

fn event_id(message: &Message) -> String {
    message.headers["Nats-Msg-Id"].clone()
}

/// The administrator, who logs in and of whom the stream hears.
async fn announced_admin(service: &Service) -> String {
    let admin = service.login_admin().await;
    let change = json!({"display_name": "Administrator"});
    assert_eq!(service.patch("/me").bearer(&admin).json(&change).send().await.status, 200);
    admin
}

/// Users who come, change, log in and out and go.
async fn churn(service: &Service, admin: &str, users: usize) {
    for place in 0..users {
        let user = service.create_user(admin, &format!("user-{place}")).await;
        rename(service, admin, &public_id(&user), "first").await;
        let token = service.login(&format!("user-{place}"), PASSWORD).await;
        rename(service, admin, &public_id(&user), "second").await;
        if place % 2 == 0 {
            assert_eq!(service.post("/logout").bearer(&token).send().await.status, 204);
            let path = format!("/admin/users/{}", public_id(&user));
            assert_eq!(service.delete(&path).bearer(admin).send().await.status, 204);
        }
    }
}

/// Builds the caches of a consumer from the whole stream, users by either of their ids, and
/// holds them against the tables.
async fn assert_consumers_know_the_tables(service: &Service, nats: &OwnNats) {
    let [mut by_number, mut by_public_id, mut identities] = [(); 3].map(|()| Cache::default());
    let mut sessions = BTreeMap::new();
    for Message { subject, payload, .. } in nats.messages(1).await {
        let parts: Vec<&str> = subject.split('.').collect();
        let deleted = parts[3] == "deleted";
        match (parts[1], parts[3]) {
            ("user", _) => {
                by_number.follow("user_id", deleted, &payload);
                by_public_id.follow("public_id", deleted, &payload);
            }
            ("identity", _) => identities.follow("service_account_id", deleted, &payload),
            (_, "created") => {
                sessions.insert(parts[2].to_owned(), payload["expires_at"].clone());
            }
            _ => drop(sessions.remove(parts[2])),
        }
    }
    let table = async |sql: &'static str| -> BTreeMap<String, Value> {
        let rows: Vec<(String, Value)> =
            sqlx::query_as(sql).fetch_all(&mut service.database().await).await.expect("rows");
        rows.into_iter().collect()
    };
    let users = table("select id::text, user_event(users) from users").await;
    assert_eq!(by_number.state(), users);
    let users = table("select to_json(public_id)::text, user_event(users) from users").await;
    assert_eq!(by_public_id.state(), users);
    let expected = table(
        "select to_json(service_accounts.id)::text, identity_event(service_accounts, public_id) \
         from service_accounts join users on users.id = owner_id",
    )
    .await;
    assert_eq!(identities.state(), expected);
    let expected =
        table("select id, to_jsonb(extract(epoch from expires_at)::bigint) from sessions").await;
    assert_eq!(sessions, expected);
}

#[tokio::test]
async fn what_a_killed_nats_server_has_lost_is_published_again_with_the_same_ids_and_once() {
    let service = Service::start().await;
    let mut nats = OwnNats::start();
    let admin = announced_admin(&service).await;
    churn(&service, &admin, 6).await;
    relay(&service, &nats);
    let before = nats.messages(1).await;
    reconcile(&service, &nats, &[], 0);

    nats.kill();
    nats.cut_off_the_end();
    nats.start_again();
    let left = nats.messages(1).await.len();
    assert!(left > 5 && left < before.len() - 5, "{left} of {}", before.len());
    let report = reconcile(&service, &nats, &[], 0);
    assert_lines(&report, &[&format!("lost:        {} events", before.len() - left)]);
    assert!(!report.contains("late:"), "{report}");

    relay(&service, &nats);
    let after = nats.messages(before.len()).await;
    assert_eq!(after.len(), before.len());
    let ids = |messages: &[Message]| messages.iter().map(event_id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&after), ids(&before));
    // Of each entity the same in the same order.
    let order = |messages: &[Message]| {
        by_entity(messages.iter().map(|message| {
            let entity = message.subject.rsplit_once('.').expect("a subject").0;
            (entity.to_owned(), event_id(message))
        }))
    };
    assert_eq!(order(&after), order(&before));
    assert_consumers_know_the_tables(&service, &nats).await;
    assert_lines(&reconcile(&service, &nats, &[], 0), &["all is well"]);
}

#[tokio::test]
async fn events_lost_before_others_of_their_entity_come_late_and_leave_no_session_alive() {
    let service = Service::start().await;
    let mut nats = OwnNats::start();
    let admin = announced_admin(&service).await;
    let ada = service.create_user(&admin, "ada").await;
    rename(&service, &admin, &public_id(&ada), "Ada").await;
    let token = service.login("ada", PASSWORD).await;
    assert_eq!(service.post("/logout").bearer(&token).send().await.status, 204);
    relay(&service, &nats);
    let before = nats.messages(1).await;
    let created = format!("auth.user.{}.created", public_id(&ada));
    let ended = before.iter().find(|message| message.subject.ends_with(".invalidated"));
    let begun = ended.expect("an end").subject.replace(".invalidated", ".created");
    let stream = nats.jetstream().await.get_stream("AUTH").await.expect("the stream");
    for (place, message) in before.iter().enumerate() {
        if message.subject == created || message.subject == begun {
            stream.delete_message(place as u64 + 1).await.expect("deleted");
        }
    }
    // Which makes it forget the ids of what is not there.
    nats.stop();
    nats.start_again();

    let lines = ["lost:        2 events", "late:        2 of them", "ended again: 1 sessions"];
    let report = reconcile(&service, &nats, &["--dry-run"], 3);
    assert_lines(&report, &lines);
    assert_eq!(service.count("outbox where published_at is null").await, 0);
    let report = reconcile(&service, &nats, &[], 0);
    assert_lines(&report, &lines);
    let example = format!("UserCreated {}, after UserUpdated", public_id(&ada));
    assert!(report.contains(&example), "{report}");
    assert_eq!(service.count("outbox where published_at is null").await, 3);
    relay(&service, &nats);
    let after = nats.messages(before.len() + 1).await;
    let ids: BTreeSet<String> = after.iter().map(event_id).collect();
    assert_eq!((after.len(), ids.len()), (before.len() + 1, before.len() + 1));
    assert!(before.iter().all(|message| ids.contains(&event_id(message))));
    assert_consumers_know_the_tables(&service, &nats).await;
    assert_lines(&reconcile(&service, &nats, &[], 0), &["all is well"]);
}

#[tokio::test]
async fn rows_are_marked_as_the_stream_has_them_and_what_its_limits_removed_is_not_lost() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let admin = announced_admin(&service).await;
    churn(&service, &admin, 1).await;
    relay(&service, &nats);
    let count = nats.messages(1).await.len();
    let stream = nats.jetstream().await.get_stream("AUTH").await.expect("the stream");
    stream.purge().sequence(3).await.expect("purged");
    sqlx::raw_sql(
        "update outbox set stream_seq = 4000 where stream_seq = 4; \
         update outbox set published_at = null, stream_seq = null where stream_seq = 5; \
         update outbox set published_at = null, stream_seq = null, set_aside_at = now(), \
                           last_error = 'a mistake' where stream_seq = 6",
    )
    .execute(&mut service.database().await)
    .await
    .expect("spoilt");
    let lines = ["misplaced:   1 rows", "unmarked:    2 rows"];
    assert_lines(&reconcile(&service, &nats, &["--dry-run"], 3), &lines);
    let report = reconcile(&service, &nats, &[], 0);
    assert_lines(&report, &lines);
    assert!(!report.contains("lost:"), "{report}");
    let sequences: Vec<Option<i64>> =
        sqlx::query_scalar("select stream_seq from outbox order by stream_seq")
            .fetch_all(&mut service.database().await)
            .await
            .expect("rows");
    let expected: Vec<Option<i64>> = (1..=i64::try_from(count).expect("few")).map(Some).collect();
    assert_eq!(sequences, expected);
    assert_eq!(service.count("outbox where set_aside_at is not null").await, 0);
    // The row that is marked last says from where on a consumer follows: too early is fine.
    assert_lines(&reconcile(&service, &nats, &[], 0), &["all is well"]);

    // Nothing of the stream is this database's.
    let other = Service::start().await;
    let url = sidecar_url(&other.database_url);
    let (code, report, error) = command(&url, &nats, &["reconcile"]);
    assert_eq!((code, report.as_str()), (Some(1), ""));
    assert!(error.contains("the stream of another database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_relay_that_is_busy_nothing_is_found_and_nothing_is_done_twice() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = announced_admin(&service).await;
    nats.messages(1).await;
    let changing = churn(&service, &admin, 12);
    let comparing = async {
        for _ in 0..6 {
            let (url, nats_url) = (sidecar_url(&service.database_url), nats.url());
            let output = tokio::task::spawn_blocking(move || {
                sidecar(&["reconcile"], &url, &[("NATS_URL", &nats_url)])
            });
            let (code, report, _) = output.await.expect("run");
            assert_eq!(code, Some(0), "{report}");
            for finding in ["lost:", "misplaced:", "unknown:", "repeated:"] {
                assert!(!report.contains(finding), "{report}");
            }
        }
    };
    tokio::join!(changing, comparing);
    drained(&service).await;
    let messages = nats.messages(1).await;
    let rows = usize::try_from(service.count("outbox").await).expect("few");
    assert_eq!(messages.len(), rows);
    assert_eq!(messages.iter().map(event_id).collect::<BTreeSet<_>>().len(), rows);
    assert_consumers_know_the_tables(&service, &nats).await;
}

/// What is there before a database is backed up.
struct Past {
    admin: String,
    ada: Value,
    bob: Value,
    /// A session of ada's that ends afterwards, and one that does not.
    ending: String,
    staying: String,
    /// Service accounts of ada's: one that changes afterwards, and one that is deleted.
    changing: Value,
    leaving: Value,
}

impl Past {
    async fn make(service: &Service) -> Self {
        let admin = announced_admin(service).await;
        let ada = service.create_user(&admin, "ada").await;
        let bob = service.create_user(&admin, "bob").await;
        let ending = service.login("ada", PASSWORD).await;
        let staying = service.login("ada", PASSWORD).await;
        let changing = service.create_service_account(&ending).await;
        let leaving = service.create_service_account(&ending).await;
        Self { admin, ada, bob, ending, staying, changing, leaving }
    }

    /// What happens after the backup, and is to be forgotten. Returns a user who has come.
    async fn go_on(&self, service: &Service) -> Value {
        rename(service, &self.admin, &public_id(&self.ada), "Ada, once").await;
        rename(service, &self.admin, &public_id(&self.ada), "Ada, twice").await;
        let path = format!("/admin/users/{}", public_id(&self.bob));
        assert_eq!(service.delete(&path).bearer(&self.admin).send().await.status, 204);
        let eve = service.create_user(&self.admin, "eve").await;
        let eves = service.login("eve", PASSWORD).await;
        service.create_service_account(&eves).await;
        let id =
            |account: &Value| account["service_account_id"].as_str().expect("an id").to_owned();
        let path = format!("/service-accounts/{}", id(&self.leaving));
        assert_eq!(service.delete(&path).bearer(&self.ending).send().await.status, 204);
        let path = format!("/service-accounts/{}/scopes", id(&self.changing));
        let none = json!({"scopes": {}});
        assert_eq!(service.put(&path).bearer(&self.ending).json(&none).send().await.status, 200);
        assert_eq!(service.post("/logout").bearer(&self.ending).send().await.status, 204);
        // This one comes and goes: nothing has to be said about it.
        let short = service.login("ada", PASSWORD).await;
        assert_eq!(service.post("/logout").bearer(&short).send().await.status, 204);
        eve
    }
}

/// A service whose database was taken back to a point before what its stream says, that
/// stream, what there was before, and a user of whom only the stream knows.
async fn restored() -> (Service, OwnNats, Past, Value) {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let past = Past::make(&service).await;
    relay(&service, &nats);
    // It is in the stream, and in the backup it still waits.
    sqlx::raw_sql("update outbox set published_at = null, stream_seq = null where stream_seq = 8")
        .execute(&mut service.database().await)
        .await
        .expect("unmarked");
    let backup = copy_database(&service.database_url).await;
    sqlx::raw_sql(
        "update outbox set published_at = now(), stream_seq = 8 where stream_seq is null",
    )
    .execute(&mut service.database().await)
    .await
    .expect("marked");
    let service = Service::on_database(&service.database_url, &[]).await;
    let eve = past.go_on(&service).await;
    relay(&service, &nats);
    assert_consumers_know_the_tables(&service, &nats).await;
    (Service::on_database(&backup, &[]).await, nats, past, eve)
}

#[tokio::test]
async fn after_a_restore_announce_has_consumers_end_with_the_tables() {
    let (service, nats, past, eve) = restored().await;
    let report = reconcile(&service, &nats, &[], 3);
    let lines = ["unmarked:    1 rows", "unknown:     11 events of 9", "unanswered:  8 entities"];
    assert_lines(&report, &lines);
    let eves = format!("  user {}: 1 events, the last a UserCreated, version 1", public_id(&eve));
    assert_lines(&report, &[&eves]);

    // The sidecar's role can't, and is told who can.
    let rows = service.count("outbox").await;
    let url = sidecar_url(&service.database_url);
    let (code, _, error) = command(&url, &nats, &["reconcile", "--announce"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("run it as the owner of the database"), "{error}");
    let owner = &service.database_url;
    let (code, report, _) = command(owner, &nats, &["reconcile", "--announce", "--dry-run"]);
    assert_eq!(code, Some(3), "{report}");
    assert_lines(&report, &["dry run:", "announced:   8 events", "user ids: "]);
    assert_eq!(service.count("outbox").await, rows);
    let next = "users_id_seq where last_value >= 4";
    assert_eq!(service.count(next).await, 0);

    let (code, report, error) = command(owner, &nats, &["reconcile", "--announce"]);
    assert_eq!(code, Some(0), "{report}{error}");
    assert_lines(&report, &["announced:   8 events", "user ids:    new users get ids after 4"]);
    relay(&service, &nats);
    assert_consumers_know_the_tables(&service, &nats).await;
    // A session that consumers have seen end does not come back to life.
    service.get("/me").bearer(&past.ending).send().await.assert_problem(401, "invalid_token");
    assert_eq!(service.get("/me").bearer(&past.staying).send().await.status, 200);

    // And life goes on.
    let fay = service.create_user(&past.admin, "fay").await;
    assert!(fay["user_id"].as_i64() > eve["user_id"].as_i64(), "{fay}");
    rename(&service, &past.admin, &public_id(&past.ada), "Ada, again").await;
    relay(&service, &nats);
    assert_consumers_know_the_tables(&service, &nats).await;
    let rows = service.count("outbox").await;
    let (code, report, error) = command(owner, &nats, &["reconcile", "--announce"]);
    assert_eq!(code, Some(0), "{report}{error}");
    assert!(!report.contains("announced:"), "{report}");
    assert_lines(&reconcile(&service, &nats, &[], 0), &["unknown:     11 events", "all is well"]);
    assert_eq!(service.count("outbox").await, rows);
}

#[tokio::test]
async fn after_a_restore_that_was_noticed_late_a_number_that_was_given_twice_is_the_new_users() {
    let (service, nats, past, eve) = restored().await;
    // The service was started before anybody thought of the stream.
    let fay = service.create_user(&past.admin, "fay").await;
    assert_eq!(fay["user_id"], eve["user_id"]);
    rename(&service, &past.admin, &public_id(&past.ada), "Ada, restored").await;
    service.login("fay", PASSWORD).await;
    relay(&service, &nats);

    let (code, report, error) = command(&service.database_url, &nats, &["reconcile", "--announce"]);
    assert_eq!(code, Some(0), "{report}{error}");
    relay(&service, &nats);
    assert_consumers_know_the_tables(&service, &nats).await;
    assert_lines(&reconcile(&service, &nats, &[], 0), &["all is well"]);
}
