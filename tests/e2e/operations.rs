//! `deploy/` and `docs/operating.md`, held against the running programs: what they say of
//! metrics is what is measured, and the configuration of NATS is enough for the relay.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::str::FromStr;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use edd_auth_sidecar::outbox;
use futures::StreamExt;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port, get};
use xtask::services::{Home, Nats};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, OwnNats, PASSWORD, PATIENCE, Service, connect, eventually, log_file,
    new_database, sidecar_process, temporary_directory,
};
use crate::processes::with_environment;

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const PROMETHEUS: &str = include_str!("../../deploy/prometheus/prometheus.yaml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboard.json");
const NATS_CONFIGURATION: &str = include_str!("../../deploy/nats/nats-server.conf");
const DOCUMENT: &str = include_str!("../../docs/operating.md");

/// auth-server and auth-sidecar on one database, and what they need.
struct Programs {
    database_url: String,
    /// Where the API is.
    address: String,
    /// Where the metrics of auth-server are, and those of auth-sidecar.
    ops: [String; 2],
    _processes: [Server; 2],
    _nats: OwnNats,
    _directory: TempDir,
}

impl Programs {
    async fn start() -> Self {
        let (nats, directory) = (OwnNats::start(), temporary_directory());
        let database_url = new_database().await;
        let [address, ops] =
            [(); 2].map(|()| format!("127.0.0.1:{}", free_port().expect("a port")));
        let mut command = Command::new(Artifacts::paths().server);
        let settings = [("NATS_URL", &nats.url()), ("ADDR", &address), ("OPS_ADDR", &ops)];
        with_environment(&mut command, &database_url, &settings.map(|(k, v)| (k, v.as_str())));
        let log = log_file(directory.path(), "measured");
        let mut server =
            Server::start("auth-server", &mut command, &log, Signal::SIGTERM).expect("started");
        let ready = || answers_ok(&address, "/readyz") && answers_ok(&ops, "/readyz");
        server.wait_until(PATIENCE, ready).expect("ready");
        let (mut sidecar, sidecar_ops) =
            sidecar_process(directory.path(), "measured", &database_url, &nats.url());
        let ready = || answers_ok(&sidecar_ops, "/readyz");
        sidecar.wait_until(PATIENCE, ready).expect("ready");
        Self {
            database_url,
            address,
            ops: [ops, sidecar_ops],
            _processes: [server, sidecar],
            _nats: nats,
            _directory: directory,
        }
    }

    /// What the two programs export.
    fn scrape(&self) -> [Metrics; 2] {
        self.ops.each_ref().map(|ops| Metrics::read(ops))
    }

    /// Every metric of either.
    fn all(&self) -> BTreeMap<String, String> {
        self.scrape().into_iter().flat_map(|metrics| metrics.kinds).collect()
    }

    async fn login(&self) -> String {
        let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
        let request = hyper::Request::post(format!("http://{}/login", self.address))
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(hyper::body::Bytes::from(body)))
            .expect("a request");
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http();
        client.request(request).await.expect("an answer").status().to_string()
    }
}

/// The metrics of a program.
struct Metrics {
    /// The kind of each family: counter, gauge, histogram, info.
    kinds: BTreeMap<String, String>,
    text: String,
}

impl Metrics {
    fn read(ops: &str) -> Self {
        let text = get(ops, "/metrics").expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("# EOF\n"), "{text}");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let kinds = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        Self { kinds, text }
    }

    /// The value of one sample, with its labels.
    #[track_caller]
    fn value<T: FromStr>(&self, sample: &str) -> T {
        let of_line = |line: &str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
        let value = self.text.lines().find_map(of_line);
        value.unwrap_or_else(|| panic!("no {sample} in {}", self.text))
    }
}

/// What a family's samples are called.
fn samples(name: &str, kind: &str) -> Vec<String> {
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => panic!("{name} is a {kind}"),
    };
    endings.iter().map(|ending| format!("{name}{ending}")).collect()
}

/// Metrics of this service that an expression names.
fn names(expression: &str) -> BTreeSet<String> {
    expression
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("auth_"))
        .map(str::to_owned)
        .collect()
}

/// Every text of this name, wherever it stands.
fn texts<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name).and_then(Value::as_str));
            members.values().for_each(|value| texts(value, name, found));
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, name, found)),
        _ => {}
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// The rules of the file of alerts.
fn alerts() -> Vec<Value> {
    let groups = yaml(ALERTS)["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

#[tokio::test]
async fn alerts_and_dashboard_name_what_is_exported_and_all_of_it() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let (dashboard_and_alerts, mut expressions) = ([dashboard, yaml(ALERTS)], Vec::new());
    for document in &dashboard_and_alerts {
        texts(document, "expr", &mut expressions);
        texts(document, "query", &mut expressions);
    }
    assert!(expressions.len() > 40, "{expressions:#?}");
    let named: BTreeSet<String> = expressions.iter().flat_map(|text| names(text)).collect();

    let programs = Programs::start().await;
    let all = programs.all();
    let exported: BTreeSet<String> =
        all.iter().flat_map(|(name, kind)| samples(name, kind)).collect();
    let unknown: Vec<_> = named.difference(&exported).collect();
    assert!(unknown.is_empty(), "nobody exports {unknown:?}");
    let shown = |(name, kind): &(&String, &String)| {
        samples(name, kind).iter().any(|sample| named.contains(sample))
    };
    let unseen: Vec<_> = all.iter().filter(|family| !shown(family)).collect();
    assert!(unseen.is_empty(), "on no dashboard and in no alert: {unseen:?}");
    // auth-server does all that auth-sidecar does.
    let [server, sidecar] = programs.scrape().map(|metrics| metrics.kinds);
    assert!(sidecar.keys().all(|name| server.contains_key(name)), "{sidecar:?}");
}

#[tokio::test]
async fn the_reference_has_every_metric_and_no_other() {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, kind, _, says, ""] = cells.as_slice() else { return None };
        let name = name.strip_prefix("`auth_")?.strip_suffix('`')?;
        assert!(!says.is_empty(), "{line}");
        Some((format!("auth_{name}"), (*kind).to_owned()))
    });
    let documented: BTreeMap<String, String> = rows.collect();
    let exported = Programs::start().await.all().into_iter().map(|(name, kind)| {
        let shown = if kind == "histogram" { name } else { samples(&name, &kind).remove(0) };
        (shown, kind)
    });
    assert_eq!(documented, exported.collect());
}

/// The anchors of headings, as GitHub and others make them.
fn anchors() -> BTreeSet<String> {
    let headings = DOCUMENT.lines().filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let (anchors, mut seen) = (anchors(), BTreeSet::new());
    for rule in alerts() {
        let name = rule["alert"].as_str().expect("a name");
        assert!(seen.insert(name.to_owned()), "{name} is there twice");
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("page" | "ticket")), "{name}: {severity:?}");
        assert!(rule["annotations"]["summary"].is_string(), "{name}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        let anchor = runbook.strip_prefix("docs/operating.md#").unwrap_or_default();
        assert!(anchors.contains(anchor), "{name}: there is no `{runbook}`");
        assert_eq!(anchor, name.to_lowercase());
    }
    let headings = DOCUMENT.lines().filter_map(|line| line.strip_prefix("### Auth"));
    let runbooks: BTreeSet<String> = headings.map(|name| format!("Auth{name}")).collect();
    assert_eq!(runbooks, seen);
}

#[test]
fn prometheus_reads_the_alerts_and_names_the_job_that_they_are_about() {
    let configuration = yaml(PROMETHEUS);
    assert_eq!(configuration["rule_files"], json!(["alerts.yaml"]));
    assert_eq!(configuration["scrape_configs"][0]["job_name"], "auth");
    let mut expressions = Vec::new();
    let alerts = yaml(ALERTS);
    texts(&alerts, "expr", &mut expressions);
    assert!(expressions.iter().any(|text| text.contains("up{job=\"auth\"}")), "{expressions:?}");
}

#[tokio::test]
async fn requests_and_what_is_in_use_are_measured() {
    let programs = Programs::start().await;
    let mut lock = connect(&programs.database_url).await;
    sqlx::raw_sql("begin; lock table users").execute(&mut lock).await.expect("locked");
    let waits = async {
        let server = &programs.ops[0];
        let busy = "auth_http_instances{budget=\"hashes\"}";
        let in_use = "auth_database_connections{state=\"in_use\"}";
        eventually(async || {
            let metrics = Metrics::read(server);
            let both: [u64; 2] = [busy, in_use].map(|sample| metrics.value(sample));
            (both == [1, 1]).then_some(())
        })
        .await;
        sqlx::raw_sql("rollback").execute(&mut lock).await.expect("released");
    };
    let (status, ()) = tokio::join!(programs.login(), waits);
    assert_eq!(status, "200 OK");
    get(&programs.address, "/admin/users/a1B2c3?q=hunter2").expect("an answer");

    let [server, _] = programs.scrape();
    let number = |sample: &str| server.value::<u64>(sample);
    let count = |labels: &str| number(&format!("auth_http_requests_total{{{labels}}}"));
    assert_eq!(count("method=\"POST\",route=\"/login\",status=\"2xx\""), 1);
    assert_eq!(count("method=\"GET\",route=\"/admin/users/{id}\",status=\"4xx\""), 1);
    let seconds = |what| format!("auth_http_request_duration_seconds_{what}{{route=\"/login\"}}");
    assert_eq!(number(&seconds("count")), 1);
    assert!(server.value::<f64>(&seconds("sum")) > 0.0);
    assert_eq!(number("auth_http_instances{budget=\"hashes\"}"), 0);
    assert_eq!(number("auth_database_connections{state=\"in_use\"}"), 0);
    assert!(number("auth_database_connections{state=\"idle\"}") >= 1);
    assert_eq!(number("auth_database_connections_limit"), 16);
    assert!(!server.text.contains("a1B2c3") && !server.text.contains("hunter2"));
}

#[tokio::test]
async fn leader_backlog_and_housekeeping_are_measured() {
    let programs = Programs::start().await;
    let sum = |sample: &str| -> u64 {
        programs.scrape().iter().map(|metrics| metrics.value::<u64>(sample)).sum()
    };
    eventually(async || {
        let done = sum("auth_housekeeping_last_success_timestamp_seconds");
        (sum("auth_relay_leader") == 1 && done > 1_700_000_000).then_some(())
    })
    .await;
    let mut database = connect(&programs.database_url).await;
    sqlx::raw_sql("insert into outbox (kind, entity_id, data) values ('Nonsense', 'x', '{}')")
        .execute(&mut database)
        .await
        .expect("inserted");
    eventually(async || (sum("auth_outbox_set_aside") == 2).then_some(())).await;
    sqlx::raw_sql("alter table outbox rename to gone").execute(&mut database).await.expect("done");
    eventually(async || (sum("auth_housekeeping_failures_total") > 0).then_some(())).await;
}

#[tokio::test]
async fn a_large_backlog_is_estimated_and_never_too_low() {
    let service = Service::start().await;
    let mut database = service.database().await;
    sqlx::raw_sql(
        "insert into outbox (kind, entity_id, data) \
         select 'UserDeleted', 'x', '{}' from generate_series(1, 12000)",
    )
    .execute(&mut database)
    .await
    .expect("inserted");
    let publish = "update outbox set published_at = now(), stream_seq = 1 where id in \
                   (select id from outbox where published_at is null order by id desc \
                    offset 1 limit $1)";
    let mut sidecar = service.database_as_sidecar().await;
    for (published, waiting) in [(0, 12_000), (1500, 12_000), (500, 10_000), (1, 9_999)] {
        sqlx::query(publish).bind(published).execute(&mut database).await.expect("marked");
        let depth = outbox::depth(&mut sidecar).await.expect("measured");
        assert_eq!((depth.backlog, depth.set_aside), (waiting, 0));
    }
}

/// The configuration as this machine's nats-server takes it, with a directory of its own.
fn nats_configuration() -> String {
    let program = xtask::install::find("nats-server").expect("a nats-server");
    let version = xtask::process::output(Command::new(program).arg("--version")).expect("asked");
    let numbers: Vec<u32> = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let syncs = numbers.as_slice() >= &[2, 10][..];
    let without = |text: &str, line: &str| {
        assert!(text.contains(line), "{text}");
        text.replace(line, "")
    };
    let mut text = without(NATS_CONFIGURATION, "    store_dir: \"/var/lib/nats\"\n");
    let durable = "    sync_interval: always\n";
    assert!(text.contains(durable), "{text}");
    if !syncs {
        text = without(&text, durable);
    }
    text.replace("$AUTH_NATS_PASSWORD", &format!("\"{PASSWORD}\""))
}

#[tokio::test]
async fn the_user_of_the_nats_configuration_may_do_what_the_relay_does_and_nothing_else() {
    let (service, directory) = (Service::start().await, temporary_directory());
    let home = Home::new(directory.path()).expect("a home");
    let mut nats = Nats::start_with(&home, None, &nats_configuration()).expect("a nats-server");
    let mut url = url::Url::parse(&nats.url()).expect("a URL");
    url.set_username("auth_sidecar").expect("a user");
    url.set_password(Some(PASSWORD)).expect("a password");
    let (_sidecar, _) =
        sidecar_process(directory.path(), "permitted", &service.database_url, url.as_str());
    service.login_admin().await;
    eventually(async || {
        (service.count("outbox where published_at is not null").await == 1).then_some(())
    })
    .await;

    let options = async_nats::ConnectOptions::with_user_and_password(
        "auth_sidecar".to_owned(),
        PASSWORD.to_owned(),
    );
    let client = options.connect(nats.url()).await.expect("let in");
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream("AUTH").await.expect("the stream");
    let first = stream.get_raw_message(1).await.expect("the event");
    stream.get_last_raw_message_by_subject(&first.subject).await.expect("the same");
    // As `auth-sidecar reconcile` reads it.
    let ordered = OrderedConfig { headers_only: true, ..OrderedConfig::default() };
    let consumer = stream.create_consumer(ordered).await.expect("a consumer");
    let name = consumer.cached_info().name.clone();
    let next = consumer.messages().await.expect("messages").next().await;
    assert_eq!(next.expect("one").expect("read").subject, first.subject);
    stream.delete_consumer(&name).await.expect("deleted");
    let log = nats.server().log();
    assert!(!log.contains("Violation"), "{log}");

    client.publish("other", "x".into()).await.expect("sent");
    client.publish("$JS.API.STREAM.DELETE.AUTH", "".into()).await.expect("sent");
    client.publish("$JS.API.STREAM.PURGE.AUTH", "".into()).await.expect("sent");
    client.publish("$JS.API.STREAM.CREATE.OTHER", "{}".into()).await.expect("sent");
    client.publish("$JS.API.CONSUMER.CREATE.OTHER.x", "{}".into()).await.expect("sent");
    client.flush().await.expect("flushed");
    let refused = |log: &str| log.matches("Publish Violation").count();
    eventually(async || (refused(&nats.server().log()) == 5).then_some(())).await;
    assert_eq!(stream.get_raw_message(1).await.expect("still there").sequence, 1);
}
