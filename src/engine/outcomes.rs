//! What became of messages, for the guard. The block of numbers is written at once, under the lock that the operation holds; the
//! country and everything take it in with the next send, so that nobody waits for their rows.

use crate::abuse::{Block, Counted, Event, EventKind};
use crate::clock::Timestamp;
use crate::delivery;
use crate::error::Result;
use crate::limits::Limits;
use crate::message::{Message, State};
use crate::money::Money;
use crate::store::{Change, Facts, MoneyEvent, SubjectKind};
use crate::sums;

/// What became of messages of one phone, in one operation.
pub(super) struct Outcomes<'f> {
    facts: &'f Facts,
    block: Option<Block>,
    changes: Vec<Change>,
}

impl<'f> Outcomes<'f> {
    /// None yet.
    pub fn of(facts: &'f Facts) -> Outcomes<'f> {
        Outcomes { facts, block: None, changes: Vec::new() }
    }

    /// A message was proven, failed or was not sent. Only the first of these counts; the message remembers that.
    pub fn add(&mut self, kind: EventKind, message: &mut Message, at: Timestamp) {
        if !std::mem::take(&mut message.open) {
            return;
        }
        let event = event(kind, message, message.cost(), at);
        match kind {
            EventKind::NotSent => message.settled = Some(Money::ZERO),
            _ if message.counted != Counted::Stranger => return,
            _ => {}
        }
        if message.counted == Counted::Stranger {
            self.block_mut().apply(&event);
        }
        if message.counted != Counted::Known {
            self.wait_for(MoneyEvent::scope(&message.country), &event);
        }
        if kind != EventKind::Failed {
            self.wait_for("", &event);
        }
    }

    /// The messages of the otp at hand are proven, all that may be out: their phone is in the hands of somebody who uses what is
    /// sent there. They are written with the rest. `entered`: the code was.
    pub fn proven(&mut self, now: Timestamp, entered: bool) {
        if let Some(otp) = &self.facts.otp {
            let sums = sums::verified(&self.facts.messages, otp.purpose.as_str(), (otp.created_at, now), entered);
            self.changes.extend(sums.into_iter().map(Change::AddSum));
        }
        for message in self.facts.messages.iter().filter(|message| message.open && message.state.may_be_out()) {
            let mut message = message.clone();
            self.add(EventKind::Proven, &mut message, now);
            self.changes.push(Change::PutMessage(message));
        }
    }

    /// The final price of a message is known.
    pub fn priced(&mut self, message: &mut Message, price: Option<Money>, at: Timestamp) {
        let Some(price) = price.filter(|price| is_news(message, *price)) else { return };
        let more = price.minus(message.cost());
        message.settled = Some(price);
        if more != Money::ZERO {
            // What left the pool has left it with the price that it had.
            let pooled = message.pooled && message.open;
            self.wait_for("", &Event { pooled, ..event(EventKind::Priced, message, more, at) });
        }
    }

    /// A message moved from one state to another, with the provider's word: whoever took it and says that it came to nothing was
    /// paid all the same, as far as that is known.
    pub fn moved(&mut self, message: &mut Message, at: Timestamp) {
        if matches!(message.state, State::Failed | State::Undelivered | State::Canceled) {
            self.add(EventKind::Failed, message, at);
        }
    }

    /// Everything that is to be written for it.
    pub fn changes(self, now: Timestamp, limits: &Limits) -> Result<Vec<Change>> {
        let mut changes = self.changes;
        if let Some(block) = self.block {
            changes.push(self.facts.block()?.updated(now, limits, |usage| usage.block = Some(block)));
        }
        Ok(changes)
    }

    fn block_mut(&mut self) -> &mut Block {
        let known = || self.facts.role(SubjectKind::Block).and_then(|fact| fact.usage.block.clone());
        self.block.get_or_insert_with(|| known().unwrap_or_default())
    }

    fn wait_for(&mut self, scope: &str, event: &Event) {
        self.changes.push(Change::NewEvent(MoneyEvent::new(scope, event)));
    }
}

/// Whether a price says more than is known.
pub(super) fn is_news(message: &Message, price: Money) -> bool {
    message.counted != Counted::Free && message.settled != Some(price)
}

/// A message with what is new of it; `None` where nothing is.
pub(super) fn with_news(
    message: &Message,
    (news, why): (&delivery::News, Option<&delivery::Reason>),
    now: Timestamp,
) -> Option<Message> {
    let priced = || news.price.is_some_and(|price| is_news(message, price)).then(|| message.clone());
    delivery::report(message, news, why, now).or_else(priced)
}

fn event(kind: EventKind, message: &Message, price: Money, at: Timestamp) -> Event {
    let Message { reserved_at, counted, pooled, .. } = *message;
    Event { at, kind, reserved_at, price, counted, pooled }
}
