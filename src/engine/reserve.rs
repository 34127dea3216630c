//! The first step of a send, in one transaction: opt-out → country → limits → otp, message and audit rows.

use std::sync::Arc;
use std::time::Duration;

use super::send::{Destination, Refusal, Reserved, Send, Sent, Ticket};
use super::text::LEAST;
use super::{Caller, Engine, code_of, put, steady};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::{self, Code as ErrorCode, Error, Result};
use crate::keys::{Keyring, fill_random};
use crate::limits::{Hit, Standing};
use crate::message::{self, Message};
use crate::otp::{Otp, State, User};
use crate::phone::{Number, Phone};
use crate::purpose::{Policy, Purpose, Resend};
use crate::store::{Change, Facts, Needs, OtpNeed, Reply, Subject, SubjectFact};
use crate::template::Endings;
use crate::usage::Usage;

/// A code that expires sooner is not sent again: a new one is made.
const WORTH_RESENDING: Duration = Duration::from_secs(120);

/// How many nonces are tried for a code that no other of the phone and purpose has.
const DRAWS_MAX: usize = 32;

/// How long an attempt may take before `dispatch` holds its process for dead: the 35 s that a create may take, and then some.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// All that the decision needs besides the facts: no connection to anything.
struct Asked {
    policy: Arc<Policy>,
    keyring: Arc<Keyring>,
    provider: &'static str,
    caller: Caller,
    number: Option<Number>,
    phone: Phone,
    purpose: Purpose,
    user: User,
    new_code: bool,
    override_limit: Option<(Vec<String>, String)>,
    endings: Endings,
    segments: u32,
    reply: Option<Reply>,
    orphans_settled: bool,
    test_numbers: bool,
    places: Places,
    shard: (u32, u32),
    /// Every other shard of everything was found full.
    last_shard: bool,
}

/// Where each subject stands in the facts.
#[derive(Clone, Copy, Default)]
struct Places {
    user: Option<usize>,
    ip: Option<usize>,
    network: Option<usize>,
}

const PHONE: usize = 0;
const PAIR: usize = 1;
const EVERYTHING: usize = 2;

impl Engine {
    /// Reserves and claims a message, or says why not.
    pub(super) async fn reserve(
        &self,
        caller: &Caller,
        (ask, segments): (&Send, u32),
        reply: Option<Reply>,
        orphans_settled: bool,
    ) -> Result<Reserved> {
        let shards = self.store.shards().max(1);
        let first = u32::from(self.store.keys().index.tag("shard", ask.to.phone().as_str().as_bytes())[0]);
        for tried in 1..=shards {
            let shard = ((first + tried) % shards, shards);
            let asked =
                self.asked(caller, (ask, segments), (reply.clone(), orphans_settled), (shard, tried == shards))?;
            if let Some(reserved) = self.reserve_in(ask, asked).await? {
                return Ok(reserved);
            }
        }
        Err(Error::new(ErrorCode::BUG, "the last shard of everything was not decided on"))
    }

    /// `None`: this shard of everything is full, and another may have room.
    async fn reserve_in(&self, ask: &Send, mut asked: Asked) -> Result<Option<Reserved>> {
        let phone = asked.phone.clone();
        let (subjects, places) = subjects(&phone, &ask.user, &asked.caller, asked.shard.0);
        asked.places = places;
        let needs = Needs {
            subjects,
            otp: OtpNeed::Of(ask.user.clone(), phone.clone(), ask.purpose.clone()),
            messages: true,
            reply: asked.reply.as_ref().map(|reply| reply.tag),
            ids: true,
            ..Needs::default()
        };
        self.operation(needs, move |facts| asked.decide(facts)).await
    }

    fn asked(
        &self,
        caller: &Caller,
        (ask, segments): (&Send, u32),
        (reply, orphans_settled): (Option<Reply>, bool),
        (shard, last_shard): ((u32, u32), bool),
    ) -> Result<Asked> {
        Ok(Asked {
            policy: Arc::clone(&self.policy),
            keyring: Arc::clone(&self.keyring),
            provider: self.provider()?.name(),
            caller: caller.clone(),
            number: match &ask.to {
                Destination::Known(number) => Some(number.clone()),
                Destination::Shape(..) => None,
            },
            phone: ask.to.phone().clone(),
            purpose: ask.purpose.clone(),
            user: ask.user.clone(),
            new_code: ask.new_code,
            override_limit: ask.override_limit.clone(),
            endings: ask.endings.clone(),
            segments,
            reply,
            orphans_settled,
            test_numbers: self.test_numbers,
            places: Places::default(),
            shard,
            last_shard,
        })
    }
}

/// The subjects of a send, and where those stand that not every send has.
///
/// The empty user is nobody in particular: it has no limits of its own, or strangers would share them.
fn subjects(phone: &Phone, user: &User, caller: &Caller, shard: u32) -> (Vec<Subject>, Places) {
    let mut subjects =
        vec![Subject::Phone(phone.clone()), Subject::Pair(user.clone(), phone.clone()), Subject::Shard(shard)];
    let mut places = Places::default();
    if !user.is_empty() {
        places.user = Some(subjects.len());
        subjects.push(Subject::User(user.clone()));
    }
    if let Some(ip) = caller.ip {
        let [ip, network] = Subject::of_client(ip);
        (places.ip, places.network) = (Some(subjects.len()), Some(subjects.len() + 1));
        subjects.extend([ip, network]);
    }
    (subjects, places)
}

impl Asked {
    fn decide(&self, facts: &Facts) -> Result<(Vec<Change>, Option<Reserved>)> {
        let some = |(changes, reserved)| (changes, Some(reserved));
        let usages: Vec<&Usage> = facts.subjects.iter().map(|fact| &fact.usage).collect();
        let now = steady(facts.now, &usages)?;
        if facts.reply.is_some() {
            return Err(Error::new(ErrorCode::IN_PROGRESS, "a send with this idempotency key has just begun")
                .retry_after(Duration::from_secs(5))
                .hint("Ask again with the same key in a few seconds."));
        }
        if let Some(test) = facts.test_number.as_ref().filter(|test| self.test_numbers && now < test.until) {
            return self.for_test_number(facts, now, &test.phone).map(some);
        }
        if !self.orphans_settled {
            let orphans = orphans(facts, now);
            if !orphans.is_empty() {
                return Ok((Vec::new(), Some(Reserved::Orphans(orphans))));
            }
        }
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now));
        if let Some(waiting) = self.waiting(facts, live, now) {
            return self.take_over(facts, waiting, now).map(some);
        }
        if let Some(refusal) = self.refusal(facts, now)? {
            let elsewhere = !refusal.hits.is_empty() && refusal.hits.iter().all(|hit| hit.limit == "everything");
            if elsewhere && !self.last_shard {
                return Ok((Vec::new(), None));
            }
            let changes = vec![self.remember(facts, now), self.event(facts, now, refusal.code.name, &refusal.hits)];
            return Ok((changes, Some(Reserved::Refused(Box::new(refusal)))));
        }
        self.go(facts, now).map(some)
    }

    /// The first refusal: opt-out, country, kind of number, limits, in this order.
    fn refusal(&self, facts: &Facts, now: Timestamp) -> Result<Option<Refusal>> {
        let no = |code: error::Code, message: String| {
            Ok(Some(Refusal { code, message, hits: Vec::new(), retry_after_seconds: None }))
        };
        if facts.subjects[PHONE].usage.opted_out_at.is_some() {
            return no(ErrorCode::OPTED_OUT, format!("{} has opted out of messages", self.phone.masked()));
        }
        let Some(number) = &self.number else {
            // A test number that was one a moment ago, or that is none here.
            let why = if self.test_numbers {
                "is no test number any more"
            } else {
                "is a test number, and they are off here"
            };
            return no(ErrorCode::BLOCKED, format!("{} {why}", self.phone.masked()));
        };
        if let (Some(allowed), country) = (&self.policy.countries, number.country.as_deref().unwrap_or("none"))
            && !allowed.iter().any(|one| one.eq_ignore_ascii_case(country))
        {
            return no(ErrorCode::BLOCKED, format!("messages to {country} are not allowed here"));
        }
        if let Some(kind) = number.refused_for_otp() {
            return no(ErrorCode::NUMBER_KIND, format!("{} is {kind}; such numbers get no codes", self.phone.masked()));
        }
        let short = facts.subjects[PHONE].id.short();
        let mut hits = self.policy.limits.hits(&self.standing(facts, &short), now);
        if let Some((limits, _)) = &self.override_limit {
            hits.retain(|hit| !limits.contains(&hit.limit));
        }
        if hits.is_empty() {
            return Ok(None);
        }
        // Whoever waits for the longest waits for all of them.
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.retry_after_seconds.unwrap_or(u64::MAX)));
        let code = if hits[0].limit == "guesses" { ErrorCode::TOO_MANY_GUESSES } else { ErrorCode::RATE_LIMITED };
        let retry_after_seconds = hits[0].retry_after_seconds;
        Ok(Some(Refusal { code, message: words(&hits[0]), hits, retry_after_seconds }))
    }

    fn standing<'a>(&'a self, facts: &'a Facts, short: &'a str) -> Standing<'a> {
        let at = |place: Option<usize>| place.and_then(|place| facts.subjects.get(place)).map(|fact| &fact.usage);
        Standing {
            phone: &facts.subjects[PHONE].usage,
            phone_short: short,
            purpose: self.purpose.as_str(),
            pair: &facts.subjects[PAIR].usage,
            user: at(self.places.user),
            ip: at(self.places.ip),
            network: at(self.places.network),
            everything: at(Some(EVERYTHING)),
            shard: self.shard,
            known: self.caller.known,
        }
    }

    /// The otp: the living one again, or a new one; then the message, the limits, the audit row.
    fn go(&self, facts: &Facts, now: Timestamp) -> Result<(Vec<Change>, Reserved)> {
        let (otp, resent, mut changes) = self.otp(facts, now)?;
        let message = self.message(&otp, facts.next_message_id, now);
        changes.push(Change::NewMessage(message.clone()));
        changes.extend(self.charge(facts, now));
        let reply =
            self.reply.as_ref().map(|reply| Reply { message_id: Some(message.id), created_at: now, ..reply.clone() });
        changes.extend(reply.clone().map(Change::PutReply));
        changes.push(self.event_of(facts, now, (&otp, &message), if resent { "resend" } else { "new" }));
        let ticket = Ticket { otp, message, resent, user: self.user.clone(), reply };
        Ok((changes, Reserved::Go(Box::new(ticket))))
    }

    fn otp(&self, facts: &Facts, now: Timestamp) -> Result<(Otp, bool, Vec<Change>)> {
        let settings =
            self.policy.purpose(&self.purpose).ok_or_else(|| Error::new(ErrorCode::BUG, "a purpose went away"))?;
        let mut changes = Vec::new();
        if let Some(old) = &facts.otp {
            let again = old.is_live(now)
                && !self.new_code
                && settings.resend == Resend::Same
                && old.left(now) >= WORTH_RESENDING
                && !old.test;
            if again {
                // Before anything is recorded: without its key the code cannot be sent again.
                code_of(&self.keyring, old)?;
                return Ok((old.clone(), true, changes));
            }
            let mut old = old.clone();
            let end = if old.is_live(now) { State::Superseded } else { State::Expired };
            old.end(end, now);
            changes.push(Change::PutOtp(old));
        }
        let otp = self.draw(facts, now, false)?;
        changes.push(Change::NewOtp(otp.clone()));
        Ok((otp, false, changes))
    }

    /// A new otp whose code differs from every other of the phone and purpose that is still in the database.
    fn draw(&self, facts: &Facts, now: Timestamp, test: bool) -> Result<Otp> {
        let settings =
            self.policy.purpose(&self.purpose).ok_or_else(|| Error::new(ErrorCode::BUG, "a purpose went away"))?;
        // The code of a key that was pruned since can be computed by nobody, so nothing can equal it.
        let others: Vec<_> = facts.recent.iter().filter_map(|otp| code_of(&self.keyring, otp).ok()).collect();
        let mut otp = Otp {
            id: facts.next_otp_id,
            user: self.user.clone(),
            phone: self.phone.clone(),
            purpose: self.purpose.clone(),
            nonce: [0; 16],
            key_id: self.keyring.primary().id(),
            digits: settings.digits,
            created_at: now,
            expires_at: now + settings.ttl,
            state: State::Active,
            ended_at: None,
            wrong_guesses: 0,
            test,
        };
        for _ in 0..DRAWS_MAX {
            fill_random(&mut otp.nonce)?;
            let code = code_of(&self.keyring, &otp)?;
            if !others.iter().any(|other| other.matches(&code)) {
                return Ok(otp);
            }
        }
        Err(Error::new(ErrorCode::BUG, format!("{DRAWS_MAX} random codes were all in use for this phone"))
            .hint("The random generator of this machine seems to be broken; report this."))
    }

    fn message(&self, otp: &Otp, id: i64, now: Timestamp) -> Message {
        Message {
            id,
            otp_id: Some(otp.id),
            phone: self.phone.clone(),
            provider: self.provider.to_owned(),
            state: message::State::Sending,
            provider_id: None,
            error_code: None,
            error: None,
            segments: self.segments,
            attempts: 1,
            reserved_at: now,
            attempt_at: Some(now),
            due_at: Some(now + LEASE),
            missed_at: None,
            updated_at: now,
            endings: self.endings.clone(),
        }
    }

    /// Records the message with everyone whose limits count it.
    fn charge(&self, facts: &Facts, now: Timestamp) -> Vec<Change> {
        let limits = &self.policy.limits;
        let longest = limits.longest();
        let short = facts.subjects[PHONE].id.short();
        let mut changes = Vec::new();
        let mut count = |place: usize, change: &mut dyn FnMut(&mut Usage)| {
            let fact: &SubjectFact = &facts.subjects[place];
            let mut usage = fact.usage.clone();
            usage.saw(now);
            change(&mut usage);
            changes.push(put(fact, usage, longest));
        };
        count(PHONE, &mut |phone| {
            phone.count_send(now, "", &limits.phone);
            limits.count_cooldown(phone.purpose_mut(self.purpose.as_str()), now);
        });
        count(EVERYTHING, &mut |everything| everything.count_slot(now, &limits.everything));
        if let Some(place) = self.places.user {
            count(place, &mut |user| user.count_send(now, &short, &limits.user_windows()));
        }
        if let Some(place) = self.places.ip {
            count(place, &mut |ip| ip.count_send(now, &short, &limits.ip_windows()));
        }
        if let Some(place) = self.places.network {
            count(place, &mut |network| network.count_slot(now, &limits.network));
        }
        changes
    }

    /// A message of the living otp that waits for its next attempt: it surely was not sent and is already charged.
    fn waiting<'a>(&self, facts: &'a Facts, live: Option<&'a Otp>, now: Timestamp) -> Option<(&'a Otp, &'a Message)> {
        let otp = live.filter(|otp| !self.new_code && otp.left(now) >= LEAST)?;
        if facts.subjects[PHONE].usage.opted_out_at.is_some() {
            return None;
        }
        let message = facts.messages.iter().find(|message| message.state == message::State::Queued)?;
        Some((otp, message))
    }

    fn take_over(
        &self,
        facts: &Facts,
        (otp, waiting): (&Otp, &Message),
        now: Timestamp,
    ) -> Result<(Vec<Change>, Reserved)> {
        code_of(&self.keyring, otp)?;
        let mut message = waiting.clone();
        super::deliver::claim(&mut message, now);
        message.provider = self.provider.to_owned();
        let reply =
            self.reply.as_ref().map(|reply| Reply { message_id: Some(message.id), created_at: now, ..reply.clone() });
        let mut changes = vec![Change::PutMessage(message.clone()), self.remember(facts, now)];
        changes.extend(reply.clone().map(Change::PutReply));
        changes.push(self.event_of(facts, now, (otp, &message), "retry"));
        let ticket = Ticket { otp: otp.clone(), message, resent: false, user: self.user.clone(), reply };
        Ok((changes, Reserved::Go(Box::new(ticket))))
    }

    /// A declared test number: an otp as any other, but nothing goes out and no sending limit is charged.
    fn for_test_number(&self, facts: &Facts, now: Timestamp, phone: &Phone) -> Result<(Vec<Change>, Reserved)> {
        let closed = self
            .policy
            .limits
            .hits(&Standing { user: None, ip: None, network: None, everything: None, ..self.standing(facts, "") }, now);
        if let Some(hit) = closed.into_iter().find(|hit| hit.limit == "guesses") {
            let refusal = Refusal {
                code: ErrorCode::TOO_MANY_GUESSES,
                message: words(&hit),
                retry_after_seconds: hit.retry_after_seconds,
                hits: vec![hit],
            };
            let changes = vec![self.remember(facts, now), self.event(facts, now, refusal.code.name, &refusal.hits)];
            return Ok((changes, Reserved::Refused(Box::new(refusal))));
        }
        let mut changes = Vec::new();
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now) && otp.test && !self.new_code);
        let (otp, resent) = match live {
            Some(otp) => (otp.clone(), true),
            None => {
                if let Some(mut old) = facts.otp.clone() {
                    let end = if old.is_live(now) { State::Superseded } else { State::Expired };
                    old.end(end, now);
                    changes.push(Change::PutOtp(old));
                }
                let otp = Otp { phone: phone.clone(), ..self.draw(facts, now, true)? };
                changes.push(Change::NewOtp(otp.clone()));
                (otp, false)
            }
        };
        let mut message = self.message(&otp, facts.next_message_id, now);
        message.provider = "test".to_owned();
        message.state = message::State::Accepted;
        message.due_at = None;
        changes.push(Change::NewMessage(message.clone()));
        changes.push(self.remember(facts, now));
        let sent = Sent::of(&otp, &message, resent);
        if let Some(reply) = &self.reply {
            let answer = super::deliver::to_json(&sent)?;
            changes.push(Change::PutReply(Reply {
                message_id: Some(message.id),
                answer: Some(answer),
                created_at: now,
                ..reply.clone()
            }));
        }
        changes.push(self.event_of(facts, now, (&otp, &message), "test"));
        Ok((changes, Reserved::Done(Box::new(sent))))
    }

    /// Keeps the phone's subject in the database, so that the audit row speaks of somebody, and its time from running back.
    fn remember(&self, facts: &Facts, now: Timestamp) -> Change {
        let fact = &facts.subjects[PHONE];
        let mut usage = fact.usage.clone();
        usage.saw(now);
        put(fact, usage, self.policy.limits.longest())
    }

    fn event(&self, facts: &Facts, now: Timestamp, outcome: &'static str, hits: &[Hit]) -> Change {
        let mut details = Details::new().note("purpose", self.purpose.as_str());
        if let Some(hit) = hits.first() {
            details = details.note("limit", &hit.limit).note("counts", &hit.subject);
        }
        Change::Audit(self.about(facts, Event::new(now, self.caller.actor.clone(), "send", outcome)).details(details))
    }

    fn event_of(&self, facts: &Facts, now: Timestamp, (otp, message): (&Otp, &Message), how: &'static str) -> Change {
        let mut details = Details::new()
            .note("purpose", self.purpose.as_str())
            .number("otp", otp.id)
            .number("message", message.id)
            .word("how", how);
        if let Some((limits, reason)) = &self.override_limit {
            details = details.note("override", &limits.join(" ")).note("reason", reason);
        }
        Change::Audit(
            self.about(facts, Event::new(now, self.caller.actor.clone(), "send", "reserved")).details(details),
        )
    }

    fn about(&self, facts: &Facts, event: Event) -> Event {
        let event = event.subject(&facts.subjects[PHONE].id.0);
        match self.places.user {
            Some(place) => event.subject(&facts.subjects[place].id.0),
            None => event,
        }
    }
}

/// Messages of the otp at hand whose outcome is open and whose process is gone.
fn orphans(facts: &Facts, now: Timestamp) -> Vec<i64> {
    let gone = |message: &&Message| match message.state {
        message::State::Unknown => message.due_at.is_some(),
        message::State::Sending => message.due_at.is_none_or(|due| due <= now),
        _ => false,
    };
    facts.messages.iter().filter(gone).map(|message| message.id).collect()
}

/// A full limit in words.
pub(super) fn words(hit: &Hit) -> String {
    let whom = match hit.subject.as_str() {
        "everything" => "all phones together".to_owned(),
        subject => format!("this {subject}"),
    };
    match (hit.limit.as_str(), hit.retry_after_seconds) {
        ("cooldown", _) => format!("a message went to {whom} a moment ago; the pause is {} s", hit.window_seconds),
        ("guesses", None) => {
            format!("{} wrong codes in a row were given for {whom}; it stays closed until it is reset", hit.used)
        }
        ("guesses", _) => format!("{} wrong codes were given for {whom} in {}", hit.used, span(hit.window_seconds)),
        ("user-phones" | "ip-phones", _) => {
            format!(
                "{whom} has asked for {} other phones; {} are allowed in {}",
                hit.used,
                hit.max,
                span(hit.window_seconds)
            )
        }
        ("refused", _) => {
            format!("the provider refused {} messages of {whom} in {}", hit.used, span(hit.window_seconds))
        }
        _ => format!("{} of {} messages in {} are used up for {whom}", hit.used, hit.max, span(hit.window_seconds)),
    }
}

/// A span in the largest whole unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        s if s > 0 && s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s > 0 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
