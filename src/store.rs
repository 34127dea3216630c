//! The memory: what an operation may ask of the database, and what it may write.
//!
//! An operation is one transaction. It says what it [`Needs`]; the store locks and loads that as [`Facts`]; a pure function
//! decides; the store writes the [`Change`]s it decided on, chains the audit row, and commits. Rules are decided there
//! and nowhere else, so that no rule is written a second time in SQL, and every store keeps the same promises.

pub mod export;
pub mod postgres;
pub mod sqlite;

use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use self::export::{Transfer, Transferred};
use crate::audit::{self, Actor, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::DatabaseKeys;
use crate::message::Message;
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::token::Token;
use crate::usage::Usage;

/// A 16-byte stand-in for a person or an address. Whatever outlives an otp holds this alone.
///
/// It begins with the moment when it was made, as version 7 of RFC 9562 does, so that those who are asked for at the same time
/// are neighbours in every index; the other 80 bits are random, and nothing leads from them back to the person.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SubjectId(pub [u8; 16]);

impl SubjectId {
    /// A new one.
    ///
    /// # Errors
    /// `BUG` where the operating system has no random bytes.
    pub fn fresh(now: Timestamp) -> Result<SubjectId> {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.millis().to_be_bytes()[2..]);
        crate::keys::fill_random(&mut id[6..])?;
        Ok(SubjectId(id))
    }

    /// Lower-case hex.
    pub fn hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }
    /// Reads [`SubjectId::hex`].
    pub fn from_hex(text: &str) -> Option<SubjectId> {
        base16ct::lower::decode_vec(text).ok()?.try_into().ok().map(SubjectId)
    }
    /// The last eight bytes in hex, which are random: enough to tell phones apart inside one small usage.
    pub fn short(&self) -> String {
        base16ct::lower::encode_string(&self.0[8..])
    }
}

/// What a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A phone number.
    Phone(Phone),
    /// A user of the host system.
    User(User),
    /// A user and a phone together: guesses in a row.
    Pair(User, Phone),
    /// A client address: IPv4 whole, IPv6 by its /64.
    Ip(IpAddr),
    /// A client network: IPv4 /24, IPv6 /48.
    Network(IpAddr),
    /// Everyone, as a whole: for looking and for resets.
    Everything,
    /// One of the [`Store::shards`] parts of everyone: what a send is counted in.
    Shard(u32),
}

impl Subject {
    /// The word in database and answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::Phone(_) => "phone",
            Subject::User(_) => "user",
            Subject::Pair(..) => "pair",
            Subject::Ip(_) => "ip",
            Subject::Network(_) => "network",
            Subject::Everything | Subject::Shard(_) => "everything",
        }
    }

    /// The client address as a subject, and the network around it (reference: RFC 4291 §2.5.4 for the /64).
    pub fn of_client(ip: IpAddr) -> [Subject; 2] {
        [Subject::Ip(cut(ip, 32, 64)), Subject::Network(cut(ip, 24, 48))]
    }

    /// The bytes that its tag is made from.
    pub fn value(&self) -> Vec<u8> {
        match self {
            Subject::Phone(phone) => phone.as_str().as_bytes().to_vec(),
            Subject::User(user) => user.as_str().as_bytes().to_vec(),
            // A phone holds no NUL, so the two parts cannot run into each other.
            Subject::Pair(user, phone) => [phone.as_str().as_bytes(), b"\0", user.as_str().as_bytes()].concat(),
            Subject::Ip(ip) | Subject::Network(ip) => ip.to_string().into_bytes(),
            // With one shard alone that share is the whole.
            Subject::Everything | Subject::Shard(0) => Vec::new(),
            Subject::Shard(nth) => nth.to_be_bytes().to_vec(),
        }
    }

    /// How tables, logs and the audit show it.
    pub fn masked(&self) -> String {
        match self {
            Subject::Phone(phone) | Subject::Pair(_, phone) => phone.masked(),
            Subject::User(user) => user.as_str().to_owned(),
            Subject::Ip(ip) => ip.to_string(),
            Subject::Network(IpAddr::V4(ip)) => format!("{ip}/24"),
            Subject::Network(IpAddr::V6(ip)) => format!("{ip}/48"),
            Subject::Everything | Subject::Shard(_) => "everything".to_owned(),
        }
    }
}

fn cut(ip: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & (u32::MAX << (32 - v4_bits))).into()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => cut(IpAddr::V4(ip), v4_bits, v6_bits),
            None => IpAddr::V6((u128::from(ip) & (u128::MAX << (128 - v6_bits))).into()),
        },
    }
}

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

/// How many of the newest otps of a phone and purpose a new code must differ from.
pub const RECENT_MAX: u32 = 64;

/// One subject as the database knows it.
#[derive(Clone, Debug)]
pub struct SubjectFact {
    /// Its id.
    pub id: SubjectId,
    /// Its memory.
    pub usage: Usage,
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
    /// A subject's memory, and from when on it is idle.
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
    /// What the audit log says of the operation: exactly one in each operation that changes anything.
    Audit(Event),
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
pub type Decide = Box<dyn FnMut(&Facts) -> Result<Vec<Change>> + Send>;

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

/// A memory. Every method that changes anything is one durable transaction: after `Ok` it survives kill -9 and power loss,
/// after `Err` nothing of it happened. Errors are `STORE_*` unless a method says more.
#[async_trait]
pub trait Store: Send + Sync {
    /// The keys that live in the database.
    fn keys(&self) -> &DatabaseKeys;

    /// Into how many rows the memory of everything is divided, each with its shard of the limits, so that unrelated phones
    /// need not wait for each other. 1 where there is one writer anyway.
    fn shards(&self) -> u32 {
        1
    }

    /// Runs one operation: lock and load what it needs, let it decide, write, chain the audit row, commit.
    ///
    /// `decide` runs at most a few times, always on fresh facts, and once before the commit that counts. What it returns
    /// as `Err` rolls back and comes out as it is. No change: nothing is written.
    async fn transact(&self, needs: Needs, decide: Decide) -> Result<()>;

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
    /// The present, as this store's operations see it.
    async fn now(&self) -> Result<Timestamp>;

    /// The usages of subjects, without making unknown ones.
    async fn usages(&self, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>>;
    /// All test numbers, at most 1000.
    async fn test_numbers(&self) -> Result<Vec<TestNumber>>;

    /// The access token with this hash (SHA-256), whatever its state. It is asked for with every request.
    async fn token(&self, hash: [u8; 32]) -> Result<Option<Token>>;
    /// All access tokens, the newest first, at most 1000.
    async fn tokens(&self) -> Result<Vec<Token>>;

    /// Takes one batch of what is finished. Returns what it took and where to go on; `None` at the end.
    async fn purge(&self, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)>;
    /// Rewrites the database so that no byte of what was purged stays in the files; false where that could not be finished
    /// because another program was reading.
    async fn scrub(&self) -> Result<bool>;

    /// Rows of the audit log: up to `limit` of a chain, from `from` on upwards.
    async fn audit(&self, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>>;
    /// Rows of the audit log, newest first: up to `limit` before a place of a chain, all or those that name a subject first.
    async fn audit_back(&self, subject: Option<SubjectId>, before: (u32, u64), limit: u32) -> Result<Vec<audit::Row>>;
    /// The last row of each chain.
    async fn audit_heads(&self) -> Result<Vec<audit::Head>>;
    /// The masked forms of subjects that are still known.
    async fn masked(&self, ids: &[SubjectId]) -> Result<Vec<Option<String>>>;

    /// Facts about the database.
    async fn status(&self) -> Result<Status>;
    /// Looks for damage; every finding in words. Empty: sound.
    async fn check(&self) -> Result<Vec<String>>;
    /// Writes a copy in which no code is alive, for a copy must never revive a code. Returns how many were alive.
    async fn backup(&self, to: &Path, actor: &Actor) -> Result<u64>;

    /// Writes the database as lines (see [`export`]). A move seals them: no operation is done in them any more; a move that failed half
    /// way may be repeated.
    async fn export(&self, to: &mut (dyn Write + Send), transfer: Transfer, actor: &Actor) -> Result<Transferred> {
        let _ = (to, transfer, actor);
        Err(Error::new(Code::BUG, "this kind of store cannot export"))
    }
    /// Reads lines into an empty database, in one transaction. They have to be opened anew afterwards: they are another database now.
    ///
    /// Also `VALUE_INVALID` where the lines are not whole, `KEY_INVALID` where `ring` cannot open the keys among them.
    async fn import(&self, from: &mut (dyn BufRead + Send), ring: &crate::keys::Keyring) -> Result<Transferred> {
        let _ = (from, ring);
        Err(Error::new(Code::BUG, "this kind of store cannot import"))
    }

    /// Which key ids otps that are still alive need, each with how many (counted up to [`MORE_MAX`]).
    async fn keys_in_use(&self, now: Timestamp) -> Result<Vec<(String, u32)>>;
    /// Wraps the database's keys under every key of the ring, and drops the wraps of others.
    async fn rewrap(&self, ring: &crate::keys::Keyring, actor: &Actor) -> Result<()>;
}

/// Runs an operation whose decision has an answer.
pub async fn operation<A, F>(store: &dyn Store, needs: Needs, mut decide: F) -> Result<A>
where
    A: Send + 'static,
    F: FnMut(&Facts) -> Result<(Vec<Change>, A)> + Send + 'static,
{
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    let decide = Box::new(move |facts: &Facts| {
        let (changes, answer) = decide(facts)?;
        *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
        Ok(changes)
    });
    store.transact(needs, decide).await?;
    let answer = answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    answer.ok_or_else(|| Error::new(Code::BUG, "an operation was committed without a decision"))
}

/// How far ahead of the present a subject's newest moment may lie before the clock counts as wrong.
pub const CLOCK_SLACK: Duration = Duration::from_secs(300);
