//! The first step of a send, in one transaction: the live otp or a new one, if its message is admitted; then message and audit row.

use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Admitted, Asked, Pass};
use super::context::{Caller, Context, code_of};
use super::request::SendOtp;
use super::sent::{Refusal, SentMessage, Ticket};
use crate::clock::Timestamp;
use crate::delivery;
use crate::error::{Code, Error, Result};
use crate::keys::{Keyring, fill_random};
use crate::limits::SendUsages;
use crate::locale::Locale;
use crate::message::{self, Message};
use crate::otp::{Otp, State};
use crate::purpose::{Purpose, PurposePolicy, Resend};
use crate::store::{Change, Decision, Facts, Needs, OtpNeed, Reply};
use crate::template::Endings;

/// A code with less left than this is not sent again: a new one is.
const WORTH_RESENDING: Duration = Duration::from_secs(120);

/// How many nonces are tried for a code that no other of the phone and purpose has.
const DRAWS_MAX: usize = 32;

/// How a reservation ended.
pub(super) enum Reserved {
    /// Charged and claimed: hand it over.
    Go(Box<Ticket>),
    /// A test number: nothing to hand over.
    Done(Box<SentMessage>),
    /// No.
    Refused(Box<Refusal>),
    /// Messages of the same otp whose outcome is open: settle them first.
    Orphans(Vec<i64>),
    /// A message of the same otp waits for the provider, which takes it no sooner than then.
    Waits(Box<SentMessage>, Timestamp),
}

/// What was done already about earlier messages of the same otp.
#[derive(Clone, Copy, Default)]
pub(super) struct LookedAfter {
    /// Those whose outcome was open were settled, as far as that goes now.
    pub orphans: bool,
    /// The one that waits for the provider was waited for.
    pub waited: bool,
}

/// Reserves and claims a message, or says why not.
pub(super) async fn reserve(
    ctx: &Context,
    caller: &Caller,
    request: &SendOtp,
    segments: u32,
    reply: Option<Reply>,
    looked_after: LookedAfter,
) -> Result<Reserved> {
    let settings = ctx.policy.purpose(&request.purpose).ok_or_else(|| ctx.unknown_purpose(&request.purpose))?;
    let asked = Asked {
        action: "send",
        to: &request.to,
        user: request.user.clone(),
        purpose: Some(request.purpose.clone()),
        override_limits: request.override_limits.as_ref(),
        challenged: request.challenge_passed,
        segments,
        reply,
    };
    let reservation = Reservation {
        asks: Admission::of(ctx, caller, asked).await?,
        purpose: request.purpose.clone(),
        settings: settings.clone(),
        keyring: Arc::clone(&ctx.keyring),
        new_code: request.new_code,
        endings: request.endings.clone(),
        locale: request.locale.clone(),
        looked_after,
    };
    let needs = reservation.needs();
    ctx.operate(needs, move |facts| reservation.decide(facts)).await
}

/// All that the decision needs besides the facts: no connection to anything.
struct Reservation {
    asks: Admission,
    purpose: Purpose,
    settings: PurposePolicy,
    keyring: Arc<Keyring>,
    new_code: bool,
    endings: Endings,
    locale: Option<Locale>,
    looked_after: LookedAfter,
}

impl Reservation {
    fn needs(&self) -> Needs {
        let Admission { user, phone, .. } = &self.asks;
        let otp = OtpNeed::Of(user.clone(), phone.clone(), self.purpose.clone());
        Needs { otp, messages: true, ..self.asks.needs() }
    }

    fn decide(&self, facts: &Facts) -> Result<Decision<Reserved>> {
        let now = self.asks.begin(facts)?;
        if self.asks.is_test_number(facts, now) {
            return self.for_test_number(facts, now);
        }
        if !self.looked_after.orphans {
            let gone = facts.messages.iter().filter(|message| delivery::is_orphan(message, now));
            let orphans: Vec<i64> = gone.map(|message| message.id).collect();
            if !orphans.is_empty() {
                return Ok(Decision::Nothing(Reserved::Orphans(orphans)));
            }
        }
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now));
        if let Some((otp, waiting)) = self.waiting(facts, live, now)? {
            if let Some(due) = waiting.due_at.filter(|due| *due > now && !self.looked_after.waited) {
                let sent = Box::new(SentMessage::of(waiting, false, now));
                return Ok(Decision::Nothing(Reserved::Waits(sent, due)));
            }
            return self.take_over(facts, otp, waiting, now);
        }
        let new_code = self.resendable(facts, now).is_none();
        match self.asks.admit(facts, new_code, now)? {
            Admitted::No(decision) => Ok(decision.map(Reserved::Refused)),
            Admitted::Yes(pass) => self.go(facts, pass, now),
        }
    }

    /// The otp: the live one again, or a new one; then the message, the limits, the guard, the audit row.
    fn go(&self, facts: &Facts, pass: Box<Pass<'_>>, now: Timestamp) -> Result<Decision<Reserved>> {
        let (otp, resent, mut changes) = self.otp(facts, now)?;
        let message = self.message(&otp, facts.next_message_id, now);
        let details = self.asks.details(&message, if resent { "resend" } else { "new" });
        let (message, reserved, details) = self.asks.reserve(facts, pass, message, details)?;
        changes.extend(reserved);
        let ticket = Ticket { otp: Some(otp), message, resent, reply: None };
        self.asks.hand_out(facts, now, ticket, changes, details).map(|decision| decision.map(Reserved::Go))
    }

    fn otp(&self, facts: &Facts, now: Timestamp) -> Result<(Otp, bool, Vec<Change>)> {
        let mut changes = Vec::new();
        if let Some(old) = self.resendable(facts, now) {
            // Before anything is recorded: without its key the code cannot be sent again.
            code_of(&self.keyring, old)?;
            return Ok((old.clone(), true, changes));
        }
        changes.extend(facts.otp.as_ref().map(|old| replaced(old, now)));
        let otp = self.draw(facts, now, false)?;
        changes.push(Change::NewOtp(otp.clone()));
        Ok((otp, false, changes))
    }

    /// The otp whose code goes out once more instead of a new one.
    fn resendable<'a>(&self, facts: &'a Facts, now: Timestamp) -> Option<&'a Otp> {
        let again = !self.new_code && self.settings.resend == Resend::Same;
        let live = facts.otp.as_ref().filter(|otp| again && otp.is_live(now) && !otp.test);
        live.filter(|otp| otp.left(now) >= WORTH_RESENDING)
    }

    /// A new otp whose code differs from every other of the phone and purpose that is still in the database.
    fn draw(&self, facts: &Facts, now: Timestamp, test: bool) -> Result<Otp> {
        // The code of a key that was pruned since can be computed by nobody, so nothing can equal it.
        let others: Vec<_> = facts.recent.iter().filter_map(|otp| code_of(&self.keyring, otp).ok()).collect();
        let mut otp = Otp {
            id: facts.next_otp_id,
            user: self.asks.user.clone(),
            phone: self.asks.phone.clone(),
            purpose: self.purpose.clone(),
            nonce: [0; 16],
            key_id: self.keyring.primary().id(),
            digits: self.settings.digits,
            created_at: now,
            expires_at: now + self.settings.ttl,
            state: State::Active,
            ended_at: None,
            wrong_guesses: 0,
            test,
            known: self.asks.caller.known,
        };
        for _ in 0..DRAWS_MAX {
            fill_random(&mut otp.nonce)?;
            let code = code_of(&self.keyring, &otp)?;
            if !others.iter().any(|other| other.matches(&code)) {
                return Ok(otp);
            }
        }
        Err(Error::new(Code::BUG, format!("{DRAWS_MAX} random codes were all in use for this phone"))
            .hint("The random generator of this machine seems to be broken; report this."))
    }

    fn message(&self, otp: &Otp, id: i64, now: Timestamp) -> Message {
        Message {
            otp_id: Some(otp.id),
            endings: self.endings.clone(),
            locale: self.locale.clone(),
            ..self.asks.message(id, otp.expires_at, now)
        }
    }

    /// A message of the live otp that waits for its next attempt: it certainly was not sent and is already charged.
    fn waiting<'a>(
        &self,
        facts: &'a Facts,
        live: Option<&'a Otp>,
        now: Timestamp,
    ) -> Result<Option<(&'a Otp, &'a Message)>> {
        let unwelcome = facts.phone()?.usage.opted_out_at.is_some() || facts.ruling().blocked.is_some();
        let Some(otp) = live.filter(|_| !self.new_code) else { return Ok(None) };
        let waits = |message: &&Message| {
            message.state == message::State::Queued && delivery::is_wanted(message, Some(otp), unwelcome, now)
        };
        Ok(facts.messages.iter().find(waits).map(|waiting| (otp, waiting)))
    }

    fn take_over(&self, facts: &Facts, otp: &Otp, waiting: &Message, now: Timestamp) -> Result<Decision<Reserved>> {
        code_of(&self.keyring, otp)?;
        let mut message = waiting.clone();
        delivery::claim(&mut message, now);
        message.provider = self.asks.provider().to_owned();
        let changes = vec![Change::PutMessage(message.clone()), self.asks.seen(facts, now)?];
        let details = self.asks.details(&message, "retry");
        let ticket = Ticket { otp: Some(otp.clone()), message, resent: false, reply: None };
        self.asks.hand_out(facts, now, ticket, changes, details).map(|decision| decision.map(Reserved::Go))
    }

    /// A declared test number: an otp as any other, but nothing goes out and no sending limit is charged.
    fn for_test_number(&self, facts: &Facts, now: Timestamp) -> Result<Decision<Reserved>> {
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now) && otp.test && !self.new_code);
        let limits = &self.asks.policy.limits;
        // Whoever verified it proved nothing: its code is fixed.
        let who = SendUsages { new_code: live.is_none(), verified: false, ..self.asks.usages(facts, "")? };
        let no_sending = SendUsages { user: None, ip: None, network: None, everything: None, ..who };
        let mut hits = limits.hits(&no_sending, now);
        hits.retain(|hit| hit.limit.is_of_guesses());
        hits.extend(limits.test_code_closed(&facts.phone()?.usage, now).filter(|_| hits.is_empty()));
        if let Some(refusal) = Refusal::of_limits(hits) {
            return self.asks.refused(facts, now, refusal).map(|decision| decision.map(Reserved::Refused));
        }
        let mut changes = Vec::new();
        let (otp, resent) = match live {
            Some(otp) => (otp.clone(), true),
            None => {
                changes.extend(facts.otp.as_ref().map(|old| replaced(old, now)));
                let otp = self.draw(facts, now, true)?;
                changes.push(Change::NewOtp(otp.clone()));
                (otp, false)
            }
        };
        let message = self.message(&otp, facts.next_message_id, now);
        let decision = self.asks.without_sending(facts, message, (resent, now), changes)?;
        Ok(decision.map(Reserved::Done))
    }
}

/// The end of an otp in whose place a new one comes.
fn replaced(old: &Otp, now: Timestamp) -> Change {
    let mut old = old.clone();
    let end = if old.is_live(now) { State::Superseded } else { State::Expired };
    old.end(end, now);
    Change::PutOtp(old)
}
