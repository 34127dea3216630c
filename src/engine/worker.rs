//! The worker inside `serve`: the step of `dispatch` again and again, purge on a schedule, and alarms beside both.

use std::time::Duration;

use super::alarms::announce;
use super::balance;
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

/// How often the worker looks whether the balance has to be looked at.
const BALANCE_EVERY: Duration = Duration::from_secs(60);

/// Works until its future is dropped. A webhook or a provider that is slow to answer keeps no message waiting.
pub(super) async fn work(ctx: &Context, how: Work, on_work: impl FnMut(&Worked)) {
    tokio::join!(work_on_messages(ctx, how, on_work), work_on_alarms(ctx, how.every));
}

/// Delivers alarms, and looks at the balance.
async fn work_on_alarms(ctx: &Context, every: Duration) {
    let caller = Caller::new(Actor::System);
    let mut pause = every;
    let mut balance_at = tokio::time::Instant::now();
    loop {
        let mut done = announce(ctx, &caller).await.map(drop);
        if let Some(day) = ctx.day().filter(|_| tokio::time::Instant::now() >= balance_at) {
            balance_at = tokio::time::Instant::now() + BALANCE_EVERY;
            done = done.and(balance::check(ctx, &caller, day).await.map(drop));
        }
        pause = match done {
            Ok(()) => every,
            Err(error) => {
                tracing::warn!(target: "smsotp", code = error.code().name, "alarms could not be looked after: {error}");
                (pause * 2).min(PAUSE_MAX)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Works until its future is dropped. Every step is an operation or a call that survives being cut short: what was under way
/// is found again by the next step.
async fn work_on_messages(ctx: &Context, how: Work, mut on_work: impl FnMut(&Worked)) {
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
