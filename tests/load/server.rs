//! `auth-server` as a process, and clients of all manners.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port};

pub(crate) const ADMIN: &str = "admin";
pub(crate) const PASSWORD: &str = "the password of everybody in here";
pub(crate) const GET_HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often what goes on is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Lets this process have all the connections that the tests need.
pub(crate) fn own_limits() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard >= 4096, "these tests need 4096 open files (ulimit -Hn), not {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).expect("raised");
}

/// A server with a database of its own, unless it was given another one's.
pub(crate) struct AuthServer {
    process: Server,
    command: Command,
    pub(crate) address: SocketAddr,
    ops: SocketAddr,
    closed: AtomicUsize,
    directory: TempDir,
}

/// A response, head and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl AuthServer {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with_limit("true", settings).await
    }

    /// In a shell that has run `limit` before.
    pub(crate) async fn start_with_limit(limit: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_on(&new_database().await, limit, settings)
    }

    /// On a database that is there already.
    pub(crate) fn start_on(database_url: &str, limit: &str, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let local = || (Ipv4Addr::LOCALHOST, free_port().expect("a port"));
        let (address, ops) = (SocketAddr::from(local()), SocketAddr::from(local()));
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}; exec \"$0\"")])
            .arg(Artifacts::paths().server)
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("JWT_SECRET", "a secret of tests that has more than 32 bytes")
            .env("ADMIN_USERNAME", ADMIN)
            .env("DEFAULT_USERNAME", ADMIN)
            .env("DEFAULT_PASSWORD", PASSWORD)
            .env("OPS_ADDR", ops.to_string())
            .env("ADDR", address.to_string())
            .envs(settings.iter().copied());
        let process = started(&mut command, directory.path(), address, ops);
        Self { process, command, address, ops, closed: AtomicUsize::new(0), directory }
    }

    /// Has it end as an operator does, and starts it once more at the same address.
    pub(crate) fn restart(&mut self) {
        self.process.stop().expect("it ends in time");
        let ended = self.process.ended().expect("a status").expect("ended");
        assert!(ended.success(), "{ended}: {}", self.process.log());
        self.process = started(&mut self.command, self.directory.path(), self.address, self.ops);
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// The most memory that the process has ever had, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let file = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(file).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024
    }

    /// Files and sockets that the process has open.
    fn open(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.process.id());
        std::fs::read_dir(directory).expect("descriptors").count()
    }

    /// Waits until it has so many open.
    pub(crate) async fn until_open(&self, count: usize) {
        until(|| self.open() >= count).await;
    }

    /// Waits until it has closed so many slow connections.
    pub(crate) async fn until_closed(&self, count: usize) {
        until(|| self.closed.load(Ordering::Relaxed) >= count).await;
    }

    /// Sees to it that `/healthz` answers promptly on new connections for as long as
    /// `work` takes; with a token also that `/me` answers.
    pub(crate) async fn while_it_answers<T>(
        &self,
        prompt: Duration,
        token: Option<&str>,
        work: impl Future<Output = T>,
    ) -> T {
        let done = CancellationToken::new();
        let healthz = Some(get("/healthz", None));
        let me = token.map(|token| get("/me", Some(token)));
        let polls = [healthz, me].into_iter().flatten().map(|request| {
            let (address, done) = (self.address, done.clone());
            tokio::spawn(async move {
                let mut interval = interval(POLL);
                let mut slowest = Duration::ZERO;
                while !done.is_cancelled() {
                    interval.tick().await;
                    let started = Instant::now();
                    let answer = exchange(address, Ipv4Addr::LOCALHOST, &request).await;
                    let answer = answer.expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    slowest = slowest.max(started.elapsed());
                }
                slowest
            })
        });
        let polls: Vec<_> = polls.collect();
        let result = work.await;
        done.cancel();
        for poll in polls {
            let slowest = poll.await.expect("it answers");
            println!("slowest answer: {slowest:?}");
            assert!(slowest < prompt, "{slowest:?}");
        }
        result
    }

    pub(crate) async fn login_admin(&self) -> String {
        let answer = self.login_from(Ipv4Addr::LOCALHOST, ADMIN.to_owned()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let (_, body) = answer.text.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        body["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) async fn login_from(&self, client: Ipv4Addr, username: String) -> Answer {
        let body = json!({"username": username, "password": PASSWORD});
        exchange(self.address, client, &post("/login", None, &body)).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = post(path, token, body);
        exchange(self.address, Ipv4Addr::LOCALHOST, &request).await.expect("an answer")
    }

    pub(crate) async fn connect_from(&self, client: Ipv4Addr) -> std::io::Result<TcpStream> {
        connect(self.address, client, None).await
    }

    /// Sends `start` and then, if it goes on, a byte a second. Returns after how long
    /// the server has closed the connection.
    pub(crate) async fn be_slow(&self, client: Ipv4Addr, start: &str, goes_on: bool) -> Duration {
        let started = Instant::now();
        let mut stream = connect(self.address, client, None).await.expect("connected");
        let _ = stream.write_all(start.as_bytes()).await;
        let mut second = interval(Duration::from_secs(1));
        let mut answer = [0; 1024];
        let closed = async {
            loop {
                tokio::select! {
                    _ = second.tick(), if goes_on => {
                        if stream.write_all(b"a").await.is_err() {
                            return;
                        }
                    }
                    read = stream.read(&mut answer) => {
                        if read.unwrap_or_default() == 0 {
                            return;
                        }
                    }
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("closed");
        self.has_closed(started)
    }

    /// Asks for a lot and reads nothing of it.
    pub(crate) async fn be_deaf(&self, client: Ipv4Addr) -> Duration {
        let started = Instant::now();
        let mut stream = connect(self.address, client, Some(4096)).await.expect("connected");
        let mut second = interval(Duration::from_secs(1));
        let closed = async {
            loop {
                second.tick().await;
                if stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n").await.is_err()
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("closed");
        self.has_closed(started)
    }

    fn has_closed(&self, opened: Instant) -> Duration {
        self.closed.fetch_add(1, Ordering::Relaxed);
        opened.elapsed()
    }
}

/// Starts the process, and returns when it is ready.
fn started(
    command: &mut Command,
    directory: &Path,
    address: SocketAddr,
    ops: SocketAddr,
) -> Server {
    // Where `cargo xtask test` searches for secrets when all is over.
    let logs = std::env::var_os(xtask::test::LOGS);
    let logs = logs.map_or_else(|| directory.to_owned(), PathBuf::from);
    let log = logs.join(format!("load-{}.log", uuid::Uuid::now_v7()));
    let mut process =
        Server::start("auth-server", command, &log, Signal::SIGTERM).expect("started");
    let ready = || [address, ops].iter().all(|address| answers_ok(&address.to_string(), "/readyz"));
    process.wait_until(PATIENCE, ready).expect("ready");
    process
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    let mut interval = interval(POLL);
    let met = async {
        while !condition() {
            interval.tick().await;
        }
    };
    timeout(PATIENCE, met).await.expect("what was waited for has happened");
}

pub(crate) async fn new_database() -> String {
    let server = std::env::var(xtask::test::DATABASE_URL).unwrap_or_else(|_| {
        panic!("{} is not set; run the tests with `cargo xtask test`", xtask::test::DATABASE_URL)
    });
    let name = format!("load_{}", uuid::Uuid::now_v7().simple());
    let options = PgConnectOptions::from_str(&server).expect("a URL");
    let mut connection = options.connect().await.expect("a connection");
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await
        .expect("created");
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_path(&name);
    url.to_string()
}

pub(crate) async fn connect(
    server: SocketAddr,
    client: Ipv4Addr,
    receive_buffer: Option<u32>,
) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((client, 0).into())?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(server).await
}

pub(crate) fn get(path: &str, token: Option<&str>) -> String {
    let token = authorization(token);
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{token}Connection: close\r\n\r\n")
}

fn post(path: &str, token: Option<&str>, body: &Value) -> String {
    let (token, body) = (authorization(token), body.to_string());
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{token}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn authorization(token: Option<&str>) -> String {
    token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"))
}

/// A request on a connection of its own.
pub(crate) async fn exchange(
    server: SocketAddr,
    client: Ipv4Addr,
    request: &str,
) -> std::io::Result<Answer> {
    let mut stream = connect(server, client, None).await?;
    stream.write_all(request.as_bytes()).await?;
    read_answer(&mut stream).await
}

/// The next response on a connection. None of those that are read here is chunked.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut text = Vec::new();
    loop {
        if stream.read_buf(&mut text).await? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length == body.len().to_string()) {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.unwrap_or_default(), text })
}
