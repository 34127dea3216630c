//! One operation as a store sees it: what it needs, the facts that are loaded for it, and what it decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Operate;
use super::projection::complete;
use crate::abuse::{self, Counted, EventKind};
use crate::alarm::Alarm;
use crate::audit::Event;
use crate::clock::{CLOCK_SLACK, Timestamp};
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::lists::{self, ListEntry, Ruling, Side};
use crate::message::Message;
use crate::money::{FetchedPrice, Money};
use crate::otp::{Otp, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::subject::{Subject, SubjectId, SubjectKind};
use crate::sums::Sum;
use crate::token::Token;
use crate::usage::{PurposeUsage, Usage};

/// How many otps of a phone and purpose a new code is compared with.
pub const RECENT_MAX: u32 = 64;

/// What an operation has to know, and therefore what is locked for it.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The subjects whose usages it reads or writes. Unknown ones are made.
    pub subjects: Vec<Subject>,
    /// The otp in question.
    pub otp: OtpNeed,
    /// The messages of that otp as well.
    pub messages: bool,
    /// A message, with its otp in [`Facts::otp`].
    pub message: Option<i64>,
    /// The tag of an idempotency key.
    pub reply: Option<[u8; 32]>,
    /// An access token.
    pub token: Option<i64>,
    /// An alarm.
    pub alarm: Option<i64>,
    /// The keys of entries of lists: [`crate::lists::About::keys`].
    pub lists: Vec<String>,
    /// What became of messages to this country, and is in no counts yet; empty: to the networks without one. Whoever asks for it
    /// asks for the country and everything as well: their rows are its lock.
    pub events: Option<String>,
    /// Fresh ids of what is made: an otp and a message where [`Needs::otp`] is of somebody, a message where it is without, else a
    /// token.
    pub ids: bool,
}

/// How many events one operation takes in at most.
pub const EVENTS_MAX: u32 = 1000;

/// Which otp an operation is about.
#[derive(Clone, Debug, Default)]
pub enum OtpNeed {
    /// None.
    #[default]
    None,
    /// The live one of (user, phone, purpose), with the newest others of the same phone and purpose, and the test number.
    Of(User, Phone, Purpose),
    /// The one with this id.
    Id(i64),
    /// None, because it is about a message without a code: the test number with this phone is read.
    Without(Phone),
}

/// What the database said, read inside the operation's transaction.
#[derive(Debug, Default)]
pub struct Facts {
    /// The present: read after the locks where the database tells the time.
    pub now: Timestamp,
    /// One for each of [`Needs::subjects`], in the same order.
    pub subjects: Vec<SubjectFact>,
    /// The otp that lives for (user, phone, purpose) (its time may be over), or the one with the wanted id.
    pub otp: Option<Otp>,
    /// The newest otps of the same phone and purpose, newest first, at most [`RECENT_MAX`].
    pub recent: Vec<Otp>,
    /// The messages of `otp`, newest first, at most 50, where [`Needs::messages`] asked for them.
    pub messages: Vec<Message>,
    /// The message that was asked for.
    pub message: Option<Message>,
    /// The stored answer to an idempotency key.
    pub reply: Option<Reply>,
    /// The declared test number with this phone.
    pub test_number: Option<TestNumber>,
    /// An unused otp id.
    pub next_otp_id: i64,
    /// An unused message id.
    pub next_message_id: i64,
    /// The access token that was asked for.
    pub token: Option<Token>,
    /// An unused token id.
    pub next_token_id: i64,
    /// The alarm that was asked for.
    pub alarm: Option<Alarm>,
    /// The entries of lists with one of [`Needs::lists`], those that have ended too.
    pub lists: Vec<ListEntry>,
    /// What became of messages to the country of [`Needs::events`] and of all messages, oldest first, at most [`EVENTS_MAX`].
    pub events: Vec<MoneyEvent>,
}

/// What becomes of a "no".
pub enum Refused {
    /// The audit log has to record it, and how many were only counted before.
    Recorded {
        /// Counted since the log recorded the last one.
        before: u32,
    },
    /// The audit log has recorded the same a short while ago: it is counted.
    Counted(Box<RefusalCount>),
}

/// A usage in which nothing but the count of refusals, and what the guard knows, was changed.
#[derive(Clone, Debug)]
pub struct RefusalCount {
    pub(super) subject: SubjectId,
    pub(super) usage: Usage,
}

/// One subject as the database knows it.
#[derive(Clone, Debug)]
pub struct SubjectFact {
    /// Whom or what it stands for.
    pub subject: Subject,
    /// Its id.
    pub id: SubjectId,
    /// What its limits remember.
    pub usage: Usage,
    /// The database did not know it before.
    pub is_new: bool,
}

impl SubjectFact {
    /// The change that writes this subject's usage as `update` leaves it. It has seen `now`, forgets purposes that remember
    /// nothing, and may be purged once no limit counts any of it.
    pub fn updated(&self, now: Timestamp, limits: &Limits, update: impl FnOnce(&mut Usage)) -> Change {
        let mut usage = self.usage.clone();
        usage.forget_streak(now, limits.guesses_in_a_row);
        usage.saw(now);
        update(&mut usage);
        usage.purposes.retain(|_, purpose| *purpose != PurposeUsage::default());
        let idle_at = usage.idle_at(limits.longest(), limits.guesses_in_a_row);
        Change::PutUsage(self.id, usage, idle_at)
    }

    /// The same, but a subject that was not known and of whom nothing is to be remembered stays unknown: a question
    /// about somebody makes no row.
    pub fn updated_if_any(&self, now: Timestamp, limits: &Limits, update: impl FnOnce(&mut Usage)) -> Change {
        match self.updated(now, limits, update) {
            Change::PutUsage(_, usage, _) if self.is_new && usage.is_empty() => Change::LeaveUnknown(self.id),
            change => change,
        }
    }

    /// The change that erases this subject; `None` where nothing is known of it. Only an opt-out outlives it, as a keyed tag with
    /// a new random id.
    ///
    /// # Errors
    /// `BUG` where the operating system has no random bytes.
    pub fn erased(&self, now: Timestamp) -> Result<Option<Change>> {
        if self.is_new {
            return Ok(None);
        }
        let kept = self.usage.outliving().map(|usage| Ok::<_, Error>((fresh_subject_id(now)?, usage))).transpose()?;
        Ok(Some(Change::EraseSubject(self.id, kept)))
    }

    /// Notes among the changes of an operation that its audit row records a "no" about this subject.
    pub fn record_refusal(
        &self,
        changes: &mut Vec<Change>,
        (what, per): (&str, Duration),
        now: Timestamp,
        limits: &Limits,
    ) {
        let known = changes.iter_mut().find_map(|change| match change {
            Change::PutUsage(id, usage, _) if *id == self.id => Some(usage),
            _ => None,
        });
        if let Some(usage) = known {
            usage.count_refusal(what, per, now);
            return;
        }
        changes.retain(|change| !matches!(change, Change::LeaveUnknown(id) if *id == self.id));
        let counted = |usage: &mut Usage| {
            usage.count_refusal(what, per, now);
        };
        changes.push(self.updated(now, limits, counted));
    }

    /// Its usage with what the guard knows now, where the row is there.
    pub fn counted(&self) -> Option<RefusalCount> {
        (!self.is_new).then(|| RefusalCount { subject: self.id, usage: self.usage.clone() })
    }

    /// Counts a "no" that is about this subject: `what` was refused, which the audit log records once in any span of
    /// `per`.
    pub fn refused(&self, (what, per): (&str, Duration), now: Timestamp) -> Refused {
        let mut usage = self.usage.clone();
        match usage.count_refusal(what, per, now) {
            Some(before) => Refused::Recorded { before },
            None => Refused::Counted(Box::new(RefusalCount { subject: self.id, usage })),
        }
    }
}

impl Facts {
    /// The phone's usage. Likewise the other roles.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn phone(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Phone)
    }
    /// That of the user with the phone.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn pair(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Pair)
    }
    /// That of everyone.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn everything(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Everything)
    }
    /// The country's.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn country(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Country)
    }
    /// The block of numbers'.
    ///
    /// # Errors
    /// `BUG` where the operation did not ask for it.
    pub fn block(&self) -> Result<&SubjectFact> {
        self.asked_for(SubjectKind::Block)
    }
    /// The user's; `None` for the empty user, who is nobody in particular.
    pub fn user(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::User)
    }
    /// The client address's; `None` where no address is known.
    pub fn address(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::Ip)
    }
    /// That of the user's access token that asks; `None` where no such token does.
    pub fn caller_token(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::Token)
    }
    /// The client network's; `None` where no address is known.
    pub fn network(&self) -> Option<&SubjectFact> {
        self.role(SubjectKind::Network)
    }

    /// What the lists say of the message that this is about.
    pub fn ruling(&self) -> Ruling<'_> {
        lists::rule(&self.lists, self.now)
    }

    /// Whether an entry of the allow list, and none of the block list, is about this message: the caps against abuse do not hold it
    /// back.
    pub fn allowed(&self) -> bool {
        self.ruling().allowed
    }

    /// The one with this id.
    pub(super) fn subject(&self, id: SubjectId) -> Result<&SubjectFact> {
        let unasked = || Error::new(Code::BUG, "an operation wrote the usage of a subject that it had not asked for");
        self.subjects.iter().find(|fact| fact.id == id).ok_or_else(unasked)
    }

    /// The one of this kind, if the operation asked for it.
    pub fn role(&self, kind: SubjectKind) -> Option<&SubjectFact> {
        self.subjects.iter().find(|fact| fact.subject.kind() == kind)
    }
    fn asked_for(&self, kind: SubjectKind) -> Result<&SubjectFact> {
        self.role(kind).ok_or_else(|| Error::new(Code::BUG, format!("an operation did not ask for its {kind}")))
    }

    /// The present as these subjects see it: their time never runs back.
    ///
    /// # Errors
    /// `CLOCK_WRONG` where the newest event of one of them lies more than five minutes ahead; it names who that is.
    pub fn checked_now(&self) -> Result<Timestamp> {
        let seen = self.latest();
        if seen.since(self.now) <= CLOCK_SLACK {
            return Ok(seen);
        }
        let ahead = self.of_limits().filter(|fact| Timestamp(fact.usage.seen).since(self.now) > CLOCK_SLACK);
        let mut kinds: Vec<SubjectKind> = ahead.map(|fact| fact.subject.kind()).collect();
        // A user with a phone is ahead because the phone is, and is reset with it.
        if kinds.contains(&SubjectKind::Phone) {
            kinds.retain(|kind| *kind != SubjectKind::Pair);
        }
        let names: Vec<&str> = kinds.iter().map(|kind| kind.in_words()).collect();
        let mut resets: Vec<&str> = kinds.iter().map(|kind| kind.to_reset()).collect();
        resets.dedup();
        let (names, resets) = (names.join(", "), resets.join(" "));
        Err(Error::new(
            Code::CLOCK_WRONG,
            format!("the clock says {}, but the database has events of {names} from {seen}", self.now),
        )
        .hint(format!(
            "Set the clock right if it is wrong (is NTP running?). If it was ahead at {seen} and is right now: smsotp limits reset {resets} --clock --reason TEXT"
        )))
    }

    /// The present, or the newest event of these subjects where that lies ahead of it: for what has to be recorded whatever
    /// the clock says.
    pub fn latest(&self) -> Timestamp {
        Timestamp(self.of_limits().map(|fact| fact.usage.seen).fold(self.now.millis(), i64::max))
    }

    /// All but those that the guard alone keeps.
    fn of_limits(&self) -> impl Iterator<Item = &SubjectFact> {
        self.subjects.iter().filter(|fact| !fact.subject.kind().is_of_guard())
    }
}

/// One row to write.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new otp, under [`Facts::next_otp_id`].
    NewOtp(Otp),
    /// The state, end and guesses of an otp. An id that is not there changes nothing, in the same statement.
    PutOtp(Otp),
    /// Where no otp changes, a row that stands for one, so that both cost the same. `false`: one does; the same statement then
    /// finds no row.
    Padding(bool),
    /// A new message, under [`Facts::next_message_id`].
    NewMessage(Message),
    /// Everything of a message that may change.
    PutMessage(Message),
    /// A subject's usage, and from when on it is idle: made by [`SubjectFact::updated`].
    PutUsage(SubjectId, Usage, Option<Timestamp>),
    /// A subject that was not known stays unknown, by the statement of [`Change::PutUsage`].
    LeaveUnknown(SubjectId),
    /// What became of a message, for the next send; its id does not count.
    NewEvent(MoneyEvent),
    /// Events that are in the counts now, by their ids: of [`Facts::events`].
    TakeEvents(Vec<i64>),
    /// The answer to an idempotency key, new or changed.
    PutReply(Reply),
    /// A test number, new or changed.
    PutTestNumber(TestNumber),
    /// A test number that is one no more.
    DropTestNumber(Phone),
    /// A price as the provider's list has it, new or changed.
    PutPrice(FetchedPrice),
    /// A new access token, under [`Facts::next_token_id`].
    NewToken(Token),
    /// The end of an access token: `expires_at` and `revoked_at`.
    PutToken(Token),
    /// Adds to a sum. Operations leave those of messages to their changes; several in one operation have different keys.
    AddSum(Sum),
    /// A new alarm, whose id does not count; it joins the one of its kind and country that stands. Of several in one operation, no
    /// two have the same kind and country, and they are in the order of both, so that nobody waits for somebody who waits for them.
    RaiseAlarm(Alarm),
    /// Everything of an alarm that may change: of [`Facts::alarm`].
    PutAlarm(Alarm),
    /// What the provider said about the balance.
    PutBalance(Balance),
    /// An access token that is not there any more.
    DropToken(i64),
    /// An entry of a list, new or changed. What it has refused stays as it is counted.
    PutEntry(ListEntry),
    /// An entry that is off its list, by its key.
    DropEntry(String, Side),
    /// An entry refused so many more messages, by its key.
    CountHits(String, Side, u32),
    /// An otp, with its messages and what was answered to idempotency keys about them, is deleted.
    EraseOtp(i64),
    /// A message without a code, with what was answered to idempotency keys about it, is deleted.
    EraseMessage(i64),
    /// A subject's row is deleted. What has to outlive the person is kept in a row with a new id, which nothing leads to from
    /// the old one: made by [`SubjectFact::erased`].
    EraseSubject(SubjectId, Option<(SubjectId, Usage)>),
}

/// What an operation decided. Rows cannot be changed without an audit row: there is no way to say so. Nor is there one
/// for the count of refusals to change anything else.
#[derive(Clone, Debug)]
pub enum Decision<A = ()> {
    /// Nothing is written.
    Nothing(A),
    /// Rows change, and the audit log says what happened, in the same transaction.
    Write {
        /// The rows; none where only the audit log has to know.
        changes: Vec<Change>,
        /// The audit row.
        event: Event,
        /// The answer.
        answer: A,
    },
    /// A "no" that the audit log has recorded a short while ago: only its count changes, and what the guard makes of it.
    Count {
        /// The subjects that it is about, with the new count.
        counts: Vec<RefusalCount>,
        /// Events that are in the counts now, by their ids: of [`Facts::events`].
        taken: Vec<i64>,
        /// What is added to the sums.
        sum: Option<Sum>,
        /// The answer.
        answer: A,
    },
    /// Only the time at which a message is looked at again moves.
    Reschedule {
        /// The message.
        message_id: i64,
        /// When to look at it again; `None`: never.
        due_at: Option<Timestamp>,
        /// The answer.
        answer: A,
    },
}

impl<A> Decision<A> {
    /// The same decision with another answer.
    pub fn map<B>(self, answer_of: impl FnOnce(A) -> B) -> Decision<B> {
        match self {
            Decision::Nothing(answer) => Decision::Nothing(answer_of(answer)),
            Decision::Write { changes, event, answer } => Decision::Write { changes, event, answer: answer_of(answer) },
            Decision::Count { counts, taken, sum, answer } => {
                Decision::Count { counts, taken, sum, answer: answer_of(answer) }
            }
            Decision::Reschedule { message_id, due_at, answer } => {
                Decision::Reschedule { message_id, due_at, answer: answer_of(answer) }
            }
        }
    }

    /// The decision and its answer, apart.
    fn split(self) -> (Decision, Option<A>) {
        let mut answer = None;
        let decision = self.map(|given| answer = Some(given));
        (decision, answer)
    }
}

/// A declared test number: nothing is sent to it and its code is fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct TestNumber {
    /// Any E.164 shape.
    pub phone: Phone,
    /// The fixed code as a keyed tag.
    pub code_tag: [u8; 32],
    /// It stops being one at this time.
    pub until: Timestamp,
    /// When it was declared.
    pub added_at: Timestamp,
    /// By whom.
    pub added_by: String,
}

/// What is known of the balance at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Always 1.
    pub id: u8,
    /// When the provider was asked last.
    pub asked_at: Timestamp,
    /// What it said; `None`: nothing that could be used.
    pub amount: Option<Money>,
}

/// What became of a message, until the counts of its country or of everything take it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoneyEvent {
    /// Given by the database.
    pub id: i64,
    /// Whose counts: [`MoneyEvent::scope`] of a country; empty: those of everything.
    pub scope: String,
    /// When it became so.
    pub at: Timestamp,
    /// What became of it.
    pub kind: EventKind,
    /// When it was counted.
    pub reserved_at: Timestamp,
    /// [`abuse::Event::price`].
    pub amount: Money,
    /// How it was counted.
    pub counted: Counted,
    /// It was counted among the countries that are not proven.
    pub pooled: bool,
}

impl MoneyEvent {
    /// The scope of a country; of the networks that belong to none where it is empty.
    pub fn scope(country: &str) -> &str {
        if country.is_empty() { "none" } else { country }
    }

    /// One for a scope.
    pub fn new(scope: &str, event: &abuse::Event) -> MoneyEvent {
        let abuse::Event { at, kind, reserved_at, price: amount, counted, pooled } = *event;
        MoneyEvent { id: 0, scope: scope.to_owned(), at, kind, reserved_at, amount, counted, pooled }
    }

    /// As the rules take it.
    pub fn event(&self) -> abuse::Event {
        let MoneyEvent { at, kind, reserved_at, amount: price, counted, pooled, .. } = *self;
        abuse::Event { at, kind, reserved_at, price, counted, pooled }
    }
}

/// The database's side of an idempotency key.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The keyed tag of the key.
    pub tag: [u8; 32],
    /// A keyed fingerprint of what was asked: the same key for something else is an error.
    pub fingerprint: [u8; 32],
    /// The message it started.
    pub message_id: Option<i64>,
    /// The whole answer as JSON; `None` while the first asker is at work.
    pub answer: Option<String>,
    /// When the key was first used, or for when it booked a message; kept for 24 hours from then on.
    pub created_at: Timestamp,
}

/// The pure part of an operation. It may be called again where the database wants the transaction repeated.
pub type Decide = Box<dyn FnMut(&Facts) -> Result<Decision> + Send>;

/// A new subject id.
///
/// # Errors
/// `BUG` where the operating system has no random bytes.
pub fn fresh_subject_id(now: Timestamp) -> Result<SubjectId> {
    let mut random = [0; 10];
    crate::keys::fill_random(&mut random)?;
    Ok(SubjectId::new(now, random))
}

/// Runs an operation whose decision has an answer.
pub async fn operate<A, F>(store: &dyn Operate, needs: Needs, mut decide: F) -> Result<A>
where
    A: Send + 'static,
    F: FnMut(&Facts) -> Result<Decision<A>> + Send + 'static,
{
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    let decide = Box::new(move |facts: &Facts| {
        let (decision, answer) = decide(facts)?.split();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        complete(facts, decision)
    });
    store.operate(needs, decide).await?;
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    answer.ok_or_else(|| Error::new(Code::BUG, "an operation was committed without a decision"))
}
