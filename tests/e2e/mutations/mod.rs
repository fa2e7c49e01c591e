//! 20,000 requests that are almost right, through the built component: each is answered,
//! none with 5xx, all as `docs/openapi.yaml` says (which `Request::send` looks at).

mod mutate;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use hyper::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::contract;
use crate::harness::{PATIENCE, Reply, Service};
use world::{Caller, OPERATIONS, Operation, World};

const REQUESTS: u64 = 20_000;

/// Each with a world of its own, and one request under way.
const WORKERS: u64 = 8;

/// The variable with what everything is made up from, if that is to be something else.
const SEED: &str = "MUTATIONS_SEED";

/// A request before it is sent.
pub(crate) struct Draft {
    method: String,
    /// With the query.
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Draft {
    fn uri(&self) -> Option<Uri> {
        // Behind anything else the target would be part of the host.
        let target = self.target.strip_prefix('/')?;
        format!("http://localhost/{target}").parse().ok()
    }
}

/// Shows the request that was under way when the test failed.
struct UnderWay<'a>(u64, &'a Draft);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(number, draft) = self;
            eprintln!("request {number}: {} {:?}", draft.method, draft.target);
            for (name, value) in &draft.headers {
                eprintln!("{name}: {}", value.escape_ascii());
            }
            let shown = &draft.body[..draft.body.len().min(2_000)];
            eprintln!("{} bytes of body: {}", draft.body.len(), shown.escape_ascii());
        }
    }
}

/// What came of the requests.
#[derive(Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    /// By operation, those that did what it is for.
    successes: BTreeMap<(&'static str, &'static str), u64>,
    /// By operation and caller, all.
    calls: BTreeSet<(&'static str, &'static str, Caller)>,
    past_authentication: u64,
    /// What was found wrong with a field, by the field's name.
    fields: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, operation: &Operation, caller: Caller, reply: &Reply) {
        *self.statuses.entry(reply.status).or_default() += 1;
        let name = (operation.method, operation.template);
        self.calls.insert((name.0, name.1, caller));
        let success = (200..300).contains(&reply.status);
        if success {
            *self.successes.entry(name).or_default() += 1;
        }
        let code = reply.body["code"].as_str().unwrap_or_default();
        // Nobody hears any of these without having been let in.
        let let_in = success || matches!(code, "invalid_json" | "invalid_field") || {
            matches!(reply.status, 409 | 412 | 415) || code.ends_with("_not_found")
        };
        if let_in && operation.caller != Caller::Nobody {
            self.past_authentication += 1;
        }
        if let Some(field) = reply.body["field"].as_str() {
            *self.fields.entry(field.to_owned()).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (name, count) in other.successes {
            *self.successes.entry(name).or_default() += count;
        }
        for (field, count) in other.fields {
            *self.fields.entry(field).or_default() += count;
        }
        self.calls.extend(other.calls);
        self.past_authentication += other.past_authentication;
    }
}

/// Sends every `WORKERS`th request.
async fn work(service: Arc<Service>, root: Arc<str>, seed: u64, worker: u64) -> Tally {
    let mut world = World::new(&service, &root, worker).await;
    let mut tally = Tally::default();
    for number in (worker..REQUESTS).step_by(usize::try_from(WORKERS).expect("fits")) {
        let mut rng = Rng::with_seed(seed.wrapping_mul(REQUESTS).wrapping_add(number));
        let operation = world::choose(&mut rng);
        let caller = if rng.u8(..8) < 5 { operation.caller } else { world::any_caller(&mut rng) };
        let mutations = rng.usize(..4);
        let draft = world.draft(&mut rng, operation, caller, number, mutations).await;
        let under_way = UnderWay(number, &draft);
        let reply = send(&service, &draft).await;
        assert!(reply.status < 500, "{} {}", reply.status, reply.body);
        if mutations == 0 && caller == operation.caller {
            assert!(reply.status < 300, "nothing is wrong with it: {}", reply.body);
        }
        drop(under_way);
        world.follow(&draft, caller, &reply).await;
        tally.count(operation, caller, &reply);
    }
    tally
}

/// A request for each operation of the document with which nothing is wrong: its name,
/// whether it changes something, and the request. `root` is the token of an administrator.
pub(crate) async fn one_of_each(service: &Service, root: &str) -> Vec<(String, bool, Draft)> {
    let mut world = World::new(service, root, 0).await;
    let mut rng = Rng::with_seed(1);
    let mut drafts = Vec::new();
    for (number, operation) in (0..).zip(&OPERATIONS) {
        let draft = world.draft(&mut rng, operation, operation.caller, number, 0).await;
        let changes = operation.method != "GET" && operation.template != "/introspect";
        drafts.push((format!("{} {}", operation.method, operation.template), changes, draft));
    }
    drafts
}

/// Sends a request, and checks what is true of every response.
pub(crate) async fn send(service: &Service, draft: &Draft) -> Reply {
    let mut request = service.request(&draft.method, &draft.target);
    for (name, value) in &draft.headers {
        request = request.header(name, value);
    }
    request.body(&draft.body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_almost_right_are_answered_as_documented() {
    let seed = std::env::var(SEED).map_or(1, |seed| seed.parse().expect("a number"));
    eprintln!("{SEED}={seed}");
    let service = Arc::new(
        Service::start_with(&[
            ("trusted_proxy_hops", "1"),
            ("password_min_length", "8"),
            ("jwt_issuer", "https://auth.example.org"),
        ])
        .await,
    );
    let root: Arc<str> = service.login_admin().await.into();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| tokio::spawn(work(Arc::clone(&service), Arc::clone(&root), seed, worker)))
        .collect();
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.await.expect("a worker that found nothing"));
    }
    let Tally { statuses, successes, calls, past_authentication, fields } = &tally;
    eprintln!("{statuses:?}\n{past_authentication} past authentication\n{successes:?}\n{fields:?}");
    assert_eq!(statuses.values().sum::<u64>(), REQUESTS);

    // It was no toy: every operation was called by everybody, has done its work many
    // times, and most requests got as far as the verb.
    let documented = contract::operations();
    assert_eq!(OPERATIONS.len(), documented.len());
    for (method, template) in &documented {
        let done = successes.iter().find(|((m, t), _)| m == method && t == template);
        assert!(done.is_some_and(|(_, count)| *count >= 10), "{method} {template}: {done:?}");
    }
    assert_eq!(calls.len(), documented.len() * Caller::ALL.len());
    assert!(*past_authentication > REQUESTS / 3, "{past_authentication}");
    assert!(fields.len() >= 15 && fields.values().sum::<u64>() > REQUESTS / 50, "{fields:?}");
}

/// Bytes that are hardly HTTP any more, a connection for each. Whatever hyper makes of
/// them, the server goes on.
#[tokio::test]
async fn bytes_that_are_hardly_http_do_no_harm() {
    let service = Service::start().await;
    let mut rng = Rng::with_seed(1);
    let request = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                    Content-Length: 31\r\nConnection: close\r\n\r\n\
                    {\"username\":\"a\",\"password\":\"b\"}";
    let mut requests = vec![request.to_vec(); 300];
    for bytes in &mut requests {
        for _ in 0..=rng.usize(..4) {
            mutate::bytes(&mut rng, bytes);
        }
    }
    // At once: one that the server waits for the rest of takes seconds.
    let answers = futures::future::join_all(requests.iter().map(async |bytes| {
        let mut stream = TcpStream::connect(&service.address).await.expect("connected");
        let mut answer = Vec::new();
        // Where the server has closed already, there is nobody to write to.
        let _ = stream.write_all(bytes).await;
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = read.expect("the connection ends");
        answer
    }));
    let mut answered = 0;
    for answer in answers.await.iter().filter(|answer| !answer.is_empty()) {
        let status = answer.strip_prefix(b"HTTP/1.1 ").or(answer.strip_prefix(b"HTTP/1.0 "));
        let status = status.unwrap_or_else(|| panic!("{}", answer.escape_ascii()));
        // So many at once: 503 is what some are told.
        assert!(
            !status.starts_with(b"5") || status.starts_with(b"503"),
            "{}",
            answer.escape_ascii()
        );
        answered += 1;
    }
    assert!(answered > 100, "{answered}");
    assert_eq!(service.get("/readyz").send().await.status, 200);
}
