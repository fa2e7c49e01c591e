//! `auth-sidecar run -log-service`, as an operator starts it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::double::{Double, LogEntry};
use crate::{empty_database, eventually};

fn sidecar(database_url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-sidecar"));
    command.env_clear().arg("run").args(args);
    for (name, value) in [
        ("DATABASE_URL", database_url),
        ("ADMIN_USERNAME", "admin"),
        ("DEFAULT_USERNAME", "admin"),
        ("DEFAULT_PASSWORD", "the password of the tests' admin"),
        ("OPS_ADDR", "127.0.0.1:0"),
    ] {
        command.env(name, value);
    }
    command
}

/// A process that is killed with its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("started"))
    }

    /// Asks it to stop, and waits until it has; whether it was content.
    async fn stop(mut self) -> bool {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a number"));
        kill(pid, Signal::SIGTERM).expect("asked");
        eventually(async || self.0.try_wait().expect("a child")).await.success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(entries: &[LogEntry], start: &str) -> bool {
    entries.iter().any(|entry| entry.message.starts_with(start))
}

#[test]
fn a_malformed_address_stops_the_start_with_one_line_that_names_it() {
    let url = "postgres://auth@127.0.0.1:1/auth";
    for mut command in [
        sidecar(url, &["-log-service", "http://logs:9000"]),
        sidecar(url, &["--log-service=logs"]),
        {
            let mut command = sidecar(url, &[]);
            command.env("LOG_SERVICE", "logs:grpc");
            command
        },
    ] {
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.starts_with("auth-sidecar: -log-service is not an address"), "{text}");
    }
}

#[tokio::test]
async fn records_arrive_while_the_database_is_away_and_until_the_end() {
    let double = Double::start();
    let url = "postgres://auth@127.0.0.1:1/auth";
    let mut command = sidecar(url, &["-log-service", &double.address()]);
    let process = Running::start(command.env("RUST_LOG", "trace"));
    double.until(|taken| has(taken, "health and metrics on") && has(taken, "database: ")).await;
    assert!(process.stop().await);
    let taken = double.taken();
    assert!(has(&taken, "stopping"), "{taken:?}");
    // Each of these would have been the consequence of a push, and the cause of one.
    for library in ["h2", "hyper", "tonic", "tower"] {
        let target = |entry: &LogEntry| entry.attributes["target"].starts_with(library);
        assert!(!taken.iter().any(target), "{library}");
    }
}

#[tokio::test]
async fn what_is_pushed_has_no_secret_at_any_level() {
    let double = Double::start();
    let url = empty_database().await;
    let mut command = sidecar(&url, &["-log-service", &double.address()]);
    command.envs([("RUST_LOG", "trace"), ("NATS_URL", "nats://auth:hunter2@127.0.0.1:1")]);
    let process = Running::start(&mut command);
    double.until(|taken| has(taken, "NATS: no connection")).await;
    assert!(process.stop().await);
    let pushed = format!("{:?}", double.taken());
    // The client of NATS and the statement with the new user's hash are among them.
    for expected in ["async_nats", "insert into users", "created the default user"] {
        assert!(pushed.contains(expected), "{expected}");
    }
    let database = url::Url::parse(&url).expect("a URL");
    let password = database.password().expect("a password");
    for secret in ["hunter2", "the password of the tests' admin", "$argon2", password] {
        assert!(!pushed.contains(secret));
    }
}

#[tokio::test]
async fn audit_rows_arrive_and_are_measured() {
    let double = Double::away();
    let url = empty_database().await;
    let mut command = sidecar(&url, &[]);
    let process = Running::start(command.env("LOG_SERVICE", double.address()));
    let options: PgConnectOptions = url.parse().expect("a URL");
    let mut connection = options.connect().await.expect("connected");
    eventually(async || {
        sqlx::query("insert into audit_log (action, outcome) values ('logout', 'success')")
            .execute(&mut connection)
            .await
            .ok()
    })
    .await;
    double.come_up();
    let taken = double
        .until(|taken| has(taken, "logout success") && has(taken, "health and metrics on"))
        .await;
    let start = "health and metrics on http://";
    let ops = taken.iter().find_map(|entry| entry.message.strip_prefix(start)).expect("an address");
    eventually(async || {
        let metrics = metrics(ops);
        let at_rest = metrics.contains("\nauth_audit_unpushed 0\n")
            && metrics.contains("\nauth_log_dropped_total 0\n")
            && !metrics.contains("\nauth_log_pushed_total 0\n");
        at_rest.then_some(())
    })
    .await;
    assert!(process.stop().await);
}

fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
