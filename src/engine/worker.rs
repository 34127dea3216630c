//! The worker inside `serve`: the step of `dispatch` again and again, what became of accepted messages, and purge on a schedule.

use std::time::Duration;

use super::callback::Report;
use super::dispatch::Fate;
use super::{Caller, Engine, Purge, PurgeReport};
use crate::audit::{Actor, Details, Event};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::Message;
use crate::store::{Change, Needs, Subject};

/// How many messages one step takes.
const STEP: u32 = 200;

/// Accepted messages are asked for until they are so old: "sent" may be the last word ever heard.
const POLL_FOR: Duration = Duration::from_secs(3600);

/// Pauses between polls double with the age of the message, and are never shorter than this.
const POLL_MIN: Duration = Duration::from_secs(5);

/// After an error the next step waits longer, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How the worker goes about its work.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The pause between two steps that found nothing to do.
    pub every: Duration,
    /// How often finished otps and messages are purged; `None`: never.
    pub purge_every: Option<Duration>,
}

/// What the worker tells of itself.
#[derive(Clone, Debug)]
pub enum Worked {
    /// One step.
    Step(super::Dispatched),
    /// One purge.
    Purge(PurgeReport),
}

impl Default for Work {
    fn default() -> Self {
        Work { every: Duration::from_secs(1), purge_every: Some(Duration::from_secs(3600)) }
    }
}

impl Engine {
    /// Works until its future is dropped. Every step is an operation or a call that survives being cut short: what was under way
    /// is found again by the next step.
    pub async fn work(&self, how: Work, mut tell: impl FnMut(&Worked)) {
        let caller = Caller::new(Actor::System);
        let mut pause = how.every;
        // The first purge comes after one whole span: a server that keeps restarting does not purge all the time.
        let mut purge_at = how.purge_every.map(|every| tokio::time::Instant::now() + every);
        loop {
            match self.dispatch(&caller, STEP).await {
                Ok(done) => {
                    pause = how.every;
                    tell(&Worked::Step(done));
                    if done.looked_at == STEP && done.open < STEP / 2 {
                        // There is more, and it moves.
                        tokio::task::yield_now().await;
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(target: "smsotp", code = error.code().name, "the worker could not work: {error}");
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            if let (Some(at), Some(every)) = (purge_at, how.purge_every)
                && tokio::time::Instant::now() >= at
            {
                purge_at = Some(tokio::time::Instant::now() + every);
                let ask = Purge { older_than: None, dry_run: false, exclusive: false, batch: None, scrub: false };
                match self.purge(&caller, &ask, |_| true).await {
                    Ok(report) => tell(&Worked::Purge(report)),
                    Err(error) => {
                        tracing::warn!(target: "smsotp", code = error.code().name, "the purge failed: {error}");
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks the provider what became of an accepted message.
    pub(super) async fn poll(&self, caller: &Caller, message: Message) -> Result<Fate> {
        let provider = self.provider.as_ref().filter(|provider| provider.name() == message.provider);
        let (Some(provider), Some(provider_id)) = (provider, message.provider_id.clone()) else {
            return self.poll_again(caller, &message, None).await;
        };
        match provider.fetch(&provider_id).await {
            Ok(Some(news)) => {
                let report = Report {
                    message_id: message.id,
                    provider_id,
                    state: news.state,
                    error_code: news.error_code,
                    to: None,
                };
                self.poll_again(caller, &message, Some(report)).await
            }
            Ok(None) => self.poll_again(caller, &message, None).await,
            Err(error) => {
                tracing::warn!(target: "smsotp", code = error.code().name, "message m{} could not be asked for", message.id);
                self.poll_again(caller, &message, None).await
            }
        }
    }

    /// Records what was learned, and when to ask again.
    async fn poll_again(&self, caller: &Caller, asked: &Message, report: Option<Report>) -> Result<Fate> {
        let subjects = vec![Subject::Phone(asked.phone.clone())];
        let needs = Needs { subjects, message: Some(asked.id), ..Needs::default() };
        let actor = caller.actor.clone();
        self.operation(needs, move |facts| {
            let Some(message) = facts.message.as_ref().filter(|message| message.due_at.is_some()) else {
                return Ok((Vec::new(), Fate::Gone));
            };
            if message.state.is_open() {
                return Ok((Vec::new(), Fate::Gone));
            }
            let now = facts.now.max(message.updated_at);
            let learned = report.as_ref().and_then(|report| report.news(message, now));
            let moved = learned.is_some();
            let mut next = learned.unwrap_or_else(|| message.clone());
            next.due_at = if next.state.is_final() { None } else { next_poll(&next, now) };
            let fate = if next.state.is_final() { Fate::Found } else { Fate::Open };
            let mut changes = Vec::new();
            if moved {
                let mut details = Details::new().number("message", next.id);
                if let Some(otp) = next.otp_id {
                    details = details.number("otp", otp);
                }
                let event = Event::new(now, actor.clone(), "poll", next.state.as_str())
                    .subject(&facts.subjects[0].id.0)
                    .details(details);
                changes.push(Change::Audit(event));
            }
            changes.push(Change::PutMessage(next));
            Ok((changes, fate))
        })
        .await
    }
}

fn next_poll(message: &Message, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(message.attempt_at.unwrap_or(message.reserved_at));
    (age < POLL_FOR).then(|| now + age.max(POLL_MIN))
}
