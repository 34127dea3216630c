//! The second round trip of an operation: what it decided, its audit row, and the commit, sent together.

use std::borrow::Cow;

use tokio_postgres::types::Type;

use super::at_once::{Sent, at_once};
use super::connect::{Session, in_order};
use super::facts::{Asked, Loaded};
use super::rows::{self, Statement, Value, bytes, int, text};
use super::trouble::{Failure, at_commit};
use super::{Postgres, whole_hour_after};
use crate::audit::{Event, Head};
use crate::error::{Code, Error, Result};
use crate::otp::State;
use crate::store::{Change, Facts};
use crate::usage::Usage;

/// The commit waits for as long as the standby that has to confirm it: a time-out there would be told as success although
/// the standby has nothing (PostgreSQL ends the wait with a warning). Our own patience ends the wait as "unknown".
const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// The rows are found by their key whatever the planner thinks of the arrays: a join would read the whole table while that is
/// small, and prepared plans are kept while it grows.
const LEDGERS: &str = "UPDATE smsotp.subjects SET usage = ($2::text[])[array_position($1, tag)], \
    idle_at = ($3::bigint[])[array_position($1, tag)] WHERE tag = ANY ($1)";

const AUDIT: &str = "INSERT INTO smsotp.audit (chain, seq, body, mac, operation) VALUES ($1, $2, $3, $4, $5)";

/// Where a commit can be found again: it is there if this row of the audit log carries this operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId {
    /// The chain of its audit row.
    pub chain: i16,
    /// The place in the chain.
    pub seq: i64,
    /// 16 random bytes.
    pub id: [u8; 16],
}

/// What a transaction writes, in order.
pub struct Writes {
    statements: Vec<Sent>,
    /// How the commit is found again.
    pub operation: OperationId,
}

impl Writes {
    /// Turns decided changes into statements.
    pub fn of(
        store: &Postgres,
        asked: &Asked,
        loaded: &Loaded,
        (changes, event): (Vec<Change>, Event),
    ) -> Result<Writes> {
        let mut statements = Vec::with_capacity(changes.len() + 1);
        let mut usages = Usages::default();
        for change in changes {
            match change {
                Change::NewOtp(otp) => statements.push(rows::insert_otp(&otp)),
                Change::PutOtp(otp) => statements.push(rows::update_otp(&otp, known(&loaded.facts, otp.id))),
                Change::NewMessage(message) => statements.push(rows::insert_message(&message)?),
                Change::PutMessage(message) => statements.push(rows::update_message(&message)),
                Change::PutUsage(id, usage, idle_at) => {
                    let place = loaded.facts.subjects.iter().position(|fact| fact.id == id);
                    let tags = place.and_then(|place| asked.tags.get(place)).ok_or_else(|| {
                        Error::new(Code::BUG, "an operation wrote the usage of a subject that it had not asked for")
                    })?;
                    usages.put(tags, &usage, idle_at.map(|at| whole_hour_after(at).millis()))?;
                }
                Change::PutReply(reply) => {
                    let fresh = asked.needs.reply == Some(reply.tag) && loaded.facts.reply.is_none();
                    statements.push(rows::put_reply(&reply, fresh));
                }
                Change::PutTestNumber(number) => statements.push(rows::put_test_number(&number)),
                Change::DropTestNumber(phone) => statements.push(rows::drop_test_number(&phone)),
                Change::NewToken(token) => statements.push(rows::insert_token(&token)),
                Change::PutToken(token) => statements.push(rows::update_token(&token)),
            }
        }
        statements.extend(usages.statement());
        Writes::audited(store, statements, loaded.head, &event)
    }

    /// Adds the audit row to `statements`: without one, nobody could tell later whether it was committed.
    pub fn audited(store: &Postgres, mut statements: Vec<Statement>, head: Head, event: &Event) -> Result<Writes> {
        let row = head.next(&store.keys.audit, event);
        let mut operation = OperationId {
            chain: i16::try_from(head.chain).unwrap_or(0),
            seq: i64::try_from(row.seq).unwrap_or(i64::MAX),
            id: [0; 16],
        };
        crate::keys::fill_random(&mut operation.id)?;
        statements.push(Statement {
            table: "audit",
            or_none: None,
            sql: AUDIT,
            values: vec![
                (Box::new(operation.chain), Type::INT2),
                int(operation.seq),
                text(
                    String::from_utf8(row.body.clone())
                        .map_err(|error| Error::new(Code::BUG, "an audit row is no text").because(error))?,
                ),
                bytes(&row.mac),
                bytes(&operation.id),
            ],
        });
        Ok(Writes { statements: at_once(statements), operation })
    }

    /// Its statements, to be prepared.
    pub fn list(&self) -> impl Iterator<Item = (&Cow<'static, str>, &[Value])> {
        self.statements.iter().map(|statement| (&statement.sql, statement.values.as_slice()))
    }

    /// Sends everything with the commit: one round trip.
    pub async fn commit(&self, session: &Session) -> Result<(), Failure> {
        let writes = self.list().map(|(sql, values)| session.run(sql, values));
        // In this order: each is sent when it is first polled.
        let (written, committed) = tokio::join!(biased; in_order(writes), session.client().batch_execute(COMMIT));
        for answer in written {
            answer.map_err(at_commit)?;
        }
        committed.map_err(at_commit)
    }
}

/// The state in which an otp was read.
fn known(facts: &Facts, id: i64) -> Option<State> {
    facts.otp.iter().chain(&facts.recent).find(|otp| otp.id == id).map(|otp| otp.state)
}

/// Usages to write: one statement for all.
#[derive(Default)]
struct Usages {
    tags: Vec<Vec<u8>>,
    texts: Vec<String>,
    idle: Vec<Option<i64>>,
}

impl Usages {
    /// Everything as a whole is written to its first shard, and the others are emptied: that is what a reset means.
    fn put(&mut self, tags: &[[u8; 32]], usage: &Usage, idle_at: Option<i64>) -> Result<()> {
        for (nth, tag) in tags.iter().enumerate() {
            let empty = Usage::default();
            let usage = if nth == 0 { usage } else { &empty };
            let text = usage.to_json()?;
            // Of two writings of one subject the last one counts.
            if let Some(place) = self.tags.iter().position(|known| known == tag) {
                (self.texts[place], self.idle[place]) = (text, idle_at);
            } else {
                self.tags.push(tag.to_vec());
                self.texts.push(text);
                self.idle.push(idle_at);
            }
        }
        Ok(())
    }

    fn statement(self) -> Option<Statement> {
        (!self.tags.is_empty()).then(|| Statement {
            table: "subjects",
            or_none: None,
            sql: LEDGERS,
            values: vec![
                (Box::new(self.tags), Type::BYTEA_ARRAY),
                (Box::new(self.texts), Type::TEXT_ARRAY),
                (Box::new(self.idle), Type::INT8_ARRAY),
            ],
        })
    }
}
