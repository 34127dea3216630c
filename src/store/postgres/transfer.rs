//! Exports the database, and imports one.

use std::io::{BufRead, Write};

use async_trait::async_trait;

use super::errors::Failure;
use super::maintenance::{MaintenanceResult, MaintenanceTask, MaintenanceTransaction, maintain};
use super::rows::{self, Statement, int};
use super::{ALL_CHAINS, NOW, Postgres, open};
use crate::audit::{Actor, Event};
use crate::error::Result;
use crate::keys::Keyring;
use crate::store::export::{ExportWriter, Transfer, Transferred};
use crate::store::import::{self, ImportReader};
use crate::store::schema::{self, Dialect};
use crate::store::value::{Cells, Value, damaged};

/// How many rows are read or written at a time.
const BATCH: usize = 1000;

/// Exports a snapshot of the database.
pub async fn export(
    store: &Postgres,
    to: &mut (dyn Write + Send),
    transfer: Transfer,
    actor: &Actor,
) -> Result<Transferred> {
    let identity = open::identity(store).await?;
    // A move that failed half way may be repeated: the database is sealed by then.
    if transfer == Transfer::Copy || identity.sealed_at.is_none() {
        maintain(store, &ExportTask { transfer, actor, outcome: "begun" }).await?;
    }
    let written = write_lines(store, to, transfer, actor).await;
    if transfer == Transfer::Copy {
        let outcome = if written.is_ok() { "done" } else { "failed" };
        let recorded = maintain(store, &ExportTask { transfer, actor, outcome }).await;
        return written.and_then(|transferred| recorded.map(|()| transferred));
    }
    written
}

/// Writes the lines of an export out of one snapshot.
async fn write_lines(
    store: &Postgres,
    to: &mut (dyn Write + Send),
    transfer: Transfer,
    actor: &Actor,
) -> Result<Transferred> {
    let session = store.connections.take().await.map_err(Failure::error)?;
    let client = session.client();
    let identity = open::identity(store).await?;
    // One snapshot for all tables, without time limits of the server's: each step has its own here.
    store
        .step(client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"))
        .await?;
    let now = rows::scalar(&store.step(client.query_typed(&format!("SELECT {NOW}"), &[])).await?)?;
    let now = store.note_time(now.ok_or_else(|| damaged("the time"))?);
    let mut lines = ExportWriter::begin(to, transfer, &identity, now)?;
    for table in schema::exported() {
        let select = &table.statements(Dialect::Postgres).select;
        let order = table.order;
        let cursor = format!("DECLARE exported NO SCROLL CURSOR FOR {select} ORDER BY {order}");
        store.step(client.batch_execute(&cursor)).await?;
        loop {
            let found = store.step(client.query_typed(&format!("FETCH {BATCH} FROM exported"), &[])).await?;
            for row in &found {
                let values = (0..table.columns.len()).map(|at| row.cell(at)).collect::<Result<Vec<Value<'_>>>>()?;
                lines.row(table, values)?;
            }
            if found.len() < BATCH {
                break;
            }
        }
        store.step(client.batch_execute("CLOSE exported")).await?;
    }
    let transferred = lines.end(&store.keys, actor)?;
    store.step(async { session.roll_back().await.map_err(Failure::error) }).await?;
    Ok(transferred)
}

/// Writes the audit row of an export, and the seal of a move. Holding every audit chain means that all earlier operations have ended, and
/// every later one sees the seal after it has locked its chain.
struct ExportTask<'a> {
    transfer: Transfer,
    actor: &'a Actor,
    /// How far a copy has come.
    outcome: &'static str,
}

#[async_trait]
impl MaintenanceTask for ExportTask<'_> {
    type Answer = ();

    async fn run(&self, transaction: &MaintenanceTransaction) -> Result<MaintenanceResult<()>, Failure> {
        let event = |action, outcome: &str| Some(Event::new(transaction.now, self.actor.clone(), action, outcome));
        if self.transfer == Transfer::Copy {
            let event = event("db.export", self.outcome);
            return Ok(MaintenanceResult { answer: (), statements: Vec::new(), event, head: None });
        }
        let chains = "SELECT 1 FROM smsotp.audit_heads WHERE chain > 0 ORDER BY chain FOR NO KEY UPDATE";
        transaction.session.query(&Statement::new(chains, Vec::new())).await?;
        let seal = Statement::new(format!("UPDATE smsotp.identity SET sealed_at = {NOW}"), Vec::new());
        Ok(MaintenanceResult { answer: (), statements: vec![seal], event: event("db.move", "sealed"), head: None })
    }
}

/// Imports into this database, which has to be empty, in one transaction.
pub async fn import(store: &Postgres, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
    let session = store.connections.take().await.map_err(Failure::error)?;
    let client = session.client();
    store
        .step(client.batch_execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0; \
             SET LOCAL lock_timeout = 5000; SET LOCAL idle_in_transaction_session_timeout = 0; \
             LOCK TABLE smsotp.subjects, smsotp.audit_heads, smsotp.audit, smsotp.otps, smsotp.identity IN ACCESS EXCLUSIVE MODE",
        ))
        .await?;
    let sql = "SELECT sealed_at IS NULL AND NOT EXISTS (SELECT 1 FROM smsotp.otps) AND NOT EXISTS (SELECT 1 FROM smsotp.audit_heads WHERE seq > 0) \
        AND NOT EXISTS (SELECT 1 FROM smsotp.subjects) AND NOT EXISTS (SELECT 1 FROM smsotp.tokens) \
        AND NOT EXISTS (SELECT 1 FROM smsotp.test_numbers) AND NOT EXISTS (SELECT 1 FROM smsotp.list_entries) FROM smsotp.identity";
    if !rows::scalar(&store.step(client.query_typed(sql, &[])).await?)?.unwrap_or(false) {
        return Err(import::not_empty());
    }
    let mut import = ImportReader::begin(from, ring, ALL_CHAINS)?;
    store.step(client.batch_execute("DELETE FROM smsotp.database_keys; DELETE FROM smsotp.audit_heads")).await?;
    let identity = "UPDATE smsotp.identity SET database_id = $1, created_at = $2";
    let params = vec![rows::bytes(&import.database_id), int(import.created_at().millis())];
    store.step(session.query(&Statement::new(identity, params))).await?;
    loop {
        let batch = import.rows(BATCH)?;
        if batch.is_empty() {
            break;
        }
        let statements: Vec<Statement> = batch
            .into_iter()
            .map(|(table, values)| {
                let columns = table.columns.iter().zip(values);
                let params = columns.map(|(column, value)| rows::param(column.holds, value)).collect();
                Statement::new(table.statements(Dialect::Postgres).insert.as_str(), params)
            })
            .collect();
        store.step(session.query_all(&statements)).await?;
    }
    store
        .step(client.batch_execute(
            "SELECT setval('smsotp.otp_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.otps), false), \
             setval('smsotp.message_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.messages), false), \
             setval('smsotp.token_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.tokens), false), \
             setval('smsotp.alarm_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.alarms), false), \
             setval('smsotp.money_event_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.money_events), false); COMMIT",
        ))
        .await?;
    session.done();
    Ok(import.done())
}
