//! The store in PostgreSQL, for several machines. The rows of an operation's subjects are its locks and are always taken in the same
//! order; time is the database's; a commit whose answer was lost is looked up and not repeated.
//!
//! An operation takes two round trips: `facts` begins, locks and reads, `apply` writes and commits. An operation on the id of a message
//! or otp takes one more, to look up the phone.

mod apply;
mod check;
mod connect;
mod errors;
mod facts;
mod maintenance;
mod open;
mod purge;
mod read;
mod rows;
mod tls;
mod transfer;
mod url;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Row;

use self::apply::{OperationId, Writes};
use self::connect::{Connections, Session};
use self::errors::Failure;
use self::facts::{FactsQuery, lock_chain};
use self::rows::{Statement, int};
use self::url::Address;
use crate::alarm::Alarm;
use crate::audit::{self, Actor};
use crate::clock::{Clock, Timestamp};
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::lists::{ListEntry, Side};
use crate::message::{self, Message};
use crate::money::FetchedPrice;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::store::export::{Transfer, Transferred};
use crate::store::schema::SubjectRow;
use crate::store::value::{ColumnType, Stored, damaged};
use crate::store::{
    AuditPrune, Balance, Decide, Decision, Filter, Maintain, MoneyEvent, Needs, Operate, Page, PurgeBatch, PurgeCursor,
    Purged, Read, Reply, Status, Subject, SubjectFact, SubjectId, TestNumber,
};
use crate::sums::HourSums;
use crate::token::Token;
use crate::usage::Usage;

/// How long an operation is retried: for a lock, through a fail-over, for a lost commit.
const WAIT_LIMIT: Duration = Duration::from_secs(15);

/// How many times longer a step of an export or import may take than an operation is retried.
const STEP_LIMITS: u32 = 4;

/// How many audit chains operations have; chain 0 is for maintenance, which never waits for one of theirs.
const CHAINS: u32 = 32;

/// All chains: those of operations, and the one of maintenance.
const ALL_CHAINS: u32 = CHAINS + 1;

/// How long the database's time is extrapolated, in milliseconds, before it is read again. Operations always read it.
const TIME_KEPT: i64 = 5_000;

/// The database's time.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// The database in a PostgreSQL database.
pub struct Postgres {
    connections: Connections,
    address: Address,
    keys: DatabaseKeys,
    clock: Arc<dyn Clock>,
    wait_limit: Duration,
    opened: Instant,
    /// The database's time minus the time since opening, as of the last reading, and when that was.
    time_ahead: AtomicI64,
    time_read_at: AtomicI64,
}

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// The largest number of connections, and so of operations at the same time.
    pub connections: usize,
    /// How long an operation is retried.
    pub wait_limit: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        PostgresOptions { connections: 16, wait_limit: WAIT_LIMIT }
    }
}

impl Postgres {
    /// Opens the database that a URL leads to and unwraps its keys with the ring. Creates and migrates nothing.
    ///
    /// Needs a tokio runtime with time and I/O that lives as long as the store.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a URL that cannot be read or is refused, `STORE_FAILED` if no server can be reached or the
    /// tables are missing or old (run `smsotp db migrate`), `STORE_NEWER`, `KEY_INVALID`.
    pub async fn open(url: &str, ring: &Keyring, clock: Arc<dyn Clock>, options: PostgresOptions) -> Result<Postgres> {
        let mut store = Postgres::without_keys(url, clock, options)?;
        store.keys = open::open(&store, ring).await?;
        Ok(store)
    }

    /// Creates the tables or brings them up to date. Returns the versions before and after. Safe to run twice, and on several machines
    /// at the same time.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn migrate(url: &str, ring: &Keyring, clock: Arc<dyn Clock>) -> Result<(u32, u32)> {
        // The second connection looks whether the server is still there.
        let options = PostgresOptions { connections: 2, ..PostgresOptions::default() };
        Postgres::migrate_with(url, ring, clock, options).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn migrate_with(
        url: &str,
        ring: &Keyring,
        clock: Arc<dyn Clock>,
        options: PostgresOptions,
    ) -> Result<(u32, u32)> {
        open::migrate(&Postgres::without_keys(url, clock, options)?, ring).await
    }

    fn without_keys(url: &str, clock: Arc<dyn Clock>, options: PostgresOptions) -> Result<Postgres> {
        let address = Address::parse(url)?;
        Ok(Postgres {
            connections: Connections::new(&address, options.connections, options.wait_limit)?,
            address,
            keys: DatabaseKeys::generate()?,
            clock,
            wait_limit: options.wait_limit,
            opened: Instant::now(),
            time_ahead: AtomicI64::new(0),
            time_read_at: AtomicI64::new(i64::MIN / 2),
        })
    }

    fn tag(&self, subject: &Subject) -> [u8; 32] {
        self.keys.index.tag(subject.kind().as_str(), &subject.value())
    }

    /// Runs one query on any connection.
    async fn query(&self, statement: &Statement) -> Result<Vec<Row>> {
        let mut attempts = Attempts::within(self.wait_limit);
        loop {
            match attempts.run(self.query_once(statement)).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => attempts.pause_after(failure).await?,
            }
        }
    }

    async fn query_once(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let session = self.connections.take().await?;
        let rows = session.query(statement).await?;
        session.done();
        Ok(rows)
    }

    /// Runs a step of something long that takes no time itself, such as the next thousand rows of an export: a server
    /// that is frozen keeps its connections and answers nothing.
    async fn step<A, E>(&self, step: impl Future<Output = Result<A, E>>) -> Result<A>
    where
        Error: From<E>,
    {
        let limit = self.wait_limit * STEP_LIMITS;
        match tokio::time::timeout(limit, step).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(too_slow(limit)),
        }
    }

    /// Runs a step that may take hours, for as long as the server answers on another connection.
    async fn long_step<A>(&self, step: impl Future<Output = Result<A, Failure>>) -> Result<A, Failure> {
        let mut step = std::pin::pin!(step);
        loop {
            if let Ok(answer) = tokio::time::timeout(self.wait_limit, &mut step).await {
                return answer;
            }
            let question = Statement::new("SELECT 1", Vec::new());
            match tokio::time::timeout(self.wait_limit, self.query_once(&question)).await {
                // Also a server that is full or refuses is there.
                Ok(Ok(_) | Err(Failure::Again(_) | Failure::Unknown(_))) => {}
                Ok(Err(Failure::Final(_))) | Err(_) => return Err(Failure::Final(too_slow(self.wait_limit * 2))),
            }
        }
    }

    /// One attempt at an operation. `unknown` is set while it may have been committed.
    async fn attempt(
        &self,
        query: &FactsQuery,
        decide: &mut Decide,
        unknown: &mut Option<OperationId>,
    ) -> Result<(), Failure> {
        let mut session = self.connections.take().await?;
        let Some(loaded) = query.load(self, &mut session).await? else {
            session.roll_back().await?;
            return Err(Failure::Again(too_slow(self.wait_limit)));
        };
        match decide(&loaded.facts) {
            Ok(Decision::Write { changes, event, .. }) => {
                let writes = Writes::of(self, query, &loaded, (changes, &event))?;
                self.commit(session, &writes, unknown).await
            }
            Ok(Decision::Reschedule { message_id, due_at, .. }) => {
                let sql = "UPDATE smsotp.messages SET due_at = $2 WHERE id = $1";
                let due_at = rows::param(ColumnType::Int, due_at.to_value());
                session.query(&Statement::new(sql, vec![int(message_id), due_at])).await?;
                // Setting the time once more does no harm, so a lost commit is simply repeated.
                session.client().batch_execute("COMMIT").await?;
                session.done();
                Ok(())
            }
            Ok(Decision::Count { counts, taken, sum, .. }) => {
                let mut statements = Vec::with_capacity(counts.len() + 2);
                for count in &counts {
                    let (id, usage) = SubjectRow::counted(count)?;
                    let sql = "UPDATE smsotp.subjects SET usage = $2 WHERE id = $1";
                    statements.push(Statement::new(sql, vec![rows::bytes(&id.0), rows::text(usage)]));
                }
                statements.extend((!taken.is_empty()).then(|| apply::take_events(taken)));
                statements.push(loaded.leave_unknown(&[]));
                statements.extend(sum.map(|sum| apply::add_sum(&sum, loaded.head.chain)));
                // One refusal more or less in the count does no harm, so a lost commit is simply repeated.
                apply::commit(&session, &statements).await?;
                session.done();
                Ok(())
            }
            Ok(Decision::Nothing(())) => session.roll_back().await,
            Err(error) => {
                session.roll_back().await?;
                Err(error.into())
            }
        }
    }

    /// Sends the writes of a transaction together with its commit. `unknown` is set while the outcome is not known.
    async fn commit(
        &self,
        mut session: Session,
        writes: &Writes,
        unknown: &mut Option<OperationId>,
    ) -> Result<(), Failure> {
        session.prepare(&writes.statements).await?;
        *unknown = Some(writes.operation);
        let answer = apply::commit(&session, &writes.statements).await;
        if !matches!(answer, Err(Failure::Unknown(_))) {
            *unknown = None;
        }
        answer?;
        session.done();
        Ok(())
    }

    /// Finds out whether an operation was committed after its time has run out; `error` is the answer if it was not.
    async fn settle(&self, operation: OperationId, error: Error) -> Result<()> {
        let mut attempts = Attempts::within(self.wait_limit);
        loop {
            match attempts.run(self.was_committed(operation)).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(error),
                Err(failure) => {
                    if attempts.pause_after(failure).await.is_err() {
                        return Err(Error::new(
                            Code::STORE_FAILED,
                            "the connection to the database was lost while committing; it is not known whether it happened",
                        )
                        .because(error)
                        .hint("When the database is back, look before you repeat it: smsotp show, smsotp audit list."));
                    }
                }
            }
        }
    }

    /// Looks up whether an operation was committed, on another connection. Whoever holds the lock of its audit chain knows that every
    /// earlier transaction on that chain has ended.
    async fn was_committed(&self, operation: OperationId) -> Result<bool, Failure> {
        let session = self.connections.take().await?;
        let place = [operation.chain.to_value(), operation.seq.to_value()].map(rows::value);
        let sql = "SELECT operation FROM smsotp.audit WHERE chain = $1 AND seq = $2";
        let statements = [lock_chain(operation.chain), Statement::new(sql, place.into())];
        let client = session.client();
        let (begun, found, ended) = tokio::join!(
            biased;
            client.batch_execute(session.begin()),
            session.query_all(&statements),
            client.batch_execute("ROLLBACK"),
        );
        begun?;
        let found = found?;
        ended?;
        session.done();
        let found: Option<Vec<u8>> = rows::scalar(&found[1])?;
        Ok(found.is_some_and(|id| id == operation.id))
    }

    /// Remembers the database's time. Returns the time as operations see it.
    fn note_time(&self, at: Timestamp) -> Timestamp {
        let since_open = i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.time_ahead.store(at.millis() - since_open, Ordering::Relaxed);
        self.time_read_at.store(since_open, Ordering::Relaxed);
        at + self.clock.offset()
    }
}

/// A series of attempts within a time limit, with growing pauses.
struct Attempts {
    limit: Duration,
    until: Instant,
    pause: Duration,
    /// Why the last one failed: more useful than that the time is over.
    last: Option<Error>,
}

impl Attempts {
    fn within(limit: Duration) -> Attempts {
        Attempts { limit, until: Instant::now() + limit, pause: Duration::from_millis(5), last: None }
    }

    /// Runs one attempt, for at most the time that is left.
    async fn run<A>(&mut self, attempt: impl Future<Output = Result<A, Failure>>) -> Result<A, Failure> {
        let left = self.until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Final(self.last.take().unwrap_or_else(|| too_slow(self.limit)))),
        }
    }

    /// Pauses before the next attempt; returns the error if there is to be none.
    async fn pause_after(&mut self, failure: Failure) -> Result<()> {
        match failure {
            Failure::Again(error) | Failure::Unknown(error) if Instant::now() + self.pause < self.until => {
                self.last = Some(error);
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(Duration::from_millis(300));
                Ok(())
            }
            failure => Err(failure.error()),
        }
    }
}

fn too_slow(limit: Duration) -> Error {
    Error::new(Code::STORE_BUSY, format!("the database gave no answer within {} s", limit.as_secs()))
        .retry_after(Duration::from_secs(2))
        .hint("Try again; if it lasts, look at the server's load and at long transactions in pg_stat_activity.")
}

#[async_trait]
impl Operate for Postgres {
    fn keys(&self) -> &DatabaseKeys {
        &self.keys
    }

    async fn operate(&self, needs: Needs, mut decide: Decide) -> Result<()> {
        let query = FactsQuery::of(self, needs).await?;
        let mut attempts = Attempts::within(self.wait_limit);
        let mut unknown = None;
        loop {
            // Never repeated blindly: first find out what became of the last attempt.
            let answer = match unknown {
                Some(operation) => match attempts.run(self.was_committed(operation)).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {
                        unknown = None;
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
                None => attempts.run(self.attempt(&query, &mut decide, &mut unknown)).await,
            };
            let Err(failure) = answer else { return Ok(()) };
            if let Err(error) = attempts.pause_after(failure).await {
                return match unknown {
                    Some(operation) => self.settle(operation, error).await,
                    None => Err(error),
                };
            }
        }
    }
}

#[async_trait]
impl Read for Postgres {
    async fn otp(&self, id: i64) -> Result<Option<Otp>> {
        rows::first(&self.query(&rows::find::<Otp>(int(id))).await?)
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page<Otp>> {
        read::list(self, filter, now).await
    }

    async fn list_messages(&self, filter: &Filter) -> Result<Page<Message>> {
        // No state of a message depends on what time it is now.
        read::list(self, filter, Timestamp::default()).await
    }

    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<(u32, Option<message::State>)>> {
        read::message_counts(self, otp_ids).await
    }

    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
        read::of_phone(self, phone, limit).await
    }

    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>> {
        read::messages_of(self, otp_id).await
    }

    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>> {
        rows::first(&self.query(&rows::find::<Reply>(rows::bytes(&tag))).await?)
    }

    async fn message(&self, id: i64) -> Result<Option<Message>> {
        rows::first(&self.query(&rows::find::<Message>(int(id))).await?)
    }

    async fn left_waiting(&self, over: Timestamp, after: i64, limit: u32) -> Result<Vec<i64>> {
        read::left_waiting(self, over, after, limit).await
    }

    async fn due(&self, now: Timestamp, early: bool, limit: u32) -> Result<Vec<i64>> {
        read::due(self, now, early, limit).await
    }

    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>> {
        read::provider_ids(self, phone).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let since_open = i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        if since_open - self.time_read_at.load(Ordering::Relaxed) <= TIME_KEPT {
            return Ok(Timestamp(self.time_ahead.load(Ordering::Relaxed) + since_open) + self.clock.offset());
        }
        let found = self.query(&Statement::new(format!("SELECT {NOW}"), Vec::new())).await?;
        Ok(self.note_time(rows::scalar(&found)?.ok_or_else(|| damaged("the time"))?))
    }

    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
        read::usages(self, subjects).await
    }

    async fn sums(&self, from: Timestamp, to: Timestamp) -> Result<Vec<HourSums>> {
        read::sums(self, from, to).await
    }
    async fn waiting_events(&self, country: &str) -> Result<Vec<MoneyEvent>> {
        rows::all(&self.query(&facts::waiting_events(country)).await?)
    }
    async fn prices(&self) -> Result<Vec<FetchedPrice>> {
        read::prices(self).await
    }
    async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        read::test_numbers(self).await
    }

    async fn list_entries(&self, side: Option<Side>, before: Option<i64>, limit: u32) -> Result<Vec<(i64, ListEntry)>> {
        read::list_entries(self, side, before, limit).await
    }

    async fn lasting(&self, after: Option<SubjectId>, limit: u32) -> Result<Vec<(SubjectId, String, Usage)>> {
        read::lasting(self, after, limit).await
    }

    async fn token(&self, tag: [u8; 32]) -> Result<Option<Token>> {
        read::token(self, tag).await
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        read::tokens(self).await
    }

    async fn alarms(&self, ended_after: Timestamp) -> Result<Vec<Alarm>> {
        read::alarms(self, ended_after).await
    }

    async fn due_alarms(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
        read::due_alarms(self, now, limit).await
    }

    async fn balance(&self) -> Result<Option<Balance>> {
        rows::first(&self.query(&rows::find::<Balance>(int(1))).await?)
    }

    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
        read::audit(self, chain, from, limit).await
    }

    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>> {
        read::audit_back(self, subject, before, limit).await
    }

    async fn audit_heads(&self) -> Result<Vec<audit::SealedHead>> {
        read::audit_heads(self).await
    }

    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
        read::masked(self, ids).await
    }

    async fn status(&self) -> Result<Status> {
        open::status(self).await
    }

    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>> {
        read::keys_in_use(self, now).await
    }
    async fn text_keys(&self) -> Result<Vec<(String, u32)>> {
        read::text_keys(self).await
    }
}

#[async_trait]
impl Maintain for Postgres {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        purge::run(self, batch).await
    }

    async fn scrub(&self) -> Result<bool> {
        // The files are the server's: what a DELETE leaves in them is up to autovacuum and the next base backup.
        Ok(false)
    }

    async fn prune_audit(&self, step: &AuditPrune) -> Result<u64> {
        purge::prune_audit(self, step).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        check::check(self).await
    }

    async fn backup(&self, _to: &Path, _actor: &Actor) -> Result<u64> {
        Err(Error::new(Code::STORE_FAILED, "the database is in PostgreSQL, which has its own backups")
            .hint("For a copy in which no code is alive: smsotp db export. For the whole server: pg_basebackup with a WAL archive."))
    }

    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
        transfer::export(self, to, transfer, actor).await
    }

    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
        transfer::import(self, from, ring).await
    }

    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()> {
        open::rewrap(self, ring, actor).await
    }
}
