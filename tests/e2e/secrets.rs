//! No secret is in what the service writes: logs, metrics, answers, rows, events.
//!
//! Three nets. The harness holds every answer of every test, and what the host logs
//! meanwhile, against [`xtask::secrets`]; `cargo xtask test` does that with the logs
//! of every process that a test has started; and the test here starts the programs
//! as an operator does and goes through all the trouble there is.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use edd_auth_sidecar::logging;
use hyper::HeaderMap;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port, get};
use xtask::secrets::find;
use xtask::services::{Durability, Home, Nats, Postgres};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, JWT_SECRET, PASSWORD, SERVICE_API_KEY, connect, eventually, log_file,
    server_url, temporary_directory,
};

/// The password of the tests' PostgreSQL.
static DATABASE_PASSWORD: LazyLock<String> = LazyLock::new(|| password_of(&server_url()));

/// What was found in the log of this process, if anything.
static FOUND: Mutex<Option<String>> = Mutex::new(None);

fn password_of(url: &str) -> String {
    let url = url::Url::parse(url).expect("a URL");
    url.password().expect("a password").to_owned()
}

/// Fails when a text has a secret: one of the tests', or one of these.
#[track_caller]
pub(crate) fn assert_none(text: &str, others: &[&str]) {
    let others = [others, &[&DATABASE_PASSWORD]].concat();
    if let Some(found) = find(text, &others) {
        panic!("{found}");
    }
}

/// Fails when an answer has a secret that is not its very purpose, or this process
/// has logged one.
#[track_caller]
pub(crate) fn check_answer(headers: &HeaderMap, body: &Value) {
    let mut body = body.clone();
    if let Some(members) = body.as_object_mut() {
        // That of a login, and of a new API token.
        members.remove("token");
    }
    let mut text = body.to_string();
    // Nor is there one but for the cookie of a login, which is for the browser.
    for (name, value) in headers.iter().filter(|(name, _)| *name != "set-cookie") {
        let _ = write!(text, "\n{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    assert_none(&text, &[]);
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take();
    assert_eq!(found, None, "the log of this process has a secret");
}

/// Searches all that this process logs, at every level, but for the statements of the
/// tests themselves.
pub(crate) fn watch_log() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Net);
        let levels =
            Targets::new().with_default(LevelFilter::TRACE).with_target("sqlx", LevelFilter::OFF);
        let traffic = filter_fn(|metadata| !logging::is_traffic(metadata));
        tracing_subscriber::registry().with(levels).with(traffic).with(lines).init();
    });
}

/// What a record has that it must not.
fn search(record: &[u8]) -> Option<String> {
    find(&String::from_utf8_lossy(record), &[&DATABASE_PASSWORD])
}

/// Takes one record at a time.
struct Net;

impl Write for Net {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(found) = search(bytes) {
            *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends a request as it is written here and returns the whole answer.
pub(crate) async fn exchange(
    address: &str,
    request_line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut request = format!("{request_line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    let _ = write!(request, "Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // A server that has read enough answers and leaves.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

const NEW_PASSWORD: &str = "what she chose on Wednesday evening";

const NATS_PASSWORD: &str = "hunter2-of-nats";

/// Not a secret: where it has to be, the search has to find it.
const NAME: &str = "marked-name-of-a-user";

/// Everything that the service has written, and from whom.
#[derive(Default)]
struct Written {
    text: String,
}

impl Written {
    fn add(&mut self, source: &str, text: &str) {
        let _ = writeln!(self.text, "── {source}\n{text}");
    }

    /// An answer. The token of a login, or a new one, is its purpose.
    fn add_answer(&mut self, request: &str, answer: &str) -> Option<String> {
        assert!(answer.starts_with("HTTP/1.1 "), "{request}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 500 "), "{request}: {answer}");
        let minted = answer
            .split_once(r#""token":""#)
            .filter(|_| answer.starts_with("HTTP/1.1 20"))
            .and_then(|(before, rest)| Some((before, rest.split_once('"')?)));
        let Some((before, (token, after))) = minted else {
            self.add(request, answer);
            return None;
        };
        self.add(request, &format!("{before}{after}"));
        Some(token.to_owned())
    }
}

/// The service as an operator has started it.
struct Running {
    server: Server,
    sidecar: Server,
    address: String,
    ops: [String; 2],
    postgres: Option<Postgres>,
    nats: Option<Nats>,
}

/// Settings that make a program start, and secrets of every kind.
fn settings<'a>(database_url: &'a str, nats_url: &'a str) -> [(&'a str, &'a str); 7] {
    [
        ("DATABASE_URL", database_url),
        ("NATS_URL", nats_url),
        ("JWT_SECRET", JWT_SECRET),
        ("SERVICE_API_KEY", SERVICE_API_KEY),
        ("ADMIN_USERNAME", ADMIN),
        ("DEFAULT_USERNAME", ADMIN),
        ("DEFAULT_PASSWORD", ADMIN_PASSWORD),
    ]
}

/// Request line, headers and body.
type Request = (String, Vec<(&'static str, String)>, String);

/// What clients do with secrets when all goes wrong: each in every place where it
/// does not belong.
fn misplaced(secret: &str) -> Vec<Request> {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    let mut requests = Vec::new();
    for body in [
        json!({"username": secret, "password": secret}).to_string(),
        json!({"username": NAME, "password": secret}).to_string(),
        json!({"username": NAME, "password": [secret]}).to_string(),
        json!({"username": {secret: 1}, "password": secret}).to_string(),
        json!({secret: secret}).to_string(),
        json!([secret, secret]).to_string(),
        json!(secret).to_string(),
        format!(r#"{{"username":"{NAME}","password":"{secret}"#),
        format!("{secret}{{"),
        json!({"username": NAME, "password": secret.repeat(70_000 / secret.len())}).to_string(),
    ] {
        let json = vec![("Content-Type", "application/json".to_owned())];
        requests.push(("POST /login".to_owned(), json, body.clone()));
        for line in
            ["PUT /me/password", "PUT /admin/users/zzzzzz/password", "POST /service-accounts"]
        {
            let json = vec![("Content-Type", "application/json".to_owned())];
            requests.push((line.to_owned(), json, body.clone()));
        }
    }
    let body = json!({"username": NAME, "password": PASSWORD}).to_string();
    requests.push(("POST /login".to_owned(), vec![("Content-Type", encoded.clone())], body));
    for target in [
        format!("GET /{encoded}"),
        format!("GET /me?token={encoded}&{encoded}"),
        format!("DELETE /me/sessions/{encoded}"),
        format!("GET /admin/users/{encoded}"),
        format!("DELETE /admin/users/{encoded}"),
        format!("DELETE /admin/sessions/{encoded}"),
        format!("GET /admin/users?q={encoded}&limit={encoded}"),
        format!("GET /admin/users?cursor={encoded}"),
        format!("GET /admin/audit?actor={encoded}&since={encoded}"),
        format!("DELETE /service-accounts/{encoded}/tokens/{encoded}"),
        format!("GET /snapshot/users?cursor={encoded}"),
    ] {
        requests.push((target, Vec::new(), String::new()));
    }
    for scopes in [json!({secret: ["read"]}), json!({"sfs.a": [secret]}), json!(secret)] {
        let body = json!({"name": "ci", "scopes": scopes}).to_string();
        let json = vec![("Content-Type", "application/json".to_owned())];
        requests.push(("POST /service-accounts".to_owned(), json, body));
    }
    for name in ["Cookie", "X-Forwarded-For", "If-Match", "Origin"] {
        requests.push(("GET /me".to_owned(), vec![(name, encoded.clone())], String::new()));
    }
    for scheme in ["Bearer", "Basic", "bearer  "] {
        let header = vec![("Authorization", format!("{scheme} {encoded}"))];
        requests.push(("GET /me".to_owned(), header, String::new()));
    }
    let form = vec![("Content-Type", "application/x-www-form-urlencoded".to_owned())];
    requests.push(("POST /introspect".to_owned(), form, format!("token={encoded}&{encoded}=1")));
    requests
}

impl Running {
    /// Starts both programs, whose records have this level (the default when empty).
    fn start(home: &Home, log_level: &str) -> Self {
        let postgres = Postgres::start(home, Durability::None).expect("PostgreSQL");
        let users = format!("authorization {{ user: auth, password: \"{NATS_PASSWORD}\" }}");
        let nats = Nats::start_with(home, None, &users).expect("nats-server");
        let nats_url = nats.url().replace("nats://", &format!("nats://auth:{NATS_PASSWORD}@"));
        let address = || format!("127.0.0.1:{}", free_port().expect("a port"));
        let (http, ops) = (address(), [address(), address()]);
        let Artifacts { server, sidecar, .. } = Artifacts::paths();
        let start = |program: &std::path::Path, name: &'static str, args: &[&str], ops: &str| {
            let mut command = Command::new(program);
            command.env_clear().args(args).envs(settings(&postgres.url(), &nats_url));
            command.envs([("ADDR", http.as_str()), ("OPS_ADDR", ops)]);
            if !log_level.is_empty() {
                command.env("RUST_LOG", log_level);
            }
            let log = log_file(home.directory(), name);
            Server::start(name, &mut command, &log, Signal::SIGTERM).expect("started")
        };
        Self {
            server: start(&server, "auth-server", &[], &ops[0]),
            sidecar: start(&sidecar, "auth-sidecar", &["run"], &ops[1]),
            address: http,
            ops,
            postgres: Some(postgres),
            nats: Some(nats),
        }
    }

    async fn until_ready(&self) {
        for address in [&self.ops[0], &self.ops[1], &self.address] {
            eventually(async || answers_ok(address, "/readyz").then_some(())).await;
        }
    }

    async fn send(
        &self,
        written: &mut Written,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<String> {
        let answer = exchange(&self.address, line, headers, body).await;
        let shown: String = line.split(['?', ' ']).take(1).collect();
        written.add_answer(&shown, &answer)
    }

    async fn login(&self, written: &mut Written, name: &str, password: &str) -> String {
        let body = json!({"username": name, "password": password}).to_string();
        self.send(written, "POST /login", &[JSON], &body).await.expect("a token")
    }

    /// Logs in, makes a user with everything a user can have, and changes passwords.
    /// Returns secrets that there are now: two sessions and an API token.
    async fn live(&self, written: &mut Written) -> [String; 3] {
        let admin = self.login(written, ADMIN, ADMIN_PASSWORD).await;
        let bearer = format!("Bearer {admin}");
        let with_admin = [JSON, ("Authorization", &bearer)];
        let body = json!({"username": NAME, "password": PASSWORD}).to_string();
        self.send(written, "POST /admin/users", &with_admin, &body).await;
        let first = self.login(written, NAME, PASSWORD).await;
        let bearer = format!("Bearer {first}");
        let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD}).to_string();
        self.send(written, "PUT /me/password", &[JSON, ("Authorization", &bearer)], &body).await;
        let hers = self.login(written, NAME, NEW_PASSWORD).await;
        let bearer = format!("Bearer {hers}");
        let with_hers = [JSON, ("Authorization", bearer.as_str())];
        let body = json!({"name": "ci", "scopes": {}}).to_string();
        let made = exchange(&self.address, "POST /service-accounts", &with_hers, &body).await;
        let (_, rest) = made.split_once(r#""service_account_id":""#).expect("an id");
        let id = rest.split('"').next().expect("an id");
        let line = format!("POST /service-accounts/{id}/tokens");
        let body = json!({"name": "ci", "expires_in": "30d"}).to_string();
        let token = self.send(written, &line, &with_hers, &body).await.expect("a token");
        [admin, hers, token]
    }

    /// Sends every secret to every place, as nobody and as each caller.
    async fn misuse(&self, written: &mut Written, secrets: &[&str], callers: &[&str]) {
        for secret in secrets {
            for (line, headers, body) in misplaced(secret) {
                for caller in callers {
                    let mut headers: Vec<(&str, &str)> =
                        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let bearer = format!("Bearer {caller}");
                    if !headers.iter().any(|(name, _)| *name == "Authorization") {
                        headers.push(("Authorization", &bearer));
                    }
                    self.send(written, &line, &headers, &body).await;
                }
            }
        }
    }

    /// What is asked of health and metrics, and what `ps` shows.
    fn observe(&self, written: &mut Written) {
        for ops in &self.ops {
            for path in ["/metrics", "/readyz", "/healthz", "/nothing"] {
                written.add(path, &get(ops, path).expect("an answer"));
            }
        }
        for process in [&self.server, &self.sidecar] {
            let arguments = std::fs::read(format!("/proc/{}/cmdline", process.id()));
            // Where the system shows them there.
            let arguments = arguments.unwrap_or_default();
            written.add("arguments", &String::from_utf8_lossy(&arguments));
        }
    }

    /// Every row of every table but for the hashes, which are where they belong.
    async fn rows(&self, written: &mut Written) {
        let postgres = self.postgres.as_ref().expect("running");
        let mut connection = connect(&postgres.url()).await;
        for table in ["audit_log", "outbox", "sessions", "login_throttle", "api_tokens", "users"] {
            let sql = format!("select (to_jsonb({table}) - 'password_hash')::text from {table}");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut connection)
                .await
                .expect("read");
            assert!(!rows.is_empty(), "{table}");
            written.add(table, &rows.join("\n"));
        }
    }
}

/// Runs a command of `auth-sidecar` and adds what it says.
fn tell(written: &mut Written, args: &[&str], settings: &[(&str, &str)]) {
    let mut command = Command::new(Artifacts::paths().sidecar);
    command.env_clear().args(args).envs(settings.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    written.add(args[0], &String::from_utf8_lossy(&output.stdout));
    written.add(args[0], &String::from_utf8_lossy(&output.stderr));
}

/// The programs through all that can go wrong, at a level of logging.
async fn everything_written(log_level: &str) -> (Written, Vec<String>) {
    let directory = temporary_directory();
    let home = Home::new(directory.path()).expect("a home");
    let mut running = Running::start(&home, log_level);
    running.until_ready().await;
    let mut written = Written::default();
    let (database_url, nats_url) = {
        let nats = running.nats.as_ref().expect("running").url();
        let login = format!("nats://auth:{NATS_PASSWORD}@");
        (running.postgres.as_ref().expect("running").url(), nats.replace("nats://", &login))
    };
    let database_password = password_of(&database_url);
    let [admin, hers, api_token] = running.live(&mut written).await;
    let secrets = [
        JWT_SECRET,
        NEW_PASSWORD,
        SERVICE_API_KEY,
        &database_password,
        NATS_PASSWORD,
        &hers,
        &api_token,
        "$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo",
    ];
    running.misuse(&mut written, &secrets, &[&admin, &hers, SERVICE_API_KEY]).await;
    running.observe(&mut written);
    let good = settings(&database_url, &nats_url);
    tell(&mut written, &["status"], &good);
    tell(&mut written, &["migrate"], &good);
    written.add("events", &events(&nats_url).await);
    running.rows(&mut written).await;

    // NATS away, then the database as well, and both again.
    running.nats = None;
    let body = json!({"username": NAME, "password": NEW_PASSWORD}).to_string();
    running.send(&mut written, "POST /login", &[JSON], &body).await;
    running.postgres = None;
    let bearer = format!("Bearer {hers}");
    for (line, headers) in
        [("POST /login", &[JSON][..]), ("GET /me", &[("Authorization", bearer.as_str())])]
    {
        running.send(&mut written, line, headers, &body).await;
    }
    for ops in &running.ops {
        eventually(async || (!answers_ok(ops, "/readyz")).then_some(())).await;
    }
    running.observe(&mut written);
    tell(&mut written, &["status"], &good);
    let users = format!("authorization {{ user: auth, password: \"another {NATS_PASSWORD}\" }}");
    running.postgres = Some(Postgres::start(&home, Durability::None).expect("PostgreSQL"));
    running.nats = Some(Nats::start_with(&home, None, &users).expect("nats-server"));
    eventually(async || running.sidecar.log().contains("authorization violation").then_some(()))
        .await;

    // Settings that do not fit.
    let other_password = database_url.replace(&database_password, NEW_PASSWORD);
    let other_mode = format!("{database_url}?sslmode=verify-full");
    for (url, nats) in [
        (other_password.as_str(), nats_url.as_str()),
        (&other_mode, &nats_url),
        (&database_url.replace("postgres://", "mysql://"), &nats_url),
        (&database_url, &nats_url),
        (&database_url, &nats_url.replace("nats://", "http://")),
    ] {
        tell(&mut written, &["status"], &settings(url, nats));
        tell(&mut written, &["relay", "--once"], &settings(url, nats));
    }
    running.server.stop().expect("stopped");
    running.sidecar.stop().expect("stopped");
    written.add("log of auth-server", &running.server.log());
    written.add("log of auth-sidecar", &running.sidecar.log());
    let log = std::fs::read_to_string(home.directory().join("postgres.log")).expect("a log");
    written.add("log of PostgreSQL", &log);
    let others = [NEW_PASSWORD, NATS_PASSWORD, &database_password];
    (written, others.map(str::to_owned).to_vec())
}

/// All messages of the stream, with their headers.
async fn events(nats_url: &str) -> String {
    let url = url::Url::parse(nats_url).expect("a URL");
    let address = format!("nats://127.0.0.1:{}", url.port().expect("a port"));
    let options = async_nats::ConnectOptions::new()
        .user_and_password("auth".to_owned(), NATS_PASSWORD.to_owned());
    let client = options.connect(address).await.expect("connected");
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream("AUTH").await.expect("a stream");
    let last = stream.cached_info().state.last_sequence;
    let mut text = String::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        let payload = String::from_utf8_lossy(&message.payload).into_owned();
        let _ = writeln!(text, "{} {:?} {payload}", message.subject, message.headers);
    }
    text
}

#[tokio::test]
async fn through_all_trouble_nothing_that_is_written_has_a_secret() {
    for log_level in ["", "trace"] {
        let (written, others) = everything_written(log_level).await;
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        // The search finds what is there, and all was there to be searched.
        assert!(find(&written.text, &[NAME]).is_some());
        for expected in [
            "auth_outbox_backlog",
            "UserCreated",
            "\"action\": \"login\"",
            "wrong_password",
            "\"resource\": \"GET /admin/users/?\"",
            "\"resource\": \"session:?\"",
            "ce-source",
            "database_unavailable",
            "NATS: no connection: authorization violation",
            "password authentication failed",
            "server does not support TLS",
            "schema:    version",
            "HTTP/1.1 413 ",
        ] {
            assert!(written.text.contains(expected), "{expected}");
        }
        if log_level == "trace" {
            assert!(written.text.contains("\"TRACE\"") || written.text.contains("\"DEBUG\""));
        }
        assert_none(&written.text, &others);
    }
}

#[test]
fn a_secret_in_this_process_s_log_is_found() {
    let mut net = Net;
    net.write_all(b"all is well\n").expect("taken");
    assert_eq!(FOUND.lock().expect("not poisoned").take(), None);
    let headers = HeaderMap::new();
    check_answer(&headers, &json!({"token": "eyJ", "detail": "no"}));
    for body in [json!({"detail": ADMIN_PASSWORD}), json!([{"token": JWT_SECRET}])] {
        let check = std::panic::AssertUnwindSafe(|| check_answer(&headers, &body));
        assert!(std::panic::catch_unwind(check).is_err());
    }
    let found = search(format!("cause: {}", *DATABASE_PASSWORD).as_bytes());
    assert!(found.is_some_and(|found| found.contains("cause: ")));
}
