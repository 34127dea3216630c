//! The database as lines of text, for the transfer from one kind of store to the other: one JSON object per line, a header, the rows
//! table by table, and a last line that counts them.
//!
//! A copy never revives a code: its live otps are revoked, and no message in it waits to be sent. Only a move keeps them, and it seals
//! the database that it came from. The database's own keys are included, wrapped; the secret keys that unwrap them are not.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::schema::{Identity, Record, Table};
use super::value::{ColumnType, Value};
use crate::alarm::Alarm;
use crate::audit::{self, Actor, Details, Event, SealedHead};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::DatabaseKeys;
use crate::message::{self, Message};
use crate::otp::{self, Otp};

/// The version of the format.
pub(super) const FORMAT: u32 = 1;

/// What kind of export it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// A copy, in which no code is live.
    Copy,
    /// A move: live codes are kept, and the exported database is sealed.
    Move,
}

/// What an export or import transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Codes that were live and are revoked in the copy.
    pub revoked: u64,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStart {
    /// `FORMAT`.
    pub smsotp_export: u32,
    /// Which database this is, in hex; the wrapped keys are bound to it.
    pub database_id: String,
    /// When it was made, in milliseconds.
    pub created_at: i64,
    /// When it was exported.
    pub exported_at: i64,
    /// Whether it was moved.
    pub moved: bool,
    /// When the database was sealed for the move: a move that is repeated is the same move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_at: Option<i64>,
}

impl ExportStart {
    /// Reads the first line of an export.
    ///
    /// # Errors
    /// `VALUE_INVALID` if this is not an export, or one of a newer smsotp.
    pub fn read(line: &str) -> Result<ExportStart> {
        let version = serde_json::from_str::<Json>(line).ok().and_then(|head| head.get("smsotp_export")?.as_u64());
        match version {
            None => return Err(invalid(1, "this is not an export of smsotp")),
            Some(version) if version > u64::from(FORMAT) => {
                return Err(invalid(1, "a newer smsotp wrote it").hint("Import it with that version."));
            }
            Some(_) => {}
        }
        serde_json::from_str(line).map_err(|_| invalid(1, "the header cannot be read"))
    }

    /// Which move this is: the same for every export that the move wrote. `None`: it is a copy.
    pub fn move_id(&self) -> Option<String> {
        self.moved.then(|| format!("{}-{}", self.database_id.trim_start_matches("\\x"), self.sealed_at.unwrap_or(0)))
    }
}

/// The line that an import adds to the end of a move: it is not imported again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportMark {
    /// Into which database.
    pub imported_into: String,
    /// When.
    pub at: Timestamp,
}

impl ImportMark {
    /// The error of another import.
    pub fn refusal(&self) -> Error {
        let ImportMark { imported_into, at } = self;
        Error::new(Code::STORE_FAILED, format!("this move was imported into {imported_into} at {at}"))
            .hint("Its codes live there, and a code may live in one database alone: use that one.")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportLine {
    pub table: String,
    pub row: Map<String, Json>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportEnd {
    pub end: Transferred,
}

/// Revokes an otp for a copy. Returns whether it was active.
pub fn revoke(otp: &mut Otp, now: Timestamp) -> bool {
    let lived = otp.state == otp::State::Active;
    otp.end(otp::State::Revoked, now);
    lived
}

/// Takes a message off the worker's list for a copy: otherwise it would be sent twice, once from each database.
pub fn retire(message: &mut Message, now: Timestamp) {
    message.text = None;
    if message.due_at.take().is_some() && message.state.is_waiting() {
        message.state = message::State::Canceled;
        message.updated_at = now;
    }
}

/// Writes the lines. What a copy may not contain is changed here, for both stores.
pub struct ExportWriter<'a> {
    to: &'a mut (dyn Write + Send),
    transfer: Transfer,
    now: Timestamp,
    transferred: Transferred,
    /// The head of audit chain 0, which the export's own row continues.
    head: Option<SealedHead>,
}

impl<'a> ExportWriter<'a> {
    /// Writes the header.
    pub fn begin(
        to: &'a mut (dyn Write + Send),
        transfer: Transfer,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<ExportWriter<'a>> {
        let mut lines = ExportWriter { to, transfer, now, transferred: Transferred::default(), head: None };
        lines.line(&ExportStart {
            smsotp_export: FORMAT,
            database_id: hex(&identity.database_id),
            created_at: identity.created_at.millis(),
            exported_at: now.millis(),
            moved: transfer == Transfer::Move,
            sealed_at: identity.sealed_at.filter(|_| transfer == Transfer::Move).map(Timestamp::millis),
        })?;
        Ok(lines)
    }

    /// Writes one row.
    pub fn row(&mut self, table: &Table, values: Vec<Value<'_>>) -> Result<()> {
        let copy = self.transfer == Transfer::Copy;
        if table.is::<Otp>() && copy {
            let mut otp = Otp::read(&values)?;
            self.transferred.revoked += u64::from(revoke(&mut otp, self.now));
            self.write(table, &otp.values())
        } else if table.is::<Message>() && copy {
            let mut message = Message::read(&values)?;
            retire(&mut message, self.now);
            self.write(table, &message.values())
        } else if table.is::<Alarm>() && copy {
            // It is delivered from where it was raised.
            let alarm = Alarm { due_at: None, ..Alarm::read(&values)? };
            self.write(table, &alarm.values())
        } else {
            if table.is::<SealedHead>() {
                let head = SealedHead::read(&values)?;
                if head.chain == 0 {
                    // Written at the end, when the last row of its chain is known.
                    self.head = Some(head);
                    return Ok(());
                }
            }
            self.write(table, &values)
        }
    }

    /// Writes the export's own audit row and the counts. The heads of the audit log have to be the last table.
    pub fn end(mut self, keys: &DatabaseKeys, actor: &Actor) -> Result<Transferred> {
        let revoked = i64::try_from(self.transferred.revoked).unwrap_or(i64::MAX);
        let details = Details::new().number("revoked", revoked).flag("moved", self.transfer == Transfer::Move);
        let event = Event::new(self.now, actor.clone(), "db.copy", "done").details(details);
        let head = self.head.take().ok_or_else(|| audit::headless(0))?;
        let (row, head) = head.next(&keys.audit, &event)?;
        self.write(audit::Row::table(), &row.values())?;
        self.write(SealedHead::table(), &head.values())?;
        let end = ExportEnd { end: std::mem::take(&mut self.transferred) };
        self.line(&end)?;
        self.to.flush().map_err(|error| unwritable(&error))?;
        Ok(end.end)
    }

    fn write(&mut self, table: &Table, values: &[Value<'_>]) -> Result<()> {
        let columns = table.columns.iter().zip(values);
        let row = columns.map(|(column, value)| (column.name.to_owned(), to_json(column.holds, value))).collect();
        *self.transferred.rows.entry(table.name.to_owned()).or_default() += 1;
        self.line(&ExportLine { table: table.name.to_owned(), row })
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|error| unwritable(&error))?;
        text.push('\n');
        self.to.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
    }
}

/// `\x` and hex digits.
fn hex(bytes: &[u8]) -> String {
    format!("\\x{}", base16ct::lower::encode_string(bytes))
}

fn to_json(holds: ColumnType, value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        // SQLite stores booleans as numbers.
        Value::Int(number) if holds == ColumnType::Bool => Json::from(*number != 0),
        Value::Int(number) => Json::from(*number),
        Value::Bool(yes) => Json::from(*yes),
        Value::Text(text) => Json::from(text.as_ref()),
        Value::Bytes(bytes) if holds == ColumnType::Body => Json::from(String::from_utf8_lossy(bytes)),
        Value::Bytes(bytes) => Json::from(hex(bytes)),
    }
}

pub(super) fn invalid(line: u64, what: &str) -> Error {
    Error::new(Code::VALUE_INVALID, format!("line {line} of the export: {what}"))
        .hint("Nothing was imported; make the export again with `smsotp db export`.")
}

/// The error of an operation in a database that was moved.
pub fn sealed() -> Error {
    Error::new(Code::STORE_FAILED, "this database was moved to another one and is sealed")
        .hint("Point SMSOTP_DATABASE at the database that it was imported into.")
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::new(Code::FILE_FAILED, "the export cannot be written").because(error.to_string())
}
