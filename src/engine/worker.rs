//! The worker inside `serve`: the step of `dispatch` again and again, and purge on a schedule.

use std::time::Duration;

use super::context::{Caller, Context};
use super::dispatch::{Dispatch, Dispatched, dispatch};
use super::purge::{Purge, PurgeReport, purge};
use crate::audit::Actor;

/// How many messages one step takes.
const STEP: u32 = 200;

/// After an error the next step waits longer, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How the worker goes about its work.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The pause between two steps that found nothing to do.
    pub every: Duration,
    /// How often finished otps and messages are purged; `None`: never.
    pub purge_every: Option<Duration>,
}

/// What the worker reports of itself.
#[derive(Clone, Debug)]
pub enum Worked {
    /// One step.
    Step(Dispatched),
    /// One purge.
    Purge(PurgeReport),
}

impl Default for Work {
    fn default() -> Self {
        Work { every: Duration::from_secs(1), purge_every: Some(Duration::from_secs(3600)) }
    }
}

/// Works until its future is dropped. Every step is an operation or a call that survives being cut short: what was under way
/// is found again by the next step.
pub(super) async fn work(ctx: &Context, how: Work, mut on_work: impl FnMut(&Worked)) {
    let caller = Caller::new(Actor::System);
    let mut pause = how.every;
    // The first purge comes after one whole span: a server that keeps restarting does not purge all the time.
    let mut purge_at = how.purge_every.map(|every| tokio::time::Instant::now() + every);
    loop {
        let on_error = |id: i64, error: &crate::error::Error| {
            tracing::warn!(target: "smsotp", code = error.code().name, "message m{id} could not be looked at: {error}");
        };
        match dispatch(ctx, &caller, Dispatch { limit: STEP, early: false }, on_error).await {
            Ok(done) => {
                let in_vain = done.errors > 0 && done.errors == done.looked_at;
                pause = if in_vain { (pause * 2).min(PAUSE_MAX) } else { how.every };
                on_work(&Worked::Step(done));
                if done.looked_at == STEP && done.open + done.errors < STEP / 2 {
                    // There is more, and it moves.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(target: "smsotp", code = error.code().name, "the worker could not work: {error}");
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        if let (Some(at), Some(every)) = (purge_at, how.purge_every)
            && tokio::time::Instant::now() >= at
        {
            purge_at = Some(tokio::time::Instant::now() + every);
            let ask = Purge { older_than: None, dry_run: false, exclusive: false, batch: None, scrub: false };
            match purge(ctx, &caller, &ask, |_| true).await {
                Ok(report) => on_work(&Worked::Purge(report)),
                Err(error) => {
                    tracing::warn!(target: "smsotp", code = error.code().name, "the purge failed: {error}");
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}
