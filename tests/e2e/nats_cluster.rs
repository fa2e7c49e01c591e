//! Three nats-servers, of which one after the other is killed.

use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType};
use futures::future::join_all;
use xtask::process::free_port;

use crate::harness::{
    OwnNats, PATIENCE, Service, eventually, messages, metric, sidecar_process, temporary_directory,
    within,
};
use crate::publishing::{by_entity, drained_within, public_id, rename};

const SIZE: usize = 3;

/// The servers elect a leader within some 10 seconds (`minElectionTimeout` and
/// `maxElectionTimeout` of nats-server), which may take more than one attempt.
const ELECTIONS: Duration = PATIENCE.saturating_mul(3);

/// A cluster, and the stream `AUTH` with a replica on each of its servers.
struct Cluster([OwnNats; SIZE]);

impl Cluster {
    async fn start() -> Self {
        let ports: [u16; SIZE] = std::array::from_fn(|_| free_port().expect("a port"));
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let cluster = Self(std::array::from_fn(|place| {
            let (name, port) = (name(place), ports[place]);
            OwnNats::with_configuration(format!(
                "server_name: {name}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: {routes:?} }}\n"
            ))
        }));
        let jetstream = cluster.jetstream().await;
        // Soon forgotten ids, so that they don't do the relay's work.
        let config = Config {
            name: "AUTH".to_owned(),
            subjects: vec!["auth.>".to_owned()],
            storage: StorageType::File,
            num_replicas: SIZE,
            duplicate_window: Duration::from_millis(100),
            ..Config::default()
        };
        // The servers have to elect one first.
        eventually(async || jetstream.create_stream(&config).await.ok()).await;
        cluster
    }

    /// Through any of the servers, all of which have to run.
    async fn jetstream(&self) -> jetstream::Context {
        let servers = self.0.each_ref().map(|nats| nats.url().parse::<ServerAddr>());
        let servers = servers.map(|server| server.expect("a URL"));
        jetstream::new(async_nats::connect(&servers[..]).await.expect("a connection"))
    }

    /// The server that leads the stream, once the others have all that it has.
    async fn leader(&self) -> usize {
        let jetstream = self.jetstream().await;
        let leader = within(ELECTIONS, async || {
            let stream = jetstream.get_stream("AUTH").await.ok()?;
            let cluster = stream.cached_info().cluster.clone()?;
            let current = cluster.replicas.iter().filter(|replica| replica.current).count();
            cluster.leader.filter(|_| current == SIZE - 1)
        });
        let leader = leader.await;
        (0..SIZE).find(|place| name(*place) == leader).expect("one of them")
    }
}

fn name(place: usize) -> String {
    format!("n{place}")
}

#[tokio::test]
async fn a_cluster_that_loses_its_leaders_has_every_event_once_and_in_order() {
    let service = Service::start().await;
    let mut cluster = Cluster::start().await;
    let directory = temporary_directory();
    let url = cluster.0[0].url();
    let (_sidecar, ops) = sidecar_process(directory.path(), "one", &service.database_url, &url);
    let admin = service.login_admin().await;
    let mut users = Vec::new();
    for name in ["ada", "bob", "cy", "dan"] {
        users.push(public_id(&service.create_user(&admin, name).await));
    }
    drained_within(ELECTIONS, &service).await;
    for round in 0..3 {
        // Once the server that the relay knows from its configuration, too.
        let lost = if round == 0 { 0 } else { cluster.leader().await };
        let changes = join_all(users.iter().map(async |user| {
            for place in 0..10 {
                rename(&service, &admin, user, &format!("{round} {place}")).await;
            }
        }));
        // Much is on its way when it happens.
        let killed = async {
            sessions(&service, 500).await;
            cluster.0[lost].kill();
        };
        tokio::join!(changes, killed);
        // Two of three are enough.
        drained_within(ELECTIONS, &service).await;
        cluster.0[lost].start_again();
    }
    let wanted: Vec<(String, String)> =
        sqlx::query_as("select entity_id, event_id::text from outbox order by id")
            .fetch_all(&mut service.database().await)
            .await
            .expect("the rows");
    cluster.leader().await;
    let found: Vec<(String, String)> = messages(&cluster.jetstream().await, wanted.len())
        .await
        .into_iter()
        .map(|message| {
            let entity = message.payload["metadata"]["entity_id"].as_str().expect("an id");
            (entity.to_owned(), message.headers["Nats-Msg-Id"].clone())
        })
        .collect();
    assert_eq!(by_entity(found), by_entity(wanted));
    // Two of three had each, so there was nothing to restore.
    assert_eq!(metric(&ops, "auth_relay_lost_total"), Some(0));
}

/// So many sessions that begin, and end at once.
async fn sessions(service: &Service, count: i32) {
    sqlx::query(
        "insert into outbox (kind, entity_id, data) \
         select kind, id, data || jsonb_build_object('session_id', id, 'user_id', 1, \
             'public_id', 'AAAAAA') \
         from (select gen_random_uuid()::text as id from generate_series(1, $1)) as sessions, \
             (values ('SessionCreated', '{\"expires_at\": 1}'::jsonb), \
                 ('SessionInvalidated', '{\"reason\": \"logout\"}')) as events (kind, data) \
         order by kind",
    )
    .bind(count)
    .execute(&mut service.database().await)
    .await
    .expect("inserted");
}
