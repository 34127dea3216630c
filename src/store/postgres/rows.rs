//! Writes and reads records as rows of PostgreSQL, with the statements of the schema.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::error::Result;
use crate::store::schema::{Dialect, Record, Statements};
use crate::store::value::{Cells, ColumnType, Reader, Stored, Value, damaged};

/// A value with its type: statements are sent with types, so that they do not have to be prepared first.
pub type Param = (Box<dyn ToSql + Sync + Send>, Type);

/// A statement with its values.
pub struct Statement {
    /// The text.
    pub sql: Cow<'static, str>,
    /// The values, in order.
    pub params: Vec<Param>,
}

impl Statement {
    /// A statement with its values.
    pub fn new(sql: impl Into<Cow<'static, str>>, params: Vec<Param>) -> Statement {
        Statement { sql: sql.into(), params }
    }
}

impl Cells for Row {
    fn cell(&self, at: usize) -> Result<Value<'_>> {
        let declared = self.columns().get(at).map(|column| column.type_());
        Ok(match declared {
            Some(&Type::INT8) => column::<Option<i64>>(self, at)?.map_or(Value::Null, Value::Int),
            Some(&Type::BOOL) => column::<Option<bool>>(self, at)?.map_or(Value::Null, Value::Bool),
            Some(&Type::TEXT) => column::<Option<&str>>(self, at)?.map_or(Value::Null, |text| Value::Text(text.into())),
            Some(&Type::BYTEA) => {
                column::<Option<&[u8]>>(self, at)?.map_or(Value::Null, |bytes| Value::Bytes(bytes.into()))
            }
            _ => return Err(damaged("a column of another type")),
        })
    }
}

/// The statements of a record.
pub fn statements<R: Record>() -> &'static Statements {
    R::table().statements(Dialect::Postgres)
}

/// Inserts a record.
pub fn insert<R: Record>(record: &R) -> Statement {
    Statement::new(statements::<R>().insert.as_str(), params::<R>(record))
}

/// Inserts a record, or updates the changeable columns of its row.
pub fn put<R: Record>(record: &R) -> Statement {
    Statement::new(statements::<R>().put.as_str(), params::<R>(record))
}

/// Updates the changeable columns of the record's row; does nothing if there is no such row.
pub fn update<R: Record>(record: &R) -> Statement {
    let values = R::table().update_values(record.values());
    Statement::new(
        statements::<R>().update.as_str(),
        values.into_iter().map(|(holds, value)| param(holds, value)).collect(),
    )
}

/// Selects the record with this key.
pub fn find<R: Record>(key: Param) -> Statement {
    Statement::new(statements::<R>().find.as_str(), vec![key])
}

/// The values of a record.
pub fn params<R: Record>(record: &R) -> Vec<Param> {
    let columns = R::table().columns.iter().zip(record.values());
    columns.map(|(column, value)| param(column.holds, value)).collect()
}

/// A value for a column.
pub fn param(holds: ColumnType, value: Value<'_>) -> Param {
    match holds {
        ColumnType::Int => (Box::new(if let Value::Int(number) = value { Some(number) } else { None }), Type::INT8),
        ColumnType::Bool => (Box::new(if let Value::Bool(yes) = value { Some(yes) } else { None }), Type::BOOL),
        ColumnType::Text | ColumnType::Body => {
            let text = match value {
                Value::Text(text) => Some(text.into_owned()),
                Value::Bytes(body) => String::from_utf8(body.into_owned()).ok(),
                _ => None,
            };
            (Box::new(text), Type::TEXT)
        }
        ColumnType::Bytes => {
            (Box::new(if let Value::Bytes(bytes) = value { Some(bytes.into_owned()) } else { None }), Type::BYTEA)
        }
    }
}

/// A value that is not NULL, with the type that it has.
pub fn value(value: Value<'_>) -> Param {
    let holds = match value {
        Value::Int(_) | Value::Null => ColumnType::Int,
        Value::Bool(_) => ColumnType::Bool,
        Value::Text(_) => ColumnType::Text,
        Value::Bytes(_) => ColumnType::Bytes,
    };
    param(holds, value)
}

/// A whole number.
pub fn int(number: impl Into<i64>) -> Param {
    (Box::new(number.into()), Type::INT8)
}

/// A text.
pub fn text(text: impl Into<String>) -> Param {
    (Box::new(text.into()), Type::TEXT)
}

/// Bytes.
pub fn bytes(bytes: &[u8]) -> Param {
    (Box::new(bytes.to_vec()), Type::BYTEA)
}

/// Values with their types, as the PostgreSQL client takes them.
pub fn borrowed(params: &[Param]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params.iter().map(|(value, declared)| (&**value as &(dyn ToSql + Sync), declared.clone())).collect()
}

/// Reads every row as a record.
pub fn all<R: Record>(rows: &[Row]) -> Result<Vec<R>> {
    rows.iter().map(|row| R::read(row)).collect()
}

/// Reads the first row as a record, if there is one.
pub fn first<R: Record>(rows: &[Row]) -> Result<Option<R>> {
    rows.first().map(|row| R::read(row)).transpose()
}

/// Reads the first value of the first row, if there is one.
pub fn scalar<T: Stored>(rows: &[Row]) -> Result<Option<T>> {
    rows.first().map(|row| Reader::new(row).next("a value")).transpose()
}

/// Reads one column.
pub fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| damaged(&error.to_string()))
}
