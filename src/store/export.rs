//! Database as lines of text, to carry them from one kind of store to the other: one JSON object a line, a head, the rows table by
//! table, and an end that counts them.
//!
//! A copy never revives a code (design §8): on its way out every living otp is revoked and nothing waits to be sent any more.
//! Only a move carries what lives, and it seals the database that it leaves. The database's own keys transfer wrapped; the secret
//! keys that open them do not.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::{Actor, Details, Event, Head, Row};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, KeyId, Keyring, WrappedKeys};
use crate::store::Subject;
use crate::usage::Usage;

/// The version of the lines.
const FORMAT: u32 = 1;

/// The longest line that is read, in bytes: a usage is bounded, and nothing else is long.
const LINE_MAX: u64 = 1 << 20;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// A text.
    Text,
    /// Bytes, as `\x` and hex digits.
    Bytes,
    /// Yes or no.
    Bool,
    /// A text that SQLite keeps as bytes.
    Body,
}

/// A table as both stores have it.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in the order of the lines.
    pub columns: &'static [(&'static str, Kind)],
    /// What its rows are read in the order of.
    pub order: &'static str,
}

use Kind::{Body, Bool, Bytes, Int, Text};

/// Every table that transfer, in the order in which the rows can be written.
pub const TABLES: &[Table] = &[
    Table {
        name: "database_keys",
        columns: &[("name", Text), ("key_id", Text), ("wrapped", Bytes), ("added_at", Int)],
        order: "name, key_id",
    },
    Table {
        name: "subjects",
        columns: &[("tag", Bytes), ("id", Bytes), ("kind", Text), ("masked", Text), ("usage", Text), ("idle_at", Int)],
        order: "id",
    },
    Table {
        name: "otps",
        columns: &[
            ("id", Int),
            ("user", Text),
            ("phone_number", Text),
            ("purpose", Text),
            ("nonce", Bytes),
            ("key_id", Text),
            ("digits", Int),
            ("created_at", Int),
            ("expires_at", Int),
            ("state", Text),
            ("ended_at", Int),
            ("over_at", Int),
            ("wrong_guesses", Int),
            ("test", Bool),
        ],
        order: "id",
    },
    Table {
        name: "messages",
        columns: &[
            ("id", Int),
            ("otp_id", Int),
            ("phone_number", Text),
            ("provider", Text),
            ("state", Text),
            ("provider_id", Text),
            ("error_code", Int),
            ("error", Text),
            ("segments", Int),
            ("attempts", Int),
            ("reserved_at", Int),
            ("attempt_at", Int),
            ("due_at", Int),
            ("missed_at", Int),
            ("updated_at", Int),
            ("endings", Text),
        ],
        order: "id",
    },
    Table {
        name: "replies",
        columns: &[("tag", Bytes), ("fingerprint", Bytes), ("message_id", Int), ("answer", Text), ("created_at", Int)],
        order: "tag",
    },
    Table {
        name: "test_numbers",
        columns: &[("phone_number", Text), ("code_tag", Bytes), ("until", Int), ("added_at", Int), ("added_by", Text)],
        order: "phone_number",
    },
    Table {
        name: "tokens",
        columns: &[
            ("id", Int),
            ("name", Text),
            ("hash", Bytes),
            ("scopes", Text),
            ("user", Text),
            ("service", Bool),
            ("created_at", Int),
            ("expires_at", Int),
            ("revoked_at", Int),
            ("created_by", Text),
        ],
        order: "id",
    },
    Table {
        name: "audit",
        columns: &[("chain", Int), ("seq", Int), ("body", Body), ("mac", Bytes)],
        order: "chain, seq",
    },
];

/// How database transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// A copy, in which no code is alive.
    Copy,
    /// They leave, with what lives, and the database that stay behind are sealed.
    Move,
}

/// What transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Codes that lived and are revoked in the copy.
    pub revoked: u64,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// `FORMAT`.
    pub smsotp_export: u32,
    /// Which database these are, in hex; the wrapped keys are bound to it.
    pub database_id: String,
    /// When the database was made, in milliseconds.
    pub created_at: i64,
    /// When they left.
    pub exported_at: i64,
    /// With what lives.
    pub moved: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    table: String,
    row: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: Transferred,
}

/// Writes the lines. What a copy may not carry is changed here, once, for every store.
pub struct Lines<'a> {
    to: &'a mut (dyn Write + Send),
    transfer: Transfer,
    now: Timestamp,
    transferred: Transferred,
    /// The head of chain 0, to which the copy's own row is chained.
    head: Head,
}

impl<'a> Lines<'a> {
    /// Begins with the head.
    pub fn begin(to: &'a mut (dyn Write + Send), transfer: Transfer, start: &Start) -> Result<Lines<'a>> {
        let now = Timestamp(start.exported_at);
        let mut lines = Lines { to, transfer, now, transferred: Transferred::default(), head: Head::empty(0) };
        lines.line(start)?;
        Ok(lines)
    }

    /// The head's values for database that leave now.
    pub fn start(database_id: &[u8; 16], created_at: i64, now: Timestamp, transfer: Transfer) -> Start {
        Start {
            smsotp_export: FORMAT,
            database_id: hex(database_id),
            created_at,
            exported_at: now.millis(),
            moved: transfer == Transfer::Move,
        }
    }

    /// Writes one row.
    pub fn row(&mut self, table: &Table, mut row: Map<String, Value>) -> Result<()> {
        if self.transfer == Transfer::Copy {
            self.quieten(table, &mut row);
        }
        if table.name == "audit" && row.get("chain") == Some(&Value::from(0)) {
            let seq = row.get("seq").and_then(Value::as_u64).unwrap_or(0);
            let mac = row.get("mac").and_then(Value::as_str).and_then(unhex).and_then(|mac| mac.try_into().ok());
            self.head = Head { chain: 0, seq, mac: mac.unwrap_or_default() };
        }
        *self.transferred.rows.entry(table.name.to_owned()).or_default() += 1;
        self.line(&Line { table: table.name.to_owned(), row })
    }

    /// No code lives in a copy, and nothing goes out from it.
    fn quieten(&mut self, table: &Table, row: &mut Map<String, Value>) {
        let state = row.get("state").and_then(Value::as_str).map(str::to_owned);
        let now = Value::from(self.now.millis());
        match (table.name, state.as_deref()) {
            ("otps", Some("active")) => {
                self.transferred.revoked += 1;
                row.insert("state".into(), "revoked".into());
                row.insert("ended_at".into(), now.clone());
                row.insert("over_at".into(), now);
            }
            ("messages", state) if !row.get("due_at").is_none_or(Value::is_null) => {
                if matches!(state, Some("queued" | "scheduled")) {
                    row.insert("state".into(), "canceled".into());
                    row.insert("updated_at".into(), now);
                }
                row.insert("due_at".into(), Value::Null);
            }
            _ => {}
        }
    }

    /// Ends with the copy's own audit row and the counts. The audit rows have to be the last table.
    pub fn end(mut self, keys: &DatabaseKeys, actor: &Actor) -> Result<Transferred> {
        let revoked = i64::try_from(self.transferred.revoked).unwrap_or(i64::MAX);
        let details = Details::new().number("revoked", revoked).flag("moved", self.transfer == Transfer::Move);
        let event = Event::new(self.now, actor.clone(), "db.copy", "done").details(details);
        let Row { chain, seq, body, mac } = self.head.next(&keys.audit, &event);
        let row = Map::from_iter([
            ("chain".to_owned(), Value::from(chain)),
            ("seq".to_owned(), Value::from(seq)),
            ("body".to_owned(), Value::from(String::from_utf8_lossy(&body))),
            ("mac".to_owned(), Value::from(hex(&mac))),
        ]);
        if let Some(audit) = TABLES.last() {
            self.row(audit, row)?;
        }
        let end = End { end: self.transferred };
        let mut text = serde_json::to_string(&end).map_err(|error| unwritable(&error))?;
        text.push('\n');
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(|error| unwritable(&error))?;
        Ok(end.end)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|error| unwritable(&error))?;
        text.push('\n');
        self.to.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
    }
}

/// Reads the lines back, and is strict: what is not exactly what was written is refused, and so is what has no end.
pub struct Reading<'a> {
    from: &'a mut (dyn BufRead + Send),
    /// The first line.
    pub start: Start,
    transferred: Transferred,
    number: u64,
    ended: bool,
}

/// One row as it was read, with its table.
pub type Read = (&'static Table, Map<String, Value>);

impl<'a> Reading<'a> {
    /// Reads the head.
    ///
    /// # Errors
    /// `VALUE_INVALID` where these are not database, or database of a newer smsotp.
    pub fn begin(from: &'a mut (dyn BufRead + Send)) -> Result<Reading<'a>> {
        let first = read_line(from, 1)?.ok_or_else(|| invalid(1, "the file is empty"))?;
        let version = serde_json::from_str::<Value>(&first).ok().and_then(|v| v.get("smsotp_export")?.as_u64());
        match version {
            None => return Err(invalid(1, "this is no export of smsotp")),
            Some(version) if version > u64::from(FORMAT) => {
                return Err(invalid(1, "a newer smsotp wrote it").hint("Import it with that version."));
            }
            Some(_) => {}
        }
        let start: Start = serde_json::from_str(&first).map_err(|_| invalid(1, "the head cannot be read"))?;
        Ok(Reading { from, start, transferred: Transferred::default(), number: 1, ended: false })
    }

    /// The database's id.
    pub fn database_id(&self) -> Result<[u8; 16]> {
        let bytes = unhex(&self.start.database_id).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| invalid(1, "the id of the database is none"))
    }

    /// Up to `most` rows; none at the end.
    pub fn rows(&mut self, most: usize) -> Result<Vec<Read>> {
        let mut rows = Vec::new();
        while rows.len() < most && !self.ended {
            self.number += 1;
            let text =
                read_line(self.from, self.number)?.ok_or_else(|| invalid(self.number, "the file was cut off"))?;
            if let Ok(End { end }) = serde_json::from_str(&text) {
                self.ended = true;
                let counted = Transferred { rows: std::mem::take(&mut self.transferred.rows), revoked: end.revoked };
                if counted != end || read_line(self.from, self.number + 1)?.is_some() {
                    return Err(invalid(self.number, "the counts at the end are not those of the rows"));
                }
                self.transferred = counted;
                break;
            }
            let Line { table, row } =
                serde_json::from_str(&text).map_err(|_| invalid(self.number, "the line cannot be read"))?;
            let table = TABLES.iter().find(|known| known.name == table);
            let table = table.ok_or_else(|| invalid(self.number, "the table is not known"))?;
            if row.len() != table.columns.len() || !table.columns.iter().all(|(name, kind)| fits(row.get(*name), *kind))
            {
                return Err(invalid(self.number, "the row does not fit its table"));
            }
            *self.transferred.rows.entry(table.name.to_owned()).or_default() += 1;
            rows.push((table, row));
        }
        Ok(rows)
    }

    /// What transferred, once everything was read.
    pub fn done(self) -> Transferred {
        self.transferred
    }
}

/// Unwraps the database's keys from the rows of `database_keys`.
///
/// # Errors
/// `KEY_INVALID` where the ring holds none of the keys that they are wrapped under.
pub fn unwrap(rows: &[Read], database_id: &[u8; 16], ring: &Keyring) -> Result<DatabaseKeys> {
    let mut wraps: BTreeMap<String, [Vec<u8>; 2]> = BTreeMap::new();
    for (_, row) in rows.iter().filter(|(table, _)| table.name == "database_keys") {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let place = usize::from(text("name") == "audit");
        wraps.entry(text("key_id").to_owned()).or_default()[place] = unhex(text("wrapped")).unwrap_or_default();
    }
    let wraps: Vec<WrappedKeys> = wraps
        .into_iter()
        .filter_map(|(id, [index, audit])| Some(WrappedKeys { key_id: KeyId::parse(&id)?, index, audit }))
        .collect();
    match wraps.iter().find_map(|wrap| ring.get(&wrap.key_id).map(|secret| (wrap, secret))) {
        Some((wrap, secret)) => DatabaseKeys::unwrap(wrap, secret, database_id),
        None => Err(ring.missing(&wraps.iter().map(|wrap| wrap.key_id).collect::<Vec<_>>())),
    }
}

/// The memory of everything, taken out of the subjects that were read: the stores divide it differently.
#[derive(Default)]
pub struct Whole {
    usage: Option<Usage>,
}

impl Whole {
    /// Takes a subject's row in if it is a part of everything; else it stays.
    pub fn take(&mut self, row: &Map<String, Value>) -> Result<bool> {
        if row.get("kind").and_then(Value::as_str) != Some("everything") {
            return Ok(false);
        }
        let text = row.get("usage").and_then(Value::as_str).unwrap_or("{}");
        let usage: Usage = serde_json::from_str(text)
            .map_err(|_| Error::new(Code::VALUE_INVALID, "the usage of everything cannot be read"))?;
        self.usage.get_or_insert_default().add_slots(usage);
        Ok(true)
    }

    /// The rows of its shards in their new store. Together they remember at least as much: they may refuse early, never late.
    pub fn shards(&self, keys: &DatabaseKeys, shards: u32) -> Result<Vec<Map<String, Value>>> {
        let Some(whole) = &self.usage else { return Ok(Vec::new()) };
        let shard = whole.shard_of_slots(shards);
        let text = serde_json::to_string(&shard).map_err(|error| unwritable(&error))?;
        let mut rows = Vec::new();
        for nth in 0..shards {
            let subject = Subject::Shard(nth);
            let mut id = [0; 16];
            crate::keys::fill_random(&mut id)?;
            rows.push(Map::from_iter([
                ("tag".to_owned(), Value::from(hex(&keys.index.tag(subject.kind().as_str(), &subject.value())))),
                ("id".to_owned(), Value::from(hex(&id))),
                ("kind".to_owned(), Value::from(subject.kind().as_str())),
                ("masked".to_owned(), Value::from(subject.masked())),
                ("usage".to_owned(), Value::from(text.as_str())),
                ("idle_at".to_owned(), Value::Null),
            ]));
        }
        Ok(rows)
    }
}

/// `\x` and hex digits, as PostgreSQL writes bytes.
pub fn hex(bytes: &[u8]) -> String {
    format!("\\x{}", base16ct::lower::encode_string(bytes))
}

/// Reads [`hex`].
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    base16ct::mixed::decode_vec(text.strip_prefix("\\x")?).ok()
}

/// What database that were moved elsewhere are told.
pub fn sealed() -> Error {
    Error::new(Code::STORE_FAILED, "this database were moved to another database and are sealed")
        .hint("Point SMSOTP_DATABASE at the database that they were imported into.")
}

/// What an import into identity that hold something is told.
pub fn not_empty() -> Error {
    Error::new(Code::STORE_FAILED, "this database are not empty")
        .hint("Import into a new database: a new file, or a new database after `smsotp db migrate`.")
}

fn fits(value: Option<&Value>, kind: Kind) -> bool {
    match value {
        None => false,
        Some(Value::Null) => true,
        Some(value) => match kind {
            Int => value.is_i64(),
            Text | Body => value.as_str().is_some_and(|text| !text.contains('\0')),
            Bytes => value.as_str().is_some_and(|text| unhex(text).is_some()),
            Bool => value.is_boolean(),
        },
    }
}

fn read_line(from: &mut (dyn BufRead + Send), number: u64) -> Result<Option<String>> {
    use std::io::Read as _;
    let mut line = Vec::new();
    from.take(LINE_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|error| Error::new(Code::FILE_FAILED, "the export cannot be read").because(error))?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(line).map_err(|_| invalid(number, "the line is no text"))?;
    if text.ends_with('\n') { Ok(Some(text)) } else { Err(invalid(number, "the line is cut off or too long")) }
}

fn invalid(line: u64, what: &str) -> Error {
    Error::new(Code::VALUE_INVALID, format!("line {line} of the export: {what}"))
        .hint("Nothing was imported; make the export again with `smsotp db export`.")
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::new(Code::FILE_FAILED, "the export cannot be written").because(error.to_string())
}
