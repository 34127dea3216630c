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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::audit::{Actor, Event};
    use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
    use crate::keys::{Keyring, SecretKey};
    use crate::otp::User;
    use crate::phone::Phone;
    use crate::purpose::Purpose;
    use crate::store::export::Transfer;
    use crate::store::sqlite::{Opening, Sqlite};
    use crate::store::{Change, Decide, Facts, Needs, OtpNeed, Store, SubjectId, TestNumber};
    use crate::token::{Scopes, Token};

    fn open(path: &Path, ring: &Keyring) -> Sqlite {
        Sqlite::open(path, ring, Arc::new(ManualClock::at(SystemClock.now())), Opening::default()).unwrap()
    }

    fn token(id: i64, at: Timestamp) -> Token {
        Token {
            id,
            name: format!("nr-{id}"),
            hash: [u8::try_from(id).unwrap(); 32],
            scopes: Scopes::parse("send").unwrap(),
            user: None,
            service: true,
            created_at: at,
            expires_at: None,
            revoked_at: None,
            created_by: "test".into(),
        }
    }

    /// An operation that takes the next id and the next row of the audit log.
    fn operation() -> Decide {
        Box::new(|facts| {
            let event = Event::new(facts.now, Actor::System, "test", "done");
            Ok(vec![Change::NewToken(token(facts.next_token_id, facts.now)), Change::Audit(event)])
        })
    }

    fn needs() -> Needs {
        Needs { ids: true, ..Needs::default() }
    }

    #[tokio::test]
    async fn what_is_remembered_gives_way_to_what_somebody_else_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap();
        let path = dir.path().join("smsotp.db");
        let (one, other) = (open(&path, &ring), open(&path, &ring));
        for store in [&one, &one, &other, &one, &other, &other, &one] {
            store.transact(needs(), operation()).await.unwrap();
        }
        let ids: Vec<i64> = one.tokens().await.unwrap().iter().map(|token| token.id).collect();
        assert_eq!(ids, [7, 6, 5, 4, 3, 2, 1]);

        // An operation that fails after it took an id gives it back.
        let broken: Decide = Box::new(|facts| {
            let again = token(facts.next_token_id, facts.now);
            Ok(vec![Change::NewToken(again.clone()), Change::NewToken(again)])
        });
        one.transact(needs(), broken).await.unwrap_err();
        one.transact(needs(), operation()).await.unwrap();
        assert_eq!(one.tokens().await.unwrap()[0].id, 8);

        // A test number counts at once, whoever declared it.
        let (phone, purpose) = (Phone::from_e164("+1234567890").unwrap(), Purpose::parse("login").unwrap());
        for declares in [&one, &other] {
            let (found, otp) =
                (Arc::new(AtomicBool::new(false)), OtpNeed::Of(User::default(), phone.clone(), purpose.clone()));
            let looks = |found: &Arc<AtomicBool>| -> (Needs, Decide) {
                let found = Arc::clone(found);
                let look = move |facts: &Facts| {
                    found.store(facts.test_number.is_some(), Ordering::SeqCst);
                    Ok(vec![Change::Audit(Event::new(facts.now, Actor::System, "test", "looked"))])
                };
                (Needs { otp: otp.clone(), ..Needs::default() }, Box::new(look))
            };
            let (needs, decide) = looks(&found);
            one.transact(needs, decide).await.unwrap();
            assert!(!found.load(Ordering::SeqCst));
            let number = TestNumber {
                phone: phone.clone(),
                code_tag: [1; 32],
                until: SystemClock.now(),
                added_at: SystemClock.now(),
                added_by: "test".into(),
            };
            let declare = move |_: &Facts| Ok(vec![Change::PutTestNumber(number.clone())]);
            declares.transact(Needs::default(), Box::new(declare)).await.unwrap();
            let (needs, decide) = looks(&found);
            one.transact(needs, decide).await.unwrap();
            assert!(found.load(Ordering::SeqCst));
            let dropped = phone.clone();
            let drop = move |_: &Facts| Ok(vec![Change::DropTestNumber(dropped.clone())]);
            other.transact(Needs::default(), Box::new(drop)).await.unwrap();
        }

        // The housekeeping of the same connection writes audit rows of its own.
        one.backup(&dir.path().join("copy.db"), &Actor::System).await.unwrap();
        one.transact(needs(), operation()).await.unwrap();

        other.export(&mut std::io::sink(), Transfer::Move, &Actor::System).await.unwrap();
        let sealed = one.transact(needs(), operation()).await.unwrap_err();
        assert!(sealed.message().contains("sealed"), "{sealed:?}");
    }

    #[test]
    fn subjects_stand_in_the_order_of_their_coming_and_are_told_apart_by_chance_alone() {
        let now = SystemClock.now();
        let [one, other] = [(); 2].map(|()| SubjectId::fresh(now).unwrap());
        assert_eq!(one.0[..6], other.0[..6]);
        assert_ne!(one.short(), other.short());
        assert!(!one.hex().starts_with(&one.short()), "what tells phones apart may not be the time");
        assert!(SubjectId::fresh(now + std::time::Duration::from_millis(1)).unwrap() > one.max(other));
    }
}
