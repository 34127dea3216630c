//! Reading the database. Every query has an index and a bound.

use tokio_postgres::types::Type;

use super::rows::{self, Value, bytes, column, int, text};
use super::{Postgres, facts};
use crate::audit;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::Message;
use crate::otp::{Otp, State};
use crate::phone::Phone;
use crate::store::{CLOCK_SLACK, Filter, MORE_MAX, Page, Subject, SubjectFact, SubjectId, TestNumber};
use crate::token::Token;

/// How many rows one page of a filter without an index of its own looks at.
const LOOK_MAX: i64 = 20_000;

/// One page of otps, newest first.
///
/// Phone and user have an index; every other filter walks down the ids, at most [`LOOK_MAX`] of them. What was made when
/// is found by halving, because ids grow with time.
pub async fn list(store: &Postgres, filter: &Filter, now: Timestamp) -> Result<Page> {
    let limit = filter.limit.max(1);
    let mut walk = Walk::over(store, filter, now).await?;
    let mut otps = Vec::new();
    for row in walk.run(store, otp_columns!(), limit).await? {
        otps.push(rows::otp(&row, 0)?);
    }
    let full = otps.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(last) = otps.last().filter(|_| full).map(|otp| otp.id) else {
        let edge = walk.edge(store).await?;
        return Ok(Page { otps, more: 0, cut: edge.is_some(), next: edge });
    };
    walk.before = Some(last);
    let more = u32::try_from(walk.run(store, "id", MORE_MAX).await?.len()).unwrap_or(MORE_MAX);
    Ok(Page { otps, more, cut: false, next: (more > 0).then_some(last) })
}

/// A bounded walk down the ids: what an index can tell inside, the rest of the filter outside.
struct Walk<'a> {
    filter: &'a Filter,
    now: Timestamp,
    before: Option<i64>,
    since_id: Option<i64>,
    until_id: Option<i64>,
}

/// The two halves of a condition, with their values numbered through.
#[derive(Default)]
struct Terms {
    inside: Vec<String>,
    outside: Vec<String>,
    values: Vec<Value>,
}

impl Terms {
    /// The placeholder of one more value.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }
}

impl<'a> Walk<'a> {
    async fn over(store: &Postgres, filter: &'a Filter, now: Timestamp) -> Result<Walk<'a>> {
        let mut walk = Walk { filter, now, before: filter.before, since_id: None, until_id: None };
        // A subject's time never runs back although the clock may: look a little wider, then exactly.
        if let Some(until) = filter.until {
            walk.until_id = Some(first_id_at(store, until + CLOCK_SLACK).await?);
        }
        if let Some(since) = filter.since {
            walk.since_id = Some(first_id_at(store, since - CLOCK_SLACK).await?);
        }
        Ok(walk)
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::default();
        let filter = self.filter;
        if let Some(phone) = &filter.phone {
            let place = terms.value(text(phone.as_str()));
            terms.inside.push(format!("phone_number = {place}"));
        }
        if let Some(user) = &filter.user {
            let place = terms.value(text(user.as_str()));
            let indexed = filter.phone.is_none() && !user.is_empty();
            if indexed {
                terms.inside.push(format!(r#""user" <> '' AND "user" = {place}"#));
            } else {
                terms.outside.push(format!(r#""user" = {place}"#));
            }
        }
        if let Some(purpose) = &filter.purpose {
            let place = terms.value(text(purpose.as_str()));
            terms.outside.push(format!("purpose = {place}"));
        }
        match filter.states.as_slice() {
            [] => {}
            // Few are alive at a time, and the index of the living holds them alone.
            [State::Active] => {
                let now = terms.value(int(self.now.millis()));
                terms.inside.push(format!("state = 'active' AND expires_at > {now}"));
            }
            states => {
                let now = terms.value(int(self.now.millis()));
                let words: Vec<&'static str> = states.iter().map(|state| state.as_str()).collect();
                let words = terms.value((Box::new(words), Type::TEXT_ARRAY));
                // An active otp whose time is over is expired, written or not.
                terms.outside.push(format!(
                    "CASE WHEN state = 'active' AND expires_at <= {now} THEN 'expired' ELSE state END = ANY ({words})"
                ));
            }
        }
        for (term, id) in [("id <", self.before), ("id <", self.until_id), ("id >=", self.since_id)] {
            if let Some(id) = id {
                let place = terms.value(int(id));
                terms.inside.push(format!("{term} {place}"));
            }
        }
        for (term, at) in [("created_at <", filter.until), ("created_at >=", filter.since)] {
            if let Some(at) = at {
                let place = terms.value(int(at.millis()));
                terms.outside.push(format!("{term} {place}"));
            }
        }
        terms
    }

    async fn run(&self, store: &Postgres, columns: &str, limit: u32) -> Result<Vec<tokio_postgres::Row>> {
        let terms = self.terms();
        let sql = format!(
            "SELECT {columns} FROM (SELECT * FROM smsotp.otps{} ORDER BY id DESC LIMIT {LOOK_MAX}) AS looked_at{} ORDER BY id DESC LIMIT {limit}",
            condition(&terms.inside),
            condition(&terms.outside),
        );
        store.query(&sql, terms.values).await
    }

    /// The last id that the walk looked at, if it stopped there although more might follow.
    async fn edge(&self, store: &Postgres) -> Result<Option<i64>> {
        let terms = self.terms();
        if terms.outside.is_empty() {
            return Ok(None);
        }
        // The values of the outer half are named too, or their places would have no type.
        let sql = format!(
            "SELECT id FROM (SELECT * FROM smsotp.otps{} ORDER BY id DESC LIMIT 1 OFFSET {}) AS last WHERE ({}) IS NOT NULL",
            condition(&terms.inside),
            LOOK_MAX - 1,
            terms.outside.join(" AND "),
        );
        store.query(&sql, terms.values).await?.first().map(|row| column(row, 0)).transpose()
    }
}

fn condition(terms: &[String]) -> String {
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}

/// The first id that was made at or after a moment: ids grow with time, so halving finds it.
async fn first_id_at(store: &Postgres, at: Timestamp) -> Result<i64> {
    let last = store.query("SELECT coalesce(max(id), 0) FROM smsotp.otps", Vec::new()).await?;
    let last: i64 = last.first().map_or(Ok(0), |row| column(row, 0))?;
    let (mut low, mut high) = (0i64, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let sql = "SELECT created_at FROM smsotp.otps WHERE id >= $1 ORDER BY id LIMIT 1";
        let made = store.query(sql, vec![int(middle)]).await?;
        match made.first().map(|row| column::<i64>(row, 0)).transpose()? {
            Some(made) if made < at.millis() => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How many messages each of these otps has.
pub async fn message_counts(store: &Postgres, otp_ids: &[i64]) -> Result<Vec<u32>> {
    let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM smsotp.messages WHERE otp_id = asked.id LIMIT 1000) AS found) \
               FROM unnest($1) WITH ORDINALITY AS asked (id, place) ORDER BY place";
    let found = store.query(sql, vec![(Box::new(otp_ids.to_vec()), Type::INT8_ARRAY)]).await?;
    found.iter().map(|row| column::<i64>(row, 0).map(|count| u32::try_from(count).unwrap_or(u32::MAX))).collect()
}

/// The newest otps of a phone, all purposes, newest first.
pub async fn of_phone(store: &Postgres, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
    let sql = concat!("SELECT ", otp_columns!(), " FROM smsotp.otps WHERE phone_number = $1 ORDER BY id DESC LIMIT $2");
    let found = store.query(sql, vec![text(phone.as_str()), int(i64::from(limit))]).await?;
    found.iter().map(|row| rows::otp(row, 0)).collect()
}

/// The messages of an otp, oldest first, the newest 50.
pub async fn messages_of(store: &Postgres, otp_id: i64) -> Result<Vec<Message>> {
    let sql =
        concat!("SELECT ", message_columns!(), " FROM smsotp.messages WHERE otp_id = $1 ORDER BY id DESC LIMIT 50");
    let found = store.query(sql, vec![int(otp_id)]).await?;
    found.iter().rev().map(|row| rows::message(row, 0)).collect()
}

/// The ids the worker has to look at.
pub async fn due(store: &Postgres, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
    let sql = "SELECT id FROM smsotp.messages WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at, id LIMIT $2";
    let found = store.query(sql, vec![int(now.millis()), int(i64::from(limit))]).await?;
    found.iter().map(|row| column(row, 0)).collect()
}

/// The provider ids that are known for a phone, of its newest otps.
pub async fn provider_ids(store: &Postgres, phone: &Phone) -> Result<Vec<String>> {
    let sql = "SELECT m.provider_id FROM (SELECT id FROM smsotp.otps WHERE phone_number = $1 ORDER BY id DESC LIMIT 200) AS o \
               JOIN smsotp.messages AS m ON m.otp_id = o.id WHERE m.provider_id IS NOT NULL LIMIT 400";
    let found = store.query(sql, vec![text(phone.as_str())]).await?;
    found.iter().map(|row| column(row, 0)).collect()
}

/// The usages of subjects; the shards of everything are added up.
pub async fn usages(store: &Postgres, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
    let mut answers = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let tags: Vec<Vec<u8>> = facts::tags(store, subject).iter().map(|tag| tag.to_vec()).collect();
        let sql = "SELECT id, usage FROM smsotp.subjects WHERE tag = ANY ($1) ORDER BY tag";
        let mut whole: Option<SubjectFact> = None;
        for row in store.query(sql, vec![(Box::new(tags), Type::BYTEA_ARRAY)]).await? {
            let usage = rows::usage(column(&row, 1)?)?;
            match &mut whole {
                None => {
                    let id = SubjectId(rows::array(column(&row, 0)?, "id")?);
                    whole = Some(SubjectFact { subject: subject.clone(), id, usage });
                }
                Some(whole) => whole.usage.add_slots(usage),
            }
        }
        answers.push(whole);
    }
    Ok(answers)
}

/// All test numbers, at most 1000.
pub async fn test_numbers(store: &Postgres) -> Result<Vec<TestNumber>> {
    let sql = concat!("SELECT ", test_number_columns!(), " FROM smsotp.test_numbers ORDER BY phone_number LIMIT 1000");
    store.query(sql, Vec::new()).await?.iter().map(|row| rows::test_number(row, 0)).collect()
}

/// The access token with this hash.
pub async fn token(store: &Postgres, hash: [u8; 32]) -> Result<Option<Token>> {
    let sql = concat!("SELECT ", token_columns!(), " FROM smsotp.tokens WHERE hash = $1");
    store.query(sql, vec![bytes(&hash)]).await?.first().map(rows::token).transpose()
}

/// All access tokens, the newest first, at most 1000.
pub async fn tokens(store: &Postgres) -> Result<Vec<Token>> {
    let sql = concat!("SELECT ", token_columns!(), " FROM smsotp.tokens ORDER BY id DESC LIMIT 1000");
    store.query(sql, Vec::new()).await?.iter().map(rows::token).collect()
}

/// Rows of the audit log, newest first, all or those that name a subject first.
pub async fn audit_back(
    store: &Postgres,
    subject: Option<SubjectId>,
    (chain, before): (u32, u64),
    limit: u32,
) -> Result<Vec<audit::Row>> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let mut values = vec![int(i64::from(chain)), int(before), int(i64::from(limit))];
    let sql = match subject {
        Some(id) => {
            values.push(text(id.hex()));
            "SELECT seq, body, mac FROM smsotp.audit WHERE chain = $1::bigint AND seq < $2 \
             AND body::jsonb #>> '{subjects,0}' = $4 ORDER BY seq DESC LIMIT $3"
        }
        None => {
            "SELECT seq, body, mac FROM smsotp.audit WHERE chain = $1::bigint AND seq < $2 ORDER BY seq DESC LIMIT $3"
        }
    };
    store.query(sql, values).await?.iter().map(|row| audit_row(chain, row)).collect()
}

/// Rows of the audit log, upwards.
pub async fn audit(store: &Postgres, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
    let sql = "SELECT seq, body, mac FROM smsotp.audit WHERE chain = $1::bigint AND seq >= $2 ORDER BY seq LIMIT $3";
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let found = store.query(sql, vec![int(i64::from(chain)), int(from), int(i64::from(limit))]).await?;
    found.iter().map(|row| audit_row(chain, row)).collect()
}

fn audit_row(chain: u32, row: &tokio_postgres::Row) -> Result<audit::Row> {
    let seq: i64 = column(row, 0)?;
    Ok(audit::Row {
        chain,
        seq: u64::try_from(seq).unwrap_or(0),
        body: column::<String>(row, 1)?.into_bytes(),
        mac: rows::array(column(row, 2)?, "mac")?,
    })
}

/// The last row of each chain.
pub async fn audit_heads(store: &Postgres) -> Result<Vec<audit::Head>> {
    let sql = "SELECT l.chain, h.seq, h.mac FROM smsotp.audit_chains AS l LEFT JOIN LATERAL \
               (SELECT seq, mac FROM smsotp.audit AS a WHERE a.chain = l.chain ORDER BY seq DESC LIMIT 1) AS h ON true ORDER BY l.chain";
    let found = store.query(sql, Vec::new()).await?;
    found.iter().map(|row| facts::head(column(row, 0)?, row, 1)).collect()
}

/// The masked forms of subjects that are still known.
pub async fn masked(store: &Postgres, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
    let asked: Vec<Vec<u8>> = ids.iter().map(|id| id.0.to_vec()).collect();
    let sql = "SELECT id, masked FROM smsotp.subjects WHERE id = ANY ($1)";
    let found = store.query(sql, vec![(Box::new(asked), Type::BYTEA_ARRAY)]).await?;
    let mut answers = vec![None; ids.len()];
    for row in &found {
        let id: &[u8] = column(row, 0)?;
        for (place, _) in ids.iter().enumerate().filter(|(_, asked)| asked.0 == id) {
            answers[place] = Some(column(row, 1)?);
        }
    }
    Ok(answers)
}

/// Which keys the living otps need. Only the living are read, and there are few of them at a time.
pub async fn keys_in_use(store: &Postgres, now: Timestamp) -> Result<Vec<(String, u32)>> {
    let sql = "SELECT key_id, count(*) FROM (SELECT key_id FROM smsotp.otps WHERE state = 'active' AND expires_at > $1 LIMIT $2) AS living \
               GROUP BY key_id ORDER BY key_id";
    let found = store.query(sql, vec![int(now.millis()), int(i64::from(MORE_MAX) * 1000)]).await?;
    let count =
        |row: &tokio_postgres::Row| Ok((column(row, 0)?, u32::try_from(column::<i64>(row, 1)?).unwrap_or(MORE_MAX)));
    found.iter().map(count).collect()
}
