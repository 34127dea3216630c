//! The seam to the database: what an operation may ask of it, and what it may write.
//!
//! An operation is one transaction. It says what it [`Needs`]; the store locks and loads that as [`Facts`]; a pure function
//! comes to a [`Decision`]; the store writes the changes, chains the audit row and commits. Rules are decided there and
//! nowhere else, so that no rule is written a second time in SQL, and every store keeps the same promises.

mod definitions;
pub mod export;
mod import;
pub mod operation;
#[cfg(feature = "postgres")]
pub mod postgres;
mod projection;
mod purge;
mod schema;
pub mod sqlite;
mod sums;
mod value;
mod walk;
mod wrapped;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use self::export::{Transfer, Transferred};
pub use self::operation::{
    Balance, Change, Decide, Decision, EVENTS_MAX, Facts, MoneyEvent, Needs, OtpNeed, RECENT_MAX, RefusalCount,
    Refused, Reply, SubjectFact, TestNumber, fresh_subject_id, operate,
};
pub use self::schema::newest as newest_schema;
use crate::alarm::Alarm;
use crate::audit::{self, Actor};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::keys::{DatabaseKeys, Keyring};
use crate::lists::{ListEntry, Side};
use crate::message::{self, Message};
use crate::money::FetchedPrice;
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
pub use crate::subject::{Subject, SubjectId, SubjectKind};
use crate::sums::HourSums;
use crate::token::Token;
use crate::usage::Usage;

/// Which otps to list. Every field narrows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this phone.
    pub phone: Option<Phone>,
    /// Of this user.
    pub user: Option<User>,
    /// For this purpose.
    pub purpose: Option<Purpose>,
    /// In one of these states, as shown: an active otp whose time is over counts as expired. Empty: in any.
    pub states: Vec<State>,
    /// Or with a message in one of these states; of messages: in one of these states.
    pub deliveries: Vec<message::State>,
    /// Made at or after.
    pub since: Option<Timestamp>,
    /// Made before.
    pub until: Option<Timestamp>,
    /// Older than this id: how the next page is asked for.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// One page of otps or messages, newest first.
#[derive(Clone, Debug)]
pub struct Page<R> {
    /// The rows.
    pub rows: Vec<R>,
    /// How many more match, counted up to [`MORE_MAX`].
    pub more: u32,
    /// True where only a part of the database was looked through: `next` goes on from there.
    pub cut: bool,
    /// Where the next page begins.
    pub next: Option<i64>,
}

/// Up to where [`Page::more`] is counted: a bound on the cost of a page.
pub const MORE_MAX: u32 = 1000;

/// What one batch of a purge may take.
#[derive(Clone, Debug)]
pub struct PurgeBatch {
    /// Finished before this.
    pub cutoff: Timestamp,
    /// What was looked at already.
    pub cursor: PurgeCursor,
    /// At most so many otps.
    pub limit: u32,
    /// Do all of it although others wait.
    pub exclusive: bool,
    /// Only count, change nothing.
    pub dry_run: bool,
    /// Who purges, for the audit row.
    pub actor: Actor,
}

/// How far a purge has come: it never looks at the same row twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeCursor {
    /// The otps up to (over_at, id) are done.
    pub otps: (i64, i64),
    /// Only the small tables are left.
    pub otps_done: bool,
}

/// What a batch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Purged {
    /// Otps.
    pub otps: u64,
    /// Messages.
    pub messages: u64,
    /// Subjects whose limits remember nothing any more.
    pub subjects: u64,
    /// Answers to idempotency keys.
    pub replies: u64,
    /// Test numbers whose time is over.
    pub test_numbers: u64,
    /// Alarms that ended long ago.
    pub alarms: u64,
    /// Entries of lists whose time is over.
    pub list_entries: u64,
    /// What became of messages to countries where no message has gone since, for more than a year.
    pub money_events: u64,
    /// Sums that are older than any report looks back.
    pub sums: u64,
}

impl Purged {
    /// All rows together.
    pub fn total(&self) -> u64 {
        let of_lists = self.test_numbers + self.alarms + self.list_entries + self.money_events + self.sums;
        self.otps + self.messages + self.subjects + self.replies + of_lists
    }
    /// Adds another batch.
    pub fn add(&mut self, other: Purged) {
        self.otps += other.otps;
        self.messages += other.messages;
        self.subjects += other.subjects;
        self.replies += other.replies;
        self.test_numbers += other.test_numbers;
        self.alarms += other.alarms;
        self.list_entries += other.list_entries;
        self.money_events += other.money_events;
        self.sums += other.sums;
    }
}

/// One step of pruning the audit log.
#[derive(Clone, Debug)]
pub struct AuditPrune {
    /// The chain.
    pub chain: u32,
    /// Rows that were written before this.
    pub before: Timestamp,
    /// At most so many rows.
    pub limit: u32,
    /// Who prunes, for the audit row.
    pub actor: Actor,
}

/// What `db status` tells.
#[derive(Clone, Debug)]
pub struct Status {
    /// The engine and its version.
    pub engine: String,
    /// Where the database is, without secrets.
    pub place: String,
    /// The version of the tables, and the newest this binary knows.
    pub schema: (u32, u32),
    /// (table, rows): estimates where a count would read the whole table.
    pub rows: Vec<(&'static str, u64)>,
    /// Bytes on disk, if known: database and write-ahead log.
    pub bytes: Option<(u64, u64)>,
    /// Messages waiting for the worker, counted up to [`MORE_MAX`].
    pub due: u32,
    /// The ids of the keys that wrap the database's keys, and since when: oldest first.
    pub wrapped_by: Vec<(String, Timestamp)>,
}

/// A store as its callers see it: three parts, each for another purpose. Cheap to clone.
///
/// Every method that changes anything is one durable transaction: after `Ok` it survives kill -9 and power loss, after `Err`
/// nothing of it happened. Errors are `STORE_*` unless a method says more.
#[derive(Clone)]
pub struct Store {
    /// Runs operations.
    pub operations: Arc<dyn Operate>,
    /// Answers questions.
    pub reads: Arc<dyn Read>,
    /// Looks after the database as a whole.
    pub maintenance: Arc<dyn Maintain>,
}

impl<S: Operate + Read + Maintain + 'static> From<Arc<S>> for Store {
    fn from(store: Arc<S>) -> Store {
        Store { operations: store.clone(), reads: store.clone(), maintenance: store }
    }
}

/// The part of a store that runs operations.
#[async_trait]
pub trait Operate: Send + Sync {
    /// The keys that live in the database.
    fn keys(&self) -> &DatabaseKeys;

    /// Runs one operation: lock and load what it needs, let it decide, write, chain the audit row, commit.
    ///
    /// `decide` runs at most a few times, always on fresh facts, and once before the commit that counts. What it returns
    /// as `Err` rolls back and comes out as it is.
    async fn operate(&self, needs: Needs, decide: Decide) -> Result<()>;
}

/// The part of a store that answers questions. Nothing here writes or locks.
#[async_trait]
pub trait Read: Send + Sync {
    /// The present, as this store's operations see it.
    async fn now(&self) -> Result<Timestamp>;

    /// One otp.
    async fn otp(&self, id: i64) -> Result<Option<Otp>>;
    /// One page of otps, newest first. Its cost is bounded, whatever the filter.
    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page<Otp>>;
    /// One page of messages, by their own states ([`Filter::deliveries`]) and times, and by the phone, user and purpose of their otps.
    async fn list_messages(&self, filter: &Filter) -> Result<Page<Message>>;
    /// How many messages each of these otps has, and how far its newest one got.
    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<(u32, Option<message::State>)>>;
    /// The newest otps of a phone, all purposes, newest first.
    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>>;
    /// The messages of an otp, oldest first, at most 50.
    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>>;
    /// The stored answer to an idempotency key.
    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>>;
    /// One message.
    async fn message(&self, id: i64) -> Result<Option<Message>>;
    /// The ids of the messages to look at, the longest due first; `early`: also those that are on their way and will be asked for
    /// later.
    async fn due(&self, now: Timestamp, early: bool, limit: u32) -> Result<Vec<i64>>;
    /// The ids of messages that wait for an attempt although their own life, or that of their otp, was over at `over`, above `after`.
    async fn left_waiting(&self, over: Timestamp, after: i64, limit: u32) -> Result<Vec<i64>>;
    /// The provider ids that are known for a phone: the newest 200.
    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>>;

    /// The usage of subjects, without making unknown ones.
    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>>;
    /// What became of messages to a country (empty: to none) and is not in its counts yet, oldest first, at most [`EVENTS_MAX`];
    /// also what everything has to take in.
    async fn waiting_events(&self, country: &str) -> Result<Vec<MoneyEvent>>;
    /// The sums of the hours from one moment up to another, in any order; a key may have several parts.
    async fn sums(&self, from: Timestamp, to: Timestamp) -> Result<Vec<HourSums>>;
    /// The masked forms of subjects that are still known.
    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>>;
    /// All prices of the provider's list, at most 2000.
    async fn prices(&self) -> Result<Vec<FetchedPrice>>;
    /// All test numbers, at most 1000.
    async fn test_numbers(&self) -> Result<Vec<TestNumber>>;

    /// Entries of lists with their numbers, the newest first: all or those of one list, those that have ended too.
    async fn list_entries(&self, side: Option<Side>, before: Option<i64>, limit: u32) -> Result<Vec<(i64, ListEntry)>>;
    /// Phones whose usage lasts, opt-outs among them, in the order of their ids: the id, the masked form and the usage.
    async fn lasting(&self, after: Option<SubjectId>, limit: u32) -> Result<Vec<(SubjectId, String, Usage)>>;

    /// The access token with this tag, whatever its state. It is asked for with every request.
    async fn token(&self, tag: [u8; 32]) -> Result<Option<Token>>;
    /// All access tokens, the newest first, at most 1000.
    async fn tokens(&self) -> Result<Vec<Token>>;
    /// Alarms that end after this, those that end last first, at most 1000.
    async fn alarms(&self, ended_after: Timestamp) -> Result<Vec<Alarm>>;
    /// The ids of the alarms whose delivery is due, the longest due first.
    async fn due_alarms(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>>;
    /// What is known of the balance at the provider.
    async fn balance(&self) -> Result<Option<Balance>>;
    /// Which key ids otps that are still alive need, each with how many (counted up to [`MORE_MAX`]).
    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>>;
    /// Which key ids the texts of messages are sealed with that wait or are open, each with how many.
    async fn text_keys(&self) -> Result<Vec<(String, u32)>>;

    /// Rows of the audit log: up to `limit` of a chain, from `from` on upwards.
    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>>;
    /// Rows of the audit log, newest first: up to `limit` before a place of a chain, all or those that name a subject first.
    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>>;
    /// The sealed head of each chain, as it is: whoever relies on one looks at its seal.
    async fn audit_heads(&self) -> Result<Vec<audit::SealedHead>>;

    /// Facts about the database.
    async fn status(&self) -> Result<Status>;
}

/// The part of a store that looks after the database as a whole. Everything here may take its time.
#[async_trait]
pub trait Maintain: Send + Sync {
    /// Takes one batch of what is finished. Returns what it took and where to go on; `None` at the end.
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)>;
    /// Rewrites the database so that no byte of what was purged stays in the files; false where that could not be finished
    /// because another program was reading.
    async fn scrub(&self) -> Result<bool>;
    /// Cuts the oldest rows of a chain of the audit log, up to the first one that is not old enough, and seals where it
    /// was cut. Returns how many rows it cut.
    ///
    /// Also `STORE_CORRUPT` where a row is not as it was written: then nothing is cut.
    async fn prune_audit(&self, step: &AuditPrune) -> Result<u64>;
    /// Looks for damage; every finding in words. Empty: sound.
    async fn check(&self) -> Result<Vec<String>>;
    /// Writes a copy in which no code is alive: a copy never revives a code. Answers how many lived.
    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64>;

    /// Writes the database as lines (see [`export`]). A move seals it: no operation runs in it any more; a move that failed
    /// half way may be repeated.
    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred>;
    /// Reads lines into an empty database, in one transaction. It has to be opened anew afterwards: it is another database now.
    ///
    /// Also `VALUE_INVALID` where the lines are not whole, `KEY_INVALID` where `ring` cannot open the keys among them.
    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &Keyring) -> Result<Transferred>;
    /// Wraps the database's keys under every key of the ring, and drops the wraps of others.
    async fn rewrap(&self, ring: &Keyring, actor: &Actor) -> Result<()>;
}
