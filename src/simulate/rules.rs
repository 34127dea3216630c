//! The guard's rules alone, without a database: what the bars are measured with, many seeds at a time.

use std::collections::HashMap;
use std::sync::Arc;

use super::play::{Answer, Defence};
use super::traffic::{Ask, Traffic};
use crate::abuse::{
    self, Block, Counted, Country, Event, EventKind, GuardPolicy, Installation, States, Verdict, counted,
};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::money::{Channel, Money};

/// What is known of a phone: when it was proven, and the messages since that nobody proved.
#[derive(Clone, Copy, Default)]
struct PhoneState {
    proven_at: Option<Timestamp>,
    unproven: u32,
}

/// The guard's rules.
pub struct Rules<'p> {
    policy: &'p GuardPolicy,
    countries: HashMap<Arc<str>, Country>,
    blocks: HashMap<String, Block>,
    phones: HashMap<String, PhoneState>,
    everything: Installation,
}

/// How a message was counted.
pub struct Sent {
    counted: Counted,
    price: Money,
    pooled: bool,
}

/// A phone's number without its last four digits.
fn block_of(ask: &Ask) -> String {
    let number = ask.phone.as_str();
    number[..number.len().saturating_sub(4)].to_owned()
}

impl<'p> Rules<'p> {
    /// Before the first ask of this traffic.
    pub fn new(policy: &'p GuardPolicy, traffic: &Traffic) -> Rules<'p> {
        let first = traffic.asks.first().map_or(traffic.judge_from, |ask| ask.at);
        let proven = |at: Option<Timestamp>| PhoneState { proven_at: Some(at.unwrap_or(first)), unproven: 0 };
        Rules {
            policy,
            countries: HashMap::new(),
            blocks: HashMap::new(),
            phones: traffic.known.iter().map(|known| (known.phone.as_str().to_owned(), proven(known.at))).collect(),
            everything: Installation::default(),
        }
    }

    fn settle(&mut self, now: Timestamp, ask: &Ask, sent: Sent, kind: EventKind) {
        if kind == EventKind::Proven {
            let proven = PhoneState { proven_at: Some(now), unproven: 0 };
            self.phones.insert(ask.phone.as_str().to_owned(), proven);
        }
        let Sent { counted, price, pooled } = sent;
        let event = Event { at: now, kind, reserved_at: ask.at, price, counted, pooled };
        self.countries.entry(Arc::clone(&ask.country)).or_default().apply(&event);
        self.blocks.entry(block_of(ask)).or_default().apply(&event);
        self.everything.apply(&event);
    }
}

impl Defence for Rules<'_> {
    type Sent = Sent;

    fn ask(&mut self, ask: &Ask) -> Result<Answer<Sent>> {
        let phone = self.phones.entry(ask.phone.as_str().to_owned()).or_default();
        let counted = counted(phone.proven_at, phone.unproven, ask.reported, ask.at);
        let price = self.policy.prices.of(Some(&*ask.country), Channel::Sms);
        let asked =
            abuse::Ask { now: ask.at, country: &ask.country, price, counted, challenged: false, allowed: false };
        let (country, block) = (
            self.countries.entry(Arc::clone(&ask.country)).or_default(),
            self.blocks.entry(block_of(ask)).or_default(),
        );
        let mut states = States {
            country: std::mem::take(country),
            block: std::mem::take(block),
            everything: std::mem::take(&mut self.everything),
        };
        let answer = match states.judge(self.policy, &asked).verdict {
            Verdict::Pass => {
                phone.unproven += 1;
                Answer::Sent(Sent { counted, price, pooled: states.sent(self.policy, &asked).pooled })
            }
            Verdict::Challenge(_) => Answer::Challenged,
            Verdict::Refuse(_) => Answer::Refused,
        };
        (*country, *block, self.everything) = (states.country, states.block, states.everything);
        Ok(answer)
    }

    fn proven(&mut self, now: Timestamp, ask: &Ask, sent: Sent) -> Result<()> {
        self.settle(now, ask, sent, EventKind::Proven);
        Ok(())
    }

    fn failed(&mut self, now: Timestamp, ask: &Ask, sent: Sent) -> Result<()> {
        self.settle(now, ask, sent, EventKind::Failed);
        Ok(())
    }
}
