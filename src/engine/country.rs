//! What the guard did about a country, read after the fact: its alarms, and its last refusals with the rule that refused.

use serde_json::Value;

use super::context::Context;
use super::show::{TimelineStep, step};
use crate::alarm::Alarm;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::phone::Phone;
use crate::store::{Subject, SubjectId};

/// How many rows of each chain of the audit log are looked through, from the newest on.
const LOOK_MAX: u32 = 500;

/// How many refusals and alarms are shown.
const SHOWN: usize = 10;

/// A country as the guard has it.
#[derive(Clone, Debug)]
pub struct CountryState {
    /// Its alarms, the newest first.
    pub alarms: Vec<Alarm>,
    /// Its last refusals, the newest first.
    pub refusals: Vec<RuleRefusal>,
}

/// A refusal of the guard's, as the audit log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRefusal {
    /// When.
    pub at: Timestamp,
    /// How it ended: the code of the refusal.
    pub outcome: String,
    /// The rule that refused.
    pub rule: String,
    /// How much of what it allows was used.
    pub used: i64,
    /// How much it allows.
    pub allowed: i64,
    /// Both are money, in millionths of a US dollar; else messages.
    pub in_money: bool,
    /// When there is room again; `None`: time does not open it.
    pub room_at: Option<Timestamp>,
}

impl RuleRefusal {
    /// Reads the details `rule`, `used`, `allowed`, `in_money` and `room_at`; `None` where no rule of the guard refused.
    pub fn of(step: &TimelineStep) -> Option<RuleRefusal> {
        let number = |name: &str| step.details.get(name).and_then(Value::as_i64);
        Some(RuleRefusal {
            at: step.at,
            outcome: step.outcome.clone(),
            rule: step.details.get("rule")?.as_str()?.to_owned(),
            used: number("used")?,
            allowed: number("allowed")?,
            in_money: step.details.get("in_money").and_then(Value::as_bool).unwrap_or(false),
            room_at: number("room_at").map(Timestamp),
        })
    }
}

/// What is known of a country, two letters.
pub(super) async fn country(ctx: &Context, country: &str) -> Result<CountryState> {
    let mut alarms = ctx.reads().alarms(Timestamp(i64::MIN)).await?;
    alarms.retain(|alarm| alarm.about == country);
    alarms.sort_by_key(|alarm| std::cmp::Reverse((alarm.since, alarm.id)));
    alarms.truncate(SHOWN);
    let there = |step: &TimelineStep| step.details.get("country").and_then(Value::as_str) == Some(country);
    Ok(CountryState { alarms, refusals: refusals(ctx, None, there).await? })
}

/// The guard's last refusals of a phone, the newest first.
pub(super) async fn refusals_of(ctx: &Context, phone: &Phone) -> Result<Vec<RuleRefusal>> {
    let known = ctx.reads().usages(&[Subject::Phone(phone.clone())]).await?.into_iter().next().flatten();
    match known {
        Some(fact) => refusals(ctx, Some(fact.id), |_| true).await,
        None => Ok(Vec::new()),
    }
}

/// The guard's last refusals in the audit log, all or those of a subject, as far as they are wanted.
async fn refusals(
    ctx: &Context,
    subject: Option<SubjectId>,
    wanted: impl Fn(&TimelineStep) -> bool,
) -> Result<Vec<RuleRefusal>> {
    let mut refusals = Vec::new();
    for head in ctx.reads().audit_heads().await? {
        let rows = ctx.reads().audit_back(subject, (head.chain, head.seq + 1), LOOK_MAX).await?;
        let steps = rows.iter().filter_map(step).filter(&wanted);
        refusals.extend(steps.filter_map(|step| RuleRefusal::of(&step)));
    }
    refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
    refusals.truncate(SHOWN);
    Ok(refusals)
}
