//! The second round trip of an operation: its changes, its audit row and the commit, sent together.
//!
//! Nothing has to be checked between the writes and the commit: whatever was read is locked and therefore unchanged (`facts`), and an
//! insert that another transaction was quicker to make fails this one as a whole.

use std::sync::LazyLock;

use tokio_postgres::types::Type;

use super::Postgres;
use super::connect::Session;
use super::errors::{Failure, at_commit};
use super::facts::{FactsAndHead, FactsQuery};
use super::rows::{self, Statement, bytes, int, text};
use crate::audit::{self, Event, SealedHead};
use crate::error::Result;
use crate::store::Change;
use crate::store::schema::{self, Dialect, NO_PADDING, Record, SubjectRow, pad, raise_alarm};
use crate::store::sums;
use crate::store::value::Stored;
use crate::sums::Sum;
use crate::usage::Usage;

/// The commit waits for the standby that has to confirm it without a limit: PostgreSQL would end that wait with a warning and report
/// success although the standby has nothing. Our own limit ends the wait, and the outcome is unknown.
const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// Inserts an audit row with the operation that wrote it, and writes the head of its chain.
static AUDIT: LazyLock<String> = LazyLock::new(|| {
    let places: Vec<String> = (1..=audit::Row::table().columns.len() + 1).map(|nth| format!("${nth}")).collect();
    let columns = &rows::statements::<audit::Row>().columns;
    // The head's seq and mac are the row's own.
    format!(
        "WITH head AS (UPDATE smsotp.audit_heads SET seq = $2, mac = $4, pruned_seq = $6, pruned_mac = $7, seal = $8 WHERE chain = $1) \
         INSERT INTO smsotp.audit ({columns}, operation) VALUES ({})",
        places.join(", ")
    )
});

/// What stands for an otp where there is none. Each chain has a row of its own, so that nobody waits for another chain's.
static PAD: LazyLock<String> = LazyLock::new(|| pad(Dialect::Postgres));

/// What raises an alarm.
static RAISE_ALARM: LazyLock<[String; 2]> = LazyLock::new(|| raise_alarm(Dialect::Postgres));
static NEW_EVENT: LazyLock<String> = LazyLock::new(|| schema::new_event(Dialect::Postgres));
static COUNT_HITS: LazyLock<String> = LazyLock::new(|| schema::count_hits(Dialect::Postgres));
static DROP_ENTRY: LazyLock<String> = LazyLock::new(|| schema::drop_entry(Dialect::Postgres));
static ERASE_OTP: LazyLock<[String; 3]> = LazyLock::new(|| schema::erase_otp(Dialect::Postgres));
static ERASE_MESSAGE: LazyLock<[String; 2]> = LazyLock::new(|| schema::erase_message(Dialect::Postgres));

/// How to look up a commit: it happened if this row of the audit log has this operation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId {
    /// The chain of its audit row.
    pub chain: u32,
    /// Its place in the chain.
    pub seq: u64,
    /// 16 random bytes.
    pub id: [u8; 16],
}

/// What a transaction writes, in order.
pub struct Writes {
    /// Its statements.
    pub statements: Vec<Statement>,
    /// How to look up the commit.
    pub operation: OperationId,
}

impl Writes {
    /// Turns the changes of a decision into statements.
    pub fn of(
        store: &Postgres,
        query: &FactsQuery,
        loaded: &FactsAndHead,
        (changes, event): (Vec<Change>, &Event),
    ) -> Result<Writes> {
        let mut statements = Vec::with_capacity(changes.len() + 2);
        let mut written = Vec::new();
        for change in changes {
            match change {
                Change::NewOtp(otp) => statements.push(rows::insert(&otp)),
                Change::PutOtp(otp) => statements.push(rows::update(&otp)),
                Change::Padding(needed) => {
                    let id = if needed { i64::from(loaded.head.chain) } else { NO_PADDING };
                    statements.push(Statement::new(PAD.as_str(), vec![int(id)]));
                }
                Change::NewMessage(message) => statements.push(rows::insert(&message)),
                Change::PutMessage(message) => statements.push(rows::update(&message)),
                change @ (Change::PutUsage(..) | Change::LeaveUnknown(_)) => {
                    let (id, usage, idle_at) = match change {
                        Change::PutUsage(id, usage, idle_at) => {
                            written.push(id);
                            (id, usage, idle_at)
                        }
                        Change::LeaveUnknown(id) => (id, Usage::default(), None),
                        _ => continue,
                    };
                    let subject = &loaded.facts.subject(id)?.subject;
                    statements.push(rows::update(&SubjectRow::new(subject, store.tag(subject), id, &usage, idle_at)?));
                }
                // All but the id, which the database gives.
                Change::NewEvent(event) => {
                    let values = rows::params(&event).into_iter().skip(1).collect();
                    statements.push(Statement::new(NEW_EVENT.as_str(), values));
                }
                Change::AddSum(sum) => statements.push(add_sum(&sum, loaded.head.chain)),
                Change::TakeEvents(ids) => statements.push(take_events(ids)),
                // An answer that was not there when it was read has to be the first: nobody who was quicker is overwritten.
                Change::PutReply(reply) if query.needs.reply == Some(reply.tag) && loaded.facts.reply.is_none() => {
                    statements.push(rows::insert(&reply));
                }
                Change::PutReply(reply) => statements.push(rows::put(&reply)),
                Change::PutTestNumber(number) => statements.push(rows::put(&number)),
                Change::DropTestNumber(phone) => {
                    let sql = "DELETE FROM smsotp.test_numbers WHERE phone_number = $1";
                    statements.push(Statement::new(sql, vec![text(phone.as_str())]));
                }
                Change::PutPrice(price) => statements.push(rows::put(&price)),
                Change::NewToken(token) => statements.push(rows::insert(&token)),
                Change::PutToken(token) => statements.push(rows::update(&token)),
                Change::RaiseAlarm(alarm) => {
                    let [end, raise] = &*RAISE_ALARM;
                    let over = vec![text(alarm.kind.as_str()), text(&alarm.about), int(loaded.facts.now.millis())];
                    // All but the id, which the database gives.
                    let values = rows::params(&alarm).into_iter().skip(1).collect();
                    statements.extend([Statement::new(end.as_str(), over), Statement::new(raise.as_str(), values)]);
                }
                Change::PutAlarm(alarm) => statements.push(rows::update(&alarm)),
                Change::PutBalance(balance) => statements.push(rows::put(&balance)),
                Change::DropToken(id) => {
                    statements.push(Statement::new("DELETE FROM smsotp.tokens WHERE id = $1", vec![int(id)]));
                }
                Change::PutEntry(entry) => statements.push(rows::put(&entry)),
                Change::DropEntry(key, side) => {
                    statements.push(Statement::new(DROP_ENTRY.as_str(), vec![text(key), text(side.as_str())]));
                }
                Change::CountHits(key, side, hits) => {
                    let counted = vec![text(key), text(side.as_str()), int(hits), int(loaded.facts.now.millis())];
                    statements.push(Statement::new(COUNT_HITS.as_str(), counted));
                }
                Change::EraseOtp(id) => {
                    statements.extend(ERASE_OTP.iter().map(|sql| Statement::new(sql.as_str(), vec![int(id)])));
                }
                Change::EraseMessage(id) => {
                    statements.extend(ERASE_MESSAGE.iter().map(|sql| Statement::new(sql.as_str(), vec![int(id)])));
                }
                Change::EraseSubject(id, kept) => {
                    let subject = &loaded.facts.subject(id)?.subject;
                    statements.push(Statement::new("DELETE FROM smsotp.subjects WHERE id = $1", vec![bytes(&id.0)]));
                    if let Some((id, usage)) = kept {
                        let row = SubjectRow::of_forgotten(subject, store.tag(subject), id, &usage)?;
                        statements.push(rows::insert(&row));
                    }
                }
            }
        }
        if !loaded.facts.subjects.is_empty() {
            statements.push(loaded.leave_unknown(&written));
        }
        Writes::audited(store, statements, &loaded.head, event)
    }

    /// Adds the audit row to `statements`; a lost commit is looked up by it.
    pub fn audited(
        store: &Postgres,
        mut statements: Vec<Statement>,
        head: &SealedHead,
        event: &Event,
    ) -> Result<Writes> {
        let (row, head) = head.next(&store.keys.audit, event)?;
        let mut operation = OperationId { chain: row.chain, seq: row.seq, id: [0; 16] };
        crate::keys::fill_random(&mut operation.id)?;
        let mut params = rows::params(&row);
        let pruned = head.pruned();
        params.extend([
            bytes(&operation.id),
            rows::value(pruned.seq.to_value()),
            bytes(&pruned.mac),
            bytes(&head.seal),
        ]);
        statements.push(Statement::new(AUDIT.as_str(), params));
        Ok(Writes { statements, operation })
    }
}

/// Adds to a chain's part of a sum.
pub fn add_sum(sum: &Sum, chain: u32) -> Statement {
    let (statement, values) = sums::add(Dialect::Postgres, sum, chain);
    Statement::new(statement, values.into_iter().map(rows::value).collect())
}

/// Deletes events that are in the counts.
pub fn take_events(ids: Vec<i64>) -> Statement {
    let ids = (Box::new(ids) as _, Type::INT8_ARRAY);
    Statement::new("DELETE FROM smsotp.money_events WHERE id = ANY ($1)", vec![ids])
}

/// Sends statements and the commit in one round trip.
pub async fn commit(session: &Session, statements: &[Statement]) -> Result<(), Failure> {
    // In this order: each is sent when it is first polled.
    let (written, committed) = tokio::join!(
        biased;
        session.query_all(statements),
        session.client().batch_execute(COMMIT),
    );
    written.map_err(at_commit)?;
    committed.map_err(at_commit)
}
