//! The database themselves: migrate, open, unwrap the keys; status and check.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::connect::Session;
use super::facts::{CHAIN, head};
use super::rows::{self, Statement, Value, borrowed, bytes, column, int, text};
use super::trouble::{Failure, before_commit, trouble};
use super::{OperationId, Patience, Postgres, Writes};
use crate::audit::{Actor, Details, Event, Head};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{self, DatabaseKeys, KeyId, Keyring, WrappedKeys};
use crate::store::{MORE_MAX, Status};

/// The migrations in their order: version and SQL. A migration that has landed never changes.
const MIGRATIONS: &[(u32, &str)] = &[(1, include_str!("../migrations/postgres/0001_initial.sql"))];

/// The oldest server that knows everything that is used: 13.
const SERVER_MIN: i32 = 130_000;

/// A migration may have to rewrite a large table.
const MIGRATING: Duration = Duration::from_secs(24 * 3600);

/// Finds the tables as this binary needs them, and opens their keys.
pub async fn open(store: &Postgres, ring: &Keyring) -> Result<DatabaseKeys> {
    let found = store.query("SELECT coalesce(max(version), 0) FROM smsotp.schema_versions", Vec::new()).await?;
    let version: i32 = found.first().map_or(Ok(0), |row| column(row, 0))?;
    let version = known(version)?;
    if version < newest() {
        return Err(Error::new(
            Code::STORE_FAILED,
            format!("the tables have version {version}, and this smsotp needs {}", newest()),
        )
        .hint("Bring them up to date: smsotp db migrate"));
    }
    let (database_id, wraps) = wraps(store).await?;
    let keys = unwrap(&database_id, &wraps, ring)?;
    if ring.ids().into_iter().any(|id| !wraps.iter().any(|wrap| wrap.key_id == id)) {
        for statement in wrap(&database_id, &keys, ring)? {
            store.query(statement.sql, statement.values).await?;
        }
    }
    Ok(keys)
}

/// Makes or updates the tables, in one transaction that no second one can run beside.
pub async fn migrate(store: &Postgres, ring: &Keyring) -> Result<(u32, u32)> {
    let mut patience = Patience::of(store.patience);
    loop {
        match migrate_once(store, ring).await {
            Ok(versions) => return Ok(versions),
            Err(failure) => patience.after(failure).await?,
        }
    }
}

async fn migrate_once(store: &Postgres, ring: &Keyring) -> Result<(u32, u32), Failure> {
    let session = store.connections.take().await?;
    let client = session.client();
    let found = client
        .query_typed_one(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')",
            &[],
        )
        .await
        .map_err(before_commit)?;
    fits(column(&found, 0)?, column(&found, 1)?)?;
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = 60000; SET LOCAL statement_timeout = {}; \
             CREATE SCHEMA IF NOT EXISTS smsotp; \
             CREATE TABLE IF NOT EXISTS smsotp.schema_versions (version integer PRIMARY KEY, applied_at bigint NOT NULL); \
             LOCK TABLE smsotp.schema_versions IN ACCESS EXCLUSIVE MODE",
            MIGRATING.as_millis(),
        ))
        .await
        .map_err(beside)?;
    let found = client
        .query_typed_one("SELECT coalesce(max(version), 0) FROM smsotp.schema_versions", &[])
        .await
        .map_err(before_commit)?;
    let from = known(column(&found, 0)?)?;
    for (version, sql) in MIGRATIONS.iter().filter(|(version, _)| *version > from) {
        client.batch_execute(sql).await.map_err(before_commit)?;
        client
            .batch_execute(&format!(
                "INSERT INTO smsotp.schema_versions VALUES ({version}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
            ))
            .await
            .map_err(before_commit)?;
    }
    if from == 0 {
        let mut database_id = [0; 16];
        keys::fill_random(&mut database_id)?;
        let mut statements = wrap(&database_id, &DatabaseKeys::generate()?, ring)?;
        statements.insert(
            0,
            Statement {
                table: "",
                or_none: None,
                sql: "INSERT INTO smsotp.identity (one, database_id, created_at) \
                      VALUES (1, $1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
                values: vec![bytes(&database_id)],
            },
        );
        for Statement { sql, values, .. } in statements {
            client.execute_typed(sql, &borrowed(&values)).await.map_err(before_commit)?;
        }
    }
    client.batch_execute("COMMIT").await.map_err(before_commit)?;
    session.done();
    Ok((from, newest()))
}

/// Two that make the same schema at once: the second one looks again.
fn beside(error: tokio_postgres::Error) -> Failure {
    match error.code().map(|code| code.code().to_owned()).as_deref() {
        Some("42P06" | "42P07" | "42710") => Failure::Again(trouble(error)),
        _ => before_commit(error),
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

fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}

fn known(version: i32) -> Result<u32> {
    let version = u32::try_from(version).unwrap_or(0);
    if version > newest() {
        return Err(Error::new(
            Code::STORE_NEWER,
            format!("the database has version {version}; this smsotp knows up to {}", newest()),
        )
        .hint("Use the newer smsotp that migrated it; going back would lose what only it understands."));
    }
    Ok(version)
}

/// The database's id and their keys as wrapped under each accepted key.
async fn wraps(store: &Postgres) -> Result<([u8; 16], Vec<WrappedKeys>)> {
    let found = store.query("SELECT database_id FROM smsotp.identity", Vec::new()).await?;
    let row = found.first().ok_or_else(|| rows::damaged("database"))?;
    let database_id = rows::array(column(row, 0)?, "database_id")?;
    let sql = "SELECT i.key_id, i.wrapped, a.wrapped FROM smsotp.database_keys AS i \
               JOIN smsotp.database_keys AS a ON a.key_id = i.key_id \
               WHERE i.name = 'index' AND a.name = 'audit' ORDER BY i.key_id LIMIT 100";
    let mut wraps = Vec::new();
    for row in store.query(sql, Vec::new()).await? {
        let key_id = KeyId::parse(column(&row, 0)?).ok_or_else(|| rows::damaged("key_id"))?;
        wraps.push(WrappedKeys { key_id, index: column(&row, 1)?, audit: column(&row, 2)? });
    }
    Ok((database_id, wraps))
}

fn unwrap(database_id: &[u8; 16], wraps: &[WrappedKeys], ring: &Keyring) -> Result<DatabaseKeys> {
    match wraps.iter().find_map(|wrap| ring.get(&wrap.key_id).map(|secret| (wrap, secret))) {
        Some((wrap, secret)) => DatabaseKeys::unwrap(wrap, secret, database_id),
        None => Err(ring.missing(&wraps.iter().map(|wrap| wrap.key_id).collect::<Vec<_>>())),
    }
}

fn wrap(database_id: &[u8; 16], keys: &DatabaseKeys, ring: &Keyring) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    for secret in ring.keys() {
        let wrapped = keys.wrap(secret, database_id)?;
        for (name, sealed) in [("index", &wrapped.index), ("audit", &wrapped.audit)] {
            statements.push(Statement {
                table: "",
                or_none: None,
                sql: "INSERT INTO smsotp.database_keys (name, key_id, wrapped, added_at) \
                      VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) ON CONFLICT DO NOTHING",
                values: vec![text(name), text(wrapped.key_id.to_string()), bytes(sealed)],
            });
        }
    }
    Ok(statements)
}

/// Wraps the database's keys under every key of the ring, and drops the wraps of keys that are not in it.
pub async fn rewrap(store: &Postgres, ring: &Keyring, actor: &Actor) -> Result<()> {
    let (database_id, _) = wraps(store).await?;
    let kept: Vec<String> = ring.ids().iter().map(ToString::to_string).collect();
    house(store, &Rewrap { store, ring, actor, database_id, kept }).await
}

struct Rewrap<'a> {
    store: &'a Postgres,
    ring: &'a Keyring,
    actor: &'a Actor,
    database_id: [u8; 16],
    kept: Vec<String>,
}

#[async_trait]
impl Work for Rewrap<'_> {
    type Answer = ();

    async fn run(&self, house: &House) -> Result<Done<()>, Failure> {
        let mut statements = wrap(&self.database_id, &self.store.keys, self.ring)?;
        statements.push(Statement {
            table: "",
            or_none: None,
            sql: "DELETE FROM smsotp.database_keys WHERE key_id <> ALL ($1)",
            values: vec![(Box::new(self.kept.clone()), Type::TEXT_ARRAY)],
        });
        let keys = i64::try_from(self.kept.len()).unwrap_or(i64::MAX);
        let details = Details::new().number("keys", keys);
        let event = Event::new(house.now, self.actor.clone(), "keys.wrap", "done").details(details);
        Ok(Done { answer: (), statements, event: Some(event) })
    }
}

/// A transaction of the housekeeping, with chain 0 of the audit log locked.
pub struct House {
    /// Its connection.
    pub session: Session,
    /// The present, read after the lock.
    pub now: Timestamp,
    head: Head,
}

/// What a maintenance transaction did: without its audit row nothing of it is kept.
pub struct Done<A> {
    /// For the caller.
    pub answer: A,
    /// What is still to be written.
    pub statements: Vec<Statement>,
    /// For the audit log.
    pub event: Option<Event>,
}

/// What a housekeeping transaction does. It may be run again, always in a transaction of its own.
#[async_trait]
pub trait Work: Sync {
    /// What it answers.
    type Answer: Send;
    /// Does it.
    async fn run(&self, house: &House) -> Result<Done<Self::Answer>, Failure>;
}

/// How long one transaction of the housekeeping may take: its few statements end by themselves long before. It is for a
/// server that says nothing any more.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Runs a transaction of the housekeeping.
pub async fn house<W: Work>(store: &Postgres, work: &W) -> Result<W::Answer> {
    let mut patience = Patience::of(store.patience);
    loop {
        let (mut operation, mut kept) = (None, None);
        let attempt = Patience::of(HOUSEKEEPING).within(house_once(store, work, &mut operation, &mut kept)).await;
        let failure = match (attempt, operation) {
            (Ok(()), _) => None,
            (Err(failure), Some(unknown)) => {
                store.settle(unknown, failure.error()).await?;
                None
            }
            (Err(failure), None) => Some(failure),
        };
        match (failure, kept) {
            (None, Some(answer)) => return Ok(answer),
            (None, None) => return Err(Error::new(Code::BUG, "housekeeping ended without an answer")),
            (Some(failure), _) => patience.after(failure).await?,
        }
    }
}

/// One attempt; `operation` is set while nobody knows whether it was committed, and then `answer` is there.
async fn house_once<W: Work>(
    store: &Postgres,
    work: &W,
    operation: &mut Option<OperationId>,
    answer: &mut Option<W::Answer>,
) -> Result<(), Failure> {
    let house = begin(store).await?;
    let done = work.run(&house).await?;
    *answer = Some(done.answer);
    let Some(event) = &done.event else {
        house.session.client().batch_execute("ROLLBACK").await.map_err(before_commit)?;
        house.session.done();
        return Ok(());
    };
    let writes = Writes::audited(store, done.statements, house.head, event)?;
    store.commit(house.session, &writes, operation).await
}

async fn begin(store: &Postgres) -> Result<House, Failure> {
    let session = store.connections.take().await?;
    let chain: [Value; 1] = [(Box::new(0i16), Type::INT2)];
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, b.sealed_at, h.seq, h.mac FROM smsotp.identity AS b \
               LEFT JOIN (SELECT seq, mac FROM smsotp.audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1) AS h ON true";
    let client = session.client();
    let (begun, locked, last) = tokio::join!(
            biased;
        client.batch_execute(session.begin()),
        session.ask(CHAIN, &chain),
        session.ask(sql, &chain),
    );
    begun.map_err(before_commit)?;
    locked.map_err(before_commit)?;
    let last = last.map_err(before_commit)?;
    let row = last.first().ok_or_else(|| rows::damaged("database"))?;
    if column::<Option<i64>>(row, 1)?.is_some() {
        return Err(crate::store::export::sealed().into());
    }
    let now = store.heard(column(row, 0)?);
    let head = head(0, row, 2)?;
    Ok(House { session, now, head })
}

/// Facts about the database, none of which reads a whole table.
pub async fn status(store: &Postgres) -> Result<Status> {
    // Between the lowest and the highest id nearly every id is a row: an estimate that costs two look-ups.
    let sql = "SELECT current_setting('server_version'), \
        (SELECT coalesce(max(version), 0) FROM smsotp.schema_versions), \
        (SELECT coalesce(max(id) - min(id) + 1, 0) FROM smsotp.otps), \
        (SELECT coalesce(max(id) - min(id) + 1, 0) FROM smsotp.messages), \
        (SELECT coalesce(sum(h.seq), 0)::bigint FROM smsotp.audit_chains AS l, LATERAL \
            (SELECT seq FROM smsotp.audit AS a WHERE a.chain = l.chain ORDER BY seq DESC LIMIT 1) AS h), \
        (SELECT count(*) FROM (SELECT 1 FROM smsotp.test_numbers LIMIT 1000) AS found), \
        (SELECT count(*) FROM (SELECT 1 FROM smsotp.messages WHERE due_at IS NOT NULL LIMIT $1) AS found), \
        (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c \
            WHERE c.relnamespace = 'smsotp'::regnamespace AND c.relkind = 'r')";
    let found = store.query(sql, vec![int(i64::from(MORE_MAX))]).await?;
    let row = found.first().ok_or_else(|| rows::damaged("status"))?;
    let count = |at: usize| column::<i64>(row, at).map(|n| u64::try_from(n).unwrap_or(0));
    let sql =
        "SELECT key_id, added_at FROM smsotp.database_keys WHERE name = 'index' ORDER BY added_at, key_id LIMIT 100";
    let mut wrapped_by = Vec::new();
    for row in store.query(sql, Vec::new()).await? {
        wrapped_by.push((column(&row, 0)?, Timestamp(column(&row, 1)?)));
    }
    Ok(Status {
        engine: format!("PostgreSQL {}", column::<&str>(row, 0)?),
        place: store.address.place(),
        schema: (u32::try_from(column::<i32>(row, 1)?).unwrap_or(0), newest()),
        rows: vec![("otps", count(2)?), ("messages", count(3)?), ("audit", count(4)?), ("test_numbers", count(5)?)],
        bytes: Some((count(7)?, 0)),
        due: u32::try_from(count(6)?).unwrap_or(MORE_MAX),
        wrapped_by,
    })
}

/// Looks for damage, and for settings of the server that break a promise.
pub async fn check(store: &Postgres) -> Result<Vec<String>> {
    const ASKED: &[(&str, &str)] = &[
        (
            "SELECT 1 WHERE current_setting('fsync') = 'off'",
            "fsync is off on the server: a power failure can destroy the whole database",
        ),
        (
            "SELECT 1 WHERE current_setting('full_page_writes') = 'off'",
            "full_page_writes is off on the server: a power failure can destroy pages",
        ),
        (
            "SELECT 1 WHERE current_setting('synchronous_commit') = 'off'",
            "synchronous_commit is off: a code that was used could be used again after a crash of the server",
        ),
        (
            "SELECT 1 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
             WHERE c.relnamespace = 'smsotp'::regnamespace AND NOT (i.indisvalid AND i.indisready) LIMIT 1",
            "an index is not valid: run REINDEX SCHEMA smsotp",
        ),
        (
            "SELECT 1 FROM pg_constraint AS c WHERE c.connamespace = 'smsotp'::regnamespace AND NOT c.convalidated LIMIT 1",
            "a constraint was never validated",
        ),
        (
            "SELECT 1 FROM smsotp.messages AS m WHERE m.otp_id IS NOT NULL AND m.due_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM smsotp.otps AS o WHERE o.id = m.otp_id) LIMIT 1",
            "a message belongs to an otp that is not there",
        ),
        (
            "SELECT 1 FROM smsotp.otps WHERE state = 'active' AND ended_at IS NOT NULL LIMIT 1",
            "an otp lives although it has ended",
        ),
        (
            "SELECT 1 WHERE (SELECT coalesce(max(id), 0) FROM smsotp.otps) > (SELECT last_value FROM smsotp.otp_ids) \
             OR (SELECT coalesce(max(id), 0) FROM smsotp.messages) > (SELECT last_value FROM smsotp.message_ids)",
            "a sequence of ids is behind its table: ids would be used twice",
        ),
    ];
    let mut findings = Vec::new();
    for (sql, finding) in ASKED {
        if !store.query(sql, Vec::new()).await?.is_empty() {
            findings.push((*finding).to_owned());
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (index, (version, _)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(*version).unwrap(), index + 1);
        }
    }
}
