//! dispatch: try again what waits for it, and find out what became of what is unknown, was left behind or was accepted.

use std::time::Duration;

use serde::Serialize;

use super::advance::advance;
use super::context::{Caller, Context};
use super::settle::postpone;
use crate::delivery::Fate;
use crate::error::{Code, Error, Result};

/// A message that could not be taken further makes room for the others for so long.
const POSTPONED: Duration = Duration::from_secs(30);

/// After so many in a row that the provider would not hear of, or that found the database locked, a run ends: each may have waited
/// for its time limit, and the next would wait as well.
const IN_VAIN_MAX: u32 = 3;

/// How much one run looks at.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    /// At most so many messages.
    pub limit: u32,
    /// Also ask for every accepted message whose end is not known and that will be asked for later.
    pub early: bool,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dispatched {
    /// Messages that it looked at.
    pub looked_at: u32,
    /// Sent after all.
    pub sent: u32,
    /// Found out: how they ended, or that they had been accepted.
    pub found: u32,
    /// Found never to have been accepted, or with no time left.
    pub failed: u32,
    /// Still open; a later run looks again.
    pub open: u32,
    /// Could not be looked at, because of an error of their own.
    pub errors: u32,
}

/// Looks at messages that are due, the longest due first. The error of one message is passed to `on_error`, and the others go
/// on.
pub(super) async fn dispatch(
    ctx: &Context,
    caller: &Caller,
    what: Dispatch,
    mut on_error: impl FnMut(i64, &Error) + Send,
) -> Result<Dispatched> {
    let mut done = Dispatched::default();
    let (mut unheard, mut locked) = (0, 0);
    let now = ctx.reads().now().await?;
    for id in ctx.reads().due(now, what.early, what.limit).await? {
        done.looked_at += 1;
        let fate = advance(ctx, caller, id).await;
        unheard = if matches!(fate, Ok(Fate::NotNow)) { unheard + 1 } else { 0 };
        locked = if fate.as_ref().is_err_and(|error| error.code() == Code::STORE_BUSY) { locked + 1 } else { 0 };
        match &fate {
            Ok(Fate::Sent) => done.sent += 1,
            Ok(Fate::Found) => done.found += 1,
            Ok(Fate::Failed) => done.failed += 1,
            Ok(Fate::Open | Fate::NotNow) => done.open += 1,
            Ok(Fate::Gone) => {}
            Err(error) => {
                done.errors += 1;
                on_error(id, error);
            }
        }
        if locked == IN_VAIN_MAX {
            return fate.map(|_| done);
        }
        let is_stuck = ctx.provider.is_some() && matches!(fate, Ok(Fate::Open | Fate::NotNow) | Err(_));
        if is_stuck && let Err(error) = postpone(ctx, id, POSTPONED).await {
            tracing::warn!(target: "smsotp", code = error.code().name, "message m{id} could not be postponed: {error}");
        }
        if unheard == IN_VAIN_MAX {
            break;
        }
    }
    Ok(done)
}
