//! The transactions that move a message along: claim an attempt, settle it, conclude what was found out, take in news. What
//! they decide is in `delivery`.

use std::sync::Arc;

use super::context::{Caller, Context};
use super::outcomes::{Outcomes, with_news};
use super::sent::{SentMessage, Ticket, whole_seconds};
use crate::abuse::EventKind;
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::delivery::{self, Blame, Delivery, Fate, Finding, News, Reason};
use crate::error::{self, Error, Result};
use crate::lists::About;
use crate::message::{Message, State};
use crate::otp::{Otp, User};
use crate::phone::{self, Phone};
use crate::policy::Policy;
use crate::provider::TEST;
use crate::store::{Change, Decision, Facts, Needs, Reply, Subject};
use crate::usage;

/// Whose a waiting message is.
pub(super) enum Claim {
    /// Ours to hand over.
    Ours(Box<Message>),
    /// Somebody else took it on, or settled it.
    Theirs,
    /// Nobody's: nobody wants it any more.
    Unwanted,
}

/// Claims a message that waits for its next attempt.
pub(super) async fn claim(ctx: &Context, caller: &Caller, id: i64) -> Result<Claim> {
    let Some(message) = ctx.reads().message(id).await? else { return Ok(Claim::Theirs) };
    let lists = entries_about(ctx, &message).await?;
    // Which of the messages of its code it is, for the sums: another provider may take it on.
    let messages = message.otp_id.is_some();
    let subjects = vec![Subject::Phone(message.phone)];
    let needs = Needs { subjects, message: Some(id), messages, lists, ..Needs::default() };
    let (actor, provider) = (caller.actor.clone(), ctx.provider()?.name());
    ctx.operate(needs, move |facts| {
        let waiting = facts.message.clone().filter(|message| message.state.is_waiting());
        let Some(mut message) = waiting.filter(|message| is_whole(facts, message)) else {
            return Ok(Decision::Nothing(Claim::Theirs));
        };
        let (now, phone) = (facts.now.max(message.updated_at), facts.phone()?);
        let unwelcome = phone.usage.opted_out_at.is_some() || facts.ruling().blocked.is_some();
        if !delivery::is_wanted(&message, facts.otp.as_ref(), unwelcome, now) {
            return Ok(Decision::Nothing(Claim::Unwanted));
        }
        delivery::claim(&mut message, now);
        message.provider = provider.to_owned();
        let details = Details::new().number("message", id).number("attempt", i64::from(message.attempts));
        let event = Event::new(now, actor.clone(), "claim", "done").subject(&phone.id.0).details(details);
        let changes = vec![Change::PutMessage(message.clone())];
        Ok(Decision::Write { changes, event, answer: Claim::Ours(Box::new(message)) })
    })
    .await
}

/// Whether the otp is there whose code a message carries, if it carries one.
fn is_whole(facts: &Facts, message: &Message) -> bool {
    message.otp_id.is_none() || facts.otp.is_some()
}

/// The keys of the entries of lists that may be about a message. Whose address it was asked from is not kept.
async fn entries_about(ctx: &Context, message: &Message) -> Result<Vec<String>> {
    let otp = match message.otp_id {
        Some(id) => ctx.reads().otp(id).await?,
        None => None,
    };
    let (number, nobody) = (phone::parse(message.phone.as_str(), None).ok(), User::default());
    let about = About {
        phone: &message.phone,
        country: number.as_ref().and_then(|number| number.country.as_deref()),
        user: otp.as_ref().map_or(&nobody, |otp| &otp.user),
        ip: None,
    };
    let index = &ctx.store.operations.keys().index;
    Ok(about.keys(|kind, value| index.tag(kind, value)))
}

/// What settling made of an attempt.
#[derive(Debug)]
pub(super) struct Settled {
    pub sent: SentMessage,
    /// When to try again, if it is to be tried again.
    pub retry_at: Option<Timestamp>,
}

/// Records the outcome of one attempt, if it is still ours to record. `until`: for how long the caller waits for another one;
/// `None`: nobody waits.
pub(super) async fn settle(
    ctx: &Context,
    caller: &Caller,
    ticket: &Ticket,
    delivery: Delivery,
    until: Option<Timestamp>,
) -> Result<Settled> {
    // Only what was surely not sent is given back; the otp's other messages matter only to what came to nothing.
    let unsent = delivery.is_surely_unsent();
    let in_vain = unsent || matches!(delivery, Delivery::Ended { .. });
    let mut subjects = vec![Subject::Phone(ticket.message.phone.clone())];
    if unsent {
        subjects = phone_and_user(&ticket.message.phone, ticket.otp.as_ref());
        subjects.extend(caller.ip.map(|ip| Subject::of_client(ip)[0].clone()));
    }
    subjects.extend(in_vain.then(|| Subject::block_of(&ticket.message.phone)));
    let needs = Needs { subjects, message: Some(ticket.message.id), messages: in_vain, ..Needs::default() };
    let mut random = [0u8; 1];
    crate::keys::fill_random(&mut random)?;
    let outcome = Outcome {
        policy: Arc::clone(&ctx.policy),
        caller: caller.clone(),
        attempts: ticket.message.attempts,
        resent: ticket.resent,
        reply: ticket.reply.clone(),
        pause: delivery::retry_pause(ticket.message.attempts, &delivery, random[0]),
        delivery,
        until,
        poll_after: ctx.poll_after.filter(|_| ctx.asks()),
    };
    ctx.operate(needs, move |facts| outcome.decide(facts)).await
}

struct Outcome {
    policy: Arc<Policy>,
    caller: Caller,
    attempts: u32,
    resent: bool,
    reply: Option<Reply>,
    delivery: Delivery,
    until: Option<Timestamp>,
    pause: std::time::Duration,
    poll_after: Option<std::time::Duration>,
}

impl Outcome {
    fn decide(&self, facts: &Facts) -> Result<Decision<Settled>> {
        let Some(message) = facts.message.as_ref().filter(|message| is_whole(facts, message)) else {
            return Err(Error::new(
                error::Code::STORE_FAILED,
                "the message that was being sent is not in the database any more",
            )
            .hint("Was the database replaced while smsotp was running?"));
        };
        let mut message = message.clone();
        if message.state != State::Sending || message.attempts != self.attempts {
            // Our lease ran out and somebody else settled it: the database has their outcome.
            let sent = SentMessage::of(&message, self.resent, facts.now);
            return Ok(Decision::Nothing(Settled { sent, retry_at: None }));
        }
        // What became of a message is recorded whatever the clock says: the provider has been asked.
        let now = facts.latest();
        let again = delivery::retry_at(&self.delivery, now, self.pause, self.until, message.expires_at);
        delivery::settle(&mut message, &self.delivery, again, self.poll_after, now);
        let retry_at = message.due_at.filter(|_| message.state == State::Queued);
        let mut changes = Vec::new();
        let ended = matches!(self.delivery, Delivery::Ended { .. });
        if (ended || message.state == State::Failed)
            && let Some(otp) = &facts.otp
            && let Some(over) = delivery::otp_after_failure(otp, &facts.messages, message.id, now)
        {
            changes.push(Change::PutOtp(over));
        }
        let mut outcomes = Outcomes::of(facts);
        if ended {
            outcomes.moved(&mut message, now);
            changes.extend(opt_out(facts, &self.policy, &message, self.delivery.reason(), now)?);
        } else if message.state == State::Failed {
            outcomes.add(EventKind::NotSent, &mut message, now);
            changes.extend(self.give_back(facts, &message, now)?);
        }
        changes.extend(outcomes.changes(now, &self.policy.limits)?);
        changes.push(Change::PutMessage(message.clone()));
        let sent = self.answer(&message, now);
        if let Some(reply) = self.reply.as_ref().filter(|_| retry_at.is_none()) {
            changes.push(Change::PutReply(Reply { answer: Some(sent.to_json()?), ..reply.clone() }));
        }
        let event = Event::new(now, self.caller.actor.clone(), "settle", message.state.as_str())
            .subject(&facts.phone()?.id.0)
            .details(details(&message));
        Ok(Decision::Write { changes, event, answer: Settled { sent, retry_at } })
    }

    /// The phone and the user get the message back; a refusal counts against them and the client address.
    fn give_back(&self, facts: &Facts, message: &Message, now: Timestamp) -> Result<Vec<Change>> {
        let limits = &self.policy.limits;
        let refused = matches!(self.delivery, Delivery::Refused(_));
        let opted_out = self.delivery.reason().is_some_and(|reason| reason.opted_out);
        let phone = facts.phone()?.updated(now, limits, |usage| {
            delivery::give_back_to_phone(usage, message, facts.otp.as_ref());
            if opted_out {
                usage.opted_out_at = Some(now.millis());
            }
            if refused {
                usage::count(&mut usage.refused, &limits.refused_phone, now);
            }
        });
        let mut changes = vec![phone];
        changes.extend(facts.user().map(|user| {
            user.updated(now, limits, |usage| {
                delivery::give_back(usage, message);
                if refused {
                    usage::count(&mut usage.refused, &limits.refused_other, now);
                }
            })
        }));
        changes.extend(facts.address().filter(|_| refused).map(|address| {
            address.updated(now, limits, |usage| usage::count(&mut usage.refused, &limits.refused_other, now))
        }));
        Ok(changes)
    }

    fn answer(&self, message: &Message, now: Timestamp) -> SentMessage {
        let mut sent = SentMessage::of(message, self.resent, now).because(self.delivery.reason());
        if let Delivery::Busy { .. } = self.delivery {
            sent.blame = Some(Blame::Limit);
            sent.retry_after_seconds = Some(whole_seconds(self.pause));
        }
        sent
    }
}

/// The change of a phone whose owner has opted out, as the provider says of a message that it had taken; not where the owner
/// has texted since that message.
fn opt_out(
    facts: &Facts,
    policy: &Policy,
    message: &Message,
    why: Option<&Reason>,
    now: Timestamp,
) -> Result<Option<Change>> {
    let phone = facts.phone()?;
    let sent_at = message.attempt_at.unwrap_or(message.reserved_at);
    let opted_out = why.is_some_and(|why| why.opted_out)
        && phone.usage.opted_out_at.is_none()
        && !phone.usage.has_texted_since(sent_at);
    Ok(opted_out.then(|| phone.updated(now, &policy.limits, |usage| usage.opted_out_at = Some(now.millis()))))
}

/// Records what was found out about an open message, if it is still open. `otp`: whose code it carries.
pub(super) async fn conclude(
    ctx: &Context,
    caller: &Caller,
    (message, otp): (&Message, Option<&Otp>),
    finding: Finding,
) -> Result<Fate> {
    let id = message.id;
    let mut subjects = phone_and_user(&message.phone, otp);
    subjects.push(Subject::block_of(&message.phone));
    let needs = Needs { subjects, message: Some(id), messages: true, ..Needs::default() };
    let (actor, policy, asks) = (caller.actor.clone(), Arc::clone(&ctx.policy), ctx.asks());
    let why = match &finding {
        Finding::Found { error_code, .. } => ctx.explain(*error_code),
        _ => None,
    };
    ctx.operate(needs, move |facts| {
        let Some(message) = facts.message.as_ref().filter(|message| is_whole(facts, message)) else {
            return Ok(Decision::Nothing(Fate::Gone));
        };
        let now = facts.now.max(message.updated_at);
        // Two workers looked at the same time, and what was found is another message of the same code.
        if let Finding::Found { provider_id, .. } = &finding
            && facts.messages.iter().any(|other| other.provider_id.as_ref() == Some(provider_id))
        {
            return Ok(Decision::Nothing(Fate::Open));
        }
        let Some((mut next, fate)) = delivery::conclude(message, &finding, why.as_ref(), now) else {
            return Ok(Decision::Nothing(Fate::Gone));
        };
        if message.state == State::Unknown && matches!(finding, Finding::NotNow) {
            return Ok(Decision::Reschedule { message_id: id, due_at: next.due_at, answer: fate });
        }
        let mut outcomes = Outcomes::of(facts);
        match &finding {
            Finding::Found { price, .. } => {
                outcomes.priced(&mut next, *price, now);
                outcomes.moved(&mut next, now);
                next.due_at = if asks { delivery::next_look(&next, now) } else { None };
            }
            _ if fate == Fate::Failed => outcomes.add(EventKind::NotSent, &mut next, now),
            _ => {}
        }
        let mut changes = outcomes.changes(now, &policy.limits)?;
        changes.push(Change::PutMessage(next));
        changes.extend(opt_out(facts, &policy, message, why.as_ref(), now)?);
        if fate == Fate::Failed {
            let limits = &policy.limits;
            changes.push(facts.phone()?.updated(now, limits, |usage| {
                delivery::give_back_to_phone(usage, message, facts.otp.as_ref());
            }));
            changes.extend(
                facts.user().map(|user| user.updated(now, limits, |usage| delivery::give_back(usage, message))),
            );
            let over = |otp| delivery::otp_after_failure(otp, &facts.messages, id, now);
            changes.extend(facts.otp.as_ref().and_then(over).map(Change::PutOtp));
        }
        let event = Event::new(now, actor.clone(), "dispatch", fate.as_str())
            .subject(&facts.phone()?.id.0)
            .details(details(&Message { error_code: None, ..message.clone() }));
        Ok(Decision::Write { changes, event, answer: fate })
    })
    .await
}

/// Has a message that is still due make room for the others.
pub(super) async fn postpone(ctx: &Context, id: i64, by: std::time::Duration) -> Result<()> {
    let is_due = |message: &Message, now: Timestamp| message.due_at.is_some_and(|due| due <= now);
    let now = ctx.reads().now().await?;
    if !ctx.reads().message(id).await?.is_some_and(|message| is_due(&message, now)) {
        return Ok(());
    }
    ctx.operate(Needs { message: Some(id), ..Needs::default() }, move |facts| {
        let stuck = facts.message.as_ref().is_some_and(|message| is_due(message, facts.now));
        let due_at = Some(facts.now + by);
        Ok(match stuck {
            true => Decision::Reschedule { message_id: id, due_at, answer: () },
            false => Decision::Nothing(()),
        })
    })
    .await
}

/// Records what a poll learned, and when to ask again. Where it learned nothing no row changes but for that time.
pub(super) async fn polled(ctx: &Context, caller: &Caller, asked: &Message, news: Option<News>) -> Result<Fate> {
    let subjects = vec![Subject::Phone(asked.phone.clone()), Subject::block_of(&asked.phone)];
    let needs = Needs { subjects, message: Some(asked.id), ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    let why = news.as_ref().and_then(|news| ctx.explain(news.error_code));
    ctx.operate(needs, move |facts| {
        // Somebody else may have heard of its end meanwhile, and of its price.
        let is_asked_for =
            |message: &&Message| message.state.is_on_its_way() || message.state.is_final() && message.due_at.is_some();
        let Some(message) = facts.message.as_ref().filter(is_asked_for) else {
            return Ok(Decision::Nothing(Fate::Gone));
        };
        let now = facts.now.max(message.updated_at);
        let Some(mut next) = news.as_ref().and_then(|news| with_news(message, (news, why.as_ref()), now)) else {
            let due_at = delivery::next_look(message, now);
            let answer = if message.state.is_final() { Fate::Gone } else { Fate::Open };
            return Ok(match due_at == message.due_at {
                true => Decision::Nothing(answer),
                false => Decision::Reschedule { message_id: message.id, due_at, answer },
            });
        };
        let fate = if next.state.is_final() { Fate::Found } else { Fate::Open };
        let event = news_event(&next, now, "poll", actor.clone()).subject(&facts.phone()?.id.0);
        let mut outcomes = Outcomes::of(facts);
        outcomes.priced(&mut next, news.as_ref().and_then(|news| news.price), now);
        outcomes.moved(&mut next, now);
        next.due_at = delivery::next_look(&next, now);
        let mut changes = outcomes.changes(now, &policy.limits)?;
        changes.push(Change::PutMessage(next));
        changes.extend(opt_out(facts, &policy, message, why.as_ref(), now)?);
        Ok(Decision::Write { changes, event, answer: fate })
    })
    .await
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The message moved forward to this state.
    Moved(State),
    /// Old or repeated news, or a status that is not known.
    Old,
    /// No message has this id, or it is another one's.
    Unknown,
}

/// What the provider reports of a message by itself.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// Our id of the message.
    pub message_id: i64,
    /// What is new.
    pub news: News,
    /// Whom it went to, where the provider says so.
    pub to: Option<Phone>,
}

/// Records what the provider reports of a message: forward only, and the same news twice changes nothing.
pub(super) async fn report(ctx: &Context, caller: &Caller, report: StatusReport) -> Result<Reported> {
    let StatusReport { message_id, news, to } = report;
    let Some(known) = ctx.reads().message(message_id).await? else { return Ok(Reported::Unknown) };
    let subjects = vec![Subject::block_of(&known.phone), Subject::Phone(known.phone)];
    let needs = Needs { subjects, message: Some(message_id), ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    let (why, asks) = (ctx.explain(news.error_code), ctx.asks());
    ctx.operate(needs, move |facts| {
        // Our id came back in the callback's address; the provider's id and the recipient have to fit what we know.
        let is_about = |message: &&Message| {
            message.provider_id.as_ref().is_none_or(|known| *known == news.provider_id)
                && to.as_ref().is_none_or(|to| *to == message.phone)
                && message.provider != TEST
        };
        let Some(message) = facts.message.as_ref().filter(is_about) else {
            return Ok(Decision::Nothing(Reported::Unknown));
        };
        let Some(mut next) = with_news(message, (&news, why.as_ref()), facts.now) else {
            return Ok(Decision::Nothing(Reported::Old));
        };
        let state = next.state;
        let event = news_event(&next, next.updated_at, "report", actor.clone()).subject(&facts.phone()?.id.0);
        let mut outcomes = Outcomes::of(facts);
        outcomes.priced(&mut next, news.price, facts.now);
        outcomes.moved(&mut next, facts.now);
        if next.state.is_final() {
            next.due_at = if asks { delivery::next_price_look(&next, next.updated_at) } else { None };
        }
        let mut changes = outcomes.changes(facts.now, &policy.limits)?;
        changes.push(Change::PutMessage(next));
        changes.extend(opt_out(facts, &policy, message, why.as_ref(), facts.now)?);
        Ok(Decision::Write { changes, event, answer: Reported::Moved(state) })
    })
    .await
}

fn news_event(message: &Message, now: Timestamp, action: &'static str, actor: crate::audit::Actor) -> Event {
    Event::new(now, actor, action, message.state.as_str()).details(details(message))
}

/// What the audit log has of a message.
fn details(message: &Message) -> Details {
    let mut details = Details::new();
    if let Some(otp) = message.otp_id {
        details = details.number("otp", otp);
    }
    details = details.number("message", message.id);
    if let Some(code) = message.error_code {
        details = details.number("error_code", i64::from(code));
    }
    details
}

fn phone_and_user(phone: &Phone, otp: Option<&Otp>) -> Vec<Subject> {
    let user = otp.filter(|otp| !otp.user.is_empty()).map(|otp| Subject::User(otp.user.clone()));
    [Some(Subject::Phone(phone.clone())), user].into_iter().flatten().collect()
}
