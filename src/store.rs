//! The seam to the database: what an operation may ask of it, and what it may write.
//!
//! An operation is one transaction. It says what it [`Needs`]; the store locks and loads that as [`Facts`]; a pure function
//! comes to a [`Decision`]; the store writes the changes, chains the audit row and commits. Rules are decided there and
//! nowhere else, so that no rule is written a second time in SQL, and every store keeps the same promises.

pub mod export;
pub mod postgres;
pub mod sqlite;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use self::export::{Transfer, Transferred};
use crate::audit::{self, Actor, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::DatabaseKeys;
use crate::limits::Limits;
use crate::message::Message;
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
pub use crate::subject::{Subject, SubjectId, SubjectKind};
use crate::token::Token;
use crate::usage::{PurposeUsage, Usage};

/// What an operation has to know, and therefore what is locked for it.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The subjects whose usages it reads or writes. Unknown ones are made.
    pub subjects: Vec<Subject>,
    /// The otp in question.
    pub otp: OtpNeed,
    /// The messages of that otp as well.
    pub messages: bool,
    /// A message, with its otp in [`Facts::otp`].
    pub message: Option<i64>,
    /// The tag of an idempotency key.
    pub reply: Option<[u8; 32]>,
    /// An access token.
    pub token: Option<i64>,
    /// Fresh ids for an otp, a message and a token.
    pub ids: bool,
}

/// Which otp an operation is about.
#[derive(Clone, Debug, Default)]
pub enum OtpNeed {
    /// None.
    #[default]
    None,
    /// The live one of (user, phone, purpose), with the newest others of the same phone and purpose, and the test number.
    Of(User, Phone, Purpose),
    /// The one with this id.
    Id(i64),
}

/// What the database said, read inside the operation's transaction.
#[derive(Debug, Default)]
pub struct Facts {
    /// The present: read after the locks where the database tells the time.
    pub now: Timestamp,
    /// One for each of [`Needs::subjects`], in the same order.
    pub subjects: Vec<SubjectFact>,
    /// The otp that lives for (user, phone, purpose) (its time may be over), or the one with the wanted id.
    pub otp: Option<Otp>,
    /// The newest otps of the same phone and purpose, newest first, at most [`RECENT_MAX`].
    pub recent: Vec<Otp>,
    /// The messages of `otp`, newest first, at most 50, where [`Needs::messages`] asked for them.
    pub messages: Vec<Message>,
    /// The message that was asked for.
    pub message: Option<Message>,
    /// The stored answer to an idempotency key.
    pub reply: Option<Reply>,
    /// The declared test number with this phone.
    pub test_number: Option<TestNumber>,
    /// An unused otp id.
    pub next_otp_id: i64,
    /// An unused message id.
    pub next_message_id: i64,
    /// The access token that was asked for.
    pub token: Option<Token>,
    /// An unused token id.
    pub next_token_id: i64,
}

/// How many otps of a phone and purpose a new code is compared with (design §2).
pub const RECENT_MAX: u32 = 64;

/// One subject as the database knows it.
#[derive(Clone, Debug)]
pub struct SubjectFact {
    /// Whom or what it stands for.
    pub subject: Subject,
    /// Its id.
    pub id: SubjectId,
    /// What its limits remember.
    pub usage: Usage,
}

impl SubjectFact {
    /// The change that writes this subject's usage as `update` leaves it. It has seen `now`, forgets purposes that remember
    /// nothing, and may be purged once no limit counts any of it.
    pub fn updated(&self, now: Timestamp, limits: &Limits, update: impl FnOnce(&mut Usage)) -> Change {
        let mut usage = self.usage.clone();
        usage.saw(now);
        update(&mut usage);
        usage.purposes.retain(|_, purpose| *purpose != PurposeUsage::default());
        let idle_at = usage.idle_at(limits.longest());
        Change::PutUsage(self.id, usage, idle_at)
    }
}

impl Facts {
    /// The phone's usage. Likewise the other roles.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn phone(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Phone)
    }
    /// That of the user with the phone.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn pair(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Pair)
    }
    /// That of everyone, or of one shard.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn everything(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Everything)
    }
    /// The user's; `None` for the empty user, who is nobody in particular.
    pub fn user(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::User)
    }
    /// The client address's; `None` where no address is known.
    pub fn address(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::Ip)
    }
    /// The client network's; `None` where no address is known.
    pub fn network(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::Network)
    }

    fn role(&self, kind: SubjectKind) -> Option<&SubjectFact> {
        self.subjects.iter().find(|fact| fact.subject.kind() == kind)
    }
    fn asked_for(&self, kind: SubjectKind) -> Result<&SubjectFact> {
        self.role(kind).ok_or_else(|| Error::new(Code::BUG, format!("an operation did not ask for its {kind}")))
    }

    /// The present as these subjects see it: their time never runs back.
    ///
    /// # Errors
    /// `CLOCK_WRONG` where the newest event of one of them lies more than five minutes ahead.
    pub fn checked_now(&self) -> Result<Timestamp> {
        let seen = self.latest();
        if seen.since(self.now) > CLOCK_SLACK {
            return Err(Error::new(
                Code::CLOCK_WRONG,
                format!("the clock says {}, but the database already has events of {seen}", self.now),
            )
            .hint("Set the clock right (is NTP running?); if it was ahead before, wait until it has caught up."));
        }
        Ok(seen)
    }

    /// The present, or the newest event of these subjects where that lies ahead of it: for what has to be recorded whatever
    /// the clock says.
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.subjects.iter().map(|fact| fact.usage.seen).fold(self.now.millis(), i64::max))
    }
}

/// One row to write.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new otp, under [`Facts::next_otp_id`].
    NewOtp(Otp),
    /// The state, end and guesses of an otp. An id that is not there changes nothing, in the same statement.
    PutOtp(Otp),
    /// A new message, under [`Facts::next_message_id`].
    NewMessage(Message),
    /// Everything of a message that may change.
    PutMessage(Message),
    /// A subject's usage, and from when on it is idle: made by [`SubjectFact::updated`].
    PutUsage(SubjectId, Usage, Option<Timestamp>),
    /// The answer to an idempotency key, new or changed.
    PutReply(Reply),
    /// A test number, new or changed.
    PutTestNumber(TestNumber),
    /// A test number that is one no more.
    DropTestNumber(Phone),
    /// A new access token, under [`Facts::next_token_id`].
    NewToken(Token),
    /// The end of an access token: `expires_at` and `revoked_at`.
    PutToken(Token),
}

/// What an operation decided. Rows cannot be changed without an audit row: there is no way to say so.
#[derive(Clone, Debug)]
pub enum Decision<A = ()> {
    /// Nothing is written.
    Nothing(A),
    /// Rows change, and the audit log says what happened, in the same transaction.
    Write {
        /// The rows; none where only the audit log has to know.
        changes: Vec<Change>,
        /// The audit row.
        event: Event,
        /// The answer.
        answer: A,
    },
    /// Only the time at which a message is looked at again moves: the one change that leaves no audit row.
    Reschedule {
        /// The message.
        message_id: i64,
        /// When to look at it again; `None`: never.
        due_at: Option<Timestamp>,
        /// The answer.
        answer: A,
    },
}

impl<A> Decision<A> {
    /// The decision and its answer, apart.
    fn split(self) -> (Decision, A) {
        match self {
            Decision::Nothing(answer) => (Decision::Nothing(()), answer),
            Decision::Write { changes, event, answer } => (Decision::Write { changes, event, answer: () }, answer),
            Decision::Reschedule { message_id, due_at, answer } => {
                (Decision::Reschedule { message_id, due_at, answer: () }, answer)
            }
        }
    }
}

/// A declared test number: nothing is sent to it and its code is fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct TestNumber {
    /// Any E.164 shape.
    pub phone: Phone,
    /// The fixed code as a keyed tag.
    pub code_tag: [u8; 32],
    /// It stops being one at this time.
    pub until: Timestamp,
    /// When it was declared.
    pub added_at: Timestamp,
    /// By whom.
    pub added_by: String,
}

/// The database's side of an idempotency key.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The keyed tag of the key.
    pub tag: [u8; 32],
    /// A keyed fingerprint of what was asked: the same key for something else is an error.
    pub fingerprint: [u8; 32],
    /// The message it started.
    pub message_id: Option<i64>,
    /// The whole answer as JSON; `None` while the first asker is at work.
    pub answer: Option<String>,
    /// When the key was first used; kept for 24 hours.
    pub created_at: Timestamp,
}

/// The pure part of an operation. It may be called again where the database wants the transaction repeated.
pub type Decide = Box<dyn FnMut(&Facts) -> Result<Decision> + Send>;

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
    /// Made at or after.
    pub since: Option<Timestamp>,
    /// Made before.
    pub until: Option<Timestamp>,
    /// Older than this id: how the next page is asked for.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// One page of otps, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows.
    pub otps: Vec<Otp>,
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
}

impl Purged {
    /// All rows together.
    pub fn total(&self) -> u64 {
        self.otps + self.messages + self.subjects + self.replies + self.test_numbers
    }
    /// Adds another batch.
    pub fn add(&mut self, other: Purged) {
        self.otps += other.otps;
        self.messages += other.messages;
        self.subjects += other.subjects;
        self.replies += other.replies;
        self.test_numbers += other.test_numbers;
    }
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

    /// Into how many rows the usage of everything is divided, each with its shard of the limits, so that unrelated phones
    /// need not wait for each other. 1 where there is one writer anyway.
    fn shards(&self) -> u32 {
        1
    }

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
    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Page>;
    /// How many messages each of these otps has.
    async fn message_counts(&self, otp_ids: &[i64]) -> Result<Vec<u32>>;
    /// The newest otps of a phone, all purposes, newest first.
    async fn of_phone(&self, phone: &Phone, limit: u32) -> Result<Vec<Otp>>;
    /// The messages of an otp, oldest first, at most 50.
    async fn messages_of(&self, otp_id: i64) -> Result<Vec<Message>>;
    /// The stored answer to an idempotency key.
    async fn reply(&self, tag: [u8; 32]) -> Result<Option<Reply>>;
    /// One message.
    async fn message(&self, id: i64) -> Result<Option<Message>>;
    /// The ids the worker has to look at, the longest due first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<i64>>;
    /// The provider ids that are known for a phone: the newest 200.
    async fn provider_ids(&self, phone: &Phone) -> Result<Vec<String>>;

    /// The usage of subjects, without making unknown ones.
    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>>;
    /// The masked forms of subjects that are still known.
    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>>;
    /// All test numbers, at most 1000.
    async fn test_numbers(&self) -> Result<Vec<TestNumber>>;

    /// The access token with this hash (SHA-256), whatever its state. It is asked for with every request.
    async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>>;
    /// All access tokens, the newest first, at most 1000.
    async fn tokens(&self) -> Result<Vec<Token>>;
    /// Which key ids otps that are still alive need, each with how many (counted up to [`MORE_MAX`]).
    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>>;

    /// Rows of the audit log: up to `limit` of a chain, from `from` on upwards.
    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>>;
    /// Rows of the audit log, newest first: up to `limit` before a place of a chain, all or those that name a subject first.
    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>>;
    /// The last row of each chain.
    async fn audit_heads(&self) -> Result<Vec<audit::Head>>;

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
    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &crate::keys::Keyring) -> Result<Transferred>;
    /// Wraps the database's keys under every key of the ring, and drops the wraps of others.
    async fn rewrap(&self, ring: &crate::keys::Keyring, actor: &Actor) -> Result<()>;
}

/// Runs an operation whose decision has an answer.
pub async fn operate<A, F>(store: &dyn Operate, needs: Needs, mut decide: F) -> Result<A>
where
    A: Send + 'static,
    F: FnMut(&Facts) -> Result<Decision<A>> + Send + 'static,
{
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    let decide = Box::new(move |facts: &Facts| {
        let (decision, answer) = decide(facts)?.split();
        *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
        Ok(decision)
    });
    store.operate(needs, decide).await?;
    let answer = answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    answer.ok_or_else(|| Error::new(Code::BUG, "an operation was committed without a decision"))
}

/// How far ahead of the present a subject's newest event may lie before the clock is held to be wrong.
pub const CLOCK_SLACK: Duration = Duration::from_secs(300);
