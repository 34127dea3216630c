//! Taking one open message as far as it can be taken now: try again, look for it at the provider, or ask what became of it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::context::{Caller, Context, Step, code_of};
use super::deliver::deliver;
use super::sent::Ticket;
use super::settle::{Claim, claim, conclude, polled};
use super::text;
use crate::clock::Timestamp;
use crate::code::Code;
use crate::delivery::{Fate, Finding, News};
use crate::error::{Error, Result};
use crate::message::{Message, State};
use crate::otp::Otp;
use crate::provider::RemoteMessage;
use crate::segments::replacement;

/// How far before the attempt a provider's message may lie and still be ours: its clock and ours differ, and it rounds to
/// whole seconds.
const EARLIER: Duration = Duration::from_secs(120);

/// Takes the message as far as it can be taken now.
pub(super) async fn advance(ctx: &Context, caller: &Caller, id: i64) -> Result<Fate> {
    let Some(message) = ctx.reads().message(id).await? else { return Ok(Fate::Gone) };
    let otp = match message.otp_id {
        Some(id) => ctx.reads().otp(id).await?,
        None => None,
    };
    if message.otp_id.is_some() && otp.is_none() {
        return Ok(Fate::Gone);
    }
    let otp = otp.as_ref();
    let now = ctx.reads().now().await?;
    match message.state {
        // Until then the provider does not take it.
        state if state.is_waiting() && message.due_at.is_some_and(|due| due > now) && may_wait(&message, otp, now) => {
            Ok(Fate::Open)
        }
        State::Scheduled | State::Queued => try_again(ctx, caller, &message, otp).await,
        State::Sending if message.due_at.is_some_and(|due| due > now) => Ok(Fate::Open),
        State::Sending | State::Unknown => {
            let Some(finding) = look_for(ctx, &message, otp).await? else { return Ok(Fate::Open) };
            let unheard = matches!(finding, Finding::NotNow) && carried(ctx, &message, otp).is_some();
            let fate = conclude(ctx, caller, (&message, otp), finding).await?;
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

/// Whether a message may wait for longer: its time is not over, nor is its code.
fn may_wait(message: &Message, otp: Option<&Otp>, now: Timestamp) -> bool {
    now < message.expires_at && otp.is_none_or(|otp| otp.is_live(now))
}

/// Another attempt of a message that certainly was not sent, while it is wanted.
async fn try_again(ctx: &Context, caller: &Caller, waiting: &Message, otp: Option<&Otp>) -> Result<Fate> {
    if ctx.provider.is_none() || carried(ctx, waiting, otp).is_none() {
        // It waits for somebody who can send it, until its time is over.
        let now = ctx.reads().now().await?;
        return match may_wait(waiting, otp, now) {
            true => Ok(Fate::Open),
            false => conclude(ctx, caller, (waiting, otp), Finding::Unwanted).await,
        };
    }
    let message = match claim(ctx, caller, waiting.id).await? {
        Claim::Ours(message) => *message,
        Claim::Theirs => return Ok(Fate::Open),
        Claim::Unwanted => return conclude(ctx, caller, (waiting, otp), Finding::Unwanted).await,
    };
    ctx.reached(Step::Claimed);
    let ticket = Ticket { otp: otp.cloned(), message, resent: false, reply: None };
    let sent = deliver(ctx, &Caller { ip: None, ..caller.clone() }, ticket, None).await?;
    Ok(match sent.state {
        State::Failed | State::Undelivered | State::Canceled => Fate::Failed,
        State::Scheduled | State::Queued => Fate::NotNow,
        State::Unknown | State::Sending => Fate::Open,
        _ => Fate::Sent,
    })
}

/// By what a message is known among those that the provider has.
enum Carried {
    Code(Code),
    Text(SecretString),
}

/// What a message carries. `None`: without its key nobody can compute the code of an otp, or open a text. That is one message's
/// trouble and not the others'.
fn carried(ctx: &Context, message: &Message, otp: Option<&Otp>) -> Option<Carried> {
    let carried = match otp {
        // Nobody looks for it any more.
        None if message.text.is_none() => return None,
        Some(otp) => code_of(&ctx.keyring, otp).map(Carried::Code),
        None => text::open(&ctx.keyring, message).map(Carried::Text),
    };
    let told = |error: &Error| {
        tracing::warn!(target: "smsotp", code = error.code().name, message = message.id, "{error}");
    };
    carried.inspect_err(told).ok()
}

/// Looks at the provider for a message that we do not know and that carries our code or text. `None`: it is not for us to look.
pub(super) async fn look_for(ctx: &Context, message: &Message, otp: Option<&Otp>) -> Result<Option<Finding>> {
    let Some(provider) = ctx.provider.as_ref().filter(|provider| provider.name() == message.provider) else {
        return Ok(None);
    };
    let Some(carried) = carried(ctx, message, otp) else {
        let waits = may_wait(message, otp, ctx.reads().now().await?);
        return Ok(Some(if waits { Finding::NotNow } else { Finding::Never }));
    };
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
    let is_ours = |text: &str| match &carried {
        Carried::Code(code) => carries(text, code),
        Carried::Text(ours) => says(text, ours.expose_secret()),
    };
    let ours = |report: &&RemoteMessage| !known.contains(&report.provider_id) && is_ours(report.body.expose_secret());
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

/// True where a text is ours as the provider may have changed it: Twilio's trial accounts put a sentence before it, and its smart
/// encoding puts look-alikes in the place of characters (<https://www.twilio.com/docs/messaging/services#smart-encoding>).
fn says(text: &str, ours: &str) -> bool {
    let plain = |text: &str| -> String {
        text.trim_end().chars().map(|c| replacement(c).map_or_else(|| c.to_string(), str::to_owned)).collect()
    };
    plain(text).ends_with(&plain(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_behind_the_sentence_of_a_trial_account_and_with_look_alikes() {
        assert!(says("Sent from your Twilio trial account - See you at 5", "See you at 5"));
        assert!(says("It\u{27}s done...", "It\u{2019}s done\u{2026}"));
        assert!(!says("See you at 5, or later", "See you at 5"));
        assert!(!says("See you at 15", "See you at 5"));
    }

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
