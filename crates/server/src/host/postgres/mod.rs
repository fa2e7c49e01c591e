//! `spin:postgres@4.0.0`, as Spin's own host behaves towards the component, or
//! stricter.
//!
//! What Spin loses or gets wrong in some version is an error here, and what
//! would hang or leak there ends the instance:
//!
//! * a `query` without a row never returns on Spin 4.0.0 to 4.0.2
//!   (spinframework/spin#3671): a trap;
//! * a transaction that is left open reaches the next request: transaction
//!   control is a trap, whether it would be closed or not;
//! * an error during execution arrives as text, without its SQLSTATE, as in
//!   Spin's `client.rs`; an error while the statement is parsed keeps it;
//! * types that Spin's host can't decode, or only in some version, are errors.

#![expect(clippy::result_large_err, reason = "the error type of Spin's interface")]

mod databases;
mod pulse;
mod values;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use futures::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_postgres_rustls::MakeRustlsConnect;
use wasmtime::component::Resource;

pub use self::databases::Databases;
use self::pulse::Pulse;
use self::values::{columns, parameter, values};
use super::State;
use super::bindings::spin::postgres::postgres::{
    DbError, Error, Host, HostConnection, ParameterValue, QueryError, RowSet,
};
/// How long a statement may take on a server that answers. `statement_timeout` in the
/// connection string ends it on the server, too.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to be told that a statement is not waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

fn failed_to_connect(reason: String) -> Error {
    Error::ConnectionFailed(reason)
}

/// A connection that the component holds.
pub struct Connection {
    /// `None` once it is of no use any more.
    client: Option<Object>,
    /// Of the server that it leads to.
    pulse: Arc<Pulse>,
}

impl Host for State {}

impl HostConnection for State {
    async fn open(
        &mut self,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let shared = Arc::clone(&self.shared);
        match shared.databases.connect(&address, self.queued).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<RowSet, Error>> {
        if is_transaction_control(&statement) {
            wasmtime::bail!("transaction control: Spin would hand it on to the next request");
        }
        let held = self.table.get_mut(&connection)?;
        let Some(client) = held.client.take() else {
            return Ok(Err(failed_to_connect("the connection was closed".to_owned())));
        };
        let pulse = Arc::clone(&held.pulse);
        let tls = self.shared.databases.tls().clone();
        let busy = Busy { client: Some(client), pulse: Arc::clone(&pulse), tls };
        let answer = timeout(STATEMENT_TIMEOUT, busy.query(&statement, &params));
        let answer = match pulse.during(answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => {
                let seconds = STATEMENT_TIMEOUT.as_secs();
                return Ok(Err(text(format!("no answer within {seconds} seconds"))));
            }
            // It is not tried again: it may have run.
            None => return Ok(Err(text(pulse::NO_ANSWER.to_owned()))),
        };
        self.table.get_mut(&connection)?.client = busy.done();
        let rows = match answer {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        if rows.rows.is_empty() {
            wasmtime::bail!("a query without a row: it would never return on Spin 4.0.2");
        }
        Ok(Ok(rows))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

/// A connection with a statement in flight. Dropped in the middle of it (the
/// client went away, time is over), it does not go back to the pool, where the
/// next request would wait for the answer, and the statement is cancelled, so
/// that the server is not left with more connections than the pool has.
struct Busy {
    client: Option<Object>,
    pulse: Arc<Pulse>,
    tls: MakeRustlsConnect,
}

impl Busy {
    /// Takes the connection back after an answer.
    fn done(mut self) -> Option<Object> {
        self.client.take()
    }

    async fn query(&self, statement: &str, params: &[ParameterValue]) -> Result<RowSet, Error> {
        let Some(client) = &self.client else {
            return Err(failed_to_connect("the connection was closed".to_owned()));
        };
        let params: Vec<Box<dyn ToSql + Send + Sync>> =
            params.iter().map(parameter).collect::<Result<_, _>>()?;
        let hear = |error: &_| self.pulse.heard_in(error);
        // That it was prepared before says nothing of now.
        let statement = client.prepare_cached(statement).await.inspect_err(hear);
        let statement = statement.map_err(|error| failed(&error))?;
        let stream = client.query_raw(&statement, params).await.inspect_err(hear);
        let rows = stream.map_err(|error| failed(&error))?.try_collect().await.inspect_err(hear);
        let rows: Vec<Row> = rows.map_err(|error| text(display_chain(&error)))?;
        self.pulse.heard();
        let columns = rows.first().map(columns).unwrap_or_default();
        let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
        Ok(RowSet { columns, rows })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(client) = self.client.take().map(Object::take) else {
            return;
        };
        let tls = self.tls.clone();
        tokio::spawn(async move {
            let token = client.cancel_token();
            let cancelled = token.cancel_query(tls);
            if !matches!(timeout(CANCEL_TIMEOUT, cancelled).await, Ok(Ok(()))) {
                tracing::warn!("a statement that nobody waits for could not be cancelled");
            }
        });
    }
}

fn text(text: String) -> Error {
    Error::QueryFailed(QueryError::Text(text))
}

/// An error during execution, as Spin 3.6 has it: messages, no SQLSTATE.
fn display_chain(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}\n\nCaused by:\n    {source}"),
        None => error.to_string(),
    }
}

/// An error before execution: structured, if the server has sent it.
fn failed(error: &tokio_postgres::Error) -> Error {
    let as_text = format!("{error:?}");
    let Some(db) = error.as_db_error() else {
        return text(as_text);
    };
    let extras = [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())];
    Error::QueryFailed(QueryError::DbError(DbError {
        as_text,
        severity: db.severity().to_owned(),
        code: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: db.detail().map(str::to_owned),
        extras: extras
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect(),
    }))
}

/// Whether a statement begins or ends a transaction. A prepared statement is a
/// single command, so its first word decides.
fn is_transaction_control(statement: &str) -> bool {
    let word: String = without_leading_comments(statement)
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    matches!(
        word.as_str(),
        "begin"
            | "start"
            | "commit"
            | "end"
            | "rollback"
            | "abort"
            | "savepoint"
            | "release"
            | "prepare"
    )
}

fn without_leading_comments(mut statement: &str) -> &str {
    loop {
        statement = statement.trim_start();
        if let Some(comment) = statement.strip_prefix("--") {
            statement = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = statement.strip_prefix("/*") {
            statement = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else {
            return statement;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::host::Shared;
    use crate::host::bindings::spin::postgres::postgres::{DbDataType, DbValue};
    use crate::manifest::Environment;

    /// The state of an instance that may reach the tests' PostgreSQL, and a
    /// connection to it.
    async fn connected() -> (State, Resource<Connection>) {
        let url = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL is set by `cargo xtask test`");
        let mut state = state_for(&url);
        let connection = state.open(url).await.expect("no trap").expect("a connection");
        (state, connection)
    }

    fn state_for(url: &str) -> State {
        let parsed = url::Url::parse(url).expect("a URL");
        let host = format!("127.0.0.1:{}", parsed.port().expect("a port"));
        let values = [
            ("database_url", url),
            ("database_host", &host),
            ("jwt_secret", ""),
            ("admin_username", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = Environment::new(&BTreeMap::from(values)).expect("complete");
        State::new(Arc::new(Shared::new(environment, 2).expect("a host")), Duration::ZERO).0
    }

    /// A connection is used once more: a resource handle is not `Clone`.
    fn again(connection: &Resource<Connection>) -> Resource<Connection> {
        Resource::new_borrow(connection.rep())
    }

    async fn query(
        sql: &str,
        params: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<RowSet, Error>> {
        let (mut state, connection) = connected().await;
        state.query(again(&connection), sql.to_owned(), params).await
    }

    #[tokio::test]
    async fn values_pass_in_and_out() {
        let rows = query(
            "select jsonb_build_object('a', $1::text, 'b', $2::int4, 'c', $3::text)",
            vec![
                ParameterValue::Str("x".to_owned()),
                ParameterValue::Int32(7),
                ParameterValue::DbNull,
            ],
        )
        .await
        .expect("no trap")
        .expect("no error");
        assert_eq!(rows.columns.len(), 1);
        assert!(matches!(rows.columns[0].data_type, DbDataType::Jsonb));
        let [row] = rows.rows.as_slice() else { panic!("{} rows", rows.rows.len()) };
        let [DbValue::Jsonb(json)] = row.as_slice() else { panic!("not one jsonb") };
        let json: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        assert_eq!(json, serde_json::json!({"a": "x", "b": 7, "c": null}));
    }

    #[tokio::test]
    async fn a_query_without_a_row_is_a_trap() {
        let trap = query("select 1 where false", vec![]).await.expect_err("a trap");
        assert!(trap.to_string().contains("without a row"), "{trap}");
    }

    #[tokio::test]
    async fn transaction_control_is_a_trap() {
        for statement in ["begin", "-- a\nstart transaction", "commit"] {
            assert!(query(statement, vec![]).await.is_err(), "{statement}");
        }
    }

    #[tokio::test]
    async fn errors_of_execution_are_text_and_errors_of_parsing_are_structured() {
        // Volatile, so that the planner does not find out first.
        let execution = query("select 1 / (random() * 0)::int4", vec![]).await;
        match execution.expect("no trap") {
            Err(Error::QueryFailed(QueryError::Text(text))) => {
                assert!(text.contains("division by zero") && !text.contains("22012"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        match query("select * from nothing", vec![]).await.expect("no trap") {
            Err(Error::QueryFailed(QueryError::DbError(error))) => assert_eq!(error.code, "42P01"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn types_that_spin_loses_are_errors() {
        for value in [
            "now()",
            "'{}'::json",
            "'127.0.0.1'::inet",
            "'a'::name",
            "gen_random_uuid()",
            "1::numeric",
        ] {
            let result = query(&format!("select {value}"), vec![]).await.expect("no trap");
            assert!(matches!(result, Err(Error::QueryFailed(QueryError::Text(_)))), "{value}");
        }
    }

    #[tokio::test]
    async fn parameters_have_to_match_exactly() {
        for (sql, param) in [
            ("select $1::int8", ParameterValue::Int32(1)),
            ("select $1::int4", ParameterValue::Int64(1)),
            ("select $1::uuid", ParameterValue::Str("x".to_owned())),
            ("select $1::jsonb", ParameterValue::Str("{}".to_owned())),
            ("select $1::timestamptz", ParameterValue::Timestamp(0)),
        ] {
            assert!(query(sql, vec![param]).await.expect("no trap").is_err(), "{sql}");
        }
    }

    #[tokio::test]
    async fn other_hosts_than_the_manifests_are_refused() {
        let url = std::env::var("TEST_DATABASE_URL").expect("set by `cargo xtask test`");
        let mut state = state_for(&url);
        for other in [
            "postgres://127.0.0.1:1/auth",
            &url.replace("127.0.0.1", "localhost"),
            "host=/tmp user=auth",
            "user=auth",
            // The name is allowed, and the address is another machine's.
            &format!("{url}?hostaddr=127.0.0.2"),
        ] {
            match state.open(other.to_owned()).await.expect("no trap") {
                Err(Error::ConnectionFailed(reason)) => {
                    assert!(!reason.contains("refused"), "{reason}");
                }
                _ => panic!("{other} was allowed"),
            }
        }
    }

    #[tokio::test]
    async fn a_pool_that_is_in_use_is_an_error_and_a_connection_comes_back() {
        let (mut state, first) = connected().await;
        let url = std::env::var("TEST_DATABASE_URL").expect("set by `cargo xtask test`");
        let _second = state.open(url.clone()).await.expect("no trap").expect("a connection");
        assert!(state.open(url.clone()).await.expect("no trap").is_err());
        HostConnection::drop(&mut state, first).await.expect("given back");
        assert!(state.open(url).await.expect("no trap").is_ok());
    }

    #[test]
    fn transaction_control_is_seen_behind_comments() {
        for statement in [
            "begin",
            "BEGIN;",
            " -- a\n/* b */ start transaction",
            "commit",
            "END",
            "rollback",
            "savepoint s",
        ] {
            assert!(is_transaction_control(statement), "{statement}");
        }
        for statement in ["select 1", "-- begin\nselect 1", "with a as (select 1) select 2", ""] {
            assert!(!is_transaction_control(statement), "{statement}");
        }
    }
}
