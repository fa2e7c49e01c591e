//! PostgreSQL and NATS over TLS, and what happens when their certificates or our
//! credentials are the wrong ones: nothing goes through, and nothing leaks.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port, get};
use xtask::services::{Certificate, Durability, Home, Nats, Postgres};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, JWT_SECRET, connect, eventually, log_file, new_database,
    temporary_directory,
};
use crate::secrets::{assert_none, exchange};

/// What both servers are called by those who may trust them.
const HOST: &str = "127.0.0.1";

/// A certificate authority.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name would be told apart by their keys alone.
        params.distinguished_name.push(DnType::CommonName, uuid::Uuid::now_v7().to_string());
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, host: &str) -> Certificate {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Certificate { certificate, key: key.serialize_pem(), clients: None }
    }
}

/// A directory with a server's data, and files of the test.
struct Place {
    directory: TempDir,
    home: Home,
}

impl Place {
    fn new() -> Self {
        let directory = temporary_directory();
        let home = Home::new(directory.path()).expect("a home");
        Self { directory, home }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file that only its owner reads; returns its name.
    fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let file = self.path().join(name);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("private");
        file.to_str().expect("text").to_owned()
    }

    fn postgres(&self, certificate: &Certificate) -> Postgres {
        Postgres::start_with(&self.home, Durability::None, Some(certificate)).expect("PostgreSQL")
    }

    fn nats(&self, certificate: Option<&Certificate>, configuration: &str) -> Nats {
        Nats::start_with(&self.home, certificate, configuration).expect("nats-server")
    }
}

/// An operator of NATS with an account that may use JetStream, as `nsc` makes them.
struct Operator {
    configuration: String,
    account: nkeys::KeyPair,
}

impl Operator {
    fn new() -> Self {
        let (operator, system) = (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account());
        let account = nkeys::KeyPair::new_account();
        let of_operator = json!({
            "type": "operator", "version": 2, "system_account": system.public_key(),
        });
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
            "leaf": -1, "wildcards": true,
        });
        let mut with_jetstream = limits.clone();
        for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
            with_jetstream[name] = json!(-1);
        }
        let of_account = |limits: Value| json!({"type": "account", "version": 2, "limits": limits});
        let configuration = format!(
            "operator: {}\nresolver: MEMORY\nresolver_preload: {{\n  {}: {}\n  {}: {}\n}}\n",
            jwt(&operator, &operator, "operator", &of_operator),
            system.public_key(),
            jwt(&operator, &system, "SYS", &of_account(limits)),
            account.public_key(),
            jwt(&operator, &account, "auth", &of_account(with_jetstream)),
        );
        Self { configuration, account }
    }

    /// A credentials file for a new user, and the seed in it.
    fn credentials(&self) -> (String, String) {
        let user = nkeys::KeyPair::new_user();
        let claims = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": {}, "sub": {},
        });
        let jwt = jwt(&self.account, &user, "auth-sidecar", &claims);
        let seed = user.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        (text, seed)
    }
}

/// A JWT of NATS: what `issuer` says about `subject`.
fn jwt(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, name: &str, claims: &Value) -> String {
    let claims = json!({
        "jti": uuid::Uuid::now_v7(), "iat": 1_700_000_000, "iss": issuer.public_key(),
        "sub": subject.public_key(), "name": name, "nats": claims,
    });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let signed = format!("{head}.{}", part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("signed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A program of the service that runs until the test ends.
struct Program {
    process: Server,
    http: String,
    ops: String,
}

impl Program {
    fn start(place: &Place, program: &str, settings: &[(&str, &str)]) -> Self {
        let address = || format!("127.0.0.1:{}", free_port().expect("a port"));
        let (http, ops) = (address(), address());
        let mut command = command(program, settings);
        command.env("ADDR", &http).env("OPS_ADDR", &ops);
        if program == "auth-sidecar" {
            command.arg("run");
        }
        let log = log_file(place.path(), program);
        let name = if program == "auth-sidecar" { "auth-sidecar" } else { "auth-server" };
        // Not asked to stop, which takes seconds while events can't be published.
        let process = Server::start(name, &mut command, &log, Signal::SIGKILL).expect("started");
        Self { process, http, ops }
    }

    async fn until_ready(&self) {
        eventually(async || answers_ok(&self.ops, "/readyz").then_some(())).await;
    }

    /// Waits until a line of its log has a text; returns how many have.
    async fn until_logged(&self, text: &str) -> usize {
        let count = || self.process.log().lines().filter(|line| line.contains(text)).count();
        eventually(async || Some(count()).filter(|count| *count > 0)).await
    }

    /// What `/readyz` of health and metrics says, which has to be no.
    async fn not_ready(&self) -> Value {
        let answer = eventually(async || get(&self.ops, "/readyz").ok()).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }
}

fn program(name: &str) -> PathBuf {
    let Artifacts { server, sidecar, .. } = Artifacts::paths();
    if name == "auth-sidecar" { sidecar } else { server }
}

fn command(name: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program(name));
    command.env_clear().env("OPS_ADDR", "127.0.0.1:0").envs([
        ("JWT_SECRET", JWT_SECRET),
        ("ADMIN_USERNAME", ADMIN),
        ("DEFAULT_USERNAME", ADMIN),
        ("DEFAULT_PASSWORD", ADMIN_PASSWORD),
    ]);
    command.envs(settings.iter().copied());
    command
}

/// Runs `auth-sidecar` to its end.
fn sidecar(args: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = command("auth-sidecar", settings);
    command.args(args).stdin(Stdio::null()).output().expect("it runs")
}

/// Logs in through the component; returns the whole answer.
async fn login(address: &str) -> String {
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
    exchange(address, "POST /login", &[("Content-Type", "application/json")], &body).await
}

#[tokio::test]
async fn all_the_way_it_is_encrypted_verified_and_let_in_by_credentials() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let (data, bus) = (Place::new(), Place::new());
    let postgres = data.postgres(&authority.certify(HOST));
    let mut certificate = authority.certify(HOST);
    certificate.clients = Some(authority.certificate.clone());
    let nats = bus.nats(Some(&certificate), &operator.configuration);
    let ca = data.file("ca.pem", &authority.certificate);
    let client = authority.certify("auth");
    let (credentials, seed) = operator.credentials();
    // The first one is down, and what it says of TLS counts for the second as well.
    let down = free_port().expect("a port");
    let nats_url = format!("tls://{HOST}:{down},{}", nats.url());
    let creds = bus.file("auth.creds", &credentials);
    let (cert, key) = (bus.file("c.crt", &client.certificate), bus.file("c.key", &client.key));
    for mode in ["verify-full", "require"] {
        let url = format!("{}?sslmode={mode}&sslrootcert={ca}", postgres.url());
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("NATS_URL", &nats_url),
            ("NATS_CA", &ca),
            ("NATS_CREDS", &creds),
            ("NATS_CERT", &cert),
            ("NATS_KEY", &key),
        ];
        let server = Program::start(&data, "auth-server", &settings);
        server.until_ready().await;
        let standby = Program::start(&data, "auth-sidecar", &settings);
        standby.until_ready().await;

        // A watcher sees the event of a login through the component.
        let mut watch = command("auth-sidecar", &settings);
        watch.arg("watch");
        let log = log_file(bus.path(), "watch");
        let watch = Server::start("auth-sidecar", &mut watch, &log, Signal::SIGTERM).expect("runs");
        eventually(async || watch.log().contains("watching").then_some(())).await;
        let answer = login(&server.http).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        eventually(async || watch.log().contains(".created {").then_some(())).await;

        let status = sidecar(&["status"], &settings);
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.status.success() && text.contains("stream:    AUTH has "), "{text}");

        // Nobody has gone around the encryption.
        let mut connection = connect(&format!("{}?sslmode=disable", postgres.url())).await;
        let (encrypted, open): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where ssl), count(*) filter (where not ssl) \
             from pg_stat_ssl join pg_stat_activity using (pid) \
             where client_port is not null and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut connection)
        .await
        .expect("read");
        assert!(encrypted >= 3 && open == 0, "{encrypted} encrypted, {open} not");
        let logs = [server.process.log(), standby.process.log(), watch.log(), text];
        for log in logs {
            assert_none(&log, &[postgres.password(), &seed]);
        }
    }
}

#[tokio::test]
async fn a_database_that_is_not_the_right_one_gets_nothing_until_it_is() {
    let (authority, other) = (Authority::new(), Authority::new());
    let data = Place::new();
    let postgres = data.postgres(&other.certify(HOST));
    let ca = data.file("ca.pem", &authority.certificate);
    let others = data.file("other.pem", &other.certificate);
    let url = |host: &str, ca: &str| {
        let url = postgres.url().replace(HOST, host);
        format!("{url}?sslmode=verify-full&sslrootcert={ca}")
    };
    let without_tls = format!("{}?sslmode=verify-full", new_database().await);
    let mut programs = Vec::new();
    for (url, why) in [
        (url(HOST, &ca), "UnknownIssuer"),
        (url("localhost", &others), "not valid for name"),
        (without_tls, "does not support TLS"),
    ] {
        for name in ["auth-sidecar", "auth-server"] {
            let program = Program::start(&data, name, &[("DATABASE_URL", url.as_str())]);
            program.until_logged(why).await;
            assert_eq!(program.not_ready().await["database"], "not ready");
            if name == "auth-server" {
                let answer = login(&program.http).await;
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("database_unavailable"), "{answer}");
                assert_none(&answer, &[postgres.password(), HOST]);
                let component = r#""code":"database_unavailable""#;
                program.until_logged(component).await;
            }
            assert_none(&program.process.log(), &[postgres.password()]);
            programs.push(program);
        }
        // One line for the operator, not one for each attempt. PostgreSQL counts those.
        if why == "UnknownIssuer" {
            let log = data.path().join("postgres.log");
            let attempts = || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                text.matches("could not accept SSL connection").count()
            };
            eventually(async || (attempts() > 6).then_some(())).await;
            assert_eq!(programs[0].until_logged("database: ").await, 1);
        }
        let status = sidecar(&["status"], &[("DATABASE_URL", url.as_str())]);
        let text = String::from_utf8_lossy(&status.stderr).into_owned();
        assert_eq!((status.status.code(), text.lines().count()), (Some(1), 1), "{text}");
        assert!(text.contains(why), "{text}");
        assert_none(&text, &[postgres.password()]);
    }
    // With the right certificate, on the same port, the first two go on by themselves.
    drop(postgres);
    let _postgres = data.postgres(&authority.certify(HOST));
    programs[0].until_ready().await;
    eventually(async || answers_ok(&programs[1].http, "/readyz").then_some(())).await;
    assert!(login(&programs[1].http).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_nats_server_that_is_not_the_right_one_gets_nothing_until_it_is() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (operator, stranger) = (Operator::new(), Operator::new());
    let (bus, open) = (Place::new(), Place::new());
    let nats = bus.nats(Some(&other.certify(HOST)), &operator.configuration);
    let plain = open.nats(None, "");
    let ca = bus.file("ca.pem", &authority.certificate);
    let others = bus.file("other.pem", &other.certificate);
    let ((mine, seed), (theirs, foreign_seed)) = (operator.credentials(), stranger.credentials());
    let (creds, foreign) = (bus.file("auth.creds", &mine), bus.file("other.creds", &theirs));
    let tls = |nats: &Nats, host: &str| nats.url().replace("nats://", "tls://").replace(HOST, host);
    let database = new_database().await;
    let mut programs = Vec::new();
    for (url, ca, creds, why) in [
        (tls(&nats, HOST), &ca, &creds, "UnknownIssuer"),
        // An authority asks for TLS, whatever the URL says.
        (nats.url(), &ca, &creds, "UnknownIssuer"),
        (tls(&nats, "localhost"), &others, &creds, "not valid for name"),
        (tls(&plain, HOST), &ca, &creds, "the server may not speak TLS"),
        (plain.url(), &ca, &creds, "the server may not speak TLS"),
        (tls(&nats, HOST), &others, &foreign, "authorization violation"),
    ] {
        let settings = [
            ("DATABASE_URL", database.as_str()),
            ("NATS_URL", &url),
            ("NATS_CA", ca),
            ("NATS_CREDS", creds),
        ];
        for name in ["auth-sidecar", "auth-server"] {
            let program = Program::start(&bus, name, &settings);
            program.until_logged("NATS: no connection: ").await;
            program.until_logged(why).await;
            let health = eventually(async || {
                Some(program.not_ready().await).filter(|health| health["database"] == "ready")
            })
            .await;
            assert_eq!(health["nats"], "disconnected");
            programs.push(program);
        }
        for args in [&["status"][..], &["watch"], &["relay", "--once"]] {
            let output = sidecar(args, &settings);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
            assert!(text.contains("NATS: ") && text.contains(why), "{args:?}: {text}");
            assert_none(&text, &[&seed, &foreign_seed]);
        }
    }
    // An event waits for somebody who may have it.
    assert!(login(&programs[1].http).await.starts_with("HTTP/1.1 200 "));
    let backlog = sqlx::query_scalar("select count(*) from outbox where published_at is null");
    let waiting: i64 = backlog.fetch_one(&mut connect(&database).await).await.expect("counted");
    assert_eq!(waiting, 1);
    for program in &programs {
        let log = program.process.log();
        assert_none(&log, &[&seed, &foreign_seed]);
        // A line for each change of the reason, not for each attempt.
        let reasons: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once("NATS: no connection"))
            .map(|(_, why)| why)
            .collect();
        assert!(!reasons.is_empty() && reasons.windows(2).all(|two| two[0] != two[1]), "{log}");
    }
    // With the right certificate, on the same port, the first two go on by themselves.
    drop(nats);
    let _nats = bus.nats(Some(&authority.certify(HOST)), &operator.configuration);
    for program in &programs[..2] {
        program.until_ready().await;
    }
    eventually(async || {
        let query = sqlx::query_scalar("select count(*) from outbox where published_at is null");
        let waiting: i64 = query.fetch_one(&mut connect(&database).await).await.expect("counted");
        (waiting == 0).then_some(())
    })
    .await;
}

/// Accepts connections, greets, has one reply if any, and keeps all that it is told.
async fn plaintext_server(greeting: &'static [u8], reply: &'static [u8]) -> (u16, Heard) {
    let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heard = Heard::default();
    let ears = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ears = ears.clone();
            tokio::spawn(async move {
                let _ = stream.write_all(greeting).await;
                let mut buffer = [0; 4096];
                let mut is_first = true;
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    ears.lock().expect("not poisoned").push(buffer[..length].to_vec());
                    if std::mem::take(&mut is_first) && !reply.is_empty() {
                        let _ = stream.write_all(reply).await;
                    } else {
                        break;
                    }
                }
            });
        }
    });
    (port, heard)
}

type Heard = std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>;

// The servers of this test run while it waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_has_no_tls_is_told_no_secret() {
    let place = Place::new();
    let (operator, authority) = (Operator::new(), Authority::new());
    let ca = place.file("ca.pem", &authority.certificate);
    let creds = place.file("auth.creds", &operator.credentials().0);
    // PostgreSQL's way to say that it has no TLS is an N.
    let (database_port, database_heard) = plaintext_server(b"", b"N").await;
    let info: &[u8] = b"INFO {\"server_id\":\"x\",\"server_name\":\"x\",\"version\":\"2.10.0\",\
        \"go\":\"go1\",\"host\":\"x\",\"port\":1,\"headers\":true,\"max_payload\":1048576,\
        \"proto\":1,\"nonce\":\"bm9uY2U\",\"connect_urls\":[\"127.0.0.1:1\"]}\r\n";
    let (nats_port, nats_heard) = plaintext_server(info, b"").await;
    let url = format!("postgres://auth:hunter2@{HOST}:{database_port}/auth?sslmode=require");
    let program = Program::start(&place, "auth-server", &[("DATABASE_URL", &url)]);
    program.until_logged("database: ").await;
    let answer = login(&program.http).await;
    assert!(answer.contains("database_unavailable"), "{answer}");
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    let heard = database_heard.lock().expect("not poisoned").clone();
    assert!(heard.len() >= 2 && heard.iter().all(|bytes| *bytes == ssl_request), "{heard:?}");

    for (url, files) in [
        (format!("tls://user:hunter2@{HOST}:{nats_port}"), &[("NATS_CA", ca.as_str())][..]),
        (format!("tls://hunter2@{HOST}:{nats_port}"), &[("NATS_CA", &ca)]),
        (format!("nats://{HOST}:{nats_port}"), &[("NATS_CA", &ca), ("NATS_CREDS", &creds)]),
    ] {
        let before = nats_heard.lock().expect("not poisoned").len();
        let settings = [files, &[("NATS_URL", url.as_str())]].concat();
        let output = sidecar(&["watch"], &settings);
        assert_eq!(output.status.code(), Some(1));
        assert_none(&String::from_utf8_lossy(&output.stderr), &["hunter2"]);
        let heard = nats_heard.lock().expect("not poisoned")[before..].concat();
        // The hello of TLS, and then an end.
        assert_eq!(heard.get(..2), Some(&[0x16, 0x03][..]), "{url}");
        let text = String::from_utf8_lossy(&heard);
        assert!(!text.contains("CONNECT") && !text.contains("hunter2"), "{url}: {text}");
    }
}

#[tokio::test]
async fn user_password_and_token_in_the_url_open_nats() {
    for (users, url) in [
        ("authorization { user: auth, password: \"hunter2/@\" }", "auth:hunter2%2F%40@"),
        ("authorization { token: \"hunter2/@\" }", "hunter2%2F%40@"),
    ] {
        let bus = Place::new();
        let nats = bus.nats(None, users);
        let database = new_database().await;
        let with = |login: &str| nats.url().replace("nats://", &format!("nats://{login}"));
        let settings = |url: &str| {
            let url = with(url);
            sidecar(&["relay", "--once"], &[("DATABASE_URL", &database), ("NATS_URL", &url)])
        };
        let refused = settings("auth:wrong@");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(text.contains("authorization violation"), "{text}");
        let output = settings(url);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("published "), "{}", String::from_utf8_lossy(&output.stderr));
        // The client logs the address it connects to.
        let all = [("DATABASE_URL", database.as_str()), ("NATS_URL", &with(url))];
        let loud = sidecar(&["status"], &[&all[..], &[("RUST_LOG", "trace")]].concat());
        let text = String::from_utf8_lossy(&loud.stderr).into_owned();
        assert!(loud.status.success() && text.contains("async_nats"), "{text}");
        assert_none(&text, &["hunter2"]);
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_used_stop_the_start_and_readable_ones_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let (text, seed) = Operator::new().credentials();
    let useless = place.file("useless.creds", &text.replace("-----BEGIN", "--BEGIN"));
    let database = new_database().await;
    let all = |creds: &str| {
        let settings = [
            ("DATABASE_URL", &*database),
            ("NATS_URL", "nats://127.0.0.1:1"),
            ("NATS_CREDS", creds),
        ];
        settings.map(|(name, value)| (name, value.to_owned()))
    };
    for file in [useless.as_str(), "/none.creds"] {
        for (name, args) in [
            ("auth-sidecar", &["run"][..]),
            ("auth-sidecar", &["watch"]),
            ("auth-sidecar", &["status"]),
            ("auth-server", &[]),
        ] {
            let mut command = command(name, &[]);
            let output = command.envs(all(file)).args(args).stdin(Stdio::null()).output();
            let output = output.expect("it runs");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
            assert!(text.contains(&format!("NATS_CREDS names {file}, which ")), "{text}");
            assert_none(&text, &[&seed]);
        }
    }
    let file = place.file("auth.creds", &text);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let settings = all(&file);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    for name in ["auth-sidecar", "auth-server"] {
        let program = Program::start(&place, name, &settings);
        let warning = format!("NATS_CREDS: every user of this machine can read {file}");
        assert_eq!(program.until_logged(&warning).await, 1);
        assert_none(&program.process.log(), &[&seed]);
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("changed");
    let program = Program::start(&place, "auth-sidecar", &settings);
    program.until_logged("NATS: no connection").await;
    assert!(!program.process.log().contains("can read"));
}
