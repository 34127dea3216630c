//! The rules alone, limits and guard, without a database: the same answers as the whole engine gives, a hundred times as fast.

use std::collections::HashMap;
use std::sync::Arc;

use super::column::Column;
use super::play::{Answer, Defence};
use super::traffic::{Ask, Traffic};
use crate::abuse::{self, Block, Counted, Country, Event, EventKind, Installation, Judged, States, Verdict, counted};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits::SendUsages;
use crate::money::{Channel, Money};
use crate::policy::Policy;
use crate::purpose::Purpose;
use crate::subject::Subject;
use crate::usage::Usage;

/// Limits and guard, with what they count.
pub struct Rules<'p> {
    policy: &'p Policy,
    column: Column,
    reporting: Purpose,
    silent: Purpose,
    usages: HashMap<Subject, Usage>,
    countries: HashMap<Arc<str>, Country>,
    blocks: HashMap<Subject, Block>,
    everything: Installation,
}

/// How a message was counted.
pub struct Sent {
    counted: Counted,
    price: Money,
    pooled: bool,
}

/// Whose limits count an ask.
struct Who {
    phone: Subject,
    user: Option<Subject>,
    client: Option<[Subject; 2]>,
}

impl Who {
    fn of(ask: &Ask) -> Who {
        Who {
            phone: Subject::Phone(ask.phone.clone()),
            user: (!ask.user.is_empty()).then(|| Subject::User(ask.user.clone())),
            client: ask.ip.map(Subject::of_client),
        }
    }
}

impl<'p> Rules<'p> {
    /// Before the first ask of this traffic.
    ///
    /// # Errors
    /// None that is not our bug.
    pub fn new(policy: &'p Policy, column: Column, traffic: &Traffic) -> Result<Rules<'p>> {
        let first = traffic.asks.first().map_or(traffic.judge_from, |ask| ask.at);
        let mut usages: HashMap<Subject, Usage> = HashMap::new();
        for known in &traffic.known {
            let usage = usages.entry(Subject::Phone(known.phone.clone())).or_default();
            usage.proven_at = Some(known.at.unwrap_or(first).min(first).millis());
        }
        let (reporting, silent) = Column::purposes()?;
        let (countries, blocks, everything) = (HashMap::new(), HashMap::new(), Installation::default());
        Ok(Rules { policy, column, reporting, silent, usages, countries, blocks, everything })
    }

    fn purpose(&self, ask: &Ask) -> &Purpose {
        if ask.reported { &self.reporting } else { &self.silent }
    }

    /// Whether a plain limit refuses it.
    fn is_limited(&self, ask: &Ask, who: &Who) -> bool {
        let none = Usage::default();
        let usage = |subject: &Subject| self.usages.get(subject).unwrap_or(&none);
        let of = SendUsages {
            phone: usage(&who.phone),
            phone_short: ask.phone.as_str(),
            purpose: Some(self.purpose(ask).as_str()),
            // Nobody guesses here, so what counts guesses is empty.
            pair: Some(&none),
            user: who.user.as_ref().map(usage),
            ip: who.client.as_ref().map(|[ip, _]| usage(ip)),
            network: who.client.as_ref().map(|[_, network]| usage(network)),
            everything: Some(usage(&Subject::Everything)),
            known: false,
            new_code: true,
            verified: false,
        };
        !self.policy.limits.hits(&of, ask.at).is_empty()
    }

    /// Counts a message with all whose limits count it.
    fn count(&mut self, ask: &Ask, who: Who) {
        let purpose = self.purpose(ask).clone();
        let client = who.client.into_iter().flatten();
        for subject in [who.phone, Subject::Everything].into_iter().chain(who.user).chain(client) {
            let (kind, limits) = (subject.kind(), &self.policy.limits);
            let usage = self.usages.entry(subject).or_default();
            limits.count_send(kind, usage, Some(purpose.as_str()), ask.phone.as_str(), ask.at);
        }
    }

    fn settle(&mut self, now: Timestamp, ask: &Ask, sent: Sent, kind: EventKind) {
        let Sent { counted, price, pooled } = sent;
        let event = Event { at: now, kind, reserved_at: ask.at, price, counted, pooled };
        self.countries.entry(Arc::clone(&ask.country)).or_default().apply(&event);
        self.blocks.entry(Subject::block_of(&ask.phone)).or_default().apply(&event);
        self.everything.apply(&event);
    }
}

impl Defence for Rules<'_> {
    type Sent = Sent;

    fn ask(&mut self, ask: &Ask) -> Result<Answer<Sent>> {
        let elsewhere = |listed: &[String]| !listed.iter().any(|one| one.eq_ignore_ascii_case(&ask.country));
        if self.policy.countries.as_deref().is_some_and(elsewhere) {
            return Ok(Answer::Refused);
        }
        let who = Who::of(ask);
        if self.is_limited(ask, &who) {
            return Ok(if self.column == Column::Limits { Answer::Refused } else { Answer::Limited });
        }
        let (proven_at, unproven) =
            self.usages.get(&who.phone).map_or((None, 0), |usage| (usage.proven_at.map(Timestamp), usage.unproven));
        let policy = &self.policy.guard;
        let asked = abuse::Ask {
            now: ask.at,
            country: &ask.country,
            price: policy.prices.of(Some(&*ask.country).filter(|country| !country.is_empty()), Channel::Sms),
            counted: counted(proven_at, unproven, ask.reported, ask.at),
            challenged: false,
            allowed: false,
        };
        let country = self.countries.entry(Arc::clone(&ask.country)).or_default();
        let block = self.blocks.entry(Subject::block_of(&ask.phone)).or_default();
        let mut states = States {
            country: std::mem::take(country),
            block: std::mem::take(block),
            everything: std::mem::take(&mut self.everything),
        };
        let Judged { verdict, .. } = states.judge(policy, &asked);
        let answer = match verdict {
            Verdict::Pass => {
                let pooled = states.sent(policy, &asked).pooled;
                Answer::Sent(Sent { counted: asked.counted, price: asked.price, pooled })
            }
            Verdict::Challenge(_) => Answer::Challenged,
            Verdict::Refuse(_) => Answer::Refused,
        };
        (*country, *block, self.everything) = (states.country, states.block, states.everything);
        if matches!(answer, Answer::Sent(_)) {
            self.count(ask, who);
        }
        Ok(answer)
    }

    fn proven(&mut self, now: Timestamp, ask: &Ask, sent: Sent) -> Result<()> {
        if !ask.reported {
            return Ok(());
        }
        let purpose = self.purpose(ask).clone();
        let in_time =
            now.since(ask.at) < self.policy.purposes.get(&purpose).map_or_else(Default::default, |own| own.ttl);
        let phone = self.usages.entry(Subject::Phone(ask.phone.clone())).or_default();
        phone.prove(now);
        if in_time {
            phone.purpose_mut(purpose.as_str()).asked.clear();
        }
        self.settle(now, ask, sent, EventKind::Proven);
        Ok(())
    }

    fn failed(&mut self, now: Timestamp, ask: &Ask, sent: Sent) -> Result<()> {
        self.settle(now, ask, sent, EventKind::Failed);
        Ok(())
    }
}
