//! Parameters and rows: between the interface's types and PostgreSQL's.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

use super::text;
use crate::host::bindings::spin::postgres::postgres::{
    Column, DbDataType, DbValue, Error, ParameterValue,
};

/// The types that pass through every version of Spin unchanged.
pub(super) fn parameter(value: &ParameterValue) -> Result<Box<dyn ToSql + Send + Sync>, Error> {
    Ok(match value {
        ParameterValue::Boolean(value) => Box::new(*value),
        ParameterValue::Int16(value) => Box::new(*value),
        ParameterValue::Int32(value) => Box::new(*value),
        ParameterValue::Int64(value) => Box::new(*value),
        ParameterValue::Floating32(value) => Box::new(*value),
        ParameterValue::Floating64(value) => Box::new(*value),
        ParameterValue::Str(value) => Box::new(value.clone()),
        ParameterValue::Binary(value) => Box::new(value.clone()),
        ParameterValue::ArrayStr(value) => Box::new(value.clone()),
        ParameterValue::DbNull => Box::new(AnyNull),
        other => {
            return Err(Error::BadParameter(format!(
                "{other:?}: this host passes no parameters of this type; cast in SQL"
            )));
        }
    })
}

/// NULL for a parameter of any type.
#[derive(Debug)]
struct AnyNull;

impl ToSql for AnyNull {
    fn to_sql(
        &self,
        _ty: &Type,
        _out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn columns(row: &Row) -> Vec<Column> {
    row.columns()
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            data_type: match *column.type_() {
                Type::BOOL => DbDataType::Boolean,
                Type::INT2 => DbDataType::Int16,
                Type::INT4 => DbDataType::Int32,
                Type::INT8 => DbDataType::Int64,
                Type::FLOAT4 => DbDataType::Floating32,
                Type::FLOAT8 => DbDataType::Floating64,
                Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
                Type::BYTEA => DbDataType::Binary,
                Type::JSONB => DbDataType::Jsonb,
                ref other => DbDataType::Other(other.name().to_owned()),
            },
        })
        .collect()
}

pub(super) fn values(row: &Row) -> Result<Vec<DbValue>, Error> {
    fn value<'a, T: FromSql<'a>>(
        row: &'a Row,
        place: usize,
        make: impl FnOnce(T) -> DbValue,
    ) -> Result<DbValue, Error> {
        let value: Option<T> = row.try_get(place).map_err(|e| text(format!("{e:?}")))?;
        Ok(value.map_or(DbValue::DbNull, make))
    }
    let decode = |(place, column): (usize, &tokio_postgres::Column)| match *column.type_() {
        Type::BOOL => value(row, place, DbValue::Boolean),
        Type::INT2 => value(row, place, DbValue::Int16),
        Type::INT4 => value(row, place, DbValue::Int32),
        Type::INT8 => value(row, place, DbValue::Int64),
        Type::FLOAT4 => value(row, place, DbValue::Floating32),
        Type::FLOAT8 => value(row, place, DbValue::Floating64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => value(row, place, DbValue::Str),
        Type::BYTEA => value(row, place, DbValue::Binary),
        Type::JSONB => value(row, place, |Jsonb(bytes)| DbValue::Jsonb(bytes)),
        ref other => Err(text(format!(
            "column {}: this host does not decode {}; return jsonb",
            column.name(),
            other.name()
        ))),
    };
    row.columns().iter().enumerate().map(decode).collect()
}

/// The text of a `jsonb` value: behind the version byte of its binary form.
struct Jsonb(Vec<u8>);

impl<'a> FromSql<'a> for Jsonb {
    fn from_sql(
        _ty: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match raw.split_first() {
            Some((1, json)) => Ok(Self(json.to_vec())),
            _ => Err("unknown version of jsonb".into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }
}
