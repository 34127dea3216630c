//! Reading the audit log and proving that nobody changed it.

use super::context::Context;
use super::show::{TimelineStep, step};
use crate::audit::Verifier;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{Subject, SubjectId};

/// How many rows are read at a time.
const BATCH: u32 = 500;

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
    /// Older than this row: (chain, seq).
    pub before: Option<(u32, u64)>,
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
    /// Where the next page begins, where there is more.
    pub next: Option<(u32, u64)>,
}

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
    let (chain, mut before) = filter.before.unwrap_or((0, u64::MAX));
    let (mut page, mut looked) = (AuditPage::default(), 0);
    loop {
        let rows = ctx.reads().audit_back(subject, (chain, before), BATCH).await?;
        let whole = rows.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
        for row in rows {
            before = row.seq;
            looked += 1;
            let Some(step) = step(&row) else { continue };
            if filter.since.is_some_and(|since| step.at < since) {
                return Ok(page);
            }
            let wanted = filter.until.is_none_or(|until| step.at < until)
                && filter.action.as_ref().is_none_or(|action| *action == step.action);
            if wanted {
                if page.rows.len() == filter.limit {
                    page.next = page.rows.last().map(|last| last.place);
                    return Ok(page);
                }
                let subject = about(ctx, &row.body).await?;
                page.rows.push(AuditRead { place: (row.chain, row.seq), step, subject });
            }
        }
        if !whole {
            return Ok(page);
        }
        if looked >= LOOK_MAX {
            page.next = Some((chain, before));
            return Ok(page);
        }
    }
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
