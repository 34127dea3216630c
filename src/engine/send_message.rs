//! send_message = reserve → deliver → settle, as send does it, for a message without a code.

use secrecy::{ExposeSecret, SecretString};

use super::context::{Caller, Context, Step};
use super::deliver::deliver;
use super::idempotency::reply_of;
use super::request::{BOOKED_MAX, Content, SendMessage};
use super::reserve_message::{ReservedMessage, reserve_message};
use super::send::{as_it_is, check_number, replay};
use super::sent::{SendAnswer, SentMessage};
use super::text::{of_message, too_long};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::message::State;
use crate::policy::Policy;
use crate::segments;
use crate::store::Reply;

/// The longest text, in characters: Twilio takes no more (<https://www.twilio.com/docs/api/errors/21617>).
pub const TEXT_MAX: usize = 1600;

/// The most segments that a message may be allowed to take: 1530 characters of GSM-7, or 670 of any other alphabet.
pub const SEGMENTS_MAX: u32 = 10;

/// Sends a message without a code.
pub(super) async fn send_message(
    ctx: &Context,
    caller: &Caller,
    request: SendMessage,
) -> Result<SendAnswer<SentMessage>> {
    ctx.provider()?;
    let number = request.to.number(request.override_limits.as_ref());
    let country = number.as_ref().and_then(|number| number.country.as_deref());
    check_booking(request.at, ctx.reads().now().await?)?;
    let text = of_message(&ctx.policy, &request.content, country)?;
    let segments = segments_of(&text, request.segments_max)?;
    check_number(ctx, &request.to, request.override_limits.as_ref()).await?;
    let reply = reply_for(ctx, caller, &request, &text)?;
    if let Some(reply) = &reply
        && let Some(sent) = replay(ctx, caller, reply, request.to.phone()).await?
    {
        // What was not known then may be known now.
        let known = match sent.state {
            State::Unknown => as_it_is(ctx, caller, sent.message_id).await?,
            _ => None,
        };
        return Ok(SendAnswer::Sent(Box::new(known.unwrap_or(sent))));
    }
    match reserve_message(ctx, caller, &request, (text, segments), reply).await? {
        ReservedMessage::Go(ticket) => {
            ctx.reached(Step::Reserved);
            deliver(ctx, caller, *ticket, Some(request.timeout)).await.map(SendAnswer::Sent)
        }
        ReservedMessage::Done(sent) => Ok(SendAnswer::Sent(sent)),
        ReservedMessage::Refused(refusal) => Ok(SendAnswer::Refused(refusal)),
    }
}

/// The segments that a message to a number of this country takes, before anything is sent.
///
/// # Errors
/// `VALUE_INVALID` where it is no text that can be sent, `TOO_MANY_SEGMENTS` where it takes more than `most`.
pub fn measure_message(policy: &Policy, content: &Content, country: Option<&str>, most: u32) -> Result<u32> {
    segments_of(&of_message(policy, content, country)?, most)
}

/// Refuses a time that is too far ahead to book a message for it.
///
/// # Errors
/// `VALUE_INVALID`.
pub fn check_booking(at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    let days = BOOKED_MAX.as_secs() / 86_400;
    match at.filter(|at| at.since(now) > BOOKED_MAX) {
        Some(at) => {
            Err(Error::new(Code::VALUE_INVALID, format!("a message can be booked {days} days ahead; {at} is later")))
        }
        None => Ok(()),
    }
}

/// How many segments a text takes; an error where it is none, or takes too many.
fn segments_of(text: &SecretString, most: u32) -> Result<u32> {
    let text = text.expose_secret();
    let no_text = |what: String| Err(Error::new(Code::VALUE_INVALID, what));
    if text.trim().is_empty() {
        return no_text("the message has no text".to_owned());
    }
    if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return no_text(format!("the text holds the control character U+{:04X}", control as u32));
    }
    let length = text.chars().count();
    if length > TEXT_MAX {
        return no_text(format!("the text has {length} characters; {TEXT_MAX} are the most that Twilio takes"));
    }
    let measured = segments::measure(text);
    match too_long(&measured, most) {
        Some(error) => Err(Error::new(error.code(), error.message())
            .hint("Shorten the text, or allow more segments for it; every segment is charged.")),
        None => Ok(measured.segments),
    }
}

fn reply_for(ctx: &Context, caller: &Caller, request: &SendMessage, text: &SecretString) -> Result<Option<Reply>> {
    let Some(key) = &request.idempotency_key else { return Ok(None) };
    let asked = format!("message\0{}\0{}", request.to.phone().as_str(), text.expose_secret());
    reply_of(&ctx.store.operations.keys().index, caller, "message", key, &asked).map(Some)
}
