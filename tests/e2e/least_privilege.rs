//! What the roles of the component and of the sidecar can't do, and all that they can.
//! That the service works with them is shown by every other test.

use edd_auth_sidecar::{migrate, roles as database_roles};
use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask::artifacts::Artifacts;
use xtask::process::{Server, answers_ok, free_port};
use xtask::services::{Durability, Home, Postgres};

use crate::harness::{
    ADMIN, ADMIN_PASSWORD, OwnNats, PATIENCE, as_role, connect, empty_database, eventually,
    log_file, new_database, roles, sidecar_process, temporary_directory,
};
use crate::processes::{run, with_environment};

const INSUFFICIENT_PRIVILEGE: &str = "42501";
const INVALID_PASSWORD: &str = "28P01";

/// Everything that a role was granted, a line for each object and kind.
const GRANTED_TO: &str = "\
    with role as (select $1::regrole as id) \
    select format('%s: %s', relname, lower(privilege_type)) \
    from role, pg_class, aclexplode(relacl) where grantee = id \
    union all \
    select format('%s: %s (%s)', relname, lower(privilege_type), \
                  string_agg(attname, ', ' order by attname)) \
    from role, pg_attribute join pg_class on pg_class.oid = attrelid, aclexplode(attacl) \
    where grantee = id group by relname, privilege_type \
    union all \
    select format('%s: %s', pg_proc.oid::regprocedure, lower(privilege_type)) \
    from role, pg_proc, aclexplode(proacl) where grantee = id \
    union all \
    select format('schema %s: %s', nspname, lower(privilege_type)) \
    from role, pg_namespace, aclexplode(nspacl) where grantee = id \
    union all \
    select format('the database: %s', lower(privilege_type)) \
    from role, pg_database, aclexplode(datacl) \
    where grantee = id and datname = current_database() \
    union all \
    select format('%s: member', roleid::regrole) from role, pg_auth_members where member = id";

/// What everybody may do with what the service has made.
const PUBLIC: &str = "\
    select format('%s: %s', relname, lower(privilege_type)) \
    from pg_class, aclexplode(relacl) where grantee = 0 and relnamespace = 'public'::regnamespace \
    union all \
    select format('%s.%s: %s', relname, attname, lower(privilege_type)) \
    from pg_attribute join pg_class on pg_class.oid = attrelid, aclexplode(attacl) \
    where grantee = 0 and relnamespace = 'public'::regnamespace \
    union all \
    select format('%s: %s', pg_proc.oid::regprocedure, lower(privilege_type)) \
    from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) \
    where grantee = 0 and pronamespace = 'public'::regnamespace \
      and not exists (select from pg_depend \
                      where classid = 'pg_proc'::regclass and objid = pg_proc.oid \
                        and deptype = 'e') \
    union all \
    select format('schema public: %s', lower(privilege_type)) \
    from pg_namespace, aclexplode(nspacl) where grantee = 0 and nspname = 'public' \
    union all \
    select format('the database: %s', lower(privilege_type)) \
    from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) \
    where grantee = 0 and datname = current_database()";

const COMPONENT: &[&str] = &[
    "_sqlx_migrations: select (success, version)",
    "another_admin_exists(integer,text): execute",
    "api_token_json(api_tokens): execute",
    "api_tokens: delete",
    "api_tokens: insert (expires_at, id, name, service_account_id, sha256)",
    "api_tokens: select",
    "api_tokens: update (last_used_at)",
    "audit_entry(text,text,text,text,text): execute",
    "audit_log: insert (action, actor, ip_address, outcome, reason, request_id, resource, \
     user_agent)",
    "audit_log: select",
    "audit_log_id_seq: usage",
    "count_service_accounts(integer): execute",
    "count_tokens(text): execute",
    "delete_service_accounts(integer): execute",
    "end_other_sessions(integer,text,text): execute",
    "end_sessions(integer,text): execute",
    "identity_event(service_accounts,text): execute",
    "known_networks: insert (network, user_id)",
    "known_networks: select (last_login_at, network, user_id)",
    "known_networks: update (last_login_at)",
    "lock_canonical_username(text): execute",
    "login_attempt(text,text,boolean): execute",
    "login_succeeded(text,text): execute",
    "login_throttle: delete",
    "login_throttle: insert (key)",
    "login_throttle: select",
    "login_throttle: update (failures, last_at, refused_at, since)",
    "login_throttle_key(text,text): execute",
    "outbox: insert (data, entity_id, kind)",
    "outbox: select (published_at, stream_seq)",
    "outbox_id_seq: usage",
    "rfc3339(timestamp with time zone): execute",
    "schema public: usage",
    "search_users(text,integer,bigint): execute",
    "service_account_json(service_accounts): execute",
    "service_accounts: delete",
    "service_accounts: insert (id, name, owner_id, scopes)",
    "service_accounts: select",
    "service_accounts: update (scopes, updated_at, version)",
    "sessions: delete",
    "sessions: insert (expires_at, id, ip_address, user_agent, user_id)",
    "sessions: select",
    "sessions: update (user_agent)",
    "stand_in(text): execute",
    "the database: connect",
    "user_event(users): execute",
    "user_profile(users,text): execute",
    "users: delete",
    "users: insert (canonical_username, display_name, password_hash, public_id, username)",
    "users: select",
    "users: update (canonical_username, disabled, display_name, is_admin, password_hash, updated_at, \
     username, version)",
    "users_id_seq: usage",
    "version_matches(bigint,text): execute",
];

const SIDECAR: &[&str] = &[
    "_sqlx_migrations: select (checksum, success, version)",
    "api_tokens: delete",
    "api_tokens: select (expires_at, id)",
    "api_tokens: update (last_used_at)",
    "audit_entry(text,text,text,text,text): execute",
    "audit_log: delete",
    "audit_log: insert (action, actor, ip_address, outcome, reason, request_id, resource, \
     user_agent)",
    "audit_log: select (action, actor, id, ip_address, occurred_at, outcome, pushed_at, reason, \
     request_id, resource, user_agent)",
    "audit_log: update (pushed_at)",
    "audit_log_id_seq: usage",
    "known_networks: delete",
    "known_networks: select (last_login_at, network, user_id)",
    "known_networks: update (last_login_at)",
    "lock_canonical_username(text): execute",
    "login_throttle: delete",
    "login_throttle: select (key, last_at)",
    "login_throttle: update (refused_at)",
    "outbox: delete",
    "outbox: insert (data, entity_id, kind)",
    "outbox: select (attempts, data, entity_id, event_id, id, kind, last_error, occurred_at, \
     published_at, set_aside_at, stream_seq)",
    "outbox: update (attempts, last_error, published_at, set_aside_at, stream_seq)",
    "outbox_id_seq: usage",
    "rfc3339(timestamp with time zone): execute",
    "schema public: usage",
    "sessions: delete",
    "sessions: select (expires_at, id, user_id)",
    "sessions: update (user_agent)",
    "the database: connect",
    "user_event(users): execute",
    "user_profile(users,text): execute",
    "users: insert (canonical_username, display_name, password_hash, public_id, username)",
    "users: select",
    "users: update (canonical_username)",
    "users_id_seq: usage",
];

/// One at a time: roles are the server's, the lock of `prepare` is one database's, and
/// PostgreSQL refuses one of two that change a role at once.
async fn grant(owner: &mut PgConnection) {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    database_roles::prepare(owner, roles()).await.expect("granted");
}

/// A database whose own rights are set, too: those do not come with the template.
/// Returns the URL of its owner.
async fn database() -> String {
    let url = new_database().await;
    grant(&mut connect(&url).await).await;
    url
}

async fn granted_to(connection: &mut PgConnection, role: &str) -> Vec<String> {
    let mut lines: Vec<String> = sqlx::query_scalar(GRANTED_TO)
        .bind(role)
        .fetch_all(connection)
        .await
        .expect("the catalogue");
    lines.sort();
    lines
}

async fn granted_to_public(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(PUBLIC).fetch_all(connection).await.expect("the catalogue")
}

#[tokio::test]
async fn each_role_has_these_rights_and_no_others() {
    let mut owner = connect(&database().await).await;
    assert_eq!(granted_to(&mut owner, roles().app()).await, COMPONENT);
    assert_eq!(granted_to(&mut owner, roles().sidecar()).await, SIDECAR);
    let public = granted_to_public(&mut owner).await;
    assert_eq!(public, ["schema public: usage", "the database: connect"]);
}

#[tokio::test]
async fn rights_that_are_too_many_are_taken_back() {
    let url = database().await;
    let mut owner = connect(&url).await;
    let (app, sidecar) = (roles().app(), roles().sidecar());
    sqlx::raw_sql(AssertSqlSafe(format!(
        "grant all on all tables in schema public to {app}, {sidecar}; \
         grant update (actor) on audit_log to {app}; \
         grant all on all sequences in schema public to {app}; \
         grant all on all functions in schema public to public; \
         grant all on schema public to public, {app}; \
         grant all on database {} to public, {sidecar}; \
         grant select on outbox to public; \
         grant select (password_hash) on users to public",
        url.rsplit('/').next().expect("a name")
    )))
    .execute(&mut owner)
    .await
    .expect("granted");
    grant(&mut owner).await;
    assert_eq!(granted_to(&mut owner, app).await, COMPONENT);
    assert_eq!(granted_to(&mut owner, sidecar).await, SIDECAR);
    let public = granted_to_public(&mut owner).await;
    assert_eq!(public, ["schema public: usage", "the database: connect"]);
}

/// Tries each statement as a role, and wants it refused for want of a right.
async fn assert_refused(url: &str, role: &str, statements: &[&'static str]) {
    let mut connection = connect(&as_role(url, role)).await;
    let current: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&mut connection)
        .await
        .expect("a connection");
    assert_eq!(current, role);
    for statement in statements {
        let error = sqlx::raw_sql(*statement).execute(&mut connection).await.expect_err(statement);
        let error = error.as_database_error().expect(statement);
        assert_eq!(error.code().as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}: {error}");
    }
}

/// What neither role may.
const ATTACKS_ON_ALL: &[&str] = &[
    "create table loot ()",
    "create temporary table loot ()",
    "create schema loot",
    "create function loot() returns integer language sql return 1",
    "create type loot as (id integer)",
    "create view loot as select 1",
    "create index on users (password_hash)",
    "create trigger loot after insert on users for each row execute function outbox_notify()",
    "create role loot superuser",
    "create database loot",
    "truncate users",
    "truncate outbox, audit_log",
    "alter table users add column loot text",
    "alter table audit_log disable trigger all",
    "alter table sessions drop constraint sessions_user_id_fkey",
    "alter table users owner to current_user",
    "alter function rfc3339(timestamptz) security definer",
    "alter role current_user superuser",
    "alter role current_user createrole",
    "alter system set log_statement = 'all'",
    "drop table users",
    "drop table audit_log",
    "drop function lock_username",
    "drop trigger outbox_notify on outbox",
    "comment on table users is 'loot'",
    // Two statements at once are a transaction.
    "select; lock table _sqlx_migrations in access exclusive mode",
    "update audit_log set actor = 'somebody else'",
    "update audit_log set occurred_at = now()",
    "insert into audit_log (action, outcome, occurred_at) values ('login', 'success', '-infinity')",
    "insert into audit_log (action, outcome, pushed_at) values ('login', 'success', now())",
    "update outbox set data = '{}'",
    "update outbox set kind = 'UserDeleted'",
    "insert into outbox (id, kind, entity_id, data) values (0, 'UserDeleted', 'x', '{}')",
    "update users set id = 1",
    "update users set public_id = 'AAAAAA'",
    "update users set created_at = now()",
    "insert into users (public_id, username, password_hash, is_admin) \
     values ('AAAAAA', 'loot', 'x', true)",
    "update sessions set user_id = 1",
    "update sessions set expires_at = 'infinity'",
    "update service_accounts set owner_id = 1",
    "update api_tokens set sha256 = '\\x00'",
    "update api_tokens set expires_at = null",
    "update known_networks set network = '192.0.2.7'",
    "select setval('users_id_seq', 1)",
    "select setval('audit_log_id_seq', 1)",
    "select installed_on from _sqlx_migrations",
    "select execution_time from _sqlx_migrations",
    "delete from _sqlx_migrations",
    "update _sqlx_migrations set success = false",
    "insert into _sqlx_migrations values (99, 'loot', now(), true, '', 0)",
    "copy users to program 'id'",
    "copy users from program 'id'",
    "copy users to '/tmp/loot'",
    "copy users from '/etc/passwd'",
    "copy outbox from stdin",
    "copy _sqlx_migrations to stdout",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select lo_import('/etc/passwd')",
    "select * from pg_authid",
    "select * from pg_shadow",
    "select pg_reload_conf()",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user",
    "set session_replication_role = replica",
];

#[tokio::test]
async fn the_component_s_role_is_refused_what_the_component_never_does() {
    let url = database().await;
    let mut attacks = ATTACKS_ON_ALL.to_vec();
    attacks.extend([
        "select last_error from outbox",
        "select data from outbox",
        "select * from outbox",
        "copy outbox to stdout",
        "update outbox set published_at = now(), stream_seq = 1",
        "update outbox set last_error = null",
        "delete from outbox",
        "delete from audit_log",
        "delete from audit_log where actor is null",
        "update audit_log set pushed_at = now()",
        "delete from known_networks",
        "select; lock table audit_log in access exclusive mode",
        "select checksum from _sqlx_migrations",
        "select user_json(users, 'admin') from users",
    ]);
    assert_refused(&url, roles().app(), &attacks).await;
    refuse_other_roles(&url, roles().app(), roles().sidecar()).await;
}

#[tokio::test]
async fn the_sidecar_s_role_is_refused_what_the_sidecar_never_does() {
    let url = database().await;
    let mut attacks = ATTACKS_ON_ALL.to_vec();
    attacks.extend([
        "update users set password_hash = 'x'",
        "update users set is_admin = true",
        "delete from users",
        "insert into sessions (id, user_id, expires_at) values ('x', 1, 'infinity')",
        "select ip_address from sessions",
        "select * from service_accounts",
        "update service_accounts set scopes = '{}'",
        "insert into service_accounts (id, owner_id, name, scopes) \
         values ('SSSSSSSSSSSS', 1, 'x', '{}')",
        "delete from service_accounts",
        "select sha256 from api_tokens",
        "insert into api_tokens (id, service_account_id, name, sha256) \
         values ('TTTTTTTTTTTT', 'SSSSSSSSSSSS', 'x', '\\x00')",
        "insert into known_networks (user_id, network) values (1, '192.0.2.7')",
        "select failures from login_throttle",
        "update login_throttle set failures = 0",
        "select end_sessions(1, 'revoked')",
        "select login_succeeded('admin', '192.0.2.7')",
    ]);
    assert_refused(&url, roles().sidecar(), &attacks).await;
    refuse_other_roles(&url, roles().sidecar(), roles().app()).await;
}

/// Tries to become the owner or the other role, and to change their passwords.
async fn refuse_other_roles(url: &str, role: &str, other: &str) {
    let owner = url::Url::parse(url).expect("a URL").username().to_owned();
    let mut connection = connect(&as_role(url, role)).await;
    for victim in [owner.as_str(), other] {
        for statement in [
            format!("set role {victim}"),
            format!("set session authorization {victim}"),
            format!("alter role {victim} password 'loot'"),
            format!("grant {victim} to {role}"),
        ] {
            let error = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut connection)
                .await
                .expect_err(&statement);
            let code = error.as_database_error().expect("refused by the server").code();
            assert_eq!(code.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}: {error}");
        }
    }
}

#[tokio::test]
async fn a_sidecar_that_may_not_migrate_says_so_and_goes_on_once_the_owner_has() {
    let url = empty_database().await;
    let nats = OwnNats::start();
    let directory = temporary_directory();
    let (sidecar, ops) = sidecar_process(directory.path(), "one", &url, &nats.url());
    let complaint = "run `auth-sidecar migrate` as the owner of the database";
    eventually(async || sidecar.log().contains(complaint).then_some(())).await;
    assert!(!answers_ok(&ops, "/readyz"));
    let mut owner = connect(&url).await;
    migrate::apply(&mut owner).await.expect("migrated");
    grant(&mut owner).await;
    eventually(async || answers_ok(&ops, "/readyz").then_some(())).await;
    // The default user was created, and announced, with the sidecar's role.
    let messages = nats.messages(1).await;
    assert!(messages[0].subject.ends_with(".created"), "{messages:?}");
}

/// A server of the test's own, with a database whose owner is no superuser.
struct OwnCluster {
    postgres: Postgres,
    home: Home,
    _directory: TempDir,
}

impl OwnCluster {
    fn start() -> Self {
        let directory = temporary_directory();
        let home = Home::new(directory.path()).expect("a home");
        let postgres = Postgres::start(&home, Durability::None).expect("started");
        let cluster = Self { postgres, home, _directory: directory };
        cluster.psql("create role deployer login createrole password 'deployers'");
        cluster.psql("create database cloud owner deployer");
        cluster
    }

    fn psql(&self, script: &str) -> String {
        self.postgres.psql("postgres", script).expect("executed")
    }

    /// Everything that PostgreSQL has logged.
    fn log(&self) -> String {
        std::fs::read_to_string(self.home.directory().join("postgres.log")).expect("a log")
    }

    fn url(&self, role: &str, password: &str) -> String {
        let mut url = url::Url::parse(&self.postgres.url_of("cloud")).expect("a URL");
        url.set_username(role).expect("a URL with a host");
        url.set_password(Some(password)).expect("a URL with a host");
        url.to_string()
    }

    /// `auth-sidecar migrate --app-role`: status, standard output and standard error.
    fn migrate(
        &self,
        owner: &str,
        app_role: &str,
        change: &[(&str, &str)],
    ) -> (Option<i32>, String, String) {
        let sidecar = Artifacts::paths().sidecar;
        let url = self.url(owner, "deployers");
        let output = run(&sidecar, &["migrate", "--app-role", app_role], &url, change);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

const APP_PASSWORD: &str = "app hunter2 höchst geheim";
const SIDECAR_PASSWORD: &str = "sidecar hunter2";

#[tokio::test]
async fn migrate_makes_the_roles_and_no_password_gets_to_the_server() {
    let cluster = OwnCluster::start();
    cluster.psql("alter system set log_statement = 'all'");
    cluster.psql("select pg_reload_conf()");
    let passwords =
        [("APP_ROLE_PASSWORD", APP_PASSWORD), ("SIDECAR_ROLE_PASSWORD", SIDECAR_PASSWORD)];
    let (status, first, error) = cluster.migrate("deployer", "auth_app", &[]);
    assert_eq!(status, Some(0), "{error}");
    assert!(first.contains("role auth_app: created, without a password; set one"), "{first}");
    assert!(first.contains("role auth_app_sidecar: created, without a password"), "{first}");
    // No warning of a right that could not be taken.
    assert_eq!(error, "");
    let app = cluster.url("auth_app", APP_PASSWORD);
    assert_eq!(refusal(&app).await.as_deref(), Some(INVALID_PASSWORD));

    let (status, second, error) = cluster.migrate("deployer", "auth_app", &passwords);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert!(second.contains("role auth_app: granted anew, with the password of APP_"), "{second}");
    let (_, third, _) = cluster.migrate("deployer", "auth_app", &[]);
    assert!(third.contains("role auth_app: granted anew, its password left as it was"), "{third}");
    for (role, password, rights) in
        [("auth_app", APP_PASSWORD, COMPONENT), ("auth_app_sidecar", SIDECAR_PASSWORD, SIDECAR)]
    {
        // The server's pg_hba.conf lets SCRAM in, and nothing else.
        let mut connection = connect(&cluster.url(role, password)).await;
        assert_eq!(granted_to(&mut connection, role).await, rights);
        let wrong = refusal(&cluster.url(role, "another")).await;
        assert_eq!(wrong.as_deref(), Some(INVALID_PASSWORD));
    }
    let kept =
        cluster.psql("select rolname, rolpassword from pg_authid where rolname like 'auth_%'");
    assert_eq!(kept.matches("|SCRAM-SHA-256$4096:").count(), 2, "{kept}");
    let log = cluster.log();
    assert!(log.contains("alter role \"auth_app\" login password 'SCRAM-SHA-256$"));
    assert!(!log.contains("hunter2"), "a password was logged");
    assert!(!format!("{first}{second}{third}").contains("hunter2"));
}

/// The SQLSTATE with which a connection is refused.
async fn refusal(url: &str) -> Option<String> {
    let options: PgConnectOptions = url.parse().expect("a URL");
    let error = options.connect().await.err()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test]
async fn the_server_works_with_both_roles_and_without_the_owner() {
    let cluster = OwnCluster::start();
    let nats = OwnNats::start();
    let passwords = [("APP_ROLE_PASSWORD", "app"), ("SIDECAR_ROLE_PASSWORD", "sidecar")];
    let (status, _, error) = cluster.migrate("deployer", "auth_app", &passwords);
    assert_eq!(status, Some(0), "{error}");
    let directory = temporary_directory();
    let address = format!("127.0.0.1:{}", free_port().expect("a port"));
    let ops = format!("127.0.0.1:{}", free_port().expect("a port"));
    let sidecar_url = cluster.url("auth_app_sidecar", "sidecar");
    let mut command = std::process::Command::new(Artifacts::paths().server);
    with_environment(
        &mut command,
        &sidecar_url,
        &[
            ("APP_DATABASE_URL", &cluster.url("auth_app", "app")),
            ("NATS_URL", &nats.url()),
            ("ADDR", &address),
            ("OPS_ADDR", &ops),
        ],
    );
    let log = log_file(directory.path(), "server");
    let mut server =
        Server::start("auth-server", &mut command, &log, Signal::SIGTERM).expect("started");
    server
        .wait_until(PATIENCE, || answers_ok(&address, "/readyz") && answers_ok(&ops, "/readyz"))
        .expect("ready");
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD}).to_string();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The default user's and the session's.
    assert_eq!(nats.messages(2).await.len(), 2);
    let users = cluster.psql(
        "select distinct usename from pg_stat_activity where datname = 'cloud' order by usename",
    );
    assert_eq!(users, "auth_app\nauth_app_sidecar\n");
    let status = run(&Artifacts::paths().sidecar, &["status"], &sidecar_url, &[]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("leader:    auth-server (PostgreSQL process "), "{status}");
}

#[tokio::test]
async fn names_that_can_not_be_the_roles_are_refused() {
    let cluster = OwnCluster::start();
    cluster.psql(
        "create role admins nologin; create role insider login in role admins; \
         create role maker login createdb; create role tool_sidecar login superuser; \
         create role owner_of_more",
    );
    cluster.psql("create database more owner owner_of_more");
    for (name, reason) in [
        ("Auth", "is not a name for a role"),
        ("auth app", "is not a name for a role"),
        ("x\"; create role loot superuser; --", "is not a name for a role"),
        ("pg_monitor", "is not a name for a role"),
        ("deployer", "names the role deployer, which owns"),
        ("owner_of_more", "which owns a database"),
        ("insider", "which is a member of another role"),
        ("maker", "which has attributes such as SUPERUSER"),
        ("tool", "names the role tool_sidecar, which has attributes"),
    ] {
        let (status, _, error) = cluster.migrate("deployer", name, &[]);
        assert_eq!(status, Some(2), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("auth-sidecar: --app-role "), "{error}");
        assert!(error.contains(reason), "{name}: {error}");
    }
    // All or nothing: the first of the two roles was not left behind.
    assert_eq!(cluster.psql("select count(*) from pg_roles where rolname = 'tool'"), "0\n");

    // Who does not own the database can't take from everybody what everybody may.
    cluster.psql("create role guest login createrole password 'deployers'");
    cluster.psql("alter database cloud owner to auth");
    cluster.psql("grant create on database cloud to guest");
    cluster.psql("grant deployer to guest");
    let (status, _, error) = cluster.migrate("guest", "auth_app", &[]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("run this as the owner of the database"), "{error}");
    assert_eq!(cluster.psql("select count(*) from pg_roles where rolname = 'auth_app'"), "0\n");
}
