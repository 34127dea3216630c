//! Reading the database. Every query has an index and a bound.

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{rows, trouble};
use crate::audit;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::otp::{Otp, State};
use crate::phone::Phone;
use crate::store::{CLOCK_SLACK, Filter, MORE_MAX, Page, SubjectId, TestNumber};
use crate::token::Token;

/// How many rows one page of a filter without an index of its own looks at.
const LOOK_MAX: i64 = 20_000;

/// One page of otps, newest first.
///
/// Phone and user have an index; every other filter walks down the ids, at most [`LOOK_MAX`] of them. What was made when
/// is found by halving, because ids grow with time.
pub fn list(connection: &Connection, filter: &Filter, now: Timestamp) -> Result<Page> {
    // One look at the database for all of the page: its rows and what is counted belong together.
    let connection = &*connection.unchecked_transaction().map_err(trouble)?;
    let limit = filter.limit.max(1);
    let mut walk = Walk::over(connection, filter, now)?;
    let otps: Vec<Otp> =
        walk.run(connection, otp_columns!(), limit, |found| found.mapped(rows::otp).collect::<rusqlite::Result<_>>())?;
    let full = otps.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(last) = otps.last().filter(|_| full).map(|otp| otp.id) else {
        let edge = walk.edge(connection)?;
        return Ok(Page { otps, more: 0, cut: edge.is_some(), next: edge });
    };
    walk.before(last);
    let more = walk.count(connection, MORE_MAX)?;
    Ok(Page { otps, more, cut: false, next: (more > 0).then_some(last) })
}

/// A bounded walk down the ids: what an index can tell inside, the rest of the filter outside.
struct Walk {
    from: &'static str,
    inside: Vec<&'static str>,
    outside: Vec<&'static str>,
    values: Vec<(&'static str, Box<dyn ToSql>)>,
}

impl Walk {
    fn over(connection: &Connection, filter: &Filter, now: Timestamp) -> Result<Walk> {
        let mut walk = Walk { from: "otps", inside: Vec::new(), outside: Vec::new(), values: Vec::new() };
        if let Some(phone) = &filter.phone {
            walk.from = "otps INDEXED BY otps_phone";
            walk.inside("phone_number = :phone", ":phone", phone.as_str().to_owned());
        } else if filter.user.as_ref().is_some_and(|user| !user.is_empty()) {
            walk.from = "otps INDEXED BY otps_user";
            walk.inside.push(r#""user" <> ''"#);
        }
        if let Some(user) = &filter.user {
            let place = if walk.from.ends_with("otps_user") { &mut walk.inside } else { &mut walk.outside };
            place.push(r#""user" = :user"#);
            walk.values.push((":user", Box::new(user.as_str().to_owned())));
        }
        if let Some(purpose) = &filter.purpose {
            walk.outside("purpose = :purpose", ":purpose", purpose.as_str().to_owned());
        }
        match filter.states.as_slice() {
            [] => {}
            // Few are alive at a time, and the index of the living holds them alone. It has to be named: a walk down the ids
            // looks cheaper to SQLite, and looks at every row there is when few are alive.
            [State::Active] => {
                walk.from = "otps INDEXED BY otps_live";
                walk.inside("state = 'active' AND expires_at > :now", ":now", now.millis());
            }
            states => {
                let words = states.iter().map(|state| format!(",{},", state.as_str())).collect::<String>();
                // An active otp whose time is over is expired, written or not.
                walk.outside(
                    "instr(:states, ',' || iif(state = 'active' AND expires_at <= :now, 'expired', state) || ',') > 0",
                    ":now",
                    now.millis(),
                );
                walk.values.push((":states", Box::new(words)));
            }
        }
        if let Some(before) = filter.before {
            walk.before(before);
        }
        // A subject's time never runs back although the clock may: look a little wider, then exactly.
        if let Some(until) = filter.until {
            walk.inside("id < :until_id", ":until_id", first_id_at(connection, until + CLOCK_SLACK)?);
            walk.outside("created_at < :older", ":older", until.millis());
        }
        if let Some(since) = filter.since {
            walk.inside("id >= :since_id", ":since_id", first_id_at(connection, since - CLOCK_SLACK)?);
            walk.outside("created_at >= :newer", ":newer", since.millis());
        }
        Ok(walk)
    }

    fn inside(&mut self, term: &'static str, name: &'static str, value: impl ToSql + 'static) {
        self.inside.push(term);
        self.values.push((name, Box::new(value)));
    }

    fn outside(&mut self, term: &'static str, name: &'static str, value: impl ToSql + 'static) {
        self.outside.push(term);
        self.values.push((name, Box::new(value)));
    }

    fn before(&mut self, id: i64) {
        match self.values.iter_mut().find(|(name, _)| *name == ":before") {
            Some((_, value)) => *value = Box::new(id),
            None => self.inside("id < :before", ":before", id),
        }
    }

    /// Runs the walk. The inner limit bounds what is looked at; SQLite stops it as soon as the outer one is reached.
    fn run<A>(
        &self,
        connection: &Connection,
        columns: &str,
        limit: u32,
        read: impl FnOnce(rusqlite::Rows<'_>) -> rusqlite::Result<A>,
    ) -> Result<A> {
        let sql = self.sql(columns, limit);
        let mut statement = connection.prepare_cached(&sql).map_err(trouble)?;
        statement.query(self.named().as_slice()).and_then(read).map_err(trouble)
    }

    /// How many rows the walk finds, counted up to `limit`.
    fn count(&self, connection: &Connection, limit: u32) -> Result<u32> {
        let sql = format!("SELECT count(*) FROM ({})", self.sql("1", limit));
        let mut statement = connection.prepare_cached(&sql).map_err(trouble)?;
        statement.query_row(self.named().as_slice(), |row| row.get(0)).map_err(trouble)
    }

    fn sql(&self, columns: &str, limit: u32) -> String {
        let (from, inside) = (self.from, condition(&self.inside));
        if self.outside.is_empty() {
            // Every row that is looked at is one that is found.
            return format!("SELECT {columns} FROM {from}{inside} ORDER BY id DESC LIMIT {limit}");
        }
        let outside = condition(&self.outside);
        format!(
            "SELECT {columns} FROM (SELECT * FROM {from}{inside} ORDER BY id DESC LIMIT {LOOK_MAX}){outside} LIMIT {limit}"
        )
    }

    /// The last id that the walk looked at, if it stopped there although more might follow.
    fn edge(&self, connection: &Connection) -> Result<Option<i64>> {
        if self.outside.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT id FROM {}{} ORDER BY id DESC LIMIT 1 OFFSET {}",
            self.from,
            condition(&self.inside),
            LOOK_MAX - 1
        );
        let mut statement = connection.prepare_cached(&sql).map_err(trouble)?;
        let named: Vec<_> = self.named().into_iter().filter(|(name, _)| sql.contains(name)).collect();
        statement.query_row(named.as_slice(), |row| row.get(0)).optional().map_err(trouble)
    }

    fn named(&self) -> Vec<(&str, &dyn ToSql)> {
        self.values.iter().map(|(name, value)| (*name, value.as_ref())).collect()
    }
}

fn condition(terms: &[&str]) -> String {
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}

/// The first id that was made at or after a moment: ids grow with time, so halving finds it.
fn first_id_at(connection: &Connection, at: Timestamp) -> Result<i64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM otps")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(trouble)?;
    let mut statement =
        connection.prepare_cached("SELECT created_at FROM otps WHERE id >= ?1 ORDER BY id LIMIT 1").map_err(trouble)?;
    let (mut low, mut high) = (0i64, last.unwrap_or(0) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let made: Option<i64> = statement.query_row([middle], |row| row.get(0)).optional().map_err(trouble)?;
        match made {
            Some(made) if made < at.millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How many messages each of these otps has.
pub fn message_counts(connection: &Connection, otp_ids: &[i64]) -> Result<Vec<u32>> {
    let connection = connection.unchecked_transaction().map_err(trouble)?;
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM messages WHERE otp_id = ?1 LIMIT 1000)")
        .map_err(trouble)?;
    otp_ids.iter().map(|id| statement.query_row([id], |row| row.get(0)).map_err(trouble)).collect()
}

/// The newest otps of a phone, all purposes, newest first.
pub fn of_phone(connection: &Connection, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
    let sql = concat!("SELECT ", otp_columns!(), " FROM otps WHERE phone_number = ?1 ORDER BY id DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(sql).map_err(trouble)?;
    let found = statement.query_map(params![phone.as_str(), limit], rows::otp).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// The ids the worker has to look at.
pub fn due(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id FROM messages WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2",
        )
        .map_err(trouble)?;
    let found = statement.query_map(params![now.millis(), limit], |row| row.get(0)).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// The provider ids that are known for a phone, of its newest otps.
pub fn provider_ids(connection: &Connection, phone: &Phone) -> Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT m.provider_id FROM (SELECT id FROM otps WHERE phone_number = ?1 ORDER BY id DESC LIMIT 200) AS o
             JOIN messages AS m ON m.otp_id = o.id WHERE m.provider_id IS NOT NULL LIMIT 400",
        )
        .map_err(trouble)?;
    let found = statement.query_map([phone.as_str()], |row| row.get(0)).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// All test numbers, at most 1000.
pub fn test_numbers(connection: &Connection) -> Result<Vec<TestNumber>> {
    let sql = concat!("SELECT ", test_number_columns!(), " FROM test_numbers ORDER BY phone_number LIMIT 1000");
    let mut statement = connection.prepare_cached(sql).map_err(trouble)?;
    let found = statement.query_map([], rows::test_number).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// The access token with this hash.
pub fn token(connection: &Connection, hash: [u8; 32]) -> Result<Option<Token>> {
    connection
        .prepare_cached(concat!("SELECT ", token_columns!(), " FROM tokens WHERE hash = ?1"))
        .and_then(|mut statement| statement.query_row([hash], rows::token).optional())
        .map_err(trouble)
}

/// The access token with this id.
pub fn token_by_id(connection: &Connection, id: i64) -> Result<Option<Token>> {
    connection
        .prepare_cached(concat!("SELECT ", token_columns!(), " FROM tokens WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([id], rows::token).optional())
        .map_err(trouble)
}

/// All access tokens, the newest first, at most 1000.
pub fn tokens(connection: &Connection) -> Result<Vec<Token>> {
    let sql = concat!("SELECT ", token_columns!(), " FROM tokens ORDER BY id DESC LIMIT 1000");
    let mut statement = connection.prepare_cached(sql).map_err(trouble)?;
    let found = statement.query_map([], rows::token).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// Rows of the audit log, upwards.
pub fn audit(connection: &Connection, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
    let mut statement = connection
        .prepare_cached("SELECT chain, seq, body, mac FROM audit WHERE chain = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3")
        .map_err(trouble)?;
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let found = statement.query_map(params![chain, from, limit], audit_row).map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// Rows of the audit log, newest first, all or those that name a subject first.
pub fn audit_back(
    connection: &Connection,
    subject: Option<SubjectId>,
    (chain, before): (u32, u64),
    limit: u32,
) -> Result<Vec<audit::Row>> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let sql = match subject {
        Some(_) => {
            "SELECT chain, seq, body, mac FROM audit WHERE chain = ?1 AND seq < ?2 AND subject = ?4 ORDER BY seq DESC LIMIT ?3"
        }
        None => "SELECT chain, seq, body, mac FROM audit WHERE chain = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    };
    let mut statement = connection.prepare_cached(sql).map_err(trouble)?;
    let found = match subject {
        Some(id) => statement.query_map(params![chain, before, limit, id.hex()], audit_row),
        None => statement.query_map(params![chain, before, limit], audit_row),
    };
    found.map_err(trouble)?.collect::<rusqlite::Result<_>>().map_err(trouble)
}

fn audit_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<audit::Row> {
    let seq: i64 = row.get(1)?;
    Ok(audit::Row { chain: row.get(0)?, seq: u64::try_from(seq).unwrap_or(0), body: row.get(2)?, mac: row.get(3)? })
}

/// The last row of a chain.
pub fn audit_head(connection: &Connection, chain: u32) -> Result<audit::Head> {
    let head = connection
        .prepare_cached("SELECT seq, mac FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1")
        .and_then(|mut statement| {
            statement.query_row([chain], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?))).optional()
        })
        .map_err(trouble)?;
    Ok(head.map_or(audit::Head::empty(chain), |(seq, mac)| audit::Head {
        chain,
        seq: u64::try_from(seq).unwrap_or(0),
        mac,
    }))
}

/// The last row of each chain: chain 0, and those that came from a store with several.
pub fn audit_heads(connection: &Connection) -> Result<Vec<audit::Head>> {
    let mut heads = vec![audit_head(connection, 0)?];
    let mut next = connection.prepare_cached("SELECT min(chain) FROM audit WHERE chain > ?1").map_err(trouble)?;
    let mut chain = 0;
    while let Some(further) = next.query_row([chain], |row| row.get::<_, Option<u32>>(0)).map_err(trouble)? {
        heads.push(audit_head(connection, further)?);
        chain = further;
    }
    Ok(heads)
}

/// The masked forms of subjects that are still known.
pub fn masked(connection: &Connection, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
    let mut statement = connection.prepare_cached("SELECT masked FROM subjects WHERE id = ?1").map_err(trouble)?;
    ids.iter().map(|id| statement.query_row([id.0], |row| row.get(0)).optional().map_err(trouble)).collect()
}

/// Which keys the living otps need. Only the living are read, and there are few of them at a time.
pub fn keys_in_use(connection: &Connection, now: Timestamp, most: u32) -> Result<Vec<(String, u32)>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT key_id, count(*) FROM (SELECT key_id FROM otps WHERE state = 'active' AND expires_at > ?1 LIMIT ?2)
             GROUP BY key_id ORDER BY key_id",
        )
        .map_err(trouble)?;
    let found = statement
        .query_map(params![now.millis(), i64::from(most) * 1000], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}
