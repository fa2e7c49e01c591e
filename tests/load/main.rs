//! What the process `auth-server` does when there is too much to do (ADR 0016).
//!
//! A test target of its own, so that nothing else runs meanwhile. The bounds that are
//! asserted here are promises, not measurements.

mod rolling;
mod server;
mod slow_database;

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, MutexGuard};

use crate::server::{ADMIN, AuthServer, GET_HEALTHZ, PASSWORD, own_limits, read_answer};

/// Within which `/healthz` has to answer, whatever else goes on.
pub(crate) const PROMPT: Duration = Duration::from_secs(1);

/// Within which a slow connection has to be closed: the server's time-out for a head
/// or a body is half of it.
const SLOW: Duration = Duration::from_secs(20);

/// The same, for a client that does not read its answers: the time-out is 30 seconds.
const DEAF: Duration = Duration::from_secs(45);

/// What the process takes besides its instances, in MiB, with a debug build of it and
/// 2,000 connections.
const OTHER_MEMORY: u64 = 160;

/// Tests of one target run at the same time. These do not.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    // So many connections of our own.
    own_limits();
    ALONE.lock().await
}

/// What the process may have taken at most: what ADR 0016 says of two cores, on as
/// many cores as there are.
pub(crate) fn memory_budget() -> u64 {
    let cores = std::thread::available_parallelism().expect("cores").get() as u64;
    OTHER_MEMORY + 10 * ((8 * cores).max(16) + 2 * cores + 4)
}

/// The address of one of many clients, each in a network of its own.
fn client(number: usize) -> Ipv4Addr {
    let [.., high, low] = u32::try_from(number).expect("few clients").to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_logins_at_once_some_get_in_and_the_others_are_told_when_to_come_back() {
    let _alone = alone().await;
    let server = AuthServer::start(&[]).await;
    let token = server.login_admin().await;
    for user in 0..20 {
        let body = json!({"username": format!("user {user}"), "password": PASSWORD});
        let answer = server.post("/admin/users", Some(&token), &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    // Of different networks and users: none of them is refused for the others' tries.
    let logins = join_all((0..200).map(|number| {
        let user = format!("user {}", number % 20);
        server.login_from(client(number), user)
    }));
    // Who is logged in goes on meanwhile.
    let answers = server.while_it_answers(PROMPT, Some(&token), logins).await;

    let (in_, out): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    let memory = server.memory();
    println!("{} of 200 got in; {memory} MiB", in_.len());
    assert!(memory <= memory_budget(), "{memory} MiB");
    let hashes = 2 * std::thread::available_parallelism().expect("cores").get();
    assert!(in_.len() >= hashes, "{} got in", in_.len());
    for answer in &out {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(answer.text.contains("\"code\":\"overloaded\""), "{}", answer.text);
        assert!(answer.text.contains("\r\nretry-after: 1\r\n"), "{}", answer.text);
    }
    assert!(!out.is_empty(), "more than the budget");
    // None of it stays: not the queue, and not the tries of those who were refused.
    for number in 0..20 {
        let answer = server.login_from(client(number), format!("user {number}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_2000_slow_connections_none_keeps_others_out_and_all_are_closed() {
    let _alone = alone().await;
    let server = AuthServer::start(&[]).await;
    let head = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let body = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 60000\r\n\r\n";
    let whole = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    // What is sent at once; then a byte a second follows, or nothing.
    let kinds = [(head, true), (body, true), (whole, false), ("", false)];
    let slow = join_all((0..2000).map(|number| {
        let (start, goes_on) = kinds[number % kinds.len()];
        server.be_slow(client(number % 500), start, goes_on)
    }));
    let deaf = join_all((0..20).map(|number| server.be_deaf(client(number))));
    let logins = async {
        let token = server.login_admin().await;
        server.login_admin().await;
        token
    };
    let all = async { tokio::join!(slow, deaf, logins) };
    let (slow, deaf, _) = server.while_it_answers(PROMPT, None, all).await;
    for (closed_after, bound) in
        slow.iter().map(|after| (after, SLOW)).chain(deaf.iter().map(|after| (after, DEAF)))
    {
        assert!(*closed_after < bound, "closed after {closed_after:?}");
    }
    let memory = server.memory();
    println!("{memory} MiB; slow {:?}, deaf {:?}", slow.iter().max(), deaf.iter().max());
    assert!(memory <= memory_budget(), "{memory} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_of_connections_those_give_way_that_have_most() {
    let _alone = alone().await;
    let server = AuthServer::start(&[("MAX_CONNECTIONS", "100")]).await;
    // Older than all the others, but the only one of its network.
    let mut spared = server.connect_from(client(1)).await.expect("connected");
    spared.write_all(GET_HEALTHZ.as_bytes()).await.expect("sent");
    assert_eq!(read_answer(&mut spared).await.expect("an answer").status, 200);

    let slow = join_all((0..300).map(|_| server.be_slow(client(2), "", false)));
    let and_spared = async {
        server.until_closed(200).await;
        spared.write_all(GET_HEALTHZ.as_bytes()).await.expect("sent");
        assert_eq!(read_answer(&mut spared).await.expect("an answer").status, 200);
    };
    let all = async { tokio::join!(slow, and_spared) };
    server.while_it_answers(PROMPT, None, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_open_files_is_raised() {
    let _alone = alone().await;
    let server = AuthServer::start_with_limit("ulimit -Sn 128", &[]).await;
    let slow = join_all((0..500).map(|_| server.be_slow(client(1), "", false)));
    let all_at_once = async { server.until_open(500).await };
    let all = async { tokio::join!(slow, all_at_once) };
    server.while_it_answers(PROMPT, None, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hard_limit_of_open_files_bounds_the_connections() {
    let _alone = alone().await;
    let server = AuthServer::start_with_limit("ulimit -n 160", &[]).await;
    assert!(server.log().contains("80 connections at once instead of 4096"), "{}", server.log());
    let slow = join_all((0..300).map(|_| server.be_slow(client(2), "", false)));
    server.while_it_answers(PROMPT, None, slow).await;
    assert!(!server.log().contains("accept:"), "{}", server.log());
    assert_eq!(server.login_from(client(1), ADMIN.to_owned()).await.status, 200);
}
