//! The store in one SQLite file: WAL, `synchronous=FULL`, one immediate transaction for each operation, and a fair wait between
//! processes.

mod checkpoints;
mod errors;
pub mod group;
mod open;
mod purge;
mod read;
mod rows;
#[cfg(all(test, feature = "sandbox"))]
mod tests;
mod transfer;
mod turn;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, Transaction, TransactionBehavior, params, params_from_iter};

pub use open::{exists, library_version, may_be_created, must_be_sqlite, no_directory, none_yet};

use crate::alarm::Alarm;
use crate::audit::{self, Actor};
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::keys::{DatabaseKeys, Keyring};
use crate::lists::{ListEntry, Side};
use crate::message::{self, Message};
use crate::money::FetchedPrice;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::store::export::{self, Transfer, Transferred};
use crate::store::schema::{self, Dialect, NO_PADDING, Record, SubjectRow, pad, raise_alarm};
use crate::store::sums;
use crate::store::value::{Stored, Value};
use crate::store::{
    AuditPrune, Balance, Change, Decide, Decision, EVENTS_MAX, Facts, Filter, MORE_MAX, Maintain, MoneyEvent, Needs,
    Operate, OtpNeed, Page, PurgeBatch, PurgeCursor, Purged, RECENT_MAX, Read, Reply, Status, Subject, SubjectFact,
    SubjectId, TestNumber, fresh_subject_id,
};
use crate::sums::{HourSums, Sum};
use crate::token::Token;
use crate::usage::Usage;

/// How long an operation waits for its turn to write before it reports that the database is busy.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// Up to this size, in bytes, the write-ahead log is left in place when the last connection closes. Copying it back costs two syncs;
/// but whoever opens the database next has to read all of it, and a log that only one-shot programs write would never be reset.
const LOG_LEFT: u64 = 512 * 1024;

/// The audit chain that this store writes.
const CHAIN: u32 = 0;

/// How many chains it makes. An import may bring along the chains of a store that has more.
const CHAINS: u32 = 1;

/// The database in one SQLite file.
pub struct Sqlite {
    path: PathBuf,
    connection: Mutex<Connection>,
    queue: turn::Queue,
    wait_limit: Duration,
    keys: DatabaseKeys,
    clock: Arc<dyn Clock>,
}

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Create the database if there is none.
    pub create: bool,
    /// Create the directory too (0700): for the default path only.
    pub create_dir: bool,
    /// Open it also where nothing can be written; operations then fail.
    pub reads_only: bool,
    /// How long an operation waits for its turn to write.
    pub wait_limit: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        SqliteOptions { create: true, create_dir: false, reads_only: false, wait_limit: WAIT_LIMIT }
    }
}

impl Sqlite {
    /// Opens the database at `path`: creates or migrates it as needed, and unwraps its keys with the ring.
    ///
    /// # Errors
    /// `STORE_FAILED` if there is none and none is to be created, `STORE_NEWER`, `STORE_CORRUPT`, `KEY_INVALID`.
    pub fn open(path: &Path, ring: &Keyring, clock: Arc<dyn Clock>, options: SqliteOptions) -> Result<Sqlite> {
        let connection = open::connect(path, options)?;
        Sqlite::over(connection, path, turn::Queue::of(path), ring, clock, options.wait_limit)
    }

    /// A new database in the memory of this process, gone when it is dropped: for simulations.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn in_memory(ring: &Keyring, clock: Arc<dyn Clock>) -> Result<Sqlite> {
        let (queue, nowhere) = (turn::Queue::of_nobody_else(), Path::new(open::IN_MEMORY));
        Sqlite::over(open::connect_in_memory()?, nowhere, queue, ring, clock, WAIT_LIMIT)
    }

    fn over(
        connection: Connection,
        path: &Path,
        queue: turn::Queue,
        ring: &Keyring,
        clock: Arc<dyn Clock>,
        wait_limit: Duration,
    ) -> Result<Sqlite> {
        let keys = DatabaseKeys::generate()?;
        let connection = Mutex::new(connection);
        let mut sqlite = Sqlite { path: path.to_owned(), connection, queue, wait_limit, keys, clock };
        sqlite.keys = open::prepare(&sqlite, ring)?;
        Ok(sqlite)
    }

    /// Calls `seen` with every statement that runs from now on, without its values: for comparing what two answers cost.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn on_statement(&self, mut seen: impl FnMut(&str) + Send + 'static) -> Result<()> {
        let hook = move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(_, sql) = event {
                seen(sql);
            }
        };
        Ok(self.connection().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(hook))?)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolled its transaction back; the connection itself is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one maintenance transaction, which may check whether another process waits for its turn. It is committed with its audit
    /// row, and rolled back if it returns none.
    fn maintain<A>(
        &self,
        run: impl FnOnce(&Transaction<'_>, &turn::Turn<'_>) -> Result<(A, Option<audit::Event>)>,
    ) -> Result<A> {
        self.in_turn(|tx, turn| {
            let (answer, event) = run(tx, turn)?;
            if let Some(event) = &event {
                self.append_audit(tx, event)?;
            }
            Ok((answer, event.is_some()))
        })
    }

    /// Runs one transaction that creates the database or fills it from an export, when there is no audit log to write to yet.
    fn set_up<A>(&self, run: impl FnOnce(&Transaction<'_>) -> Result<A>) -> Result<A> {
        self.in_turn(|tx, _| Ok((run(tx)?, true)))
    }

    fn in_turn<A>(&self, run: impl FnOnce(&Transaction<'_>, &turn::Turn<'_>) -> Result<(A, bool)>) -> Result<A> {
        let mut connection = self.connection();
        let turn = self.take_turn()?;
        let tx = begin(&mut connection, &self.path)?;
        let (answer, keep) = run(&tx, &turn)?;
        if keep {
            tx.commit()?
        } else {
            tx.rollback()?
        }
        Ok(answer)
    }

    fn take_turn(&self) -> Result<turn::Turn<'_>> {
        self.taken(self.queue.take(self.wait_limit))
    }

    fn taken<'a>(&self, turn: std::io::Result<Option<turn::Turn<'a>>>) -> Result<turn::Turn<'a>> {
        match turn {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) => Err(errors::busy(self.wait_limit)),
            Err(error) => Err(errors::of_path(&self.path, &error)),
        }
    }

    fn tag(&self, subject: &Subject) -> [u8; 32] {
        self.keys.index.tag(subject.kind().as_str(), &subject.value())
    }

    /// Runs an operation inside a transaction. Returns whether there is anything to commit.
    fn run(&self, connection: &Connection, needs: &Needs, decide: &mut Decide) -> Result<bool> {
        let facts = self.load(connection, needs)?;
        match decide(&facts)? {
            Decision::Nothing(()) => return Ok(false),
            Decision::Write { changes, event, .. } => {
                changes.iter().try_for_each(|change| self.apply(connection, &facts, change))?;
                self.append_audit(connection, &event)?;
            }
            Decision::Count { counts, taken, sum, .. } => {
                for count in &counts {
                    let (id, usage) = SubjectRow::counted(count)?;
                    rows::execute(connection, "UPDATE subjects SET usage = ?2 WHERE id = ?1", params![id.0, usage])?;
                }
                take_events(connection, &taken)?;
                sum.iter().try_for_each(|sum| add_sum(connection, sum))?;
            }
            Decision::Reschedule { message_id, due_at, .. } => {
                let sql = "UPDATE messages SET due_at = ?2 WHERE id = ?1";
                rows::execute(connection, sql, params![message_id, due_at.to_value()])?;
            }
        }
        Ok(true)
    }

    /// Reads what an operation needs.
    fn load(&self, connection: &Connection, needs: &Needs) -> Result<Facts> {
        if rows::value(connection, "SELECT sealed_at IS NOT NULL FROM identity WHERE id = 1", [])?.unwrap_or(true) {
            return Err(export::sealed());
        }
        let mut facts = Facts { now: self.clock.now(), ..Facts::default() };
        for subject in &needs.subjects {
            let (subject, now) = (subject.clone(), facts.now);
            facts.subjects.push(match self.subject(connection, &subject)? {
                Some(fact) => fact,
                None => SubjectFact { subject, id: fresh_subject_id(now)?, usage: Usage::default(), is_new: true },
            });
        }
        if let Some(id) = needs.message {
            facts.message = rows::find(connection, [id])?;
        }
        match (&needs.otp, facts.message.as_ref().and_then(|message| message.otp_id)) {
            (OtpNeed::Of(user, phone, purpose), _) => {
                let of = params![user.as_str(), phone.as_str(), purpose.as_str()];
                facts.otp = rows::all(connection, &LIVE_OTP, of)?.pop();
                facts.recent =
                    rows::all(connection, &RECENT_OTPS, params![phone.as_str(), purpose.as_str(), RECENT_MAX])?;
                facts.test_number = rows::find(connection, [phone.as_str()])?;
            }
            (OtpNeed::Without(phone), _) => facts.test_number = rows::find(connection, [phone.as_str()])?,
            (&OtpNeed::Id(id), _) | (OtpNeed::None, Some(id)) => facts.otp = rows::find(connection, [id])?,
            (OtpNeed::None, None) => {}
        }
        if needs.messages {
            // Also where there is no otp, so that this cannot be told by its cost.
            facts.messages = read::messages_of(connection, facts.otp.as_ref().map_or(NO_PADDING, |otp| otp.id))?;
        }
        if let Some(tag) = needs.reply {
            facts.reply = rows::find(connection, [tag])?;
        }
        if let Some(id) = needs.token {
            facts.token = rows::find(connection, [id])?;
        }
        if let Some(id) = needs.alarm {
            facts.alarm = rows::find(connection, [id])?;
        }
        if !needs.lists.is_empty() {
            facts.lists = read::entries(connection, &needs.lists)?;
        }
        if let Some(country) = &needs.events {
            facts.events = waiting_events(connection, country)?;
        }
        if needs.ids {
            facts.next_otp_id = next_id::<Otp>(connection)?;
            facts.next_message_id = next_id::<Message>(connection)?;
            facts.next_token_id = next_id::<Token>(connection)?;
        }
        Ok(facts)
    }

    fn subject(&self, connection: &Connection, subject: &Subject) -> Result<Option<SubjectFact>> {
        rows::find::<SubjectRow>(connection, [self.tag(subject)])?.map(|row| row.fact(subject)).transpose()
    }

    fn apply(&self, connection: &Connection, facts: &Facts, change: &Change) -> Result<()> {
        match change {
            Change::NewOtp(otp) => rows::insert(connection, otp),
            Change::PutOtp(otp) => rows::update(connection, otp),
            Change::Padding(needed) => {
                let id = if *needed { 0 } else { NO_PADDING };
                rows::execute(connection, &PAD, [id]).map(drop)
            }
            Change::NewMessage(message) => rows::insert(connection, message),
            Change::PutMessage(message) => rows::update(connection, message),
            Change::PutUsage(id, usage, idle_at) => self.put_usage(connection, facts, *id, (usage, *idle_at), true),
            Change::LeaveUnknown(id) => self.put_usage(connection, facts, *id, (&Usage::default(), None), false),
            Change::NewEvent(event) => {
                // All but the id.
                rows::execute(connection, &NEW_EVENT, params_from_iter(event.values().into_iter().skip(1))).map(drop)
            }
            Change::TakeEvents(ids) => take_events(connection, ids),
            Change::AddSum(sum) => add_sum(connection, sum),
            Change::PutReply(reply) => rows::put(connection, reply),
            Change::PutTestNumber(number) => rows::put(connection, number),
            Change::DropTestNumber(phone) => {
                rows::execute(connection, "DELETE FROM test_numbers WHERE phone_number = ?1", [phone.as_str()])
                    .map(drop)
            }
            Change::PutPrice(price) => rows::put(connection, price),
            Change::NewToken(token) => rows::insert(connection, token),
            Change::PutToken(token) => rows::update(connection, token),
            Change::RaiseAlarm(alarm) => {
                let [end, raise] = &*RAISE_ALARM;
                let over = params![alarm.kind.as_str(), alarm.about, facts.now.millis()];
                rows::execute(connection, end, over)?;
                // All but the id.
                let values = alarm.values().into_iter().skip(1);
                rows::execute(connection, raise, params_from_iter(values)).map(drop)
            }
            Change::PutAlarm(alarm) => rows::update(connection, alarm),
            Change::PutBalance(balance) => rows::put(connection, balance),
            Change::DropToken(id) => rows::execute(connection, "DELETE FROM tokens WHERE id = ?1", [id]).map(drop),
            Change::PutEntry(entry) => rows::put(connection, entry),
            Change::DropEntry(key, side) => {
                rows::execute(connection, &DROP_ENTRY, params![key, side.as_str()]).map(drop)
            }
            Change::CountHits(key, side, hits) => {
                let counted = params![key, side.as_str(), hits, facts.now.to_value()];
                rows::execute(connection, &COUNT_HITS, counted).map(drop)
            }
            Change::EraseOtp(id) => ERASE_OTP.iter().try_for_each(|sql| rows::execute(connection, sql, [id]).map(drop)),
            Change::EraseMessage(id) => {
                ERASE_MESSAGE.iter().try_for_each(|sql| rows::execute(connection, sql, [id]).map(drop))
            }
            Change::EraseSubject(id, kept) => {
                let subject = &facts.subject(*id)?.subject;
                rows::execute(connection, "DELETE FROM subjects WHERE id = ?1", [id.0])?;
                let Some((id, usage)) = kept else { return Ok(()) };
                rows::insert(connection, &SubjectRow::of_forgotten(subject, self.tag(subject), *id, usage)?)
            }
        }
    }

    /// Writes what limits remember of a subject, in the same statement for new subjects, known ones and those that are
    /// to stay unknown, so that refusals cannot be told apart by their cost.
    fn put_usage(
        &self,
        connection: &Connection,
        facts: &Facts,
        id: SubjectId,
        (usage, idle_at): (&Usage, Option<Timestamp>),
        keep: bool,
    ) -> Result<()> {
        let subject = &facts.subject(id)?.subject;
        let row = SubjectRow::new(subject, self.tag(subject), id, usage, idle_at)?;
        let values = row.values().into_iter().chain([Value::Bool(keep)]);
        rows::execute(connection, &PUT_SUBJECT, params_from_iter(values)).map(drop)
    }

    /// Writes the next row of the audit log.
    fn append_audit(&self, connection: &Connection, event: &audit::Event) -> Result<()> {
        let (row, head) = read::audit_head(connection, CHAIN)?.next(&self.keys.audit, event)?;
        rows::insert(connection, &row)?;
        rows::update(connection, &head)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let log = std::fs::metadata(open::with_suffix(&self.path, "-wal")).map_or(0, |meta| meta.len());
        if log > LOG_LEFT {
            let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            // If this fails, the next connection that closes does it.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
    }
}

#[async_trait]
impl Operate for Sqlite {
    fn keys(&self) -> &DatabaseKeys {
        &self.keys
    }

    async fn operate(&self, needs: Needs, mut decide: Decide) -> Result<()> {
        let mut connection = self.connection();
        let _turn = self.taken(self.queue.take_again(self.wait_limit))?;
        let tx = begin(&mut connection, &self.path)?;
        let changed = self.run(&tx, &needs, &mut decide)?;
        if changed {
            tx.commit()?
        } else {
            tx.rollback()?
        }
        Ok(())
    }
}

#[async_trait]
impl Read for Sqlite {
    async fn otp(&self, id: i64) -> Result<Option<Otp>> {
        rows::find(&self.connection(), [id])
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page<Otp>> {
        read::list(&self.connection(), filter, now)
    }

    async fn list_messages(&self, filter: &Filter) -> Result<Page<Message>> {
        // No state of a message depends on what time it is now.
        read::list(&self.connection(), filter, Timestamp::default())
    }

    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<(u32, Option<message::State>)>> {
        read::message_counts(&self.connection(), otp_ids)
    }

    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
        read::of_phone(&self.connection(), phone, limit)
    }

    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>> {
        let mut messages = read::messages_of(&self.connection(), otp_id)?;
        messages.reverse();
        Ok(messages)
    }

    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>> {
        rows::find(&self.connection(), [tag])
    }

    async fn message(&self, id: i64) -> Result<Option<Message>> {
        rows::find(&self.connection(), [id])
    }

    async fn left_waiting(&self, over: Timestamp, after: i64, limit: u32) -> Result<Vec<i64>> {
        read::left_waiting(&self.connection(), over, after, limit)
    }

    async fn due(&self, now: Timestamp, early: bool, limit: u32) -> Result<Vec<i64>> {
        read::due(&self.connection(), now, early, limit)
    }

    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>> {
        read::provider_ids(&self.connection(), phone)
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
        let connection = self.connection();
        subjects.iter().map(|subject| self.subject(&connection, subject)).collect()
    }

    async fn sums(&self, from: Timestamp, to: Timestamp) -> Result<Vec<HourSums>> {
        read::sums(&self.connection(), from, to)
    }
    async fn waiting_events(&self, country: &str) -> Result<Vec<MoneyEvent>> {
        waiting_events(&self.connection(), country)
    }
    async fn prices(&self) -> Result<Vec<FetchedPrice>> {
        read::prices(&self.connection())
    }
    async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        read::test_numbers(&self.connection())
    }

    async fn list_entries(&self, side: Option<Side>, before: Option<i64>, limit: u32) -> Result<Vec<(i64, ListEntry)>> {
        read::list_entries(&self.connection(), side, before, limit)
    }

    async fn lasting(&self, after: Option<SubjectId>, limit: u32) -> Result<Vec<(SubjectId, String, Usage)>> {
        read::lasting(&self.connection(), after, limit)
    }

    async fn token(&self, tag: [u8; 32]) -> Result<Option<Token>> {
        read::token(&self.connection(), tag)
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        read::tokens(&self.connection())
    }

    async fn alarms(&self, ended_after: Timestamp) -> Result<Vec<Alarm>> {
        read::alarms(&self.connection(), ended_after)
    }

    async fn due_alarms(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
        read::due_alarms(&self.connection(), now, limit)
    }

    async fn balance(&self) -> Result<Option<Balance>> {
        rows::find(&self.connection(), [1])
    }

    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
        read::audit(&self.connection(), chain, from, limit)
    }

    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>> {
        read::audit_back(&self.connection(), subject, before, limit)
    }

    async fn audit_heads(&self) -> Result<Vec<audit::SealedHead>> {
        read::audit_heads(&self.connection())
    }

    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
        read::masked(&self.connection(), ids)
    }

    async fn status(&self) -> Result<Status> {
        open::status(self)
    }

    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>> {
        read::keys_in_use(&self.connection(), now, MORE_MAX)
    }
    async fn text_keys(&self) -> Result<Vec<(String, u32)>> {
        read::text_keys(&self.connection(), MORE_MAX)
    }
}

#[async_trait]
impl Maintain for Sqlite {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        purge::run(self, batch)
    }

    async fn scrub(&self) -> Result<bool> {
        purge::scrub(self)
    }

    async fn prune_audit(&self, step: &AuditPrune) -> Result<u64> {
        purge::prune_audit(self, step)
    }

    async fn check(&self) -> Result<Vec<String>> {
        open::check(&self.connection())
    }

    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64> {
        open::backup(self, to, actor)
    }

    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
        transfer::export(self, to, transfer, actor)
    }

    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred> {
        transfer::import(self, from, ring)
    }

    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()> {
        open::rewrap(self, ring, actor)
    }
}

/// Inserts a subject, or updates the one with its tag; nothing, where the last value says so.
static PUT_SUBJECT: LazyLock<String> = LazyLock::new(|| {
    let columns = &rows::statements::<SubjectRow>().columns;
    let places = (1..=SubjectRow::table().columns.len()).map(|nth| format!("?{nth}")).collect::<Vec<_>>();
    format!(
        "INSERT INTO subjects ({columns}) SELECT {} WHERE ?{} \
         ON CONFLICT (tag) DO UPDATE SET usage = excluded.usage, idle_at = excluded.idle_at",
        places.join(", "),
        places.len() + 1
    )
});

/// The active otp of a user, phone and purpose.
static LIVE_OTP: LazyLock<String> = LazyLock::new(|| {
    let select = &rows::statements::<Otp>().select;
    format!(r#"{select} WHERE "user" = ?1 AND phone_number = ?2 AND purpose = ?3 AND state = 'active'"#)
});

/// What stands for an otp where there is none.
static PAD: LazyLock<String> = LazyLock::new(|| pad(Dialect::Sqlite));

/// What raises an alarm.
static RAISE_ALARM: LazyLock<[String; 2]> = LazyLock::new(|| raise_alarm(Dialect::Sqlite));
static NEW_EVENT: LazyLock<String> = LazyLock::new(|| schema::new_event(Dialect::Sqlite));
static WAITING_EVENTS: LazyLock<String> = LazyLock::new(|| schema::waiting_events(Dialect::Sqlite));
static COUNT_HITS: LazyLock<String> = LazyLock::new(|| schema::count_hits(Dialect::Sqlite));
static DROP_ENTRY: LazyLock<String> = LazyLock::new(|| schema::drop_entry(Dialect::Sqlite));
static ERASE_OTP: LazyLock<[String; 3]> = LazyLock::new(|| schema::erase_otp(Dialect::Sqlite));
static ERASE_MESSAGE: LazyLock<[String; 2]> = LazyLock::new(|| schema::erase_message(Dialect::Sqlite));

/// The newest otps of a phone and purpose.
static RECENT_OTPS: LazyLock<String> = LazyLock::new(|| {
    let select = &rows::statements::<Otp>().select;
    format!("{select} WHERE phone_number = ?1 AND purpose = ?2 ORDER BY id DESC LIMIT ?3")
});

fn waiting_events(connection: &Connection, country: &str) -> Result<Vec<MoneyEvent>> {
    rows::all(connection, &WAITING_EVENTS, params![MoneyEvent::scope(country), "", EVENTS_MAX])
}

/// Deletes events that are in the counts.
fn add_sum(connection: &Connection, sum: &Sum) -> Result<()> {
    let (statement, values) = sums::add(Dialect::Sqlite, sum, 0);
    rows::execute(connection, &statement, params_from_iter(values)).map(drop)
}

fn take_events(connection: &Connection, ids: &[i64]) -> Result<()> {
    ids.iter().try_for_each(|id| rows::execute(connection, "DELETE FROM money_events WHERE id = ?1", [id]).map(drop))
}

/// The id of a table's next row. AUTOINCREMENT remembers the highest id ever used, so that a purged one is never reused.
fn next_id<R: Record>(connection: &Connection) -> Result<i64> {
    let next = rows::value(connection, "SELECT seq + 1 FROM sqlite_sequence WHERE name = ?1", [R::table().name])?;
    Ok(next.unwrap_or(1))
}

/// Begins a write transaction. This is where a file that cannot be written, or is not a database, is noticed first: the error names
/// the file.
fn begin<'a>(connection: &'a mut Connection, path: &Path) -> Result<Transaction<'a>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| errors::of_file(path, error))
}
