//! `/snapshot/users`, `/snapshot/identities`: a consumer that loads and follows
//! ends with what the tables hold.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{
    OwnNats, PASSWORD, PATIENCE, SERVICE_API_KEY, Service, sidecar_process, temporary_directory,
};
use crate::publishing::drained;

/// What a consumer has to do, and all of it: per entity the newest version, and
/// for deleted ones that they are.
#[derive(Clone, Default)]
pub(crate) struct Cache(BTreeMap<String, (i64, Option<Value>)>);

impl Cache {
    fn apply(&mut self, key: &str, version: i64, state: Option<Value>) {
        let known = self.0.get(key).map_or(0, |(version, _)| *version);
        if version > known {
            self.0.insert(key.to_owned(), (version, state));
        }
    }

    /// One row of a snapshot.
    fn load(&mut self, id: &str, row: &Value) {
        let version = row["version"].as_i64().expect("a version");
        self.apply(&row[id].to_string(), version, Some(row.clone()));
    }

    /// One event, about whatever entity has this id.
    pub(crate) fn follow(&mut self, id: &str, deleted: bool, payload: &Value) {
        let version = payload["version"].as_i64().expect("a version");
        let mut data = payload.clone();
        data.as_object_mut().expect("an object").remove("metadata");
        self.apply(&payload[id].to_string(), version, (!deleted).then_some(data));
    }

    /// The entities that there are.
    pub(crate) fn state(self) -> BTreeMap<String, Value> {
        self.0.into_iter().filter_map(|(key, (_, state))| Some((key, state?))).collect()
    }
}

/// Loads every page, small ones, so that much happens between them. Returns the
/// position, which all of them have to carry.
async fn load(service: &Service, path: &str, rows: &str, mut each: impl FnMut(&Value)) -> u64 {
    let mut next = format!("{path}?limit=3");
    let mut position = None;
    loop {
        let reply = service.get(&next).bearer(SERVICE_API_KEY).send().await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body[rows].as_array().expect("rows").iter().for_each(&mut each);
        let this = reply.body["position"].as_u64().expect("a position");
        assert_eq!(*position.get_or_insert(this), this);
        match reply.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=3&cursor={cursor}"),
            None => return position.expect("a page"),
        }
    }
}

/// The events of the stream after a position, up to the last one. A stream that
/// ends before the position is not the one that the position is of: it was made
/// anew, and is followed from its start.
async fn events_after(nats: &OwnNats, position: u64) -> Vec<(String, Value)> {
    let mut stream = nats.jetstream().await.get_stream("AUTH").await.expect("the stream");
    let last = stream.info().await.expect("its state").state.last_sequence;
    if position == last {
        return Vec::new();
    }
    let sequence = if position > last { 1 } else { position + 1 };
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: sequence },
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        })
        .await
        .expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let mut events = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("in time");
        let message = message.expect("a message").expect("no error");
        let payload = serde_json::from_slice(&message.payload).expect("JSON");
        events.push((message.subject.to_string(), payload));
        if message.info().expect("a message of a stream").stream_sequence == last {
            return events;
        }
    }
}

/// Users and service accounts come, change and go, until told to stop.
async fn churn(service: &Service, admin: &str, worker: usize, rounds: usize) {
    for round in 0..rounds {
        let user = service.create_user(admin, &format!("user-{worker}-{round}")).await;
        let path = format!("/admin/users/{}", user["public_id"].as_str().expect("an id"));
        let token = service.login(user["username"].as_str().expect("a name"), PASSWORD).await;
        let account = service.create_service_account(&token).await;
        let id = account["service_account_id"].as_str().expect("an id");
        let rename = json!({"display_name": format!("round {round}")});
        assert_eq!(service.patch(&path).bearer(admin).json(&rename).send().await.status, 200);
        let scopes = format!("/service-accounts/{id}/scopes");
        let none = json!({"scopes": {}});
        assert_eq!(service.put(&scopes).bearer(&token).json(&none).send().await.status, 200);
        if round % 2 == 0 {
            assert_eq!(service.delete(&path).bearer(admin).send().await.status, 204);
        }
    }
}

#[tokio::test]
async fn loading_while_everything_changes_and_following_ends_with_exactly_the_tables() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    // Something to load, and to have published, before it begins.
    churn(&service, &admin, 0, 4).await;
    nats.messages(1).await;

    let mut users: Vec<(Cache, u64)> = Vec::new();
    let mut identities: Vec<(Cache, u64)> = Vec::new();
    let changing =
        futures::future::join(churn(&service, &admin, 1, 8), churn(&service, &admin, 2, 8));
    let loading = async {
        for _ in 0..6 {
            let mut cache = Cache::default();
            let each = |row: &Value| cache.load("user_id", row);
            let position = load(&service, "/snapshot/users", "users", each).await;
            users.push((cache, position));
            let mut cache = Cache::default();
            let each = |row: &Value| cache.load("service_account_id", row);
            let position = load(&service, "/snapshot/identities", "identities", each).await;
            identities.push((cache, position));
        }
    };
    tokio::join!(changing, loading);
    drained(&service).await;

    let table = async |sql: &'static str| -> BTreeMap<String, Value> {
        let rows: Vec<(Value, Value)> =
            sqlx::query_as(sql).fetch_all(&mut service.database().await).await.expect("rows");
        rows.into_iter().map(|(key, row)| (key.to_string(), row)).collect()
    };
    let all_users = table("select to_jsonb(id), user_event(users) from users").await;
    let all_identities = table(
        "select to_jsonb(service_accounts.id), identity_event(service_accounts, public_id) \
         from service_accounts join users on users.id = owner_id",
    )
    .await;
    assert_eq!((all_users.len(), all_identities.len()), (11, 10));
    // From the position of each load, and once more from the very start.
    for start in [None, Some(0)] {
        for (loads, id, entity, expected) in [
            (&users, "user_id", "auth.user.", &all_users),
            (&identities, "service_account_id", "auth.identity.", &all_identities),
        ] {
            for (loaded, position) in loads {
                let mut cache = loaded.clone();
                for (subject, payload) in events_after(&nats, start.unwrap_or(*position)).await {
                    if subject.starts_with(entity) {
                        cache.follow(id, subject.ends_with(".deleted"), &payload);
                    }
                }
                assert_eq!(&cache.state(), expected, "from {position}");
            }
        }
    }
    // The loads were under way while things happened: not all saw the same.
    let distinct: std::collections::BTreeSet<u64> = users.iter().map(|(_, p)| *p).collect();
    assert!(distinct.len() > 1, "{distinct:?}");
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_followed_from_its_start() {
    let service = Service::start().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (_sidecar, _) =
        sidecar_process(directory.path(), "one", &service.database_url, &nats.url());
    let admin = service.login_admin().await;
    churn(&service, &admin, 0, 2).await;
    drained(&service).await;
    nats.jetstream().await.delete_stream("AUTH").await.expect("deleted");
    let mut cache = Cache::default();
    let each = |row: &Value| cache.load("user_id", row);
    let position = load(&service, "/snapshot/users", "users", each).await;
    service.create_user(&admin, "after").await;
    drained(&service).await;
    for (subject, payload) in events_after(&nats, position).await {
        if subject.starts_with("auth.user.") {
            cache.follow("user_id", subject.ends_with(".deleted"), &payload);
        }
    }
    let names: Vec<Value> = cache.state().values().map(|user| user["username"].clone()).collect();
    assert!(names.contains(&json!("after")), "from {position}: {names:?}");
}

#[tokio::test]
async fn the_position_is_that_of_the_event_that_was_marked_last() {
    let service = Service::start().await;
    let position = async || {
        let reply = service.get("/snapshot/users").bearer(SERVICE_API_KEY).send().await;
        reply.body["position"].as_u64().expect("a position")
    };
    assert_eq!(position().await, 0);
    sqlx::raw_sql(
        "insert into outbox (kind, entity_id, data, published_at, stream_seq) values \
         ('a', 'x', '{}', now() - interval '1 hour', 900), \
         ('b', 'x', '{}', now(), 7), ('c', 'x', '{}', now(), 8); \
         insert into outbox (kind, entity_id, data) values ('d', 'x', '{}')",
    )
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
    // Not 900: since then the stream was made anew, and began again.
    assert_eq!(position().await, 8);
}

#[tokio::test]
async fn a_cursor_of_one_snapshot_is_none_of_the_other() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "ada").await;
    let page = service.get("/snapshot/users?limit=1").bearer(SERVICE_API_KEY).send().await;
    let cursor = page.body["next_cursor"].as_str().expect("a cursor");
    let path = format!("/snapshot/identities?cursor={cursor}");
    service.get(&path).bearer(SERVICE_API_KEY).send().await.assert_field("cursor");
    let forged = format!("/snapshot/users?cursor={cursor}A");
    service.get(&forged).bearer(SERVICE_API_KEY).send().await.assert_field("cursor");
    service
        .get("/snapshot/users?limit=x")
        .bearer(SERVICE_API_KEY)
        .send()
        .await
        .assert_field("limit");
}
