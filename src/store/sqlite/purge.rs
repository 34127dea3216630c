//! Taking away what is finished, in steps so short that other writers hardly notice.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, params};

use super::{Sqlite, trouble};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{PurgeBatch, PurgeCursor, Purged};

/// How many otps are taken between two looks at the clock and at who waits.
const CHUNK: u32 = 16;

/// The same where nobody is looked after: what is kept in memory at a time.
const CHUNK_EXCLUSIVE: u32 = 1_000;

/// The page cache of an exclusive purge, in KiB: a page of an index that is changed often is written once and not often.
const CACHE_EXCLUSIVE: i32 = 12 * 1024;

/// So long a batch goes on although somebody waits: or a purge beside a busy writer would pay a commit for every few rows.
const HOLD: Duration = Duration::from_millis(1);

/// So long a batch goes on at most: its commit takes about as long again.
const HOLD_MAX: Duration = Duration::from_millis(20);

/// How many rows of each of the small tables are taken between two looks, and how often in one batch.
const SMALL: i64 = 100;
const SMALL_ROUNDS: usize = 100;

/// Takes one batch; see [`crate::store::Store::purge`].
pub fn run(sqlite: &Sqlite, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    let now = sqlite.clock.now();
    if batch.dry_run {
        return count(&sqlite.connection(), batch, now.millis());
    }
    if batch.exclusive {
        sqlite.connection().pragma_update(None, "cache_size", -CACHE_EXCLUSIVE).map_err(trouble)?;
    }
    let answer = sqlite.maintain(|tx, turn| {
        let begun = Instant::now();
        let enough = || {
            let held = begun.elapsed();
            !batch.exclusive && (held >= HOLD_MAX || (held >= HOLD && turn.is_wanted()))
        };
        let (mut purged, cursor) =
            if batch.cursor.otps_done { (Purged::default(), None) } else { take_otps(tx, batch, enough)? };
        let next = match cursor {
            Some(cursor) => Some(cursor),
            None => {
                let mut more = true;
                for _ in 0..SMALL_ROUNDS {
                    more = take_small(tx, batch, now.millis(), &mut purged)?;
                    if !more || enough() {
                        break;
                    }
                }
                more.then_some(PurgeCursor { otps_done: true, ..batch.cursor })
            }
        };
        let event = (purged.total() > 0).then(|| event(now, batch, &purged));
        Ok(((purged, next), event))
    })?;
    // With a writer beside us nobody ever finds the log idle, and it would grow without end: move it on ourselves.
    checkpoint(&sqlite.connection())?;
    Ok(answer)
}

/// Finished otps with their messages; never one that lives or has a message whose outcome is open.
fn take_otps(
    tx: &Transaction<'_>,
    batch: &PurgeBatch,
    enough: impl Fn() -> bool,
) -> Result<(Purged, Option<PurgeCursor>)> {
    let mut messages = tx.prepare_cached("DELETE FROM messages WHERE otp_id = ?1").map_err(trouble)?;
    let mut otps = tx.prepare_cached("DELETE FROM otps WHERE id = ?1").map_err(trouble)?;
    let (mut purged, mut cursor, mut left) = (Purged::default(), batch.cursor, batch.limit);
    let chunk = if batch.exclusive { CHUNK_EXCLUSIVE } else { CHUNK };
    while left > 0 {
        let looked = candidates(tx, &PurgeBatch { cursor, limit: left.min(chunk), ..batch.clone() })?;
        let Some(last) = looked.last() else { return Ok((purged, None)) };
        cursor.otps = (last.over_at, last.id);
        for candidate in looked.iter().filter(|candidate| !candidate.open) {
            purged.messages += u64::try_from(messages.execute([candidate.id]).map_err(trouble)?).unwrap_or(0);
            purged.otps += u64::try_from(otps.execute([candidate.id]).map_err(trouble)?).unwrap_or(0);
        }
        left -= left.min(chunk);
        if enough() {
            break;
        }
    }
    Ok((purged, Some(cursor)))
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

struct Candidate {
    id: i64,
    over_at: i64,
    open: bool,
}

/// The next otps that are over, in the order of the index, each with whether a message of it is still open.
fn candidates(connection: &Connection, batch: &PurgeBatch) -> Result<Vec<Candidate>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, over_at, EXISTS (SELECT 1 FROM messages WHERE otp_id = otps.id
                                         AND state IN ('scheduled', 'queued', 'sending', 'unknown'))
             FROM otps WHERE (over_at, id) > (?1, ?2) AND over_at <= ?3 ORDER BY over_at, id LIMIT ?4",
        )
        .map_err(trouble)?;
    let (over_at, id) = batch.cursor.otps;
    let found = statement
        .query_map(params![over_at, id, batch.cutoff.millis(), batch.limit], |row| {
            Ok(Candidate { id: row.get(0)?, over_at: row.get(1)?, open: row.get(2)? })
        })
        .map_err(trouble)?;
    found.collect::<rusqlite::Result<_>>().map_err(trouble)
}

/// A table whose rows are over by a time of their own.
struct Small {
    table: &'static str,
    key: &'static str,
    /// Which rows are over, with the moment as ?1; an index finds them.
    over: &'static str,
    /// That moment, from the cutoff of the batch and the present.
    before: fn(i64, i64) -> i64,
    count: fn(&mut Purged) -> &mut u64,
}

/// Idle subjects, old answers to idempotency keys, test numbers whose time is over.
const SMALL_TABLES: [Small; 3] = [
    Small {
        table: "subjects",
        key: "number",
        over: "idle_at <= ?1",
        before: |_, now| now,
        count: |purged| &mut purged.subjects,
    },
    Small {
        table: "replies",
        key: "tag",
        over: "created_at <= ?1",
        // Kept for 24 hours whatever is asked: an answer given twice would be a message sent twice.
        before: |cutoff, now| cutoff.min(now - 24 * 3_600_000),
        count: |purged| &mut purged.replies,
    },
    Small {
        table: "test_numbers",
        key: "phone_number",
        over: "until <= ?1",
        before: |_, now| now,
        count: |purged| &mut purged.test_numbers,
    },
];

/// Takes from the small tables what is over. True while there is more.
fn take_small(tx: &Transaction<'_>, batch: &PurgeBatch, now: i64, purged: &mut Purged) -> Result<bool> {
    let mut more = false;
    for Small { table, key, over, before, count } in SMALL_TABLES {
        let sql = format!("DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {over} LIMIT ?2)");
        let taken = tx
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute(params![before(batch.cutoff.millis(), now), SMALL]))
            .map_err(trouble)?;
        *count(purged) += u64::try_from(taken).unwrap_or(0);
        more |= taken == usize::try_from(SMALL).unwrap_or(0);
    }
    Ok(more)
}

/// What a batch would take.
fn count(connection: &Connection, batch: &PurgeBatch, now: i64) -> Result<(Purged, Option<PurgeCursor>)> {
    let looked = candidates(connection, batch)?;
    let mut messages = connection.prepare_cached("SELECT count(*) FROM messages WHERE otp_id = ?1").map_err(trouble)?;
    let mut purged = Purged::default();
    for candidate in looked.iter().filter(|candidate| !candidate.open) {
        purged.otps += 1;
        let of_it: i64 = messages.query_row([candidate.id], |row| row.get(0)).map_err(trouble)?;
        purged.messages += u64::try_from(of_it).unwrap_or(0);
    }
    let next = looked.last().map(|last| PurgeCursor { otps: (last.over_at, last.id), ..batch.cursor });
    if next.is_none() {
        for small in SMALL_TABLES {
            let sql = format!("SELECT count(*) FROM {} WHERE {}", small.table, small.over);
            let over = connection
                .prepare_cached(&sql)
                .and_then(|mut statement| {
                    statement.query_row([(small.before)(batch.cutoff.millis(), now)], |row| row.get::<_, i64>(0))
                })
                .map_err(trouble)?;
            *(small.count)(&mut purged) += u64::try_from(over).unwrap_or(0);
        }
    }
    Ok((purged, next))
}

/// A checkpoint that waits for nobody.
fn checkpoint(connection: &Connection) -> Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(trouble)
}

/// Rewrites the whole file so that no byte of what was purged stays in it, and empties the log. False: another program was
/// reading, so that the log could not be emptied.
pub fn scrub(sqlite: &Sqlite) -> Result<bool> {
    let connection = sqlite.connection();
    let _turn = sqlite.take_turn()?;
    connection.execute_batch("VACUUM").map_err(trouble)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(trouble)?;
    Ok(busy == 0)
}
