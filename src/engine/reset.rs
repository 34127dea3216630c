//! reset makes a subject's limits forget: staff's answer to a customer who is locked out. Audited.

use std::sync::Arc;

use serde::Serialize;

use super::context::{Caller, Context};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::otp::User;
use crate::store::{Decision, Needs, Subject};
use crate::usage::Usage;

/// What to forget, and whose.
#[derive(Clone, Debug)]
pub struct Reset {
    /// The subject. A phone with a user also opens their budget of guesses in a row.
    pub subject: Subject,
    /// The user whose guesses in a row with this phone are forgotten; the empty user where none is named.
    pub user: User,
    /// Also forget that the recipient opted out.
    pub opt_out: bool,
    /// Forget nothing: only take what a clock that was ahead recorded as if it had happened now.
    pub clock: bool,
    /// Why, for the audit log.
    pub reason: String,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Messages that limits counted.
    pub sends: usize,
    /// Wrong guesses.
    pub guesses: usize,
    /// Refusals by the provider.
    pub refusals: usize,
    /// An opt-out.
    pub opt_out: bool,
    /// Subjects that a clock had taken ahead.
    pub ahead: usize,
}

/// Makes limits forget. The live code keeps its own spent guesses: a reset lets ask, it never lets guess more.
pub(super) async fn reset(ctx: &Context, caller: &Caller, reset: Reset) -> Result<Forgotten> {
    let mut subjects = vec![reset.subject.clone()];
    if let Subject::Phone(phone) = &reset.subject {
        subjects.push(Subject::Pair(reset.user.clone(), phone.clone()));
    }
    let needs = Needs { subjects, ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let mut forgotten = Forgotten::default();
        let mut changes = Vec::new();
        for fact in &facts.subjects {
            forgotten.ahead += usize::from(fact.usage.seen > facts.now.millis());
            if !reset.clock {
                forgotten.count(&fact.usage, reset.opt_out);
            }
            changes.push(fact.updated(facts.now, &policy.limits, |usage| {
                usage.none_after(facts.now);
                if !reset.clock {
                    *usage = Usage {
                        opted_out_at: usage.opted_out_at.filter(|_| !reset.opt_out),
                        verified_at: usage.verified_at,
                        // What a phone has proven is no limit that a reset opens.
                        proven_at: usage.proven_at,
                        unproven: usage.unproven,
                        // Nor is what was spent.
                        everything: usage.everything.clone(),
                        // Whoever replays an old STOP would take back what staff has just done.
                        texts: usage.texts.clone(),
                        seen: usage.seen,
                        ..Usage::default()
                    };
                }
            }));
        }
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let details = Details::new()
            .number("sends", number(forgotten.sends))
            .number("guesses", number(forgotten.guesses))
            .flag("opt_out", forgotten.opt_out)
            .flag("clock", reset.clock)
            .number("ahead", number(forgotten.ahead))
            .word("counts", reset.subject.kind().as_str())
            .note("reason", &reset.reason);
        let mut event = Event::new(facts.now, actor.clone(), "limits.reset", "done").details(details);
        if let Some(first) = facts.subjects.first() {
            event = event.subject(&first.id.0);
        }
        Ok(Decision::Write { changes, event, answer: forgotten })
    })
    .await
}

impl Forgotten {
    /// Adds what another subject's limits forgot.
    pub fn add(&mut self, other: Forgotten) {
        self.sends += other.sends;
        self.guesses += other.guesses;
        self.refusals += other.refusals;
        self.opt_out |= other.opt_out;
        self.ahead += other.ahead;
    }

    fn count(&mut self, usage: &Usage, opt_out: bool) {
        let slots = usage.slots.iter().flat_map(|slots| &slots.counts).map(|(_, n)| *n);
        self.sends += usage.sends.len() + usize::try_from(slots.max().unwrap_or(0)).unwrap_or(0);
        self.refusals += usage.refused.len();
        // The same wrong guess is counted for the phone, for the user with the phone, and in their row.
        let in_a_row = usize::try_from(usage.in_a_row.saturating_add(usage.known_in_a_row)).unwrap_or(usize::MAX);
        self.guesses = self.guesses.max(in_a_row).max(usage.guesses.len() + usage.known_guesses.len());
        self.opt_out |= opt_out && usage.opted_out_at.is_some();
    }
}
