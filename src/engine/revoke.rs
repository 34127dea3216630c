//! revoke takes live codes back: none of them verifies after it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::context::{Caller, Context};
use super::outcomes::Outcomes;
use crate::abuse::EventKind;
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::delivery;
use crate::error::Result;
use crate::message::{Message, State as MessageState};
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::{Change, Decision, Needs, OtpNeed, Subject};

/// What was canceled of a message without a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceled {
    /// It waited, and is not sent any more.
    Done,
    /// It waits no more: it is out, is being handed over, or came to nothing.
    TooLate(MessageState),
    /// It carries the code of this otp, and codes are revoked.
    OfOtp(i64),
    /// There is no such message.
    NotFound,
}

/// How many of a phone's otps are looked at: far more than can live at a time.
const LOOK_MAX: u32 = 200;

/// The reason that says that the person was proven in another way.
pub const VERIFIED_OTHERWISE: &str = "verified_otherwise";

/// What to revoke.
#[derive(Clone, Debug)]
pub enum Revoke {
    /// One otp.
    Id(i64),
    /// All that live for a phone, narrowed to a purpose and a user where these are given.
    Phone(Phone, Option<Purpose>, Option<User>),
}

/// An otp that was revoked.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Its id.
    pub otp_id: i64,
    /// Its purpose.
    pub purpose: String,
    /// Its phone; shown masked.
    pub phone: String,
}

/// Without the phone: what is shown by `{:?}` ends up in logs.
impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").field("otp_id", &self.otp_id).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

/// Revokes what is live, and what waits to be sent for it. Answers what was revoked: nothing where nothing was live.
pub(super) async fn revoke(ctx: &Context, caller: &Caller, what: &Revoke, reason: &str) -> Result<Vec<Revoked>> {
    let candidates = match what {
        Revoke::Id(id) => ctx.reads().otp(*id).await?.into_iter().collect(),
        Revoke::Phone(phone, ..) => ctx.reads().of_phone(phone, LOOK_MAX).await?,
    };
    let mut revoked = Vec::new();
    for otp in candidates.into_iter().filter(|otp| otp.state == State::Active && wanted(what, otp)) {
        revoked.extend(revoke_one(ctx, caller, &otp, reason).await?);
    }
    Ok(revoked)
}

pub(super) async fn revoke_one(ctx: &Context, caller: &Caller, otp: &Otp, reason: &str) -> Result<Option<Revoked>> {
    let subjects = vec![Subject::Phone(otp.phone.clone()), Subject::block_of(&otp.phone)];
    let needs = Needs { subjects, otp: OtpNeed::Id(otp.id), messages: true, ..Needs::default() };
    let (actor, reason, policy) = (caller.actor.clone(), reason.to_owned(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let (now, phone) = (facts.checked_now()?, facts.phone()?);
        let Some(mut otp) = facts.otp.clone().filter(|otp| otp.is_live(now)) else {
            return Ok(Decision::Nothing(None));
        };
        otp.end(State::Revoked, now);
        let mut changes = vec![Change::PutOtp(otp.clone())];
        // Somebody who is who they say they are, by another proof.
        let verified = reason == VERIFIED_OTHERWISE && !otp.test;
        let (mut outcomes, mut unsent) = (Outcomes::of(facts), 0);
        if verified {
            outcomes.proven(now, false);
        }
        for message in facts.messages.iter().filter(|message| message.state.is_waiting()) {
            unsent += 1;
            changes.push(Change::PutMessage(canceled(message, &mut outcomes, now)));
        }
        changes.extend(outcomes.changes(now, &policy.limits)?);
        changes.push(phone.updated(now, &policy.limits, |usage| {
            usage.unproven = usage.unproven.saturating_sub(unsent);
            if verified {
                usage.prove(now);
            }
        }));
        let details = Details::new().number("otp", otp.id).note("reason", &reason);
        let event = Event::new(now, actor.clone(), "revoke", "done").subject(&phone.id.0).details(details);
        let revoked =
            Revoked { otp_id: otp.id, purpose: otp.purpose.as_str().to_owned(), phone: otp.phone.as_str().to_owned() };
        Ok(Decision::Write { changes, event, answer: Some(revoked) })
    })
    .await
}

/// Cancels a message without a code that waits to be sent, and gives it back.
pub(super) async fn cancel(ctx: &Context, caller: &Caller, id: i64, reason: &str) -> Result<Canceled> {
    let Some(known) = ctx.reads().message(id).await? else { return Ok(Canceled::NotFound) };
    if let Some(otp) = known.otp_id {
        return Ok(Canceled::OfOtp(otp));
    }
    let subjects = vec![Subject::Phone(known.phone.clone()), Subject::block_of(&known.phone)];
    let needs = Needs { subjects, message: Some(id), ..Needs::default() };
    let (actor, reason, policy) = (caller.actor.clone(), reason.to_owned(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let (now, phone) = (facts.checked_now()?, facts.phone()?);
        let Some(message) = &facts.message else { return Ok(Decision::Nothing(Canceled::NotFound)) };
        if !message.state.is_waiting() {
            return Ok(Decision::Nothing(Canceled::TooLate(message.state)));
        }
        let mut outcomes = Outcomes::of(facts);
        let canceled = canceled(message, &mut outcomes, now);
        let mut changes = outcomes.changes(now, &policy.limits)?;
        changes.push(phone.updated(now, &policy.limits, |usage| delivery::give_back(usage, message)));
        changes.push(Change::PutMessage(canceled));
        let details = Details::new().number("message", id).note("reason", &reason);
        let event = Event::new(now, actor.clone(), "revoke", "done").subject(&phone.id.0).details(details);
        Ok(Decision::Write { changes, event, answer: Canceled::Done })
    })
    .await
}

/// A waiting message that is not sent any more.
fn canceled(message: &Message, outcomes: &mut Outcomes<'_>, now: Timestamp) -> Message {
    let mut message = message.clone();
    message.state = MessageState::Canceled;
    (message.due_at, message.updated_at) = (None, now);
    outcomes.add(EventKind::NotSent, &mut message, now);
    message
}

fn wanted(what: &Revoke, otp: &Otp) -> bool {
    match what {
        Revoke::Id(id) => otp.id == *id,
        Revoke::Phone(phone, purpose, user) => {
            otp.phone == *phone
                && purpose.as_ref().is_none_or(|purpose| *purpose == otp.purpose)
                && user.as_ref().is_none_or(|user| *user == otp.user)
        }
    }
}
