//! The first round trip of an operation: begin, lock the subjects and then its audit chain, read what it needs, ask for the time.
//!
//! Everything goes out at once; the server runs it in this order. At READ COMMITTED each statement has a snapshot of its own,
//! so that what is read after the locks is what the last holder of the locks committed.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::{Session, in_order};
use super::rows::{self, Value, bytes, column, int, text};
use super::trouble::{Failure, before_commit};
use super::{CHAINS, Postgres, SHARDS, whole_hour_after};
use crate::audit;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::store::export;
use crate::store::{Facts, Needs, OtpNeed, RECENT_MAX, Subject, SubjectFact, SubjectId, fresh_subject_id};

/// Locks the subjects in the order of their tags and reads them, makes those that are not there, then locks the chain: each
/// part reads what the one before it gives, and so runs after it. A locking SELECT answers with what the last holder
/// committed. Existing rows are not written: a lock leaves no dead row behind.
///
/// A row that somebody else makes at the same time is in neither part; then the transaction is begun anew.
const LOCK: &str = "WITH here AS MATERIALIZED \
        (SELECT tag, id, usage FROM smsotp.subjects WHERE tag = ANY ($1) ORDER BY tag FOR NO KEY UPDATE), \
    made AS (INSERT INTO smsotp.subjects (tag, id, kind, masked, usage, idle_at) \
        SELECT tag, id, kind, masked, '{}', $5 FROM unnest($1, $2, $3, $4) AS asked (tag, id, kind, masked) \
        WHERE tag <> ALL (ARRAY(SELECT tag FROM here)) ORDER BY tag ON CONFLICT (tag) DO NOTHING RETURNING tag, id, usage), \
    chain AS MATERIALIZED (SELECT chain FROM smsotp.audit_chains \
        WHERE chain = $6 AND (SELECT count(*) FROM made) >= 0 FOR NO KEY UPDATE) \
    SELECT tag, id, usage FROM here UNION ALL SELECT tag, id, usage FROM made \
    UNION ALL SELECT NULL, NULL, NULL FROM chain";

/// An otp with its newest messages: a row for each, one without where there is none.
macro_rules! with_messages {
    ($which:literal) => {
        concat!(
            "SELECT true, ",
            otp_and_message_columns!(),
            " FROM smsotp.otps AS o LEFT JOIN LATERAL \
             (SELECT * FROM smsotp.messages WHERE otp_id = o.id ORDER BY id DESC LIMIT 50) AS m ON true WHERE ",
            $which
        )
    };
}

/// The same otp alone.
macro_rules! alone {
    ($which:literal) => {
        concat!("SELECT true, ", otp_columns!(), " FROM smsotp.otps AS o WHERE ", $which)
    };
}

/// The live one, then the newest of the phone and purpose.
macro_rules! otps_of {
    ($live:ident, $columns:ident, $empty:literal) => {
        concat!(
            "(",
            $live!(r#"o."user" = $1 AND o.phone_number = $2 AND o.purpose = $3 AND o.state = 'active'"#),
            ") UNION ALL (SELECT false, ",
            $columns!(),
            " FROM (SELECT * FROM smsotp.otps WHERE phone_number = $2 AND purpose = $3 ORDER BY id DESC LIMIT $4) AS o",
            $empty,
            ")"
        )
    };
}

const OTPS_OF: &str = otps_of!(alone, otp_columns, "");

const OTPS_AND_MESSAGES_OF: &str =
    otps_of!(with_messages, otp_and_message_columns, " LEFT JOIN smsotp.messages AS m ON false");

const OTP: &str = alone!("o.id = $1");

const OTP_AND_MESSAGES: &str = with_messages!("o.id = $1");

const OTP_OF_MESSAGE: &str = alone!("o.id = (SELECT otp_id FROM smsotp.messages WHERE id = $1)");

const OTP_AND_MESSAGES_OF_MESSAGE: &str = with_messages!("o.id = (SELECT otp_id FROM smsotp.messages WHERE id = $1)");

const MESSAGE: &str = concat!("SELECT ", message_columns!(), " FROM smsotp.messages WHERE id = $1");

/// Locked by itself: it belongs to no subject.
const TOKEN: &str = concat!("SELECT ", token_columns!(), " FROM smsotp.tokens WHERE id = $1 FOR NO KEY UPDATE");

pub(super) const REPLY: &str = "SELECT fingerprint, message_id, answer, created_at FROM smsotp.replies WHERE tag = $1";

/// Locks the chain of an operation that is about no subject. Its head is read by the next statement, whose snapshot is taken after
/// the lock.
pub(super) const CHAIN: &str = "SELECT FROM smsotp.audit_chains WHERE chain = $1 FOR NO KEY UPDATE";

/// Time, whether the database is sealed, and the chain's head; the time is of the moment when every lock was had.
macro_rules! last {
    ($more:literal, $from:literal) => {
        concat!(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, b.sealed_at, h.seq, h.mac",
            $more,
            " FROM smsotp.identity AS b LEFT JOIN (SELECT seq, mac FROM smsotp.audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1) AS h ON true ",
            $from,
            " WHERE b.one = 1"
        )
    };
}
const LAST: &str = last!(", 0::bigint, 0::bigint, 0::bigint", "");
/// Only the operation that makes a token asks for ids without asking for an otp.
const LAST_WITH_TOKEN_ID: &str = last!(", 0::bigint, 0::bigint, nextval('smsotp.token_ids')", "");
const LAST_OF_PHONE: &str = last!(
    ", 0::bigint, 0::bigint, 0::bigint, t.phone_number, t.code_tag, t.until, t.added_at, t.added_by",
    "LEFT JOIN smsotp.test_numbers AS t ON t.phone_number = $2"
);
const LAST_OF_PHONE_WITH_IDS: &str = last!(
    ", nextval('smsotp.otp_ids'), nextval('smsotp.message_ids'), 0::bigint, t.phone_number, t.code_tag, t.until, t.added_at, t.added_by",
    "LEFT JOIN smsotp.test_numbers AS t ON t.phone_number = $2"
);

/// An operation's needs as rows: what is locked, and where each subject's fact is put together from.
pub struct Asked {
    /// As the operation named them.
    pub needs: Needs,
    /// The tags of each of [`Needs::subjects`]: one, but for everything as a whole.
    pub tags: Vec<Vec<[u8; 32]>>,
    /// Who is locked though nobody asked for it: the phone of a message or otp that came without.
    hidden: Option<Subject>,
    /// The audit chain.
    pub chain: i16,
}

/// The facts with what the store itself has to remember of them.
pub struct Loaded {
    /// For the decision.
    pub facts: Facts,
    /// The end of the audit chain.
    pub head: audit::Head,
}

impl Asked {
    /// Prepares what is the same for every attempt. A message or otp without its phone among the subjects is looked up
    /// first: whatever belongs to a phone is only ever changed under the phone's lock.
    pub async fn of(store: &Postgres, needs: Needs) -> Result<Asked> {
        let phone = needs.subjects.iter().find(|subject| matches!(subject, Subject::Phone(_)));
        let hidden = match (phone, needs.message, &needs.otp) {
            (Some(_), ..) => None,
            (None, Some(id), _) => store.message_row(id).await?.map(|message| Subject::Phone(message.phone)),
            (None, None, OtpNeed::Id(id)) => store.otp_row(*id).await?.map(|otp| Subject::Phone(otp.phone)),
            (None, None, OtpNeed::Of(_, phone, _)) => Some(Subject::Phone(phone.clone())),
            (None, None, OtpNeed::None) => None,
        };
        let tags: Vec<Vec<[u8; 32]>> = needs.subjects.iter().map(|subject| tags(store, subject)).collect();
        let chain = match phone.or(hidden.as_ref()).or(needs.subjects.first()) {
            Some(subject) => 1 + i16::from(store.tag(subject)[0]) % CHAINS,
            None => 0,
        };
        Ok(Asked { needs, tags, hidden, chain })
    }

    /// What locks everything, last the chain, and how many subjects that are.
    fn lock(&self, store: &Postgres) -> Result<(&'static str, Vec<Value>, usize)> {
        let chain: Value = (Box::new(self.chain), Type::INT2);
        if self.needs.subjects.is_empty() && self.hidden.is_none() {
            return Ok((CHAIN, vec![chain], 0));
        }
        let mut asked: Vec<([u8; 32], &Subject)> = Vec::new();
        for (subject, tags) in self.needs.subjects.iter().zip(&self.tags) {
            asked.extend(tags.iter().map(|tag| (*tag, subject)));
        }
        asked.extend(self.hidden.iter().map(|subject| (store.tag(subject), subject)));
        asked.sort_unstable_by_key(|(tag, _)| *tag);
        asked.dedup_by_key(|(tag, _)| *tag);
        let mut ids = Vec::with_capacity(asked.len());
        for _ in &asked {
            ids.push(fresh_subject_id(store.clock.now())?.0.to_vec());
        }
        // A row that is made and never written decides nothing. It is given the end that its first writing will most likely
        // give it, so that this writing moves no index entry.
        let idle_at = whole_hour_after(store.clock.now() + std::time::Duration::from_secs(24 * 3600));
        let values: Vec<Value> = vec![
            (Box::new(asked.iter().map(|(tag, _)| tag.to_vec()).collect::<Vec<_>>()), Type::BYTEA_ARRAY),
            (Box::new(ids), Type::BYTEA_ARRAY),
            (Box::new(asked.iter().map(|(_, subject)| subject.kind().as_str()).collect::<Vec<_>>()), Type::TEXT_ARRAY),
            (Box::new(asked.iter().map(|(_, subject)| subject.masked()).collect::<Vec<_>>()), Type::TEXT_ARRAY),
            int(idle_at.millis()),
            chain,
        ];
        Ok((LOCK, values, asked.len()))
    }

    fn otps(&self) -> Option<(&'static str, Vec<Value>)> {
        let wants_messages = self.needs.messages;
        match (&self.needs.otp, self.needs.message) {
            (OtpNeed::Of(user, phone, purpose), _) => Some((
                if wants_messages { OTPS_AND_MESSAGES_OF } else { OTPS_OF },
                vec![text(user.as_str()), text(phone.as_str()), text(purpose.as_str()), int(i64::from(RECENT_MAX))],
            )),
            (OtpNeed::Id(id), _) => Some((if wants_messages { OTP_AND_MESSAGES } else { OTP }, vec![int(*id)])),
            (OtpNeed::None, Some(id)) => {
                Some((if wants_messages { OTP_AND_MESSAGES_OF_MESSAGE } else { OTP_OF_MESSAGE }, vec![int(id)]))
            }
            (OtpNeed::None, None) => None,
        }
    }

    fn last(&self) -> (&'static str, Vec<Value>) {
        let mut values: Vec<Value> = vec![(Box::new(self.chain), Type::INT2)];
        let sql = match (&self.needs.otp, self.needs.ids) {
            (OtpNeed::Of(_, phone, _), ids) => {
                values.push(text(phone.as_str()));
                if ids { LAST_OF_PHONE_WITH_IDS } else { LAST_OF_PHONE }
            }
            (_, true) => LAST_WITH_TOKEN_ID,
            (_, false) => LAST,
        };
        (sql, values)
    }

    /// Begins the transaction and loads the facts: one round trip. `None`: a subject was made, or purged and made again, while
    /// we waited for it; it is there for the next attempt.
    pub async fn load(&self, store: &Postgres, session: &mut Session) -> Result<Option<Loaded>, Failure> {
        let (lock, locked, subjects) = self.lock(store)?;
        let asked: [Option<(&'static str, Vec<Value>)>; 6] = [
            self.needs.token.map(|id| (TOKEN, vec![int(id)])),
            Some((lock, locked)),
            self.otps(),
            self.needs.message.map(|id| (MESSAGE, vec![int(id)])),
            self.needs.reply.map(|tag| (REPLY, vec![bytes(&tag)])),
            Some(self.last()),
        ];
        session
            .ready(asked.iter().flatten().map(|(sql, values)| (Cow::Borrowed(*sql), values.as_slice())))
            .await
            .map_err(before_commit)?;
        let session = &*session;
        // Polled in this order, and each is sent when it is first polled.
        let (begun, answers) = tokio::join!(
            biased;
            session.client().batch_execute(session.begin()),
            in_order(asked.iter().map(|asked| optional(session, asked.as_ref()))),
        );
        begun.map_err(before_commit)?;
        let mut rows = Vec::with_capacity(answers.len());
        for answer in answers {
            rows.push(answer.map_err(before_commit)?);
        }
        let [token, locked, otps, message, reply, last] = rows.as_slice() else {
            return Err(Error::new(Code::BUG, "an operation got answers that it had not asked for").into());
        };
        // The row of the chain, which comes with them, has no tag.
        if locked.iter().filter(|row| row.try_get::<_, &[u8]>(0).is_ok()).count() < subjects {
            return Ok(None);
        }
        let mut facts = Facts::default();
        self.put_subjects(&mut facts, locked)?;
        put_otps(&mut facts, otps)?;
        if let Some(row) = message.first() {
            facts.message = Some(rows::message(row, 0)?);
        }
        if let (Some(row), Some(tag)) = (reply.first(), self.needs.reply) {
            facts.reply = Some(rows::reply(tag, row)?);
        }
        if let Some(row) = token.first() {
            facts.token = Some(rows::token(row)?);
        }
        let head = self.put_last(store, &mut facts, last)?;
        Ok(Some(Loaded { facts, head }))
    }

    fn put_subjects(&self, facts: &mut Facts, found: &[Row]) -> Result<()> {
        for (subject, tags) in self.needs.subjects.iter().zip(&self.tags) {
            let mut whole: Option<SubjectFact> = None;
            for tag in tags {
                let row = found.iter().find(|row| row.try_get::<_, &[u8]>(0).is_ok_and(|found| found == tag));
                let row = row.ok_or_else(|| Error::new(Code::BUG, "a subject that was locked is not there"))?;
                let fact = SubjectFact {
                    subject: subject.clone(),
                    id: SubjectId(rows::array(column(row, 1)?, "id")?),
                    usage: rows::usage(column(row, 2)?)?,
                };
                match &mut whole {
                    None => whole = Some(fact),
                    Some(whole) => whole.usage.add_slots(fact.usage),
                }
            }
            facts.subjects.extend(whole);
        }
        Ok(())
    }

    fn put_last(&self, store: &Postgres, facts: &mut Facts, last: &[Row]) -> Result<audit::Head> {
        let row = last.first().ok_or_else(|| rows::damaged("database"))?;
        if column::<Option<i64>>(row, 1)?.is_some() {
            return Err(export::sealed());
        }
        facts.now = store.heard(column(row, 0)?);
        (facts.next_otp_id, facts.next_message_id) = (column(row, 4)?, column(row, 5)?);
        facts.next_token_id = column(row, 6)?;
        if matches!(self.needs.otp, OtpNeed::Of(..)) && column::<Option<&str>>(row, 7)?.is_some() {
            facts.test_number = Some(rows::test_number(row, 7)?);
        }
        head(self.chain, row, 2)
    }
}

async fn optional(
    session: &Session,
    asked: Option<&(&'static str, Vec<Value>)>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    match asked {
        Some((sql, values)) => session.ask(sql, values).await,
        None => Ok(Vec::new()),
    }
}

/// The head of a chain, from two columns that are empty where the chain is.
pub fn head(chain: i16, row: &Row, from: usize) -> Result<audit::Head> {
    let chain = u32::try_from(chain).unwrap_or(0);
    let Some(seq) = column::<Option<i64>>(row, from)? else { return Ok(audit::Head::empty(chain)) };
    Ok(audit::Head { chain, seq: u64::try_from(seq).unwrap_or(0), mac: rows::array(column(row, from + 1)?, "mac")? })
}

/// The tags of a subject: one, but for everything as a whole.
pub fn tags(store: &Postgres, subject: &Subject) -> Vec<[u8; 32]> {
    match subject {
        Subject::Everything => (0..SHARDS).map(|nth| store.tag(&Subject::Shard(nth))).collect(),
        subject => vec![store.tag(subject)],
    }
}

fn put_otps(facts: &mut Facts, found: &[Row]) -> Result<()> {
    for row in found {
        if !column::<bool>(row, 0)? {
            facts.recent.push(rows::otp(row, 1)?);
            continue;
        }
        if facts.otp.is_none() {
            facts.otp = Some(rows::otp(row, 1)?);
        }
        let with_message = row.len() > 1 + rows::OTP_COLUMNS;
        if with_message && column::<Option<i64>>(row, 1 + rows::OTP_COLUMNS)?.is_some() {
            facts.messages.push(rows::message(row, 1 + rows::OTP_COLUMNS)?);
        }
    }
    // A join promises no order.
    facts.recent.sort_unstable_by_key(|otp| std::cmp::Reverse(otp.id));
    facts.messages.sort_unstable_by_key(|message| std::cmp::Reverse(message.id));
    Ok(())
}

impl Postgres {
    /// Takes in what the database said of the time, and answers with the present as operations see it.
    pub(super) fn heard(&self, millis: i64) -> Timestamp {
        let since_open = i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.ahead.store(millis - since_open, Ordering::Relaxed);
        self.heard_at.store(since_open, Ordering::Relaxed);
        Timestamp(millis) + self.clock.offset()
    }
}
