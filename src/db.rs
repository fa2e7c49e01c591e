//! The database, through Spin's `spin:postgres@4.0.0`.
//!
//! Every statement returns one row with one `jsonb` column, and every expected
//! outcome is a value in it, never an SQL error: what Spin's host loses (the
//! SQLSTATE of an error during execution, result sets without a row, timestamps)
//! is never needed (docs/adr/0002).

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use spin_sdk::pg4::{Connection, DbValue, ParameterValue, PgError, QueryError, RowSet};

use crate::error::Error;

/// SQLSTATEs of a statement that does not fit the schema: undefined table,
/// function, column. They arise when PostgreSQL parses the statement, where
/// Spin's host keeps the code.
const SCHEMA_STATES: [&str; 3] = ["42P01", "42883", "42703"];

/// A parameter of a statement. The types that Spin's host passes as they are;
/// everything else is a cast in the SQL.
pub(crate) enum Param<'a> {
    /// `text`
    Text(&'a str),
    /// `text`, null when there is none
    OptionalText(Option<&'a str>),
    /// `bytea`
    Bytes(&'a [u8]),
    /// `int4`
    Int4(i32),
    /// `int8`
    Int8(i64),
    /// `float8`
    Float8(f64),
    /// `float8`, null when there is none
    OptionalFloat8(Option<f64>),
}

impl From<&Param<'_>> for ParameterValue {
    fn from(param: &Param<'_>) -> Self {
        match *param {
            Param::Text(text) | Param::OptionalText(Some(text)) => Self::Str(text.to_owned()),
            Param::OptionalText(None) | Param::OptionalFloat8(None) => Self::DbNull,
            Param::Bytes(bytes) => Self::Binary(bytes.to_vec()),
            Param::Int4(number) => Self::Int32(number),
            Param::Int8(number) => Self::Int64(number),
            Param::Float8(number) | Param::OptionalFloat8(Some(number)) => Self::Floating64(number),
        }
    }
}

/// One connection, opened by the first statement of a request.
pub(crate) struct Database {
    address: String,
    connection: RefCell<Option<Connection>>,
}

impl Database {
    /// A database that no connection has been made to.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), connection: RefCell::new(None) }
    }

    /// Runs a statement and decodes the one value that it returns.
    ///
    /// # Errors
    ///
    /// [`Error::SchemaMissing`] when the statement does not fit the schema,
    /// [`Error::DatabaseUnavailable`] when there is no connection or the
    /// statement failed, [`Error::Internal`] when its result is not of type `T`.
    #[expect(
        clippy::unused_async,
        reason = "the Postgres interface of WASI 0.3 is asynchronous; its callers are ready for it"
    )]
    pub(crate) async fn one<T: DeserializeOwned>(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<T, Error> {
        let params: Vec<ParameterValue> = params.iter().map(ParameterValue::from).collect();
        let mut connection = self.connection.borrow_mut();
        let connection = match &mut *connection {
            Some(connection) => connection,
            empty => {
                empty.insert(Connection::open(&self.address).map_err(|error| failed(sql, &error))?)
            }
        };
        let rows = connection.query(sql, &params).map_err(|error| failed(sql, &error))?;
        let value = single_jsonb(&rows).ok_or_else(|| {
            Error::internal(format!("{}: not one row with one jsonb column", name(sql)))
        })?;
        // Where, and not what: the message may quote a value.
        serde_json::from_slice(value).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::internal(format!("{}: unexpected at {line}:{column}", name(sql)))
        })
    }

    /// Gives the connection back. The next statement opens another one.
    pub(crate) fn release(&self) {
        self.connection.borrow_mut().take();
    }
}

fn single_jsonb(rows: &RowSet) -> Option<&[u8]> {
    match rows.rows.as_slice() {
        [row] => match row.as_slice() {
            [DbValue::Jsonb(value)] => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// The first line of the SQL: its name, for the log.
fn name(sql: &str) -> &str {
    sql.lines().next().unwrap_or_default().trim_start_matches("-- ")
}

fn failed(sql: &str, error: &PgError) -> Error {
    let (state, cause) = match error {
        PgError::ConnectionFailed(text) => (None, format!("no connection: {text}")),
        PgError::QueryFailed(QueryError::DbError(error)) => {
            (Some(error.code.as_str()), format!("{} ({})", error.message, error.code))
        }
        PgError::QueryFailed(QueryError::Text(text))
        | PgError::BadParameter(text)
        | PgError::ValueConversionFailed(text)
        | PgError::Other(text) => (None, without_row(text).to_owned()),
    };
    let cause = format!("{}: {cause}", name(sql));
    if state.is_some_and(|state| SCHEMA_STATES.contains(&state)) {
        Error::SchemaMissing(cause)
    } else {
        Error::DatabaseUnavailable(cause)
    }
}

/// The text of an execution error quotes, in its detail, the row that failed,
/// and with it perhaps a password's hash, which must not reach the log. Spin 3.6
/// sends the driver's `Display` form, Spin 4.0 its `Debug` form.
fn without_row(text: &str) -> &str {
    let end = ["DETAIL:", "detail:"].into_iter().filter_map(|marker| text.find(marker)).min();
    text[..end.unwrap_or(text.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_row_is_cut_off_in_the_forms_of_both_spins() {
        for text in [
            "db error\n\nCaused by:\n    ERROR: new row violates check constraint\n    \
             DETAIL: Failing row contains (1, $argon2id$v=19$secret).",
            "Error { kind: Db, cause: Some(DbError { message: \"new row violates check \
             constraint\", detail: Some(\"Failing row contains (1, $argon2id$v=19$secret).\") }) }",
        ] {
            let kept = without_row(text);
            assert!(kept.contains("violates check") && !kept.contains("argon2id"), "{kept}");
        }
        assert_eq!(without_row("db error"), "db error");
    }

    #[test]
    fn a_statement_is_known_by_its_first_line() {
        assert_eq!(name("-- user::create\n-- $1\nselect 1"), "user::create");
    }
}
