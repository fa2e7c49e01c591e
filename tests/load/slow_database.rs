//! A database that takes half a second longer for each round trip.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, interval};
use xtask::proxy::{Mode, Proxy};

use crate::server::{Answer, AuthServer, exchange, get, new_database, until};
use crate::{PROMPT, alone, memory_budget};

/// How much longer what the server says to the database takes, and what it is told.
const EACH_WAY: Duration = Duration::from_millis(250);

/// Requests that are worked on at once, and connections to the database for them.
const BOUND: usize = 16;

/// What else has a connection: the background tasks, and for a moment who asks the server
/// whether it lives, or to leave a statement alone.
const OTHER_CONNECTIONS: usize = 8;

/// How long there is too much to do.
const LOAD: Duration = Duration::from_secs(8);

/// Within which a request is answered in any case: it waits for its turn and a connection,
/// and then for two round trips.
const ANSWERED: Duration = Duration::from_millis(3500);

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_no_reason_for_more_than_the_bound() {
    let _alone = alone().await;
    let mut url = url::Url::parse(&new_database().await).expect("a URL");
    let port = url.port().expect("a port");
    let link = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("a proxy");
    url.set_port(Some(link.address().port())).expect("a URL with a host");
    let bound = BOUND.to_string();
    let settings = [("MAX_INSTANCES", bound.as_str()), ("DATABASE_CONNECTIONS", &bound)];
    let server = AuthServer::start_on(url.as_str(), "true", &settings);
    let token = server.login_admin().await;
    let me = get("/me", Some(&token));

    link.set(Mode::Delay(EACH_WAY));
    let (most, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let watch = async {
        let mut interval = interval(Duration::from_millis(20));
        while !over.load(Ordering::Relaxed) {
            interval.tick().await;
            most.fetch_max(link.connections(), Ordering::Relaxed);
        }
    };
    let clients = async {
        let end = Instant::now() + LOAD;
        let answers = join_all((0..3 * BOUND).map(async |_| {
            let mut answers = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                let answer = exchange(server.address, Ipv4Addr::LOCALHOST, &me).await;
                answers.push((answer.expect("an answer"), asked.elapsed()));
            }
            answers
        }));
        let answers = answers.await;
        over.store(true, Ordering::Relaxed);
        answers.into_iter().flatten().collect::<Vec<_>>()
    };
    let work = async { tokio::join!(clients, watch).0 };
    let answers = server.while_it_answers(PROMPT, None, work).await;

    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(a, _)| a.status == 200);
    let slowest = answers.iter().map(|(_, took)| *took).max().expect("some");
    let (most, memory) = (most.into_inner(), server.memory());
    println!(
        "{} served, {} refused, the slowest after {slowest:?}; {most} connections, {memory} MiB",
        done.len(),
        refused.len()
    );
    assert!(most <= BOUND + OTHER_CONNECTIONS, "{most} connections");
    assert!(memory <= memory_budget(), "{memory} MiB");
    assert!(slowest < ANSWERED, "{slowest:?}");
    assert!(done.len() >= BOUND && !refused.is_empty());
    for (Answer { status, text }, _) in &refused {
        assert_eq!(*status, 503, "{text}");
        assert!(text.contains("\r\nretry-after: "), "{text}");
    }

    // All of it is over when the database is fast again: nothing has piled up.
    link.set(Mode::Forward);
    let again = Instant::now();
    for answer in
        join_all((0..BOUND).map(|_| exchange(server.address, Ipv4Addr::LOCALHOST, &me))).await
    {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert!(again.elapsed() < Duration::from_secs(2), "{:?}", again.elapsed());
    until(|| link.connections() <= BOUND + OTHER_CONNECTIONS).await;
}
