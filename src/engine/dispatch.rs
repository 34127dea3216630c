//! dispatch: try again what waits for it, and find out what became of what is unknown, was left behind or was accepted.

use serde::Serialize;

use super::advance::advance;
use super::context::{Caller, Context};
use crate::delivery::Fate;
use crate::error::{Code, Error, Result};

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dispatched {
    /// Messages that it looked at.
    pub looked_at: u32,
    /// Sent after all.
    pub sent: u32,
    /// Found at the provider: they had been accepted.
    pub found: u32,
    /// Found never to have been accepted, or with no time left.
    pub failed: u32,
    /// Still open; a later run looks again.
    pub open: u32,
    /// Could not be looked at, because of an error of their own.
    pub errors: u32,
}

/// Looks at up to `limit` messages that are due, the longest due first. The error of one message is passed to `on_error`, and
/// the others go on; the error of the database ends the run.
pub(super) async fn dispatch(
    ctx: &Context,
    caller: &Caller,
    limit: u32,
    mut on_error: impl FnMut(i64, &Error) + Send,
) -> Result<Dispatched> {
    let mut done = Dispatched::default();
    let now = ctx.reads().now().await?;
    for id in ctx.reads().due(now, limit).await? {
        done.looked_at += 1;
        match advance(ctx, caller, id).await {
            Ok(Fate::Sent) => done.sent += 1,
            Ok(Fate::Found) => done.found += 1,
            Ok(Fate::Failed) => done.failed += 1,
            Ok(Fate::Open) => done.open += 1,
            Ok(Fate::Gone) => {}
            Err(error) if is_everyones(&error) => return Err(error),
            Err(error) => {
                done.errors += 1;
                on_error(id, &error);
            }
        }
    }
    Ok(done)
}

/// True where the next message would meet the same error: the database is locked, full or gone.
fn is_everyones(error: &Error) -> bool {
    [Code::STORE_BUSY, Code::STORE_FAILED].contains(&error.code())
}
