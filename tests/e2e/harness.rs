//! A service of its own for each test: own database, own port.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, consumer};
use edd_auth_rules::password::Password;
use edd_auth_rules::text::Username;
use edd_auth_server::component;
use edd_auth_server::host::{self, Shared};
use edd_auth_server::http::{Limits, Server};
use edd_auth_server::manifest::Environment;
use edd_auth_sidecar::config::DefaultUser;
use edd_auth_sidecar::roles::{self, Roles};
use edd_auth_sidecar::{default_user, migrate};
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Component;
use xtask::artifacts::Artifacts;
use xtask::process::answers_ok;
use xtask::services::{Home, Nats};

use crate::{contract, secrets};

pub(crate) use xtask::secrets::{ADMIN_PASSWORD, JWT_SECRET, PASSWORD, SERVICE_API_KEY};

pub(crate) const ADMIN: &str = "admin";

/// How long anything that has to happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the host of a test takes on.
pub(crate) const LIMITS: Limits = Limits {
    instances: 16,
    hashes: 16,
    queue: Duration::from_secs(1),
    connections: 4096,
    body: Duration::from_secs(10),
    answer: Duration::from_secs(30),
};

const TEMPLATE: &str = "e2e_template";

/// The password of the component's role and of the sidecar's.
const ROLE_PASSWORD: &str = "the password of the tests' roles";

/// A service that listens on a port of its own and has a database of its own, which
/// it uses as the component's role.
pub(crate) struct Service {
    pub(crate) address: String,
    /// The owner's, for what a test does there itself.
    pub(crate) database_url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The Spin that serves it, where that is asked for.
    _spin: Option<xtask::process::Server>,
}

impl Service {
    /// With the schema, the default user, and no relay.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with other values for some variables of `spin.toml`.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::on_database(&new_database().await, variables).await
    }

    /// The same, which takes on less.
    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::serve(&new_database().await, &[], limits).await
    }

    /// On a database that is there already, or is not. The URL is the owner's; the
    /// component's role is used where it exists, on the server of the tests.
    pub(crate) async fn on_database(database_url: &str, variables: &[(&str, &str)]) -> Self {
        Self::serve(database_url, variables, LIMITS).await
    }

    async fn serve(database_url: &str, variables: &[(&str, &str)], limits: Limits) -> Self {
        if let Some(spin) = std::env::var_os(xtask::test::SPIN) {
            return Self::serve_with_spin(&spin, database_url, variables);
        }
        secrets::watch_log();
        let environment = environment(database_url, variables);
        let shared = Shared::new(environment, 4).expect("a host");
        let component = host::link(component()).expect("a component that links");
        let server = Arc::new(Server::new(component, shared, limits));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(server.serve(listener, CancellationToken::new()));
        Self::at(address, database_url)
    }

    /// The same in a Spin, which has no limits to be set (`cargo xtask spin`).
    fn serve_with_spin(spin: &OsStr, database_url: &str, values: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", xtask::process::free_port().expect("a port"));
        let mut command = std::process::Command::new(spin);
        command.args(["up", "--listen", &address]).current_dir(xtask::root());
        for (name, value) in self::variables(database_url, values) {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        let directory = temporary_directory();
        let log = log_file(directory.path(), "spin");
        let server = xtask::process::Server::start("spin", &mut command, &log, Signal::SIGTERM);
        let mut server = server.expect("a Spin");
        // It compiles the component, the first time.
        let patience = Duration::from_mins(5);
        server.wait_until(patience, || answers_ok(&address, "/healthz")).expect("ready");
        Self { _spin: Some(server), ..Self::at(address, database_url) }
    }

    /// One that runs as a process of its own. The URL is the owner's.
    pub(crate) fn at(address: String, database_url: &str) -> Self {
        Self {
            address,
            database_url: database_url.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            _spin: None,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Request<'_> {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request<'_> {
        self.request("POST", path)
    }

    pub(crate) fn patch(&self, path: &str) -> Request<'_> {
        self.request("PATCH", path)
    }

    pub(crate) fn put(&self, path: &str) -> Request<'_> {
        self.request("PUT", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request<'_> {
        self.request("DELETE", path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request<'_> {
        Request {
            service: self,
            builder: hyper::Request::builder()
                .method(method)
                .uri(format!("http://{}{path}", self.address)),
            body: Bytes::new(),
        }
    }

    /// Logs in and returns the token.
    pub(crate) async fn login(&self, username: &str, password: &str) -> String {
        let reply = self
            .post("/login")
            .json(&json!({"username": username, "password": password}))
            .send()
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["token"].as_str().expect("a token").to_owned()
    }

    pub(crate) async fn login_admin(&self) -> String {
        self.login(ADMIN, ADMIN_PASSWORD).await
    }

    /// Creates a user with the password of the tests and returns it.
    pub(crate) async fn create_user(&self, admin: &str, username: &str) -> Value {
        let reply = self
            .post("/admin/users")
            .bearer(admin)
            .json(&json!({"username": username, "password": PASSWORD}))
            .send()
            .await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body
    }

    /// Creates a user called ada, who logs in. Returns her and her session's token.
    pub(crate) async fn ada(&self) -> (Value, String) {
        let admin = self.login_admin().await;
        let ada = self.create_user(&admin, "ada").await;
        (ada, self.login("ada", PASSWORD).await)
    }

    /// Creates a service account of the user whose token it is, with one scope.
    pub(crate) async fn create_service_account(&self, token: &str) -> Value {
        let me = self.get("/me").bearer(token).send().await.body;
        let scope = format!("sfs.{}.files", me["public_id"].as_str().expect("an id"));
        let body = json!({"name": "ci", "scopes": {scope: ["read", "write"]}});
        let reply = self.post("/service-accounts").bearer(token).json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body
    }

    /// Creates a token of a service account, which never expires.
    pub(crate) async fn create_token(&self, token: &str, service_account: &Value) -> Value {
        let id = service_account["service_account_id"].as_str().expect("an id");
        let body = json!({"name": "laptop", "expires_in": "never"});
        let path = format!("/service-accounts/{id}/tokens");
        let reply = self.post(&path).bearer(token).json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body
    }

    pub(crate) async fn database(&self) -> PgConnection {
        connect(&self.database_url).await
    }

    /// A connection with the sidecar's role.
    pub(crate) async fn database_as_sidecar(&self) -> PgConnection {
        connect(&sidecar_url(&self.database_url)).await
    }

    /// Kind, entity and data of every outbox row, oldest first.
    pub(crate) async fn outbox(&self) -> Vec<(String, String, Value)> {
        sqlx::query("select kind, entity_id, data from outbox order by id")
            .fetch_all(&mut self.database().await)
            .await
            .expect("the outbox can be read")
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    /// The kinds of the outbox rows, oldest first.
    pub(crate) async fn outbox_kinds(&self) -> Vec<String> {
        self.outbox().await.into_iter().map(|(kind, _, _)| kind).collect()
    }

    /// Every row of the audit log about an action, oldest first.
    pub(crate) async fn audit(&self, action: &str) -> Vec<Value> {
        sqlx::query_scalar(
            "select to_jsonb(audit_log) from audit_log where action = $1 order by id",
        )
        .bind(action)
        .fetch_all(&mut self.database().await)
        .await
        .expect("the audit log can be read")
    }

    /// The newest row of the audit log about an action.
    pub(crate) async fn last_audit(&self, action: &str) -> Value {
        self.audit(action).await.pop().expect("a row of the audit log")
    }

    /// The reasons of the rows about an action, oldest first; none for a success.
    pub(crate) async fn audit_reasons(&self, action: &str) -> Vec<Option<String>> {
        let rows = self.audit(action).await;
        rows.iter().map(|row| row["reason"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until so many statements on this service's database wait for a lock.
    pub(crate) async fn until_blocked(&self, statements: i64) {
        let mut observer = self.database().await;
        eventually(async || {
            let blocked: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity \
                 where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&mut observer)
            .await
            .expect("the activity");
            (blocked == statements).then_some(())
        })
        .await;
    }

    /// How many rows a condition finds.
    pub(crate) async fn count(&self, from_where: &'static str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from_where}")))
            .fetch_one(&mut self.database().await)
            .await
            .expect("a count")
    }
}

/// A request that is being made up.
pub(crate) struct Request<'a> {
    service: &'a Service,
    builder: hyper::http::request::Builder,
    body: Bytes,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.header(name, value.as_ref());
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub(crate) fn text(self, media_type: &str, body: &str) -> Self {
        self.header("content-type", media_type).body(body.as_bytes())
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// Sends it, and checks what is true of every response.
    pub(crate) async fn send(self) -> Reply {
        let request = self.builder.body(Full::new(self.body)).expect("a request");
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let sent_id = plain_request_id(request.headers());
        let response = self.service.client.request(request).await.expect("a response");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let header = |name: &str| head.headers.get(name).map(|v| v.to_str().expect("text"));
        let id = header("x-request-id").expect("X-Request-Id");
        assert!(sent_id.is_none_or(|sent| sent == id), "{id}");
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-content-type-options"), Some("nosniff"));
        let policy = Some("default-src 'none'; frame-ancestors 'none'");
        assert_eq!(header("content-security-policy"), policy);
        assert_eq!(header("referrer-policy"), Some("no-referrer"));
        assert_eq!(header("strict-transport-security"), Some("max-age=31536000"));
        assert_ne!(head.status, 500, "{}", String::from_utf8_lossy(&bytes));
        if method == hyper::Method::HEAD {
            assert!(bytes.is_empty());
            return Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: Value::Null,
            };
        }
        let body = match header("content-type") {
            Some("application/json" | "application/problem+json") => {
                serde_json::from_slice(&bytes).expect("JSON")
            }
            Some(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
            None => {
                assert!(bytes.is_empty());
                Value::Null
            }
        };
        if head.status.is_client_error() || head.status.is_server_error() {
            assert_eq!(header("content-type"), Some("application/problem+json"));
            let code = body["code"].as_str().expect("a code");
            assert_eq!(body["type"], format!("urn:problem-type:edd-cloud-auth:{code}"));
            assert_eq!(body["status"], head.status.as_u16());
            assert!(body["title"].is_string() && body["detail"].is_string());
        }
        let (status, headers) = (head.status.as_u16(), head.headers);
        // Its examples are made up.
        if uri.path() != "/openapi.json" {
            secrets::check_answer(&headers, &body);
        }
        contract::check_response(method.as_str(), uri.path(), status, &headers, &body);
        Reply { status, headers, body }
    }
}

/// The `X-Request-Id` of a request, if it is one that is echoed.
fn plain_request_id(headers: &hyper::HeaderMap) -> Option<String> {
    let mut ids = headers.get_all("x-request-id").into_iter();
    let (id, None) = (ids.next()?.to_str().ok()?, ids.next()) else {
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ((1..=128).contains(&id.len()) && id.chars().all(plain)).then(|| id.to_owned())
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// All that tells one answer from another: not the request's id, and not the time.
    pub(crate) fn appearance(&self) -> (u16, BTreeMap<&str, &str>, &Value) {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .filter(|(name, _)| !matches!(*name, "x-request-id" | "date"))
            .collect();
        (self.status, headers, &self.body)
    }

    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
    }

    #[track_caller]
    pub(crate) fn assert_field(&self, field: &str) {
        self.assert_problem(400, "invalid_field");
        assert_eq!(self.body["field"], field, "{}", self.body);
        let detail = self.body["detail"].as_str().expect("a detail");
        assert!(detail.starts_with(&format!("`{field}` ")), "{detail}");
    }
}

/// What the component gets to see: a database, with a role of its own, and values for
/// some variables. The URL is the owner's.
pub(crate) fn environment(database_url: &str, variables: &[(&str, &str)]) -> Environment {
    Environment::new(&self::variables(database_url, variables)).expect("complete variables")
}

/// The variables of `spin.toml`, some of them with other values.
fn variables(database_url: &str, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let url = url::Url::parse(database_url).expect("a URL");
    let host = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    let component_url = as_role(database_url, roles().app());
    [
        ("database_url", component_url.as_str()),
        ("database_host", &host),
        ("jwt_secret", JWT_SECRET),
        ("admin_username", ADMIN),
        ("service_api_key", SERVICE_API_KEY),
    ]
    .iter()
    .chain(variables)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect()
}

/// The built component, compiled by `cargo xtask`.
fn component() -> &'static Component {
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let engine = component::engine(LIMITS.total_instances() * 8).expect("an engine");
        component::start_ticking(&engine).expect("a thread");
        let file = Artifacts::paths().precompiled;
        let code = std::fs::read(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; run the tests with `cargo xtask test`", file.display())
        });
        component::from_precompiled(&engine, &code).expect("a component")
    })
}

pub(crate) fn server_url() -> String {
    std::env::var(xtask::test::DATABASE_URL).unwrap_or_else(|_| {
        panic!("{} is not set; run the tests with `cargo xtask test`", xtask::test::DATABASE_URL)
    })
}

/// The URL of another database of the tests' server.
fn url_of(database: &str) -> String {
    let mut url = url::Url::parse(&server_url()).expect("a URL");
    url.set_path(database);
    url.to_string()
}

/// The roles of the component and of the sidecar. Roles belong to a server and not to
/// one database of it: these are this run's own.
pub(crate) fn roles() -> &'static Roles {
    static ROLES: OnceLock<Roles> = OnceLock::new();
    ROLES.get_or_init(|| {
        let name = format!("e2e_{}", uuid::Uuid::now_v7().simple());
        let password = || Some(ROLE_PASSWORD.to_owned());
        Roles::new(&name, password(), password()).expect("a name")
    })
}

/// The URL with which a role gets to a database of the tests' server; that of any other
/// server, which doesn't know the role, stays as it is.
pub(crate) fn as_role(database_url: &str, role: &str) -> String {
    let server = url::Url::parse(&server_url()).expect("a URL");
    let url = url::Url::parse(database_url).expect("a URL");
    if (url.host(), url.port()) == (server.host(), server.port()) {
        with_role(database_url, role)
    } else {
        url.to_string()
    }
}

/// The URL with which a role gets to a database.
pub(crate) fn with_role(database_url: &str, role: &str) -> String {
    let mut url = url::Url::parse(database_url).expect("a URL");
    url.set_username(role).expect("a URL with a host");
    url.set_password(Some(ROLE_PASSWORD)).expect("a URL with a host");
    url.to_string()
}

/// The URL with which a sidecar gets to a database.
pub(crate) fn sidecar_url(database_url: &str) -> String {
    as_role(database_url, roles().sidecar())
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url).expect("a URL").connect().await.expect("a connection")
}

/// A new database with the schema and the default user. Returns the URL of its owner.
pub(crate) async fn new_database() -> String {
    make_template().await;
    create_database(Some(TEMPLATE)).await
}

/// A new database without anything in it. Returns the URL of its owner.
pub(crate) async fn empty_database() -> String {
    // With the template come the roles.
    make_template().await;
    create_database(None).await
}

/// Makes the database that others are copied from, and the roles, once in a run.
async fn make_template() {
    static TEMPLATE_MADE: OnceCell<()> = OnceCell::const_new();
    TEMPLATE_MADE
        .get_or_init(|| async {
            let mut server = connect(&server_url()).await;
            sqlx::query(AssertSqlSafe(format!("drop database if exists {TEMPLATE}")))
                .execute(&mut server)
                .await
                .expect("dropped");
            sqlx::query(AssertSqlSafe(format!("create database {TEMPLATE}")))
                .execute(&mut server)
                .await
                .expect("created");
            let mut connection = connect(&url_of(TEMPLATE)).await;
            if let Some(other) = std::env::var_os(xtask::test::MIGRATE_WITH) {
                migrate_with(Path::new(&other), &url_of(TEMPLATE));
            } else {
                migrate::apply(&mut connection).await.expect("migrated");
                roles::prepare(&mut connection, roles()).await.expect("granted");
            }
            let password = Password::presented(ADMIN_PASSWORD).expect("acceptable");
            let admin = DefaultUser { username: Username::parse(ADMIN).expect("a name"), password };
            default_user::ensure(&mut connection, &admin).await.expect("created");
            sqlx::query("delete from outbox").execute(&mut connection).await.expect("emptied");
            connection.close().await.expect("closed");
        })
        .await;
}

/// Has the `auth-sidecar` of another version make the schema, and the roles.
fn migrate_with(sidecar: &Path, database_url: &str) {
    let status = std::process::Command::new(sidecar)
        .arg("migrate")
        .env("DATABASE_URL", database_url)
        .env("APP_ROLE", roles().app())
        .env("APP_ROLE_PASSWORD", ROLE_PASSWORD)
        .env("SIDECAR_ROLE_PASSWORD", ROLE_PASSWORD)
        .status()
        .expect("it runs");
    assert!(status.success(), "{} migrate: {status}", sidecar.display());
}

/// The newest migration of a database: not always the newest that this version knows.
pub(crate) async fn newest_migration(connection: &mut PgConnection) -> i64 {
    let applied = migrate::applied(connection).await.expect("the migrations");
    *applied.last().expect("a migration")
}

async fn create_database(template: Option<&str>) -> String {
    let name = format!("e2e_{}", uuid::Uuid::now_v7().simple());
    let template = template.map_or(String::new(), |template| format!(" template {template}"));
    sqlx::query(AssertSqlSafe(format!("create database {name}{template}")))
        .execute(&mut connect(&server_url()).await)
        .await
        .expect("created");
    url_of(&name)
}

/// A copy of a database as it is now. Ends the connections that it has.
pub(crate) async fn copy_database(url: &str) -> String {
    let name = url::Url::parse(url).expect("a URL").path().trim_start_matches('/').to_owned();
    let mut server = connect(&server_url()).await;
    let copy = format!("e2e_{}", uuid::Uuid::now_v7().simple());
    eventually(async || {
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&name)
            .execute(&mut server)
            .await
            .expect("terminated");
        let statement = AssertSqlSafe(format!("create database {copy} template {name}"));
        sqlx::query(statement).execute(&mut server).await.ok()
    })
    .await;
    url_of(&copy)
}

/// A nats-server of the test's own.
pub(crate) struct OwnNats {
    directory: TempDir,
    configuration: String,
    server: Option<Nats>,
}

impl OwnNats {
    pub(crate) fn start() -> Self {
        Self::with_configuration("")
    }

    /// With more lines of its configuration file.
    pub(crate) fn with_configuration(configuration: impl Into<String>) -> Self {
        let configuration = configuration.into();
        let mut nats = Self { directory: temporary_directory(), configuration, server: None };
        nats.start_again();
        nats
    }

    pub(crate) fn url(&self) -> String {
        self.server.as_ref().expect("running").url()
    }

    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// As a crash does, without a chance to write anything.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("running");
        server.server().signal(Signal::SIGKILL).expect("killed");
        server.server().wait(PATIENCE).expect("ended");
    }

    /// On the same port, with the same streams.
    pub(crate) fn start_again(&mut self) {
        let server = Nats::start_with(&self.home(), None, &self.configuration);
        self.server = Some(server.expect("a nats-server"));
    }

    /// Cuts the end of the stream off, as a crash of the machine does that JetStream has
    /// not synced before: the last file of messages loses its second half.
    pub(crate) fn cut_off_the_end(&self) {
        let store = self.home().directory().join("nats");
        let messages = store.join("jetstream/$G/streams/AUTH/msgs");
        let mut blocks: Vec<PathBuf> = std::fs::read_dir(&messages)
            .expect("the stream's files")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "blk"))
            .collect();
        blocks.sort();
        let last = blocks.pop().expect("a block");
        let length = last.metadata().expect("a file").len();
        std::fs::File::options()
            .write(true)
            .open(&last)
            .and_then(|file| file.set_len(length / 2))
            .expect("cut off");
        // What JetStream remembers of the block is older than the messages.
        let _ = std::fs::remove_file(last.with_extension("idx"));
    }

    fn home(&self) -> Home {
        Home::new(self.directory.path()).expect("a home")
    }

    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.expect("a connection"))
    }

    /// Every message of the stream, once there are at least so many.
    pub(crate) async fn messages(&self, at_least: usize) -> Vec<Message> {
        messages(&self.jetstream().await, at_least).await
    }
}

/// Every message of the stream, once there are at least so many.
pub(crate) async fn messages(jetstream: &jetstream::Context, at_least: usize) -> Vec<Message> {
    let stream = eventually(async || jetstream.get_stream("AUTH").await.ok()).await;
    eventually(async || {
        let mut stream = stream.clone();
        let info = stream.info().await.ok()?;
        (info.state.messages >= at_least as u64).then_some(())
    })
    .await;
    let mut stream = stream.clone();
    let count = stream.info().await.expect("the stream's state").state.messages;
    let consumer: consumer::Consumer<pull::Config> = eventually(async || {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        // A cluster may have to elect a leader first.
        stream.create_consumer(config).await.ok()
    })
    .await;
    let count = usize::try_from(count).expect("fits");
    let mut delivered = consumer.messages().await.expect("messages").take(count);
    let mut messages = Vec::new();
    while let Some(message) =
        tokio::time::timeout(PATIENCE, delivered.next()).await.expect("in time")
    {
        messages.push(Message::from(message.expect("a message").message));
    }
    messages
}

/// An event as a consumer gets it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Value,
}

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Self {
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let message = Self {
            subject: message.subject.to_string(),
            headers: headers
                .map(|(name, values)| (name.to_string(), values[0].to_string()))
                .collect(),
            payload: serde_json::from_slice(&message.payload).expect("JSON"),
        };
        contract::check_event(&message);
        message
    }
}

pub(crate) fn temporary_directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).expect("permissions");
    directory
}

/// Waits for a condition, which is looked at again and again.
pub(crate) async fn eventually<T>(condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, condition).await
}

/// The same, for what takes its time.
pub(crate) async fn within<T>(
    patience: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        loop {
            interval.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    tokio::time::timeout(patience, wait).await.expect("what was waited for has happened")
}

/// The value of a metric without labels, if the process answers.
pub(crate) fn metric(ops: &str, name: &str) -> Option<i64> {
    let text = xtask::process::get(ops, "/metrics").ok()?;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Where a process of a test logs: where `cargo xtask test` searches for secrets
/// when all is over, or in the test's own directory without it.
pub(crate) fn log_file(directory: &Path, name: &str) -> PathBuf {
    let directory = std::env::var_os(xtask::test::LOGS).map_or(directory.to_owned(), PathBuf::from);
    directory.join(format!("{name}-{}.log", uuid::Uuid::now_v7()))
}

/// A sidecar as a process with the sidecar's role, logging to a file of the directory.
/// The URL is the owner's.
pub(crate) fn sidecar_process(
    directory: &Path,
    name: &str,
    database_url: &str,
    nats_url: &str,
) -> (xtask::process::Server, String) {
    let ops = format!("127.0.0.1:{}", xtask::process::free_port().expect("a port"));
    let mut command = std::process::Command::new(Artifacts::paths().sidecar);
    command
        .arg("run")
        .env("DATABASE_URL", sidecar_url(database_url))
        .env("NATS_URL", nats_url)
        .env("DEFAULT_USERNAME", ADMIN)
        .env("DEFAULT_PASSWORD", ADMIN_PASSWORD)
        .env("ADMIN_USERNAME", ADMIN)
        .env("OPS_ADDR", &ops);
    let server = xtask::process::Server::start(
        "auth-sidecar",
        &mut command,
        &log_file(directory, name),
        Signal::SIGTERM,
    )
    .expect("a sidecar");
    (server, ops)
}
