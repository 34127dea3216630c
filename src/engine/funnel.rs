//! funnel: the sums of a time, which are kept as they happen.

use std::time::Duration;

use super::context::Context;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::report::{self, Only, Report};

/// How much is read at a time: what a report holds in memory does not grow with the time that it is about.
const AT_ONCE: Duration = Duration::from_secs(86_400);

/// What became of the asks of whole hours, from the one that `since` is in to the one that `until` is in.
pub(super) async fn funnel(ctx: &Context, since: Timestamp, until: Timestamp, only: &Only) -> Result<Report> {
    let (mut from, to) = report::hours(since, until);
    let mut report = Report::default();
    while from < to {
        let next = (from + AT_ONCE).min(to);
        for sum in ctx.reads().sums(from, next).await? {
            report.add(only, &sum);
        }
        from = next;
    }
    Ok(report)
}
