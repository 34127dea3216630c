//! purge takes away what is finished, a short batch at a time; it never touches what lives or is unsettled, and weakens no limit.

use std::time::Duration;

use serde::Serialize;

use super::advance::advance;
use super::context::{Caller, Context};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{PurgeBatch, PurgeCursor, Purged};

/// The pause after a batch, in which others get their turn.
const PAUSE: Duration = Duration::from_millis(2);

/// So many otps per batch; a store ends a batch earlier where somebody waits for it.
const BATCH: u32 = 2_000;

/// Without regard for others: pages that many of the rows share are written once for all of them.
const BATCH_EXCLUSIVE: u32 = 200_000;

/// So many waiting messages are looked up at a time.
const WAITING: u32 = 100;

/// How to purge.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Only what has been finished for so long; the policy's 24 hours where none is given.
    pub older_than: Option<Duration>,
    /// Only count.
    pub dry_run: bool,
    /// Without regard for other writers: faster.
    pub exclusive: bool,
    /// So many otps per batch, instead of as many as fit into a few milliseconds.
    pub batch: Option<u32>,
    /// Rewrite the files afterwards, so that no byte of what was purged stays in them.
    pub scrub: bool,
}

/// What a purge took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurgeReport {
    /// Rows by table.
    pub purged: Purged,
    /// How many batches it took.
    pub batches: u64,
    /// With `scrub`: whether no byte of what was purged is left in the files.
    pub scrubbed: Option<bool>,
}

/// Purges, passing to `progress` after each batch what was taken so far. `progress` answers whether to go on.
pub(super) async fn purge(
    ctx: &Context,
    caller: &Caller,
    how: &Purge,
    mut progress: impl FnMut(&PurgeReport) -> bool + Send,
) -> Result<PurgeReport> {
    let cutoff = ctx.reads().now().await? - how.older_than.unwrap_or(ctx.policy.keep);
    if !how.dry_run {
        give_up_waiting(ctx, caller, cutoff).await?;
    }
    let mut report = PurgeReport::default();
    let mut batch = PurgeBatch {
        cutoff,
        cursor: PurgeCursor::default(),
        limit: if how.exclusive { BATCH_EXCLUSIVE } else { how.batch.unwrap_or(BATCH) },
        exclusive: how.exclusive,
        dry_run: how.dry_run,
        actor: caller.actor.clone(),
    };
    loop {
        let (purged, next) = ctx.store.maintenance.purge(&batch).await?;
        report.purged.add(purged);
        report.batches += 1;
        let go_on = progress(&report);
        let Some(next) = next.filter(|_| go_on) else { break };
        batch.cursor = next;
        if !how.exclusive && !how.dry_run {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if how.scrub && !how.dry_run {
        report.scrubbed = Some(ctx.store.maintenance.scrub().await?);
    }
    Ok(report)
}

/// Ends messages that still wait for an attempt although their codes were over at `cutoff`, and gives back what was reserved for them.
async fn give_up_waiting(ctx: &Context, caller: &Caller, cutoff: Timestamp) -> Result<()> {
    let mut after = 0;
    loop {
        let waiting = ctx.reads().left_waiting(cutoff, after, WAITING).await?;
        let Some(last) = waiting.last() else { return Ok(()) };
        after = *last;
        for id in waiting {
            advance(ctx, caller, id).await?;
        }
    }
}
