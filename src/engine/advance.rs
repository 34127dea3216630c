//! Taking one open message as far as it can be taken now: try again, look for it at the provider, or ask what became of it.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::context::{Caller, Context, Step, code_of};
use super::deliver::deliver;
use super::sent::Ticket;
use super::settle::{Claim, claim, conclude, polled};
use crate::clock::Timestamp;
use crate::code::Code;
use crate::delivery::{Fate, Finding, News};
use crate::error::{Error, Result};
use crate::message::{Message, State};
use crate::otp::Otp;
use crate::provider::RemoteMessage;

/// How far before the attempt a provider's message may lie and still be ours: its clock and ours differ, and it rounds to
/// whole seconds.
const EARLIER: Duration = Duration::from_secs(120);

/// Takes the message as far as it can be taken now.
pub(super) async fn advance(ctx: &Context, caller: &Caller, id: i64) -> Result<Fate> {
    let Some(message) = ctx.reads().message(id).await? else { return Ok(Fate::Gone) };
    let Some(otp_id) = message.otp_id else { return Ok(Fate::Gone) };
    let Some(otp) = ctx.reads().otp(otp_id).await? else { return Ok(Fate::Gone) };
    let now = ctx.reads().now().await?;
    match message.state {
        // Until then the provider does not take it.
        State::Queued if message.due_at.is_some_and(|due| due > now) && otp.is_live(now) => Ok(Fate::Open),
        State::Queued => try_again(ctx, caller, &otp, id).await,
        State::Sending if message.due_at.is_some_and(|due| due > now) => Ok(Fate::Open),
        State::Sending | State::Unknown => {
            let Some(finding) = look_for(ctx, &otp, &message).await? else { return Ok(Fate::Open) };
            let unheard = matches!(finding, Finding::NotNow) && !is_keyless(ctx, &otp);
            let fate = conclude(ctx, caller, &otp, id, finding).await?;
            Ok(if unheard && fate == Fate::Open { Fate::NotNow } else { fate })
        }
        state if (state.is_on_its_way() || state.is_final()) && message.due_at.is_some() => {
            match ask(ctx, &message).await {
                Ok(news) => polled(ctx, caller, &message, news).await,
                // Trouble with the provider is nobody's error: it is asked again.
                Err(_) => polled(ctx, caller, &message, None).await.map(|_| Fate::NotNow),
            }
        }
        _ => Ok(Fate::Gone),
    }
}

/// Another attempt of a message that certainly was not sent, while its code is live.
async fn try_again(ctx: &Context, caller: &Caller, otp: &Otp, id: i64) -> Result<Fate> {
    if ctx.provider.is_none() || is_keyless(ctx, otp) {
        // It waits for somebody who can send it, until its code is over.
        let now = ctx.reads().now().await?;
        return match otp.is_live(now) {
            true => Ok(Fate::Open),
            false => conclude(ctx, caller, otp, id, Finding::Unwanted).await,
        };
    }
    let message = match claim(ctx, caller, id).await? {
        Claim::Ours(message) => *message,
        Claim::Theirs => return Ok(Fate::Open),
        Claim::Unwanted => return conclude(ctx, caller, otp, id, Finding::Unwanted).await,
    };
    ctx.reached(Step::Claimed);
    let ticket = Ticket { otp: otp.clone(), message, resent: false, reply: None };
    let sent = deliver(ctx, &Caller { ip: None, ..caller.clone() }, ticket, None).await?;
    Ok(match sent.state {
        State::Failed | State::Undelivered | State::Canceled => Fate::Failed,
        State::Queued => Fate::NotNow,
        State::Unknown | State::Sending => Fate::Open,
        _ => Fate::Sent,
    })
}

/// Without its key nobody can compute the code of an otp. That is one otp's trouble and not the others'.
fn is_keyless(ctx: &Context, otp: &Otp) -> bool {
    let Err(error) = code_of(&ctx.keyring, otp) else { return false };
    tracing::warn!(target: "smsotp", code = error.code().name, otp = otp.id, "{error}");
    true
}

/// Looks at the provider for a message that we do not know and that carries our code. `None`: it is not for us to look.
pub(super) async fn look_for(ctx: &Context, otp: &Otp, message: &Message) -> Result<Option<Finding>> {
    let Some(provider) = ctx.provider.as_ref().filter(|provider| provider.name() == message.provider) else {
        return Ok(None);
    };
    if is_keyless(ctx, otp) {
        let live = otp.is_live(ctx.reads().now().await?);
        return Ok(Some(if live { Finding::NotNow } else { Finding::Never }));
    }
    let attempt_at = message.attempt_at.unwrap_or(message.reserved_at);
    // Times of one clock only: ours, moved by how far the provider's is away.
    let since = Timestamp(attempt_at.millis() + provider.clock_skew_ms()) - EARLIER;
    let listed = match provider.find(&message.phone, since).await {
        Ok(Some(listed)) => listed,
        Ok(None) => return Ok(Some(Finding::Never)),
        Err(error) => {
            not_now(message, &error);
            return Ok(Some(Finding::NotNow));
        }
    };
    let known = ctx.reads().provider_ids(&message.phone).await?;
    let code = code_of(&ctx.keyring, otp)?;
    let ours =
        |report: &&RemoteMessage| !known.contains(&report.provider_id) && carries(report.body.expose_secret(), &code);
    Ok(Some(match listed.iter().rfind(ours) {
        Some(report) => Finding::Found {
            provider_id: report.provider_id.clone(),
            state: report.state,
            error_code: report.error_code,
            price: report.price,
        },
        None => Finding::Absent,
    }))
}

/// Asks the provider what became of a message that is on its way. `None`: it says nothing of it, or it is not for us to ask.
pub(super) async fn ask(ctx: &Context, message: &Message) -> Result<Option<News>> {
    let provider = ctx.provider.as_ref().filter(|provider| provider.name() == message.provider);
    let (Some(provider), Some(provider_id)) = (provider, message.provider_id.clone()) else { return Ok(None) };
    let found = provider.fetch(&provider_id).await.inspect_err(|error| not_now(message, error))?;
    Ok(found.map(|found| {
        let (state, error_code, price) = (found.state, found.error_code, found.price);
        News { provider_id, state, error_code, price }
    }))
}

fn not_now(message: &Message, error: &Error) {
    let (id, code) = (message.id, error.code().name);
    tracing::warn!(target: "smsotp", code, "the provider could not be asked for message m{id}: {error}");
}

/// True where a text holds the code by itself, not as a part of a longer number.
fn carries(text: &str, code: &Code) -> bool {
    let code = code.expose();
    text.match_indices(code).any(|(at, _)| {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        !digit(text[..at].chars().next_back()) && !digit(text[at + code.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_inside_a_longer_number_is_not_the_code() {
        let code = Code::parse("123456").unwrap();
        assert!(carries("123456 is your code", &code));
        assert!(carries("@example.com #123456", &code));
        assert!(!carries("call 9123456 now", &code));
        assert!(!carries("call 1234567 now", &code));
        assert!(carries("1234567 or 123456", &code));
    }
}
