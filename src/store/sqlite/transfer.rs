//! Exports the database, and imports one.

use std::io::{BufRead, Write};

use rusqlite::{TransactionBehavior, params, params_from_iter};

use super::{CHAINS, Sqlite, SqliteOptions, open, rows};
use crate::audit::{Actor, Event};
use crate::error::Result;
use crate::keys::Keyring;
use crate::store::export::{ExportWriter, Transfer, Transferred};
use crate::store::import::{self, ImportReader};
use crate::store::schema::{self, Dialect};
use crate::store::value::{Cells, Value};

/// How many rows are written at a time.
const BATCH: usize = 1000;

/// Exports a snapshot of the database.
pub fn export(sqlite: &Sqlite, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
    let now = sqlite.clock.now();
    let event = |action, outcome: &str| Event::new(now, actor.clone(), action, outcome);
    let record = |outcome| sqlite.maintain(|_, _| Ok(((), Some(event("db.export", outcome)))));
    match transfer {
        Transfer::Copy => record("begun")?,
        Transfer::Move => sqlite.maintain(|tx, _| {
            let seal = "UPDATE identity SET sealed_at = ?1 WHERE sealed_at IS NULL";
            let sealed = rows::execute(tx, seal, [now.millis()])? > 0;
            Ok(((), sealed.then(|| event("db.move", "sealed"))))
        })?,
    }
    let written = write_lines(sqlite, to, transfer, actor);
    if transfer == Transfer::Copy {
        let recorded = record(if written.is_ok() { "done" } else { "failed" });
        return written.and_then(|transferred| recorded.map(|()| transferred));
    }
    written
}

/// Writes the lines of an export out of one snapshot.
fn write_lines(sqlite: &Sqlite, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
    let now = sqlite.clock.now();
    // On a connection of its own, with one snapshot for all tables: writers are not blocked.
    let mut connection = open::connect(&sqlite.path, SqliteOptions { create: false, ..SqliteOptions::default() })?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut lines = ExportWriter::begin(to, transfer, &open::identity(&tx, &sqlite.path)?, now)?;
    for table in schema::exported() {
        let sql = format!("{} ORDER BY {}", table.statements(Dialect::Sqlite).select, table.order);
        let mut statement = tx.prepare(&sql)?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let values = (0..table.columns.len()).map(|at| row.cell(at)).collect::<Result<Vec<Value<'_>>>>()?;
            lines.row(table, values)?;
        }
    }
    lines.end(&sqlite.keys, actor)
}

/// Imports into this database, which has to be empty, in one transaction.
pub fn import(sqlite: &Sqlite, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
    sqlite.set_up(|tx| {
        let empty = "SELECT sealed_at IS NULL AND NOT EXISTS (SELECT 1 FROM otps) AND NOT EXISTS (SELECT 1 FROM audit_heads WHERE seq > 0)
            AND NOT EXISTS (SELECT 1 FROM subjects) AND NOT EXISTS (SELECT 1 FROM tokens)
            AND NOT EXISTS (SELECT 1 FROM test_numbers) AND NOT EXISTS (SELECT 1 FROM list_entries) FROM identity";
        if !rows::value(tx, empty, [])?.unwrap_or(false) {
            return Err(import::not_empty());
        }
        let mut import = ImportReader::begin(from, ring, CHAINS)?;
        rows::execute(tx, "DELETE FROM database_keys", [])?;
        rows::execute(tx, "DELETE FROM audit_heads", [])?;
        let identity = "UPDATE identity SET database_id = ?1, created_at = ?2";
        rows::execute(tx, identity, params![import.database_id, import.created_at().millis()])?;
        loop {
            let batch = import.rows(BATCH)?;
            if batch.is_empty() {
                return Ok(import.done());
            }
            for (table, values) in batch {
                rows::execute(tx, &table.statements(Dialect::Sqlite).insert, params_from_iter(values))?;
            }
        }
    })
}
