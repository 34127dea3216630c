//! Alarms: raised by what decides, listed, acknowledged, and delivered to where a person reads them.

use super::context::{Caller, Context};
use crate::alarm::{Alarm, Announce, Raised};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::store::{Change, Decision, Needs};

/// How many alarms one run delivers: the next one goes on.
const RUN: u32 = 20;

/// After so many in a row that the webhook did not take, a run ends: each may have waited for its time limit.
const IN_VAIN_MAX: u32 = 3;

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Alarms that are in the log now, each for the first time.
    pub logged: u32,
    /// Taken by the webhook.
    pub sent: u32,
    /// Not taken: a later run tries again.
    pub failed: u32,
    /// Not taken for a whole day.
    pub given_up: u32,
}

/// What became of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The alarm as it is now.
    pub alarm: Alarm,
    /// False: somebody had acknowledged it before.
    pub now: bool,
}

/// Adds what was raised to the changes of an operation, and names it in the details of its audit row.
#[must_use]
pub(super) fn raise(changes: &mut Vec<Change>, details: Details, raised: &[Raised], now: Timestamp) -> Details {
    if raised.is_empty() {
        return details;
    }
    let mut raised: Vec<&Raised> = raised.iter().collect();
    raised.sort_by_key(|raised| (raised.kind.as_str(), raised.about.as_str()));
    raised.dedup_by_key(|raised| (raised.kind, raised.about.as_str()));
    changes.extend(raised.iter().map(|raised| Change::RaiseAlarm(Alarm::new(raised, now))));
    let kinds: Vec<&str> = raised.iter().map(|raised| raised.kind.as_str()).collect();
    details.note("alarms", &kinds.join(" "))
}

/// The alarms that ask for somebody, or all that are kept; the newest first, at most 1000.
pub(super) async fn list(ctx: &Context, all: bool) -> Result<Vec<Alarm>> {
    let now = ctx.reads().now().await?;
    let ended_after = if all { Timestamp(i64::MIN) } else { now - crate::alarm::LISTED_AFTER_ITS_END };
    let mut alarms = ctx.reads().alarms(ended_after).await?;
    alarms.retain(|alarm| all || alarm.asks(now));
    alarms.sort_by_key(|alarm| std::cmp::Reverse((alarm.since, alarm.id)));
    Ok(alarms)
}

/// The alarms that stand, acknowledged or not.
pub(super) async fn standing(ctx: &Context) -> Result<Vec<Alarm>> {
    ctx.reads().alarms(ctx.reads().now().await?).await
}

/// Acknowledges an alarm; `None`: there is none with this id.
pub(super) async fn ack(ctx: &Context, caller: &Caller, id: i64, reason: &str) -> Result<Option<Acked>> {
    let (actor, reason) = (caller.actor.clone(), reason.to_owned());
    ctx.operate(Needs { alarm: Some(id), ..Needs::default() }, move |facts| {
        let Some(mut alarm) = facts.alarm.clone() else { return Ok(Decision::Nothing(None)) };
        if !alarm.acknowledge(facts.now, &actor.to_string()) {
            return Ok(Decision::Nothing(Some(Acked { alarm, now: false })));
        }
        let event = Event::new(facts.now, actor.clone(), "alarm_ack", "done");
        let event = event.details(of(&alarm).note("reason", &reason));
        let changes = vec![Change::PutAlarm(alarm.clone())];
        Ok(Decision::Write { changes, event, answer: Some(Acked { alarm, now: true }) })
    })
    .await
}

/// Delivers the alarms that are due: each is in the log once, and goes to the webhook until that takes it.
pub(super) async fn announce(ctx: &Context, caller: &Caller) -> Result<Announced> {
    let mut done = Announced::default();
    let mut in_vain = 0;
    for id in ctx.reads().due_alarms(ctx.reads().now().await?, RUN).await? {
        let Some((alarm, step, now)) = take_on(ctx, caller, id).await? else { continue };
        if alarm.attempts <= 1 && step != Announce::GiveUp {
            done.logged += 1;
            tracing::warn!(
                target: "smsotp", alarm = id, kind = alarm.kind.as_str(), country = alarm.about, cost = %alarm.cost,
                "alarm: {}, {}: {}", alarm.kind.title(), alarm.place(), alarm.words
            );
        }
        match (step, &ctx.notify) {
            (Announce::Post, Some(notify)) => match notify.notify(&alarm, now).await {
                Ok(()) => {
                    sent(ctx, caller, id).await?;
                    done.sent += 1;
                    in_vain = 0;
                }
                Err(why) => {
                    tracing::warn!(target: "smsotp", alarm = id, "the webhook did not take alarm {id}: {why}");
                    done.failed += 1;
                    in_vain += 1;
                }
            },
            (Announce::GiveUp, _) => {
                tracing::error!(target: "smsotp", alarm = id, "the webhook did not take alarm {id} for a day; it is given up");
                done.given_up += 1;
            }
            _ => {}
        }
        if in_vain == IN_VAIN_MAX {
            break;
        }
    }
    Ok(done)
}

/// Takes on the delivery of an alarm, so that nobody else does; `None` where it is not due any more.
async fn take_on(ctx: &Context, caller: &Caller, id: i64) -> Result<Option<(Alarm, Announce, Timestamp)>> {
    let (actor, has_webhook) = (caller.actor.clone(), ctx.notify.is_some());
    ctx.operate(Needs { alarm: Some(id), ..Needs::default() }, move |facts| {
        let Some(mut alarm) = facts.alarm.clone() else { return Ok(Decision::Nothing(None)) };
        let Some(step) = alarm.announce(facts.now, has_webhook) else { return Ok(Decision::Nothing(None)) };
        let details = of(&alarm).number("attempt", i64::from(alarm.attempts));
        let event = Event::new(facts.now, actor.clone(), "alarm_deliver", step.as_str()).details(details);
        let changes = vec![Change::PutAlarm(alarm.clone())];
        Ok(Decision::Write { changes, event, answer: Some((alarm, step, facts.now)) })
    })
    .await
}

/// Records that the webhook took it.
async fn sent(ctx: &Context, caller: &Caller, id: i64) -> Result<()> {
    let actor = caller.actor.clone();
    ctx.operate(Needs { alarm: Some(id), ..Needs::default() }, move |facts| {
        let Some(mut alarm) = facts.alarm.clone() else { return Ok(Decision::Nothing(())) };
        (alarm.sent_at, alarm.due_at) = (Some(facts.now), None);
        let event = Event::new(facts.now, actor.clone(), "alarm_deliver", "sent").details(of(&alarm));
        Ok(Decision::Write { changes: vec![Change::PutAlarm(alarm)], event, answer: () })
    })
    .await
}

/// Which alarm, for the audit log.
fn of(alarm: &Alarm) -> Details {
    Details::new().number("alarm", alarm.id).word("kind", alarm.kind.as_str()).note("country", &alarm.about)
}
