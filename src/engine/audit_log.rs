//! Reading the audit log and proving that nobody changed it.

use std::collections::VecDeque;

use super::context::Context;
use super::show::{TimelineStep, step};
use crate::audit::{Head, Row, Verifier};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{MORE_MAX, Subject, SubjectId};

/// How many rows are read at a time.
const BATCH: u32 = 500;

/// Where there are so many chains or more, fewer rows of each are read at a time.
const CHAINS_AT_ONCE: u32 = 8;

/// How many rows one page looks through.
const LOOK_MAX: usize = 50_000;

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
#[derive(Clone, Debug)]
pub struct Audited {
    /// How many rows were verified.
    pub rows: u64,
    /// The first break, in words.
    pub broken: Option<String>,
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
    let reader = |head: &Head| {
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

/// Verifies every chain from its first row to its last, a bounded batch at a time.
pub(super) async fn verify(ctx: &Context) -> Result<Audited> {
    let heads = ctx.reads().audit_heads().await?;
    let mut verifier = Verifier::new(&ctx.store.operations.keys().audit).expect_heads(heads.iter().copied());
    for head in &heads {
        let mut from = 1;
        loop {
            // Rows that are written while this reads are not part of the question.
            let rows = ctx.reads().audit(head.chain, from, BATCH).await?;
            let Some(last) = rows.last().map(|row| row.seq) else { break };
            for row in rows.into_iter().filter(|row| row.seq <= head.seq) {
                verifier.check_row(row);
            }
            from = last + 1;
            if last >= head.seq || verifier.first_break().is_some() {
                break;
            }
        }
    }
    let rows = verifier.rows();
    Ok(Audited { rows, broken: verifier.finish().err().map(|found| found.to_string()) })
}
