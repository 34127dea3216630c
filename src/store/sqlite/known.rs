//! What every operation has to know before it begins and the operation before it knew already: that the database is open, which ids come
//! next, whether there are test numbers, where the audit log ends.
//!
//! It is read once and kept, from transaction to transaction, for as long as nobody else commits: SQLite counts what other
//! connections commit (`PRAGMA data_version`), and inside a write transaction nobody does.

use std::sync::PoisonError;

use rusqlite::{Connection, Transaction, params};

use super::{Sqlite, read, trouble};
use crate::audit::{Event, Head};
use crate::error::Result;
use crate::keys::AuditKey;
use crate::store::{Facts, export};

/// The chain of the audit log that this store writes.
const CHAIN: u32 = 0;

/// What is known inside one write transaction.
#[derive(Default)]
pub struct Known {
    /// SQLite's count when it was read.
    version: Option<i64>,
    open: bool,
    ids: Option<Ids>,
    head: Option<Head>,
    /// Nearly everywhere there are none, and nobody is looked for among them.
    test_numbers: Option<bool>,
}

#[derive(Clone, Copy)]
struct Ids {
    token: i64,
    otp: i64,
    message: i64,
}

impl Known {
    /// At the beginning of a transaction: what the last one left, if nobody else has written since. Whoever commits gives it
    /// back with [`Known::keep`]; a transaction that is given up leaves nothing behind.
    pub fn recall(sqlite: &Sqlite, tx: &Transaction<'_>) -> Result<Known> {
        let kept = std::mem::take(&mut *sqlite.known.lock().unwrap_or_else(PoisonError::into_inner));
        let version = tx
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(trouble)?;
        if kept.version == Some(version) { Ok(kept) } else { Ok(Known { version: Some(version), ..Known::default() }) }
    }

    /// After the commit.
    pub fn keep(self, sqlite: &Sqlite) {
        *sqlite.known.lock().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// Forgets what a savepoint may have taken back.
    pub fn forget(&mut self) {
        *self = Known { version: self.version, ..Known::default() };
    }

    /// Fails where the database was moved elsewhere.
    pub fn must_be_open(&mut self, connection: &Connection) -> Result<()> {
        if !self.open {
            let sealed: bool = connection
                .prepare_cached("SELECT sealed_at IS NOT NULL FROM identity WHERE only = 1")
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map_err(trouble)?;
            if sealed {
                return Err(export::sealed());
            }
            self.open = true;
        }
        Ok(())
    }

    /// The ids that come next.
    pub fn next_ids(&mut self, connection: &Connection, facts: &mut Facts) -> Result<()> {
        let ids = match self.ids {
            Some(ids) => ids,
            None => *self.ids.insert(next_ids(connection)?),
        };
        (facts.next_token_id, facts.next_otp_id, facts.next_message_id) = (ids.token, ids.otp, ids.message);
        Ok(())
    }

    /// Whether there is any test number.
    pub fn has_test_numbers(&mut self, connection: &Connection) -> Result<bool> {
        if let Some(known) = self.test_numbers {
            return Ok(known);
        }
        let found = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM test_numbers)")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(trouble)?;
        Ok(*self.test_numbers.insert(found))
    }

    /// A test number was written.
    pub fn wrote_test_number(&mut self) {
        self.test_numbers = Some(true);
    }

    /// An otp with this id was written.
    pub fn wrote_otp(&mut self, id: i64) {
        self.wrote(|ids| ids.otp = ids.otp.max(id + 1));
    }

    /// A message with this id was written.
    pub fn wrote_message(&mut self, id: i64) {
        self.wrote(|ids| ids.message = ids.message.max(id + 1));
    }

    /// A token with this id was written.
    pub fn wrote_token(&mut self, id: i64) {
        self.wrote(|ids| ids.token = ids.token.max(id + 1));
    }

    fn wrote(&mut self, note: impl FnOnce(&mut Ids)) {
        if let Some(ids) = &mut self.ids {
            note(ids);
        }
    }

    /// Writes the next row of the audit log.
    pub fn append_audit(&mut self, tx: &Transaction<'_>, key: &AuditKey, event: &Event) -> Result<()> {
        let head = match self.head.take() {
            Some(head) => head,
            None => read::audit_head(tx, CHAIN)?,
        };
        let row = head.next(key, event);
        tx.prepare_cached("INSERT INTO audit (chain, seq, body, mac) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut statement| {
                statement.execute(params![CHAIN, i64::try_from(row.seq).unwrap_or(i64::MAX), row.body, row.mac])
            })
            .map_err(trouble)?;
        self.head = Some(row.head());
        Ok(())
    }
}

/// AUTOINCREMENT remembers the highest id ever used, so that a purged id never comes back.
fn next_ids(connection: &Connection) -> Result<Ids> {
    let mut ids = Ids { token: 1, otp: 1, message: 1 };
    let mut statement = connection.prepare_cached("SELECT name, seq FROM sqlite_sequence LIMIT 10").map_err(trouble)?;
    let mut rows = statement.query([]).map_err(trouble)?;
    while let Some(row) = rows.next().map_err(trouble)? {
        let next = row.get::<_, i64>(1).map_err(trouble)? + 1;
        match row.get_ref(0).and_then(|name| Ok(name.as_str()?)).map_err(trouble)? {
            "tokens" => ids.token = next,
            "otps" => ids.otp = next,
            "messages" => ids.message = next,
            _ => {}
        }
    }
    Ok(ids)
}
