//! Deletes what is finished, in short batches that wait for nobody: a row that an operation holds is left for the next run.
//!
//! Autovacuum makes the space of deleted rows available to the same tables again (the tables set its thresholds), so that a
//! database that is purged as fast as it grows stops growing.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Postgres;
use super::errors::Failure;
use super::facts::lock_chain;
use super::maintenance::{CHAIN, MaintenanceResult, MaintenanceTask, MaintenanceTransaction, maintain};
use super::rows::{self, Param, Statement, int};
use crate::audit::{self, SealedHead, headless};
use crate::error::Result;
use crate::store::purge::{EXPIRING, event, pruned_event, unpurgeable};
use crate::store::schema::Dialect;
use crate::store::value::{Reader, Stored};
use crate::store::{AuditPrune, PurgeBatch, PurgeCursor, Purged, Read};

/// How many rows of each of the small tables one batch deletes.
const SMALL: u32 = 500;

/// Deletes the otps with the given ids and their messages, except those that an operation holds. Returns how many of each.
const DELETE_OTPS: &str = "WITH free AS (SELECT id FROM smsotp.otps WHERE id = ANY ($1) AND over_at <= $2 ORDER BY id FOR UPDATE SKIP LOCKED), \
    deleted_messages AS (DELETE FROM smsotp.messages WHERE otp_id IN (SELECT id FROM free) RETURNING 1), \
    deleted_otps AS (DELETE FROM smsotp.otps WHERE id IN (SELECT id FROM free) RETURNING 1) \
    SELECT (SELECT count(*) FROM deleted_otps), (SELECT count(*) FROM deleted_messages)";

/// Purges one batch; see [`crate::store::Maintain::purge`].
pub async fn run(store: &Postgres, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    if batch.dry_run { count(store, batch).await } else { maintain(store, &PurgeTask(batch)).await }
}

struct PurgeTask<'a>(&'a PurgeBatch);

#[async_trait]
impl MaintenanceTask for PurgeTask<'_> {
    type Answer = (Purged, Option<PurgeCursor>);

    async fn run(&self, transaction: &MaintenanceTransaction) -> Result<MaintenanceResult<Self::Answer>, Failure> {
        let batch = self.0;
        let (mut purged, cursor) =
            if batch.cursor.otps_done { (Purged::default(), None) } else { take_otps(transaction, batch).await? };
        let next = match cursor {
            Some(cursor) => Some(cursor),
            None => {
                let more = take_small(transaction, batch, &mut purged).await?;
                more.then_some(PurgeCursor { otps_done: true, ..batch.cursor })
            }
        };
        let event = (purged.total() > 0).then(|| event(transaction.now, batch, &purged));
        Ok(MaintenanceResult { answer: (purged, next), statements: Vec::new(), event, head: None })
    }
}

/// The next finished otps in the order of the index, and whether a message of theirs is still open.
fn candidates(batch: &PurgeBatch) -> Statement {
    let sql = format!(
        "SELECT id, over_at, EXISTS (SELECT 1 FROM smsotp.messages AS m WHERE m.otp_id = o.id AND {}) \
         FROM smsotp.otps AS o WHERE (over_at, id) > ($1, $2) AND over_at <= $3 ORDER BY over_at, id LIMIT $4",
        unpurgeable(batch, "m.state")
    );
    let (over_at, id) = batch.cursor.otps;
    Statement::new(sql, vec![int(over_at), int(id), int(batch.cutoff.millis()), int(batch.limit)])
}

/// The result of [`candidates`].
struct Candidates {
    /// Those that may be deleted.
    closed: Vec<i64>,
    /// Where the last one is in the index; `None`: there are no more.
    last: Option<(i64, i64)>,
}

impl Candidates {
    fn read(found: &[Row]) -> Result<Candidates> {
        let mut candidates = Candidates { closed: Vec::with_capacity(found.len()), last: None };
        for row in found {
            let mut row = Reader::new(row);
            let (id, over_at) = (row.next("otps.id")?, row.next("otps.over_at")?);
            if !row.next::<bool>("open")? {
                candidates.closed.push(id);
            }
            candidates.last = Some((over_at, id));
        }
        Ok(candidates)
    }
}

async fn take_otps(
    transaction: &MaintenanceTransaction,
    batch: &PurgeBatch,
) -> Result<(Purged, Option<PurgeCursor>), Failure> {
    let session = &transaction.session;
    let Candidates { closed, last } = Candidates::read(&session.query(&candidates(batch)).await?)?;
    let Some(otps) = last else { return Ok((Purged::default(), None)) };
    let params = vec![(Box::new(closed) as _, Type::INT8_ARRAY), int(batch.cutoff.millis())];
    let taken = session.query(&Statement::new(DELETE_OTPS, params)).await?;
    let mut purged = Purged::default();
    if let Some(row) = taken.first() {
        let mut row = Reader::new(row);
        (purged.otps, purged.messages) = (row.next("otps")?, row.next("messages")?);
    }
    Ok((purged, Some(PurgeCursor { otps, ..batch.cursor })))
}

/// Deletes expired rows of the small tables. Returns whether there may be more.
async fn take_small(
    transaction: &MaintenanceTransaction,
    batch: &PurgeBatch,
    purged: &mut Purged,
) -> Result<bool, Failure> {
    let mut more = false;
    for expiring in EXPIRING {
        let params: [Param; 2] = [int(expiring.until(batch, transaction.now)), int(SMALL)];
        let sql = expiring.delete(Dialect::Postgres);
        let taken = transaction.session.client().execute_typed(&sql, &rows::borrowed(&params)).await?;
        expiring.add(purged, taken);
        more |= taken == u64::from(SMALL);
    }
    Ok(more)
}

/// Cuts the beginning of a chain of the audit log; see [`crate::store::Maintain::prune_audit`].
pub async fn prune_audit(store: &Postgres, step: &AuditPrune) -> Result<u64> {
    maintain(store, &PruneTask { store, step }).await
}

struct PruneTask<'a> {
    store: &'a Postgres,
    step: &'a AuditPrune,
}

#[async_trait]
impl MaintenanceTask for PruneTask<'_> {
    type Answer = u64;

    /// The chain of maintenance is locked already, and the one that is pruned after it: no operation holds two.
    async fn run(&self, transaction: &MaintenanceTransaction) -> Result<MaintenanceResult<u64>, Failure> {
        let (session, chain) = (&transaction.session, self.step.chain);
        session.query(&lock_chain(chain)).await?;
        let found = session.query(&rows::find::<SealedHead>(int(chain))).await?;
        let head = rows::first::<SealedHead>(&found)?.ok_or_else(|| headless(chain))?;
        let oldest =
            format!("{} WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3", rows::statements::<audit::Row>().select);
        let params = vec![int(chain), rows::value(head.pruned_seq.to_value()), int(self.step.limit)];
        let oldest: Vec<audit::Row> = rows::all(&session.query(&Statement::new(oldest, params)).await?)?;
        let pruned = head.prune(&self.store.keys.audit, &oldest, self.step.before)?;
        let taken = oldest.iter().filter(|row| row.seq <= pruned.pruned_seq).count();
        let taken = u64::try_from(taken).unwrap_or(0);
        let cut = "DELETE FROM smsotp.audit WHERE chain = $1 AND seq <= $2";
        let cut = Statement::new(cut, vec![int(chain), rows::value(pruned.pruned_seq.to_value())]);
        let event = (taken > 0).then(|| pruned_event(transaction.now, self.step, &pruned, taken));
        // The audit row is chained to the head of maintenance, which may be the one that is pruned.
        let (statements, head) = match chain {
            CHAIN => (vec![cut], Some(pruned)),
            _ => (vec![cut, rows::update(&pruned)], None),
        };
        Ok(MaintenanceResult { answer: taken, statements, event, head })
    }
}

/// Counts what a batch would delete.
async fn count(store: &Postgres, batch: &PurgeBatch) -> Result<(Purged, Option<PurgeCursor>)> {
    let Candidates { closed, last } = Candidates::read(&store.query(&candidates(batch)).await?)?;
    let mut purged = Purged { otps: u64::try_from(closed.len()).unwrap_or(0), ..Purged::default() };
    let Some(otps) = last else {
        let now = store.now().await?;
        for expiring in EXPIRING {
            let until = vec![int(expiring.until(batch, now))];
            let over = store.query(&Statement::new(expiring.counted(Dialect::Postgres), until)).await?;
            expiring.add(&mut purged, rows::scalar(&over)?.unwrap_or(0));
        }
        return Ok((purged, None));
    };
    let sql = "SELECT count(*) FROM smsotp.messages WHERE otp_id = ANY ($1)";
    let found = store.query(&Statement::new(sql, vec![(Box::new(closed), Type::INT8_ARRAY)])).await?;
    purged.messages = rows::scalar(&found)?.unwrap_or(0);
    Ok((purged, Some(PurgeCursor { otps, ..batch.cursor })))
}
