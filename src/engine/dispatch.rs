//! The worker's step: try again what waits for it, and find out what became of what is unknown or was left behind.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;

use super::deliver::{self, Claim, FIRST_LOOK};
use super::send::Ticket;
use super::{Caller, Engine, Step, code_of};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::code::Code;
use crate::error::Result;
use crate::message::{Message, State};
use crate::otp::{self, Otp};
use crate::provider::RemoteMessage;
use crate::store::{Change, Facts, Needs, operation};

/// A message that the provider does not list on two checks so far apart was never accepted.
const LOOKS_APART: Duration = Duration::from_secs(600);

/// How far before the attempt a provider's message may lie and still be ours: its clock and ours differ, and it rounds to
/// whole seconds.
const EARLIER: Duration = Duration::from_secs(120);

/// How long one attempt of the worker may go on trying by itself: once.
const ONCE: Duration = Duration::ZERO;

/// What one run of the worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dispatched {
    /// Messages that it looked at.
    pub looked_at: u32,
    /// Sent after all.
    pub sent: u32,
    /// Found at the provider: they had been accepted.
    pub found: u32,
    /// Found never to have been accepted, or with no time left.
    pub failed: u32,
    /// Still open; a later run looks again.
    pub open: u32,
}

impl Engine {
    /// Looks at up to `limit` messages that are due, the longest due first.
    ///
    /// # Errors
    /// `STORE_*`; trouble with the provider leaves messages open for the next run.
    pub async fn dispatch(&self, caller: &Caller, limit: u32) -> Result<Dispatched> {
        let mut done = Dispatched::default();
        let now = self.store.now().await?;
        for id in self.store.due(now, limit).await? {
            done.looked_at += 1;
            match self.settle_orphan(caller, id).await? {
                Fate::Sent => done.sent += 1,
                Fate::Found => done.found += 1,
                Fate::Failed => done.failed += 1,
                Fate::Open => done.open += 1,
                Fate::Gone => {}
            }
        }
        Ok(done)
    }

    /// Takes one open message as far as it can be taken now.
    pub(super) async fn settle_orphan(&self, caller: &Caller, id: i64) -> Result<Fate> {
        let Some(message) = self.store.message(id).await? else { return Ok(Fate::Gone) };
        let Some(otp) = self.otp_for(&message).await? else { return Ok(Fate::Gone) };
        let now = self.store.now().await?;
        match message.state {
            State::Queued => self.try_again(caller, &otp, id).await,
            State::Sending if message.due_at.is_some_and(|due| due > now) => Ok(Fate::Open),
            State::Sending | State::Unknown => self.look_for(caller, otp, message).await,
            State::Accepted | State::Sent if message.due_at.is_some() => self.poll(caller, message).await,
            _ => Ok(Fate::Gone),
        }
    }

    async fn otp_for(&self, message: &Message) -> Result<Option<Otp>> {
        match message.otp_id {
            Some(id) => self.store.otp(id).await,
            None => Ok(None),
        }
    }

    /// Another attempt of a message that surely was not sent, while its code is alive.
    async fn try_again(&self, caller: &Caller, otp: &Otp, id: i64) -> Result<Fate> {
        if self.provider.is_none() || self.is_keyless(otp) {
            // It waits for somebody who can send it, until its code is over.
            let now = self.store.now().await?;
            return if otp.is_live(now) { Ok(Fate::Open) } else { self.close(caller, otp, id, Closing::Over).await };
        }
        let message = match self.claim(caller, id).await? {
            Claim::Ours(message) => *message,
            Claim::Theirs => return Ok(Fate::Open),
            Claim::Over => return self.close(caller, otp, id, Closing::Over).await,
        };
        self.tell(Step::Claimed);
        let ticket = Ticket { otp: otp.clone(), user: otp.user.clone(), message, resent: false, reply: None };
        let sent = self.deliver(&Caller { ip: None, ..caller.clone() }, ticket, ONCE).await?;
        Ok(match sent.state {
            State::Failed => Fate::Failed,
            State::Queued | State::Unknown | State::Sending => Fate::Open,
            _ => Fate::Sent,
        })
    }

    /// Without its key nobody can tell what the code of an otp is. That is one otp's trouble and not the others'.
    fn is_keyless(&self, otp: &Otp) -> bool {
        let Err(error) = code_of(&self.keyring, otp) else { return false };
        tracing::warn!(target: "smsotp", code = error.code().name, otp = otp.id, "{error}");
        true
    }

    /// Looks at the provider for a message that we do not know and that carries our code.
    async fn look_for(&self, caller: &Caller, otp: Otp, message: Message) -> Result<Fate> {
        let Some(provider) = &self.provider else { return Ok(Fate::Open) };
        if provider.name() != message.provider {
            return Ok(Fate::Open);
        }
        if self.is_keyless(&otp) {
            let closing = if otp.is_live(self.store.now().await?) { Closing::Later } else { Closing::Never };
            return self.close(caller, &otp, message.id, closing).await;
        }
        let attempt_at = message.attempt_at.unwrap_or(message.reserved_at);
        // Times of one clock only: ours, moved by how far the provider's is away.
        let since = Timestamp(attempt_at.millis() + provider.clock_skew_ms()) - EARLIER;
        let listed = match provider.find(&message.phone, since).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(target: "smsotp", code = error.code().name, "the provider could not be asked for message m{}", message.id);
                return self.close(caller, &otp, message.id, Closing::Later).await;
            }
        };
        let Some(listed) = listed else {
            // A provider that cannot list: unknown is the last word.
            return self.close(caller, &otp, message.id, Closing::Never).await;
        };
        let known = self.store.provider_ids(&message.phone).await?;
        let code = code_of(&self.keyring, &otp)?;
        let ours = |report: &&RemoteMessage| {
            !known.contains(&report.provider_id) && carries(report.body.expose_secret(), &code)
        };
        let closing = match listed.iter().rfind(ours) {
            Some(report) => Closing::Found(report.provider_id.clone(), report.state, report.error_code),
            None => Closing::Absent,
        };
        self.close(caller, &otp, message.id, closing).await
    }

    /// Records what was found out about an open message, if it is still open.
    pub(super) async fn close(&self, caller: &Caller, otp: &Otp, id: i64, closing: Closing) -> Result<Fate> {
        let subjects = deliver::subjects_of(&otp.phone, &otp.user);
        let needs = Needs { subjects, message: Some(id), messages: true, ..Needs::default() };
        let (actor, longest) = (caller.actor.clone(), self.policy.limits.longest());
        operation(self.store.as_ref(), needs, move |facts| {
            let (Some(message), Some(otp)) = (&facts.message, &facts.otp) else { return Ok((Vec::new(), Fate::Gone)) };
            let now = facts.now.max(message.updated_at);
            let still_ours = match message.state {
                State::Queued => matches!(closing, Closing::Over),
                State::Sending => message.due_at.is_none_or(|due| due <= now),
                State::Unknown => true,
                _ => false,
            };
            if !still_ours {
                return Ok((Vec::new(), Fate::Gone));
            }
            if closing.is_taken(&facts.messages) {
                return Ok((Vec::new(), Fate::Open));
            }
            let (mut changes, fate) = closing.record(message, now);
            if fate == Fate::Failed {
                changes.extend(deliver::give_back_all(&facts.subjects, message, otp.purpose.as_str(), longest));
                changes.extend(fail_otp(facts, otp, message.id, now));
            }
            let details = Details::new().number("otp", otp.id).number("message", id);
            let event = Event::new(now, actor.clone(), "dispatch", fate.word()).details(details);
            changes.push(Change::Audit(event.subject(&facts.subjects[0].id.0)));
            Ok((changes, fate))
        })
        .await
    }
}

/// What became of an open message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Found,
    Failed,
    Open,
    /// Somebody else settled it, or it is not there.
    Gone,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Sent => "sent",
            Fate::Found => "found",
            Fate::Failed => "failed",
            Fate::Open => "open",
            Fate::Gone => "gone",
        }
    }
}

/// What was found out.
pub(super) enum Closing {
    /// It is at the provider: id, state, error code.
    Found(String, State, Option<u32>),
    /// It is not at the provider.
    Absent,
    /// The provider could not be asked.
    Later,
    /// The provider cannot be asked, now or ever.
    Never,
    /// It waits for an attempt that nobody needs any more: its code is over, or its recipient opted out.
    Over,
}

impl Closing {
    /// What was found is another message of the same code: two workers looked at the same time.
    fn is_taken(&self, messages: &[Message]) -> bool {
        let Closing::Found(found, ..) = self else { return false };
        messages.iter().any(|message| message.provider_id.as_ref() == Some(found))
    }

    fn record(&self, old: &Message, now: Timestamp) -> (Vec<Change>, Fate) {
        let mut message = Message { updated_at: now, due_at: None, ..old.clone() };
        let fate = match self {
            Closing::Found(provider_id, state, error_code) => {
                message.state = *state;
                message.provider_id = Some(provider_id.clone());
                (message.error_code, message.error) = (*error_code, None);
                Fate::Found
            }
            Closing::Absent => match old.missed_at {
                Some(first) if now.since(first) >= LOOKS_APART => {
                    message.state = State::Failed;
                    message.error = Some("the provider never accepted it".to_owned());
                    Fate::Failed
                }
                first => {
                    message.state = State::Unknown;
                    let first = first.unwrap_or(now);
                    message.missed_at = Some(first);
                    message.due_at = Some(first + LOOKS_APART);
                    Fate::Open
                }
            },
            Closing::Later => {
                message.state = State::Unknown;
                message.due_at = Some(now + FIRST_LOOK);
                Fate::Open
            }
            Closing::Never => {
                message.state = State::Unknown;
                Fate::Open
            }
            Closing::Over => {
                message.state = State::Failed;
                message.error = Some("it was not sent while its code was alive and its recipient wanted it".to_owned());
                Fate::Failed
            }
        };
        (vec![Change::PutMessage(message)], fate)
    }
}

/// An otp fails only where none of its messages was or may have been accepted.
fn fail_otp(facts: &Facts, otp: &Otp, message_id: i64, now: Timestamp) -> Option<Change> {
    let others = facts
        .messages
        .iter()
        .any(|other| other.id != message_id && (other.state.may_be_out() || other.state == State::Queued));
    if others || otp.state != otp::State::Active {
        return None;
    }
    let mut otp = otp.clone();
    let end = if otp.is_live(now) { otp::State::Failed } else { otp::State::Expired };
    otp.end(end, now);
    Some(Change::PutOtp(otp))
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
