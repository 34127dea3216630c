//! The first round trip of an operation: it begins, locks the subjects, the otp, the audit chain and last the rows that every send
//! writes, and reads the facts and the time.
//!
//! All statements are sent together, and the server runs them in order. At READ COMMITTED each statement has its own snapshot, so
//! that what is read after the locks is what their last holder committed. Everything of a phone is changed under the phone's lock. The
//! otp is locked as well, against those who do not take that lock: a purge, or an operator with psql.

use std::sync::LazyLock;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::Session;
use super::errors::Failure;
use super::rows::{self, Param, Statement, bytes, int, text};
use super::{CHAINS, NOW, Postgres};
use crate::alarm::Alarm;
use crate::audit::{SealedHead, headless};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::lists::ListEntry;
use crate::message::Message;
use crate::otp::Otp;
use crate::store::schema::{self, Dialect, SubjectRow, whole_hour_after};
use crate::store::value::{Reader, damaged};
use crate::store::{
    EVENTS_MAX, Facts, MoneyEvent, Needs, OtpNeed, RECENT_MAX, Reply, Subject, SubjectFact, SubjectId, TestNumber,
    export, fresh_subject_id,
};
use crate::token::Token;

/// Locks the subjects in the order of their tags, reads them, and inserts those that do not exist. A locking SELECT returns what the last
/// holder committed. Existing rows are not written, so that a lock leaves no dead row behind.
///
/// A row that another transaction inserts at the same time is in neither part; then the operation begins again.
static LOCK_SUBJECTS: LazyLock<String> = LazyLock::new(|| {
    let columns = &rows::statements::<SubjectRow>().columns;
    format!(
        "WITH here AS MATERIALIZED \
            (SELECT {columns} FROM smsotp.subjects WHERE tag = ANY ($1) ORDER BY tag FOR NO KEY UPDATE), \
        made AS (INSERT INTO smsotp.subjects (tag, id, kind, masked, usage, idle_at) \
            SELECT tag, id, kind, masked, '{{}}', $5 FROM unnest($1, $2, $3, $4) AS asked (tag, id, kind, masked) \
            WHERE tag <> ALL (ARRAY(SELECT tag FROM here)) ORDER BY tag ON CONFLICT (tag) DO NOTHING RETURNING {columns}) \
        SELECT {columns} FROM here UNION ALL SELECT {columns} FROM made"
    )
});

/// The conditions that find the otp: by user, phone and purpose; by id; by the id of a message.
const ACTIVE: &str = r#""user" = $1 AND phone_number = $2 AND purpose = $3 AND state = 'active'"#;
const WITH_ID: &str = "id = $1";
const OF_MESSAGE: &str = "id = (SELECT otp_id FROM smsotp.messages WHERE id = $1)";

/// The newest otps of a phone and purpose.
static RECENT_OTPS: LazyLock<String> = LazyLock::new(|| {
    let select = &rows::statements::<Otp>().select;
    format!("{select} WHERE phone_number = $1 AND purpose = $2 ORDER BY id DESC LIMIT $3")
});

/// An access token, which is locked because it belongs to no subject.
static TOKEN: LazyLock<String> = LazyLock::new(|| format!("{} FOR NO KEY UPDATE", rows::statements::<Token>().find));

/// Entries of lists. They are read after the locks and not locked themselves: whoever changes one waits for no send.
static ENTRIES: LazyLock<String> =
    LazyLock::new(|| format!(r#"{} WHERE "key" = ANY ($1)"#, rows::statements::<ListEntry>().select));

/// The time, whether the database is sealed, and the sealed head of an audit chain. The time is read after all locks
/// are held.
static TIME_AND_HEAD: LazyLock<String> = LazyLock::new(|| {
    let head = &rows::statements::<SealedHead>().columns;
    format!("SELECT {NOW}, sealed_at, {head} FROM smsotp.identity LEFT JOIN smsotp.audit_heads ON chain = $1")
});

/// An alarm. Whoever raises one holds an audit chain already, so this comes after the chain.
static ALARM: LazyLock<String> = LazyLock::new(|| format!("{} FOR NO KEY UPDATE", rows::statements::<Alarm>().find));

/// What became of messages and is in no counts yet. Whoever takes it in holds the rows of the country and everything.
static WAITING_EVENTS: LazyLock<String> = LazyLock::new(|| schema::waiting_events(Dialect::Postgres));

/// What a country and everything have to take in, oldest first.
pub fn waiting_events(country: &str) -> Statement {
    let of = vec![text(MoneyEvent::scope(country)), text(""), int(EVENTS_MAX)];
    Statement::new(WAITING_EVENTS.as_str(), of)
}

const OTP_AND_MESSAGE_ID: &str = "SELECT nextval('smsotp.otp_ids'), nextval('smsotp.message_ids')";
const MESSAGE_ID: &str = "SELECT nextval('smsotp.message_ids')";
const TOKEN_ID: &str = "SELECT nextval('smsotp.token_ids')";

/// Locks an audit chain. Its head is read by a later statement, whose snapshot is taken after the lock.
pub fn lock_chain(chain: u32) -> Statement {
    Statement::new("SELECT FROM smsotp.audit_heads WHERE chain = $1 FOR NO KEY UPDATE", vec![int(chain)])
}

/// Queries the time and the head of a chain; [`read_time_and_head`] reads the result.
pub fn time_and_head(chain: u32) -> Statement {
    Statement::new(TIME_AND_HEAD.as_str(), vec![int(chain)])
}

/// Reads the result of [`time_and_head`].
///
/// # Errors
/// `STORE_FAILED` if the database was moved elsewhere, `STORE_CORRUPT` if the head is missing.
pub fn read_time_and_head(store: &Postgres, chain: u32, found: &[Row]) -> Result<(Timestamp, SealedHead)> {
    let mut row = Reader::new(found.first().ok_or_else(|| damaged("identity"))?);
    let now = row.next("the time")?;
    if row.next::<Option<Timestamp>>("identity.sealed_at")?.is_some() {
        return Err(export::sealed());
    }
    let head = SealedHead {
        chain: row.next::<Option<u32>>("audit_heads.chain")?.ok_or_else(|| headless(chain))?,
        seq: row.next("audit_heads.seq")?,
        mac: row.next("audit_heads.mac")?,
        pruned_seq: row.next("audit_heads.pruned_seq")?,
        pruned_mac: row.next("audit_heads.pruned_mac")?,
        chains: row.next("audit_heads.chains")?,
        seal: row.next("audit_heads.seal")?,
    };
    Ok((store.note_time(now), head))
}

/// Whether every send, or every send to a country, writes this subject's row: it is locked last, so that it is held for no longer
/// than the decision and the commit take.
fn is_hot(subject: &Subject) -> bool {
    matches!(subject, Subject::Country(_) | Subject::Everything)
}

/// What has to be locked and read for an operation.
pub struct FactsQuery {
    /// The needs of the operation.
    pub needs: Needs,
    /// The phone of the message or otp, if the operation did not name it: it is locked all the same.
    phone: Option<Subject>,
    /// The audit chain.
    chain: u32,
}

/// The facts for the decision, and the audit chain's head for the store.
pub struct FactsAndHead {
    /// For the decision.
    pub facts: Facts,
    /// The head of the audit chain.
    pub head: SealedHead,
    /// The subjects that were inserted to be locked: their tags and ids.
    made: Vec<TagAndId>,
}

/// The tag of a subject, and the id that refers to it everywhere else.
type TagAndId = ([u8; 32], SubjectId);

impl FactsAndHead {
    /// The statement that takes away again the subjects that were inserted only to be locked: all but those with one of
    /// the ids that are written. A question about somebody makes no row. It is run also where there is none, so that
    /// this cannot be told by its cost.
    pub fn leave_unknown(&self, written: &[SubjectId]) -> Statement {
        let left = self.made.iter().filter(|(_, id)| !written.contains(id));
        let left: Vec<Vec<u8>> = left.map(|(tag, _)| tag.to_vec()).collect();
        let sql = "DELETE FROM smsotp.subjects WHERE tag = ANY ($1)";
        Statement::new(sql, vec![(Box::new(left), Type::BYTEA_ARRAY)])
    }
}

impl FactsQuery {
    /// Prepares what is the same for every attempt. Looks up the phone of a message or otp if it is not among the subjects:
    /// everything of a phone is changed under the phone's lock.
    pub async fn of(store: &Postgres, needs: Needs) -> Result<FactsQuery> {
        let named = needs.subjects.iter().find(|subject| matches!(subject, Subject::Phone(_)));
        let phone = match (named, needs.message, &needs.otp) {
            (Some(_), ..) | (None, None, OtpNeed::None) => None,
            (None, None, OtpNeed::Of(_, phone, _) | OtpNeed::Without(phone)) => Some(phone.clone()),
            (None, Some(id), _) => {
                let found = store.query(&rows::find::<Message>(int(id))).await?;
                rows::first::<Message>(&found)?.map(|message| message.phone)
            }
            (None, None, OtpNeed::Id(id)) => {
                let found = store.query(&rows::find::<Otp>(int(*id))).await?;
                rows::first::<Otp>(&found)?.map(|otp| otp.phone)
            }
        };
        let phone = phone.map(Subject::Phone);
        let chain = match named.or(phone.as_ref()).or(needs.subjects.first()) {
            Some(subject) => 1 + u32::from(store.tag(subject)[0]) % CHAINS,
            None => 0,
        };
        Ok(FactsQuery { needs, phone, chain })
    }

    /// The statement that locks the subjects, those that are hot or the others, and the tag of each with the id that it gets if it
    /// is not known yet.
    fn lock_subjects(&self, store: &Postgres, hot: bool) -> Result<(Statement, Vec<TagAndId>)> {
        let subjects = self.needs.subjects.iter().chain(&self.phone).filter(|subject| is_hot(subject) == hot);
        let mut locked: Vec<([u8; 32], &Subject)> = subjects.map(|subject| (store.tag(subject), subject)).collect();
        locked.sort_unstable_by_key(|(tag, _)| *tag);
        locked.dedup_by_key(|(tag, _)| *tag);
        // A row that is inserted and never written has no effect. It gets the idle time that its first update will most likely set,
        // so that this update moves no index entry.
        let now = store.clock.now();
        let idle_at = whole_hour_after(now + std::time::Duration::from_secs(24 * 3600));
        let fresh = locked.iter().map(|(tag, _)| Ok((*tag, fresh_subject_id(now)?))).collect::<Result<Vec<_>>>()?;
        let ids: Vec<Vec<u8>> = fresh.iter().map(|(_, id)| id.0.to_vec()).collect();
        let params: Vec<Param> = vec![
            (Box::new(locked.iter().map(|(tag, _)| tag.to_vec()).collect::<Vec<_>>()), Type::BYTEA_ARRAY),
            (Box::new(ids), Type::BYTEA_ARRAY),
            (Box::new(locked.iter().map(|(_, subject)| subject.kind().as_str()).collect::<Vec<_>>()), Type::TEXT_ARRAY),
            (Box::new(locked.iter().map(|(_, subject)| subject.masked()).collect::<Vec<_>>()), Type::TEXT_ARRAY),
            int(idle_at.millis()),
        ];
        Ok((Statement::new(LOCK_SUBJECTS.as_str(), params), fresh))
    }

    /// The condition for the otp, with its values.
    fn otp(&self) -> Option<(&'static str, Vec<Param>)> {
        match (&self.needs.otp, self.needs.message) {
            (OtpNeed::Of(user, phone, purpose), _) => {
                Some((ACTIVE, vec![text(user.as_str()), text(phone.as_str()), text(purpose.as_str())]))
            }
            (OtpNeed::Id(id), _) => Some((WITH_ID, vec![int(*id)])),
            (OtpNeed::None, Some(id)) => Some((OF_MESSAGE, vec![int(id)])),
            (OtpNeed::None | OtpNeed::Without(_), _) => None,
        }
    }

    /// Begins the transaction and loads the facts in one round trip. `None`: a subject was inserted by somebody else meanwhile; the next
    /// attempt finds it.
    pub async fn load(&self, store: &Postgres, session: &mut Session) -> Result<Option<FactsAndHead>, Failure> {
        let needs = &self.needs;
        let mut statements = Vec::new();
        let mut ask = |statement: Statement| {
            statements.push(statement);
            statements.len() - 1
        };
        let token = needs.token.map(|id| ask(Statement::new(TOKEN.as_str(), vec![int(id)])));
        let (lock, mut locked) = self.lock_subjects(store, false)?;
        let subjects = (!locked.is_empty()).then(|| ask(lock));
        let otp = self.otp().map(|(condition, params)| {
            let select = &rows::statements::<Otp>().select;
            ask(Statement::new(format!("{select} WHERE {condition} FOR NO KEY UPDATE"), params))
        });
        ask(lock_chain(self.chain));
        let alarm = needs.alarm.map(|id| ask(Statement::new(ALARM.as_str(), vec![int(id)])));
        let (lock, hot) = self.lock_subjects(store, true)?;
        let last_subjects = (!hot.is_empty()).then(|| ask(lock));
        locked.extend(hot);
        let events = needs.events.as_ref().map(|country| ask(waiting_events(country)));
        let messages = self.otp().filter(|_| needs.messages).map(|(condition, params)| {
            let select = &rows::statements::<Message>().select;
            let of_otp = format!("otp_id = (SELECT id FROM smsotp.otps WHERE {condition})");
            ask(Statement::new(format!("{select} WHERE {of_otp} ORDER BY id DESC LIMIT 50"), params))
        });
        let (recent, test_number) = match &needs.otp {
            OtpNeed::Of(_, phone, purpose) => {
                let of = vec![text(phone.as_str()), text(purpose.as_str()), int(RECENT_MAX)];
                let recent = ask(Statement::new(RECENT_OTPS.as_str(), of));
                (Some(recent), Some(ask(rows::find::<TestNumber>(text(phone.as_str())))))
            }
            OtpNeed::Without(phone) => (None, Some(ask(rows::find::<TestNumber>(text(phone.as_str()))))),
            _ => (None, None),
        };
        let message = needs.message.map(|id| ask(rows::find::<Message>(int(id))));
        let reply = needs.reply.map(|tag| ask(rows::find::<Reply>(bytes(&tag))));
        let lists = (!needs.lists.is_empty())
            .then(|| ask(Statement::new(ENTRIES.as_str(), vec![(Box::new(needs.lists.clone()), Type::TEXT_ARRAY)])));
        let fresh = match needs.otp {
            OtpNeed::Of(..) => OTP_AND_MESSAGE_ID,
            OtpNeed::Without(_) => MESSAGE_ID,
            _ => TOKEN_ID,
        };
        let ids = needs.ids.then(|| ask(Statement::new(fresh, Vec::new())));
        let last = ask(time_and_head(self.chain));

        session.prepare(&statements).await?;
        // Each is sent when it is first polled, in this order.
        let (begun, found) = tokio::join!(
            biased;
            session.client().batch_execute(session.begin()),
            session.query_all(&statements),
        );
        begun?;
        let found = found?;
        let rows_of = |asked: Option<usize>| asked.map_or(&[][..], |at| found[at].as_slice());

        let mut subjects: Vec<SubjectRow> = rows::all(rows_of(subjects))?;
        subjects.extend(rows::all::<SubjectRow>(rows_of(last_subjects))?);
        if subjects.len() < locked.len() {
            return Ok(None);
        }
        let mut made = locked;
        made.retain(|(tag, id)| subjects.iter().any(|row| row.tag == *tag && row.id == *id));
        let mut facts = Facts::default();
        for subject in &needs.subjects {
            let tag = store.tag(subject);
            let row = subjects.iter().find(|row| row.tag == tag).ok_or_else(|| damaged("subjects"))?;
            let is_new = made.iter().any(|(_, id)| *id == row.id);
            facts.subjects.push(SubjectFact { is_new, ..row.fact(subject)? });
        }
        facts.token = rows::first(rows_of(token))?;
        facts.alarm = rows::first(rows_of(alarm))?;
        facts.otp = rows::first(rows_of(otp))?;
        facts.messages = rows::all(rows_of(messages))?;
        facts.recent = rows::all(rows_of(recent))?;
        facts.test_number = rows::first(rows_of(test_number))?;
        facts.message = rows::first(rows_of(message))?;
        facts.reply = rows::first(rows_of(reply))?;
        facts.lists = rows::all(rows_of(lists))?;
        facts.events = rows::all(rows_of(events))?;
        if let Some(row) = rows_of(ids).first() {
            let mut ids = Reader::new(row);
            match needs.otp {
                OtpNeed::Of(..) => {
                    (facts.next_otp_id, facts.next_message_id) = (ids.next("otp_ids")?, ids.next("message_ids")?);
                }
                OtpNeed::Without(_) => facts.next_message_id = ids.next("message_ids")?,
                _ => facts.next_token_id = ids.next("token_ids")?,
            }
        }
        let (now, head) = read_time_and_head(store, self.chain, rows_of(Some(last)))?;
        facts.now = now;
        Ok(Some(FactsAndHead { facts, head, made }))
    }
}
