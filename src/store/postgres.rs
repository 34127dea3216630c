//! The memory in PostgreSQL, for several machines: the rows of an operation's subjects are its locks, taken in one order; the
//! database tells the time; a commit whose answer was lost is looked up and not repeated.
//!
//! An operation takes two round trips: `facts` begins, locks and reads, `apply` writes and commits. An operation whose message or otp
//! comes without its phone takes one more. Nothing outlives a transaction on a connection, so that a pooler may hand
//! connections round between transactions.

#[macro_use]
mod rows;
mod apply;
mod at_once;
mod connect;
mod dial;
mod facts;
mod open;
mod purge;
mod read;
mod tls;
mod transfer;
mod trouble;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use self::apply::{OperationId, Writes};
use self::connect::{Address, Connections, Session};
use self::facts::{Asked, CHAIN};
use self::rows::{Value, int, int_or_null};
use self::trouble::{Failure, before_commit};
use crate::audit::{self, Actor};
use crate::clock::{Clock, Timestamp};
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::message::Message;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::store::export::{Transfer, Transferred};
use crate::store::{
    Decide, Decision, Filter, Maintain, Needs, Operate, Page, PurgeBatch, PurgeCursor, Purged, Read, Reply, Status,
    Subject, SubjectFact, SubjectId, TestNumber,
};
use crate::token::Token;

/// How long an operation goes on trying: for a lock, through a fail-over, for a lost commit.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Into how many rows the memory of everything is divided.
const SHARDS: u32 = 8;

/// Chains of the audit log for operations; chain 0 is for the housekeeping, which never waits for a chain of theirs.
const CHAINS: i16 = 32;

/// For how long the database's time is extrapolated before it is asked again where no operation needs it under locks.
const TIME_KEPT: i64 = 5_000;

/// The database in a PostgreSQL database.
pub struct Postgres {
    connections: Connections,
    address: Address,
    keys: DatabaseKeys,
    clock: Arc<dyn Clock>,
    patience: Duration,
    opened: Instant,
    /// The database's time less the time since opening, when last heard, and when that was.
    ahead: AtomicI64,
    heard_at: AtomicI64,
}

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Connections at most: operations at a time.
    pub connections: usize,
    /// How long an operation goes on trying.
    pub patience: Duration,
}

impl Default for Opening {
    fn default() -> Self {
        Opening { connections: 16, patience: PATIENCE }
    }
}

impl Postgres {
    /// Opens the database that a URL leads to and unwraps their keys with the ring. It makes and migrates nothing.
    ///
    /// Needs a tokio runtime with time and I/O, which has to live as long as the store.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a URL that cannot be read or is refused, `STORE_FAILED` where no server can be reached or the
    /// tables are missing or old (run `smsotp db migrate`), `STORE_NEWER`, `KEY_INVALID`.
    pub async fn open(url: &str, ring: &Keyring, clock: Arc<dyn Clock>, opening: Opening) -> Result<Postgres> {
        let mut store = Postgres::bare(url, clock, opening)?;
        store.keys = open::open(&store, ring).await?;
        Ok(store)
    }

    /// Makes the tables or brings them up to date; answers with the versions before and after. Safe to run twice and from
    /// several machines at once.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn migrate(url: &str, ring: &Keyring, clock: Arc<dyn Clock>) -> Result<(u32, u32)> {
        let store = Postgres::bare(url, clock, Opening { connections: 1, ..Opening::default() })?;
        open::migrate(&store, ring).await
    }

    fn bare(url: &str, clock: Arc<dyn Clock>, opening: Opening) -> Result<Postgres> {
        let address = Address::parse(url)?;
        Ok(Postgres {
            connections: address.pool(opening.connections, opening.patience)?,
            address,
            keys: DatabaseKeys::generate()?,
            clock,
            patience: opening.patience,
            opened: Instant::now(),
            ahead: AtomicI64::new(0),
            heard_at: AtomicI64::new(i64::MIN / 2),
        })
    }

    fn tag(&self, subject: &Subject) -> [u8; 32] {
        self.keys.index.tag(subject.kind().as_str(), &subject.value())
    }

    /// Runs one reading statement on any connection.
    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>> {
        let mut patience = Patience::of(self.patience);
        loop {
            match patience.within(self.query_once(sql, &values)).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => patience.after(failure).await?,
            }
        }
    }

    async fn query_once(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Failure> {
        let session = self.connections.take().await?;
        let rows = session.ask(sql, values).await.map_err(before_commit)?;
        session.done();
        Ok(rows)
    }

    async fn otp_row(&self, id: i64) -> Result<Option<Otp>> {
        let sql = concat!("SELECT ", otp_columns!(), " FROM smsotp.otps WHERE id = $1");
        self.query(sql, vec![int(id)]).await?.first().map(|row| rows::otp(row, 0)).transpose()
    }

    async fn message_row(&self, id: i64) -> Result<Option<Message>> {
        let sql = concat!("SELECT ", message_columns!(), " FROM smsotp.messages WHERE id = $1");
        self.query(sql, vec![int(id)]).await?.first().map(|row| rows::message(row, 0)).transpose()
    }

    /// One attempt at an operation. `operation` is set from the moment on when it may have been committed.
    async fn attempt(
        &self,
        asked: &Asked,
        decide: &mut Decide,
        operation: &mut Option<OperationId>,
    ) -> Result<(), Failure> {
        let mut session = self.connections.take().await?;
        let Some(loaded) = asked.load(self, &mut session).await? else {
            roll_back(session).await?;
            return Err(Failure::Again(too_slow(self.patience)));
        };
        match decide(&loaded.facts) {
            Ok(Decision::Write { changes, event, .. }) => {
                let writes = Writes::of(self, asked, &loaded, (changes, event))?;
                self.commit(session, &writes, operation).await
            }
            Ok(Decision::Reschedule { message_id, due_at, .. }) => {
                let values = [int(message_id), int_or_null(due_at.map(Timestamp::millis))];
                session
                    .ask("UPDATE smsotp.messages SET due_at = $2 WHERE id = $1", &values)
                    .await
                    .map_err(before_commit)?;
                // Moving a time once more does no harm, so a lost commit is simply repeated.
                session.client().batch_execute("COMMIT").await.map_err(before_commit)?;
                session.done();
                Ok(())
            }
            Ok(Decision::Nothing(())) => roll_back(session).await,
            Err(error) => {
                roll_back(session).await?;
                Err(error.into())
            }
        }
    }

    /// Sends the writes of a transaction with its commit, and keeps how to look it up while nobody knows how that ended.
    async fn commit(
        &self,
        mut session: Session,
        writes: &Writes,
        operation: &mut Option<OperationId>,
    ) -> Result<(), Failure> {
        session.ready(writes.list().map(|(sql, values)| (sql.clone(), values))).await.map_err(before_commit)?;
        *operation = Some(writes.operation);
        let answer = writes.commit(&session).await;
        if !matches!(answer, Err(Failure::Unknown(_))) {
            *operation = None;
        }
        answer?;
        session.done();
        Ok(())
    }

    /// What is left to do when patience is over and nobody knows whether an operation was committed.
    async fn settle(&self, operation: OperationId, error: Error) -> Result<()> {
        let mut patience = Patience::of(self.patience);
        loop {
            match patience.within(self.happened(operation)).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(error),
                Err(failure) => {
                    if patience.after(failure).await.is_err() {
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

    /// Finds out whether an operation was committed, on a fresh connection: whoever holds its chain's lock has seen the end of
    /// every transaction that held it before.
    async fn happened(&self, operation: OperationId) -> Result<bool, Failure> {
        let session = self.connections.take().await?;
        let chain: Value = (Box::new(operation.chain), Type::INT2);
        let place = [(Box::new(operation.chain) as _, Type::INT2), int(operation.seq)];
        let client = session.client();
        let chain = [chain];
        let (begun, locked, found, ended) = tokio::join!(
            biased;
            client.batch_execute(session.begin()),
            session.ask(CHAIN, &chain),
            session.ask("SELECT operation FROM smsotp.audit WHERE chain = $1 AND seq = $2", &place),
            client.batch_execute("ROLLBACK"),
        );
        begun.map_err(before_commit)?;
        locked.map_err(before_commit)?;
        let found = found.map_err(before_commit)?;
        ended.map_err(before_commit)?;
        session.done();
        Ok(found.first().is_some_and(|row| row.try_get::<_, &[u8]>(0).is_ok_and(|id| id == operation.id)))
    }
}

async fn roll_back(session: Session) -> Result<(), Failure> {
    session.client().batch_execute("ROLLBACK").await.map_err(before_commit)?;
    session.done();
    Ok(())
}

/// How long to go on trying, with growing pauses.
struct Patience {
    whole: Duration,
    until: Instant,
    pause: Duration,
    /// Why the attempt before failed: says more than that there was no time for another.
    last: Option<Error>,
}

impl Patience {
    fn of(whole: Duration) -> Patience {
        Patience { whole, until: Instant::now() + whole, pause: Duration::from_millis(5), last: None }
    }

    /// Runs one attempt for as long as patience lasts.
    async fn within<A>(&mut self, attempt: impl Future<Output = Result<A, Failure>>) -> Result<A, Failure> {
        let left = self.until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Final(self.last.take().unwrap_or_else(|| too_slow(self.whole)))),
        }
    }

    /// Pauses before the next attempt; the error where there is to be none.
    async fn after(&mut self, failure: Failure) -> Result<()> {
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

fn too_slow(patience: Duration) -> Error {
    Error::new(Code::STORE_BUSY, format!("the database gave no answer within {} s", patience.as_secs()))
        .retry_after(Duration::from_secs(2))
        .hint("Try again; if it lasts, look at the server's load and at long transactions in pg_stat_activity.")
}

/// Idle times are kept to the hour, so that the index changes hourly and not with every message.
fn whole_hour_after(at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    Timestamp(at.millis() - at.millis().rem_euclid(HOUR) + HOUR)
}

#[async_trait]
impl Operate for Postgres {
    fn keys(&self) -> &DatabaseKeys {
        &self.keys
    }

    fn shards(&self) -> u32 {
        SHARDS
    }

    async fn operate(&self, needs: Needs, mut decide: Decide) -> Result<()> {
        let asked = Asked::of(self, needs).await?;
        let mut patience = Patience::of(self.patience);
        let mut operation = None;
        loop {
            // Never repeated blindly: first it is looked up what became of the attempt before.
            let answer = match operation {
                Some(unknown) => match patience.within(self.happened(unknown)).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {
                        operation = None;
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
                None => patience.within(self.attempt(&asked, &mut decide, &mut operation)).await,
            };
            let Err(failure) = answer else { return Ok(()) };
            if let Err(error) = patience.after(failure).await {
                return match operation {
                    Some(unknown) => self.settle(unknown, error).await,
                    None => Err(error),
                };
            }
        }
    }
}

#[async_trait]
impl Read for Postgres {
    async fn otp(&self, id: i64) -> Result<Option<Otp>> {
        self.otp_row(id).await
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page> {
        read::list(self, filter, now).await
    }

    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<u32>> {
        read::message_counts(self, otp_ids).await
    }

    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
        read::of_phone(self, phone, limit).await
    }

    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>> {
        read::messages_of(self, otp_id).await
    }

    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>> {
        let found = self.query(facts::REPLY, vec![rows::bytes(&tag)]).await?;
        found.first().map(|row| rows::reply(tag, row)).transpose()
    }

    async fn message(&self, id: i64) -> Result<Option<Message>> {
        self.message_row(id).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
        read::due(self, now, limit).await
    }

    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>> {
        read::provider_ids(self, phone).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let since_open = i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        if since_open - self.heard_at.load(Ordering::Relaxed) <= TIME_KEPT {
            return Ok(Timestamp(self.ahead.load(Ordering::Relaxed) + since_open) + self.clock.offset());
        }
        let found = self.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", Vec::new()).await?;
        let row = found.first().ok_or_else(|| rows::damaged("the time"))?;
        Ok(self.heard(rows::column(row, 0)?))
    }

    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
        read::usages(self, subjects).await
    }

    async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        read::test_numbers(self).await
    }

    async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>> {
        read::token(self, hash).await
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        read::tokens(self).await
    }

    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
        read::audit(self, chain, from, limit).await
    }

    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>> {
        read::audit_back(self, subject, before, limit).await
    }

    async fn audit_heads(&self) -> Result<Vec<audit::Head>> {
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
}

#[async_trait]
impl Maintain for Postgres {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        purge::run(self, batch).await
    }

    async fn scrub(&self) -> Result<bool> {
        // The files are the server's: what a DELETE leaves in them goes with autovacuum and the next base backup.
        Ok(false)
    }

    async fn check(&self) -> Result<Vec<String>> {
        open::check(self).await
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
