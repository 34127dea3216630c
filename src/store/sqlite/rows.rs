//! How rows and values stand for each other. Column lists are written once, here.

use rusqlite::{Row, Transaction, params};

use super::trouble;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::KeyId;
use crate::message::{self, Message};
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::{Reply, TestNumber};
use crate::token::{Scopes, Token};

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

/// Reads an otp. A value that no version of ours wrote means damage.
pub fn otp(row: &Row<'_>) -> rusqlite::Result<Otp> {
    Ok(Otp {
        id: row.get(0)?,
        user: User::parse(text(row, 1)?).map_err(|_| damaged(1, "user"))?,
        phone: Phone::from_e164(text(row, 2)?).ok_or_else(|| damaged(2, "phone_number"))?,
        purpose: Purpose::parse(text(row, 3)?).ok_or_else(|| damaged(3, "purpose"))?,
        nonce: row.get(4)?,
        key_id: KeyId::parse(text(row, 5)?).ok_or_else(|| damaged(5, "key_id"))?,
        digits: row.get(6)?,
        created_at: Timestamp(row.get(7)?),
        expires_at: Timestamp(row.get(8)?),
        state: State::parse(text(row, 9)?).ok_or_else(|| damaged(9, "state"))?,
        ended_at: row.get::<_, Option<i64>>(10)?.map(Timestamp),
        wrong_guesses: row.get(11)?,
        test: row.get(12)?,
    })
}

/// The columns of an otp whose phone and purpose were asked for, in the order that [`otp_of`] reads.
macro_rules! otp_of_columns {
    () => {
        r#"id, "user", nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test"#
    };
}

/// An otp of this phone and purpose, nearly always of this user. Up to 64 of them are read for each operation.
pub fn otp_of(row: &Row<'_>, (user, phone, purpose): (&User, &Phone, &Purpose)) -> rusqlite::Result<Otp> {
    let known = |text: &str| if text == user.as_str() { Ok(user.clone()) } else { User::parse(text) };
    Ok(Otp {
        id: row.get(0)?,
        user: known(text(row, 1)?).map_err(|_| damaged(1, "user"))?,
        phone: phone.clone(),
        purpose: purpose.clone(),
        nonce: row.get(2)?,
        key_id: KeyId::parse(text(row, 3)?).ok_or_else(|| damaged(3, "key_id"))?,
        digits: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        expires_at: Timestamp(row.get(6)?),
        state: State::parse(text(row, 7)?).ok_or_else(|| damaged(7, "state"))?,
        ended_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        wrong_guesses: row.get(9)?,
        test: row.get(10)?,
    })
}

/// Writes a new otp under its id.
pub fn insert_otp(tx: &Transaction<'_>, otp: &Otp) -> Result<()> {
    let mut statement = tx
        .prepare_cached(
            r#"INSERT INTO otps (id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, over_at, wrong_guesses, test)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"#,
        )
        .map_err(trouble)?;
    statement
        .execute(params![
            otp.id,
            otp.user.as_str(),
            otp.phone.as_str(),
            otp.purpose.as_str(),
            otp.nonce,
            otp.key_id.to_string(),
            otp.digits,
            otp.created_at.millis(),
            otp.expires_at.millis(),
            otp.state.as_str(),
            otp.ended_at.map(Timestamp::millis),
            otp.over_at().millis(),
            otp.wrong_guesses,
            otp.test,
        ])
        .map_err(trouble)?;
    Ok(())
}

/// Writes what may change of an otp.
pub fn update_otp(tx: &Transaction<'_>, otp: &Otp) -> Result<()> {
    let mut statement = tx
        .prepare_cached("UPDATE otps SET state = ?2, ended_at = ?3, over_at = ?4, wrong_guesses = ?5 WHERE id = ?1")
        .map_err(trouble)?;
    statement
        .execute(params![
            otp.id,
            otp.state.as_str(),
            otp.ended_at.map(Timestamp::millis),
            otp.over_at().millis(),
            otp.wrong_guesses,
        ])
        .map_err(trouble)?;
    Ok(())
}

/// Reads a message.
pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        otp_id: row.get(1)?,
        phone: Phone::from_e164(text(row, 2)?).ok_or_else(|| damaged(2, "phone_number"))?,
        provider: row.get(3)?,
        state: message::State::parse(text(row, 4)?).ok_or_else(|| damaged(4, "state"))?,
        provider_id: row.get(5)?,
        error_code: row.get(6)?,
        error: row.get(7)?,
        segments: row.get(8)?,
        attempts: row.get(9)?,
        reserved_at: Timestamp(row.get(10)?),
        attempt_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        due_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        missed_at: row.get::<_, Option<i64>>(13)?.map(Timestamp),
        updated_at: Timestamp(row.get(14)?),
        endings: serde_json::from_str(text(row, 15)?).map_err(|_| damaged(15, "endings"))?,
    })
}

/// Writes a new message under its id.
pub fn insert_message(tx: &Transaction<'_>, message: &Message) -> Result<()> {
    let mut statement = tx
        .prepare_cached(
            "INSERT INTO messages (id, otp_id, phone_number, provider, state, provider_id, error_code, error, segments, attempts,
                                   reserved_at, attempt_at, due_at, missed_at, updated_at, endings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .map_err(trouble)?;
    statement
        .execute(params![
            message.id,
            message.otp_id,
            message.phone.as_str(),
            message.provider,
            message.state.as_str(),
            message.provider_id,
            message.error_code,
            message.error,
            message.segments,
            message.attempts,
            message.reserved_at.millis(),
            message.attempt_at.map(Timestamp::millis),
            message.due_at.map(Timestamp::millis),
            message.missed_at.map(Timestamp::millis),
            message.updated_at.millis(),
            endings(message)?,
        ])
        .map_err(trouble)?;
    Ok(())
}

/// Writes what may change of a message.
pub fn update_message(tx: &Transaction<'_>, message: &Message) -> Result<()> {
    let mut statement = tx
        .prepare_cached(
            "UPDATE messages SET provider = ?2, state = ?3, provider_id = ?4, error_code = ?5, error = ?6, segments = ?7,
                    attempts = ?8, attempt_at = ?9, due_at = ?10, missed_at = ?11, updated_at = ?12 WHERE id = ?1",
        )
        .map_err(trouble)?;
    statement
        .execute(params![
            message.id,
            message.provider,
            message.state.as_str(),
            message.provider_id,
            message.error_code,
            message.error,
            message.segments,
            message.attempts,
            message.attempt_at.map(Timestamp::millis),
            message.due_at.map(Timestamp::millis),
            message.missed_at.map(Timestamp::millis),
            message.updated_at.millis(),
        ])
        .map_err(trouble)?;
    Ok(())
}

/// Moves the time at which a message is looked at again.
pub fn reschedule(tx: &Transaction<'_>, id: i64, due_at: Option<Timestamp>) -> Result<()> {
    tx.prepare_cached("UPDATE messages SET due_at = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![id, due_at.map(Timestamp::millis)]))
        .map_err(trouble)?;
    Ok(())
}

/// Reads the stored answer to an idempotency key: fingerprint, message_id, answer, created_at.
pub fn reply(tag: [u8; 32], row: &Row<'_>) -> rusqlite::Result<Reply> {
    Ok(Reply {
        tag,
        fingerprint: row.get(0)?,
        message_id: row.get(1)?,
        answer: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
    })
}

/// Writes the answer to an idempotency key.
pub fn put_reply(tx: &Transaction<'_>, reply: &Reply) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO replies (tag, fingerprint, message_id, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (tag) DO UPDATE SET fingerprint = excluded.fingerprint, message_id = excluded.message_id,
                                         answer = excluded.answer, created_at = excluded.created_at",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            reply.tag,
            reply.fingerprint,
            reply.message_id,
            reply.answer,
            reply.created_at.millis()
        ])
    })
    .map_err(trouble)?;
    Ok(())
}

/// Reads a test number.
pub fn test_number(row: &Row<'_>) -> rusqlite::Result<TestNumber> {
    Ok(TestNumber {
        phone: Phone::from_e164(&row.get::<_, String>(0)?).ok_or_else(|| damaged(0, "phone_number"))?,
        code_tag: row.get(1)?,
        until: Timestamp(row.get(2)?),
        added_at: Timestamp(row.get(3)?),
        added_by: row.get(4)?,
    })
}

/// Writes a test number.
pub fn put_test_number(tx: &Transaction<'_>, number: &TestNumber) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO test_numbers (phone_number, code_tag, until, added_at, added_by) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (phone_number) DO UPDATE SET code_tag = excluded.code_tag, until = excluded.until,
                                                  added_at = excluded.added_at, added_by = excluded.added_by",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            number.phone.as_str(),
            number.code_tag,
            number.until.millis(),
            number.added_at.millis(),
            number.added_by
        ])
    })
    .map_err(trouble)?;
    Ok(())
}

/// Reads an access token.
pub fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let user: Option<String> = row.get(4)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        hash: row.get(2)?,
        scopes: Scopes::parse(&row.get::<_, String>(3)?).map_err(|_| damaged(3, "scopes"))?,
        user: user.map(|user| User::parse(&user)).transpose().map_err(|_| damaged(4, "user"))?,
        service: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        expires_at: row.get::<_, Option<i64>>(7)?.map(Timestamp),
        revoked_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        created_by: row.get(9)?,
    })
}

/// Writes a new access token under its id.
pub fn insert_token(tx: &Transaction<'_>, token: &Token) -> Result<()> {
    tx.prepare_cached(concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    ))
    .and_then(|mut statement| {
        statement.execute(params![
            token.id,
            token.name,
            token.hash,
            token.scopes.to_string(),
            token.user.as_ref().map(User::as_str),
            token.service,
            token.created_at.millis(),
            token.expires_at.map(Timestamp::millis),
            token.revoked_at.map(Timestamp::millis),
            token.created_by
        ])
    })
    .map_err(trouble)?;
    Ok(())
}

/// Writes what may change of an access token.
pub fn update_token(tx: &Transaction<'_>, token: &Token) -> Result<()> {
    tx.prepare_cached("UPDATE tokens SET expires_at = ?2, revoked_at = ?3 WHERE id = ?1")
        .and_then(|mut statement| {
            statement.execute(params![
                token.id,
                token.expires_at.map(Timestamp::millis),
                token.revoked_at.map(Timestamp::millis)
            ])
        })
        .map_err(trouble)?;
    Ok(())
}

fn endings(message: &Message) -> Result<String> {
    serde_json::to_string(&message.endings)
        .map_err(|error| Error::new(Code::BUG, "the endings of a message cannot be written").because(error))
}

/// A text where it lies: what is parsed from it is kept, and not the text.
fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn damaged(column: usize, name: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("column {name} holds a value that smsotp never wrote").into(),
    )
}
