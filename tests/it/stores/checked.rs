//! A store that is looked at before and after each operation: an operation writes at most one audit row, and exactly one where it
//! changed anything else in the database.
//!
//! What is looked at is the database itself, past the store. `messages.due_at` is left out, and so is the count of
//! refusals that the log has told of: moving the time of a retry or of a poll, and counting one more "no", have no
//! audit row. The sums of reports are not looked at here, for counting a "no" changes them: each story's end compares them with the messages.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use smsotp::audit::Actor;
use smsotp::error::Result;
use smsotp::keys::{DatabaseKeys, Keyring};
use smsotp::store::export::{Transfer, Transferred};
use smsotp::store::{AuditPrune, Decide, Maintain, Needs, Operate, PurgeBatch, PurgeCursor, Purged, Store};
use tokio_postgres::NoTls;

use super::Database;

/// Rows of a PostgreSQL database whose last transaction wrote no audit row, and transactions that wrote several: this holds for a
/// crowd, too. A message that is out, that is due at some time or whose price is asked for may have been rescheduled, and what a database begins with is no operation's.
pub const WITHOUT_THEIR_AUDIT_ROW: &str = "WITH logged AS (SELECT xmin::text AS by, count(*) AS rows FROM audit GROUP BY 1), \
    written AS (SELECT 'otps' AS what, xmin::text AS by FROM otps UNION ALL SELECT 'subjects', xmin::text FROM subjects WHERE usage::jsonb -> 'refusals' IS NULL AND kind NOT IN ('country', 'block', 'everything') \
        UNION ALL SELECT 'messages', xmin::text FROM messages WHERE due_at IS NULL AND state NOT IN ('accepted', 'sent') AND (settled IS NOT NULL OR state NOT IN ('undelivered', 'delivered', 'read')) \
        UNION ALL SELECT 'replies', xmin::text FROM replies UNION ALL SELECT 'tokens', xmin::text FROM tokens \
        UNION ALL SELECT 'test_numbers', xmin::text FROM test_numbers \
        UNION ALL SELECT 'prices', xmin::text FROM prices UNION ALL SELECT 'alarms', xmin::text FROM alarms \
        UNION ALL SELECT 'balance', xmin::text FROM balance \
        UNION ALL SELECT 'list_entries', xmin::text FROM list_entries) \
    SELECT what || ' were written by a transaction without an audit row' FROM written WHERE by NOT IN (SELECT by FROM logged) \
    UNION ALL SELECT rows || ' audit rows were written by one transaction' FROM logged WHERE rows > 1";

/// A subject with what limits remember of it, without its count of refusals and what the guard makes of those.
const REMEMBERED: &str = "(SELECT r FROM (SELECT t.tag, t.id, t.kind, t.masked, t.idle_at, t.usage::jsonb - '{refusals,country,block,everything}'::text[] AS usage) AS r)";

/// What was found, and which operations are under way, in all stores of one story.
#[derive(Default)]
pub struct Checks {
    begun: AtomicU64,
    running: AtomicU64,
    findings: Mutex<Vec<String>>,
}

impl Checks {
    pub fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap().clone()
    }
}

/// The parts of a store that change anything.
struct Checked {
    store: Store,
    checks: Arc<Checks>,
    look: Look,
}

/// A connection past the store.
enum Look {
    Sqlite(Mutex<rusqlite::Connection>),
    Postgres(tokio_postgres::Client, String),
}

/// How many audit rows there are, and all that the other tables hold.
#[derive(PartialEq, Eq)]
struct Picture {
    audit_rows: i64,
    rest: String,
}

/// An operation that is under way: also one that is abandoned comes to its end.
struct Running<'a>(&'a Checks);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The same store, checked.
pub async fn checked(store: Store, database: &Database, checks: Arc<Checks>) -> Store {
    let look = match &database.url {
        Some(url) => Look::postgres(url).await,
        None => Look::Sqlite(Mutex::new(database.sql())),
    };
    let checked = Arc::new(Checked { store: store.clone(), checks, look });
    Store { operations: checked.clone(), maintenance: checked, reads: store.reads }
}

impl Checked {
    /// Runs what changes nothing and says in the log that it began and how it ended.
    async fn two_rows<A>(&self, what: &str, copy: impl Future<Output = Result<A>>) -> Result<A> {
        let before = self.look.picture().await;
        let answer = copy.await;
        let after = self.look.picture().await;
        let added = after.audit_rows - before.audit_rows;
        if answer.is_ok()
            && self.checks.running.load(Ordering::SeqCst) == 0
            && (added != 2 || after.rest != before.rest)
        {
            self.checks.findings.lock().unwrap().push(format!("{what}: audit rows {added}"));
        }
        answer
    }

    /// Runs one operation. Only one that ran alone is judged: of a crowd nobody could say which wrote what.
    async fn checked<A>(&self, what: &str, operation: impl Future<Output = Result<A>>) -> Result<A> {
        let nth = self.checks.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let alone = self.checks.running.fetch_add(1, Ordering::SeqCst) == 0;
        let _running = Running(&self.checks);
        if !alone {
            return operation.await;
        }
        let before = self.look.picture().await;
        let answer = operation.await;
        let after = self.look.picture().await;
        let added = after.audit_rows - before.audit_rows;
        let changed = after.rest != before.rest;
        let right = if changed { added == 1 } else { (0..=1).contains(&added) };
        if !right && self.checks.begun.load(Ordering::SeqCst) == nth {
            let finding = format!("operation {nth} ({what}): audit rows {added}, other changes {changed}");
            self.checks.findings.lock().unwrap().push(finding);
        }
        answer
    }
}

impl Look {
    async fn postgres(url: &str) -> Look {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'smsotp' AND tablename NOT IN ('audit', 'audit_heads', 'money_events', 'sums') ORDER BY 1";
        let each: Vec<String> = client
            .query(tables, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| {
                let table: &str = row.get(0);
                format!(
                    "(SELECT coalesce(md5(string_agg(row, ' ' ORDER BY row)), '') \
                      FROM (SELECT (to_jsonb({row}) - 'due_at')::text AS row FROM smsotp.{table} AS t) AS rows)",
                    row = if table == "subjects" { REMEMBERED } else { "t" },
                )
            })
            .collect();
        let picture = format!("SELECT (SELECT count(*) FROM smsotp.audit), {}", each.join(" || "));
        Look::Postgres(client, picture)
    }

    async fn picture(&self) -> Picture {
        match self {
            Look::Sqlite(connection) => of_sqlite(&connection.lock().unwrap()).unwrap(),
            Look::Postgres(client, picture) => {
                let row = client.query_one(picture, &[]).await.unwrap();
                Picture { audit_rows: row.get(0), rest: row.get(1) }
            }
        }
    }
}

fn of_sqlite(connection: &rusqlite::Connection) -> rusqlite::Result<Picture> {
    let audit_rows = connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('audit', 'audit_heads', 'money_events', 'sums') AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> =
        connection.prepare(tables)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut rest = DefaultHasher::new();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
        let kept: Vec<usize> = (0..statement.column_count())
            .filter(|at| statement.column_name(*at).is_ok_and(|name| name != "due_at"))
            .collect();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for at in &kept {
                match row.as_ref().column_name(*at)? {
                    "usage" => without_refusals(&row.get::<_, String>(*at)?).hash(&mut rest),
                    _ => format!("{:?}", row.get_ref(*at)?).hash(&mut rest),
                }
            }
        }
    }
    Ok(Picture { audit_rows, rest: rest.finish().to_string() })
}

fn without_refusals(usage: &str) -> String {
    let mut usage: serde_json::Value = serde_json::from_str(usage).unwrap();
    for of_refusals in ["refusals", "country", "block", "everything"] {
        usage.as_object_mut().unwrap().remove(of_refusals);
    }
    usage.to_string()
}

#[async_trait]
impl Operate for Checked {
    fn keys(&self) -> &DatabaseKeys {
        self.store.operations.keys()
    }
    async fn operate(&self, needs: Needs, decide: Decide) -> Result<()> {
        self.checked("operate", self.store.operations.operate(needs, decide)).await
    }
}

#[async_trait]
impl Maintain for Checked {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        self.checked("purge", self.store.maintenance.purge(batch)).await
    }
    async fn scrub(&self) -> Result<bool> {
        self.checked("scrub", self.store.maintenance.scrub()).await
    }
    /// Takes away audit rows: what it leaves is verified at the end of each story.
    async fn prune_audit(&self, step: &AuditPrune) -> Result<u64> {
        self.store.maintenance.prune_audit(step).await
    }
    async fn check(&self) -> Result<Vec<String>> {
        self.checked("check", self.store.maintenance.check()).await
    }
    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64> {
        self.two_rows("backup", self.store.maintenance.backup(to, actor)).await
    }
    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
        match transfer {
            Transfer::Copy => self.two_rows("export", self.store.maintenance.export(to, transfer, actor)).await,
            Transfer::Move => self.checked("move", self.store.maintenance.export(to, transfer, actor)).await,
        }
    }
    /// Brings its audit rows along.
    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
        self.store.maintenance.import(from, ring).await
    }
    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()> {
        self.checked("rewrap", self.store.maintenance.rewrap(ring, actor)).await
    }
}
