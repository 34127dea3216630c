//! Reads the database. Every query has an index and a bound.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::rows;
use crate::alarm::Alarm;
use crate::audit;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::lists::{ListEntry, Side};
use crate::message::{self, Message};
use crate::money::FetchedPrice;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::store::schema::{self, Dialect, Record, SubjectRow};
use crate::store::sums::SumRow;
use crate::store::walk::{Walk, Walked};
use crate::store::{Filter, MORE_MAX, Page, SubjectId, TestNumber};
use crate::sums::HourSums;
use crate::token::Token;
use crate::usage::Usage;

/// One page of otps or messages, newest first.
pub fn list<R: Walked>(connection: &Connection, filter: &Filter, now: Timestamp) -> Result<Page<R>> {
    // One snapshot for the rows of the page and the count.
    let connection = &*connection.unchecked_transaction()?;
    let mut walk = Walk::<R>::new(Dialect::Sqlite, filter, now);
    walk.since_id = walk.since().map(|at| first_id_at::<R>(connection, at)).transpose()?;
    walk.until_id = walk.until().map(|at| first_id_at::<R>(connection, at)).transpose()?;
    let limit = filter.limit.max(1);
    let (sql, values) = walk.page(&rows::statements::<R>().columns, limit);
    let found: Vec<R> = rows::all(connection, &sql, params_from_iter(values))?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(last) = found.last().filter(|_| full).map(R::id) else {
        let edge = match walk.edge() {
            Some((sql, values)) => rows::value(connection, &sql, params_from_iter(values))?,
            None => None,
        };
        return Ok(Page { rows: found, more: 0, cut: edge.is_some(), next: edge });
    };
    walk.before = Some(last);
    let (sql, values) = walk.count(MORE_MAX);
    let more = rows::value(connection, &sql, params_from_iter(values))?.unwrap_or(0);
    Ok(Page { rows: found, more, cut: false, next: (more > 0).then_some(last) })
}

/// The first id that was created at or after a time: ids grow with time, so a binary search finds it.
fn first_id_at<R: Walked>(connection: &Connection, at: Timestamp) -> Result<i64> {
    let last: Option<i64> = rows::value(connection, &Walk::<R>::last_id(Dialect::Sqlite), [])?;
    let sql = Walk::<R>::made_from(Dialect::Sqlite);
    let (mut low, mut high) = (0i64, last.unwrap_or(0) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match rows::value::<i64>(connection, &sql, [middle])? {
            Some(made) if made < at.millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How many messages each of these otps has, and how far its newest one got.
pub fn message_counts(connection: &Connection, otp_ids: &[i64]) -> Result<Vec<(u32, Option<message::State>)>> {
    let connection = connection.unchecked_transaction()?;
    let count = "SELECT count(*) FROM (SELECT 1 FROM messages WHERE otp_id = ?1 LIMIT 1000)";
    let newest = "SELECT state FROM messages WHERE otp_id = ?1 ORDER BY id DESC LIMIT 1";
    let of = |id| Ok((rows::value(&connection, count, [id])?.unwrap_or(0), rows::value(&connection, newest, [id])?));
    otp_ids.iter().map(of).collect()
}

/// The newest otps of a phone, all purposes, newest first.
pub fn of_phone(connection: &Connection, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
    let sql = format!("{} WHERE phone_number = ?1 ORDER BY id DESC LIMIT ?2", rows::statements::<Otp>().select);
    rows::all(connection, &sql, params![phone.as_str(), limit])
}

/// The messages of an otp, newest first, at most 50.
pub fn messages_of(connection: &Connection, otp_id: i64) -> Result<Vec<Message>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!("{} WHERE otp_id = ?1 ORDER BY id DESC LIMIT 50", rows::statements::<Message>().select)
    });
    rows::all(connection, &SQL, [otp_id])
}

/// The ids of the messages that are due.
pub fn due(connection: &Connection, now: Timestamp, early: bool, limit: u32) -> Result<Vec<i64>> {
    let when = if early { format!("(due_at <= ?1 OR {})", schema::is_on_its_way()) } else { "due_at <= ?1".to_owned() };
    let sql = format!("SELECT id FROM messages WHERE due_at IS NOT NULL AND {when} ORDER BY due_at, id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params![now.millis(), limit], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Messages that wait for an attempt although their otp is over.
pub fn left_waiting(connection: &Connection, over: Timestamp, after: i64, limit: u32) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(&schema::left_waiting(Dialect::Sqlite))?;
    let found = statement.query_map(params![over.millis(), after, limit], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// The provider's ids of the newest messages to a phone.
pub fn provider_ids(connection: &Connection, phone: &Phone) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(&schema::provider_ids(Dialect::Sqlite))?;
    let found = statement.query_map([phone.as_str()], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// All test numbers, at most 1000.
pub fn test_numbers(connection: &Connection) -> Result<Vec<TestNumber>> {
    let sql = format!("{} ORDER BY phone_number LIMIT 1000", rows::statements::<TestNumber>().select);
    rows::all(connection, &sql, [])
}

/// All prices of the provider's list, at most 2000.
pub fn prices(connection: &Connection) -> Result<Vec<FetchedPrice>> {
    let sql = format!("{} ORDER BY country, channel LIMIT 2000", rows::statements::<FetchedPrice>().select);
    rows::all(connection, &sql, [])
}

/// The entries of lists with one of these keys. The last key is repeated up to a multiple of 16, so that there are few statements.
pub fn entries(connection: &Connection, keys: &[String]) -> Result<Vec<ListEntry>> {
    let places = keys.len().next_multiple_of(16);
    let select = &rows::statements::<ListEntry>().select;
    let sql = format!(r#"{select} WHERE "key" IN ({}?)"#, "?, ".repeat(places.saturating_sub(1)));
    rows::all(connection, &sql, params_from_iter(keys.iter().chain(keys.last().into_iter().cycle()).take(places)))
}

/// Entries of lists with their numbers, the newest first.
pub fn list_entries(
    connection: &Connection,
    side: Option<Side>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<(i64, ListEntry)>> {
    let columns = &rows::statements::<ListEntry>().columns;
    let sql = format!(
        "SELECT {columns}, number FROM list_entries WHERE number < ?1 AND list IN (?2, ?3) ORDER BY number DESC LIMIT ?4"
    );
    let [one, other] = Side::one_or_both(side).map(Side::as_str);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![before.unwrap_or(i64::MAX), one, other, limit])?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        entries.push((row.get("number")?, ListEntry::read(row)?));
    }
    Ok(entries)
}

/// Phones whose usage lasts, in the order of their ids.
pub fn lasting(
    connection: &Connection,
    after: Option<SubjectId>,
    limit: u32,
) -> Result<Vec<(SubjectId, String, Usage)>> {
    let columns = &rows::statements::<SubjectRow>().columns;
    let sql = format!(
        "SELECT {columns} FROM subjects INDEXED BY subjects_lasting \
         WHERE idle_at IS NULL AND id > ?1 AND kind = 'phone' ORDER BY id LIMIT ?2"
    );
    let after = after.map_or([0; 16], |id| id.0);
    let found: Vec<SubjectRow> = rows::all(connection, &sql, params![after, limit])?;
    found.into_iter().map(|row| Ok((row.id, row.masked.clone(), row.usage()?))).collect()
}

/// The access token with this tag; read for every request.
pub fn token(connection: &Connection, tag: [u8; 32]) -> Result<Option<Token>> {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("{} WHERE tag = ?1", rows::statements::<Token>().select));
    Ok(rows::all(connection, &SQL, [tag])?.pop())
}

/// All access tokens, the newest first, at most 1000.
pub fn tokens(connection: &Connection) -> Result<Vec<Token>> {
    let sql = format!("{} ORDER BY id DESC LIMIT 1000", rows::statements::<Token>().select);
    rows::all(connection, &sql, [])
}

/// Alarms that end after this, at most 1000.
pub fn alarms(connection: &Connection, ended_after: Timestamp) -> Result<Vec<Alarm>> {
    let select = &rows::statements::<Alarm>().select;
    let sql = format!("{select} WHERE until > ?1 ORDER BY until DESC, id DESC LIMIT 1000");
    rows::all(connection, &sql, [ended_after.millis()])
}

/// The sums of the hours from one moment up to another.
pub fn sums(connection: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<HourSums>> {
    let found: Vec<SumRow> =
        rows::all(connection, &schema::sums(Dialect::Sqlite), params![from.millis(), to.millis()])?;
    found.into_iter().map(SumRow::sums).collect()
}

/// The ids of the alarms whose delivery is due.
pub fn due_alarms(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
    let sql = "SELECT id FROM alarms WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![now.millis(), limit], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Rows of the audit log, upwards.
pub fn audit(connection: &Connection, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
    let select = &rows::statements::<audit::Row>().select;
    let sql = format!("{select} WHERE chain = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3");
    rows::all(connection, &sql, params![chain, i64::try_from(from).unwrap_or(i64::MAX), limit])
}

/// Rows of the audit log, newest first: all of them, or those whose first subject is the given one.
pub fn audit_back(
    connection: &Connection,
    subject: Option<SubjectId>,
    (chain, before): (u32, u64),
    limit: u32,
) -> Result<Vec<audit::Row>> {
    let select = &rows::statements::<audit::Row>().select;
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let sql = |named: &str| format!("{select} WHERE chain = ?1 AND seq < ?2{named} ORDER BY seq DESC LIMIT ?3");
    match subject {
        Some(id) => rows::all(connection, &sql(" AND subject = ?4"), params![chain, before, limit, id.hex()]),
        None => rows::all(connection, &sql(""), params![chain, before, limit]),
    }
}

/// The sealed head of a chain.
pub fn audit_head(connection: &Connection, chain: u32) -> Result<audit::SealedHead> {
    rows::find(connection, [chain])?.ok_or_else(|| audit::headless(chain))
}

/// The sealed head of each chain: our own, and those imported from a store that has several.
pub fn audit_heads(connection: &Connection) -> Result<Vec<audit::SealedHead>> {
    let sql = format!("{} ORDER BY chain", rows::statements::<audit::SealedHead>().select);
    rows::all(connection, &sql, [])
}

/// The masked forms of subjects that are still known.
pub fn masked(connection: &Connection, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
    let mut statement = connection.prepare_cached("SELECT masked FROM subjects WHERE id = ?1")?;
    ids.iter().map(|id| Ok(statement.query_row([id.0], |row| row.get(0)).optional()?)).collect()
}

/// Which secret keys the live otps need. Only live otps are read, and there are few at a time.
pub fn keys_in_use(connection: &Connection, now: Timestamp, most: u32) -> Result<Vec<(String, u32)>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT key_id, count(*) FROM (SELECT key_id FROM otps WHERE {} LIMIT ?2) GROUP BY key_id ORDER BY key_id",
        schema::is_live("?1")
    ))?;
    let found =
        statement.query_map(params![now.millis(), i64::from(most) * 1000], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Which secret keys the texts of messages are sealed with.
pub fn text_keys(connection: &Connection, most: u32) -> Result<Vec<(String, u32)>> {
    let mut statement = connection.prepare_cached(&schema::text_keys(Dialect::Sqlite))?;
    let found = statement.query_map([i64::from(most) * 1000], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
