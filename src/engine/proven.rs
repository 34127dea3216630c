//! proven: the caller says that a person was proven in another way than by entering the code.

use std::sync::Arc;

use super::context::{Caller, Context};
use super::outcomes::Outcomes;
use super::revoke::VERIFIED_OTHERWISE;
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::otp::State;
use crate::store::{Change, Decision, Needs, OtpNeed, Subject};

/// What became of the word of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// It counts as if the code had been entered, which opens nothing any more.
    Counted,
    /// That was known already: the code was entered, or a caller said so before. Nothing has changed.
    Known,
    /// There is no such otp.
    NotFound,
}

/// Takes a caller's word that the person whom an otp was sent to is who they say they are. A live code is revoked by it.
pub(super) async fn proven(ctx: &Context, caller: &Caller, otp_id: i64) -> Result<Proven> {
    let Some(otp) = ctx.reads().otp(otp_id).await? else { return Ok(Proven::NotFound) };
    let subjects = vec![Subject::Phone(otp.phone.clone()), Subject::block_of(&otp.phone)];
    let needs = Needs { subjects, otp: OtpNeed::Id(otp_id), messages: true, ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let (now, phone) = (facts.checked_now()?, facts.phone()?);
        let Some(mut otp) = facts.otp.clone() else { return Ok(Decision::Nothing(Proven::NotFound)) };
        let live = otp.is_live(now);
        let open = facts.messages.iter().any(|message| message.open && message.state.may_be_out());
        if otp.test || otp.state == State::Verified || !(live || open) {
            return Ok(Decision::Nothing(Proven::Known));
        }
        let mut outcomes = Outcomes::of(facts);
        outcomes.proven(now, false);
        let mut changes = outcomes.changes(now, &policy.limits)?;
        if live {
            otp.end(State::Revoked, now);
            changes.push(Change::PutOtp(otp.clone()));
        }
        changes.push(phone.updated(now, &policy.limits, |usage| usage.prove(now)));
        let details = Details::new().number("otp", otp.id).word("reason", VERIFIED_OTHERWISE).flag("revoked", live);
        let event = Event::new(now, actor.clone(), "proven", "done").subject(&phone.id.0).details(details);
        Ok(Decision::Write { changes, event, answer: Proven::Counted })
    })
    .await
}
