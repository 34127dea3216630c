//! The tables, each described once: its columns in order, what each column holds, whether it may change after the insert, and which
//! field of the record it stores. Both stores take their statements, placeholders and row readers from this description, and so
//! do export and import. `db check` compares the database with the migrations.
//!
//! To add a column: add a line to its table here, a field to the record, and a migration for each store.

use std::sync::OnceLock;

use super::sums::SumRow;
use super::value::{Cells, ColumnType, Reader, Stored, Value, damaged};
use super::{Balance, MoneyEvent, RefusalCount, Reply, Subject, SubjectFact, SubjectId, TestNumber};
use crate::alarm::Alarm;
use crate::audit::{self, SealedHead};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::KeyId;
use crate::lists::{FORGOTTEN, ListEntry};
use crate::message::{self, Message};
use crate::money::FetchedPrice;
use crate::otp::{Otp, State};
use crate::token::Token;
use crate::usage::Usage;

/// The migrations of SQLite and PostgreSQL in order; the first one leads to version 1. A released migration never changes.
const MIGRATIONS: [(&str, &str); 1] =
    [(include_str!("migrations/sqlite/0001_initial.sql"), include_str!("migrations/postgres/0001_initial.sql"))];

/// A table that both stores have.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key.
    key: &'static [&'static str],
    /// The columns by which an export orders its rows.
    pub order: &'static str,
    /// The columns that hold the record's fields, in the order in which they are written, read and exported.
    pub columns: &'static [Column],
    sqlite: OnceLock<Statements>,
    postgres: OnceLock<Statements>,
}

/// A column that holds a field of the record.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: ColumnType,
    /// Whether an update may change it.
    mutability: Mutability,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutability {
    Fixed,
    Changing,
}

/// The SQL that a statement is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL, where the tables are in the schema `smsotp`.
    Postgres,
}

/// The statements for one record.
#[derive(Debug)]
pub struct Statements {
    /// The column list.
    pub columns: String,
    /// Selects every row; a condition may follow.
    pub select: String,
    /// Selects the row with a given key.
    pub find: String,
    /// Inserts a row.
    pub insert: String,
    /// Updates the changeable columns of the row with a given key; its values are [`Table::update_values`].
    pub update: String,
    /// Inserts a row, or updates the changeable columns of the row that is there.
    pub put: String,
}

/// A value that is stored as one row of a table.
pub trait Record: Sized {
    /// Its table.
    fn table() -> &'static Table;
    /// Its values, in the order of the table's columns.
    fn values(&self) -> Vec<Value<'_>>;
    /// Reads it from a row.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if a column holds a value that smsotp never writes.
    fn read(cells: &dyn Cells) -> Result<Self>;
}

/// Describes the table of a record: one line for each column that holds a field of it. Columns that hold none,
/// generated ones for example, are in the migrations alone.
macro_rules! table {
    (
        $name:literal of $record:path, key $key:expr, order $order:literal;
        $($column:literal $holds:ident $mutability:ident $field:ident,)*
    ) => {
        impl Record for $record {
            fn table() -> &'static Table {
                static TABLE: Table = Table {
                    name: $name,
                    key: &$key,
                    order: $order,
                    columns: &[$(Column { name: $column, holds: ColumnType::$holds, mutability: Mutability::$mutability },)*],
                    sqlite: OnceLock::new(),
                    postgres: OnceLock::new(),
                };
                &TABLE
            }

            fn values(&self) -> Vec<Value<'_>> {
                vec![$(self.$field.to_value()),*]
            }

            fn read(cells: &dyn Cells) -> Result<Self> {
                let mut reader = Reader::new(cells);
                Ok(Self { $($field: reader.next(concat!($name, ".", $column))?),* })
            }
        }
    };
}

table! {
    "database_keys" of KeyRow, key ["name", "key_id"], order "name, key_id";
    "name"          Text  Fixed     name,
    "key_id"        Text  Fixed     key_id,
    "wrapped"       Bytes Fixed     wrapped,
    "added_at"      Int   Fixed     added_at,
}

table! {
    "subjects" of SubjectRow, key ["tag"], order "id";
    "tag"           Bytes Fixed     tag,
    "id"            Bytes Fixed     id,
    "kind"          Text  Fixed     kind,
    "masked"        Text  Fixed     masked,
    "usage"         Text  Changing  usage,
    "idle_at"       Int   Changing  idle_at,
}

table! {
    "otps" of Otp, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "user"          Text  Fixed     user,
    "phone_number"  Text  Fixed     phone,
    "purpose"       Text  Fixed     purpose,
    "nonce"         Bytes Fixed     nonce,
    "key_id"        Text  Fixed     key_id,
    "digits"        Int   Fixed     digits,
    "created_at"    Int   Fixed     created_at,
    "expires_at"    Int   Fixed     expires_at,
    "state"         Text  Changing  state,
    "ended_at"      Int   Changing  ended_at,
    "wrong_guesses" Int   Changing  wrong_guesses,
    "test"          Bool  Fixed     test,
    "known"         Bool  Fixed     known,
}

table! {
    "messages" of Message, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "otp_id"        Int   Fixed     otp_id,
    "phone_number"  Text  Fixed     phone,
    "provider"      Text  Changing  provider,
    "state"         Text  Changing  state,
    "provider_id"   Text  Changing  provider_id,
    "error_code"    Int   Changing  error_code,
    "error"         Text  Changing  error,
    "segments"      Int   Changing  segments,
    "attempts"      Int   Changing  attempts,
    "reserved_at"   Int   Fixed     reserved_at,
    "expires_at"    Int   Fixed     expires_at,
    "attempt_at"    Int   Changing  attempt_at,
    "due_at"        Int   Changing  due_at,
    "missed_at"     Int   Changing  missed_at,
    "updated_at"    Int   Changing  updated_at,
    "endings"       Text  Fixed     endings,
    "locale"        Text  Fixed     locale,
    "country"       Text  Fixed     country,
    "price"         Int   Fixed     price,
    "settled"       Int   Changing  settled,
    "counted"       Text  Fixed     counted,
    "pooled"        Bool  Fixed     pooled,
    "open"          Bool  Changing  open,
    "text"          Bytes Changing  text,
}

table! {
    "money_events" of MoneyEvent, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "scope"         Text  Fixed     scope,
    "at"            Int   Fixed     at,
    "kind"          Text  Fixed     kind,
    "reserved_at"   Int   Fixed     reserved_at,
    "amount"        Int   Fixed     amount,
    "counted"       Text  Fixed     counted,
    "pooled"        Bool  Fixed     pooled,
}

table! {
    "replies" of Reply, key ["tag"], order "tag";
    "tag"           Bytes Fixed     tag,
    "fingerprint"   Bytes Changing  fingerprint,
    "message_id"    Int   Changing  message_id,
    "answer"        Text  Changing  answer,
    "created_at"    Int   Changing  created_at,
}

table! {
    "test_numbers" of TestNumber, key ["phone_number"], order "phone_number";
    "phone_number"  Text  Fixed     phone,
    "code_tag"      Bytes Changing  code_tag,
    "until"         Int   Changing  until,
    "added_at"      Int   Changing  added_at,
    "added_by"      Text  Changing  added_by,
}

table! {
    "prices" of FetchedPrice, key ["country", "channel"], order "country, channel";
    "country"       Text  Fixed     country,
    "channel"       Text  Fixed     channel,
    "price"         Int   Changing  price,
    "fetched_at"    Int   Changing  fetched_at,
}

table! {
    "list_entries" of ListEntry, key ["key", "list"], order "key, list";
    "key"           Text  Fixed     key,
    "list"          Text  Fixed     side,
    "kind"          Text  Fixed     kind,
    "shown"         Text  Changing  shown,
    "reason"        Text  Changing  reason,
    "since"         Int   Changing  since,
    "until"         Int   Changing  until,
    "added_by"      Text  Changing  added_by,
    "hits"          Int   Fixed     hits,
    "hit_at"        Int   Fixed     hit_at,
}

table! {
    "tokens" of Token, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "name"          Text  Fixed     name,
    "tag"           Bytes Fixed     tag,
    "scopes"        Text  Fixed     scopes,
    "rate"          Int   Fixed     rate,
    "conversion_unknown" Bool Fixed conversion_unknown,
    "user"          Text  Fixed     user,
    "service"       Bool  Fixed     service,
    "created_at"    Int   Fixed     created_at,
    "expires_at"    Int   Changing  expires_at,
    "revoked_at"    Int   Changing  revoked_at,
    "created_by"    Text  Fixed     created_by,
    "seal"          Bytes Changing  seal,
}

table! {
    "alarms" of Alarm, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "kind"          Text  Fixed     kind,
    "about"         Text  Fixed     about,
    "since"         Int   Fixed     since,
    "until"         Int   Changing  until,
    "last_at"       Int   Changing  last_at,
    "count"         Int   Changing  count,
    "cost"          Int   Changing  cost,
    "words"         Text  Changing  words,
    "newest"        Bool  Changing  newest,
    "acked_at"      Int   Changing  acked_at,
    "acked_by"      Text  Changing  acked_by,
    "attempts"      Int   Changing  attempts,
    "due_at"        Int   Changing  due_at,
    "sent_at"       Int   Changing  sent_at,
}

table! {
    "balance" of Balance, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "asked_at"      Int   Changing  asked_at,
    "amount"        Int   Changing  amount,
}

table! {
    "audit" of audit::Row, key ["chain", "seq"], order "chain, seq";
    "chain"         Int   Fixed     chain,
    "seq"           Int   Fixed     seq,
    "body"          Body  Fixed     body,
    "mac"           Bytes Fixed     mac,
}

table! {
    "audit_heads" of SealedHead, key ["chain"], order "chain";
    "chain"         Int   Fixed     chain,
    "seq"           Int   Changing  seq,
    "mac"           Bytes Changing  mac,
    "pruned_seq"    Int   Changing  pruned_seq,
    "pruned_mac"    Bytes Changing  pruned_mac,
    "chains"        Int   Fixed     chains,
    "seal"          Bytes Changing  seal,
}

table! {
    "identity" of Identity, key ["id"], order "id";
    "id"            Int   Fixed     id,
    "database_id"   Bytes Fixed     database_id,
    "created_at"    Int   Fixed     created_at,
    "sealed_at"     Int   Fixed     sealed_at,
}

/// The tables that are exported, in an order in which their rows can be inserted.
pub fn exported() -> [&'static Table; 15] {
    [
        KeyRow::table(),
        SubjectRow::table(),
        Otp::table(),
        Message::table(),
        MoneyEvent::table(),
        SumRow::table(),
        Reply::table(),
        TestNumber::table(),
        FetchedPrice::table(),
        ListEntry::table(),
        Token::table(),
        Alarm::table(),
        Balance::table(),
        audit::Row::table(),
        SealedHead::table(),
    ]
}

/// Writes the row with this id that stands for an otp where there is none: the columns of an otp that an update writes.
pub fn pad(dialect: Dialect) -> String {
    let (table, id) = (dialect.table("padding"), dialect.place(1));
    format!("UPDATE {table} SET state = 'active', ended_at = NULL, wrong_guesses = wrong_guesses + 1 WHERE id = {id}")
}

/// Counts messages that an entry of a list refused, by its key and list: no lock is held for it, and no other column is written.
pub fn count_hits(dialect: Dialect) -> String {
    let table = dialect.table(ListEntry::table().name);
    let [key, list, hits, at] = [1, 2, 3, 4].map(|nth| dialect.place(nth));
    format!(r#"UPDATE {table} SET hits = hits + {hits}, hit_at = {at} WHERE "key" = {key} AND list = {list}"#)
}

/// Takes an entry off its list, by its key and list.
pub fn drop_entry(dialect: Dialect) -> String {
    let table = dialect.table(ListEntry::table().name);
    format!(r#"DELETE FROM {table} WHERE "key" = {} AND list = {}"#, dialect.place(1), dialect.place(2))
}

/// Inserts what became of a message: all columns but the id, which the database gives.
pub fn new_event(dialect: Dialect) -> String {
    let columns = &MoneyEvent::table().columns[1..];
    let names = list(columns.iter().map(|column| quoted(column.name)), ", ");
    let places = list((1..=columns.len()).map(|nth| dialect.place(nth)), ", ");
    format!("INSERT INTO {} ({names}) VALUES ({places})", dialect.table(MoneyEvent::table().name))
}

/// The sums of the hours from one moment up to another.
pub fn sums(dialect: Dialect) -> String {
    let [from, to] = [1, 2].map(|nth| dialect.place(nth));
    format!("{} WHERE hour >= {from} AND hour < {to}", SumRow::table().statements(dialect).select)
}

/// The oldest events of two scopes, at most so many.
pub fn waiting_events(dialect: Dialect) -> String {
    let select = &MoneyEvent::table().statements(dialect).select;
    let [one, other, most] = [1, 2, 3].map(|nth| dialect.place(nth));
    format!("{select} WHERE scope IN ({one}, {other}) ORDER BY at, id LIMIT {most}")
}

/// Deletes an otp with its messages and what was answered to idempotency keys about them: three statements with the otp's id.
pub fn erase_otp(dialect: Dialect) -> [String; 3] {
    let [replies, messages, otps] = ["replies", "messages", "otps"].map(|name| dialect.table(name));
    let id = dialect.place(1);
    [
        format!("DELETE FROM {replies} WHERE message_id IN (SELECT id FROM {messages} WHERE otp_id = {id})"),
        format!("DELETE FROM {messages} WHERE otp_id = {id}"),
        format!("DELETE FROM {otps} WHERE id = {id}"),
    ]
}

/// Deletes a message without a code, and the answers to idempotency keys about it.
pub fn erase_message(dialect: Dialect) -> [String; 2] {
    let [replies, messages] = ["replies", "messages"].map(|name| dialect.table(name));
    let id = dialect.place(1);
    [
        format!("DELETE FROM {replies} WHERE message_id = {id}"),
        format!("DELETE FROM {messages} WHERE id = {id} AND otp_id IS NULL"),
    ]
}

/// An id that [`pad`] finds no row with.
pub const NO_PADDING: i64 = -1;

/// The statements that raise an alarm. The first, over kind, country and now, ends the place of the one that is over; the second, over
/// all columns but the id, inserts the alarm or makes it part of the one that stands, of which there is one at most: their
/// index sees to that, whoever else does the same at the same time. The first repeats [`Alarm::stands`].
pub fn raise_alarm(dialect: Dialect) -> [String; 2] {
    let table = dialect.table(Alarm::table().name);
    let larger = if dialect == Dialect::Sqlite { "max" } else { "greatest" };
    let columns = &Alarm::table().columns[1..];
    let names = list(columns.iter().map(|column| quoted(column.name)), ", ");
    let places = list((1..=columns.len()).map(|nth| dialect.place(nth)), ", ");
    let [kind, about, now] = [1, 2, 3].map(|nth| dialect.place(nth));
    let largest = list(
        ["until", "last_at", "cost"].iter().map(|name| format!("{name} = {larger}(stands.{name}, excluded.{name})")),
        ", ",
    );
    [
        format!(
            "UPDATE {table} SET newest = false WHERE kind = {kind} AND about = {about} AND newest AND until <= {now}"
        ),
        format!(
            "INSERT INTO {table} AS stands ({names}) VALUES ({places}) ON CONFLICT (kind, about) WHERE newest \
             DO UPDATE SET {largest}, count = stands.count + 1, words = excluded.words"
        ),
    ]
}

/// One of the database's keys, wrapped under one secret key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// `index` or `audit`.
    pub name: String,
    /// The secret key that unwraps it.
    pub key_id: KeyId,
    /// The sealed key.
    pub wrapped: Vec<u8>,
    /// When it was wrapped.
    pub added_at: Timestamp,
}

/// A subject as a row.
#[derive(Clone, Debug)]
pub struct SubjectRow {
    /// The keyed tag of its kind and value.
    pub tag: [u8; 32],
    /// The random id that refers to it everywhere else.
    pub id: SubjectId,
    /// Its kind.
    pub kind: String,
    /// Its masked form.
    pub masked: String,
    /// What its limits remember, as JSON.
    pub usage: String,
    /// From then on the usage affects no limit any more; `None`: never.
    pub idle_at: Option<Timestamp>,
}

/// The single row that identifies the database.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Always 1.
    pub id: u8,
    /// 16 random bytes; the wrapped keys are bound to them.
    pub database_id: [u8; 16],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was moved to another database; no operation runs in it any more.
    pub sealed_at: Option<Timestamp>,
}

impl SubjectRow {
    /// A subject with its usage. Idle times are rounded up to the hour, so that their index changes hourly and not with every
    /// message.
    ///
    /// # Errors
    /// `BUG` if the usage has no JSON form.
    pub fn new(
        subject: &Subject,
        tag: [u8; 32],
        id: SubjectId,
        usage: &Usage,
        idle_at: Option<Timestamp>,
    ) -> Result<SubjectRow> {
        Ok(SubjectRow {
            tag,
            id,
            kind: subject.kind().as_str().to_owned(),
            masked: subject.masked(),
            usage: usage.to_json()?,
            idle_at: idle_at.map(whole_hour_after),
        })
    }

    /// What is left of a subject that was forgotten: its tag, under a new id.
    ///
    /// # Errors
    /// `BUG` if the usage has no JSON form.
    pub fn of_forgotten(subject: &Subject, tag: [u8; 32], id: SubjectId, usage: &Usage) -> Result<SubjectRow> {
        Ok(SubjectRow { masked: FORGOTTEN.to_owned(), ..SubjectRow::new(subject, tag, id, usage, None)? })
    }

    /// What a decision has to know of the subject that this row is about.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if the usage cannot be read.
    pub fn fact(&self, subject: &Subject) -> Result<SubjectFact> {
        Ok(SubjectFact { subject: subject.clone(), id: self.id, usage: self.usage()?, is_new: false })
    }

    /// What changes where only refusals are counted.
    ///
    /// # Errors
    /// `BUG` if the usage has no JSON form.
    pub fn counted(refusal: &RefusalCount) -> Result<(SubjectId, String)> {
        Ok((refusal.subject, refusal.usage.to_json()?))
    }

    /// The usage.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if it cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        serde_json::from_str(&self.usage).map_err(|error| damaged(&format!("subjects.usage: {error}")))
    }
}

/// The next full hour.
pub fn whole_hour_after(at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    Timestamp(at.millis() - at.millis().rem_euclid(HOUR) + HOUR)
}

impl Column {
    /// A column that never changes, or one that does.
    pub const fn new(name: &'static str, holds: ColumnType, changes: bool) -> Column {
        Column { name, holds, mutability: if changes { Mutability::Changing } else { Mutability::Fixed } }
    }
}

impl Dialect {
    /// The qualified name of a table.
    pub fn table(self, name: &str) -> String {
        match self {
            Dialect::Sqlite => name.to_owned(),
            Dialect::Postgres => format!("smsotp.{name}"),
        }
    }

    /// The placeholder of value number `nth`, from 1.
    pub fn place(self, nth: usize) -> String {
        match self {
            Dialect::Sqlite => format!("?{nth}"),
            Dialect::Postgres => format!("${nth}"),
        }
    }
}

impl Table {
    /// A table that is not described by lines of its own.
    pub const fn new(
        name: &'static str,
        key: &'static [&'static str],
        order: &'static str,
        columns: &'static [Column],
    ) -> Table {
        Table { name, key, order, columns, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// Whether this is the table of the given record.
    pub fn is<R: Record>(&self) -> bool {
        std::ptr::eq(self, R::table())
    }

    /// Its statements, generated on first use.
    pub fn statements(&self, dialect: Dialect) -> &Statements {
        let written = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        written.get_or_init(|| self.written(dialect))
    }

    fn written(&self, dialect: Dialect) -> Statements {
        let table = dialect.table(self.name);
        let columns = list(self.columns.iter().map(|column| quoted(column.name)), ", ");
        let places = list((1..=self.columns.len()).map(|nth| dialect.place(nth)), ", ");
        let changing = || self.columns.iter().filter(|column| column.mutability == Mutability::Changing);
        let set = changing().zip(1..).map(|(column, nth)| format!("{} = {}", quoted(column.name), dialect.place(nth)));
        let excluded = changing().map(|column| format!("{name} = excluded.{name}", name = quoted(column.name)));
        let by_key = |first: usize| {
            let terms =
                self.key.iter().zip(first..).map(|(key, nth)| format!("{} = {}", quoted(key), dialect.place(nth)));
            list(terms, " AND ")
        };
        let select = format!("SELECT {columns} FROM {table}");
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({places})");
        let key = list(self.key.iter().map(|key| quoted(key)), ", ");
        let on_conflict = match list(excluded, ", ") {
            // No column may change: the row that is there stays as it is.
            set if set.is_empty() => "NOTHING".to_owned(),
            set => format!("UPDATE SET {set}"),
        };
        Statements {
            find: format!("{select} WHERE {}", by_key(1)),
            update: format!("UPDATE {table} SET {} WHERE {}", list(set, ", "), by_key(1 + changing().count())),
            put: format!("{insert} ON CONFLICT ({key}) DO {on_conflict}"),
            columns,
            select,
            insert,
        }
    }

    /// Picks the values of [`Statements::update`] from those of all columns: the changeable ones, then the key.
    pub fn update_values<'v>(&self, values: Vec<Value<'v>>) -> Vec<(ColumnType, Value<'v>)> {
        let (changing, fixed): (Vec<_>, Vec<_>) =
            self.columns.iter().zip(values).partition(|(column, _)| column.mutability == Mutability::Changing);
        let key = fixed.into_iter().filter(|(column, _)| self.key.contains(&column.name));
        changing.into_iter().chain(key).map(|(column, value)| (column.holds, value)).collect()
    }
}

/// The newest version of the tables.
pub fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The migrations that follow a version, each with the version that it leads to.
pub fn migrations_after(version: u32, dialect: Dialect) -> impl Iterator<Item = (u32, &'static str)> {
    let migrations = (1..).zip(MIGRATIONS).filter(move |(to, _)| *to > version);
    migrations.map(move |(to, (sqlite, postgres))| (to, if dialect == Dialect::Sqlite { sqlite } else { postgres }))
}

/// Refuses a version that a newer smsotp made.
///
/// # Errors
/// `STORE_NEWER`.
pub fn refuse_newer(version: u32) -> Result<()> {
    if version <= newest() {
        return Ok(());
    }
    Err(Error::new(
        Code::STORE_NEWER,
        format!("the database has version {version}; this smsotp knows up to {}", newest()),
    )
    .hint("Use the newer smsotp that migrated it; going back would lose what only it understands."))
}

/// The condition that an otp is live at the placeholder `now`. It repeats [`Otp::is_live`], so that the few live ones can be
/// found by their index.
pub fn is_live(now: &str) -> String {
    format!("state = 'active' AND expires_at > {now}")
}

/// The condition that an otp is shown in one of `states` at the placeholder `now`. It repeats [`Otp::shown_state`] for filters.
pub fn shown_state_in(states: &[State], now: &str) -> String {
    let words = list(states.iter().map(|state| format!("'{state}'")), ", ");
    format!("CASE WHEN state = 'active' AND expires_at <= {now} THEN 'expired' ELSE state END IN ({words})")
}

/// The ids of messages that wait for an attempt although their own life, or that of their otp, was over at a moment: that, the id after which they
/// begin, and how many at most.
pub fn left_waiting(dialect: Dialect) -> String {
    let [messages, otps] = [Message::table(), Otp::table()].map(|table| dialect.table(table.name));
    let [over, after, most] = [1, 2, 3].map(|nth| dialect.place(nth));
    let waits = message_state_in("m.state", message::State::ALL.iter().copied().filter(|state| state.is_waiting()));
    format!(
        "SELECT m.id FROM {messages} AS m LEFT JOIN {otps} AS o ON o.id = m.otp_id WHERE m.due_at IS NOT NULL \
         AND {waits} AND coalesce(o.over_at, m.expires_at) <= {over} AND m.id > {after} ORDER BY m.id LIMIT {most}"
    )
}

/// The provider's ids of the newest messages to a phone: those of its newest otps, and those without a code.
pub fn provider_ids(dialect: Dialect) -> String {
    let [messages, otps] = [Message::table(), Otp::table()].map(|table| dialect.table(table.name));
    let phone = dialect.place(1);
    format!(
        "SELECT m.provider_id FROM (SELECT id FROM {otps} WHERE phone_number = {phone} ORDER BY id DESC LIMIT 200) AS o \
         JOIN {messages} AS m ON m.otp_id = o.id WHERE m.provider_id IS NOT NULL UNION ALL \
         SELECT provider_id FROM (SELECT provider_id FROM {messages} WHERE otp_id IS NULL AND phone_number = {phone} \
         ORDER BY id DESC LIMIT 200) AS plain WHERE provider_id IS NOT NULL LIMIT 600"
    )
}

/// How many messages that wait or are open have a text that is sealed with each key: its id in hex, and how many, counted up to a bound.
pub fn text_keys(dialect: Dialect) -> String {
    let (messages, most) = (dialect.table(Message::table().name), dialect.place(1));
    let id = match dialect {
        Dialect::Sqlite => "lower(hex(substr(text, 1, 4)))",
        Dialect::Postgres => "encode(substring(text FROM 1 FOR 4), 'hex')",
    };
    format!(
        "SELECT key_id, count(*) AS messages FROM (SELECT {id} AS key_id FROM {messages} WHERE text IS NOT NULL LIMIT {most}) \
         AS sealed GROUP BY key_id ORDER BY key_id"
    )
}

/// The condition that a message, whose state is in the column `state`, is still open: [`message::State::is_open`].
pub fn is_open(state: &str) -> String {
    message_state_in(state, message::State::ALL.iter().copied().filter(|state| state.is_open()))
}

/// The condition that a message, whose state is in the column `state`, is not settled: [`message::State::is_unsettled`].
pub fn is_unsettled(state: &str) -> String {
    message_state_in(state, message::State::ALL.iter().copied().filter(|state| state.is_unsettled()))
}

/// The condition that a message is worth asking for: [`message::State::is_on_its_way`].
pub fn is_on_its_way() -> String {
    message_state_in("state", message::State::ALL.iter().copied().filter(|state| state.is_on_its_way()))
}

/// The condition that an otp, whose id is in the column `otp`, has a message in one of `states`.
pub fn has_message_in(dialect: Dialect, states: &[message::State], otp: &str) -> String {
    let (table, state) = (dialect.table(Message::table().name), message_state_in("m.state", states.iter().copied()));
    format!("EXISTS (SELECT 1 FROM {table} AS m WHERE m.otp_id = {otp} AND {state})")
}

/// Whether a column holds one of these states of a message.
pub fn message_state_in(column: &str, states: impl Iterator<Item = message::State>) -> String {
    format!("{column} IN ({})", list(states.map(|state| format!("'{}'", state.as_str())), ", "))
}

/// The error for a database that a version before the first release made: its tables had other names, and nothing migrates them.
pub fn before_first_release(what: &str) -> Error {
    Error::new(Code::STORE_FAILED, format!("{what} was made by a version of smsotp from before its first release"))
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn list(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}
