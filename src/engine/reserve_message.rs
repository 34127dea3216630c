//! The first step of a send without a code, in one transaction: if the message is admitted, it is recorded with its text and claimed.

use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Admitted, Asked};
use super::context::{Caller, Context};
use super::request::SendMessage;
use super::sent::{Refusal, SentMessage, Ticket};
use super::text;
use crate::clock::Timestamp;
use crate::delivery::LEAST_LEFT;
use crate::error::{Code, Error, Result};
use crate::keys::Keyring;
use crate::message::{Message, State};
use crate::otp::User;
use crate::store::{Decision, Facts, Needs, OtpNeed, Reply};
use secrecy::SecretString;

/// How a reservation ended.
pub(super) enum ReservedMessage {
    /// Charged and claimed: hand it over.
    Go(Box<Ticket>),
    /// Booked for later, or a test number: nothing to hand over.
    Done(Box<SentMessage>),
    /// No.
    Refused(Box<Refusal>),
}

/// Reserves and claims a message, or says why not.
///
/// # Errors
/// `COST_TOO_HIGH` where it costs more than the caller pays for it.
pub(super) async fn reserve_message(
    ctx: &Context,
    caller: &Caller,
    request: &SendMessage,
    (text, segments): (SecretString, u32),
    reply: Option<Reply>,
) -> Result<ReservedMessage> {
    let asked = Asked {
        action: "message.send",
        to: &request.to,
        user: User::default(),
        purpose: None,
        override_limits: request.override_limits.as_ref(),
        challenged: false,
        segments,
        reply,
    };
    let asks = Admission::of(ctx, caller, asked).await?;
    if let Some(most) = request.cost_max.filter(|most| asks.price > *most) {
        let (price, place) = (asks.price, if asks.country().is_empty() { "no country" } else { asks.country() });
        let what = format!("the message costs {price} ({segments} segments to {place}); {most} are allowed");
        return Err(Error::new(Code::COST_TOO_HIGH, what).hint("Shorten the text, or allow more for it."));
    }
    let reservation =
        Reservation { asks, keyring: Arc::clone(&ctx.keyring), text, at: request.at, valid_for: request.valid_for };
    let needs = reservation.needs();
    ctx.operate(needs, move |facts| reservation.decide(facts)).await
}

/// All that the decision needs besides the facts: no connection to anything.
struct Reservation {
    asks: Admission,
    keyring: Arc<Keyring>,
    text: SecretString,
    /// When to send it, where that is not at once.
    at: Option<Timestamp>,
    valid_for: Duration,
}

impl Reservation {
    fn needs(&self) -> Needs {
        Needs { otp: OtpNeed::Without(self.asks.phone.clone()), ..self.asks.needs() }
    }

    fn decide(&self, facts: &Facts) -> Result<Decision<ReservedMessage>> {
        let now = self.asks.begin(facts)?;
        let at = self.at.unwrap_or(now);
        let expires_at = at + self.valid_for;
        if expires_at.since(now) < LEAST_LEFT {
            return Err(Error::new(
                Code::VALUE_INVALID,
                format!("it was to be sent at {at}, and not after {expires_at}"),
            )
            .hint("Give another time, or let it be sent for longer."));
        }
        let message = self.asks.message(facts.next_message_id, expires_at, now);
        if self.asks.is_test_number(facts, now) {
            let decision = self.asks.without_sending(facts, message, (false, now), Vec::new())?;
            return Ok(decision.map(ReservedMessage::Done));
        }
        let pass = match self.asks.admit(facts, false, now)? {
            Admitted::No(decision) => return Ok(decision.map(ReservedMessage::Refused)),
            Admitted::Yes(pass) => pass,
        };
        let text = text::seal(&self.keyring, (message.id, &message.phone), &self.text)?;
        let message = Message { text: Some(text), ..message };
        if at > now {
            // Nobody has claimed it: whoever comes by then does.
            let booked =
                Message { state: State::Scheduled, attempts: 0, attempt_at: None, due_at: Some(at), ..message };
            let details = self.asks.details(&booked, "booked");
            let (booked, changes, details) = self.asks.reserve(facts, pass, booked, details)?;
            let decision = self.asks.book(facts, now, &booked, (changes, details))?;
            return Ok(decision.map(ReservedMessage::Done));
        }
        let details = self.asks.details(&message, "new");
        let (message, changes, details) = self.asks.reserve(facts, pass, message, details)?;
        let ticket = Ticket { otp: None, message, resent: false, reply: None };
        self.asks.hand_out(facts, now, ticket, changes, details).map(|decision| decision.map(ReservedMessage::Go))
    }
}
