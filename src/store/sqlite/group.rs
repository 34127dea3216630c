//! Group commit: one writer thread runs many operations in one transaction and answers them after the commit. A durable commit costs
//! the disk the same for one operation as for a hundred.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::checkpoints::Checkpoints;
use super::{Sqlite, SqliteOptions, errors, open};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::store::export::{Transfer, Transferred};
use crate::store::{AuditPrune, Decide, Maintain, Needs, Operate, PurgeBatch, PurgeCursor, Purged, Store};
use crate::wipe;

/// How many operations one commit takes at most.
const GROUP_MAX: usize = 256;

/// How long a group takes in further operations, so that other processes get their turn and the first operation its answer.
const GROUP_TIME: Duration = Duration::from_millis(10);

/// The writer's page cache, in KiB. A group changes many hundreds of pages; those that do not fit are written to the log early, and
/// read again.
const WRITER_CACHE_KIB: i64 = 2 * 1024;

/// The page cache of the connection that reads, in KiB: it looks up tokens and single rows, and the system caches the file.
const READER_CACHE_KIB: i64 = 512;

/// How many operations may wait for the writer; further ones are refused as busy.
const QUEUE_MAX: usize = 4096;

/// Runs the operations of a process that has many at the same time.
struct GroupWriter {
    /// `None` once it is being dropped.
    queue: Option<SyncSender<QueuedOperation>>,
    writer: Option<JoinHandle<()>>,
    keys: DatabaseKeys,
}

/// An operation that waits for the writer.
struct QueuedOperation {
    needs: Needs,
    decide: Decide,
    answer: oneshot::Sender<Result<()>>,
}

/// Opens the database as [`Sqlite::open`] does, for a process that has many operations at the same time: one writer runs them, reads
/// have a connection that never writes, and maintenance has its own.
///
/// # Errors
/// As [`Sqlite::open`].
pub fn open_grouped(path: &Path, ring: &Keyring, clock: Arc<dyn Clock>, options: SqliteOptions) -> Result<Store> {
    let writing = Sqlite::open(path, ring, Arc::clone(&clock), options)?;
    let again = SqliteOptions { create: false, create_dir: false, ..options };
    let reads = Sqlite::open(path, ring, Arc::clone(&clock), again)?;
    reads.connection().pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    let maintenance = Sqlite::open(path, ring, clock, again)?;
    Ok(Store {
        operations: Arc::new(GroupWriter::start(writing, again)?),
        reads: Arc::new(reads),
        maintenance: Arc::new(BackgroundMaintenance(Arc::new(maintenance))),
    })
}

impl GroupWriter {
    fn start(sqlite: Sqlite, again: SqliteOptions) -> Result<GroupWriter> {
        sqlite.connection().pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // What a savepoint may have to restore: a group's fits into memory, and a temporary file would be written for most operations.
        sqlite.connection().pragma_update(None, "temp_store", "MEMORY")?;
        let checkpoints = Checkpoints::begin(&mut sqlite.connection(), open::connect(&sqlite.path, again)?)?;
        let keys = sqlite.keys.clone();
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || write_all(&sqlite, checkpoints, &waiting))
            .map_err(|error| Error::new(Code::BUG, "the writer's thread cannot start").because(error))?;
        Ok(GroupWriter { queue: Some(queue), writer: Some(writer), keys })
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        // Without a sender the writer finishes what is queued and ends.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The writer thread: waits for an operation, runs it together with those that arrive meanwhile, commits, answers.
fn write_all(sqlite: &Sqlite, mut checkpoints: Checkpoints, queue: &Receiver<QueuedOperation>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        // The caller may be gone; the operation is committed all the same.
        match write_group(sqlite, &mut jobs, queue) {
            Ok(results) => jobs.into_iter().zip(results).for_each(|(job, result)| drop(job.answer.send(result))),
            Err(error) => jobs.into_iter().for_each(|job| drop(job.answer.send(Err(errors::copy(&error))))),
        }
        checkpoints.after_commit(&sqlite.connection());
        // The operations compared codes.
        wipe::unused_stack();
    }
    checkpoints.end();
}

/// Runs the operations in one transaction and takes in more of them from the queue meanwhile. Returns the result of each; an error means
/// that none of them was committed.
fn write_group(
    sqlite: &Sqlite,
    jobs: &mut Vec<QueuedOperation>,
    queue: &Receiver<QueuedOperation>,
) -> Result<Vec<Result<()>>> {
    let mut connection = sqlite.connection();
    let _turn = sqlite.take_turn()?;
    let mut tx = super::begin(&mut connection, &sqlite.path)?;
    let begun = Instant::now();
    let (mut results, mut changed) = (Vec::new(), false);
    while let Some(job) = jobs.get_mut(results.len()) {
        let result = in_savepoint(sqlite, &mut tx, job);
        if tx.is_autocommit() {
            // SQLite has rolled back the whole transaction, as it does when the disk is full: the operations before this one are lost too.
            return Err(result.err().unwrap_or_else(panicked));
        }
        changed |= matches!(result, Ok(true));
        results.push(result.map(drop));
        if results.len() == jobs.len() && jobs.len() < GROUP_MAX && begun.elapsed() < GROUP_TIME {
            jobs.extend(queue.try_recv());
        }
    }
    // Refusals wait for the commit too: they may depend on an earlier operation of this transaction.
    if changed {
        tx.commit()?
    } else {
        tx.rollback()?
    }
    Ok(results)
}

/// Runs one operation in a savepoint: if it fails or panics, it alone is rolled back. Returns whether it changed anything.
fn in_savepoint(sqlite: &Sqlite, tx: &mut Transaction<'_>, job: &mut QueuedOperation) -> Result<bool> {
    let operation = || {
        let savepoint = tx.savepoint()?;
        let changed = sqlite.run(&savepoint, &job.needs, &mut job.decide)?;
        savepoint.commit()?;
        Ok(changed)
    };
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    Error::new(Code::BUG, "an operation panicked; nothing of it was written")
}

#[async_trait]
impl Operate for GroupWriter {
    fn keys(&self) -> &DatabaseKeys {
        &self.keys
    }

    async fn operate(&self, needs: Needs, decide: Decide) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(Code::BUG, "the writer of the database has stopped");
        match self.queue.as_ref().ok_or_else(stopped)?.try_send(QueuedOperation { needs, decide, answer }) {
            Ok(()) => answered.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => {
                Err(Error::new(Code::STORE_BUSY, format!("{QUEUE_MAX} operations wait for the database already"))
                    .retry_after(Duration::from_secs(1)))
            }
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

/// Maintenance on its own connection and threads, so that its waiting for a turn to write does not block requests.
struct BackgroundMaintenance(Arc<Sqlite>);

impl BackgroundMaintenance {
    async fn run<A: Send + 'static>(&self, run: impl FnOnce(&Sqlite) -> Result<A> + Send + 'static) -> Result<A> {
        let sqlite = Arc::clone(&self.0);
        let ran = tokio::task::spawn_blocking(move || run(&sqlite)).await;
        ran.map_err(|error| Error::new(Code::BUG, "a task of the store panicked").because(error))?
    }
}

#[async_trait]
impl Maintain for BackgroundMaintenance {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        let batch = batch.clone();
        self.run(move |sqlite| super::purge::run(sqlite, &batch)).await
    }

    async fn scrub(&self) -> Result<bool> {
        self.run(super::purge::scrub).await
    }

    async fn prune_audit(&self, step: &AuditPrune) -> Result<u64> {
        let step = step.clone();
        self.run(move |sqlite| super::purge::prune_audit(sqlite, &step)).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.run(|sqlite| open::check(&sqlite.connection())).await
    }

    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64> {
        let (to, actor) = (to.to_owned(), actor.clone());
        self.run(move |sqlite| open::backup(sqlite, &to, &actor)).await
    }

    // A server neither exports nor imports: these two run on the caller's thread.
    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
        self.0.export(to, transfer, actor).await
    }

    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
        self.0.import(from, ring).await
    }

    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()> {
        self.0.rewrap(ring, actor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Event, Verifier};
    use crate::clock::SystemClock;
    use crate::keys::SecretKey;
    use crate::store::sqlite::checkpoints::TOO_LONG;
    use crate::store::{Change, Decision, Facts};
    use crate::token::{Scopes, Token};

    fn open(dir: &Path) -> Store {
        let ring = Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap();
        open_grouped(&dir.join("smsotp.db"), &ring, Arc::new(SystemClock), SqliteOptions::default()).unwrap()
    }

    fn noted(facts: &Facts, outcome: &str, changes: Vec<Change>) -> Decision {
        let event = Event::new(facts.now, Actor::System, "test", outcome);
        Decision::Write { changes, event, answer: () }
    }

    fn block_on<T>(story: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
    }

    /// A token under the next id.
    fn token(facts: &Facts) -> Change {
        let id = facts.next_token_id;
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&id.to_be_bytes());
        Change::NewToken(Token {
            id,
            name: format!("nr-{id}"),
            tag,
            scopes: Scopes::parse("send").unwrap(),
            rate: 1,
            conversion_unknown: false,
            user: None,
            service: true,
            created_at: facts.now,
            expires_at: None,
            revoked_at: None,
            created_by: "test".into(),
            seal: [0; 32],
        })
    }

    /// State that is kept outside of the transaction, such as the next id or the head of the audit log, would show here.
    #[test]
    fn an_operation_that_fails_panics_or_breaks_off_takes_nobody_elses_with_it_and_leaves_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        // Keeps the message of the planned panics out of the test's output.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let (release, released) = std::sync::mpsc::channel::<()>();
        block_on(async {
            let operate = |decide: Decide| store.operations.operate(Needs { ids: true, ..Needs::default() }, decide);
            // The first one blocks the writer until all others are queued.
            let first: Decide = Box::new(move |_| {
                released.recv().unwrap();
                Ok(Decision::Nothing(()))
            });
            let others = (0..60u32).map(|nth| async move {
                let decide: Decide = Box::new(move |facts| match nth % 4 {
                    0 => Ok(noted(facts, "whole", vec![token(facts)])),
                    1 => Err(Error::new(Code::VALUE_INVALID, "no")),
                    2 => panic!("planned"),
                    // The same id twice: the second insert fails.
                    _ => Ok(noted(facts, "broken", vec![token(facts), token(facts)])),
                });
                let result = operate(decide).await;
                match nth % 4 {
                    0 => result.unwrap(),
                    1 => assert_eq!(result.unwrap_err().code(), Code::VALUE_INVALID),
                    2 => assert_eq!(result.unwrap_err().code(), Code::BUG),
                    _ => assert_eq!(result.unwrap_err().code(), Code::STORE_FAILED),
                }
            });
            let all = async {
                futures_util::future::join_all(others).await;
            };
            let let_go = async { release.send(()).unwrap() };
            let (held, (), ()) = tokio::join!(biased; operate(first), all, let_go);
            held.unwrap();
        });
        std::panic::set_hook(hook);

        let mut ids: Vec<i64> = block_on(store.reads.tokens()).unwrap().iter().map(|token| token.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=15).collect::<Vec<i64>>());
        let heads = block_on(store.reads.audit_heads()).unwrap();
        assert_eq!(heads[0].seq, 15);
        let mut verifier = Verifier::new(&store.operations.keys().audit).sealed(&heads);
        for row in block_on(store.reads.audit(0, 1, 100)).unwrap() {
            assert!(String::from_utf8_lossy(&row.body).contains("whole"));
            verifier.check_row(row);
        }
        verifier.finish().unwrap();
    }

    #[test]
    fn what_was_answered_is_in_the_file_for_everyone() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let before = block_on(store.reads.audit_heads()).unwrap()[0].seq;

        block_on(store.operations.operate(Needs::default(), Box::new(|facts| Ok(noted(facts, "done", Vec::new())))))
            .unwrap();

        assert_eq!(block_on(store.reads.audit_heads()).unwrap()[0].seq, before + 1, "another connection reads it");
    }

    #[test]
    fn the_log_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block_on(async {
            // Ten times as many pages as are too long.
            for _ in 0..2_000 {
                let long = "x".repeat(6_000);
                let decide: Decide = Box::new(move |facts| Ok(noted(facts, &long, Vec::new())));
                store.operations.operate(Needs::default(), decide).await.unwrap();
            }
        });
        let log = std::fs::metadata(dir.path().join("smsotp.db-wal")).unwrap().len();
        assert!(log < u64::from(TOO_LONG) * 4096 * 2, "{log}");
    }
}
