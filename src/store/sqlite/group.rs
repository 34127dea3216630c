//! Group commit: one writer on a thread of its own takes many operations into one transaction and answers none of them before the
//! commit. A durable commit costs the disk the same for one operation as for a hundred.

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
use crate::audit::{self, Actor};
use crate::clock::{Clock, Timestamp};
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::message::Message;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::store::{
    Change, Decide, Filter, Needs, Page, PurgeBatch, PurgeCursor, Purged, Reply, Status, Store, Subject, SubjectFact,
    SubjectId, TestNumber,
};
use crate::token::Token;

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

/// The database in one SQLite file, for a process that does many operations at once.
pub struct Grouped {
    /// `None` once it is being dropped.
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// For what every request asks: a connection that never writes.
    reads: Sqlite,
    /// For what takes its time: purge, status, copies.
    aside: Arc<Sqlite>,
}

/// An operation on its way to the writer.
struct Job {
    needs: Needs,
    decide: Decide,
    tell: oneshot::Sender<Result<()>>,
}

impl Grouped {
    /// Opens the database as [`Sqlite::open`] does, and starts the writer.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open(path: &Path, ring: &Keyring, clock: Arc<dyn Clock>, opening: Opening) -> Result<Grouped> {
        let writing = Sqlite::open(path, ring, Arc::clone(&clock), opening)?;
        let again = Opening { create: false, create_dir: false, ..opening };
        let reads = Sqlite::open(path, ring, Arc::clone(&clock), again)?;
        let aside = Arc::new(Sqlite::open(path, ring, clock, again)?);
        writing.connection().pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(trouble)?;
        let log = Log::watched(&mut writing.connection())?;
        let mover = open::connect(path, again)?;
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let spawn = std::thread::Builder::new().name("writer".to_owned());
        let writer = spawn
            .spawn(move || write_all(&writing, (mover, log), &queue))
            .map_err(|error| Error::new(Code::BUG, "the writer's thread cannot start").because(error))?;
        Ok(Grouped { jobs: Some(jobs), writer: Some(writer), reads, aside })
    }

    /// Runs something that may wait for the writer's place without holding up the callers' threads.
    async fn beside<A: Send + 'static>(&self, run: impl FnOnce(&Sqlite) -> Result<A> + Send + 'static) -> Result<A> {
        let aside = Arc::clone(&self.aside);
        let ran = tokio::task::spawn_blocking(move || run(&aside)).await;
        ran.map_err(|error| Error::new(Code::BUG, "a task of the store broke off").because(error))?
    }
}

impl Drop for Grouped {
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
    for Job { tell, .. } in jobs {
        let result = results.next();
        // Whoever asked may have gone; the operation stands all the same.
        let _ = tell.send(match &committed {
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
            Ok((loaded, changes)) => {
                let wrote = changes.is_empty()
                    || catch_unwind(AssertUnwindSafe(|| sqlite.apply(&tx, &mut known, (needs, &loaded), &changes)))
                        .is_ok_and(|applied| applied.is_ok());
                if !wrote {
                    return Ok(Quick::Spoiled);
                }
                changed |= !changes.is_empty();
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
) -> Result<(Loaded, Vec<Change>)> {
    catch_unwind(AssertUnwindSafe(|| {
        let loaded = sqlite.load(tx, known, needs)?;
        let changes = decide(&loaded.facts)?;
        Ok((loaded, changes))
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
    let done = decided(sqlite, (tx, known), needs, decide).and_then(|(loaded, changes)| {
        let applied = catch_unwind(AssertUnwindSafe(|| sqlite.apply(tx, known, (needs, &loaded), &changes)));
        applied.unwrap_or_else(|_| Err(broke_off()))
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
impl Store for Grouped {
    fn keys(&self) -> &DatabaseKeys {
        &self.reads.keys
    }

    async fn transact(&self, needs: Needs, decide: Decide) -> Result<()> {
        let (tell, told) = oneshot::channel();
        let stopped = || Error::new(Code::BUG, "the writer of the database has stopped");
        match self.jobs.as_ref().ok_or_else(stopped)?.try_send(Job { needs, decide, tell }) {
            Ok(()) => told.await.map_err(|_| stopped())?,
            Err(TrySendError::Full(_)) => {
                Err(Error::new(Code::STORE_BUSY, format!("{QUEUE_MAX} operations wait for the database already"))
                    .retry_after(Duration::from_secs(1)))
            }
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
        }
    }

    async fn otp(&self, id: i64) -> Result<Option<Otp>> {
        self.reads.otp(id).await
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page> {
        self.aside.list(filter, now).await
    }

    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<u32>> {
        self.aside.message_counts(otp_ids).await
    }

    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
        self.aside.of_phone(phone, limit).await
    }

    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>> {
        self.reads.messages_of(otp_id).await
    }

    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>> {
        self.reads.reply(tag).await
    }

    async fn message(&self, id: i64) -> Result<Option<Message>> {
        self.reads.message(id).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
        self.reads.due(now, limit).await
    }

    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>> {
        self.reads.provider_ids(phone).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.reads.now().await
    }

    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
        self.aside.usages(subjects).await
    }

    async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        self.reads.test_numbers().await
    }

    async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>> {
        self.reads.token(hash).await
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        self.aside.tokens().await
    }

    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        let batch = batch.clone();
        self.beside(move |aside| super::purge::run(aside, &batch)).await
    }

    async fn scrub(&self) -> Result<bool> {
        self.beside(super::purge::scrub).await
    }

    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
        self.aside.audit(chain, from, limit).await
    }

    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>> {
        self.aside.audit_back(subject, before, limit).await
    }

    async fn audit_heads(&self) -> Result<Vec<audit::Head>> {
        self.aside.audit_heads().await
    }

    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
        self.aside.masked(ids).await
    }

    async fn status(&self) -> Result<Status> {
        self.aside.status().await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.beside(|aside| open::check(&aside.connection())).await
    }

    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64> {
        let (to, actor) = (to.to_owned(), actor.clone());
        self.beside(move |aside| open::backup(aside, &to, &actor)).await
    }

    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>> {
        self.aside.keys_in_use(now).await
    }

    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()> {
        self.aside.rewrap(ring, actor).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::audit::Event;
    use crate::clock::SystemClock;
    use crate::keys::SecretKey;
    use crate::store::Change;
    use crate::store::sqlite::log::TOO_LONG;

    fn open(dir: &Path) -> Grouped {
        let ring = Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap();
        Grouped::open(&dir.join("smsotp.db"), &ring, Arc::new(SystemClock), Opening::default()).unwrap()
    }

    fn note(facts: &crate::store::Facts, outcome: &str) -> Change {
        Change::Audit(Event::new(facts.now, Actor::System, "test", outcome))
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
                    0 => Ok(vec![note(facts, "done")]),
                    1 => Err(Error::new(Code::VALUE_INVALID, "no")),
                    _ => panic!("planned"),
                });
                let (store, ran) = (&store, &ran);
                async move {
                    let result = store.transact(Needs::default(), decide).await;
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
        let rows = block_on(store.audit(0, 0, 100)).unwrap();
        assert_eq!(rows.iter().filter(|row| String::from_utf8_lossy(&row.body).contains("\"test\"")).count(), 20);
    }

    #[test]
    fn a_operation_that_breaks_off_while_it_writes_is_taken_back_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block_on(async {
            let operations = (0..40u32).map(|nth| {
                let decide: Decide = Box::new(move |facts| {
                    let mut changes = vec![note(facts, if nth % 4 == 0 { "broken" } else { "whole" })];
                    if nth % 4 == 0 {
                        // The usage of a subject that nobody asked for cannot be written.
                        changes.push(Change::PutUsage(SubjectId([7; 16]), Default::default(), None));
                    }
                    Ok(changes)
                });
                let store = &store;
                async move {
                    let result = store.transact(Needs::default(), decide).await;
                    assert_eq!(result.is_err(), nth % 4 == 0, "{nth}: {result:?}");
                }
            });
            futures_util::future::join_all(operations).await;
        });
        let rows = block_on(store.audit(0, 0, 100)).unwrap();
        let said = |what: &str| rows.iter().filter(|row| String::from_utf8_lossy(&row.body).contains(what)).count();
        assert_eq!((said("broken"), said("whole")), (0, 30));
    }

    #[test]
    fn what_was_answered_is_in_the_file_for_everyone() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let before = block_on(store.audit_heads()).unwrap()[0].seq;

        block_on(store.transact(Needs::default(), Box::new(|facts| Ok(vec![note(facts, "done")])))).unwrap();

        assert_eq!(block_on(store.audit_heads()).unwrap()[0].seq, before + 1, "another connection reads it");
    }

    #[test]
    fn the_log_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        block_on(async {
            // Ten times as much as is too long.
            for _ in 0..250 {
                let long = "x".repeat(150);
                let decide: Decide = Box::new(move |facts| Ok((0..40).map(|_| note(facts, &long)).collect()));
                store.transact(Needs::default(), decide).await.unwrap();
            }
        });
        let log = std::fs::metadata(dir.path().join("smsotp.db-wal")).unwrap().len();
        assert!(log < u64::from(TOO_LONG) * 4096 * 2, "{log}");
    }
}
