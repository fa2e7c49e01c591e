//! Every statement of the component returns one row with one jsonb column,
//! whatever happens. Spin hangs when there is no row.

use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Column, Connection, Executor, PgConnection, Row, TypeInfo};

use crate::harness::{Service, connect, new_database, roles};

/// A parameter, as `src/db.rs` has them.
enum Param {
    Text(&'static str),
    Null,
    Int4(i32),
    Int8(i64),
    Float8(f64),
    Bytes(Vec<u8>),
}
use Param::{Bytes, Float8, Int4, Int8, Null, Text};

fn arguments(params: Vec<Param>) -> PgArguments {
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Text(text) => arguments.add(text),
            Null => arguments.add(None::<String>),
            Int4(number) => arguments.add(number),
            Int8(number) => arguments.add(number),
            Float8(number) => arguments.add(number),
            Bytes(bytes) => arguments.add(bytes),
        }
        .expect("an argument");
    }
    arguments
}

/// Runs a statement as the component's role, after some preparation, and takes both
/// back. Returns its value and the reasons of the rows that it has written to the audit log.
async fn outcome(
    connection: &mut PgConnection,
    setup: &'static str,
    sql: &'static str,
    params: Vec<Param>,
) -> (Value, Vec<Option<String>>) {
    let mut transaction = connection.begin().await.expect("begun");
    sqlx::raw_sql(setup).execute(&mut *transaction).await.expect("set up");
    let before: i64 = sqlx::query_scalar("select coalesce(max(id), 0) from audit_log")
        .fetch_one(&mut *transaction)
        .await
        .expect("the audit log");
    let arguments = arguments(params);
    let role = AssertSqlSafe(format!("set local role {}", roles().app()));
    sqlx::raw_sql(role).execute(&mut *transaction).await.expect("the component's role");
    let rows = transaction.fetch_all(sqlx::query_with(sql, arguments)).await.expect("executed");
    sqlx::raw_sql("reset role").execute(&mut *transaction).await.expect("the owner's role");
    assert_eq!(rows.len(), 1, "{sql}");
    assert_eq!(rows[0].columns().len(), 1, "{sql}");
    assert_eq!(rows[0].columns()[0].type_info().name(), "JSONB", "{sql}");
    let value: Option<Value> = rows[0].get(0);
    let audited = sqlx::query_scalar("select reason from audit_log where id > $1 order by id")
        .bind(before)
        .fetch_all(&mut *transaction)
        .await
        .expect("the audit log");
    transaction.rollback().await.expect("taken back");
    (value.expect("not null"), audited)
}

const ADA: &str = "insert into users (public_id, username, canonical_username, password_hash) \
                   values ('AAAAAA', 'ada', 'ada', 'hash')";
const ADA_IN_SESSION: &str = "insert into users (id, public_id, username, canonical_username, password_hash) \
    values (777, 'AAAAAA', 'ada', 'ada', 'hash'); \
    insert into sessions (id, user_id, expires_at) \
    values ('01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f', 777, now() + interval '1 hour'); \
    insert into service_accounts (id, owner_id, name, scopes) \
    values ('SSSSSSSSSSSS', 777, 'ci', '{\"sfs.AAAAAA\": [\"read\"]}'); \
    insert into api_tokens (id, service_account_id, name, sha256) \
    values ('TTTTTTTTTTTT', 'SSSSSSSSSSSS', 'laptop', decode(repeat('ab', 32), 'hex'))";
/// Ada is the one administrator left.
const ONLY_ADA: &str = "update users set disabled = true; \
    insert into users (public_id, username, password_hash, is_admin) \
    values ('AAAAAA', 'ada', 'hash', true)";
/// Nobody may try Ada's password from this network.
const THROTTLED: &str = "insert into login_throttle (key, failures) \
    values (login_throttle_key('pair', 'ada 192.0.2.7'), 5); \
    insert into users (id, public_id, username, canonical_username, password_hash) \
    values (777, 'AAAAAA', 'ada', 'ada', 'hash'); \
    insert into sessions (id, user_id, expires_at) \
    values ('01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f', 777, now() + interval '1 hour')";
const LOGIN_OPEN: &str = include_str!("../../src/session/login_open.sql");
const PASSWORD_CHANGE: &str = include_str!("../../src/account/password_change.sql");
const NETWORK: &str = "192.0.2.7";
const SESSION: &str = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f";
const NEW_SESSION: &str = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e00";
const ACCOUNT: &str = "SSSSSSSSSSSS";
const TOKEN: &str = "TTTTTTTTTTTT";
const FACTS: &str = r#"{"ip_address":"192.0.2.7","request_id":"r","user_agent":null}"#;

/// Preparation, statement, parameters, and the outcome they have to have.
type Case = (&'static str, &'static str, Vec<Param>, &'static str);

async fn check(cases: Vec<Case>) {
    let mut connection = connect(&new_database().await).await;
    for (setup, sql, params, expected) in cases {
        let (found, audited) = outcome(&mut connection, setup, sql, params).await;
        assert_eq!(found["outcome"], expected, "{sql}: {found}");
        assert_eq!(audited, reasons(sql, expected), "{sql}: {expected}");
    }
}

/// What a statement with this outcome has to write to the audit log: nothing when
/// it will be tried again or nobody is there who has tried anything, otherwise a
/// row, which has a reason unless it was a success.
fn reasons(sql: &str, outcome: &str) -> Vec<Option<String>> {
    if !sql.contains("insert into audit_log") {
        return Vec::new();
    }
    match outcome {
        "retry" | "live" | "not_live" | "found" | "unknown" => Vec::new(),
        "opened" | "created" | "changed" | "deleted" | "revoked" | "ended" => vec![None],
        "recorded" => vec![Some("reason".to_owned())],
        reason => vec![Some(reason.to_owned())],
    }
}

#[tokio::test]
async fn every_outcome_of_sessions_is_one_row_with_one_jsonb() {
    let find = include_str!("../../src/session/login_find.sql");
    let open = LOGIN_OPEN;
    let record = include_str!("../../src/audit/record.sql");
    let authenticate = include_str!("../../src/authenticate.sql");
    let admin = include_str!("../../src/authenticate_admin.sql");
    let token = include_str!("../../src/authenticate_token.sql");
    let introspect = include_str!("../../src/service/introspect_session.sql");
    let logout = include_str!("../../src/session/logout.sql");
    let list_own = include_str!("../../src/session/list_own.sql");
    let end_own = include_str!("../../src/session/end_own.sql");
    let end_others = include_str!("../../src/session/end_others.sql");
    let end = include_str!("../../src/session/end.sql");
    let find_with = |name| vec![Text(name), Text(NETWORK), Text(FACTS), Text("mark")];
    let open_with = |hash| {
        let mut params = vec![Int4(777), Text(hash), Null, Text(NEW_SESSION), Float8(60.0)];
        params.extend([Text("admin"), Text(FACTS), Text("ada"), Text(NETWORK), Null]);
        params
    };
    let admin_with = |name| vec![Text(SESSION), Text(name), Text("GET /admin/users"), Text(FACTS)];
    let token_of = |byte| vec![Bytes(vec![byte; 32]), Text("admin")];
    let session = || vec![Text(SESSION)];
    let session_and_facts = || vec![Text(SESSION), Text(FACTS)];
    let page = || vec![Text(SESSION), Int8(10), Null];
    let ending = |id| vec![Text(SESSION), Text(id), Text(FACTS)];
    let ending_by_admin = |id| vec![Text(id), Text("BBBBBB"), Text(FACTS)];
    check(vec![
        (ADA, find, find_with("ada"), "found"),
        (ADA, find, find_with("bob"), "unknown"),
        (THROTTLED, find, find_with("ada"), "throttled"),
        (ADA_IN_SESSION, open, open_with("hash"), "opened"),
        (ADA_IN_SESSION, open, open_with("another"), "retry"),
        (ADA, open, open_with("hash"), "retry"),
        ("", record, vec![Null, Text(FACTS), Text("login"), Text("reason"), Null], "recorded"),
        (ADA_IN_SESSION, authenticate, vec![Text(SESSION), Text("admin")], "live"),
        (ADA, authenticate, vec![Text(SESSION), Text("admin")], "not_live"),
        (ADA_IN_SESSION, admin, admin_with("ada"), "live"),
        (ADA_IN_SESSION, admin, admin_with("admin"), "forbidden"),
        (ADA, admin, admin_with("ada"), "not_live"),
        (ADA_IN_SESSION, token, token_of(0xab), "live"),
        (ADA_IN_SESSION, token, token_of(0xac), "not_live"),
        (ADA_IN_SESSION, introspect, session(), "live"),
        (ADA, introspect, session(), "not_live"),
        (ADA_IN_SESSION, logout, session_and_facts(), "ended"),
        (ADA, logout, session_and_facts(), "not_live"),
        (ADA_IN_SESSION, list_own, page(), "listed"),
        (ADA, list_own, page(), "not_live"),
        (ADA_IN_SESSION, end_own, ending(SESSION), "ended"),
        (ADA_IN_SESSION, end_own, ending(NEW_SESSION), "not_found"),
        (ADA, end_own, ending(SESSION), "not_live"),
        (ADA_IN_SESSION, end_others, session_and_facts(), "ended"),
        (ADA, end_others, session_and_facts(), "not_live"),
        (ADA_IN_SESSION, end, ending_by_admin(SESSION), "ended"),
        (ADA, end, ending_by_admin(SESSION), "not_found"),
    ])
    .await;
}

#[tokio::test]
async fn every_outcome_of_users_is_one_row_with_one_jsonb() {
    let create = include_str!("../../src/user/create.sql");
    let read = include_str!("../../src/user/read.sql");
    let update = include_str!("../../src/user/update.sql");
    let delete = include_str!("../../src/user/delete.sql");
    let password = include_str!("../../src/user/password.sql");
    let update_own = include_str!("../../src/account/update.sql");
    let password_find = include_str!("../../src/account/password_find.sql");
    let password_change = PASSWORD_CHANGE;
    let create_with = |id, name, canonical| {
        let (hash, admin, facts) = (Text("hash"), Text("admin"), Text(FACTS));
        vec![Text(id), Text(name), Null, hash, admin, Text("BBBBBB"), facts, Text(canonical)]
    };
    let update_with = |id, patch, versions| {
        vec![Text(id), Text(patch), Text("admin"), versions, Text("BBBBBB"), Text(FACTS), Null]
    };
    let rename_to = |id, patch, versions, canonical| {
        let mut params = update_with(id, patch, versions);
        params.splice(6.., [Text(canonical)]);
        params
    };
    let delete_with =
        |id, versions| vec![Text(id), Text("admin"), versions, Text("BBBBBB"), Text(FACTS)];
    let password_of = |id| vec![Text(id), Text("new"), Text("BBBBBB"), Text(FACTS)];
    let own = |versions| vec![Text(SESSION), Null, Text("admin"), versions, Text(FACTS)];
    let change = |hash| vec![Text(SESSION), Text(hash), Text("new"), Text(FACTS), Text(NETWORK)];
    let find = || vec![Text(SESSION), Text(NETWORK), Text(FACTS)];
    let disable = r#"{"disabled":true}"#;
    let rename = r#"{"username":"Another Spelling"}"#;
    check(vec![
        (ADA, create, create_with("BBBBBB", "bob", "bob"), "created"),
        (ADA, create, create_with("BBBBBB", "Ada", "ada"), "username_taken"),
        (ADA, create, create_with("AAAAAA", "bob", "bob"), "retry"),
        (ADA, read, vec![Text("AAAAAA"), Text("admin")], "found"),
        (ADA, read, vec![Text("BBBBBB"), Text("admin")], "not_found"),
        (ADA_IN_SESSION, update, update_with("AAAAAA", disable, Null), "changed"),
        (ADA, update, rename_to("AAAAAA", rename, Text("7,1"), "ada"), "changed"),
        (ADA, update, rename_to("AAAAAA", rename, Null, "admin"), "username_taken"),
        (ADA, update, rename_to("BBBBBB", rename, Null, "admin"), "not_found"),
        (ADA, update, update_with("AAAAAA", disable, Text("2")), "precondition_failed"),
        (ADA, update, update_with("AAAAAA", disable, Text("")), "precondition_failed"),
        (ONLY_ADA, update, update_with("AAAAAA", disable, Null), "last_admin"),
        (ONLY_ADA, update, update_with("AAAAAA", r#"{"is_admin":false}"#, Null), "last_admin"),
        (ADA_IN_SESSION, delete, delete_with("AAAAAA", Null), "deleted"),
        (ADA, delete, delete_with("AAAAAA", Text("2")), "precondition_failed"),
        (ADA, delete, delete_with("BBBBBB", Null), "not_found"),
        (ONLY_ADA, delete, delete_with("AAAAAA", Null), "last_admin"),
        (ADA_IN_SESSION, password, password_of("AAAAAA"), "changed"),
        (ADA, password, password_of("BBBBBB"), "not_found"),
        (ADA_IN_SESSION, update_own, own(Null), "changed"),
        (ADA_IN_SESSION, update_own, own(Text("2")), "precondition_failed"),
        (ADA, update_own, own(Null), "not_live"),
        (ADA_IN_SESSION, password_find, find(), "found"),
        (THROTTLED, password_find, find(), "throttled"),
        (ADA, password_find, find(), "not_live"),
        (ADA_IN_SESSION, password_change, change("hash"), "changed"),
        (ADA_IN_SESSION, password_change, change("another"), "retry"),
        (ADA, password_change, change("hash"), "not_live"),
    ])
    .await;
}

#[tokio::test]
async fn every_outcome_of_service_accounts_is_one_row_with_one_jsonb() {
    let create = include_str!("../../src/service_account/create.sql");
    let list = include_str!("../../src/service_account/list.sql");
    let read = include_str!("../../src/service_account/read.sql");
    let scopes = include_str!("../../src/service_account/scopes.sql");
    let delete = include_str!("../../src/service_account/delete.sql");
    let token_create = include_str!("../../src/api_token/create.sql");
    let token_list = include_str!("../../src/api_token/list.sql");
    let token_revoke = include_str!("../../src/api_token/revoke.sql");
    let create_with =
        |id, limit| vec![Text(SESSION), Text(id), Text("ci"), Text("{}"), Int8(limit), Text(FACTS)];
    let page = || vec![Text(SESSION), Int8(10), Null];
    let of = |id| vec![Text(SESSION), Text(id)];
    let scopes_of = |id, versions| vec![Text(SESSION), Text(id), Text("{}"), versions, Text(FACTS)];
    let delete_of = |id, versions| vec![Text(SESSION), Text(id), versions, Text(FACTS)];
    let token_with = |account, id, byte, limit| {
        let (sha256, limit) = (Bytes(vec![byte; 32]), Int8(limit));
        let name = Text("ci");
        vec![Text(SESSION), Text(account), Text(id), name, sha256, Null, limit, Text(FACTS)]
    };
    let tokens_of = |account| vec![Text(SESSION), Text(account), Int8(10), Null];
    let revoke = |account, id| vec![Text(SESSION), Text(account), Text(id), Text(FACTS)];
    check(vec![
        (ADA_IN_SESSION, create, create_with("NNNNNNNNNNNN", 2), "created"),
        (ADA_IN_SESSION, create, create_with("NNNNNNNNNNNN", 1), "limit_reached"),
        (ADA_IN_SESSION, create, create_with(ACCOUNT, 2), "retry"),
        (ADA, create, create_with("NNNNNNNNNNNN", 2), "not_live"),
        (ADA_IN_SESSION, list, page(), "listed"),
        (ADA, list, page(), "not_live"),
        (ADA_IN_SESSION, read, of(ACCOUNT), "found"),
        (ADA_IN_SESSION, read, of("NNNNNNNNNNNN"), "not_found"),
        (ADA, read, of(ACCOUNT), "not_live"),
        (ADA_IN_SESSION, scopes, scopes_of(ACCOUNT, Null), "changed"),
        (ADA_IN_SESSION, scopes, scopes_of(ACCOUNT, Text("2")), "precondition_failed"),
        (ADA_IN_SESSION, scopes, scopes_of("NNNNNNNNNNNN", Null), "not_found"),
        (ADA, scopes, scopes_of(ACCOUNT, Null), "not_live"),
        (ADA_IN_SESSION, token_create, token_with(ACCOUNT, "NNNNNNNNNNNN", 1, 2), "created"),
        (ADA_IN_SESSION, token_create, token_with(ACCOUNT, "NNNNNNNNNNNN", 1, 1), "limit_reached"),
        (ADA_IN_SESSION, token_create, token_with(ACCOUNT, TOKEN, 1, 2), "retry"),
        (ADA_IN_SESSION, token_create, token_with("X", "NNNNNNNNNNNN", 1, 2), "not_found"),
        (ADA, token_create, token_with(ACCOUNT, "NNNNNNNNNNNN", 1, 2), "not_live"),
        (ADA_IN_SESSION, token_list, tokens_of(ACCOUNT), "listed"),
        (ADA_IN_SESSION, token_list, tokens_of("NNNNNNNNNNNN"), "not_found"),
        (ADA, token_list, tokens_of(ACCOUNT), "not_live"),
        (ADA_IN_SESSION, token_revoke, revoke(ACCOUNT, TOKEN), "revoked"),
        (ADA_IN_SESSION, token_revoke, revoke(ACCOUNT, "NNNNNNNNNNNN"), "not_found"),
        (ADA_IN_SESSION, token_revoke, revoke("NNNNNNNNNNNN", TOKEN), "not_found"),
        (ADA, token_revoke, revoke(ACCOUNT, TOKEN), "not_live"),
        (ADA_IN_SESSION, delete, delete_of(ACCOUNT, Text("1")), "deleted"),
        (ADA_IN_SESSION, delete, delete_of(ACCOUNT, Text("2")), "precondition_failed"),
        (ADA_IN_SESSION, delete, delete_of("NNNNNNNNNNNN", Null), "not_found"),
        (ADA, delete, delete_of(ACCOUNT, Null), "not_live"),
    ])
    .await;
}

#[tokio::test]
async fn every_list_is_one_row_with_one_jsonb() {
    let mut connection = connect(&new_database().await).await;
    let users = include_str!("../../src/user/list.sql");
    let search = include_str!("../../src/user/search.sql");
    let sessions = include_str!("../../src/session/list.sql");
    let audit = include_str!("../../src/audit/list.sql");
    let snapshot_users = include_str!("../../src/service/snapshot_users.sql");
    let identities = include_str!("../../src/service/snapshot_identities.sql");
    // Ada beside the administrator, each list with one row of hers at least.
    let setup = ADA_IN_SESSION.to_owned()
        + "; truncate audit_log; \
           insert into sessions (id, user_id, expires_at) \
             values ('01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e00', 777, now() + interval '1 hour'); \
           insert into service_accounts (id, owner_id, name, scopes) \
             values ('ZZZZZZZZZZZZ', 777, 'ci', '{}'); \
           insert into audit_log (action, outcome) values ('a', 'success'), ('b', 'success')";
    let setup: &'static str = setup.leak();
    let last = Text("zzzzzzzzzzzz");
    let two = |limit, after: Param| vec![Int8(limit), after];
    let audit_with = |limit, after| vec![Int8(limit), after, Null, Null, Null, Null, Null];
    for (sql, rows, params, none) in [
        (
            users,
            "users",
            (|limit| vec![Int8(limit), Null, Text("admin")]) as fn(i64) -> Vec<Param>,
            vec![Int8(9), Text("2147483647"), Text("admin")],
        ),
        (
            search,
            "users",
            |limit| vec![Int8(limit), Null, Text("admin"), Text("AD")],
            vec![Int8(9), Null, Text("admin"), Text("nobody")],
        ),
        (sessions, "sessions", |limit| vec![Int8(limit), Null, Null], vec![Int8(9), last, Null]),
        (audit, "entries", |limit| vec![Int8(limit), Null, Null, Null, Null, Null, Null], {
            audit_with(9, Text("0"))
        }),
        (snapshot_users, "rows", |limit| vec![Int8(limit), Null], two(9, Text("2147483647"))),
        (identities, "rows", |limit| vec![Int8(limit), Null], two(9, Text("zzzzzzzzzzzz"))),
    ] {
        let (all, _) = outcome(&mut connection, setup, sql, params(9)).await;
        assert_eq!(all[rows].as_array().expect("rows").len(), 2, "{sql}: {all}");
        assert!(all["next_after"].is_null(), "{sql}");
        let (one, _) = outcome(&mut connection, setup, sql, params(1)).await;
        assert_eq!(one[rows].as_array().expect("rows").len(), 1, "{sql}");
        assert!(one["next_after"].is_string(), "{sql}");
        let (none, _) = outcome(&mut connection, setup, sql, none).await;
        assert_eq!(none[rows].as_array().expect("rows").len(), 0, "{sql}: {none}");
    }
    let readyz = include_str!("../../src/health/readyz.sql");
    let newest = crate::harness::newest_migration(&mut connection).await;
    assert_eq!(outcome(&mut connection, "", readyz, vec![]).await.0["schema_version"], newest);
    let (none, _) = outcome(&mut connection, "delete from _sqlx_migrations", readyz, vec![]).await;
    assert_eq!(none["schema_version"], 0);
}

/// A login that replaces a session, and that session's user who changes the password,
/// from one network: sessions are locked before counts, or the two would wait for each
/// other.
#[tokio::test]
async fn a_login_in_place_of_a_session_and_its_last_change_do_not_wait_for_each_other() {
    let service = Service::start().await;
    let mut owner = service.database().await;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "{ADA_IN_SESSION}; \
         insert into users (id, public_id, username, canonical_username, password_hash) \
             values (778, 'BBBBBB', 'bob', 'bob', 'hash'); \
         insert into login_throttle (key, failures) \
             values (login_throttle_key('network', '{NETWORK}'), 2)"
    )))
    .execute(&mut owner)
    .await
    .expect("set up");
    let mut counts = owner.begin().await.expect("begun");
    sqlx::raw_sql("select from login_throttle for update")
        .execute(&mut *counts)
        .await
        .expect("locked");

    let login = run(
        &service,
        LOGIN_OPEN,
        vec![
            Int4(778),
            Text("hash"),
            Null,
            Text(NEW_SESSION),
            Float8(60.0),
            Text("admin"),
            Text(FACTS),
            Text("bob"),
            Text(NETWORK),
            Text(SESSION),
        ],
    );
    service.until_blocked(1).await;
    let change = run(
        &service,
        PASSWORD_CHANGE,
        vec![Text(SESSION), Text("hash"), Text("new"), Text(FACTS), Text(NETWORK)],
    );
    service.until_blocked(2).await;
    counts.rollback().await.expect("given back");
    assert_eq!(login.await.expect("no deadlock"), "opened");
    assert_eq!(change.await.expect("no deadlock"), "not_live");
}

/// Runs a statement on a connection of its own, and returns its outcome.
fn run(
    service: &Service,
    sql: &'static str,
    params: Vec<Param>,
) -> tokio::task::JoinHandle<String> {
    let url = service.database_url.clone();
    tokio::spawn(async move {
        let value: Value = sqlx::query_scalar_with(sql, arguments(params))
            .fetch_one(&mut connect(&url).await)
            .await
            .expect("executed");
        value["outcome"].as_str().expect("an outcome").to_owned()
    })
}

/// A new statement has to be added above.
#[test]
fn every_statement_is_in_the_test() {
    fn count(directory: &std::path::Path) -> usize {
        std::fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| {
                if path.is_dir() {
                    count(&path)
                } else {
                    usize::from(path.extension().is_some_and(|extension| extension == "sql"))
                }
            })
            .sum()
    }
    let tested = include_str!("sql.rs").matches("include_str!(\"../../src/").count();
    assert_eq!(tested, count(&xtask::root().join("src")));
}
