//! How rows and values stand for each other. Column lists are written once, here.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::KeyId;
use crate::message::{self, Message};
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::{Reply, TestNumber};
use crate::token::{Scopes, Token};
use crate::usage::Usage;

/// The columns of an otp, in the order that [`otp`] reads.
macro_rules! otp_columns {
    () => {
        r#"id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test"#
    };
}

/// The columns of a message, in the order that [`message`] reads.
macro_rules! message_columns {
    () => {
        "id, otp_id, phone_number, provider, state, provider_id, error_code, error, segments, attempts, \
         reserved_at, attempt_at, due_at, missed_at, updated_at, endings"
    };
}

/// Both, of `o` and `m`: an otp beside one of its messages, as [`otp`] and [`message`] read them one behind the other.
macro_rules! otp_and_message_columns {
    () => {
        r#"o.id, o."user", o.phone_number, o.purpose, o.nonce, o.key_id, o.digits, o.created_at, o.expires_at, o.state, o.ended_at, o.wrong_guesses, o.test, m.id, m.otp_id, m.phone_number, m.provider, m.state, m.provider_id, m.error_code, m.error, m.segments, m.attempts, m.reserved_at, m.attempt_at, m.due_at, m.missed_at, m.updated_at, m.endings"#
    };
}

/// The columns of a test number, in the order that [`test_number`] reads.
macro_rules! test_number_columns {
    () => {
        "phone_number, code_tag, until, added_at, added_by"
    };
}

/// The columns of an access token, in the order that [`token`] reads.
macro_rules! token_columns {
    () => {
        r#"id, name, hash, scopes, "user", service, created_at, expires_at, revoked_at, created_by"#
    };
}

/// One value with its type: statements are sent with their types, so that none has to be prepared first.
pub type Value = (Box<dyn ToSql + Sync + Send>, Type);

/// A statement with its values.
pub struct Statement {
    /// The one table that it writes to; empty where it must be run by itself.
    pub table: &'static str,
    /// The text.
    pub sql: &'static str,
    /// Its values, in order.
    pub values: Vec<Value>,
    /// It returns the rows that it wrote, which have to be one; `true`: or none.
    pub or_none: Option<bool>,
}

/// Values with their types, as the PostgreSQL client takes them.
pub fn borrowed(values: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
}

/// A whole number.
pub fn int(value: i64) -> Value {
    (Box::new(value), Type::INT8)
}

/// A whole number or nothing.
pub fn int_or_null(value: Option<i64>) -> Value {
    (Box::new(value), Type::INT8)
}

/// A text.
pub fn text(value: impl Into<String>) -> Value {
    (Box::new(value.into()), Type::TEXT)
}

/// A text or nothing.
pub fn text_or_null(value: Option<&str>) -> Value {
    (Box::new(value.map(str::to_owned)), Type::TEXT)
}

/// Bytes.
pub fn bytes(value: &[u8]) -> Value {
    (Box::new(value.to_vec()), Type::BYTEA)
}

fn moment(value: Option<Timestamp>) -> Value {
    int_or_null(value.map(Timestamp::millis))
}

/// Reads one column; what does not fit was never written by us.
pub fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| damaged(&error.to_string()))
}

/// How many columns [`otp`] reads.
pub const OTP_COLUMNS: usize = 13;

/// Reads an otp from columns `from` on.
pub fn otp(row: &Row, from: usize) -> Result<Otp> {
    let text = |at: usize| column::<&str>(row, from + at);
    Ok(Otp {
        id: column(row, from)?,
        user: User::parse(text(1)?).map_err(|_| damaged("user"))?,
        phone: Phone::from_e164(text(2)?).ok_or_else(|| damaged("phone_number"))?,
        purpose: Purpose::parse(text(3)?).ok_or_else(|| damaged("purpose"))?,
        nonce: array(column(row, from + 4)?, "nonce")?,
        key_id: KeyId::parse(text(5)?).ok_or_else(|| damaged("key_id"))?,
        digits: u8::try_from(column::<i16>(row, from + 6)?).map_err(|_| damaged("digits"))?,
        created_at: Timestamp(column(row, from + 7)?),
        expires_at: Timestamp(column(row, from + 8)?),
        state: State::parse(text(9)?).ok_or_else(|| damaged("state"))?,
        ended_at: column::<Option<i64>>(row, from + 10)?.map(Timestamp),
        wrong_guesses: u32::try_from(column::<i32>(row, from + 11)?).map_err(|_| damaged("wrong_guesses"))?,
        test: column(row, from + 12)?,
    })
}

/// Writes a new otp under its id.
pub fn insert_otp(otp: &Otp) -> Statement {
    Statement {
        table: "otps",
        or_none: None,
        sql: concat!(
            "INSERT INTO smsotp.otps (",
            otp_columns!(),
            ", over_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        ),
        values: vec![
            int(otp.id),
            text(otp.user.as_str()),
            text(otp.phone.as_str()),
            text(otp.purpose.as_str()),
            bytes(&otp.nonce),
            text(otp.key_id.to_string()),
            (Box::new(i16::from(otp.digits)), Type::INT2),
            int(otp.created_at.millis()),
            int(otp.expires_at.millis()),
            text(otp.state.as_str()),
            moment(otp.ended_at),
            (Box::new(guesses(otp)), Type::INT4),
            (Box::new(otp.test), Type::BOOL),
            int(otp.over_at().millis()),
        ],
    }
}

/// Writes what may change of an otp, which has to be as it was read: else the statement fails, and with it the transaction.
/// `None`: it was not read, and the same statement changes nothing.
pub fn update_otp(otp: &Otp, was: Option<State>) -> Statement {
    Statement {
        table: "otps",
        or_none: Some(was.is_none()),
        sql: "UPDATE smsotp.otps SET state = $2, ended_at = $3, over_at = $4, wrong_guesses = $5 \
              WHERE id = $1 AND state = $6 RETURNING 1",
        values: vec![
            int(otp.id),
            text(otp.state.as_str()),
            moment(otp.ended_at),
            int(otp.over_at().millis()),
            (Box::new(guesses(otp)), Type::INT4),
            text(was.map_or("", State::as_str)),
        ],
    }
}

/// Reads a message from columns `from` on.
pub fn message(row: &Row, from: usize) -> Result<Message> {
    let text = |at: usize| column::<&str>(row, from + at);
    let moment = |at: usize| column::<Option<i64>>(row, from + at).map(|at| at.map(Timestamp));
    let count = |at: usize| u32::try_from(column::<i64>(row, from + at)?).map_err(|_| damaged("a count"));
    Ok(Message {
        id: column(row, from)?,
        otp_id: column(row, from + 1)?,
        phone: Phone::from_e164(text(2)?).ok_or_else(|| damaged("phone_number"))?,
        provider: text(3)?.to_owned(),
        state: message::State::parse(text(4)?).ok_or_else(|| damaged("state"))?,
        provider_id: column(row, from + 5)?,
        error_code: column::<Option<i64>>(row, from + 6)?.and_then(|code| u32::try_from(code).ok()),
        error: column(row, from + 7)?,
        segments: count(8)?,
        attempts: count(9)?,
        reserved_at: Timestamp(column(row, from + 10)?),
        attempt_at: moment(11)?,
        due_at: moment(12)?,
        missed_at: moment(13)?,
        updated_at: Timestamp(column(row, from + 14)?),
        endings: serde_json::from_str(text(15)?).map_err(|_| damaged("endings"))?,
    })
}

/// Writes a new message under its id.
pub fn insert_message(message: &Message) -> Result<Statement> {
    let endings = serde_json::to_string(&message.endings)
        .map_err(|error| Error::new(Code::BUG, "the endings of a message cannot be written").because(error))?;
    Ok(Statement {
        table: "messages",
        or_none: None,
        sql: concat!(
            "INSERT INTO smsotp.messages (",
            message_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        ),
        values: vec![
            int(message.id),
            int_or_null(message.otp_id),
            text(message.phone.as_str()),
            text(message.provider.as_str()),
            text(message.state.as_str()),
            text_or_null(message.provider_id.as_deref()),
            int_or_null(message.error_code.map(i64::from)),
            text_or_null(message.error.as_deref()),
            int(i64::from(message.segments)),
            int(i64::from(message.attempts)),
            int(message.reserved_at.millis()),
            moment(message.attempt_at),
            moment(message.due_at),
            moment(message.missed_at),
            int(message.updated_at.millis()),
            text(endings),
        ],
    })
}

/// Writes what may change of a message.
pub fn update_message(message: &Message) -> Statement {
    Statement {
        table: "messages",
        or_none: None,
        sql: "UPDATE smsotp.messages SET provider = $2, state = $3, provider_id = $4, error_code = $5, error = $6, segments = $7, \
              attempts = $8, attempt_at = $9, due_at = $10, missed_at = $11, updated_at = $12 WHERE id = $1",
        values: vec![
            int(message.id),
            text(message.provider.as_str()),
            text(message.state.as_str()),
            text_or_null(message.provider_id.as_deref()),
            int_or_null(message.error_code.map(i64::from)),
            text_or_null(message.error.as_deref()),
            int(i64::from(message.segments)),
            int(i64::from(message.attempts)),
            moment(message.attempt_at),
            moment(message.due_at),
            moment(message.missed_at),
            int(message.updated_at.millis()),
        ],
    }
}

/// Reads the stored answer to an idempotency key: fingerprint, message_id, answer, created_at.
pub fn reply(tag: [u8; 32], row: &Row) -> Result<Reply> {
    Ok(Reply {
        tag,
        fingerprint: array(column(row, 0)?, "fingerprint")?,
        message_id: column(row, 1)?,
        answer: column(row, 2)?,
        created_at: Timestamp(column(row, 3)?),
    })
}

/// Writes the answer to an idempotency key. `fresh`: it was looked for and is not there, so that another asker who is quicker
/// makes the statement fail and not be overwritten.
pub fn put_reply(reply: &Reply, fresh: bool) -> Statement {
    Statement {
        table: "replies",
        or_none: None,
        sql: if fresh {
            "INSERT INTO smsotp.replies (tag, fingerprint, message_id, answer, created_at) VALUES ($1, $2, $3, $4, $5)"
        } else {
            "INSERT INTO smsotp.replies (tag, fingerprint, message_id, answer, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tag) DO UPDATE SET fingerprint = excluded.fingerprint, message_id = excluded.message_id, \
             answer = excluded.answer, created_at = excluded.created_at"
        },
        values: vec![
            bytes(&reply.tag),
            bytes(&reply.fingerprint),
            int_or_null(reply.message_id),
            text_or_null(reply.answer.as_deref()),
            int(reply.created_at.millis()),
        ],
    }
}

/// Reads a test number from columns `from` on.
pub fn test_number(row: &Row, from: usize) -> Result<TestNumber> {
    Ok(TestNumber {
        phone: Phone::from_e164(column(row, from)?).ok_or_else(|| damaged("phone_number"))?,
        code_tag: array(column(row, from + 1)?, "code_tag")?,
        until: Timestamp(column(row, from + 2)?),
        added_at: Timestamp(column(row, from + 3)?),
        added_by: column(row, from + 4)?,
    })
}

/// Writes a test number.
pub fn put_test_number(number: &TestNumber) -> Statement {
    Statement {
        table: "test_numbers",
        or_none: None,
        sql: "INSERT INTO smsotp.test_numbers (phone_number, code_tag, until, added_at, added_by) VALUES ($1, $2, $3, $4, $5) \
              ON CONFLICT (phone_number) DO UPDATE SET code_tag = excluded.code_tag, until = excluded.until, \
              added_at = excluded.added_at, added_by = excluded.added_by",
        values: vec![
            text(number.phone.as_str()),
            bytes(&number.code_tag),
            int(number.until.millis()),
            int(number.added_at.millis()),
            text(number.added_by.as_str()),
        ],
    }
}

/// Takes a test number away.
pub fn drop_test_number(phone: &Phone) -> Statement {
    Statement {
        table: "test_numbers",
        or_none: None,
        sql: "DELETE FROM smsotp.test_numbers WHERE phone_number = $1",
        values: vec![text(phone.as_str())],
    }
}

/// Reads an access token.
pub fn token(row: &Row) -> Result<Token> {
    let user: Option<&str> = column(row, 4)?;
    Ok(Token {
        id: column(row, 0)?,
        name: column(row, 1)?,
        hash: array(column(row, 2)?, "hash")?,
        scopes: Scopes::parse(column(row, 3)?).map_err(|_| damaged("scopes"))?,
        user: user.map(User::parse).transpose().map_err(|_| damaged("user"))?,
        service: column(row, 5)?,
        created_at: Timestamp(column(row, 6)?),
        expires_at: column::<Option<i64>>(row, 7)?.map(Timestamp),
        revoked_at: column::<Option<i64>>(row, 8)?.map(Timestamp),
        created_by: column(row, 9)?,
    })
}

/// Writes a new access token under its id.
pub fn insert_token(token: &Token) -> Statement {
    Statement {
        table: "tokens",
        or_none: None,
        sql: concat!(
            "INSERT INTO smsotp.tokens (",
            token_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        ),
        values: vec![
            int(token.id),
            text(token.name.as_str()),
            bytes(&token.hash),
            text(token.scopes.to_string()),
            text_or_null(token.user.as_ref().map(User::as_str)),
            (Box::new(token.service), Type::BOOL),
            int(token.created_at.millis()),
            moment(token.expires_at),
            moment(token.revoked_at),
            text(token.created_by.as_str()),
        ],
    }
}

/// Writes what may change of an access token.
pub fn update_token(token: &Token) -> Statement {
    Statement {
        table: "tokens",
        or_none: None,
        sql: "UPDATE smsotp.tokens SET expires_at = $2, revoked_at = $3 WHERE id = $1",
        values: vec![int(token.id), moment(token.expires_at), moment(token.revoked_at)],
    }
}

/// Reads a usage.
pub fn usage(text: &str) -> Result<Usage> {
    serde_json::from_str(text).map_err(|_| damaged("usage"))
}

/// Bytes of a known length.
pub fn array<const N: usize>(bytes: &[u8], name: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged(name))
}

/// What a value that smsotp never wrote means.
pub fn damaged(what: &str) -> Error {
    Error::new(Code::STORE_CORRUPT, "the database holds a value that smsotp never wrote")
        .because(what.to_owned())
        .hint("Run `smsotp db check`, then restore a backup.")
}

fn guesses(otp: &Otp) -> i32 {
    i32::try_from(otp.wrong_guesses).unwrap_or(i32::MAX)
}
