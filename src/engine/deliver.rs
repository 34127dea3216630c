//! Handing a claimed message to the provider and recording what became of it. No transaction is open while the provider is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::dispatch::Closing;
use super::reserve::LEASE;
use super::send::{Sent, Ticket};
use super::text::{self, LEAST};
use super::{Caller, Engine, Step, Waited, code_of, latest, put};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::{self, Error, Result};
use crate::message::{Message, State};
use crate::otp::{self, User};
use crate::phone::Phone;
use crate::provider::{Blame, Delivery, Outgoing, Refused};
use crate::purpose::Policy;
use crate::store::{Change, Facts, Needs, Reply, Subject, SubjectFact};
use crate::usage::{self, Usage};

/// Twilio's longest ValidityPeriod, in seconds.
const VALIDITY_MAX: u64 = 36_000;

/// The first pause before another attempt; it doubles, up to [`PAUSE_MAX`], and is cut by up to a half at random.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// When an unknown message is looked for first.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(30);

impl Engine {
    /// Hands a claimed message over, again and again while it surely was not sent and time is left, and database the outcome.
    pub(super) async fn deliver(&self, caller: &Caller, ticket: Ticket, timeout: Duration) -> Result<Box<Sent>> {
        let mut ticket = ticket;
        let until = ticket.message.attempt_at.unwrap_or(ticket.message.reserved_at) + timeout;
        loop {
            let delivery = self.hand_over(&ticket).await?;
            self.tell(Step::Answered);
            let settled = self.settle(caller, &ticket, delivery, until).await?;
            self.tell(Step::Settled);
            let (Some(retry_at), State::Queued) = (settled.retry_at, settled.sent.state) else {
                return Ok(Box::new(settled.sent));
            };
            tokio::time::sleep(retry_at.since(self.store.now().await?)).await;
            match self.claim(caller, ticket.message.id).await? {
                Claim::Ours(message) => ticket.message = *message,
                // Somebody else took it on; what they made of it stands in the database.
                Claim::Theirs => return self.as_recorded(&ticket, settled.sent).await,
                Claim::Over => {
                    self.close(caller, &ticket.otp, ticket.message.id, Closing::Over).await?;
                    return self.as_recorded(&ticket, settled.sent).await;
                }
            }
            self.tell(Step::Claimed);
        }
    }

    async fn hand_over(&self, ticket: &Ticket) -> Result<Delivery> {
        let now = self.store.now().await?;
        let left = ticket.otp.left(now);
        if left < LEAST {
            let why = "the code has too little time left to be worth sending".to_owned();
            return Ok(Delivery::Unreachable { why });
        }
        // Measured from the moment that the attempt was recorded: a fresh code has its ten minutes, not nine and something.
        let begun = ticket.message.attempt_at.unwrap_or(now);
        let left = ticket.otp.left(begun);
        let outgoing = Outgoing {
            message_id: ticket.message.id,
            to: ticket.message.phone.clone(),
            body: self.body(ticket, begun)?,
            validity_seconds: u32::try_from(left.as_secs().clamp(1, VALIDITY_MAX)).ok(),
        };
        self.tell(Step::Handing);
        let begun = Instant::now();
        let delivery = self.provider()?.send(&outgoing).await;
        self.waited(Waited::Provider(word(&delivery)), begun);
        Ok(delivery)
    }

    fn body(&self, ticket: &Ticket, at: Timestamp) -> Result<SecretString> {
        let code = code_of(&self.keyring, &ticket.otp)?;
        text::of(&self.policy, &ticket.otp, &code, &ticket.message.endings, at)
    }

    /// What the database says of a message that is not ours to send any more.
    async fn as_recorded(&self, ticket: &Ticket, last_seen: Sent) -> Result<Box<Sent>> {
        let (otp, message) = (self.store.otp(ticket.otp.id).await?, self.store.message(ticket.message.id).await?);
        let recorded = otp.zip(message).map(|(otp, message)| Sent::of(&otp, &message, ticket.resent));
        Ok(Box::new(recorded.unwrap_or(last_seen)))
    }

    /// Claims a message that waits for its next attempt. While it waited its code may have been replaced, taken back or
    /// verified, and its recipient may have opted out: then there is nothing to send any more.
    pub(super) async fn claim(&self, caller: &Caller, id: i64) -> Result<Claim> {
        let Some(message) = self.store.message(id).await? else { return Ok(Claim::Theirs) };
        let needs = Needs { subjects: vec![Subject::Phone(message.phone)], message: Some(id), ..Needs::default() };
        let actor = caller.actor.clone();
        self.operation(needs, move |facts| {
            let waiting = facts.message.clone().filter(|message| message.state == State::Queued);
            let (Some(mut message), Some(otp)) = (waiting, &facts.otp) else { return Ok((Vec::new(), Claim::Theirs)) };
            let now = facts.now.max(message.updated_at);
            let opted_out = facts.subjects[0].usage.opted_out_at.is_some();
            if !otp.is_live(now) || otp.left(now) < LEAST || opted_out {
                return Ok((Vec::new(), Claim::Over));
            }
            claim(&mut message, now);
            let details = Details::new().number("message", id).number("attempt", i64::from(message.attempts));
            let event =
                Event::new(now, actor.clone(), "claim", "done").subject(&facts.subjects[0].id.0).details(details);
            Ok((vec![Change::PutMessage(message.clone()), Change::Audit(event)], Claim::Ours(Box::new(message))))
        })
        .await
    }

    /// Records the outcome of one attempt, if it is still ours to record.
    pub(super) async fn settle(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        delivery: Delivery,
        until: Timestamp,
    ) -> Result<Settled> {
        // Only what was surely not sent is given back, and only then the otp's other messages matter.
        let may_fail = !matches!(delivery, Delivery::Accepted { .. } | Delivery::Maybe { .. });
        let mut subjects = vec![Subject::Phone(ticket.message.phone.clone())];
        if may_fail && !ticket.user.is_empty() {
            subjects.push(Subject::User(ticket.user.clone()));
        }
        if let Some(ip) = caller.ip.filter(|_| may_fail) {
            let [ip, _] = Subject::of_client(ip);
            subjects.push(ip);
        }
        let needs = Needs { subjects, message: Some(ticket.message.id), messages: may_fail, ..Needs::default() };
        let pause = pause_after(ticket.message.attempts, &delivery)?;
        let outcome = Outcome {
            policy: Arc::clone(&self.policy),
            caller: caller.clone(),
            attempts: ticket.message.attempts,
            resent: ticket.resent,
            reply: ticket.reply.clone(),
            delivery,
            until,
            pause,
            poll_after: self.poll_after,
        };
        self.operation(needs, move |facts| outcome.decide(facts)).await
    }
}

/// Whose a waiting message is.
pub(super) enum Claim {
    /// Ours to hand over.
    Ours(Box<Message>),
    /// Somebody else took it on, or settled it.
    Theirs,
    /// Nobody's: there is nothing to send any more.
    Over,
}

/// What settling made of an attempt.
#[derive(Debug)]
pub(super) struct Settled {
    pub sent: Sent,
    /// When to try again, if it is to be tried again.
    pub retry_at: Option<Timestamp>,
}

struct Outcome {
    policy: Arc<Policy>,
    caller: Caller,
    attempts: u32,
    resent: bool,
    reply: Option<Reply>,
    delivery: Delivery,
    until: Timestamp,
    pause: Duration,
    poll_after: Option<Duration>,
}

impl Outcome {
    /// What each outcome of a delivery means for the message, the otp and the limits.
    fn decide(&self, facts: &Facts) -> Result<(Vec<Change>, Settled)> {
        let (Some(message), Some(otp)) = (&facts.message, &facts.otp) else {
            return Err(Error::new(
                error::Code::STORE_FAILED,
                "the message that was being sent is not in the database any more",
            )
            .hint("Was the database replaced while smsotp was running?"));
        };
        let (mut message, mut otp) = (message.clone(), otp.clone());
        if message.state != State::Sending || message.attempts != self.attempts {
            // Our lease ran out and somebody else settled it: theirs is what the database says.
            return Ok((Vec::new(), Settled { sent: Sent::of(&otp, &message, self.resent), retry_at: None }));
        }
        // What became of a message is recorded whatever the clock says: the provider has been asked.
        let now = latest(facts.now, &[&facts.subjects[0].usage]);
        let retry_at = self.record(&mut message, now, otp.expires_at);
        let mut changes = Vec::new();
        if message.state == State::Failed {
            let others_may_be_out = facts
                .messages
                .iter()
                .any(|other| other.id != message.id && (other.state.may_be_out() || other.state == State::Queued));
            if !others_may_be_out && otp.state == otp::State::Active {
                otp.end(otp::State::Failed, now);
                changes.push(Change::PutOtp(otp.clone()));
            }
            changes.extend(self.give_back(facts, &message, otp.purpose.as_str(), now));
        }
        changes.push(Change::PutMessage(message.clone()));
        let sent = self.answer(&otp, &message);
        if let Some(reply) = self.reply.as_ref().filter(|_| retry_at.is_none()) {
            changes.push(Change::PutReply(Reply { answer: Some(to_json(&sent)?), ..reply.clone() }));
        }
        let mut details = Details::new().number("otp", otp.id).number("message", message.id);
        if let Some(code) = message.error_code {
            details = details.number("error_code", i64::from(code));
        }
        let event = Event::new(now, self.caller.actor.clone(), "settle", message.state.as_str())
            .subject(&facts.subjects[0].id.0)
            .details(details);
        changes.push(Change::Audit(event));
        Ok((changes, Settled { sent, retry_at }))
    }

    fn record(&self, message: &mut Message, now: Timestamp, expires_at: Timestamp) -> Option<Timestamp> {
        message.updated_at = now;
        message.due_at = None;
        (message.error, message.error_code) = (None, None);
        match &self.delivery {
            Delivery::Accepted { provider_id, state } => {
                message.state = *state;
                message.provider_id = Some(provider_id.clone());
                message.due_at = self.poll_after.filter(|_| !message.state.is_final()).map(|after| now + after);
                None
            }
            Delivery::Refused(refused) => {
                message.state = State::Failed;
                message.error_code = refused.code;
                message.error = Some(refused.meaning.clone());
                None
            }
            Delivery::Maybe { why } => {
                message.state = State::Unknown;
                message.error = Some(why.clone());
                message.due_at = Some(now + FIRST_LOOK);
                None
            }
            Delivery::Busy { why, .. } | Delivery::Unreachable { why } => {
                message.error = Some(why.clone());
                let retry_at = now + self.pause;
                // Never past the time that the caller waits, nor past the code's life.
                let worth_it = retry_at < self.until && expires_at.since(retry_at) >= LEAST;
                message.state = if worth_it { State::Queued } else { State::Failed };
                message.due_at = worth_it.then_some(retry_at);
                message.due_at
            }
        }
    }

    /// Phone, user, cooldown get it back; never the address, the network, everything. Refusals have a limit of their own.
    fn give_back(&self, facts: &Facts, message: &Message, purpose: &str, now: Timestamp) -> Vec<Change> {
        let limits = &self.policy.limits;
        let refused = matches!(self.delivery, Delivery::Refused(_));
        let opted_out = matches!(&self.delivery, Delivery::Refused(Refused { opted_out: true, .. }));
        let mut changes = Vec::new();
        for (place, fact) in facts.subjects.iter().enumerate() {
            let mut usage = fact.usage.clone();
            let address = self.caller.ip.is_some() && place + 1 == facts.subjects.len() && place > 0;
            if !address {
                usage.give_back_send(message.reserved_at);
            }
            if place == 0 {
                let purpose = usage.purpose_mut(purpose);
                usage::take_out(&mut purpose.asked, message.reserved_at);
                if opted_out {
                    usage.opted_out_at = Some(now.millis());
                }
            }
            if refused {
                let window = if place == 0 { limits.refused_phone } else { limits.refused_other };
                usage::count(&mut usage.refused, window, now);
            }
            usage.saw(now);
            changes.push(put(fact, usage, limits.longest()));
        }
        changes
    }

    fn answer(&self, otp: &otp::Otp, message: &Message) -> Sent {
        let mut sent = Sent::of(otp, message, self.resent);
        if let Delivery::Refused(refused) = &self.delivery {
            sent.fix.clone_from(&refused.fix);
            sent.http_status = Some(refused.http_status);
            sent.blame = Some(refused.blame);
        } else if sent.state == State::Failed {
            sent.blame = Some(Blame::Provider);
        }
        sent
    }
}

/// Marks an attempt as begun: from here on the message counts as maybe sent until its outcome is recorded.
pub(super) fn claim(message: &mut Message, now: Timestamp) {
    message.state = State::Sending;
    message.attempts += 1;
    message.attempt_at = Some(now);
    message.due_at = Some(now + LEASE);
    message.updated_at = now;
}

/// How a hand-over ended, for the metrics.
fn word(delivery: &Delivery) -> &'static str {
    match delivery {
        Delivery::Accepted { .. } => "accepted",
        Delivery::Refused(_) => "refused",
        Delivery::Busy { .. } => "busy",
        Delivery::Unreachable { .. } => "unreachable",
        Delivery::Maybe { .. } => "maybe",
    }
}

/// Exponential, with jitter; never shorter than what the provider asked for. Only what surely was not sent has another attempt.
fn pause_after(attempts: u32, delivery: &Delivery) -> Result<Duration> {
    if !matches!(delivery, Delivery::Busy { .. } | Delivery::Unreachable { .. }) {
        return Ok(Duration::ZERO);
    }
    let doubled = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_MAX);
    let mut byte = [0u8; 1];
    crate::keys::fill_random(&mut byte)?;
    let jittered = doubled / 2 + doubled.mul_f64(f64::from(byte[0]) / 512.0);
    Ok(match delivery {
        Delivery::Busy { retry_after: Some(after), .. } => jittered.max(*after),
        _ => jittered,
    })
}

/// An answer as it is kept for an idempotency key. It may outlive its otp, so it holds no phone: whoever asks with the key
/// again names it again.
pub(super) fn to_json(sent: &Sent) -> Result<String> {
    serde_json::to_string(&Sent { phone: String::new(), ..sent.clone() })
        .map_err(|error| Error::new(error::Code::BUG, "an answer cannot be written").because(error))
}

/// Takes the subjects of a phone and its user: what a settle without a caller of its own gives back to.
pub(super) fn subjects_of(phone: &Phone, user: &User) -> Vec<Subject> {
    let mut subjects = vec![Subject::Phone(phone.clone())];
    if !user.is_empty() {
        subjects.push(Subject::User(user.clone()));
    }
    subjects
}

/// Gives a message back to its phone and user that was found never to have been accepted.
pub(super) fn give_back_all(facts: &[SubjectFact], message: &Message, purpose: &str, longest: Duration) -> Vec<Change> {
    let give = |(place, fact): (usize, &SubjectFact)| {
        let mut usage: Usage = fact.usage.clone();
        usage.give_back_send(message.reserved_at);
        if place == 0 {
            usage::take_out(&mut usage.purpose_mut(purpose).asked, message.reserved_at);
        }
        put(fact, usage, longest)
    };
    facts.iter().enumerate().map(give).collect()
}
