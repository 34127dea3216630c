//! What follows from an operation's changes, made in one place: its sums, and that the text of a message that is settled goes. No
//! operation can move a message and forget either.

use std::collections::BTreeMap;

use super::operation::{Change, Decision, Facts};
use crate::error::{Code, Error, Result};
use crate::message::Message;
use crate::money::Money;
use crate::otp::Otp;
use crate::sums::{self, Sum, SumKey};

/// A decision with what its messages add to the sums, and without the texts that nobody needs any more.
///
/// # Errors
/// `BUG` where a message is written that was not read.
pub fn complete<A>(facts: &Facts, decision: Decision<A>) -> Result<Decision<A>> {
    let Decision::Write { mut changes, event, answer } = decision else { return Ok(decision) };
    let sums = of_changes(facts, &changes)?;
    changes.retain(|change| !matches!(change, Change::AddSum(_)));
    for change in &mut changes {
        if let Change::NewMessage(message) | Change::PutMessage(message) = change
            && !message.needs_text()
        {
            message.text = None;
        }
    }
    changes.extend(sums.into_iter().map(Change::AddSum));
    Ok(Decision::Write { changes, event, answer })
}

/// One sum for each key, in the order of the keys, so that nobody who adds to several waits for somebody who waits for them.
fn of_changes(facts: &Facts, changes: &[Change]) -> Result<Vec<Sum>> {
    let mut added: BTreeMap<SumKey, (i64, Money)> = BTreeMap::new();
    let mut now: BTreeMap<i64, &Message> = BTreeMap::new();
    let new_otp = changes.iter().find_map(|change| if let Change::NewOtp(otp) = change { Some(otp) } else { None });
    let known: Vec<&Otp> = new_otp.into_iter().chain(&facts.otp).chain(&facts.recent).collect();
    let purpose = |message: &Message| {
        let otp = known.iter().find(|otp| Some(otp.id) == message.otp_id);
        otp.map_or("", |otp| otp.purpose.as_str())
    };
    for change in changes {
        let sums = match change {
            Change::NewMessage(message) => {
                now.insert(message.id, message);
                let is_new = new_otp.is_some_and(|otp| Some(otp.id) == message.otp_id);
                sums::charged(message, purpose(message), is_new).into_iter().collect()
            }
            Change::PutMessage(message) => {
                let read = || facts.message.iter().chain(&facts.messages).find(|known| known.id == message.id);
                let unread = || Error::new(Code::BUG, "an operation wrote a message that it had not read");
                let before = now.insert(message.id, message).or_else(read).ok_or_else(unread)?;
                let mut sums = sums::moved(before, message, purpose(message));
                if before.provider != message.provider {
                    // Another provider takes it on, so the message is counted with that one.
                    let is_new = message.otp_id.is_some() && facts.messages.iter().all(|other| other.id >= message.id);
                    let charged = |one| sums::charged(one, purpose(message), is_new);
                    sums.extend(charged(before).map(Sum::negated));
                    sums.extend(charged(message));
                }
                sums
            }
            Change::AddSum(sum) => vec![sum.clone()],
            _ => Vec::new(),
        };
        for Sum { key, count, cost } in sums {
            let sum = added.entry(key).or_insert((0, Money::ZERO));
            *sum = (sum.0 + count, sum.1.plus(cost));
        }
    }
    let added = added.into_iter().map(|(key, (count, cost))| Sum { key, count, cost });
    Ok(added.filter(|sum| sum.count != 0 || sum.cost != Money::ZERO).collect())
}
