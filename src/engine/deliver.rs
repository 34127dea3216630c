//! Handing a claimed message to the provider, until it is out or there is no time left. No transaction is open meanwhile.

use std::time::{Duration, Instant};

use super::context::{Caller, Context, Step, Waited, code_of};
use super::sent::{SentMessage, Ticket};
use super::settle::{Claim, claim, conclude, settle};
use super::text;
use crate::delivery::{Delivery, Finding, LEAST_LEFT};
use crate::error::Result;
use crate::provider::Outgoing;

/// Twilio's longest ValidityPeriod, in seconds.
const VALIDITY_MAX: u64 = 36_000;

/// Hands a claimed message over, again and again while it certainly was not sent and `timeout` is not over, and records the
/// outcome. Without a timeout nobody waits for it: it is handed over once.
pub(super) async fn deliver(
    ctx: &Context,
    caller: &Caller,
    ticket: Ticket,
    timeout: Option<Duration>,
) -> Result<Box<SentMessage>> {
    let mut ticket = ticket;
    let begun = ticket.message.attempt_at.unwrap_or(ticket.message.reserved_at);
    let until = timeout.map(|timeout| begun + timeout);
    loop {
        let delivery = hand_over(ctx, &ticket).await?;
        ctx.reached(Step::Answered);
        let settled = settle(ctx, caller, &ticket, delivery, until).await?;
        ctx.reached(Step::Settled);
        let Some(retry_at) = settled.retry_at.filter(|at| until.is_some_and(|until| *at < until)) else {
            // Somebody else may have heard of its end before us: then the database has a code and no explanation.
            let unexplained = settled.sent.blame.is_none();
            let why = ctx.explain(settled.sent.error_code.filter(|_| unexplained));
            return Ok(Box::new(settled.sent.because(why.as_ref())));
        };
        tokio::time::sleep(retry_at.since(ctx.reads().now().await?)).await;
        match claim(ctx, caller, ticket.message.id).await? {
            Claim::Ours(message) => ticket.message = *message,
            // Somebody else took it on; the database has what they made of it.
            Claim::Theirs => return as_recorded(ctx, &ticket, settled.sent).await,
            Claim::Unwanted => {
                conclude(ctx, caller, (&ticket.message, ticket.otp.as_ref()), Finding::Unwanted).await?;
                return as_recorded(ctx, &ticket, settled.sent).await;
            }
        }
        ctx.reached(Step::Claimed);
    }
}

async fn hand_over(ctx: &Context, ticket: &Ticket) -> Result<Delivery> {
    let now = ctx.reads().now().await?;
    if ticket.message.left(now) < LEAST_LEFT {
        let why = "it has too little time left to be worth sending".to_owned();
        return Ok(Delivery::Unreachable { why });
    }
    // Measured from the moment that the attempt was recorded: a fresh code has its ten minutes, not nine and something.
    let begun = ticket.message.attempt_at.unwrap_or(now);
    let body = match &ticket.otp {
        Some(otp) => text::render(&ctx.policy, (otp, &ticket.message), &code_of(&ctx.keyring, otp)?, begun)?,
        None => text::open(&ctx.keyring, &ticket.message)?,
    };
    let outgoing = Outgoing {
        message_id: ticket.message.id,
        to: ticket.message.phone.clone(),
        body,
        validity_seconds: u32::try_from(ticket.message.left(begun).as_secs().clamp(1, VALIDITY_MAX)).ok(),
    };
    ctx.reached(Step::Handing);
    let begun = Instant::now();
    let delivery = ctx.provider()?.send(&outgoing).await;
    ctx.waited(Waited::Provider(delivery.as_str()), begun);
    Ok(delivery)
}

/// What the database says of a message that is not ours to send any more.
async fn as_recorded(ctx: &Context, ticket: &Ticket, last_seen: SentMessage) -> Result<Box<SentMessage>> {
    let message = ctx.reads().message(ticket.message.id).await?;
    let now = ctx.reads().now().await?;
    let recorded = message.map(|message| {
        let why = ctx.explain(message.error_code);
        SentMessage::of(&message, ticket.resent, now).because(why.as_ref())
    });
    Ok(Box::new(recorded.unwrap_or(last_seen)))
}
