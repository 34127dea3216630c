//! Reading the audit log, proving that nobody changed it, and cutting off what is old.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::{Caller, Context};
use super::show::{TimelineStep, step};
use crate::audit::{self, Head, Row, Verifier};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::store::{AuditPrune, MORE_MAX, Subject, SubjectId};

/// How many rows are read at a time.
const BATCH: u32 = 500;

/// Where there are so many chains or more, fewer rows of each are read at a time.
const CHAINS_AT_ONCE: u32 = 8;

/// How many rows one page looks through.
const LOOK_MAX: usize = 50_000;

/// How many rows one step of pruning takes at most.
const PRUNE: u32 = 5_000;

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Those that name this phone or user first.
    pub subject: Option<Subject>,
    /// With this action.
    pub action: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Where the page begins: the [`AuditPage::next`] of the one before it.
    pub before: AuditPlace,
    /// At most so many.
    pub limit: usize,
}

/// One row, read.
#[derive(Clone, Debug)]
pub struct AuditRead {
    /// Its chain and place.
    pub place: (u32, u64),
    /// What it says.
    pub step: TimelineStep,
    /// Whom it is about: masked, or the start of an id whose person was purged.
    pub subject: String,
}

/// One page of rows, newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// The rows.
    pub rows: Vec<AuditRead>,
    /// How many more match, counted up to [`MORE_MAX`].
    pub more: u32,
    /// True where only a part of the log was looked through: `next` goes on from there.
    pub cut: bool,
    /// Where the next page begins, where there may be more.
    pub next: Option<AuditPlace>,
}

/// A place in the log: for each chain the row that was read last, as (chain, seq). A chain that is not named was not read yet.
pub type AuditPlace = Vec<(u32, u64)>;

/// What the proof found.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    /// How many rows were verified.
    pub rows: u64,
    /// How many rows were pruned before, behind a sealed head.
    pub pruned: u64,
    /// How many heads of an anchor the log holds.
    pub anchored: u64,
    /// How many heads of an anchor were pruned since, and could not be compared.
    pub unanchored: u64,
    /// The first break, in words.
    pub broken: Option<String>,
}

/// The head of one chain at one moment. Kept where who writes to the database cannot write, it shows what the database
/// cannot show: that rows and head were rolled back together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Which database: the same after a move.
    pub database: String,
    /// When it was read.
    pub at: Timestamp,
    /// The chain.
    pub chain: u32,
    /// The seq of its last row; 0: it never had one.
    pub seq: u64,
    /// The mac of its last row, in hex.
    pub mac: String,
}

/// One page of the audit log.
pub(super) async fn page(ctx: &Context, filter: &AuditFilter) -> Result<AuditPage> {
    let subject = match &filter.subject {
        None => None,
        Some(subject) => {
            match ctx.reads().usages(std::slice::from_ref(subject)).await?.into_iter().next().flatten() {
                Some(fact) => Some(fact.id),
                // Nobody of that name is known: no row can be about them.
                None => return Ok(AuditPage::default()),
            }
        }
    };
    let heads = ctx.reads().audit_heads().await?;
    let batch = BATCH / u32::try_from(heads.len()).unwrap_or(u32::MAX).clamp(1, CHAINS_AT_ONCE);
    let reader = |head: &audit::SealedHead| {
        let before = filter.before.iter().find(|(chain, _)| *chain == head.chain).map_or(u64::MAX, |(_, seq)| *seq);
        ChainReader { chain: head.chain, before, batch, rows: VecDeque::new(), ended: false }
    };
    let mut readers: Vec<ChainReader> = heads.iter().map(reader).collect();
    let (mut page, mut looked) = (AuditPage::default(), 0);
    while let Some((row, step)) = newest(ctx, subject, &mut readers).await? {
        looked += 1;
        if filter.since.is_some_and(|since| step.at < since) {
            return Ok(page);
        }
        let wanted = filter.until.is_none_or(|until| step.at < until)
            && filter.action.as_ref().is_none_or(|action| *action == step.action);
        if wanted && page.rows.len() < filter.limit {
            let subject = about(ctx, &row.body).await?;
            page.rows.push(AuditRead { place: (row.chain, row.seq), step, subject });
            if page.rows.len() == filter.limit {
                page.next = Some(place(&readers));
            }
        } else if wanted {
            page.more += 1;
        }
        if page.more == MORE_MAX {
            return Ok(page);
        }
        if looked >= LOOK_MAX {
            page.cut = page.next.is_none();
            page.next.get_or_insert_with(|| place(&readers));
            return Ok(page);
        }
    }
    page.next = page.next.filter(|_| page.more > 0);
    Ok(page)
}

/// One chain on its way back from its newest row.
struct ChainReader {
    chain: u32,
    /// The row that was taken last.
    before: u64,
    /// How many rows are read at a time.
    batch: u32,
    /// Rows that were read and not taken yet.
    rows: VecDeque<(Row, TimelineStep)>,
    /// There are none but those.
    ended: bool,
}

/// Takes the newest row of all chains. Rows whose body is not what we write are left to `verify`.
async fn newest(
    ctx: &Context,
    subject: Option<SubjectId>,
    readers: &mut [ChainReader],
) -> Result<Option<(Row, TimelineStep)>> {
    for reader in readers.iter_mut() {
        let mut before = reader.before;
        while reader.rows.is_empty() && !reader.ended {
            let rows = ctx.reads().audit_back(subject, (reader.chain, before), reader.batch).await?;
            reader.ended = rows.len() < usize::try_from(reader.batch).unwrap_or(usize::MAX);
            before = rows.last().map_or(before, |row| row.seq);
            reader.rows.extend(rows.into_iter().filter_map(|row| step(&row).map(|step| (row, step))));
        }
    }
    let at = |reader: &&mut ChainReader| reader.rows.front().map(|(_, step)| step.at);
    let Some(reader) = readers.iter_mut().filter(|reader| !reader.rows.is_empty()).max_by_key(at) else {
        return Ok(None);
    };
    let taken = reader.rows.pop_front();
    reader.before = taken.as_ref().map_or(reader.before, |(row, _)| row.seq);
    Ok(taken)
}

fn place(readers: &[ChainReader]) -> AuditPlace {
    readers.iter().filter(|reader| reader.before < u64::MAX).map(|reader| (reader.chain, reader.before)).collect()
}

async fn about(ctx: &Context, body: &[u8]) -> Result<String> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(hex) = body.pointer("/subjects/0").and_then(serde_json::Value::as_str) else {
        return Ok(String::new());
    };
    let Some(id) = SubjectId::from_hex(hex) else { return Ok(String::new()) };
    let masked = ctx.reads().masked(&[id]).await?.into_iter().next().flatten();
    // Whoever was purged or forgotten stays a number that means nothing.
    Ok(masked.unwrap_or_else(|| format!("({})", id.short())))
}

/// Verifies every chain from its first row to its last, a bounded batch at a time, and holds it against the heads of an
/// anchor.
pub(super) async fn verify(ctx: &Context, anchors: &[Anchor]) -> Result<Audited> {
    let expected = anchors.iter().map(|anchor| head_of(ctx, anchor)).collect::<Result<Vec<_>>>()?;
    let heads = ctx.reads().audit_heads().await?;
    let key = &ctx.store.operations.keys().audit;
    let mut verifier = Verifier::new(key).sealed(&heads).expect_heads(expected.iter().copied());
    for head in &heads {
        let mut from = head.pruned_seq.saturating_add(1);
        // To the end, and not to the head: a row beyond it was not written by an operation.
        while verifier.first_break().is_none() {
            let rows = ctx.reads().audit(head.chain, from, BATCH).await?;
            let whole = rows.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
            from = rows.last().map_or(from, |last| last.seq.saturating_add(1));
            rows.into_iter().for_each(|row| verifier.check_row(row));
            if !whole {
                break;
            }
        }
    }
    let rows = verifier.rows();
    let ends = ctx.reads().audit_heads().await?;
    let broken = verifier.ends_at(&ends).finish().err().map(|found| found.to_string());
    let is_pruned = |at: &Head| heads.iter().any(|head| head.chain == at.chain && head.pruned_seq > at.seq);
    let unanchored = expected.iter().filter(|at| is_pruned(at)).count();
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Ok(Audited {
        rows,
        pruned: heads.iter().map(|head| head.pruned_seq).sum(),
        anchored: number(expected.len() - unanchored),
        unanchored: number(unanchored),
        broken,
    })
}

/// The heads of all chains, to be kept elsewhere.
pub(super) async fn anchor(ctx: &Context) -> Result<Vec<Anchor>> {
    let (database, at) = (database(ctx), ctx.reads().now().await?);
    let key = &ctx.store.operations.keys().audit;
    let heads = ctx.reads().audit_heads().await?;
    if heads.is_empty() {
        return Err(audit::headless(0));
    }
    let anchor = |head: audit::SealedHead| {
        head.must_be_sealed(key)?;
        let mac = base16ct::lower::encode_string(&head.mac);
        Ok(Anchor { database: database.clone(), at, chain: head.chain, seq: head.seq, mac })
    };
    heads.into_iter().map(anchor).collect()
}

/// The head that an anchor names.
fn head_of(ctx: &Context, anchor: &Anchor) -> Result<Head> {
    if anchor.database != database(ctx) {
        let other = format!("the anchor is of the database {:.40}, and this one is {}", anchor.database, database(ctx));
        return Err(Error::new(Code::VALUE_INVALID, other)
            .hint("Name the anchor of this database, or this database's with --db."));
    }
    let mac = base16ct::mixed::decode_vec(&anchor.mac).ok().and_then(|bytes| bytes.try_into().ok());
    let mac = mac.ok_or_else(|| Error::new(Code::VALUE_INVALID, "the anchor holds a mac that is none"))?;
    Ok(Head { chain: anchor.chain, seq: anchor.seq, mac })
}

/// A public name of the database: made from a key of its own, so that a move keeps it.
fn database(ctx: &Context) -> String {
    base16ct::lower::encode_string(&ctx.store.operations.keys().index.tag("database", b"")[..8])
}

/// Cuts the beginning of each chain, up to the first row that is not older than `older_than`. Returns how many rows it
/// cut.
pub(super) async fn prune(ctx: &Context, caller: &Caller, older_than: Duration) -> Result<u64> {
    let before = ctx.reads().now().await? - older_than;
    let mut cut = 0;
    for head in ctx.reads().audit_heads().await? {
        loop {
            let step = AuditPrune { chain: head.chain, before, limit: PRUNE, actor: caller.actor.clone() };
            let rows = ctx.store.maintenance.prune_audit(&step).await?;
            cut += rows;
            if rows < u64::from(PRUNE) {
                break;
            }
        }
    }
    Ok(cut)
}
