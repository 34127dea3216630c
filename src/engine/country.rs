//! What the guard knows of a country or of a block of numbers, and what it did about it, read after the fact: counts and caps, alarms,
//! and the last refusals with the rule that refused.

use serde_json::Value;

use super::context::Context;
use super::show::{TimelineStep, step};
use crate::abuse::caps::{self, CountryPast};
use crate::abuse::{Mode, States};
use crate::alarm::Alarm;
use crate::audit::Row;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::money::{Channel, Money};
use crate::phone::{self, Phone};
use crate::risk::History;
use crate::store::{Subject, SubjectFact, SubjectId};
use crate::usage::Usage;

/// How many rows of each chain of the audit log are looked through, from the newest on.
const LOOK_MAX: u32 = 500;

/// How many refusals and alarms are shown.
const SHOWN: usize = 10;

/// A country as the guard has it.
#[derive(Clone, Debug)]
pub struct CountryState {
    /// Messages to strangers of the last 24 hours that are open.
    pub open: u32,
    /// From how many open ones on it gets no more.
    pub open_at_most: u64,
    /// All messages to strangers of the last 24 hours.
    pub total: u32,
    /// From how many on it gets no more.
    pub total_at_most: u64,
    /// What it has proven.
    pub past: CountryPast,
    /// The usual part of its codes that are entered, of 1.
    pub usual: f64,
    /// The end of the detector's alarm, while one stands.
    pub alarm_until: Option<Timestamp>,
    /// The guard's mode.
    pub mode: Mode,
    /// Its alarms, the newest first.
    pub alarms: Vec<Alarm>,
    /// Its last refusals, the newest first.
    pub refusals: Vec<RuleRefusal>,
}

/// A block of numbers as the guard has it.
#[derive(Clone, Debug)]
pub struct BlockState {
    /// Messages to strangers there that are open, as the rules count them: they halve in 12 hours.
    pub open: f64,
    /// From how many on it gets no more.
    pub at_most: f64,
    /// Somebody there entered a code in the last 30 days.
    pub is_proven: bool,
    /// The end of the alarm of its country, while one stands.
    pub alarm_until: Option<Timestamp>,
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

/// The guard's states as they are now, with what waits to be taken in.
async fn states(ctx: &Context, country: &str, block: Option<Subject>) -> Result<(States, Option<SubjectFact>)> {
    let subjects: Vec<Subject> =
        [Subject::Country(country.to_owned()), Subject::Everything].into_iter().chain(block).collect();
    let mut found = ctx.reads().usages(&subjects).await?.into_iter();
    let mut next = || found.next().flatten();
    let usage = |fact: Option<SubjectFact>| fact.map(|fact| fact.usage).unwrap_or_default();
    let (country_usage, everything): (Usage, Usage) = (usage(next()), usage(next()));
    let block = next();
    let mut states = States {
        country: country_usage.country.map(|state| *state).unwrap_or_default(),
        block: block.as_ref().and_then(|fact| fact.usage.block.clone()).unwrap_or_default(),
        everything: everything.everything.map(|state| *state).unwrap_or_default(),
    };
    for waiting in ctx.reads().waiting_events(country).await? {
        match waiting.scope.is_empty() {
            true => states.everything.apply(&waiting.event()),
            false => states.country.apply(&waiting.event()),
        }
    }
    states.roll(ctx.reads().now().await?);
    Ok((states, block))
}

/// What the installation and its countries have proven, for what they may cost.
pub(super) async fn history(ctx: &Context) -> Result<History> {
    let (states, _) = states(ctx, "", None).await?;
    let now = ctx.reads().now().await?;
    let countries: Vec<&str> = phone::countries().collect();
    let subjects: Vec<Subject> = countries.iter().map(|country| Subject::Country((*country).to_owned())).collect();
    let found = ctx.reads().usages(&subjects).await?;
    let mut history = History { whole: states.everything.past(now), ..History::default() };
    for (country, fact) in countries.into_iter().zip(found) {
        if let Some(state) = fact.and_then(|fact| fact.usage.country) {
            let mut states = States { country: *state, ..States::default() };
            states.roll(now);
            history.countries.insert(country.to_owned(), states.country.past());
        }
    }
    Ok(history)
}

/// What is known of the block of numbers that a phone is in.
pub(super) async fn block(ctx: &Context, phone: &Phone) -> Result<BlockState> {
    let number = phone::parse(phone.as_str(), None).unwrap_or_else(|_| phone::unplanned(phone.clone()));
    let country = number.country.unwrap_or_default();
    let (states, fact) = states(ctx, &country, Some(Subject::block_of(phone))).await?;
    let now = ctx.reads().now().await?;
    let alarm_until = states.country.alarm(now);
    let refusals = match fact {
        Some(fact) => refusals(ctx, None, |row, _| row.is_about(&fact.id.0)).await?,
        None => Vec::new(),
    };
    Ok(BlockState {
        open: states.block.open(),
        at_most: states.block.cap(now, alarm_until.is_some()),
        is_proven: states.block.is_proven(now),
        alarm_until,
        refusals,
    })
}

/// What is known of a country, two letters.
pub(super) async fn country(ctx: &Context, country: &str) -> Result<CountryState> {
    let message: Money = ctx.prices().await?.of(Some(country), Channel::Sms);
    let (states, _) = states(ctx, country, None).await?;
    let now = ctx.reads().now().await?;
    let guard = &ctx.policy.guard;
    let (own, past, whole) = (guard.country(country), states.country.past(), states.everything.past(now));
    let floor = caps::floor(message, own);
    let (open, total) = states.country.counts();
    let mut alarms = ctx.reads().alarms(Timestamp(i64::MIN)).await?;
    alarms.retain(|alarm| alarm.about == country);
    alarms.sort_by_key(|alarm| std::cmp::Reverse((alarm.since, alarm.id)));
    alarms.truncate(SHOWN);
    let there = |_: &Row, step: &TimelineStep| step.details.get("country").and_then(Value::as_str) == Some(country);
    Ok(CountryState {
        open,
        open_at_most: own.cap.map_or(caps::open(floor, &past), f64::from).ceil() as u64,
        total,
        total_at_most: caps::total(floor, &past, &whole, own).ceil() as u64,
        past,
        usual: states.country.usual_conversion(),
        alarm_until: states.country.alarm(now),
        mode: guard.mode.unwrap_or_else(|| Mode::unset(&states.everything)),
        alarms,
        refusals: refusals(ctx, None, there).await?,
    })
}

/// The guard's last refusals of a phone, the newest first.
pub(super) async fn refusals_of(ctx: &Context, phone: &Phone) -> Result<Vec<RuleRefusal>> {
    let known = ctx.reads().usages(&[Subject::Phone(phone.clone())]).await?.into_iter().next().flatten();
    match known {
        Some(fact) => refusals(ctx, Some(fact.id), |_, _| true).await,
        None => Ok(Vec::new()),
    }
}

/// The guard's last refusals in the audit log, all or those of a subject, as far as they are wanted.
async fn refusals(
    ctx: &Context,
    subject: Option<SubjectId>,
    wanted: impl Fn(&Row, &TimelineStep) -> bool,
) -> Result<Vec<RuleRefusal>> {
    let mut refusals = Vec::new();
    for head in ctx.reads().audit_heads().await? {
        let rows = ctx.reads().audit_back(subject, (head.chain, head.seq + 1), LOOK_MAX).await?;
        let steps = rows.iter().filter_map(|row| step(row).filter(|step| wanted(row, step)));
        refusals.extend(steps.filter_map(|step| RuleRefusal::of(&step)));
    }
    refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
    refusals.truncate(SHOWN);
    Ok(refusals)
}
