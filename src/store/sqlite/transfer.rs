//! Database that leave for another store, and database that arrive.

use std::io::{BufRead, Write};

use rusqlite::types::ValueRef;
use rusqlite::{Transaction, TransactionBehavior, params, params_from_iter};
use serde_json::{Map, Value};

use super::{Opening, Sqlite, open, trouble};
use crate::audit::{Actor, Event};
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::store::export::{self, Kind, Lines, Reading, TABLES, Table, Transfer, Transferred, Whole};

/// How many rows are written at a time.
const BATCH: usize = 1000;

/// Writes the database as one moment saw them.
pub fn export(sqlite: &Sqlite, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
    let now = sqlite.clock.now();
    match transfer {
        Transfer::Copy => {
            sqlite.maintain(|_, _| Ok(((), Some(Event::new(now, actor.clone(), "db.export", "done")))))?;
        }
        Transfer::Move => sqlite.maintain(|tx, _| {
            let sealed = tx
                .execute("UPDATE identity SET sealed_at = ?1 WHERE sealed_at IS NULL", [now.millis()])
                .map_err(trouble)?;
            Ok(((), (sealed > 0).then(|| Event::new(now, actor.clone(), "db.move", "sealed"))))
        })?,
    }
    // A connection of its own, and one snapshot for all tables: writers go on beside it.
    let mut connection = open::connect(&sqlite.path, Opening { create: false, ..Opening::default() })?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(trouble)?;
    let (database_id, created_at): ([u8; 16], i64) = tx
        .query_row("SELECT database_id, created_at FROM identity", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(trouble)?;
    let mut lines = Lines::begin(to, transfer, &Lines::start(&database_id, created_at, now, transfer))?;
    for table in TABLES {
        let sql = format!("SELECT {} FROM {} ORDER BY {}", names(table), table.name, table.order);
        let mut statement = tx.prepare(&sql).map_err(trouble)?;
        let mut found = statement.query([]).map_err(trouble)?;
        while let Some(row) = found.next().map_err(trouble)? {
            let mut values = Map::new();
            for (at, (name, kind)) in table.columns.iter().enumerate() {
                values.insert((*name).to_owned(), read(row.get_ref(at).map_err(trouble)?, *kind)?);
            }
            lines.row(table, values)?;
        }
    }
    lines.end(&sqlite.keys, actor)
}

/// Reads database into these, which have to be empty: one transaction.
pub fn import(sqlite: &Sqlite, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
    sqlite.set_up(|tx| {
        let full: bool = tx
            .query_row(
                "SELECT (SELECT sealed_at IS NOT NULL FROM identity) OR EXISTS (SELECT 1 FROM otps) OR EXISTS (SELECT 1 FROM audit)
                 OR EXISTS (SELECT 1 FROM subjects) OR EXISTS (SELECT 1 FROM tokens) OR EXISTS (SELECT 1 FROM test_numbers)",
                [],
                |row| row.get(0),
            )
            .map_err(trouble)?;
        if full {
            return Err(export::not_empty());
        }
        let mut reading = Reading::begin(from)?;
        let database_id = reading.database_id()?;
        tx.execute("DELETE FROM database_keys", []).map_err(trouble)?;
        tx.execute("UPDATE identity SET database_id = ?1, created_at = ?2", params![database_id, reading.start.created_at])
            .map_err(trouble)?;
        let mut keys: Option<DatabaseKeys> = None;
        let mut whole = Whole::default();
        loop {
            let batch = reading.rows(BATCH)?;
            if batch.is_empty() {
                break;
            }
            // The keys come first: without them nothing else is looked at.
            if keys.is_none() {
                keys = Some(export::unwrap(&batch, &database_id, ring)?);
            }
            for (table, row) in &batch {
                if table.name != "subjects" || !whole.take(row)? {
                    write(tx, table, row)?;
                }
            }
        }
        if let (Some(keys), Some(subjects)) = (&keys, TABLES.iter().find(|table| table.name == "subjects")) {
            for row in whole.shards(keys, 1)? {
                write(tx, subjects, &row)?;
            }
        }
        Ok(reading.done())
    })
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn read(value: ValueRef<'_>, kind: Kind) -> Result<Value> {
    let damaged = || {
        Error::new(Code::STORE_CORRUPT, "the database holds a value that smsotp never wrote")
            .hint("Run `smsotp db check`, then restore a backup.")
    };
    Ok(match (value, kind) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(n), Kind::Bool) => Value::from(n != 0),
        (ValueRef::Integer(n), Kind::Int) => Value::from(n),
        (ValueRef::Text(text) | ValueRef::Blob(text), Kind::Text | Kind::Body) => {
            Value::from(std::str::from_utf8(text).map_err(|_| damaged())?)
        }
        (ValueRef::Blob(bytes), Kind::Bytes) => Value::from(export::hex(bytes)),
        _ => return Err(damaged()),
    })
}

fn write(tx: &Transaction<'_>, table: &Table, row: &Map<String, Value>) -> Result<()> {
    let places: Vec<String> = (1..=table.columns.len()).map(|nth| format!("?{nth}")).collect();
    let sql = format!("INSERT INTO {} ({}) VALUES ({})", table.name, names(table), places.join(", "));
    let values = table.columns.iter().map(|(name, kind)| {
        use rusqlite::types::Value as Sql;
        match (row.get(*name).unwrap_or(&Value::Null), kind) {
            (Value::Number(n), _) => n.as_i64().map_or(Sql::Null, Sql::Integer),
            (Value::Bool(yes), _) => Sql::Integer(i64::from(*yes)),
            (Value::String(text), Kind::Bytes) => export::unhex(text).map_or(Sql::Null, Sql::Blob),
            (Value::String(text), Kind::Body) => Sql::Blob(text.clone().into_bytes()),
            (Value::String(text), _) => Sql::Text(text.clone()),
            _ => Sql::Null,
        }
    });
    tx.prepare_cached(&sql).and_then(|mut statement| statement.execute(params_from_iter(values))).map_err(trouble)?;
    Ok(())
}
