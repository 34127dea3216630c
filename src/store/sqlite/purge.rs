//! Deletes what is finished, in steps so short that other writers hardly notice.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, params};

use super::{Sqlite, read, rows};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::purge::{EXPIRING, event, pruned_event, unpurgeable};
use crate::store::schema::Dialect;
use crate::store::value::Stored;
use crate::store::{AuditPrune, PurgeBatch, PurgeCursor, Purged};

/// How many otps are deleted between two checks of the time and of who waits.
const CHUNK: u32 = 16;

/// The same for an exclusive purge.
const CHUNK_EXCLUSIVE: u32 = 1_000;

/// The page cache of an exclusive purge, in KiB, so that index pages that change repeatedly are written once.
const CACHE_EXCLUSIVE: i32 = 12 * 1024;

/// How long a batch runs although somebody waits: otherwise a purge next to a busy writer would need a commit for every few rows.
const HOLD: Duration = Duration::from_millis(1);

/// How long a batch runs at most; its commit takes about as long again.
const HOLD_MAX: Duration = Duration::from_millis(20);

/// How many rows of each of the small tables are deleted between two checks, and how often in one batch.
const SMALL: u32 = 100;
const SMALL_ROUNDS: usize = 100;

/// Purges one batch; see [`crate::store::Maintain::purge`].
pub fn run(sqlite: &Sqlite, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    let now = sqlite.clock.now();
    if batch.dry_run {
        return count(&sqlite.connection(), batch, now);
    }
    if batch.exclusive {
        sqlite.connection().pragma_update(None, "cache_size", -CACHE_EXCLUSIVE)?;
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
                    more = take_small(tx, batch, now, &mut purged)?;
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
    // Next to a busy writer the log would grow without end. This checkpoint waits for nobody.
    sqlite.connection().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(answer)
}

/// Deletes finished otps with their messages, but none that is live or has an open message.
fn take_otps(
    tx: &Transaction<'_>,
    batch: &PurgeBatch,
    enough: impl Fn() -> bool,
) -> Result<(Purged, Option<PurgeCursor>)> {
    let mut messages = tx.prepare_cached("DELETE FROM messages WHERE otp_id = ?1")?;
    let mut otps = tx.prepare_cached("DELETE FROM otps WHERE id = ?1")?;
    let (mut purged, mut cursor, mut left) = (Purged::default(), batch.cursor, batch.limit);
    let chunk = if batch.exclusive { CHUNK_EXCLUSIVE } else { CHUNK };
    while left > 0 {
        let candidates = candidates(tx, &PurgeBatch { cursor, limit: left.min(chunk), ..batch.clone() })?;
        let Some(last) = candidates.last() else { return Ok((purged, None)) };
        cursor.otps = (last.over_at, last.id);
        for candidate in candidates.iter().filter(|candidate| !candidate.open) {
            purged.messages += u64::try_from(messages.execute([candidate.id])?).unwrap_or(0);
            purged.otps += u64::try_from(otps.execute([candidate.id])?).unwrap_or(0);
        }
        left -= left.min(chunk);
        if enough() {
            break;
        }
    }
    Ok((purged, Some(cursor)))
}

struct Candidate {
    id: i64,
    over_at: i64,
    open: bool,
}

/// The next finished otps in the order of the index, and whether a message of theirs is still open.
fn candidates(connection: &Connection, batch: &PurgeBatch) -> Result<Vec<Candidate>> {
    let sql = format!(
        "SELECT id, over_at, EXISTS (SELECT 1 FROM messages WHERE otp_id = otps.id AND {})
         FROM otps WHERE (over_at, id) > (?1, ?2) AND over_at <= ?3 ORDER BY over_at, id LIMIT ?4",
        unpurgeable(batch, "messages.state")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (over_at, id) = batch.cursor.otps;
    let found = statement.query_map(params![over_at, id, batch.cutoff.millis(), batch.limit], |row| {
        Ok(Candidate { id: row.get(0)?, over_at: row.get(1)?, open: row.get(2)? })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Deletes expired rows of the small tables. Returns whether there may be more.
fn take_small(tx: &Transaction<'_>, batch: &PurgeBatch, now: Timestamp, purged: &mut Purged) -> Result<bool> {
    let mut more = false;
    for expiring in EXPIRING {
        let taken = rows::execute(tx, &expiring.delete(Dialect::Sqlite), params![expiring.until(batch, now), SMALL])?;
        let taken = u64::try_from(taken).unwrap_or(0);
        expiring.add(purged, taken);
        more |= taken == u64::from(SMALL);
    }
    Ok(more)
}

/// Counts what a batch would delete.
fn count(connection: &Connection, batch: &PurgeBatch, now: Timestamp) -> Result<(Purged, Option<PurgeCursor>)> {
    let candidates = candidates(connection, batch)?;
    let mut purged = Purged::default();
    for candidate in candidates.iter().filter(|candidate| !candidate.open) {
        let messages = "SELECT count(*) FROM messages WHERE otp_id = ?1";
        purged.messages += rows::value::<u64>(connection, messages, [candidate.id])?.unwrap_or(0);
        purged.otps += 1;
    }
    let next = candidates.last().map(|last| PurgeCursor { otps: (last.over_at, last.id), ..batch.cursor });
    if next.is_none() {
        for expiring in EXPIRING {
            let until = [expiring.until(batch, now)];
            let over = rows::value(connection, &expiring.counted(Dialect::Sqlite), until)?;
            expiring.add(&mut purged, over.unwrap_or(0));
        }
    }
    Ok((purged, next))
}

/// Cuts the beginning of a chain of the audit log; see [`crate::store::Maintain::prune_audit`].
pub fn prune_audit(sqlite: &Sqlite, step: &AuditPrune) -> Result<u64> {
    let now = sqlite.clock.now();
    sqlite.maintain(|tx, _| {
        let head = read::audit_head(tx, step.chain)?;
        let oldest = read::audit(tx, step.chain, head.pruned_seq + 1, step.limit)?;
        let pruned = head.prune(&sqlite.keys.audit, &oldest, step.before)?;
        let cut = "DELETE FROM audit WHERE chain = ?1 AND seq <= ?2";
        let rows = rows::execute(tx, cut, params![step.chain, pruned.pruned_seq.to_value()])?;
        rows::update(tx, &pruned)?;
        let rows = u64::try_from(rows).unwrap_or(0);
        Ok((rows, (rows > 0).then(|| pruned_event(now, step, &pruned, rows))))
    })
}

/// Rewrites the whole file so that no byte of a purged row stays in it, and empties the log. Returns false if the log could not be emptied
/// because another program was reading.
pub fn scrub(sqlite: &Sqlite) -> Result<bool> {
    let connection = sqlite.connection();
    let _turn = sqlite.take_turn()?;
    connection.execute_batch("VACUUM")?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}
