//! Opens and migrates the database, and unwraps its keys. Also its status and check.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::errors::Failure;
use super::maintenance::{MaintenanceResult, MaintenanceTask, MaintenanceTransaction, maintain};
use super::rows::{self, Statement, borrowed, column};
use super::{ALL_CHAINS, Attempts, NOW, Postgres};
use crate::audit::{Actor, Details, Event, SealedHead};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{self, DatabaseKeys, Keyring};
use crate::store::schema::{self, Dialect, Identity, KeyRow};
use crate::store::value::{Reader, damaged};
use crate::store::{MORE_MAX, Read, Status, wrapped};

/// The oldest supported server: 13.
const SERVER_MIN: i32 = 130_000;

/// A migration may have to rewrite a large table.
const MIGRATING: Duration = Duration::from_secs(24 * 3600);

/// The version of the tables, and whether a version before the first release made them: its tables had other names.
const VERSION: &str =
    "SELECT coalesce(max(version), 0)::bigint, to_regclass('smsotp.identity') IS NULL FROM smsotp.schema_versions";

/// Checks the version of the tables and unwraps the keys.
pub async fn open(store: &Postgres, ring: &Keyring) -> Result<DatabaseKeys> {
    let version = version(&store.query(&Statement::new(VERSION, Vec::new())).await?)?;
    if version < schema::newest() {
        return Err(Error::new(
            Code::STORE_FAILED,
            format!("the tables have version {version}, and this smsotp needs {}", schema::newest()),
        )
        .hint("Bring them up to date: smsotp db migrate"));
    }
    let identity = identity(store).await?;
    let select = &rows::statements::<KeyRow>().select;
    let wraps =
        store.query(&Statement::new(format!("{select} ORDER BY added_at, key_id LIMIT 200"), Vec::new())).await?;
    let wraps: Vec<KeyRow> = rows::all(&wraps)?;
    let keys = wrapped::unwrap(&wraps, &identity.database_id, ring)?;
    if wrapped::lacks_one(&wraps, ring) {
        for row in wrapped::wrap(&keys, &identity.database_id, ring, store.now().await?)? {
            store.query(&rows::put(&row)).await?;
        }
    }
    Ok(keys)
}

/// Which database this is.
pub async fn identity(store: &Postgres) -> Result<Identity> {
    let found = store.query(&rows::find::<Identity>(rows::int(1))).await?;
    rows::first(&found)?.ok_or_else(|| damaged("the table identity is empty"))
}

/// Creates or updates the tables, in a transaction that excludes other migrations.
pub async fn migrate(store: &Postgres, ring: &Keyring) -> Result<(u32, u32)> {
    let mut attempts = Attempts::within(store.wait_limit);
    loop {
        match store.long_step(migrate_once(store, ring)).await {
            Ok(versions) => return Ok(versions),
            Err(failure) => attempts.pause_after(failure).await?,
        }
    }
}

async fn migrate_once(store: &Postgres, ring: &Keyring) -> Result<(u32, u32), Failure> {
    let session = store.connections.take().await?;
    let client = session.client();
    let sql = "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')";
    let found = client.query_typed_one(sql, &[]).await?;
    fits(column(&found, 0)?, column(&found, 1)?)?;
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = 60000; SET LOCAL statement_timeout = {}; \
             CREATE SCHEMA IF NOT EXISTS smsotp; \
             CREATE TABLE IF NOT EXISTS smsotp.schema_versions (version bigint PRIMARY KEY, applied_at bigint NOT NULL); \
             LOCK TABLE smsotp.schema_versions IN ACCESS EXCLUSIVE MODE",
            MIGRATING.as_millis(),
        ))
        .await
        .map_err(at_the_same_time)?;
    let from = version(&client.query_typed(VERSION, &[]).await?)?;
    for (version, sql) in schema::migrations_after(from, Dialect::Postgres) {
        client.batch_execute(sql).await?;
        client.batch_execute(&format!("INSERT INTO smsotp.schema_versions VALUES ({version}, {NOW})")).await?;
    }
    if from == 0 {
        let mut database_id = [0; 16];
        keys::fill_random(&mut database_id)?;
        let found = client.query_typed(&format!("SELECT {NOW}"), &[]).await?;
        let now: Timestamp = rows::scalar(&found)?.ok_or_else(|| damaged("the time"))?;
        let mut statements = vec![rows::insert(&Identity { id: 1, database_id, created_at: now, sealed_at: None })];
        let keys = DatabaseKeys::generate()?;
        statements.extend(wrapped::wrap(&keys, &database_id, ring, now)?.iter().map(rows::insert));
        let head = |chain| SealedHead::empty(&keys.audit, chain, ALL_CHAINS);
        statements.extend((0..ALL_CHAINS).map(|chain| rows::insert(&head(chain))));
        for Statement { sql, params } in statements {
            client.execute_typed(&sql, &borrowed(&params)).await?;
        }
    }
    client.batch_execute("COMMIT").await?;
    session.done();
    Ok((from, schema::newest()))
}

/// If two migrations create the schema at the same time, the second one tries again.
fn at_the_same_time(error: tokio_postgres::Error) -> Failure {
    match error.code().map(|code| code.code().to_owned()).as_deref() {
        Some("42P06" | "42P07" | "42710") => Failure::Again(error.into()),
        _ => error.into(),
    }
}

fn fits(version: i32, encoding: &str) -> Result<()> {
    if version < SERVER_MIN {
        let major = version / 10_000;
        return Err(Error::new(Code::STORE_FAILED, format!("the server is PostgreSQL {major}, which is too old"))
            .hint("Use PostgreSQL 13 or newer."));
    }
    if encoding != "UTF8" {
        return Err(Error::new(Code::STORE_FAILED, "the database does not keep its texts as UTF-8")
            .hint("Make one that does: createdb --encoding=UTF8 --template=template0 NAME"));
    }
    Ok(())
}

/// Reads the result of [`VERSION`].
fn version(found: &[tokio_postgres::Row]) -> Result<u32> {
    let mut row = Reader::new(found.first().ok_or_else(|| damaged("schema_versions"))?);
    let version = row.next("schema_versions.version")?;
    schema::refuse_newer(version)?;
    if version > 0 && row.next("identity")? {
        return Err(schema::before_first_release("the schema smsotp of this database").hint(
            "No later version can read it. Name another database, or drop the schema and run: smsotp db migrate",
        ));
    }
    Ok(version)
}

/// Wraps the database's keys under every key of the ring, and drops the wraps of keys that are not in it.
pub async fn rewrap(store: &Postgres, ring: &Keyring, actor: &Actor) -> Result<()> {
    let database_id = identity(store).await?.database_id;
    maintain(store, &RewrapTask { store, ring, actor, database_id }).await
}

struct RewrapTask<'a> {
    store: &'a Postgres,
    ring: &'a Keyring,
    actor: &'a Actor,
    database_id: [u8; 16],
}

#[async_trait]
impl MaintenanceTask for RewrapTask<'_> {
    type Answer = ();

    async fn run(&self, transaction: &MaintenanceTransaction) -> Result<MaintenanceResult<()>, Failure> {
        let wraps = wrapped::wrap(&self.store.keys, &self.database_id, self.ring, transaction.now)?;
        let mut statements: Vec<Statement> = wraps.iter().map(rows::put).collect();
        let kept: Vec<String> = self.ring.ids().iter().map(ToString::to_string).collect();
        let keys = i64::try_from(kept.len()).unwrap_or(i64::MAX);
        let stale = "DELETE FROM smsotp.database_keys WHERE key_id <> ALL ($1)";
        statements.push(Statement::new(stale, vec![(Box::new(kept), Type::TEXT_ARRAY)]));
        let details = Details::new().number("keys", keys);
        let event = Event::new(transaction.now, self.actor.clone(), "keys.wrap", "done").details(details);
        Ok(MaintenanceResult { answer: (), statements, event: Some(event), head: None })
    }
}

/// The status, without reading a whole table.
pub async fn status(store: &Postgres) -> Result<Status> {
    // The span of ids estimates the number of rows with two look-ups.
    let sql = format!(
        "SELECT current_setting('server_version'), \
        (SELECT coalesce(max(version), 0)::bigint FROM smsotp.schema_versions), \
        (SELECT coalesce(max(id) - min(id) + 1, 0) FROM smsotp.otps), \
        (SELECT coalesce(max(id) - min(id) + 1, 0) FROM smsotp.messages), \
        (SELECT coalesce(sum(seq - pruned_seq), 0)::bigint FROM smsotp.audit_heads), \
        (SELECT count(*) FROM (SELECT 1 FROM smsotp.test_numbers LIMIT 1000) AS found), \
        (SELECT count(*) FROM (SELECT 1 FROM smsotp.list_entries LIMIT 1000) AS found), \
        (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c \
            WHERE c.relnamespace = 'smsotp'::regnamespace AND c.relkind = 'r'), \
        (SELECT count(*) FROM (SELECT 1 FROM smsotp.messages WHERE due_at IS NOT NULL LIMIT {MORE_MAX}) AS found)"
    );
    let found = store.query(&Statement::new(sql, Vec::new())).await?;
    let sql = "SELECT key_id, added_at FROM smsotp.database_keys WHERE name = $1 ORDER BY added_at, key_id LIMIT 100";
    let wraps = store.query(&Statement::new(sql, vec![rows::text(wrapped::INDEX)])).await?;
    let mut row = Reader::new(found.first().ok_or_else(|| damaged("status"))?);
    let wrapped_by = wraps.iter().map(|row| {
        let mut row = Reader::new(row);
        Ok((row.next("key_id")?, row.next("added_at")?))
    });
    Ok(Status {
        engine: format!("PostgreSQL {}", row.next::<String>("server_version")?),
        place: store.address.place(),
        schema: (row.next("version")?, schema::newest()),
        rows: vec![
            ("otps", row.next("otps")?),
            ("messages", row.next("messages")?),
            ("audit", row.next("audit")?),
            ("test_numbers", row.next("test_numbers")?),
            ("list_entries", row.next("list_entries")?),
        ],
        bytes: Some((row.next("size")?, 0)),
        due: row.next("due")?,
        wrapped_by: wrapped_by.collect::<Result<_>>()?,
    })
}
