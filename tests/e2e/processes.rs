//! `auth-server` and `auth-sidecar` as an operator meets them.

use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port, get};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, JWT_SECRET, OwnNats, PATIENCE, empty_database, eventually, log_file,
    temporary_directory,
};

/// A complete environment; "" unsets.
pub(crate) fn with_environment(command: &mut Command, database_url: &str, change: &[(&str, &str)]) {
    command.env_clear();
    for (name, value) in [
        ("DATABASE_URL", database_url),
        ("JWT_SECRET", JWT_SECRET),
        ("ADMIN_USERNAME", ADMIN),
        ("DEFAULT_USERNAME", ADMIN),
        ("DEFAULT_PASSWORD", ADMIN_PASSWORD),
        ("OPS_ADDR", "127.0.0.1:0"),
        ("ADDR", "127.0.0.1:0"),
    ]
    .into_iter()
    .chain(change.iter().copied())
    {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
}

pub(crate) fn run(
    program: &std::path::Path,
    args: &[&str],
    url: &str,
    change: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(program);
    with_environment(&mut command, url, change);
    command.args(args).stdin(Stdio::null()).output().expect("it runs")
}

/// The same of the sidecar, and what it has to say: exit code, standard output, standard
/// error.
pub(crate) fn sidecar(
    args: &[&str],
    url: &str,
    change: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let output = run(&Artifacts::paths().sidecar, args, url, change);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_missing_or_malformed_setting_stops_the_start_with_one_line_that_names_it() {
    let Artifacts { server, sidecar, .. } = Artifacts::paths();
    let url = "postgres://auth:hunter2@127.0.0.1:1/auth";
    for (name, value, both) in [
        ("DATABASE_URL", "", true),
        ("DATABASE_URL", "mysql://auth:hunter2@db/auth", true),
        ("DATABASE_URL", "postgres://auth:hunter2@db/auth?sslmode=verify-ca", true),
        ("ADMIN_USERNAME", "", true),
        ("DEFAULT_USERNAME", "", true),
        ("DEFAULT_USERNAME", "\u{202e}hunter2", true),
        ("DEFAULT_PASSWORD", "", true),
        ("NATS_URL", "nats://hunter2@[", true),
        ("JWT_SECRET", "", false),
        ("JWT_SECRET", "hunter2", false),
        ("JWT_SECRET_PREVIOUS", "hunter2", false),
        ("JWT_SIGNING_KEY", "hunter2", false),
        ("JWT_SIGNING_KEY_PREVIOUS", "hunter2", false),
        ("CORS_ALLOWED_ORIGINS", "*", false),
        ("PASSWORD_MIN_LENGTH", "3", false),
        ("SERVICE_API_KEY", "hunter2", false),
        ("SCOPE_CATALOG", "hunter2", false),
        ("DATABASE_URL", "postgres://auth:hunter2@db/auth?sslpassword=hunter2", true),
        ("DATABASE_URL", "postgres://auth:hunter2@db/a?sslmode=require&sslrootcert=/none", true),
        ("NATS_CREDS", "/none.creds", true),
        ("NATS_CA", "/none.pem", true),
        ("APP_DATABASE_URL", "hunter2", false),
    ] {
        let mut programs = vec![(&server, &[][..])];
        if both {
            programs.push((&sidecar, &["run"][..]));
        }
        for (program, args) in programs {
            let output = run(program, args, url, &[(name, value)]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{name}={value}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains(&format!(": {name} ")), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    let output = run(&server, &["-session-ttl", "1 day"], url, &[]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("-session-ttl") && text.contains("24h"), "{text}");
}

#[test]
fn help_names_every_setting_and_no_secret() {
    let Artifacts { server, sidecar, .. } = Artifacts::paths();
    let url = "postgres://auth:hunter2@127.0.0.1:1/auth";
    for (program, args, names) in [
        (&server, &["--help"][..], &["--addr", "--session-ttl", "--log-service", "NATS_URL"][..]),
        (&sidecar, &["run", "--help"], &["DATABASE_URL", "DEFAULT_PASSWORD", "OPS_ADDR"]),
        (
            &sidecar,
            &["--help"],
            &["run", "migrate", "status", "relay", "watch", "requeue", "drop", "reconcile"],
        ),
        (&sidecar, &["reconcile", "--help"], &["DATABASE_URL", "NATS_URL", "OUTBOX_RETENTION"]),
    ] {
        let output = run(program, args, url, &[("DEFAULT_PASSWORD", "hunter2")]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success());
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert!(!text.contains("hunter2") && !text.contains(JWT_SECRET), "{text}");
    }
}

#[tokio::test]
async fn the_server_with_its_embedded_component_serves_drains_and_exits_0() {
    let nats = OwnNats::start();
    let url = empty_database().await;
    let directory = temporary_directory();
    let (port, ops) = (free_port().expect("a port"), free_port().expect("a port"));
    let mut command = Command::new(Artifacts::paths().server);
    with_environment(
        &mut command,
        &url,
        &[("NATS_URL", &nats.url()), ("OPS_ADDR", &format!("127.0.0.1:{ops}"))],
    );
    // Go's flags: one dash, and an address without a host.
    command.args(["-addr", &format!(":{port}"), "-session-ttl=1h"]);
    let log = log_file(directory.path(), "server");
    let mut server =
        Server::start("auth-server", &mut command, &log, Signal::SIGTERM).expect("started");
    let address = format!("127.0.0.1:{port}");
    let ops = format!("127.0.0.1:{ops}");
    server
        .wait_until(PATIENCE, || answers_ok(&address, "/readyz") && answers_ok(&ops, "/readyz"))
        .expect("ready");

    // A request whose body is still on its way when the server is asked to stop.
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    // The server says that it has read the head and wants the body.
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.expect("an interim response");
    assert!(go_on.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&go_on));
    stream.write_all(&body.as_bytes()[..5]).await.expect("sent");
    server.signal(Signal::SIGTERM).expect("asked");
    eventually(async || TcpStream::connect(&address).await.is_err().then_some(())).await;
    stream.write_all(&body.as_bytes()[5..]).await.expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"expires_in\":3600"), "{answer}");

    assert!(server.wait(PATIENCE).expect("ended").success(), "{}", server.log());
    // The event of that last request was published before the end.
    let messages = nats.messages(2).await;
    assert!(messages[1].subject.ends_with(".created"), "{messages:?}");
    let text = server.log();
    for secret in [ADMIN_PASSWORD, JWT_SECRET, "$argon2id", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn migrate_status_and_relay_once_tell_what_they_did() {
    let nats = OwnNats::start();
    let url = empty_database().await;
    let sidecar = Artifacts::paths().sidecar;
    let with_nats = [("NATS_URL", nats.url())];
    let change: Vec<(&str, &str)> = with_nats.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let text = |args: &[&str]| {
        let output = run(&sidecar, args, &url, &change);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(text(&["status"]).contains("run `auth-sidecar migrate`"));
    let newest = edd_auth_sidecar::migrate::newest_version();
    let at_newest = format!("the schema has version {newest}\n");
    let mut lines: Vec<String> =
        (1..=newest).map(|version| format!("applied migration {version}")).collect();
    lines.push(at_newest.clone());
    assert_eq!(text(&["migrate"]), lines.join("\n"));
    assert_eq!(text(&["migrate"]), at_newest);

    let mut connection = crate::harness::connect(&url).await;
    sqlx::raw_sql(
        "insert into outbox (kind, entity_id, data) values ('Nonsense', 'x', '{}'), \
         ('UserDeleted', 'a1B2c3', '{\"user_id\":7,\"public_id\":\"a1B2c3\",\"username\":\"ada\",\"version\":2}')",
    )
    .execute(&mut connection)
    .await
    .expect("inserted");
    assert!(text(&["status"]).contains("2 events wait"));
    assert_eq!(text(&["relay", "--once"]), "published 1 events\n");
    let status = text(&["status"]);
    assert!(status.contains("outbox:    empty"), "{status}");
    assert!(status.contains("no event is called `Nonsense`"), "{status}");
    assert!(status.contains("AUTH has 1 messages"), "{status}");
}

#[tokio::test]
async fn ten_sidecars_that_start_at_once_on_an_empty_database_do_everything_once() {
    let nats = OwnNats::start();
    let url = empty_database().await;
    let directory = temporary_directory();
    let mut sidecars: Vec<(Server, String)> = (0..10)
        .map(|number| {
            let ops = format!("127.0.0.1:{}", free_port().expect("a port"));
            let mut command = Command::new(Artifacts::paths().sidecar);
            with_environment(&mut command, &url, &[("NATS_URL", &nats.url()), ("OPS_ADDR", &ops)]);
            let log = log_file(directory.path(), &format!("sidecar-{number}"));
            let sidecar = Server::start("auth-sidecar", command.arg("run"), &log, Signal::SIGTERM);
            (sidecar.expect("started"), ops)
        })
        .collect();
    for (sidecar, ops) in &mut sidecars {
        sidecar.wait_until(PATIENCE, || answers_ok(ops, "/readyz")).expect("ready");
    }
    let mut connection = crate::harness::connect(&url).await;
    eventually(async || {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from outbox where published_at is null")
                .fetch_one(&mut connection)
                .await
                .expect("the outbox");
        (waiting == 0).then_some(())
    })
    .await;
    let leads = |ops: &str| {
        let metrics = get(ops, "/metrics").expect("metrics");
        metrics.lines().any(|line| line == "auth_relay_leader 1")
    };
    assert_eq!(sidecars.iter().filter(|(_, ops)| leads(ops)).count(), 1);
    let logs: String = sidecars.iter().map(|(sidecar, _)| sidecar.log()).collect();
    for version in 1..=edd_auth_sidecar::migrate::newest_version() {
        let applied = format!("applied migration {version}\"");
        assert_eq!(logs.matches(&applied).count(), 1, "{applied} {logs}");
    }
    assert_eq!(logs.matches("created the default user").count(), 1, "{logs}");
    let users: i64 = sqlx::query_scalar("select count(*) from users")
        .fetch_one(&mut connection)
        .await
        .expect("users");
    assert_eq!(users, 1);
    let messages = nats.messages(1).await;
    let subjects: Vec<&str> = messages.iter().map(|message| message.subject.as_str()).collect();
    assert!(
        matches!(subjects[..], [one] if one.starts_with("auth.user.") && one.ends_with(".created")),
        "{subjects:?}"
    );
}
