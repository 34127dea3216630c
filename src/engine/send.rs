//! send = reserve → deliver → settle. The provider is called with no transaction open.

use std::time::Duration;

use super::advance::advance;
use super::context::{Caller, Context, Step};
use super::deliver::deliver;
use super::idempotency::{mismatch, reply_of};
use super::request::{Destination, Override, SendOtp};
use super::reserve::{LookedAfter, Reserved, reserve};
use super::sent::{SendAnswer, Sent, SentMessage};
use super::text::Written;
use crate::error::{self, Error, Result};
use crate::message;
use crate::phone::Phone;
use crate::store::Reply;

/// How a number that no plan knows gets codes all the same.
const MADE_UP: &str =
    "A made-up number has to be declared: `smsotp test-number add`; `smsotp serve` takes it with --allow-test-numbers";

/// Sends a code: a new one, or the live one again.
pub(super) async fn send(ctx: &Context, caller: &Caller, request: SendOtp) -> Result<SendAnswer> {
    let segments = check(ctx, &request).await?;
    let reply = reply_for(ctx, caller, &request)?;
    if let Some(reply) = &reply
        && let Some(sent) = replay(ctx, caller, reply, request.to.phone()).await?
    {
        return answer(sent);
    }
    let mut looked_after = LookedAfter::default();
    let mut timeout = request.timeout;
    loop {
        match reserve(ctx, caller, &request, segments, reply.clone(), looked_after).await? {
            Reserved::Go(ticket) => {
                ctx.reached(Step::Reserved);
                return answer(*deliver(ctx, caller, *ticket, Some(timeout)).await?);
            }
            Reserved::Waits(sent, due) => {
                let pause = due.since(ctx.reads().now().await?);
                if pause >= timeout {
                    return answer(*sent);
                }
                tokio::time::sleep(pause).await;
                timeout -= pause;
                looked_after.waited = true;
            }
            Reserved::Done(sent) => return answer(*sent),
            Reserved::Refused(refusal) => return Ok(SendAnswer::Refused(refusal)),
            Reserved::Orphans(ids) => {
                // Each send first settles what an earlier one left open; if that cannot be done now, it stays open.
                for id in ids {
                    if let Err(error) = advance(ctx, caller, id).await {
                        tracing::warn!(target: "smsotp", code = error.code().name, "message m{id} could not be looked at: {error}");
                    }
                }
                looked_after.orphans = true;
            }
        }
    }
}

fn answer(message: SentMessage) -> Result<SendAnswer> {
    let no_otp = || Error::new(error::Code::BUG, "the message of a code belongs to no otp");
    Ok(SendAnswer::Sent(Box::new(Sent { otp_id: message.otp_id.ok_or_else(no_otp)?, message })))
}

/// What can be said before the database is asked: the purpose, the number, the length of the text in segments.
async fn check(ctx: &Context, request: &SendOtp) -> Result<u32> {
    ctx.provider()?;
    let segments = measure(ctx, request)?;
    check_number(ctx, &request.to, request.override_limits.as_ref()).await?;
    Ok(segments)
}

/// Refuses a number that no plan knows, unless it is a declared test number or staff vouches for it.
pub(super) async fn check_number(ctx: &Context, to: &Destination, staff: Option<&Override>) -> Result<()> {
    let Destination::Shape(phone, error) = to else { return Ok(()) };
    let declared = ctx.test_numbers && ctx.reads().test_numbers().await?.iter().any(|number| number.phone == *phone);
    if declared || to.number(staff).is_some() {
        return Ok(());
    }
    let hint = format!("{}. {MADE_UP}", error.hint_text().unwrap_or_default());
    Err(Error::new(error.code(), error.message()).hint(hint))
}

/// The longest that the text can get, in segments; an error where that is too long.
fn measure(ctx: &Context, request: &SendOtp) -> Result<u32> {
    let settings = ctx.policy.purpose(&request.purpose).ok_or_else(|| ctx.unknown_purpose(&request.purpose))?;
    let allowed = request.segments_max.unwrap_or(ctx.policy.segments_max);
    let number = request.to.number(request.override_limits.as_ref());
    let written = Written {
        locale: request.locale.as_ref(),
        country: number.as_ref().and_then(|number| number.country.as_deref()).unwrap_or_default(),
        endings: &request.endings,
    };
    written.measure(&ctx.policy, (&request.purpose, settings), allowed)
}

fn reply_for(ctx: &Context, caller: &Caller, request: &SendOtp) -> Result<Option<Reply>> {
    let Some(key) = &request.idempotency_key else { return Ok(None) };
    let (phone, user) = (request.to.phone().as_str(), request.user.as_str());
    let asked = format!("send\0{phone}\0{}\0{user}\0{}", request.purpose, request.new_code);
    reply_of(&ctx.store.operations.keys().index, caller, "send", key, &asked).map(Some)
}

/// The answer that the key got before, if it was used before.
pub(super) async fn replay(
    ctx: &Context,
    caller: &Caller,
    asked: &Reply,
    phone: &Phone,
) -> Result<Option<SentMessage>> {
    let Some(known) = ctx.reads().reply(asked.tag).await? else { return Ok(None) };
    if known.fingerprint != asked.fingerprint {
        return Err(mismatch());
    }
    if let Some(answer) = &known.answer {
        let sent: SentMessage = serde_json::from_str(answer)
            .map_err(|error| Error::new(error::Code::STORE_CORRUPT, "a stored answer cannot be read").because(error))?;
        return Ok(Some(SentMessage { phone: phone.as_str().to_owned(), ..sent }));
    }
    let Some(id) = known.message_id else { return Ok(None) };
    let now = ctx.reads().now().await?;
    let open = ctx.reads().message(id).await?;
    if open.as_ref().is_some_and(|message| message.state == message::State::Sending && message.due_at > Some(now)) {
        return Err(Error::new(error::Code::IN_PROGRESS, "a send with this idempotency key is under way")
            .retry_after(Duration::from_secs(5))
            .hint("Ask again with the same key in a few seconds."));
    }
    as_it_is(ctx, caller, id).await
}

/// What there is to say of a message, after taking it as far as it can be taken now.
pub(super) async fn as_it_is(ctx: &Context, caller: &Caller, id: i64) -> Result<Option<SentMessage>> {
    advance(ctx, caller, id).await?;
    let Some(message) = ctx.reads().message(id).await? else { return Ok(None) };
    let now = ctx.reads().now().await?;
    let why = ctx.explain(message.error_code);
    Ok(Some(SentMessage::of(&message, false, now).because(why.as_ref())))
}
