//! Group commit: one writer on a thread of its own takes many operations into one transaction and answers none of them before the
//! commit. A durable commit costs the disk the same for one operation as for a hundred.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::known::Known;
use super::log::{Log, Moving};
use super::{Loaded, Opening, Sqlite, open, trouble};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::store::export::{Transfer, Transferred};
use crate::store::{Decide, Decision, Maintain, Needs, Operate, PurgeBatch, PurgeCursor, Purged, Store};

/// How many operations one commit takes at most.
const GROUP_MAX: usize = 256;

/// How long a group goes on taking operations in, so that other processes get their turn and the first one its answer.
const GROUP_TIME: Duration = Duration::from_millis(10);

/// How long a group waits at most for operations that are about to come: about what one commit takes.
const GATHER: Duration = Duration::from_micros(200);

/// How long it waits for the next one.
const LULL: Duration = Duration::from_micros(25);

/// What the writer may keep of the database, in KiB. A crowd's operations change many hundred pages between two commits; those that do
/// not fit are written to the log, and read again, before their time.
const WRITER_CACHE_KIB: i64 = 3 * 1024;

/// How many operations may wait for the writer; more of them are told to come back.
const QUEUE_MAX: usize = 4096;

/// Runs the operations of a process that has many at once.
struct GroupWriter {
    /// `None` once it is being dropped.
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    keys: DatabaseKeys,
}

/// An operation on its way to the writer.
struct Job {
    needs: Needs,
    decide: Decide,
    answer: oneshot::Sender<Result<()>>,
}

/// Opens the database as [`Sqlite::open`] does, for a process that does many operations at once: they go through one writer,
/// reads have a connection that never writes, and maintenance has one of its own.
///
/// # Errors
/// As [`Sqlite::open`].
pub fn open_grouped(path: &Path, ring: &Keyring, clock: Arc<dyn Clock>, opening: Opening) -> Result<Store> {
    let writing = Sqlite::open(path, ring, Arc::clone(&clock), opening)?;
    let again = Opening { create: false, create_dir: false, ..opening };
    let reads = Sqlite::open(path, ring, Arc::clone(&clock), again)?;
    let aside = Sqlite::open(path, ring, clock, again)?;
    Ok(Store {
        operations: Arc::new(GroupWriter::start(writing, again)?),
        reads: Arc::new(reads),
        maintenance: Arc::new(Aside(Arc::new(aside))),
    })
}

impl GroupWriter {
    fn start(sqlite: Sqlite, again: Opening) -> Result<GroupWriter> {
        sqlite.connection().pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(trouble)?;
        let log = Log::watched(&mut sqlite.connection())?;
        let mover = open::connect(&sqlite.path, again)?;
        let keys = sqlite.keys.clone();
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let spawn = std::thread::Builder::new().name("writer".to_owned());
        let writer = spawn
            .spawn(move || write_all(&sqlite, (mover, log), &queue))
            .map_err(|error| Error::new(Code::BUG, "the writer's thread cannot start").because(error))?;
        Ok(GroupWriter { jobs: Some(jobs), writer: Some(writer), keys })
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        // Without a sender the writer finishes what it has and ends.
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The writer's life: waits for an operation, takes in what has come meanwhile, commits, answers.
fn write_all(sqlite: &Sqlite, (mover, log): (Connection, Arc<Log>), queue: &Receiver<Job>) {
    let mut moving = Moving::begin(mover, log);
    let mut size = 1;
    while let Ok(first) = queue.recv() {
        size = group(sqlite, gathered(first, queue, size / 5 * 4), queue);
        moving.look(sqlite);
    }
    moving.end();
}

/// The first operation with those that come at once. Where the last group was a crowd, its callers are just being answered and come
/// again in a moment: most of them are waited for, for as long as one follows on the other, because a commit costs the same
/// for all. Whoever is alone never waits.
fn gathered(first: Job, queue: &Receiver<Job>, most: usize) -> Vec<Job> {
    let (mut jobs, begun) = (vec![first], Instant::now());
    jobs.extend(queue.try_iter().take(GROUP_MAX - 1));
    let mut last = begun;
    while jobs.len() < most {
        let now = Instant::now();
        match queue.try_recv() {
            Ok(job) => {
                jobs.push(job);
                last = now;
            }
            Err(_) if now - last > LULL || now - begun > GATHER => break,
            // Too short for a timer: whoever prepares an operation gets the processor.
            Err(_) => std::thread::yield_now(),
        }
    }
    jobs
}

/// What came of a group's quick way.
enum Quick {
    /// It is on the disk; each operation has its result.
    Committed,
    /// An operation broke off in the middle of its writing, so nothing of the group was kept.
    Spoiled,
}

fn group(sqlite: &Sqlite, mut jobs: Vec<Job>, queue: &Receiver<Job>) -> usize {
    let mut results = Vec::new();
    let committed = match quickly(sqlite, &mut jobs, queue, &mut results) {
        Ok(Quick::Committed) => Ok(()),
        Ok(Quick::Spoiled) => {
            results.clear();
            carefully(sqlite, &mut jobs, &mut results)
        }
        Err(error) => Err(error),
    };
    let (size, mut results) = (jobs.len(), results.into_iter());
    for Job { answer, .. } in jobs {
        let result = results.next();
        // Whoever asked may have gone; the operation stands all the same.
        let _ = answer.send(match &committed {
            Ok(()) => {
                result.unwrap_or_else(|| Err(Error::new(Code::BUG, "an operation was committed without a result")))
            }
            Err(error) => Err(same(error)),
        });
    }
    size
}

/// One transaction of many operations; more are taken in while it runs. An error means that none of them happened.
///
/// An operation that says no has written nothing, so there is nothing to take back and no savepoint: one for each operation would copy
/// every page that the operation touches, and that costs a fifth of the writer's time. An operation that breaks off while it writes
/// spoils the group, which is then gone through again, carefully.
fn quickly(
    sqlite: &Sqlite,
    jobs: &mut Vec<Job>,
    queue: &Receiver<Job>,
    results: &mut Vec<Result<()>>,
) -> Result<Quick> {
    let mut connection = sqlite.connection();
    let _turn = sqlite.take_turn()?;
    let tx = super::begin(&mut connection, &sqlite.path)?;
    let mut known = Known::recall(sqlite, &tx)?;
    let begun = Instant::now();
    let mut changed = false;
    while let Some(Job { needs, decide, .. }) = jobs.get_mut(results.len()) {
        match decided(sqlite, (&tx, &mut known), needs, decide) {
            // Where reading failed so badly that the transaction is gone, the operations before this one are gone too.
            Err(error) if tx.is_autocommit() => return Err(error),
            Err(error) => results.push(Err(error)),
            Ok((loaded, decision)) => {
                let write = || sqlite.write_decision(&tx, &mut known, &loaded, &decision);
                let Ok(Ok(wrote)) = catch_unwind(AssertUnwindSafe(write)) else { return Ok(Quick::Spoiled) };
                changed |= wrote;
                results.push(Ok(()));
            }
        }
        if results.len() == jobs.len() && jobs.len() < GROUP_MAX && begun.elapsed() < GROUP_TIME {
            jobs.extend(queue.try_recv());
        }
    }
    // Also a "no" waits for the commit: it may rest on what an operation before it in this transaction did.
    if changed {
        tx.commit().map_err(trouble)?
    } else {
        tx.rollback().map_err(trouble)?
    }
    known.keep(sqlite);
    Ok(Quick::Committed)
}

/// The same operations again, each in a savepoint: the one that breaks off is taken back alone.
fn carefully(sqlite: &Sqlite, jobs: &mut [Job], results: &mut Vec<Result<()>>) -> Result<()> {
    let mut connection = sqlite.connection();
    let _turn = sqlite.take_turn()?;
    let tx = super::begin(&mut connection, &sqlite.path)?;
    let mut known = Known::recall(sqlite, &tx)?;
    for Job { needs, decide, .. } in jobs {
        let result = in_savepoint(sqlite, (&tx, &mut known), needs, decide);
        match result {
            // A full disk takes the whole transaction back, and with it the operations before this one.
            Err(error) if tx.is_autocommit() => return Err(error),
            result => results.push(result),
        }
    }
    tx.commit().map_err(trouble)
}

/// What an operation knows and what it wants to write.
fn decided(
    sqlite: &Sqlite,
    (tx, known): (&Transaction<'_>, &mut Known),
    needs: &Needs,
    decide: &mut Decide,
) -> Result<(Loaded, Decision)> {
    catch_unwind(AssertUnwindSafe(|| {
        let loaded = sqlite.load(tx, known, needs)?;
        let decision = decide(&loaded.facts)?;
        Ok((loaded, decision))
    }))
    .unwrap_or_else(|_| Err(broke_off()))
}

fn broke_off() -> Error {
    Error::new(Code::BUG, "an operation broke off; nothing of it was written")
}

/// One operation that may fail in the middle.
fn in_savepoint(
    sqlite: &Sqlite,
    (tx, known): (&Transaction<'_>, &mut Known),
    needs: &Needs,
    decide: &mut Decide,
) -> Result<()> {
    let run = |sql: &str| tx.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(trouble);
    run("SAVEPOINT operation")?;
    let done = decided(sqlite, (tx, known), needs, decide).and_then(|(loaded, decision)| {
        let written = catch_unwind(AssertUnwindSafe(|| sqlite.write_decision(tx, known, &loaded, &decision)));
        written.unwrap_or_else(|_| Err(broke_off())).map(drop)
    });
    if done.is_err() && !tx.is_autocommit() {
        run("ROLLBACK TO operation")?;
        known.forget();
    }
    if !tx.is_autocommit() {
        run("RELEASE operation")?;
    }
    done
}

/// The same error for everyone whom it hit.
fn same(error: &Error) -> Error {
    let mut copy = Error::new(error.code(), error.message());
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    if let Some(after) = error.retry_after_hint() {
        copy = copy.retry_after(after);
    }
    match std::error::Error::source(error) {
        Some(source) => copy.because(source.to_string()),
        None => copy,
    }
}

#[async_trait]
impl Operate for GroupWriter {
    fn keys(&self) -> &DatabaseKeys {
        &self.keys
    }

    async fn operate(&self, needs: Needs, decide: Decide) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::new(Code::BUG, "the writer of the database has stopped");
        match self.jobs.as_ref().ok_or_else(stopped)?.try_send(Job { needs, decide, answer }) {
            Ok(()) => answered.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => {
                Err(Error::new(Code::STORE_BUSY, format!("{QUEUE_MAX} operations wait for the database already"))
                    .retry_after(Duration::from_secs(1)))
            }
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }
}

/// Maintenance on a connection and threads of its own: what waits for the writer's place holds up no request.
struct Aside(Arc<Sqlite>);

impl Aside {
    async fn run<A: Send + 'static>(&self, run: impl FnOnce(&Sqlite) -> Result<A> + Send + 'static) -> Result<A> {
        let sqlite = Arc::clone(&self.0);
        let ran = tokio::task::spawn_blocking(move || run(&sqlite)).await;
        ran.map_err(|error| Error::new(Code::BUG, "a task of the store broke off").because(error))?
    }
}

#[async_trait]
impl Maintain for Aside {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        let batch = batch.clone();
        self.run(move |sqlite| super::purge::run(sqlite, &batch)).await
    }

    async fn scrub(&self) -> Result<bool> {
        self.run(super::purge::scrub).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.run(|sqlite| open::check(&sqlite.connection())).await
    }

    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64> {
        let (to, actor) = (to.to_owned(), actor.clone());
        self.run(move |sqlite| open::backup(sqlite, &to, &actor)).await
    }

    // A server exports and imports nothing: these two run where they are called.
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::audit::Event;
    use crate::clock::SystemClock;
    use crate::keys::SecretKey;
    use crate::store::sqlite::log::TOO_LONG;
    use crate::store::{Change, SubjectId};

    fn open(dir: &Path) -> Store {
        let ring = Keyring::of(vec![SecretKey::generate().unwrap()]).unwrap();
        open_grouped(&dir.join("smsotp.db"), &ring, Arc::new(SystemClock), Opening::default()).unwrap()
    }

    fn noted(facts: &crate::store::Facts, outcome: &str, changes: Vec<Change>) -> Decision {
        let event = Event::new(facts.now, Actor::System, "test", outcome);
        Decision::Write { changes, event, answer: () }
    }

    fn block_on<T>(story: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
    }

    #[test]
    fn a_operation_that_fails_or_panics_takes_nobody_elses_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        // No panic message of a planned panic in the log of the tests.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let ran = AtomicU32::new(0);
        block_on(async {
            let operations = (0..60u32).map(|nth| {
                let decide: Decide = Box::new(move |facts| match nth % 3 {
                    0 => Ok(noted(facts, "done", Vec::new())),
                    1 => Err(Error::new(Code::VALUE_INVALID, "no")),
                    _ => panic!("planned"),
                });
                let (store, ran) = (&store, &ran);
                async move {
                    let result = store.operations.operate(Needs::default(), decide).await;
                    match nth % 3 {
                        0 => result.unwrap(),
                        1 => assert_eq!(result.unwrap_err().code(), Code::VALUE_INVALID),
                        _ => assert_eq!(result.unwrap_err().code(), Code::BUG),
                    }
                    ran.fetch_add(1, Ordering::SeqCst);
                }
            });
            futures_util::future::join_all(operations).await;
        });
        std::panic::set_hook(hook);

        assert_eq!(ran.load(Ordering::SeqCst), 60);
        let rows = block_on(store.reads.audit(0, 0, 100)).unwrap();
        assert_eq!(rows.iter().filter(|row| String::from_utf8_lossy(&row.body).contains("\"test\"")).count(), 20);
    }

    #[test]
    fn a_operation_that_breaks_off_while_it_writes_is_taken_back_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block_on(async {
            let operations = (0..40u32).map(|nth| {
                let decide: Decide = Box::new(move |facts| {
                    // The usage of a subject that nobody asked for cannot be written.
                    let foreign = Change::PutUsage(SubjectId([7; 16]), Default::default(), None);
                    let broken = nth % 4 == 0;
                    let changes = if broken { vec![foreign] } else { Vec::new() };
                    Ok(noted(facts, if broken { "broken" } else { "whole" }, changes))
                });
                let store = &store;
                async move {
                    let result = store.operations.operate(Needs::default(), decide).await;
                    assert_eq!(result.is_err(), nth % 4 == 0, "{nth}: {result:?}");
                }
            });
            futures_util::future::join_all(operations).await;
        });
        let rows = block_on(store.reads.audit(0, 0, 100)).unwrap();
        let said = |what: &str| rows.iter().filter(|row| String::from_utf8_lossy(&row.body).contains(what)).count();
        assert_eq!((said("broken"), said("whole")), (0, 30));
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
            // Ten times as much as is too long.
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
