//! Two servers that are restarted one after the other, and clients who notice nothing:
//! all that they do by themselves is to ask the other server when one refuses to connect.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::alone;
use crate::server::{
    ADMIN, AuthServer, PASSWORD, authorization, connect, new_database, read_answer, until,
};

/// How often each server is restarted.
const ROUNDS: usize = 3;

/// Clients of each kind.
const CLIENTS: usize = 3;

/// How long a client thinks between two requests: the processor is to have time for the
/// servers that start, too.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client sends all the time, and whether it keeps its connection for the next one.
#[derive(Clone)]
struct Habit {
    request: String,
    keeps: bool,
}

struct Client {
    servers: [SocketAddr; 2],
    habit: Habit,
    /// The server that it asks first.
    preferred: usize,
    address: Ipv4Addr,
    connection: Option<TcpStream>,
}

impl Client {
    /// A connection to one of the servers. One that was closed while it was not used is of
    /// no use; that much every client looks at.
    async fn connection(&mut self) -> TcpStream {
        if let Some(kept) = self.connection.take()
            && kept.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        {
            return kept;
        }
        for _ in 0..2 {
            match connect(self.servers[self.preferred], self.address, None).await {
                Ok(connected) => return connected,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.preferred = 1 - self.preferred;
                }
                Err(error) => panic!("neither connected nor refused: {error}"),
            }
        }
        panic!("both servers refuse");
    }

    async fn ask(&mut self) {
        let mut stream = self.connection().await;
        stream.write_all(self.habit.request.as_bytes()).await.expect("sent");
        let answer = read_answer(&mut stream).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let (head, body) = answer.text.split_once("\r\n\r\n").expect("a head");
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(length, Some(body.len().to_string().as_str()), "cut off: {}", answer.text);
        if self.habit.keeps && !head.contains("connection: close") {
            self.connection = Some(stream);
        }
    }
}

fn habits(token: &str) -> Vec<Habit> {
    let login = json!({"username": ADMIN, "password": PASSWORD}).to_string();
    [true, false]
        .into_iter()
        .flat_map(|keeps| {
            let close = if keeps { "" } else { "Connection: close\r\n" };
            let me =
                format!("GET /me HTTP/1.1\r\nHost: a\r\n{}{close}\r\n", authorization(Some(token)));
            let login = format!(
                "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n{close}\r\n{login}",
                login.len()
            );
            [Habit { request: me, keeps }, Habit { request: login, keeps }]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_restarted_one_after_the_other_fail_no_request() {
    let _alone = alone().await;
    let database = new_database().await;
    // Logins wait for each other longer than a second on a machine that does other things.
    let settings = [("MAX_HASHES", "16")];
    let mut servers = [(); 2].map(|()| AuthServer::start_on(&database, "true", &settings));
    let addresses = [servers[0].address, servers[1].address];
    let habits = habits(&servers[0].login_admin().await);
    let started = std::time::Instant::now();
    let (over, asked) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS * habits.len())
        .map(|number| {
            let mut client = Client {
                servers: addresses,
                habit: habits[number % habits.len()].clone(),
                preferred: number / habits.len() % 2,
                address: Ipv4Addr::new(127, 2, 0, u8::try_from(number + 1).expect("few")),
                connection: None,
            };
            let (over, asked) = (over.clone(), Arc::clone(&asked));
            tokio::spawn(async move {
                while !over.is_cancelled() {
                    client.ask().await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for server in &mut servers {
            tokio::task::block_in_place(|| server.restart());
            // Clients have to be on it again before the other one goes.
            let before = asked.load(Ordering::Relaxed);
            until(|| asked.load(Ordering::Relaxed) > before + 50).await;
        }
    }
    over.cancel();
    for client in clients {
        client.await.expect("no request of it has failed");
    }
    let took = started.elapsed();
    println!("{took:?}, {} requests, {} restarts", asked.load(Ordering::Relaxed), 2 * ROUNDS);
}
