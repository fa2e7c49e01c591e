//! Every statement of the component returns one row with one jsonb column,
//! whatever happens. Spin hangs when there is no row.

use serde_json::Value;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Column, Connection, Executor, PgConnection, Row, TypeInfo};

use crate::harness::{connect, new_database};

/// A parameter, as `src/db.rs` has them.
enum Param {
    Text(&'static str),
    Null,
    Int4(i32),
    Int8(i64),
    Float8(f64),
}
use Param::{Float8, Int4, Int8, Null, Text};

/// Runs a statement after some preparation and takes both back.
async fn outcome(
    connection: &mut PgConnection,
    setup: &'static str,
    sql: &'static str,
    params: Vec<Param>,
) -> Value {
    let mut transaction = connection.begin().await.expect("begun");
    sqlx::raw_sql(setup).execute(&mut *transaction).await.expect("set up");
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Text(text) => arguments.add(text),
            Null => arguments.add(None::<String>),
            Int4(number) => arguments.add(number),
            Int8(number) => arguments.add(number),
            Float8(number) => arguments.add(number),
        }
        .expect("an argument");
    }
    let rows = transaction.fetch_all(sqlx::query_with(sql, arguments)).await.expect("executed");
    assert_eq!(rows.len(), 1, "{sql}");
    assert_eq!(rows[0].columns().len(), 1, "{sql}");
    assert_eq!(rows[0].columns()[0].type_info().name(), "JSONB", "{sql}");
    let value: Option<Value> = rows[0].get(0);
    transaction.rollback().await.expect("taken back");
    value.expect("not null")
}

const ADA: &str = "insert into users (public_id, username, password_hash) \
                   values ('AAAAAA', 'ada', 'hash')";
const ADA_IN_SESSION: &str = "insert into users (id, public_id, username, password_hash) \
    values (777, 'AAAAAA', 'ada', 'hash'); \
    insert into sessions (id, user_id, expires_at) \
    values ('01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f', 777, now() + interval '1 hour')";
const SESSION: &str = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f";

#[tokio::test]
async fn every_outcome_is_one_row_with_one_jsonb() {
    let mut connection = connect(&new_database().await).await;
    let find = include_str!("../../src/session/login_find.sql");
    let open = include_str!("../../src/session/login_open.sql");
    let authenticate = include_str!("../../src/authenticate.sql");
    let logout = include_str!("../../src/session/logout.sql");
    let create = include_str!("../../src/user/create.sql");
    let read = include_str!("../../src/user/read.sql");
    let update = include_str!("../../src/user/update.sql");
    let delete = include_str!("../../src/user/delete.sql");
    let open_params = |hash| {
        let new = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e00";
        vec![Int4(777), Text(hash), Null, Text(new), Float8(60.0), Null, Null, Text("admin")]
    };
    let create_params = |id, name| vec![Text(id), Text(name), Null, Text("hash"), Text("admin")];
    let update_params = |id, patch| vec![Text(id), Text(patch), Text("admin")];
    for (setup, sql, params, expected) in [
        (ADA, find, vec![Text("ADA")], "found"),
        (ADA, find, vec![Text("bob")], "unknown"),
        (ADA_IN_SESSION, open, open_params("hash"), "opened"),
        (ADA_IN_SESSION, open, open_params("another"), "changed"),
        (ADA, open, open_params("hash"), "changed"),
        (ADA_IN_SESSION, authenticate, vec![Text(SESSION), Text("admin")], "live"),
        (ADA, authenticate, vec![Text(SESSION), Text("admin")], "ended"),
        (ADA_IN_SESSION, logout, vec![Text(SESSION)], "ended"),
        (ADA, logout, vec![Text(SESSION)], "not_live"),
        (ADA, create, create_params("BBBBBB", "bob"), "created"),
        (ADA, create, create_params("BBBBBB", "Ada"), "username_taken"),
        (ADA, create, create_params("AAAAAA", "bob"), "retry"),
        (ADA, read, vec![Text("AAAAAA"), Text("admin")], "found"),
        (ADA, read, vec![Text("BBBBBB"), Text("admin")], "not_found"),
        (ADA_IN_SESSION, update, update_params("AAAAAA", r#"{"disabled":true}"#), "changed"),
        (ADA, update, update_params("AAAAAA", r#"{"username":"ADA"}"#), "changed"),
        (ADA, update, update_params("AAAAAA", r#"{"username":"Admin"}"#), "username_taken"),
        (ADA, update, update_params("BBBBBB", r#"{"username":"Admin"}"#), "not_found"),
        (ADA_IN_SESSION, delete, vec![Text("AAAAAA")], "deleted"),
        (ADA, delete, vec![Text("BBBBBB")], "not_found"),
    ] {
        let found = outcome(&mut connection, setup, sql, params).await;
        assert_eq!(found["outcome"], expected, "{sql}");
    }
}

#[tokio::test]
async fn every_list_is_one_row_with_one_jsonb() {
    let mut connection = connect(&new_database().await).await;
    let list = include_str!("../../src/user/list.sql");
    for (limit, after, users) in [(10, 0, 2), (1, 0, 1), (10, i32::MAX, 0)] {
        let params = vec![Int8(limit), Int4(after), Null, Text("admin")];
        let found = outcome(&mut connection, ADA, list, params).await;
        assert_eq!(found["users"].as_array().expect("users").len(), users);
        assert_eq!(found["next_after"].is_null(), limit == 10);
    }
    let readyz = include_str!("../../src/health/readyz.sql");
    assert_eq!(outcome(&mut connection, "", readyz, vec![]).await["schema_version"], 3);
    let none = outcome(&mut connection, "delete from _sqlx_migrations", readyz, vec![]).await;
    assert_eq!(none["schema_version"], 0);
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
