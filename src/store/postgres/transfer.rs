//! Database that leave for another store, and database that arrive.

use std::io::{BufRead, Write};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use super::connect::Session;
use super::open::{Done, House, Work, house};
use super::rows::{self, Statement, column};
use super::trouble::{Failure, before_commit, trouble};
use super::{Postgres, SHARDS};
use crate::audit::{Actor, Event};
use crate::error::Result;
use crate::keys::{DatabaseKeys, Keyring};
use crate::store::export::{self, Kind, Lines, Reading, TABLES, Table, Transfer, Transferred, Whole};

/// How many rows are fetched or written at a time.
const BATCH: usize = 1000;

/// Writes the database as one moment saw them.
pub async fn export(
    store: &Postgres,
    to: &mut (dyn Write + Send),
    transfer: Transfer,
    actor: &Actor,
) -> Result<Transferred> {
    match transfer {
        Transfer::Copy => house(store, &Tell(actor)).await?,
        Transfer::Move => seal(store, actor).await?,
    }
    let session = store.connections.take().await.map_err(Failure::error)?;
    let client = session.client();
    // One snapshot for all tables; and a long read must not be cut short.
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        .await
        .map_err(trouble)?;
    let sql =
        "SELECT database_id, created_at, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM smsotp.identity";
    let found = client.query_typed_one(sql, &[]).await.map_err(trouble)?;
    let now = store.heard(column(&found, 2)?);
    let start = Lines::start(&rows::array(column(&found, 0)?, "database_id")?, column(&found, 1)?, now, transfer);
    let mut lines = Lines::begin(to, transfer, &start)?;
    for table in TABLES {
        let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let cursor = format!(
            "DECLARE leaving NO SCROLL CURSOR FOR SELECT to_json(t)::text FROM (SELECT {} FROM smsotp.{} ORDER BY {}) AS t",
            columns.join(", "),
            table.name,
            table.order
        );
        client.batch_execute(&cursor).await.map_err(trouble)?;
        loop {
            let found = client.query_typed(&format!("FETCH {BATCH} FROM leaving"), &[]).await.map_err(trouble)?;
            for row in &found {
                let row: Map<String, Value> =
                    serde_json::from_str(column(row, 0)?).map_err(|error| rows::damaged(&error.to_string()))?;
                lines.row(table, row)?;
            }
            if found.len() < BATCH {
                break;
            }
        }
        client.batch_execute("CLOSE leaving").await.map_err(trouble)?;
    }
    let transferred = lines.end(&store.keys, actor)?;
    client.batch_execute("ROLLBACK").await.map_err(trouble)?;
    session.done();
    Ok(transferred)
}

/// The database's own word that they were copied.
struct Tell<'a>(&'a Actor);

#[async_trait]
impl Work for Tell<'_> {
    type Answer = ();

    async fn run(&self, house: &House) -> Result<Done<()>, Failure> {
        let event = Event::new(house.now, self.0.clone(), "db.export", "done");
        Ok(Done { answer: (), statements: Vec::new(), event: Some(event) })
    }
}

/// Seals the database, unless they are: whoever holds every chain has waited for the end of every operation, and every later operation
/// sees the seal once it has its chain.
async fn seal(store: &Postgres, actor: &Actor) -> Result<()> {
    let found = store.query("SELECT 1 FROM smsotp.identity WHERE sealed_at IS NOT NULL", Vec::new()).await?;
    if !found.is_empty() {
        return Ok(());
    }
    house(store, &Seal(actor)).await
}

struct Seal<'a>(&'a Actor);

#[async_trait]
impl Work for Seal<'_> {
    type Answer = ();

    async fn run(&self, house: &House) -> Result<Done<()>, Failure> {
        let chains = "SELECT 1 FROM smsotp.audit_chains WHERE chain > 0 ORDER BY chain FOR NO KEY UPDATE";
        house.session.client().query_typed(chains, &[]).await.map_err(before_commit)?;
        let statement = Statement {
            table: "",
            or_none: None,
            sql: "UPDATE smsotp.identity SET sealed_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            values: Vec::new(),
        };
        let event = Event::new(house.now, self.0.clone(), "db.move", "sealed");
        Ok(Done { answer: (), statements: vec![statement], event: Some(event) })
    }
}

/// Reads database into these, which have to be empty: one transaction.
pub async fn import(store: &Postgres, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
    let session = store.connections.take().await.map_err(Failure::error)?;
    let client = session.client();
    client
        .batch_execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0; \
             SET LOCAL lock_timeout = 5000; SET LOCAL idle_in_transaction_session_timeout = 0; \
             LOCK TABLE smsotp.subjects, smsotp.audit, smsotp.otps, smsotp.identity IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .map_err(trouble)?;
    let sql = "SELECT (SELECT sealed_at IS NOT NULL FROM smsotp.identity) \
        OR EXISTS (SELECT 1 FROM smsotp.otps) OR EXISTS (SELECT 1 FROM smsotp.audit) OR EXISTS (SELECT 1 FROM smsotp.subjects) \
        OR EXISTS (SELECT 1 FROM smsotp.tokens) OR EXISTS (SELECT 1 FROM smsotp.test_numbers)";
    let found = client.query_typed_one(sql, &[]).await.map_err(trouble)?;
    if column(&found, 0)? {
        return Err(export::not_empty());
    }
    let mut reading = Reading::begin(from)?;
    let database_id = reading.database_id()?;
    client.batch_execute("DELETE FROM smsotp.database_keys").await.map_err(trouble)?;
    client
        .execute_typed(
            "UPDATE smsotp.identity SET database_id = $1, created_at = $2",
            &[(&database_id.to_vec(), Type::BYTEA), (&reading.start.created_at, Type::INT8)],
        )
        .await
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
        for table in TABLES {
            let mut rows = Vec::new();
            for (_, row) in batch.iter().filter(|(of, _)| of.name == table.name) {
                if table.name != "subjects" || !whole.take(row)? {
                    rows.push(row);
                }
            }
            write(&session, table, &rows).await?;
        }
    }
    if let (Some(keys), Some(subjects)) = (&keys, TABLES.iter().find(|table| table.name == "subjects")) {
        let shards = whole.shards(keys, SHARDS)?;
        write(&session, subjects, &shards.iter().collect::<Vec<_>>()).await?;
    }
    let client = session.client();
    client
        .batch_execute(
            "SELECT setval('smsotp.otp_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.otps), false), \
             setval('smsotp.message_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.messages), false), \
             setval('smsotp.token_ids', (SELECT coalesce(max(id), 0) + 1 FROM smsotp.tokens), false); COMMIT",
        )
        .await
        .map_err(trouble)?;
    session.done();
    Ok(reading.done())
}

async fn write(session: &Session, table: &Table, rows: &[&Map<String, Value>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let types: Vec<String> = table.columns.iter().map(|(name, kind)| format!("\"{name}\" {}", word(*kind))).collect();
    let sql = format!(
        "INSERT INTO smsotp.{} ({names}) SELECT {names} FROM json_to_recordset($1::text::json) AS t ({})",
        table.name,
        types.join(", "),
        names = names.join(", "),
    );
    let text = serde_json::to_string(rows).map_err(|error| rows::damaged(&error.to_string()))?;
    session.client().execute_typed(&sql, &[(&text, Type::TEXT)]).await.map_err(trouble)?;
    Ok(())
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint",
        Kind::Text | Kind::Body => "text",
        Kind::Bytes => "bytea",
        Kind::Bool => "boolean",
    }
}
