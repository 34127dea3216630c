//! The guard in a send: the states that the message is weighed against, and where they are kept.

use crate::abuse::{Ask, Full, GuardPolicy, Judged, Rule, States};
use crate::alarm::Raised;
use crate::audit::Details;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits::Limits;
use crate::phone::Phone;
use crate::store::{Change, Facts, Subject, SubjectFact, SubjectKind};
use crate::usage::Usage;

/// The states of the guard that a message is weighed against, with what waited to be taken in.
pub(super) struct Weighed {
    states: States,
    taken: Vec<i64>,
}

/// Whose rows the guard keeps for a message.
pub(super) fn subjects(phone: &Phone, country: &str) -> [Subject; 3] {
    [Subject::Country(country.to_owned()), Subject::block_of(phone), Subject::Everything]
}

impl Weighed {
    /// The states as the database has them, after everything that waited. No error asks for a reset of what the guard alone keeps
    /// after a clock was ahead: what was counted then counts as now, or it would fill the caps until that time has come.
    pub fn load(facts: &Facts, now: Timestamp) -> Result<Weighed> {
        let (country, block, everything) = (facts.country()?, facts.block()?, facts.everything()?);
        let mut states = States {
            country: country.usage.country.as_deref().cloned().unwrap_or_default(),
            block: block.usage.block.clone().unwrap_or_default(),
            everything: everything.usage.everything.as_deref().cloned().unwrap_or_default(),
        };
        if [country, block, everything].iter().any(|fact| fact.usage.seen > now.millis()) {
            states.none_after(now);
        }
        for waiting in &facts.events {
            match waiting.scope.is_empty() {
                true => states.everything.apply(&waiting.event()),
                false => states.country.apply(&waiting.event()),
            }
        }
        Ok(Weighed { states, taken: facts.events.iter().map(|event| event.id).collect() })
    }

    /// Weighs a message.
    pub fn judge(&mut self, policy: &GuardPolicy, ask: &Ask<'_>) -> Judged {
        self.states.judge(policy, ask)
    }

    /// Counts a message that passed; answers whether it is pooled, and what somebody has to hear of.
    pub fn sent(&mut self, policy: &GuardPolicy, ask: &Ask<'_>) -> (bool, Vec<Raised>) {
        let sent = self.states.sent(policy, ask);
        (sent.pooled, sent.alarms)
    }

    /// Writes a subject's state into its usage.
    pub fn put(&self, kind: SubjectKind, usage: &mut Usage) {
        match kind {
            SubjectKind::Country => usage.country = Some(Box::new(self.states.country.clone())),
            SubjectKind::Block => usage.block = Some(self.states.block.clone()),
            SubjectKind::Everything => usage.everything = Some(Box::new(self.states.everything.clone())),
            _ => {}
        }
    }

    /// A subject's fact with its state as it is now.
    pub fn fact(&self, fact: &SubjectFact) -> SubjectFact {
        let mut fact = fact.clone();
        self.put(fact.subject.kind(), &mut fact.usage);
        fact
    }

    /// What keeps a country or a block as it is now.
    pub fn change(&self, fact: &SubjectFact, now: Timestamp, limits: &Limits) -> Change {
        fact.updated(now, limits, |usage| {
            if fact.subject.kind().is_of_guard() {
                usage.none_after(now);
            }
            self.put(fact.subject.kind(), usage);
        })
    }

    /// The ids of what was taken in.
    pub fn taken(&self) -> Vec<i64> {
        self.taken.clone()
    }

    /// The same as a change, where there was any.
    pub fn take(&self) -> Option<Change> {
        (!self.taken.is_empty()).then(|| Change::TakeEvents(self.taken.clone()))
    }
}

/// Whose counts a rule is about: refusals of it are counted there.
pub(super) fn kind_of(rule: Rule) -> SubjectKind {
    match rule {
        Rule::Closed | Rule::CountryOpen | Rule::CountryTotal | Rule::Alarm => SubjectKind::Country,
        Rule::Block => SubjectKind::Block,
        Rule::Pool | Rule::MessageCeiling | Rule::HourCeiling | Rule::DayCeiling | Rule::MonthCeiling => {
            SubjectKind::Everything
        }
    }
}

/// What the audit log has of a rule that refused.
pub(super) fn details(details: Details, full: &Full, country: &str) -> Details {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let details = details
        .word("rule", full.rule.into())
        .number("used", number(full.used))
        .number("allowed", number(full.allowed))
        .flag("in_money", full.rule.in_money());
    let details = match full.room_at {
        Some(at) => details.number("room_at", at.millis()),
        None => details,
    };
    if country.is_empty() { details } else { details.note("country", country) }
}
