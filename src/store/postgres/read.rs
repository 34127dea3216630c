//! Reads the database. Every query has an index and a bound.

use tokio_postgres::types::Type;

use super::Postgres;
use super::rows::{self, Param, Statement, bytes, int, text};
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
use crate::store::value::{Reader, Stored};
use crate::store::walk::{Query, Walk, Walked};
use crate::store::{Filter, MORE_MAX, Page, Subject, SubjectFact, SubjectId, TestNumber};
use crate::sums::HourSums;
use crate::token::Token;
use crate::usage::Usage;

/// The records that a condition, order and limit select.
async fn select<R: Record>(store: &Postgres, rest: &str, params: Vec<Param>) -> Result<Vec<R>> {
    let sql = format!("{} {rest}", rows::statements::<R>().select);
    rows::all(&store.query(&Statement::new(sql, params)).await?)
}

/// The values of a query with one column.
async fn values<T: Stored>(store: &Postgres, sql: &str, params: Vec<Param>) -> Result<Vec<T>> {
    let found = store.query(&Statement::new(sql.to_owned(), params)).await?;
    found.iter().map(|row| Reader::new(row).next(sql)).collect()
}

/// One page of otps or messages, newest first.
pub async fn list<R: Walked>(store: &Postgres, filter: &Filter, now: Timestamp) -> Result<Page<R>> {
    let mut walk = Walk::<R>::new(Dialect::Postgres, filter, now);
    if let Some(since) = walk.since() {
        walk.since_id = Some(first_id_at::<R>(store, since).await?);
    }
    if let Some(until) = walk.until() {
        walk.until_id = Some(first_id_at::<R>(store, until).await?);
    }
    let limit = filter.limit.max(1);
    let page = statement(walk.page(&rows::statements::<R>().columns, limit));
    let found: Vec<R> = rows::all(&store.query(&page).await?)?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(last) = found.last().filter(|_| full).map(R::id) else {
        let edge = match walk.edge() {
            Some(edge) => rows::scalar(&store.query(&statement(edge)).await?)?,
            None => None,
        };
        return Ok(Page { rows: found, more: 0, cut: edge.is_some(), next: edge });
    };
    walk.before = Some(last);
    let more = rows::scalar(&store.query(&statement(walk.count(MORE_MAX))).await?)?.unwrap_or(0);
    Ok(Page { rows: found, more, cut: false, next: (more > 0).then_some(last) })
}

fn statement((sql, values): Query<'_>) -> Statement {
    Statement::new(sql, values.into_iter().map(rows::value).collect())
}

/// The first id that was created at or after a time: ids grow with time, so a binary search finds it.
async fn first_id_at<R: Walked>(store: &Postgres, at: Timestamp) -> Result<i64> {
    let last: Vec<i64> = values(store, &Walk::<R>::last_id(Dialect::Postgres), Vec::new()).await?;
    let sql = Walk::<R>::made_from(Dialect::Postgres);
    let (mut low, mut high) = (0i64, last.first().unwrap_or(&0) + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match values::<Timestamp>(store, &sql, vec![int(middle)]).await?.first() {
            Some(made) if *made < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How many messages each of these otps has, and how far its newest one got.
pub async fn message_counts(store: &Postgres, otp_ids: &[i64]) -> Result<Vec<(u32, Option<message::State>)>> {
    let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM smsotp.messages WHERE otp_id = asked.id LIMIT 1000) AS found), \
               (SELECT state FROM smsotp.messages WHERE otp_id = asked.id ORDER BY id DESC LIMIT 1) \
               FROM unnest($1) WITH ORDINALITY AS asked (id, place) ORDER BY place";
    let ids = (Box::new(otp_ids.to_vec()) as _, Type::INT8_ARRAY);
    let found = store.query(&Statement::new(sql.to_owned(), vec![ids])).await?;
    let count = |row: &tokio_postgres::Row| {
        let mut cells = Reader::new(row);
        Ok((cells.next("count")?, cells.next("state")?))
    };
    found.iter().map(count).collect()
}

/// The newest otps of a phone, all purposes, newest first.
pub async fn of_phone(store: &Postgres, phone: &Phone, limit: u32) -> Result<Vec<Otp>> {
    let of = vec![text(phone.as_str()), int(limit)];
    select(store, "WHERE phone_number = $1 ORDER BY id DESC LIMIT $2", of).await
}

/// The newest 50 messages of an otp, oldest first.
pub async fn messages_of(store: &Postgres, otp_id: i64) -> Result<Vec<Message>> {
    let mut messages = select(store, "WHERE otp_id = $1 ORDER BY id DESC LIMIT 50", vec![int(otp_id)]).await?;
    messages.reverse();
    Ok(messages)
}

/// The ids of the messages that are due.
pub async fn due(store: &Postgres, now: Timestamp, early: bool, limit: u32) -> Result<Vec<i64>> {
    let when = if early { format!("(due_at <= $1 OR {})", schema::is_on_its_way()) } else { "due_at <= $1".to_owned() };
    let sql =
        format!("SELECT id FROM smsotp.messages WHERE due_at IS NOT NULL AND {when} ORDER BY due_at, id LIMIT $2");
    values(store, &sql, vec![int(now.millis()), int(limit)]).await
}

/// Messages that wait for an attempt although their otp is over.
pub async fn left_waiting(store: &Postgres, over: Timestamp, after: i64, limit: u32) -> Result<Vec<i64>> {
    let sql = schema::left_waiting(Dialect::Postgres);
    values(store, &sql, vec![int(over.millis()), int(after), int(limit)]).await
}

/// The provider's ids of the newest messages to a phone.
pub async fn provider_ids(store: &Postgres, phone: &Phone) -> Result<Vec<String>> {
    values(store, &schema::provider_ids(Dialect::Postgres), vec![text(phone.as_str())]).await
}

/// The usage of subjects.
pub async fn usages(store: &Postgres, subjects: &[Subject]) -> Result<Vec<Option<SubjectFact>>> {
    let mut answers = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let found: Option<SubjectRow> =
            rows::first(&store.query(&rows::find::<SubjectRow>(bytes(&store.tag(subject)))).await?)?;
        answers.push(found.map(|row| row.fact(subject)).transpose()?);
    }
    Ok(answers)
}

/// All test numbers, at most 1000.
pub async fn test_numbers(store: &Postgres) -> Result<Vec<TestNumber>> {
    select(store, "ORDER BY phone_number LIMIT 1000", Vec::new()).await
}

/// All prices of the provider's list, at most 2000.
pub async fn prices(store: &Postgres) -> Result<Vec<FetchedPrice>> {
    select(store, "ORDER BY country, channel LIMIT 2000", Vec::new()).await
}

/// Entries of lists with their numbers, the newest first.
pub async fn list_entries(
    store: &Postgres,
    side: Option<Side>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<(i64, ListEntry)>> {
    let columns = &rows::statements::<ListEntry>().columns;
    let sql = format!(
        "SELECT {columns}, number FROM smsotp.list_entries WHERE number < $1 AND list IN ($2, $3) ORDER BY number DESC LIMIT $4"
    );
    let [one, other] = Side::one_or_both(side).map(|side| text(side.as_str()));
    let found =
        store.query(&Statement::new(sql, vec![int(before.unwrap_or(i64::MAX)), one, other, int(limit)])).await?;
    found.iter().map(|row| Ok((rows::column(row, ListEntry::table().columns.len())?, ListEntry::read(row)?))).collect()
}

/// Phones whose usage lasts, in the order of their ids.
pub async fn lasting(
    store: &Postgres,
    after: Option<SubjectId>,
    limit: u32,
) -> Result<Vec<(SubjectId, String, Usage)>> {
    let after = bytes(&after.map_or([0; 16], |id| id.0));
    let rest = "WHERE idle_at IS NULL AND id > $1 AND kind = 'phone' ORDER BY id LIMIT $2";
    let found: Vec<SubjectRow> = select(store, rest, vec![after, int(limit)]).await?;
    found.into_iter().map(|row| Ok((row.id, row.masked.clone(), row.usage()?))).collect()
}

/// The access token with this tag.
pub async fn token(store: &Postgres, tag: [u8; 32]) -> Result<Option<Token>> {
    Ok(select(store, "WHERE tag = $1", vec![bytes(&tag)]).await?.pop())
}

/// All access tokens, the newest first, at most 1000.
pub async fn tokens(store: &Postgres) -> Result<Vec<Token>> {
    select(store, "ORDER BY id DESC LIMIT 1000", Vec::new()).await
}

/// Alarms that end after this, at most 1000.
pub async fn alarms(store: &Postgres, ended_after: Timestamp) -> Result<Vec<Alarm>> {
    let condition = "WHERE until > $1 ORDER BY until DESC, id DESC LIMIT 1000";
    select(store, condition, vec![int(ended_after.millis())]).await
}

/// The sums of the hours from one moment up to another.
pub async fn sums(store: &Postgres, from: Timestamp, to: Timestamp) -> Result<Vec<HourSums>> {
    let found = store
        .query(&Statement::new(schema::sums(Dialect::Postgres), vec![int(from.millis()), int(to.millis())]))
        .await?;
    rows::all::<SumRow>(&found)?.into_iter().map(SumRow::sums).collect()
}

/// The ids of the alarms whose delivery is due.
pub async fn due_alarms(store: &Postgres, now: Timestamp, limit: u32) -> Result<Vec<i64>> {
    let sql = "SELECT id FROM smsotp.alarms WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2";
    let found = store.query(&Statement::new(sql, vec![int(now.millis()), int(limit)])).await?;
    found.iter().map(|row| Reader::new(row).next("alarms.id")).collect()
}

/// Rows of the audit log, newest first: all of them, or those whose first subject is the given one.
pub async fn audit_back(
    store: &Postgres,
    subject: Option<SubjectId>,
    (chain, before): (u32, u64),
    limit: u32,
) -> Result<Vec<audit::Row>> {
    let mut params = vec![int(chain), rows::value(before.to_value()), int(limit)];
    let named = match subject {
        Some(id) => {
            params.push(text(id.hex()));
            " AND body::jsonb #>> '{subjects,0}' = $4"
        }
        None => "",
    };
    select(store, &format!("WHERE chain = $1 AND seq < $2{named} ORDER BY seq DESC LIMIT $3"), params).await
}

/// Rows of the audit log, upwards.
pub async fn audit(store: &Postgres, chain: u32, from: u64, limit: u32) -> Result<Vec<audit::Row>> {
    let params = vec![int(chain), rows::value(from.to_value()), int(limit)];
    select(store, "WHERE chain = $1 AND seq >= $2 ORDER BY seq LIMIT $3", params).await
}

/// The sealed head of each chain.
pub async fn audit_heads(store: &Postgres) -> Result<Vec<audit::SealedHead>> {
    select(store, "ORDER BY chain", Vec::new()).await
}

/// The masked forms of subjects that are still known.
pub async fn masked(store: &Postgres, ids: &[SubjectId]) -> Result<Vec<Option<String>>> {
    let asked: Vec<Vec<u8>> = ids.iter().map(|id| id.0.to_vec()).collect();
    let found: Vec<SubjectRow> =
        select(store, "WHERE id = ANY ($1)", vec![(Box::new(asked), Type::BYTEA_ARRAY)]).await?;
    let masked = |id: &SubjectId| found.iter().find(|row| row.id == *id).map(|row| row.masked.clone());
    Ok(ids.iter().map(masked).collect())
}

/// Which secret keys the live otps need. Only live otps are read, and there are few at a time.
pub async fn keys_in_use(store: &Postgres, now: Timestamp) -> Result<Vec<(String, u32)>> {
    let sql = format!(
        "SELECT key_id, count(*) FROM (SELECT key_id FROM smsotp.otps WHERE {} LIMIT $2) AS live GROUP BY key_id ORDER BY key_id",
        schema::is_live("$1")
    );
    key_counts(store, &sql, vec![int(now.millis()), int(i64::from(MORE_MAX) * 1000)]).await
}

/// Which secret keys the texts of messages are sealed with.
pub async fn text_keys(store: &Postgres) -> Result<Vec<(String, u32)>> {
    key_counts(store, &schema::text_keys(Dialect::Postgres), vec![int(i64::from(MORE_MAX) * 1000)]).await
}

async fn key_counts(store: &Postgres, sql: &str, params: Vec<Param>) -> Result<Vec<(String, u32)>> {
    let found = store.query(&Statement::new(sql.to_owned(), params)).await?;
    let counts = found.iter().map(|row| {
        let mut row = Reader::new(row);
        Ok((row.next("key_id")?, row.next("count")?))
    });
    counts.collect()
}
