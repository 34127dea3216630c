//! Whether a message may be reserved, with a code or without one: opt-out → country → lists → limits → guard; and what counts it.

use std::sync::Arc;
use std::time::Duration;

use super::alarms::raise;
use super::context::{Caller, Context};
use super::guard::{self, Weighed};
use super::request::{Destination, Override};
use super::sent::{OPTED_OUT_HINT, Refusal, SentMessage, Ticket};
use crate::abuse::{self, Ask, Counted, Full, Judged, Verdict};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::delivery::LEASE;
use crate::error::{Code, Error, Result};
use crate::limits::{Hit, QUIET, SendUsages};
use crate::lists::About;
use crate::message::{self, Message};
use crate::money::{Channel, Money};
use crate::otp::User;
use crate::phone::{Number, Phone};
use crate::policy::Policy;
use crate::provider::TEST;
use crate::purpose::Purpose;
use crate::store::{Change, Decision, Facts, Needs, Refused, Reply, Subject, SubjectFact, SubjectKind};
use crate::sums::{self, Stage, Sum, SumKey};
use crate::template::Endings;

/// The audit log records the same "no" of a rule of the guard's, about the same country, block or everything, once in this time.
const RECORDED_EVERY: Duration = Duration::from_secs(3600);

/// What is asked for, as limits, lists and the guard see it.
pub(super) struct Admission {
    /// What the audit log calls the operation.
    pub action: &'static str,
    pub policy: Arc<Policy>,
    pub caller: Caller,
    /// The number, if its country's plan knows it or staff vouches for it.
    pub number: Option<Number>,
    pub phone: Phone,
    pub user: User,
    /// The purpose of the code; `None`: it carries none.
    pub purpose: Option<Purpose>,
    pub override_limits: Option<Override>,
    /// The caller made the person solve a challenge.
    pub challenged: bool,
    pub reply: Option<Reply>,
    provider: &'static str,
    /// The keys of the entries of lists that may be about it.
    lists: Vec<String>,
    test_numbers: bool,
    segments: u32,
    /// What the message costs, all segments.
    pub price: Money,
}

/// What a caller asks for, before the database is asked.
pub(super) struct Asked<'a> {
    pub action: &'static str,
    pub to: &'a Destination,
    pub user: User,
    pub purpose: Option<Purpose>,
    pub override_limits: Option<&'a Override>,
    pub challenged: bool,
    pub segments: u32,
    pub reply: Option<Reply>,
}

/// What the limits, the lists and the guard say.
pub(super) enum Admitted<'a> {
    /// Go ahead.
    Yes(Box<Pass<'a>>),
    /// No, with what is to be written about that.
    No(Decision<Box<Refusal>>),
}

/// A message that passed, as the guard weighed it.
pub(super) struct Pass<'a> {
    weighed: Weighed,
    ask: Ask<'a>,
    judged: Judged,
}

impl Admission {
    /// What is known before the database is asked, and the price.
    pub async fn of(ctx: &Context, caller: &Caller, asked: Asked<'_>) -> Result<Admission> {
        let Asked { action, to, user, purpose, override_limits, challenged, segments, reply } = asked;
        let number = to.number(override_limits);
        let about = About {
            phone: to.phone(),
            country: number.as_ref().and_then(|number| number.country.as_deref()),
            user: &user,
            ip: caller.ip,
        };
        let index = &ctx.store.operations.keys().index;
        Ok(Admission {
            lists: about.keys(|kind, value| index.tag(kind, value)),
            price: ctx.prices().await?.of(about.country, Channel::Sms).times(segments),
            action,
            policy: Arc::clone(&ctx.policy),
            caller: caller.clone(),
            phone: to.phone().clone(),
            number,
            user,
            purpose,
            override_limits: override_limits.cloned(),
            challenged,
            reply,
            provider: ctx.provider()?.name(),
            test_numbers: ctx.test_numbers,
            segments,
        })
    }

    /// What has to be known and locked for it. The empty user is nobody in particular: it has no limits of its own, or strangers would
    /// share them.
    pub fn needs(&self) -> Needs {
        let mut subjects = vec![Subject::Phone(self.phone.clone())];
        subjects.extend(self.purpose.as_ref().map(|_| Subject::Pair(self.user.clone(), self.phone.clone())));
        subjects.extend(guard::subjects(&self.phone, self.country()));
        subjects.extend((!self.user.is_empty()).then(|| Subject::User(self.user.clone())));
        subjects.extend(self.caller.ip.into_iter().flat_map(Subject::of_client));
        Needs {
            subjects,
            reply: self.reply.as_ref().map(|reply| reply.tag),
            lists: self.lists.clone(),
            events: Some(self.country().to_owned()),
            ids: true,
            ..Needs::default()
        }
    }

    /// The present; an error where another asker with the same idempotency key was faster.
    pub fn begin(&self, facts: &Facts) -> Result<Timestamp> {
        if facts.reply.is_some() {
            return Err(Error::new(Code::IN_PROGRESS, "a send with this idempotency key has just begun")
                .retry_after(Duration::from_secs(5))
                .hint("Ask again with the same key in a few seconds."));
        }
        facts.checked_now()
    }

    /// Weighs it. `new_code`: there is to be one, so the budgets of guesses count.
    pub fn admit(&self, facts: &Facts, new_code: bool, now: Timestamp) -> Result<Admitted<'_>> {
        if let Some(refusal) = self.refusal(facts, new_code, now)? {
            return self.refused(facts, now, refusal).map(Admitted::No);
        }
        let mut weighed = Weighed::load(facts, now)?;
        let phone = &facts.phone()?.usage;
        let ask = Ask {
            now,
            country: self.country(),
            price: self.price,
            counted: abuse::counted(phone.proven_at.map(Timestamp), phone.unproven, self.conversion_known(), now),
            challenged: self.challenged,
            allowed: facts.allowed() || self.override_limits.as_ref().is_some_and(|staff| staff.caps),
        };
        let judged = weighed.judge(&self.policy.guard, &ask);
        let refusal = match judged.verdict {
            Verdict::Pass => None,
            Verdict::Challenge(full) => Some((full, Refusal::of_challenge(full))),
            Verdict::Refuse(full) => Some((full, Refusal::of_guard(full, ask.country, now))),
        };
        let pass = Pass { weighed, ask, judged };
        match refusal {
            None => Ok(Admitted::Yes(Box::new(pass))),
            Some(refusal) => self.held_back(facts, pass, refusal).map(Admitted::No),
        }
    }

    /// Counts a message that passed, with everyone whose limits count it and with the guard: the message as it is counted, what is to be
    /// written, and what the audit log has of it.
    pub fn reserve(
        &self,
        facts: &Facts,
        pass: Box<Pass<'_>>,
        message: Message,
        details: Details,
    ) -> Result<(Message, Vec<Change>, Details)> {
        let Pass { mut weighed, ask, judged } = *pass;
        let (pooled, mut alarms) = weighed.sent(&self.policy.guard, &ask);
        alarms.extend(judged.alarms);
        let (counted, open) = (ask.counted, ask.counted != Counted::Free);
        let message = Message { counted, pooled, open, ..message };
        let mut changes = vec![Change::NewMessage(message.clone())];
        changes.extend(self.charge(facts, &weighed, ask.now)?);
        if ask.counted == Counted::Stranger {
            changes.push(weighed.change(facts.block()?, ask.now, &self.policy.limits));
        }
        changes.extend(weighed.take());
        let mut details = details;
        if let Some(full) = judged.would {
            details = details.word("would", full.rule.into());
        }
        if self.challenged {
            details = details.word("challenge", "passed");
        }
        let details = raise(&mut changes, details, &alarms, ask.now);
        Ok((message, changes, details))
    }

    /// A claimed message, before the guard has counted it.
    pub fn message(&self, id: i64, expires_at: Timestamp, now: Timestamp) -> Message {
        Message {
            id,
            otp_id: None,
            phone: self.phone.clone(),
            provider: self.provider.to_owned(),
            state: message::State::Sending,
            provider_id: None,
            error_code: None,
            error: None,
            segments: self.segments,
            attempts: 1,
            reserved_at: now,
            expires_at,
            attempt_at: Some(now),
            due_at: Some(now + LEASE),
            missed_at: None,
            updated_at: now,
            endings: Endings::default(),
            locale: None,
            country: self.country().to_owned(),
            price: self.price,
            settled: None,
            counted: Counted::Free,
            pooled: false,
            open: false,
            text: None,
        }
    }

    /// The decision that lets a claimed message go out.
    pub fn hand_out(
        &self,
        facts: &Facts,
        now: Timestamp,
        ticket: Ticket,
        mut changes: Vec<Change>,
        details: Details,
    ) -> Result<Decision<Box<Ticket>>> {
        let reply = self.reply.as_ref();
        let reply = reply.map(|reply| Reply { message_id: Some(ticket.message.id), created_at: now, ..reply.clone() });
        changes.extend(reply.clone().map(Change::PutReply));
        let event = self.event(facts, now, "reserved", details)?;
        Ok(Decision::Write { changes, event, answer: Box::new(Ticket { reply, ..ticket }) })
    }

    /// The decision that books a message for later. Its idempotency key is answered by what has become of it.
    pub fn book(
        &self,
        facts: &Facts,
        now: Timestamp,
        booked: &Message,
        (mut changes, details): (Vec<Change>, Details),
    ) -> Result<Decision<Box<SentMessage>>> {
        // The day for which a key is kept begins then: who asks again until then books no other.
        let created_at = booked.due_at.unwrap_or(now);
        let reply = self.reply.as_ref();
        changes.extend(
            reply.map(|reply| Change::PutReply(Reply { message_id: Some(booked.id), created_at, ..reply.clone() })),
        );
        let event = self.event(facts, now, "scheduled", details)?;
        Ok(Decision::Write { changes, event, answer: Box::new(SentMessage::of(booked, false, now)) })
    }

    /// The decision about a message to a declared test number: it counts as accepted, and nothing goes out.
    pub fn without_sending(
        &self,
        facts: &Facts,
        message: Message,
        (resent, now): (bool, Timestamp),
        mut changes: Vec<Change>,
    ) -> Result<Decision<Box<SentMessage>>> {
        let message = Message { provider: TEST.to_owned(), state: message::State::Accepted, due_at: None, ..message };
        changes.extend([Change::NewMessage(message.clone()), self.seen(facts, now)?]);
        let sent = SentMessage::of(&message, resent, now);
        if let Some(reply) = &self.reply {
            let (message_id, answer) = (Some(message.id), Some(sent.to_json()?));
            changes.push(Change::PutReply(Reply { message_id, answer, created_at: now, ..reply.clone() }));
        }
        let event = self.event(facts, now, "reserved", self.details(&message, "test"))?;
        Ok(Decision::Write { changes, event, answer: Box::new(sent) })
    }

    /// Whether it goes to a declared test number.
    pub fn is_test_number(&self, facts: &Facts, now: Timestamp) -> bool {
        self.test_numbers && facts.test_number.as_ref().is_some_and(|number| now < number.until)
    }

    /// The name of the provider that it is meant for.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The country that it is counted in; empty: none.
    pub fn country(&self) -> &str {
        self.number.as_ref().and_then(|number| number.country.as_deref()).unwrap_or_default()
    }

    /// The name of the purpose; empty: it carries no code.
    fn purpose(&self) -> &str {
        self.purpose.as_ref().map_or("", Purpose::as_str)
    }

    /// Whether anybody will say that the code was entered.
    fn conversion_known(&self) -> bool {
        let known = |purpose| !self.policy.guard.conversion_unknown.contains(purpose);
        !self.caller.conversion_unknown && self.purpose.as_ref().is_some_and(known)
    }

    /// The guard's "no". What it has learned by it is kept, also where the audit log has recorded the same a short while ago.
    fn held_back(
        &self,
        facts: &Facts,
        pass: Pass<'_>,
        (full, refusal): (Full, Refusal),
    ) -> Result<Decision<Box<Refusal>>> {
        let Pass { weighed, ask, judged } = pass;
        let (now, limits) = (ask.now, &self.policy.limits);
        let kept = if judged.changed || !facts.events.is_empty() {
            [facts.country()?, facts.everything()?].map(|fact| weighed.fact(fact)).to_vec()
        } else {
            Vec::new()
        };
        let kind = guard::kind_of(full.rule);
        let unasked = || Error::new(Code::BUG, format!("a send did not ask for its {kind}"));
        let about = weighed.fact(facts.role(kind).ok_or_else(unasked)?);
        let others = || kept.iter().filter(|fact| fact.id != about.id);
        let (name, code) = (full.rule.into(), refusal.code.name);
        let before = match about.refused((name, RECORDED_EVERY), now) {
            Refused::Recorded { before } => before,
            Refused::Counted(count) if judged.alarms.is_empty() => {
                let counts = others().filter_map(SubjectFact::counted).chain([*count]).collect();
                let taken = if kept.is_empty() { Vec::new() } else { weighed.taken() };
                let answer = Box::new(refusal);
                return Ok(Decision::Count { counts, taken, sum: Some(self.sum_refused(now, name)), answer });
            }
            Refused::Counted(_) => 0,
        };
        let mut changes = vec![self.seen(facts, now)?];
        changes.extend(others().map(|fact| weighed.change(fact, now, limits)));
        changes.push(weighed.change(&about, now, limits));
        about.record_refusal(&mut changes, (name, RECORDED_EVERY), now, limits);
        changes.extend(weighed.take().filter(|_| !kept.is_empty()));
        changes.push(Change::AddSum(self.sum_refused(now, name)));
        let details = guard::details(self.refusal_details(&[]), &full, ask.country);
        let details = raise(&mut changes, details, &judged.alarms, now);
        let event = self.event(facts, now, code, details)?.refused_before(before);
        // The country is among the details; a block of numbers would show there what its members share.
        let event = if kind == SubjectKind::Block { event.subject(&about.id.0) } else { event };
        Ok(Decision::Write { changes, event, answer: Box::new(refusal) })
    }

    /// A refusal as reports count it.
    fn sum_refused(&self, now: Timestamp, why: &str) -> Sum {
        let key = SumKey {
            hour: sums::hour(now),
            purpose: self.purpose().to_owned(),
            country: self.country().to_owned(),
            provider: self.provider.to_owned(),
            stage: Stage::Refused,
            detail: why.to_owned(),
        };
        key.once()
    }

    /// The first "no": opt-out, then what kind of number it is and where, then the limits.
    fn refusal(&self, facts: &Facts, new_code: bool, now: Timestamp) -> Result<Option<Refusal>> {
        let phone = facts.phone()?;
        let masked = self.phone.masked();
        let no = |code, message, hint: &str| Ok(Some(Refusal::new(code, message, hint)));
        if phone.usage.opted_out_at.is_some() {
            return no(Code::OPTED_OUT, format!("{masked} has opted out of messages"), OPTED_OUT_HINT);
        }
        let Some(number) = &self.number else {
            return if self.test_numbers {
                no(
                    Code::TEST_NUMBER_ENDED,
                    format!("{masked} is not a test number any more"),
                    "Declare it again: smsotp test-number add PHONE --until DATE",
                )
            } else {
                no(
                    Code::TEST_NUMBERS_OFF,
                    format!("{masked} is a test number, and test numbers are off here"),
                    "Use a real number, or start the server with --allow-test-numbers.",
                )
            };
        };
        if let (Some(allowed), country) = (&self.policy.countries, number.country.as_deref().unwrap_or("none"))
            && !allowed.iter().any(|one| one.eq_ignore_ascii_case(country))
        {
            return no(
                Code::COUNTRY_NOT_ALLOWED,
                format!("messages to {country} are not allowed here"),
                "The setting `countries` lists where messages may go.",
            );
        }
        if let Some(kind) = number.refused_for_otp() {
            return no(
                Code::NUMBER_KIND,
                format!("{masked} is {kind}; such numbers get no messages"),
                "Ask for a mobile number.",
            );
        }
        if let Some(entry) = facts.ruling().blocked {
            let (kind, shown, undo) = (entry.kind, &entry.shown, entry.undo());
            let until = entry.until.map_or_else(String::new, |until| format!(" until {until}"));
            return no(
                Code::BLOCKED,
                format!("{masked} gets no messages: the {kind} {shown} is blocked{until}"),
                &format!("Blocked since {} by {}: {}. Undo: {undo}", entry.since, entry.added_by, entry.reason),
            );
        }
        let verified = facts.role(SubjectKind::Pair).is_some_and(|pair| pair.usage.verified_lately(now));
        let short = phone.id.short();
        let who = SendUsages { verified, new_code, ..self.usages(facts, &short)? };
        let mut hits = self.policy.limits.hits(&who, now);
        if let Some(Override { limits, .. }) = &self.override_limits {
            hits.retain(|hit| !limits.contains(&hit.limit));
        }
        Ok(Refusal::of_limits(hits))
    }

    /// What the limits know of everyone whom the message concerns.
    pub fn usages<'a>(&'a self, facts: &'a Facts, phone_short: &'a str) -> Result<SendUsages<'a>> {
        Ok(SendUsages {
            phone: &facts.phone()?.usage,
            phone_short,
            purpose: self.purpose.as_ref().map(Purpose::as_str),
            pair: facts.role(SubjectKind::Pair).map(|fact| &fact.usage),
            user: facts.user().map(|fact| &fact.usage),
            ip: facts.address().map(|fact| &fact.usage),
            network: facts.network().map(|fact| &fact.usage),
            everything: Some(&facts.everything()?.usage),
            known: self.caller.known,
            new_code: true,
            verified: false,
        })
    }

    pub fn refused(&self, facts: &Facts, now: Timestamp, refusal: Refusal) -> Result<Decision<Box<Refusal>>> {
        let (about, what) = self.about(facts, &refusal)?;
        // Who asks for the code of a test number asks for no message.
        let sum = (!self.is_test_number(facts, now))
            .then(|| self.sum_refused(now, refusal.hits.first().map_or(refusal.code.name, |hit| hit.limit.as_str())));
        let before = match about.refused(what, now) {
            Refused::Recorded { before } => before,
            Refused::Counted(count) => {
                let answer = Box::new(refusal);
                return Ok(Decision::Count { counts: vec![*count], taken: Vec::new(), sum, answer });
            }
        };
        let mut changes = vec![self.seen(facts, now)?];
        changes.extend(sum.map(Change::AddSum));
        about.record_refusal(&mut changes, what, now, &self.policy.limits);
        let mut details = self.refusal_details(&refusal.hits);
        if refusal.code == Code::BLOCKED
            && let Some(entry) = facts.ruling().blocked
        {
            changes.push(Change::CountHits(entry.key.clone(), entry.side, before.saturating_add(1)));
            details = details.word("listed", entry.kind.as_str()).note("entry", &entry.shown);
        }
        let event = self.event(facts, now, refusal.code.name, details)?;
        let event = event.refused_before(before);
        Ok(Decision::Write { changes, event, answer: Box::new(refusal) })
    }

    /// Whom a refusal is about, what it is, and for how long the audit log records it but once.
    fn about<'f>(&self, facts: &'f Facts, refusal: &Refusal) -> Result<(&'f SubjectFact, (&'static str, Duration))> {
        let pair = facts.role(SubjectKind::Pair).map_or_else(|| facts.phone(), Ok)?;
        let Some(hit) = refusal.hits.first() else {
            // Whoever asks, and not the phone: anybody can name any number of phones.
            let asker = facts.address().or(facts.user()).unwrap_or(pair);
            let about = if refusal.code == Code::OPTED_OUT { facts.phone()? } else { asker };
            return Ok((about, (refusal.code.name, QUIET)));
        };
        let about = facts.role(hit.subject).unwrap_or(pair);
        Ok((about, (hit.limit.as_str(), hit.remembered())))
    }

    /// Counts the message with everyone whose limits count it.
    fn charge(&self, facts: &Facts, weighed: &Weighed, now: Timestamp) -> Result<Vec<Change>> {
        let (limits, purpose) = (&self.policy.limits, self.purpose.as_ref().map(Purpose::as_str));
        let short = facts.phone()?.id.short();
        let counted = |fact: &SubjectFact| {
            let kind = fact.subject.kind();
            fact.updated(now, limits, |usage| limits.count_send(kind, usage, purpose, &short, now))
        };
        let mut changes = vec![
            counted(facts.phone()?),
            weighed.change(facts.country()?, now, limits),
            counted(&weighed.fact(facts.everything()?)),
        ];
        changes.extend([facts.user(), facts.address(), facts.network()].into_iter().flatten().map(counted));
        Ok(changes)
    }

    /// Keeps the phone's subject in the database, so that the audit row speaks of somebody, and its time from running back.
    pub fn seen(&self, facts: &Facts, now: Timestamp) -> Result<Change> {
        Ok(facts.phone()?.updated(now, &self.policy.limits, |_| {}))
    }

    fn refusal_details(&self, hits: &[Hit]) -> Details {
        let details = self.about_purpose();
        match hits.first() {
            Some(hit) => details.note("limit", hit.limit.as_str()).note("counts", hit.subject.as_str()),
            None => details,
        }
    }

    fn about_purpose(&self) -> Details {
        match &self.purpose {
            Some(purpose) => Details::new().note("purpose", purpose.as_str()),
            None => Details::new(),
        }
    }

    /// What the audit log has of a message.
    pub fn details(&self, message: &Message, how: &'static str) -> Details {
        let details = self.about_purpose();
        let details = match message.otp_id {
            Some(otp) => details.number("otp", otp),
            None => details,
        };
        let details = details.number("message", message.id).word("how", how);
        match &self.override_limits {
            Some(Override { limits, number, caps, reason }) => {
                let mut names: Vec<&str> = limits.iter().map(|limit| limit.as_str()).collect();
                names.extend(number.then_some("number"));
                names.extend(caps.then_some("caps"));
                details.note("override", &names.join(" ")).note("reason", reason)
            }
            None => details,
        }
    }

    /// The audit row of a send.
    pub fn event(&self, facts: &Facts, now: Timestamp, outcome: &'static str, details: Details) -> Result<Event> {
        let event = Event::new(now, self.caller.actor.clone(), self.action, outcome).details(details);
        let event = event.subject(&facts.phone()?.id.0);
        Ok(match facts.user() {
            Some(user) => event.subject(&user.id.0),
            None => event,
        })
    }
}
