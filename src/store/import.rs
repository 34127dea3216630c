//! Reads the lines of an export. The reader is strict: it refuses whatever differs from what an export writes, and files that were
//! cut off.

use std::io::{BufRead, Read};

use serde_json::Value as Json;

use super::export::{ExportEnd, ExportLine, ExportStart, ImportMark, Transferred, invalid};
use super::schema::{self, KeyRow, Record, SubjectRow, Table};
use super::value::{ColumnType, Value};
use super::wrapped;
use crate::audit::SealedHead;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{DatabaseKeys, Keyring};
use crate::otp::{self, Otp};

/// The longest line that is read, in bytes. Usages are bounded, and nothing else is long.
const LINE_MAX: u64 = 1 << 20;

/// Reads the rows of an export for a store.
pub struct ImportReader<'a> {
    from: &'a mut (dyn BufRead + Send),
    ring: &'a Keyring,
    /// How many audit chains the store has at least.
    chains: u32,
    heads: Vec<SealedHead>,
    start: ExportStart,
    /// Which database this is.
    pub database_id: [u8; 16],
    wrapped: Vec<KeyRow>,
    keys: Option<DatabaseKeys>,
    transferred: Transferred,
    /// The number of the line that was read last.
    line: u64,
    ended: bool,
}

/// A row with its table.
pub type TableRow = (&'static Table, Vec<Value<'static>>);

impl<'a> ImportReader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// `VALUE_INVALID` if this is not an export, or one of a newer smsotp.
    pub fn begin(from: &'a mut (dyn BufRead + Send), ring: &'a Keyring, chains: u32) -> Result<ImportReader<'a>> {
        let first = read_line(from, 1)?.ok_or_else(|| invalid(1, "the file is empty"))?;
        let start = ExportStart::read(&first)?;
        let database_id = unhex(&start.database_id).and_then(|bytes| bytes.try_into().ok());
        Ok(ImportReader {
            from,
            ring,
            chains,
            heads: Vec::new(),
            database_id: database_id.ok_or_else(|| invalid(1, "the id of the database cannot be read"))?,
            start,
            wrapped: Vec::new(),
            keys: None,
            transferred: Transferred::default(),
            line: 1,
            ended: false,
        })
    }

    /// When the database was created.
    pub fn created_at(&self) -> Timestamp {
        Timestamp(self.start.created_at)
    }

    /// The next rows to insert, about `most` at a time; none at the end.
    ///
    /// # Errors
    /// `VALUE_INVALID` if a line is wrong or missing, `KEY_INVALID` if the ring cannot unwrap the database's keys.
    pub fn rows(&mut self, most: usize) -> Result<Vec<TableRow>> {
        let mut rows = Vec::new();
        while rows.len() < most && !self.ended {
            match self.next_row()? {
                Some((table, values)) => rows.extend(self.accept(table, values)?),
                None => {
                    self.ended = true;
                    rows.extend(self.heads()?);
                }
            }
        }
        Ok(rows)
    }

    /// What was transferred, after all rows were read.
    pub fn done(self) -> Transferred {
        self.transferred
    }

    /// The keys come first: if they cannot be unwrapped, nothing else is accepted.
    fn accept(&mut self, table: &'static Table, values: Vec<Value<'static>>) -> Result<Option<TableRow>> {
        let misfit = |_| invalid(self.line, "the row does not fit its table");
        if table.is::<KeyRow>() {
            self.wrapped.push(KeyRow::read(&values).map_err(misfit)?);
            return Ok(Some((table, values)));
        }
        if table.is::<SubjectRow>() {
            SubjectRow::read(&values).and_then(|row| row.usage()).map_err(misfit)?;
        }
        if table.is::<Otp>() && !self.start.moved && Otp::read(&values).map_err(misfit)?.state == otp::State::Active {
            return Err(invalid(self.line, "a copy that holds a live code is none"));
        }
        if table.is::<SealedHead>() {
            self.heads.push(SealedHead::read(&values).map_err(misfit)?);
            return Ok(None);
        }
        self.keys()?;
        Ok(Some((table, values)))
    }

    fn keys(&mut self) -> Result<&DatabaseKeys> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => wrapped::unwrap(&self.wrapped, &self.database_id, self.ring)?,
        };
        Ok(self.keys.insert(keys))
    }

    /// The heads of the audit chains, sealed anew: the store may have more chains than the exported one.
    fn heads(&mut self) -> Result<Vec<TableRow>> {
        let heads = std::mem::take(&mut self.heads);
        let whole = heads.first().is_some_and(|first| {
            let numbers = (0..first.chains).filter(|nth| heads.iter().any(|head| head.chain == *nth));
            numbers.count() == heads.len() && heads.iter().all(|head| head.chains == first.chains)
        });
        let chains = self.chains.max(heads.first().map_or(0, |first| first.chains));
        let line = self.line;
        let key = &self.keys()?.audit;
        if !whole || heads.iter().any(|head| !head.is_sealed(key)) {
            return Err(invalid(line, "the heads of the audit log are not as they were sealed"));
        }
        let seal = |nth: u32| {
            let head = heads.iter().find(|head| head.chain == nth);
            let sealed = match head {
                Some(head) => SealedHead::seal(key, head.last(), head.pruned(), chains),
                None => SealedHead::empty(key, nth, chains),
            };
            (SealedHead::table(), sealed.values().into_iter().map(Value::owned).collect())
        };
        Ok((0..chains).map(seal).collect())
    }

    /// The next row of the file; `None` at its end.
    fn next_row(&mut self) -> Result<Option<TableRow>> {
        self.line += 1;
        let invalid = |what: &str| invalid(self.line, what);
        let text = read_line(self.from, self.line)?.ok_or_else(|| invalid("the file was cut off"))?;
        if let Ok(ExportEnd { end }) = serde_json::from_str(&text) {
            let after = read_line(self.from, self.line + 1)?;
            if let Some(mark) = after.as_deref().and_then(|line| serde_json::from_str::<ImportMark>(line).ok()) {
                return Err(mark.refusal());
            }
            if self.transferred.rows != end.rows || after.is_some() {
                return Err(invalid("the counts at the end are not those of the rows"));
            }
            self.transferred.revoked = end.revoked;
            return Ok(None);
        }
        let ExportLine { table, row } = serde_json::from_str(&text).map_err(|_| invalid("the line cannot be read"))?;
        let table = schema::exported().into_iter().find(|known| known.name == table);
        let table = table.ok_or_else(|| invalid("the table is not known"))?;
        let columns = table.columns.iter().map(|column| from_json(column.holds, row.get(column.name)?));
        let values = columns.collect::<Option<Vec<_>>>().filter(|values| values.len() == row.len());
        let values = values.ok_or_else(|| invalid("the row does not fit its table"))?;
        *self.transferred.rows.entry(table.name.to_owned()).or_default() += 1;
        Ok(Some((table, values)))
    }
}

/// The error of an import into a database that is not empty.
pub fn not_empty() -> Error {
    Error::new(Code::STORE_FAILED, "this database is not empty")
        .hint("Import into a new database: a new file, or a new database after `smsotp db migrate`.")
}

fn from_json(holds: ColumnType, value: &Json) -> Option<Value<'static>> {
    let text = || value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned);
    Some(match holds {
        _ if value.is_null() => Value::Null,
        ColumnType::Int => Value::Int(value.as_i64()?),
        ColumnType::Bool => Value::Bool(value.as_bool()?),
        ColumnType::Text => Value::Text(text()?.into()),
        ColumnType::Body => Value::Bytes(text()?.into_bytes().into()),
        ColumnType::Bytes => Value::Bytes(unhex(value.as_str()?)?.into()),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    base16ct::mixed::decode_vec(text.strip_prefix("\\x")?).ok()
}

fn read_line(from: &mut (dyn BufRead + Send), number: u64) -> Result<Option<String>> {
    let mut line = Vec::new();
    from.take(LINE_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|error| Error::new(Code::FILE_FAILED, "the export cannot be read").because(error))?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(line).map_err(|_| invalid(number, "the line is not text"))?;
    if text.ends_with('\n') { Ok(Some(text)) } else { Err(invalid(number, "the line is cut off or too long")) }
}
