//! Taking away what is finished, in short batches that wait for nobody: a row that an operation holds is left for the next run.
//!
//! What a batch leaves behind are dead rows in pages that autovacuum gives back to the same tables (its thresholds are set
//! with the tables), so that database that are purged as fast as they grow stop growing.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::Postgres;
use super::open::{Done, House, Work, house};
use super::rows::{column, int};
use super::trouble::{Failure, before_commit};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{PurgeBatch, PurgeCursor, Purged, Read};

/// How many of the small tables' rows one batch takes.
const SMALL: i64 = 500;

/// The next otps that are over, in the order of the index. Those that an operation holds are passed over, and so is one with a
/// message whose outcome is open.
const CANDIDATES: &str = "SELECT id, over_at, EXISTS (SELECT 1 FROM smsotp.messages AS m WHERE m.otp_id = o.id \
        AND m.state IN ('scheduled', 'queued', 'sending', 'unknown')) AS open \
    FROM smsotp.otps AS o WHERE (over_at, id) > ($1, $2) AND over_at <= $3 ORDER BY over_at, id LIMIT $4";

const TAKE_OTPS: &str = "WITH free AS (SELECT id FROM smsotp.otps WHERE id = ANY ($1) AND over_at <= $2 ORDER BY id FOR UPDATE SKIP LOCKED), \
    said AS (DELETE FROM smsotp.messages WHERE otp_id IN (SELECT id FROM free) RETURNING 1), \
    gone AS (DELETE FROM smsotp.otps WHERE id IN (SELECT id FROM free) RETURNING 1) \
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM said)";

const TAKE_SUBJECTS: &str = "WITH free AS (SELECT tag FROM smsotp.subjects WHERE idle_at <= $1 ORDER BY idle_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
    DELETE FROM smsotp.subjects WHERE tag IN (SELECT tag FROM free)";

const TAKE_REPLIES: &str = "WITH free AS (SELECT tag FROM smsotp.replies WHERE created_at <= $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
    DELETE FROM smsotp.replies WHERE tag IN (SELECT tag FROM free)";

const TAKE_TEST_NUMBERS: &str = "WITH free AS (SELECT phone_number FROM smsotp.test_numbers WHERE until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) \
    DELETE FROM smsotp.test_numbers WHERE phone_number IN (SELECT phone_number FROM free)";

const COUNT_SMALL: &str = "SELECT (SELECT count(*) FROM smsotp.subjects WHERE idle_at <= $1), \
    (SELECT count(*) FROM smsotp.replies WHERE created_at <= $2), \
    (SELECT count(*) FROM smsotp.test_numbers WHERE until <= $1)";

/// Takes one batch; see [`crate::store::Store::purge`].
pub async fn run(store: &Postgres, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    if batch.dry_run {
        return count(store, batch).await;
    }
    house(store, &Purge(batch)).await
}

struct Purge<'a>(&'a PurgeBatch);

#[async_trait]
impl Work for Purge<'_> {
    type Answer = (Purged, Option<PurgeCursor>);

    async fn run(&self, house: &House) -> Result<Done<Self::Answer>, Failure> {
        let batch = self.0;
        let (mut purged, cursor) =
            if batch.cursor.otps_done { (Purged::default(), None) } else { take_otps(house, batch).await? };
        let next = match cursor {
            Some(cursor) => Some(cursor),
            None => {
                let more = take_small(house, batch, &mut purged).await?;
                more.then_some(PurgeCursor { otps_done: true, ..batch.cursor })
            }
        };
        let event = (purged.total() > 0).then(|| event(house.now, batch, &purged));
        Ok(Done { answer: (purged, next), statements: Vec::new(), event })
    }
}

async fn take_otps(house: &House, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>), Failure> {
    let client = house.session.client();
    let (over_at, id) = batch.cursor.otps;
    let found = client
        .query_typed(
            CANDIDATES,
            &[
                (&over_at, Type::INT8),
                (&id, Type::INT8),
                (&batch.cutoff.millis(), Type::INT8),
                (&i64::from(batch.limit), Type::INT8),
            ],
        )
        .await
        .map_err(before_commit)?;
    let Some(last) = found.last() else { return Ok((Purged::default(), None)) };
    let cursor = PurgeCursor { otps: (column(last, 1)?, column(last, 0)?), ..batch.cursor };
    let mut closed: Vec<i64> = Vec::with_capacity(found.len());
    for row in &found {
        if !column::<bool>(row, 2)? {
            closed.push(column(row, 0)?);
        }
    }
    let taken = client
        .query_typed_one(TAKE_OTPS, &[(&closed, Type::INT8_ARRAY), (&batch.cutoff.millis(), Type::INT8)])
        .await
        .map_err(before_commit)?;
    let count = |at: usize| column::<i64>(&taken, at).map(|n| u64::try_from(n).unwrap_or(0));
    Ok((Purged { otps: count(0)?, messages: count(1)?, ..Purged::default() }, Some(cursor)))
}

/// Idle subjects, old answers to idempotency keys, test numbers whose time is over. True while there is more.
async fn take_small(house: &House, batch: &PurgeBatch, purged: &mut Purged) -> Result<bool, Failure> {
    let now = house.now.millis();
    let old = old_replies(batch, now);
    let client = house.session.client();
    let mut taken = [0; 3];
    for (place, (sql, before)) in
        [(TAKE_SUBJECTS, now), (TAKE_REPLIES, old), (TAKE_TEST_NUMBERS, now)].into_iter().enumerate()
    {
        taken[place] =
            client.execute_typed(sql, &[(&before, Type::INT8), (&SMALL, Type::INT8)]).await.map_err(before_commit)?;
    }
    purged.subjects += taken[0];
    purged.replies += taken[1];
    purged.test_numbers += taken[2];
    let full = u64::try_from(SMALL).unwrap_or(0);
    Ok(taken.contains(&full))
}

/// Kept for 24 hours whatever is asked: an answer given twice would be a message sent twice.
fn old_replies(batch: &PurgeBatch, now: i64) -> i64 {
    now.min(batch.cutoff.millis()).min(now - 24 * 3_600_000)
}

/// What would be taken of the small tables.
async fn count_small(store: &Postgres, batch: &PurgeBatch) -> Result<Purged> {
    let now = Read::now(store).await?.millis();
    let found = store.query(COUNT_SMALL, vec![int(now), int(old_replies(batch, now))]).await?;
    let count = |at: usize| match found.first() {
        Some(row) => column::<i64>(row, at).map(|n| u64::try_from(n).unwrap_or(0)),
        None => Ok(0),
    };
    Ok(Purged { subjects: count(0)?, replies: count(1)?, test_numbers: count(2)?, ..Purged::default() })
}

fn event(now: Timestamp, batch: &PurgeBatch, purged: &Purged) -> Event {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let details = Details::new()
        .number("otps", number(purged.otps))
        .number("messages", number(purged.messages))
        .number("subjects", number(purged.subjects))
        .number("replies", number(purged.replies))
        .number("test_numbers", number(purged.test_numbers))
        .number("finished_before", batch.cutoff.millis());
    Event::new(now, batch.actor.clone(), "purge", "done").details(details)
}

/// What a batch would take.
async fn count(store: &Postgres, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    let (over_at, id) = batch.cursor.otps;
    let values = vec![int(over_at), int(id), int(batch.cutoff.millis()), int(i64::from(batch.limit))];
    let found = store.query(CANDIDATES, values).await?;
    let Some(last) = found.last() else { return Ok((count_small(store, batch).await?, None)) };
    let next = PurgeCursor { otps: (column(last, 1)?, column(last, 0)?), ..batch.cursor };
    let mut closed: Vec<i64> = Vec::with_capacity(found.len());
    for row in &found {
        if !column::<bool>(row, 2)? {
            closed.push(column(row, 0)?);
        }
    }
    let otps = u64::try_from(closed.len()).unwrap_or(0);
    let sql = "SELECT count(*) FROM smsotp.messages WHERE otp_id = ANY ($1)";
    let found = store.query(sql, vec![(Box::new(closed), Type::INT8_ARRAY)]).await?;
    let messages = found.first().map_or(Ok(0), |row| column::<i64>(row, 0))?;
    Ok((Purged { otps, messages: u64::try_from(messages).unwrap_or(0), ..Purged::default() }, Some(next)))
}
