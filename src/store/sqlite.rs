//! The memory in one SQLite file: WAL, `synchronous=FULL`, one immediate transaction for each operation, a fair wait.

#[macro_use]
mod rows;
pub mod group;
mod known;
mod log;
mod open;
mod purge;
mod read;
#[cfg(test)]
mod tests;
mod transfer;
mod turn;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use known::Known;
pub use open::{exists, must_be_sqlite, none_yet};

use crate::audit::{self, Actor};
use crate::clock::{Clock, Timestamp};
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::message::Message;
use crate::otp::{Otp, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::export::{Transfer, Transferred};
use crate::store::{
    Change, Decide, Decision, Facts, Filter, MORE_MAX, Maintain, Needs, Operate, OtpNeed, Page, PurgeBatch,
    PurgeCursor, Purged, RECENT_MAX, Read, Reply, Status, Subject, SubjectFact, SubjectId, TestNumber,
    fresh_subject_id,
};
use crate::token::Token;
use crate::usage::Usage;

/// How long an operation waits for the writer's place before it says that the database is busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes of log the last one out leaves to the next. Copying the log back costs two syncs; leaving it, the next one
/// reads all of it before anything else, and a log that only one-shot programs write to would never start over.
const LOG_LEFT: u64 = 512 * 1024;

/// The database in one SQLite file.
pub struct Sqlite {
    path: PathBuf,
    connection: Mutex<Connection>,
    queue: turn::Queue,
    patience: Duration,
    keys: DatabaseKeys,
    clock: Arc<dyn Clock>,
    /// Belongs to the connection, and is touched under its lock.
    known: Mutex<Known>,
}

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Make the database where there are none.
    pub create: bool,
    /// Make the directory too (0700): for the default place only.
    pub create_dir: bool,
    /// How long to wait for the writer's place.
    pub patience: Duration,
}

impl Default for Opening {
    fn default() -> Self {
        Opening { create: true, create_dir: false, patience: PATIENCE }
    }
}

impl Sqlite {
    /// Opens the database at `path`: makes or migrates them as needed and unwraps their keys with the ring.
    ///
    /// # Errors
    /// `STORE_FAILED` where there are none and none are to be made, `STORE_NEWER`, `STORE_CORRUPT`, `KEY_INVALID`.
    pub fn open(path: &Path, ring: &Keyring, clock: Arc<dyn Clock>, opening: Opening) -> Result<Sqlite> {
        let connection = open::connect(path, opening)?;
        let mut sqlite = Sqlite {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            queue: turn::Queue::of(path),
            patience: opening.patience,
            keys: DatabaseKeys::generate()?,
            clock,
            known: Mutex::default(),
        };
        sqlite.keys = open::prepare(&sqlite, ring, opening)?;
        Ok(sqlite)
    }

    /// Tells every statement that runs from now on, without its values: for comparing what two answers cost.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn on_statement(&self, mut tell: impl FnMut(&str) + Send + 'static) -> Result<()> {
        let hook = move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(_, sql) = event {
                tell(sql);
            }
        };
        self.connection().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(hook)).map_err(trouble)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolled its transaction back; the connection itself is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one transaction of the maintenance, which may look whether another process waits for its turn. It commits with
    /// its audit row; without one nothing of it is kept.
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

    /// Runs one transaction that makes the database or fills it from an export: there is no audit log to write to yet.
    fn set_up<A>(&self, run: impl FnOnce(&Transaction<'_>) -> Result<A>) -> Result<A> {
        self.in_turn(|tx, _| Ok((run(tx)?, true)))
    }

    fn in_turn<A>(&self, run: impl FnOnce(&Transaction<'_>, &turn::Turn<'_>) -> Result<(A, bool)>) -> Result<A> {
        let mut connection = self.connection();
        let turn = self.take_turn()?;
        let tx = begin(&mut connection, &self.path)?;
        // It writes what no operation writes: the next operation reads for itself.
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
        let (answer, keep) = run(&tx, &turn)?;
        if keep { tx.commit() } else { tx.rollback() }.map_err(trouble)?;
        Ok(answer)
    }

    fn take_turn(&self) -> Result<turn::Turn<'_>> {
        self.taken(self.queue.take(self.patience))
    }

    fn taken<'a>(&self, turn: std::io::Result<Option<turn::Turn<'a>>>) -> Result<turn::Turn<'a>> {
        match turn {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) => Err(busy(self.patience)),
            Err(error) => Err(open::io_trouble(&self.path, &error)),
        }
    }

    fn tag(&self, subject: &Subject) -> [u8; 32] {
        self.keys.index.tag(subject.kind().as_str(), &subject.value())
    }

    fn load(&self, tx: &Transaction<'_>, known: &mut Known, needs: &Needs) -> Result<Loaded> {
        known.must_be_open(tx)?;
        let mut facts = Facts { now: self.clock.now(), ..Facts::default() };
        let mut tags = Vec::with_capacity(needs.subjects.len());
        for subject in &needs.subjects {
            let tag = self.tag(subject);
            let (id, usage) = match subject_row(tx, &tag)? {
                Some(known) => known,
                None => (fresh_subject_id(facts.now)?, Usage::default()),
            };
            facts.subjects.push(SubjectFact { subject: subject.clone(), id, usage });
            tags.push(tag);
        }
        if let Some(id) = needs.message {
            facts.message = load_message(tx, id)?;
        }
        match (&needs.otp, facts.message.as_ref().and_then(|m| m.otp_id)) {
            (OtpNeed::Of(user, phone, purpose), _) => {
                facts.otp = load_live(tx, (user, phone, purpose))?;
                facts.recent = load_recent(tx, (user, phone, purpose))?;
                if known.has_test_numbers(tx)? {
                    facts.test_number = load_test_number(tx, phone)?;
                }
            }
            (OtpNeed::Id(id), _) => facts.otp = load_otp(tx, *id)?,
            (OtpNeed::None, Some(id)) => facts.otp = load_otp(tx, id)?,
            (OtpNeed::None, None) => {}
        }
        if let Some(otp) = facts.otp.as_ref().filter(|_| needs.messages) {
            facts.messages = load_messages(tx, otp.id)?;
        }
        if let Some(tag) = needs.reply {
            facts.reply = load_reply(tx, tag)?;
        }
        if let Some(id) = needs.token {
            facts.token = read::token_by_id(tx, id)?;
        }
        if needs.ids {
            known.next_ids(tx, &mut facts)?;
        }
        Ok(Loaded { facts, tags })
    }

    /// Writes what was decided; false where there is nothing to commit.
    fn write_decision(
        &self,
        tx: &Transaction<'_>,
        known: &mut Known,
        loaded: &Loaded,
        decision: &Decision,
    ) -> Result<bool> {
        match decision {
            Decision::Nothing(()) => Ok(false),
            Decision::Write { changes, event, .. } => {
                self.apply(tx, known, loaded, changes)?;
                known.append_audit(tx, &self.keys.audit, event)?;
                Ok(true)
            }
            Decision::Reschedule { message_id, due_at, .. } => {
                rows::reschedule(tx, *message_id, *due_at)?;
                Ok(true)
            }
        }
    }

    fn apply(&self, tx: &Transaction<'_>, known: &mut Known, loaded: &Loaded, changes: &[Change]) -> Result<()> {
        for change in changes {
            match change {
                Change::NewOtp(otp) => {
                    rows::insert_otp(tx, otp)?;
                    known.wrote_otp(otp.id);
                }
                Change::PutOtp(otp) => rows::update_otp(tx, otp)?,
                Change::NewMessage(message) => {
                    rows::insert_message(tx, message)?;
                    known.wrote_message(message.id);
                }
                Change::PutMessage(message) => rows::update_message(tx, message)?,
                Change::PutUsage(id, usage, idle_at) => {
                    let mut subjects = loaded.facts.subjects.iter().zip(&loaded.tags);
                    let Some((fact, tag)) = subjects.find(|(fact, _)| fact.id == *id) else {
                        return Err(Error::new(
                            Code::BUG,
                            "an operation wrote the usage of a subject that it had not asked for",
                        ));
                    };
                    put_usage(tx, (&fact.subject, tag), *id, (usage, *idle_at))?;
                }
                Change::PutReply(reply) => rows::put_reply(tx, reply)?,
                Change::PutTestNumber(number) => {
                    rows::put_test_number(tx, number)?;
                    known.wrote_test_number();
                }
                Change::DropTestNumber(phone) => {
                    tx.execute("DELETE FROM test_numbers WHERE phone_number = ?1", [phone.as_str()])
                        .map_err(trouble)?;
                }
                Change::NewToken(token) => {
                    rows::insert_token(tx, token)?;
                    known.wrote_token(token.id);
                }
                Change::PutToken(token) => rows::update_token(tx, token)?,
            }
        }
        Ok(())
    }

    /// The audit row of the maintenance.
    fn append_audit(&self, tx: &Transaction<'_>, event: &audit::Event) -> Result<()> {
        Known::default().append_audit(tx, &self.keys.audit, event)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let log = std::fs::metadata(open::beside(&self.path, "-wal")).map_or(0, |meta| meta.len());
        if log > LOG_LEFT {
            let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            // At worst the next one who closes does it.
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
        let _turn = self.taken(self.queue.take_again(self.patience))?;
        let tx = begin(&mut connection, &self.path)?;
        let mut known = Known::recall(self, &tx)?;
        let loaded = self.load(&tx, &mut known, &needs)?;
        let decision = decide(&loaded.facts)?;
        if !self.write_decision(&tx, &mut known, &loaded, &decision)? {
            return tx.rollback().map_err(trouble);
        }
        tx.commit().map_err(trouble)?;
        known.keep(self);
        Ok(())
    }
}

#[async_trait]
impl Read for Sqlite {
    async fn otp(&self, id: i64) -> Result<Option<Otp>> {
        load_otp(&self.connection(), id)
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page> {
        read::list(&self.connection(), filter, now)
    }

    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<u32>> {
        read::message_counts(&self.connection(), otp_ids)
    }

    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
        read::of_phone(&self.connection(), phone, limit)
    }

    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>> {
        let mut messages = load_messages(&self.connection(), otp_id)?;
        messages.reverse();
        Ok(messages)
    }

    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>> {
        load_reply(&self.connection(), tag)
    }

    async fn message(&self, id: i64) -> Result<Option<Message>> {
        load_message(&self.connection(), id)
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
        read::due(&self.connection(), now, limit)
    }

    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>> {
        read::provider_ids(&self.connection(), phone)
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
        let connection = self.connection();
        let fact = |subject: &Subject| {
            let known = subject_row(&connection, &self.tag(subject))?;
            Ok(known.map(|(id, usage)| SubjectFact { subject: subject.clone(), id, usage }))
        };
        subjects.iter().map(fact).collect()
    }

    async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        read::test_numbers(&self.connection())
    }

    async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>> {
        read::token(&self.connection(), hash)
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        read::tokens(&self.connection())
    }

    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
        read::audit(&self.connection(), chain, from, limit)
    }

    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>> {
        read::audit_back(&self.connection(), subject, before, limit)
    }

    async fn audit_heads(&self) -> Result<Vec<audit::Head>> {
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
}

#[async_trait]
impl Maintain for Sqlite {
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
        purge::run(self, batch)
    }

    async fn scrub(&self) -> Result<bool> {
        purge::scrub(self)
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

/// What an operation knows, and the tags of its subjects.
struct Loaded {
    facts: Facts,
    /// One for each of [`Facts::subjects`].
    tags: Vec<[u8; 32]>,
}

fn subject_row(connection: &Connection, tag: &[u8; 32]) -> Result<Option<(SubjectId, Usage)>> {
    let mut statement = connection.prepare_cached("SELECT id, usage FROM subjects WHERE tag = ?1").map_err(trouble)?;
    let mut rows = statement.query([tag]).map_err(trouble)?;
    let Some(row) = rows.next().map_err(trouble)? else { return Ok(None) };
    let text = row.get_ref(1).and_then(|text| Ok(text.as_str()?)).map_err(trouble)?;
    let usage = serde_json::from_str(text).map_err(|error| {
        Error::new(Code::STORE_CORRUPT, "a subject's usage cannot be read")
            .because(error)
            .hint("Run `smsotp db check`, then restore a backup.")
    })?;
    Ok(Some((SubjectId(row.get(0).map_err(trouble)?), usage)))
}

/// Writes a subject's usage, with the same statement whether or not the subject was met before: an answer "no" takes the same
/// steps either way.
fn put_usage(
    tx: &Transaction<'_>,
    (subject, tag): (&Subject, &[u8; 32]),
    id: SubjectId,
    (usage, idle_at): (&Usage, Option<Timestamp>),
) -> Result<()> {
    let text = usage.to_json()?;
    tx.prepare_cached(
        "INSERT INTO subjects (tag, id, kind, masked, usage, idle_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (tag) DO UPDATE SET usage = excluded.usage, idle_at = excluded.idle_at",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            tag,
            id.0,
            subject.kind().as_str(),
            subject.masked(),
            text,
            idle_at.map(|at| whole_hour_after(at).millis()),
        ])
    })
    .map_err(trouble)?;
    Ok(())
}

fn load_live(connection: &Connection, (user, phone, purpose): (&User, &Phone, &Purpose)) -> Result<Option<Otp>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            otp_columns!(),
            r#" FROM otps WHERE "user" = ?1 AND phone_number = ?2 AND purpose = ?3 AND state = 'active'"#
        ))
        .and_then(|mut statement| {
            statement.query_row(params![user.as_str(), phone.as_str(), purpose.as_str()], rows::otp).optional()
        })
        .map_err(trouble)
}

fn load_recent(connection: &Connection, whose: (&User, &Phone, &Purpose)) -> Result<Vec<Otp>> {
    let (_, phone, purpose) = whose;
    let mut statement = connection
        .prepare_cached(concat!(
            "SELECT ",
            otp_of_columns!(),
            " FROM otps WHERE phone_number = ?1 AND purpose = ?2 ORDER BY id DESC LIMIT ?3"
        ))
        .map_err(trouble)?;
    let found = statement
        .query_map(params![phone.as_str(), purpose.as_str(), RECENT_MAX], |row| rows::otp_of(row, whose))
        .map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// Begins to write. Here a file that cannot be written, or is no file of ours, is met first: the error names it.
pub(super) fn begin<'a>(connection: &'a mut Connection, path: &Path) -> Result<Transaction<'a>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| open::named(path, error))
}

fn load_otp(connection: &Connection, id: i64) -> Result<Option<Otp>> {
    connection
        .prepare_cached(concat!("SELECT ", otp_columns!(), " FROM otps WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([id], rows::otp).optional())
        .map_err(trouble)
}

fn load_message(connection: &Connection, id: i64) -> Result<Option<Message>> {
    connection
        .prepare_cached(concat!("SELECT ", message_columns!(), " FROM messages WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([id], rows::message).optional())
        .map_err(trouble)
}

fn load_messages(connection: &Connection, otp_id: i64) -> Result<Vec<Message>> {
    let mut statement = connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE otp_id = ?1 ORDER BY id DESC LIMIT 50"
        ))
        .map_err(trouble)?;
    let found = statement.query_map([otp_id], rows::message).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

fn load_test_number(connection: &Connection, phone: &Phone) -> Result<Option<TestNumber>> {
    connection
        .prepare_cached(concat!("SELECT ", test_number_columns!(), " FROM test_numbers WHERE phone_number = ?1"))
        .and_then(|mut statement| statement.query_row([phone.as_str()], rows::test_number).optional())
        .map_err(trouble)
}

fn load_reply(connection: &Connection, tag: [u8; 32]) -> Result<Option<Reply>> {
    connection
        .prepare_cached("SELECT fingerprint, message_id, answer, created_at FROM replies WHERE tag = ?1")
        .and_then(|mut statement| statement.query_row([tag], |row| rows::reply(tag, row)).optional())
        .map_err(trouble)
}

/// Idle times are kept to the hour, so that the index changes hourly and not with every message.
fn whole_hour_after(at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    Timestamp(at.millis() - at.millis().rem_euclid(HOUR) + HOUR)
}

fn busy(patience: Duration) -> Error {
    Error::new(Code::STORE_BUSY, format!("the database stayed locked for {} s", patience.as_secs()))
        .retry_after(Duration::from_secs(1))
        .hint("Try again; if it lasts, find the process that holds it, for example with `fuser` or `lsof`.")
}

/// What an error of SQLite means to a user.
pub(super) fn trouble(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let (kind, message, hint) = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            return Error::new(Code::STORE_BUSY, "the database is locked by another program")
                .because(error)
                .retry_after(Duration::from_secs(1))
                .hint("Close what else has the file open, for example a `sqlite3` shell inside a transaction, and try again.");
        }
        Some(ErrorCode::DiskFull) => (
            Code::STORE_FAILED,
            "the disk is full; nothing was written",
            "Make room on the file system of the database; `smsotp purge-expired` frees space inside it.",
        ),
        Some(ErrorCode::ReadOnly) => (
            Code::STORE_FAILED,
            "the database is read-only",
            "Check who owns the file and its directory, and whether the file system is mounted read-only.",
        ),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            (Code::STORE_FAILED, "the database may not be opened", "Check who owns the file and its directory.")
        }
        Some(ErrorCode::CannotOpen) => (
            Code::STORE_FAILED,
            "the database cannot be opened",
            "Check the path and who owns the file and its directory.",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            Code::STORE_CORRUPT,
            "the file is damaged or not a database",
            "Keep a copy of it, run `smsotp db check`, then restore a backup.",
        ),
        _ if matches!(error, rusqlite::Error::FromSqlConversionFailure(..)) => (
            Code::STORE_CORRUPT,
            "the database holds a value that smsotp never wrote",
            "Keep a copy of it, run `smsotp db check`, then restore a backup.",
        ),
        _ => (Code::STORE_FAILED, "the database failed", "Run `smsotp db check`; if it finds nothing, report this."),
    };
    Error::new(kind, message).because(error).hint(hint)
}
