//! Writes and reads records as rows of SQLite, with the statements of the schema.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row, ToSql, params_from_iter};

use crate::error::Result;
use crate::store::schema::{Dialect, Record, Statements};
use crate::store::value::{Cells, Reader, Stored, Value, damaged};

impl Cells for Row<'_> {
    fn cell(&self, at: usize) -> Result<Value<'_>> {
        Ok(match self.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Real(_) => return Err(damaged("a number that is not whole")),
            ValueRef::Text(text) => {
                Value::Text(Cow::Borrowed(str::from_utf8(text).map_err(|_| damaged("a text that is not UTF-8"))?))
            }
            ValueRef::Blob(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        })
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Bool(yes) => ValueRef::Integer(i64::from(*yes)),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The statements of a record.
pub fn statements<R: Record>() -> &'static Statements {
    R::table().statements(Dialect::Sqlite)
}

/// Inserts a record.
pub fn insert<R: Record>(connection: &Connection, record: &R) -> Result<()> {
    execute(connection, &statements::<R>().insert, params_from_iter(record.values())).map(drop)
}

/// Updates the changeable columns of the record's row; does nothing if there is no such row.
pub fn update<R: Record>(connection: &Connection, record: &R) -> Result<()> {
    let values = R::table().update_values(record.values()).into_iter().map(|(_, value)| value);
    execute(connection, &statements::<R>().update, params_from_iter(values)).map(drop)
}

/// Inserts a record, or updates the changeable columns of its row, in one statement.
pub fn put<R: Record>(connection: &Connection, record: &R) -> Result<()> {
    execute(connection, &statements::<R>().put, params_from_iter(record.values())).map(drop)
}

/// The record with this key.
pub fn find<R: Record>(connection: &Connection, key: impl Params) -> Result<Option<R>> {
    Ok(all(connection, &statements::<R>().find, key)?.pop())
}

/// The records that a query returns: [`Statements::select`] with a condition.
pub fn all<R: Record>(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<R>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(R::read(row)?);
    }
    Ok(found)
}

/// Runs a statement. Returns how many rows it changed.
pub fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// The first value of the first row that a query returns.
pub fn value<T: Stored>(connection: &Connection, sql: &str, params: impl Params) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| Reader::new(row).next(sql)).transpose()
}
