//! The first step of a send, in one transaction: opt-out → country → lists → limits → guard → otp, message and audit row.

use std::sync::Arc;
use std::time::Duration;

use super::alarms::raise;
use super::context::{Caller, Context, code_of};
use super::guard::{self, Weighed};
use super::request::{Override, SendOtp};
use super::sent::{OPTED_OUT_HINT, Refusal, Sent, Ticket};
use crate::abuse::{self, Ask, Counted, Full, Judged, Verdict};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::delivery::{self, LEASE};
use crate::error::{Code, Error, Result};
use crate::keys::{Keyring, fill_random};
use crate::limits::{Hit, QUIET, SendUsages};
use crate::lists::About;
use crate::locale::Locale;
use crate::message::{self, Message};
use crate::money::{Channel, Money};
use crate::otp::{Otp, State, User};
use crate::phone::{Number, Phone};
use crate::policy::Policy;
use crate::purpose::{Purpose, PurposePolicy, Resend};
use crate::store::{Change, Decision, Facts, Needs, OtpNeed, Refused, Reply, Subject, SubjectFact, SubjectKind};
use crate::sums::{self, Stage, Sum, SumKey};
use crate::template::Endings;

/// A code with less left than this is not sent again: a new one is.
const WORTH_RESENDING: Duration = Duration::from_secs(120);

/// The audit log records the same "no" of a rule of the guard's, about the same country, block or everything, once in this time.
const RECORDED_EVERY: Duration = Duration::from_secs(3600);

/// How many nonces are tried for a code that no other of the phone and purpose has.
const DRAWS_MAX: usize = 32;

/// How a reservation ended.
pub(super) enum Reserved {
    /// Charged and claimed: hand it over.
    Go(Box<Ticket>),
    /// A test number: nothing to hand over.
    Done(Box<Sent>),
    /// No.
    Refused(Box<Refusal>),
    /// Messages of the same otp whose outcome is open: settle them first.
    Orphans(Vec<i64>),
    /// A message of the same otp waits for the provider, which takes it no sooner than then.
    Waits(Box<Sent>, Timestamp),
}

/// What was done already about earlier messages of the same otp.
#[derive(Clone, Copy, Default)]
pub(super) struct LookedAfter {
    /// Those whose outcome was open were settled, as far as that goes now.
    pub orphans: bool,
    /// The one that waits for the provider was waited for.
    pub waited: bool,
}

/// Reserves and claims a message, or says why not.
pub(super) async fn reserve(
    ctx: &Context,
    caller: &Caller,
    request: &SendOtp,
    segments: u32,
    reply: Option<Reply>,
    looked_after: LookedAfter,
) -> Result<Reserved> {
    let settings = ctx.policy.purpose(&request.purpose).ok_or_else(|| ctx.unknown_purpose(&request.purpose))?;
    let number = request.number();
    let about = About {
        phone: request.to.phone(),
        country: number.as_ref().and_then(|number| number.country.as_deref()),
        user: &request.user,
        ip: caller.ip,
    };
    let price = ctx.prices().await?.of(about.country, Channel::Sms).times(segments);
    let index = &ctx.store.operations.keys().index;
    let reservation = Reservation {
        lists: about.keys(|kind, value| index.tag(kind, value)),
        policy: Arc::clone(&ctx.policy),
        settings: settings.clone(),
        keyring: Arc::clone(&ctx.keyring),
        provider: ctx.provider()?.name(),
        caller: caller.clone(),
        number,
        phone: request.to.phone().clone(),
        purpose: request.purpose.clone(),
        user: request.user.clone(),
        new_code: request.new_code,
        override_limits: request.override_limits.clone(),
        endings: request.endings.clone(),
        locale: request.locale.clone(),
        segments,
        reply,
        looked_after,
        test_numbers: ctx.test_numbers,
        price,
        challenged: request.challenge_passed,
    };
    let needs = reservation.needs();
    ctx.operate(needs, move |facts| reservation.decide(facts)).await
}

/// All that the decision needs besides the facts: no connection to anything.
struct Reservation {
    policy: Arc<Policy>,
    settings: PurposePolicy,
    keyring: Arc<Keyring>,
    provider: &'static str,
    caller: Caller,
    /// The number, if its country's plan knows it or staff vouches for it.
    number: Option<Number>,
    phone: Phone,
    purpose: Purpose,
    user: User,
    /// The keys of the entries of lists that may be about it.
    lists: Vec<String>,
    new_code: bool,
    override_limits: Option<Override>,
    endings: Endings,
    locale: Option<Locale>,
    segments: u32,
    reply: Option<Reply>,
    looked_after: LookedAfter,
    test_numbers: bool,
    /// What the message costs, all segments.
    price: Money,
    /// The caller made the person solve a challenge.
    challenged: bool,
}

impl Reservation {
    /// The empty user is nobody in particular: it has no limits of its own, or strangers would share them.
    fn needs(&self) -> Needs {
        let mut subjects =
            vec![Subject::Phone(self.phone.clone()), Subject::Pair(self.user.clone(), self.phone.clone())];
        subjects.extend(guard::subjects(&self.phone, self.country()));
        subjects.extend((!self.user.is_empty()).then(|| Subject::User(self.user.clone())));
        subjects.extend(self.caller.ip.into_iter().flat_map(Subject::of_client));
        Needs {
            subjects,
            otp: OtpNeed::Of(self.user.clone(), self.phone.clone(), self.purpose.clone()),
            messages: true,
            reply: self.reply.as_ref().map(|reply| reply.tag),
            lists: self.lists.clone(),
            events: Some(self.country().to_owned()),
            ids: true,
            ..Needs::default()
        }
    }

    fn decide(&self, facts: &Facts) -> Result<Decision<Reserved>> {
        let now = facts.checked_now()?;
        if facts.reply.is_some() {
            return Err(Error::new(Code::IN_PROGRESS, "a send with this idempotency key has just begun")
                .retry_after(Duration::from_secs(5))
                .hint("Ask again with the same key in a few seconds."));
        }
        if self.is_test_number(facts, now) {
            return self.for_test_number(facts, now);
        }
        if !self.looked_after.orphans {
            let gone = facts.messages.iter().filter(|message| delivery::is_orphan(message, now));
            let orphans: Vec<i64> = gone.map(|message| message.id).collect();
            if !orphans.is_empty() {
                return Ok(Decision::Nothing(Reserved::Orphans(orphans)));
            }
        }
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now));
        if let Some((otp, waiting)) = self.waiting(facts, live, now)? {
            if let Some(due) = waiting.due_at.filter(|due| *due > now && !self.looked_after.waited) {
                let sent = Box::new(Sent::of(otp, waiting, false, now));
                return Ok(Decision::Nothing(Reserved::Waits(sent, due)));
            }
            return self.take_over(facts, otp, waiting, now);
        }
        if let Some(refusal) = self.refusal(facts, now)? {
            return self.refused(facts, now, refusal);
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
        match judged.verdict {
            Verdict::Pass => self.go(facts, &mut weighed, &ask, judged),
            Verdict::Challenge(full) => {
                let refusal = Refusal::of_challenge(full);
                self.held_back(facts, &weighed, &ask, judged, (full, refusal))
            }
            Verdict::Refuse(full) => {
                let refusal = Refusal::of_guard(full, ask.country, now);
                self.held_back(facts, &weighed, &ask, judged, (full, refusal))
            }
        }
    }

    fn is_test_number(&self, facts: &Facts, now: Timestamp) -> bool {
        self.test_numbers && facts.test_number.as_ref().is_some_and(|number| now < number.until)
    }

    /// The country that it is counted in; empty: none.
    fn country(&self) -> &str {
        self.number.as_ref().and_then(|number| number.country.as_deref()).unwrap_or_default()
    }

    /// Whether anybody will say that the code was entered.
    fn conversion_known(&self) -> bool {
        !self.caller.conversion_unknown && !self.policy.guard.conversion_unknown.contains(&self.purpose)
    }

    /// The guard's "no". What it has learned by it is kept, also where the audit log has recorded the same a short while ago.
    fn held_back(
        &self,
        facts: &Facts,
        weighed: &Weighed,
        ask: &Ask<'_>,
        judged: Judged,
        (full, refusal): (Full, Refusal),
    ) -> Result<Decision<Reserved>> {
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
                let answer = Reserved::Refused(Box::new(refusal));
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
        Ok(Decision::Write { changes, event, answer: Reserved::Refused(Box::new(refusal)) })
    }

    /// A refusal as reports count it.
    fn sum_refused(&self, now: Timestamp, why: &str) -> Sum {
        let key = SumKey {
            hour: sums::hour(now),
            purpose: self.purpose.as_str().to_owned(),
            country: self.country().to_owned(),
            provider: self.provider.to_owned(),
            stage: Stage::Refused,
            detail: why.to_owned(),
        };
        key.once()
    }

    /// The first "no": opt-out, then what kind of number it is and where, then the limits.
    fn refusal(&self, facts: &Facts, now: Timestamp) -> Result<Option<Refusal>> {
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
                format!("{masked} is {kind}; such numbers get no codes"),
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
        let verified = facts.pair()?.usage.verified_lately(now);
        let new_code = self.resendable(facts, now).is_none();
        let short = phone.id.short();
        let who = SendUsages { verified, new_code, ..self.usages(facts, &short)? };
        let mut hits = self.policy.limits.hits(&who, now);
        if let Some(Override { limits, .. }) = &self.override_limits {
            hits.retain(|hit| !limits.contains(&hit.limit));
        }
        Ok(Refusal::of_limits(hits))
    }

    fn usages<'a>(&'a self, facts: &'a Facts, phone_short: &'a str) -> Result<SendUsages<'a>> {
        Ok(SendUsages {
            phone: &facts.phone()?.usage,
            phone_short,
            purpose: self.purpose.as_str(),
            pair: &facts.pair()?.usage,
            user: facts.user().map(|fact| &fact.usage),
            ip: facts.address().map(|fact| &fact.usage),
            network: facts.network().map(|fact| &fact.usage),
            everything: Some(&facts.everything()?.usage),
            known: self.caller.known,
            new_code: true,
            verified: false,
        })
    }

    fn refused(&self, facts: &Facts, now: Timestamp, refusal: Refusal) -> Result<Decision<Reserved>> {
        let (about, what) = self.about(facts, &refusal)?;
        // Who asks for the code of a test number asks for no message.
        let sum = (!self.is_test_number(facts, now))
            .then(|| self.sum_refused(now, refusal.hits.first().map_or(refusal.code.name, |hit| hit.limit.as_str())));
        let before = match about.refused(what, now) {
            Refused::Recorded { before } => before,
            Refused::Counted(count) => {
                let answer = Reserved::Refused(Box::new(refusal));
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
        Ok(Decision::Write { changes, event, answer: Reserved::Refused(Box::new(refusal)) })
    }

    /// Whom a refusal is about, what it is, and for how long the audit log records it but once.
    fn about<'f>(&self, facts: &'f Facts, refusal: &Refusal) -> Result<(&'f SubjectFact, (&'static str, Duration))> {
        let pair = facts.pair()?;
        let Some(hit) = refusal.hits.first() else {
            // Whoever asks, and not the phone: anybody can name any number of phones.
            let asker = facts.address().or(facts.user()).unwrap_or(pair);
            let about = if refusal.code == Code::OPTED_OUT { facts.phone()? } else { asker };
            return Ok((about, (refusal.code.name, QUIET)));
        };
        let about = facts.role(hit.subject).unwrap_or(pair);
        Ok((about, (hit.limit.as_str(), hit.remembered())))
    }

    /// The otp: the live one again, or a new one; then the message, the limits, the guard, the audit row.
    fn go(&self, facts: &Facts, weighed: &mut Weighed, ask: &Ask<'_>, judged: Judged) -> Result<Decision<Reserved>> {
        let now = ask.now;
        let (otp, resent, mut changes) = self.otp(facts, now)?;
        let (pooled, mut alarms) = weighed.sent(&self.policy.guard, ask);
        alarms.extend(judged.alarms);
        let (counted, open) = (ask.counted, ask.counted != Counted::Free);
        let message = Message { counted, pooled, open, ..self.message(&otp, facts.next_message_id, now) };
        changes.push(Change::NewMessage(message.clone()));
        changes.extend(self.charge(facts, weighed, now)?);
        if ask.counted == Counted::Stranger {
            changes.push(weighed.change(facts.block()?, now, &self.policy.limits));
        }
        changes.extend(weighed.take());
        let mut details = self.details(&otp, &message, if resent { "resend" } else { "new" });
        if let Some(full) = judged.would {
            details = details.word("would", full.rule.into());
        }
        if self.challenged {
            details = details.word("challenge", "passed");
        }
        let details = raise(&mut changes, details, &alarms, now);
        self.hand_to_caller(facts, now, (otp, message, resent), changes, details)
    }

    fn otp(&self, facts: &Facts, now: Timestamp) -> Result<(Otp, bool, Vec<Change>)> {
        let mut changes = Vec::new();
        if let Some(old) = self.resendable(facts, now) {
            // Before anything is recorded: without its key the code cannot be sent again.
            code_of(&self.keyring, old)?;
            return Ok((old.clone(), true, changes));
        }
        changes.extend(facts.otp.as_ref().map(|old| replaced(old, now)));
        let otp = self.draw(facts, now, false)?;
        changes.push(Change::NewOtp(otp.clone()));
        Ok((otp, false, changes))
    }

    /// The otp whose code goes out once more instead of a new one.
    fn resendable<'a>(&self, facts: &'a Facts, now: Timestamp) -> Option<&'a Otp> {
        let again = !self.new_code && self.settings.resend == Resend::Same;
        let live = facts.otp.as_ref().filter(|otp| again && otp.is_live(now) && !otp.test);
        live.filter(|otp| otp.left(now) >= WORTH_RESENDING)
    }

    /// A new otp whose code differs from every other of the phone and purpose that is still in the database.
    fn draw(&self, facts: &Facts, now: Timestamp, test: bool) -> Result<Otp> {
        // The code of a key that was pruned since can be computed by nobody, so nothing can equal it.
        let others: Vec<_> = facts.recent.iter().filter_map(|otp| code_of(&self.keyring, otp).ok()).collect();
        let mut otp = Otp {
            id: facts.next_otp_id,
            user: self.user.clone(),
            phone: self.phone.clone(),
            purpose: self.purpose.clone(),
            nonce: [0; 16],
            key_id: self.keyring.primary().id(),
            digits: self.settings.digits,
            created_at: now,
            expires_at: now + self.settings.ttl,
            state: State::Active,
            ended_at: None,
            wrong_guesses: 0,
            test,
            known: self.caller.known,
        };
        for _ in 0..DRAWS_MAX {
            fill_random(&mut otp.nonce)?;
            let code = code_of(&self.keyring, &otp)?;
            if !others.iter().any(|other| other.matches(&code)) {
                return Ok(otp);
            }
        }
        Err(Error::new(Code::BUG, format!("{DRAWS_MAX} random codes were all in use for this phone"))
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
            locale: self.locale.clone(),
            country: self.country().to_owned(),
            price: self.price,
            settled: None,
            counted: Counted::Free,
            pooled: false,
            open: false,
        }
    }

    /// Counts the message with everyone whose limits count it.
    fn charge(&self, facts: &Facts, weighed: &Weighed, now: Timestamp) -> Result<Vec<Change>> {
        let limits = &self.policy.limits;
        let short = facts.phone()?.id.short();
        let counted = |fact: &SubjectFact| {
            let kind = fact.subject.kind();
            fact.updated(now, limits, |usage| limits.count_send(kind, usage, self.purpose.as_str(), &short, now))
        };
        let mut changes = vec![
            counted(facts.phone()?),
            weighed.change(facts.country()?, now, limits),
            counted(&weighed.fact(facts.everything()?)),
        ];
        changes.extend([facts.user(), facts.address(), facts.network()].into_iter().flatten().map(counted));
        Ok(changes)
    }

    /// A message of the live otp that waits for its next attempt: it certainly was not sent and is already charged.
    fn waiting<'a>(
        &self,
        facts: &'a Facts,
        live: Option<&'a Otp>,
        now: Timestamp,
    ) -> Result<Option<(&'a Otp, &'a Message)>> {
        let unwelcome = facts.phone()?.usage.opted_out_at.is_some() || facts.ruling().blocked.is_some();
        let otp = live.filter(|otp| !self.new_code && delivery::is_wanted(otp, unwelcome, now));
        let waits = |message: &&Message| message.state == message::State::Queued;
        Ok(otp.and_then(|otp| Some((otp, facts.messages.iter().find(waits)?))))
    }

    fn take_over(&self, facts: &Facts, otp: &Otp, waiting: &Message, now: Timestamp) -> Result<Decision<Reserved>> {
        code_of(&self.keyring, otp)?;
        let mut message = waiting.clone();
        delivery::claim(&mut message, now);
        message.provider = self.provider.to_owned();
        let changes = vec![Change::PutMessage(message.clone()), self.seen(facts, now)?];
        let details = self.details(otp, &message, "retry");
        self.hand_to_caller(facts, now, (otp.clone(), message, false), changes, details)
    }

    /// The decision that lets a claimed message go out.
    fn hand_to_caller(
        &self,
        facts: &Facts,
        now: Timestamp,
        (otp, message, resent): (Otp, Message, bool),
        mut changes: Vec<Change>,
        details: Details,
    ) -> Result<Decision<Reserved>> {
        let reply =
            self.reply.as_ref().map(|reply| Reply { message_id: Some(message.id), created_at: now, ..reply.clone() });
        changes.extend(reply.clone().map(Change::PutReply));
        let event = self.event(facts, now, "reserved", details)?;
        let ticket = Ticket { otp, message, resent, reply };
        Ok(Decision::Write { changes, event, answer: Reserved::Go(Box::new(ticket)) })
    }

    /// A declared test number: an otp as any other, but nothing goes out and no sending limit is charged.
    fn for_test_number(&self, facts: &Facts, now: Timestamp) -> Result<Decision<Reserved>> {
        let live = facts.otp.as_ref().filter(|otp| otp.is_live(now) && otp.test && !self.new_code);
        // Whoever verified it proved nothing: its code is fixed.
        let who = SendUsages { new_code: live.is_none(), verified: false, ..self.usages(facts, "")? };
        let no_sending = SendUsages { user: None, ip: None, network: None, everything: None, ..who };
        let mut hits = self.policy.limits.hits(&no_sending, now);
        hits.retain(|hit| hit.limit.is_of_guesses());
        hits.extend(self.policy.limits.test_code_closed(&facts.phone()?.usage, now).filter(|_| hits.is_empty()));
        if let Some(refusal) = Refusal::of_limits(hits) {
            return self.refused(facts, now, refusal);
        }
        let mut changes = Vec::new();
        let (otp, resent) = match live {
            Some(otp) => (otp.clone(), true),
            None => {
                changes.extend(facts.otp.as_ref().map(|old| replaced(old, now)));
                let otp = self.draw(facts, now, true)?;
                changes.push(Change::NewOtp(otp.clone()));
                (otp, false)
            }
        };
        let message = Message {
            provider: "test".to_owned(),
            state: message::State::Accepted,
            due_at: None,
            ..self.message(&otp, facts.next_message_id, now)
        };
        changes.extend([Change::NewMessage(message.clone()), self.seen(facts, now)?]);
        let sent = Sent::of(&otp, &message, resent, now);
        if let Some(reply) = &self.reply {
            let (message_id, answer) = (Some(message.id), Some(sent.to_json()?));
            changes.push(Change::PutReply(Reply { message_id, answer, created_at: now, ..reply.clone() }));
        }
        let event = self.event(facts, now, "reserved", self.details(&otp, &message, "test"))?;
        Ok(Decision::Write { changes, event, answer: Reserved::Done(Box::new(sent)) })
    }

    /// Keeps the phone's subject in the database, so that the audit row speaks of somebody, and its time from running back.
    fn seen(&self, facts: &Facts, now: Timestamp) -> Result<Change> {
        Ok(facts.phone()?.updated(now, &self.policy.limits, |_| {}))
    }

    fn refusal_details(&self, hits: &[Hit]) -> Details {
        let details = Details::new().note("purpose", self.purpose.as_str());
        match hits.first() {
            Some(hit) => details.note("limit", hit.limit.as_str()).note("counts", hit.subject.as_str()),
            None => details,
        }
    }

    fn details(&self, otp: &Otp, message: &Message, how: &'static str) -> Details {
        let details = Details::new()
            .note("purpose", self.purpose.as_str())
            .number("otp", otp.id)
            .number("message", message.id)
            .word("how", how);
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

    fn event(&self, facts: &Facts, now: Timestamp, outcome: &'static str, details: Details) -> Result<Event> {
        let event = Event::new(now, self.caller.actor.clone(), "send", outcome).details(details);
        let event = event.subject(&facts.phone()?.id.0);
        Ok(match facts.user() {
            Some(user) => event.subject(&user.id.0),
            None => event,
        })
    }
}

/// The end of an otp in whose place a new one comes.
fn replaced(old: &Otp, now: Timestamp) -> Change {
    let mut old = old.clone();
    let end = if old.is_live(now) { State::Superseded } else { State::Expired };
    old.end(end, now);
    Change::PutOtp(old)
}
