//! The life of a message at the provider, decided in one place: claim and lease, retry, settle, first look, give back, poll.
//!
//! Everything here is a pure function of a message and what was learned of it. Sending, dispatching, polling and callbacks
//! all move messages by these rules, and by no others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::abuse::Counted;
use crate::clock::Timestamp;
use crate::message::{Message, State};
use crate::money::Money;
use crate::otp::{self, Otp};
use crate::usage::{self, Usage};

/// How long an attempt may take before its process is held for dead: the 35 s that a request to a provider may take, and
/// then some.
pub const LEASE: Duration = Duration::from_secs(60);

/// Nothing is sent whose code has less than this left: it would arrive dead.
pub const LEAST_LEFT: Duration = Duration::from_secs(15);

/// When a message whose outcome is unknown is looked for first, and again where the provider could not be asked.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// Absent on two looks so far apart means: never accepted.
const LOOKS_APART: Duration = Duration::from_secs(600);

/// The first pause before another attempt; it doubles, up to [`PAUSE_MAX`], and up to a half of it is left to chance. So a
/// provider that stays busy is asked six times in 45 s and eight times in two minutes.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// An accepted message is asked for until it is so old: "sent" may be the last that is ever heard of it.
const POLL_FOR: Duration = Duration::from_secs(3600);

/// The pause between two polls doubles with the age of the message, and is never shorter than this.
const POLL_MIN: Duration = Duration::from_secs(5);

/// The longest provider id that is kept, in characters.
const PROVIDER_ID_MAX: usize = 64;

/// How handing a message over ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// The provider took it.
    Accepted {
        /// The provider's id of the message.
        provider_id: String,
        /// How far it got already: [`State::Accepted`], or further.
        state: State,
    },
    /// The provider took it, and its answer says already that it came to nothing: [`State::Failed`], [`State::Undelivered`] or
    /// [`State::Canceled`].
    Ended {
        /// The provider's id of the message.
        provider_id: String,
        /// How it ended.
        state: State,
        /// Why.
        reason: Reason,
    },
    /// The provider will not send it: it surely was not sent.
    Refused(Reason),
    /// The provider asks to come back: surely not sent.
    Busy {
        /// The provider's error code.
        code: Option<u32>,
        /// For how long not to come back.
        retry_after: Option<Duration>,
        /// The provider's reason.
        why: String,
    },
    /// No connection was made: surely not sent.
    Unreachable {
        /// What failed, without secrets.
        why: String,
    },
    /// It may or may not have been taken: never repeat it blindly.
    Maybe {
        /// What failed, without secrets.
        why: String,
    },
}

/// Why a provider refused a message, or could not bring it to its recipient: explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The provider's error code.
    pub code: Option<u32>,
    /// The HTTP status of the answer, where one gave the reason.
    pub http_status: Option<u16>,
    /// What it means, in our text or the provider's.
    pub meaning: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// Who has to act.
    pub blame: Blame,
    /// The recipient opted out of all messages.
    pub opted_out: bool,
}

/// Who has to act on a refusal or a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Our request was wrong.
    Request,
    /// The recipient's number or choice.
    Recipient,
    /// The set-up: credentials, sender, permissions, registration.
    Setup,
    /// The account: suspended, on trial, without a right.
    Account,
    /// The carrier.
    Carrier,
    /// The provider.
    Provider,
    /// A limit of the provider.
    Limit,
    /// Classified as fraud.
    Fraud,
}

impl Delivery {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Delivery::Accepted { .. } => "accepted",
            Delivery::Ended { .. } => "ended",
            Delivery::Refused(_) => "refused",
            Delivery::Busy { .. } => "busy",
            Delivery::Unreachable { .. } => "unreachable",
            Delivery::Maybe { .. } => "maybe",
        }
    }

    /// True where the message surely did not go out: only then is anything given back, or tried again.
    pub fn is_surely_unsent(&self) -> bool {
        matches!(self, Delivery::Refused(_) | Delivery::Busy { .. } | Delivery::Unreachable { .. })
    }

    /// Why the provider will not bring the message to its recipient, where it says so.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Delivery::Ended { reason, .. } | Delivery::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Begins an attempt: from here on the message counts as maybe sent until its outcome is recorded.
pub fn claim(message: &mut Message, now: Timestamp) {
    message.state = State::Sending;
    message.attempts += 1;
    message.attempt_at = Some(now);
    message.due_at = Some(now + LEASE);
    message.updated_at = now;
}

/// Whether a waiting message is still wanted. While it waited its code may have been replaced, taken back or verified, or
/// its recipient may be `unwelcome`: have opted out, or be blocked. `otp`: whose code it carries.
pub fn is_wanted(message: &Message, otp: Option<&Otp>, unwelcome: bool, now: Timestamp) -> bool {
    otp.is_none_or(|otp| otp.is_live(now)) && message.left(now) >= LEAST_LEFT && !unwelcome
}

/// True where the outcome of an attempt is open and nobody is at work on it any more.
pub fn is_orphan(message: &Message, now: Timestamp) -> bool {
    match message.state {
        State::Unknown => message.due_at.is_some(),
        State::Sending => message.due_at.is_none_or(|due| due <= now),
        _ => false,
    }
}

/// The pause before another attempt: exponential, jittered by a random byte, never shorter than what the provider asked for.
pub fn retry_pause(attempts: u32, delivery: &Delivery, random: u8) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_MAX);
    let jittered = doubled / 2 + doubled.mul_f64(f64::from(random) / 512.0);
    match delivery {
        Delivery::Busy { retry_after: Some(after), .. } => jittered.max(*after),
        _ => jittered,
    }
}

/// When another attempt is due; `None`: there is none. Nothing is sent again for a code that would arrive dead. What a busy
/// provider did not take waits for whoever comes by, but where there was no connection the caller is not kept waiting for
/// longer than `until` (`None`: nobody waits) and then has a clear answer.
pub fn retry_at(
    delivery: &Delivery,
    now: Timestamp,
    pause: Duration,
    until: Option<Timestamp>,
    expires_at: Timestamp,
) -> Option<Timestamp> {
    let at = now + pause;
    let in_time = match delivery {
        Delivery::Busy { .. } => true,
        Delivery::Unreachable { .. } => until.is_none_or(|until| at < until),
        _ => false,
    };
    (in_time && expires_at.since(at) >= LEAST_LEFT).then_some(at)
}

/// Records how an attempt ended. `retry_at`: when it will be tried again if it surely was not sent. `poll_after`: when an
/// accepted message is asked for first, where nobody reports by himself.
pub fn settle(
    message: &mut Message,
    delivery: &Delivery,
    retry_at: Option<Timestamp>,
    poll_after: Option<Duration>,
    now: Timestamp,
) {
    message.updated_at = now;
    message.due_at = None;
    (message.error, message.error_code) = (None, None);
    match delivery {
        Delivery::Accepted { provider_id, state } => {
            message.state = *state;
            message.provider_id = Some(provider_id.clone());
            message.due_at = poll_after.filter(|_| !message.state.is_final()).map(|after| now + after);
        }
        Delivery::Ended { provider_id, state, reason } => {
            message.state = *state;
            message.provider_id = Some(provider_id.clone());
            message.error_code = reason.code;
            message.error = Some(reason.meaning.clone());
        }
        Delivery::Refused(reason) => {
            message.state = State::Failed;
            message.error_code = reason.code;
            message.error = Some(reason.meaning.clone());
        }
        Delivery::Maybe { why } => {
            message.state = State::Unknown;
            message.error = Some(why.clone());
            message.due_at = Some(now + FIRST_LOOK);
        }
        Delivery::Busy { why, .. } | Delivery::Unreachable { why } => {
            message.error = Some(why.clone());
            message.state = if retry_at.is_some() { State::Queued } else { State::Failed };
            message.due_at = retry_at;
            if let Delivery::Busy { code, .. } = delivery {
                message.error_code = *code;
            }
        }
    }
}

/// What was found out about a message whose outcome is open.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is at the provider.
    Found {
        /// The provider's id.
        provider_id: String,
        /// How far it got.
        state: State,
        /// The error code of a failed delivery.
        error_code: Option<u32>,
        /// What it has cost, where that is known.
        price: Option<Money>,
    },
    /// It is not at the provider.
    Absent,
    /// The provider could not be asked now.
    NotNow,
    /// The provider cannot be asked, now or ever.
    Never,
    /// It waits for an attempt that nobody wants any more: its time or its code is over, or its recipient opted out or is blocked.
    Unwanted,
}

/// What became of a message that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Fate {
    /// Sent after all.
    Sent,
    /// Found at the provider: it had been accepted.
    Found,
    /// It was never accepted, or nobody wants it any more.
    Failed,
    /// Its outcome is still open.
    Open,
    /// Its outcome is still open, because the provider cannot be asked or takes nothing now.
    NotNow,
    /// Somebody else settled it, or it is not there.
    Gone,
}

impl Fate {
    /// The outcome in the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Records what was found out about a message; `None` where it is not open any more, or somebody is at work on it. `why`: what
/// the error code of a failed delivery means.
pub fn conclude(message: &Message, finding: &Finding, why: Option<&Reason>, now: Timestamp) -> Option<(Message, Fate)> {
    let open = match message.state {
        State::Scheduled | State::Queued => matches!(finding, Finding::Unwanted),
        State::Sending => message.due_at.is_none_or(|due| due <= now),
        State::Unknown => true,
        _ => false,
    };
    if !open {
        return None;
    }
    let mut next = Message { updated_at: now, due_at: None, ..message.clone() };
    let fate = match finding {
        Finding::Found { provider_id, state, error_code, .. } => {
            next.state = *state;
            next.provider_id = Some(provider_id.clone());
            (next.error_code, next.error) = (*error_code, why.map(|why| why.meaning.clone()));
            Fate::Found
        }
        Finding::Absent => match message.missed_at {
            Some(first) if now.since(first) >= LOOKS_APART => {
                next.state = State::Failed;
                next.error = Some("the provider never accepted it".to_owned());
                Fate::Failed
            }
            first => {
                let first = first.unwrap_or(now);
                next.state = State::Unknown;
                next.missed_at = Some(first);
                next.due_at = Some(first + LOOKS_APART);
                Fate::Open
            }
        },
        Finding::NotNow => {
            next.state = State::Unknown;
            next.due_at = Some(now + FIRST_LOOK);
            Fate::Open
        }
        Finding::Never => {
            next.state = State::Unknown;
            Fate::Open
        }
        Finding::Unwanted => {
            next.state = State::Failed;
            next.error = Some("it was not sent while it was wanted and its recipient could get it".to_owned());
            Fate::Failed
        }
    };
    Some((next, fate))
}

/// What the provider reports of a message, asked or by itself.
#[derive(Clone, Debug)]
pub struct News {
    /// The provider's id.
    pub provider_id: String,
    /// How far the message got.
    pub state: State,
    /// The error code of a failed delivery.
    pub error_code: Option<u32>,
    /// What the message has cost, where that is known.
    pub price: Option<Money>,
}

/// The message as the news leave it; `None` where they are old, or say nothing that is new. `why`: what their error code means.
pub fn report(message: &Message, news: &News, why: Option<&Reason>, now: Timestamp) -> Option<Message> {
    let moved = message.state.after_report(news.state);
    let identified = message.provider_id.is_none() && news.provider_id.len() <= PROVIDER_ID_MAX;
    if moved.is_none() && !identified {
        return None;
    }
    let mut next = message.clone();
    if identified {
        next.provider_id = Some(news.provider_id.clone());
    }
    next.updated_at = now.max(message.updated_at);
    if let Some(state) = moved {
        next.state = state;
        (next.error_code, next.error) = (news.error_code, why.map(|why| why.meaning.clone()));
        // Nobody has to look for it any more.
        next.due_at = next.due_at.filter(|_| !state.is_final());
    }
    Some(next)
}

/// When an accepted message is asked for again; `None`: not any more.
pub fn next_poll(message: &Message, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(message.attempt_at.unwrap_or(message.reserved_at));
    (!message.state.is_final() && age < POLL_FOR).then(|| now + age.max(POLL_MIN))
}

/// A message of which the provider has not said what it has cost is asked for so long after its end, and then no more: what was
/// reserved for it stands. Twilio's callbacks name no price.
const PRICE_LOOKS: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
];

/// When a message is asked for its price, of which nothing else is news any more; `None`: it is known, costs nothing, or was asked for
/// often enough. A message that failed at the provider has no price.
pub fn next_price_look(message: &Message, now: Timestamp) -> Option<Timestamp> {
    let paid = message.state.is_final() && !matches!(message.state, State::Failed | State::Canceled);
    let waits = message.provider_id.is_some() && message.settled.is_none() && message.counted != Counted::Free;
    let ended = message.updated_at;
    let passed = now.since(ended);
    let next = PRICE_LOOKS.into_iter().find(|after| *after > passed);
    next.filter(|_| paid && waits).map(|after| ended + after)
}

/// When a message that the provider took is asked for again: what became of it, then what it has cost.
pub fn next_look(message: &Message, now: Timestamp) -> Option<Timestamp> {
    next_poll(message, now).or_else(|| next_price_look(message, now))
}

/// The otp of a message that failed: it ends too, unless another of its messages was or may have been accepted, or waits.
pub fn otp_after_failure(otp: &Otp, messages: &[Message], failed: i64, now: Timestamp) -> Option<Otp> {
    let another = |other: &Message| other.id != failed && (other.state.may_be_out() || other.state.is_waiting());
    if otp.state != otp::State::Active || messages.iter().any(another) {
        return None;
    }
    let mut otp = otp.clone();
    let end = if otp.is_live(now) { otp::State::Failed } else { otp::State::Expired };
    otp.end(end, now);
    Some(otp)
}

/// Gives a message back that surely was not sent, to the user. Client addresses, networks and everything keep counting it, so
/// that refusals cannot be farmed.
pub fn give_back(usage: &mut Usage, message: &Message) {
    usage.give_back_send(message.reserved_at);
}

/// The same to the phone, with its step of the cooldown where it carries the code of an otp.
pub fn give_back_to_phone(usage: &mut Usage, message: &Message, otp: Option<&Otp>) {
    let Some(otp) = otp else { return give_back(usage, message) };
    usage.unproven = usage.unproven.saturating_sub(1);
    // A message that gave a code to guess at is one of those that bound how often that can be done.
    if otp.wrong_guesses == 0 {
        give_back(usage, message);
        let purpose = usage.purpose_mut(otp.purpose.as_str());
        usage::take_out(&mut purpose.asked, message.reserved_at);
        usage::take_out(&mut purpose.sends, message.reserved_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::KeyId;
    use crate::otp::User;
    use crate::phone::Phone;
    use crate::purpose::Purpose;
    use crate::template::Endings;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const MS: Duration = Duration::from_millis(1);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn message(state: State) -> Message {
        Message {
            id: 1,
            otp_id: Some(1),
            phone: Phone::from_e164("+14155550100").unwrap(),
            provider: "twilio".into(),
            state,
            provider_id: None,
            error_code: Some(1),
            error: Some("before".into()),
            segments: 1,
            attempts: 1,
            reserved_at: NOW,
            expires_at: NOW + seconds(600),
            attempt_at: Some(NOW),
            due_at: Some(NOW + LEASE),
            missed_at: None,
            updated_at: NOW,
            endings: Endings::default(),
            locale: None,
            country: "US".into(),
            price: Money(8_300),
            settled: None,
            counted: Counted::Stranger,
            pooled: false,
            open: true,
            text: None,
        }
    }

    fn otp() -> Otp {
        Otp {
            id: 1,
            user: User::default(),
            phone: Phone::from_e164("+14155550100").unwrap(),
            purpose: Purpose::parse("login").unwrap(),
            nonce: [0; 16],
            key_id: KeyId::parse("00000000").unwrap(),
            digits: 6,
            created_at: NOW,
            expires_at: NOW + seconds(600),
            state: otp::State::Active,
            ended_at: None,
            wrong_guesses: 0,
            test: false,
            known: false,
        }
    }

    fn busy(retry_after: Option<u64>) -> Delivery {
        Delivery::Busy { code: Some(20_429), retry_after: retry_after.map(seconds), why: "busy".into() }
    }

    fn reason() -> Reason {
        Reason {
            code: Some(21_211),
            http_status: Some(400),
            meaning: "no such number".into(),
            fix: None,
            blame: Blame::Request,
            opted_out: false,
        }
    }

    fn refused() -> Delivery {
        Delivery::Refused(reason())
    }

    fn ended(state: State) -> Delivery {
        Delivery::Ended { provider_id: "SM1".into(), state, reason: reason() }
    }

    fn unreachable() -> Delivery {
        Delivery::Unreachable { why: "no route".into() }
    }

    fn accepted(state: State) -> Delivery {
        Delivery::Accepted { provider_id: "SM1".into(), state }
    }

    #[test]
    fn an_attempt_has_a_lease_of_a_minute_and_is_an_orphan_after_it() {
        let mut claimed = message(State::Queued);
        let later = NOW + seconds(5);
        claim(&mut claimed, later);
        assert_eq!((claimed.state, claimed.attempts), (State::Sending, 2));
        assert_eq!((claimed.attempt_at, claimed.updated_at), (Some(later), later));
        assert_eq!(claimed.due_at, Some(later + seconds(60)));
        assert!(!is_orphan(&claimed, later + seconds(60) - MS));
        assert!(is_orphan(&claimed, later + seconds(60)));
        assert!(is_orphan(&Message { due_at: None, ..claimed }, later));

        assert!(is_orphan(&message(State::Unknown), NOW), "it is looked for when somebody asks again");
        assert!(!is_orphan(&Message { due_at: None, ..message(State::Unknown) }, NOW), "it never will be found");
        for settled in State::ALL.iter().copied().filter(|state| !matches!(state, State::Sending | State::Unknown)) {
            assert!(!is_orphan(&message(settled), NOW + seconds(600)), "{settled:?}");
        }
    }

    #[test]
    fn a_waiting_message_is_wanted_while_it_and_its_code_live_for_fifteen_seconds_more() {
        let (waiting, live) = (message(State::Queued), otp());
        let end = live.expires_at;
        for otp in [Some(&live), None] {
            assert!(is_wanted(&waiting, otp, false, end - seconds(15)));
            assert!(!is_wanted(&waiting, otp, false, end - seconds(15) + MS));
            assert!(!is_wanted(&waiting, otp, true, NOW), "the recipient opted out");
        }
        let revoked = Otp { state: otp::State::Revoked, ..otp() };
        assert!(!is_wanted(&waiting, Some(&revoked), false, NOW));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_is_never_shorter_than_asked_for() {
        let pause = |attempts, random| retry_pause(attempts, &busy(None), random).as_millis();
        for (attempts, whole) in
            [(0, 2000), (1, 2000), (2, 4000), (3, 8000), (4, 16_000), (5, 32_000), (6, 60_000), (99, 60_000)]
        {
            assert_eq!(pause(attempts, 0), whole / 2, "{attempts}");
            assert_eq!(pause(attempts, 128), whole / 2 + whole / 4, "{attempts}");
            assert!(pause(attempts, 255) < whole, "{attempts}");
        }
        assert_eq!(retry_pause(1, &busy(Some(3)), 255), seconds(3));
        assert_eq!(retry_pause(9, &busy(Some(3)), 0), seconds(30), "nor shorter than ours");
        assert_eq!(retry_pause(1, &unreachable(), 0), seconds(1));
    }

    #[test]
    fn a_provider_that_stays_busy_is_asked_six_times_in_the_time_that_a_person_waits() {
        for random in [0, 255] {
            let (mut at, mut asked) = (Duration::ZERO, 0);
            while at < seconds(45) {
                asked += 1;
                at += retry_pause(asked, &busy(None), random);
            }
            assert!((5..=6).contains(&asked), "{asked}");
        }
    }

    #[test]
    fn no_attempt_is_planned_for_a_code_that_would_arrive_dead() {
        let (far, pause) = (NOW + seconds(3600), seconds(10));
        for until in [None, Some(far)] {
            for delivery in [busy(None), unreachable()] {
                let at = |expires_at| retry_at(&delivery, NOW, pause, until, expires_at);
                assert_eq!(at(far), Some(NOW + pause));
                assert_eq!(at(NOW + pause + seconds(15)), Some(NOW + pause));
                assert_eq!(at(NOW + pause + seconds(15) - MS), None);
            }
        }
        for delivery in
            [accepted(State::Accepted), ended(State::Failed), refused(), Delivery::Maybe { why: "reset".into() }]
        {
            assert_eq!(retry_at(&delivery, NOW, pause, None, far), None, "{delivery:?}");
        }
    }

    #[test]
    fn whoever_waits_for_a_connection_is_answered_in_time_and_a_busy_provider_is_asked_later() {
        let (far, pause) = (NOW + seconds(3600), seconds(10));
        let at = |delivery: &Delivery, until| retry_at(delivery, NOW, pause, Some(until), far);
        assert_eq!(at(&unreachable(), NOW + pause + MS), Some(NOW + pause));
        assert_eq!(at(&unreachable(), NOW + pause), None);
        assert_eq!(at(&busy(None), NOW), Some(NOW + pause));
    }

    #[test]
    fn only_what_surely_was_not_sent_may_be_tried_again() {
        let maybe = Delivery::Maybe { why: "reset".into() };
        for (delivery, word, unsent) in [
            (accepted(State::Accepted), "accepted", false),
            (ended(State::Undelivered), "ended", false),
            (maybe, "maybe", false),
            (refused(), "refused", true),
            (busy(None), "busy", true),
            (unreachable(), "unreachable", true),
        ] {
            assert_eq!((delivery.as_str(), delivery.is_surely_unsent()), (word, unsent));
        }
    }

    /// A message after its attempt, a second after it began.
    fn settled(delivery: &Delivery, retry_at: Option<Timestamp>, poll_after: Option<Duration>) -> Message {
        let mut message = message(State::Sending);
        settle(&mut message, delivery, retry_at, poll_after, NOW + seconds(1));
        assert_eq!(message.updated_at, NOW + seconds(1));
        message
    }

    #[test]
    fn what_was_accepted_is_at_least_accepted_and_asked_for_only_while_that_may_bring_news() {
        let plain = settled(&accepted(State::Accepted), None, None);
        assert_eq!((plain.state, plain.provider_id.as_deref()), (State::Accepted, Some("SM1")));
        assert_eq!((plain.due_at, plain.error, plain.error_code), (None, None, None));
        let poll = Some(seconds(10));
        assert_eq!(settled(&accepted(State::Accepted), None, poll).due_at, Some(NOW + seconds(11)));
        assert_eq!(settled(&accepted(State::Sent), None, poll).state, State::Sent);
        let over = settled(&accepted(State::Failed), None, poll);
        assert_eq!((over.state, over.due_at), (State::Failed, None));
    }

    #[test]
    fn what_was_not_accepted_fails_waits_or_is_unknown() {
        for state in [State::Failed, State::Undelivered, State::Canceled] {
            let over = settled(&ended(state), None, Some(seconds(10)));
            assert_eq!((over.state, over.provider_id.as_deref(), over.due_at), (state, Some("SM1"), None));
            assert_eq!((over.error_code, over.error.as_deref()), (Some(21_211), Some("no such number")));
        }
        let failed = settled(&refused(), None, None);
        assert_eq!((failed.state, failed.error_code, failed.due_at), (State::Failed, Some(21_211), None));
        assert_eq!(failed.error.as_deref(), Some("no such number"));

        let unknown = settled(&Delivery::Maybe { why: "reset".into() }, None, None);
        assert_eq!((unknown.state, unknown.due_at), (State::Unknown, Some(NOW + seconds(31))));
        assert_eq!((unknown.error.as_deref(), unknown.error_code), (Some("reset"), None));

        let again = Some(NOW + seconds(3));
        for delivery in [busy(None), Delivery::Unreachable { why: "busy".into() }] {
            let waiting = settled(&delivery, again, None);
            assert_eq!((waiting.state, waiting.due_at), (State::Queued, again));
            assert_eq!(waiting.error.as_deref(), Some("busy"));
            assert_eq!(waiting.error_code.is_some(), matches!(delivery, Delivery::Busy { .. }));
            let failed = settled(&delivery, None, None);
            assert_eq!((failed.state, failed.due_at), (State::Failed, None));
        }
    }

    fn found(state: State) -> Finding {
        Finding::Found { provider_id: "SM1".into(), state, error_code: Some(30_003), price: None }
    }

    #[test]
    fn a_finding_counts_only_for_a_message_that_is_open_and_that_nobody_is_at_work_on() {
        let findings = [found(State::Sent), Finding::Absent, Finding::NotNow, Finding::Never];
        for finding in &findings {
            assert!(conclude(&message(State::Sending), finding, None, NOW + seconds(60) - MS).is_none(), "{finding:?}");
            assert!(conclude(&message(State::Sending), finding, None, NOW + seconds(60)).is_some(), "{finding:?}");
            let without_lease = Message { due_at: None, ..message(State::Sending) };
            assert!(conclude(&without_lease, finding, None, NOW).is_some(), "{finding:?}");
            assert!(conclude(&message(State::Unknown), finding, None, NOW).is_some(), "{finding:?}");
            assert!(conclude(&message(State::Queued), finding, None, NOW).is_none(), "it was not sent: {finding:?}");
        }
        for state in State::ALL.iter().copied().filter(|state| !state.is_open() && !state.is_waiting()) {
            for finding in findings.iter().chain([&Finding::Unwanted]) {
                assert!(
                    conclude(&message(state), finding, None, NOW + seconds(600)).is_none(),
                    "{state:?} {finding:?}"
                );
            }
        }
        let (unwanted, fate) = conclude(&message(State::Queued), &Finding::Unwanted, None, NOW).unwrap();
        assert_eq!((unwanted.state, unwanted.due_at, fate), (State::Failed, None, Fate::Failed));
        assert!(unwanted.error.unwrap().contains("while it was wanted"));
    }

    #[test]
    fn what_was_found_has_the_state_that_the_provider_says() {
        let (sent, fate) = conclude(&message(State::Unknown), &found(State::Sent), None, NOW + MS).unwrap();
        assert_eq!((sent.state, sent.provider_id.as_deref(), fate), (State::Sent, Some("SM1"), Fate::Found));
        assert_eq!((sent.error_code, sent.error, sent.due_at), (Some(30_003), None, None));
        assert_eq!(sent.updated_at, NOW + MS);
    }

    #[test]
    fn absent_on_two_looks_ten_minutes_apart_is_never_accepted() {
        let (once, fate) = conclude(&message(State::Sending), &Finding::Absent, None, NOW + seconds(60)).unwrap();
        assert_eq!((once.state, once.missed_at, fate), (State::Unknown, Some(NOW + seconds(60)), Fate::Open));
        assert_eq!(once.due_at, Some(NOW + seconds(660)));
        let (early, fate) = conclude(&once, &Finding::Absent, None, NOW + seconds(660) - MS).unwrap();
        assert_eq!((early.missed_at, early.due_at, fate), (once.missed_at, once.due_at, Fate::Open));
        let (twice, fate) = conclude(&once, &Finding::Absent, None, NOW + seconds(660)).unwrap();
        assert_eq!((twice.state, twice.due_at, fate), (State::Failed, None, Fate::Failed));
        assert_eq!(twice.error.as_deref(), Some("the provider never accepted it"));
    }

    #[test]
    fn where_nobody_can_be_asked_a_message_stays_unknown() {
        let (later, fate) = conclude(&message(State::Sending), &Finding::NotNow, None, NOW + seconds(60)).unwrap();
        assert_eq!((later.state, later.due_at, fate), (State::Unknown, Some(NOW + seconds(90)), Fate::Open));
        assert_eq!(later.missed_at, None, "that was no look");
        let (never, fate) = conclude(&message(State::Sending), &Finding::Never, None, NOW + seconds(60)).unwrap();
        assert_eq!((never.state, never.due_at, fate), (State::Unknown, None, Fate::Open));
    }

    #[test]
    fn each_fate_has_its_word() {
        let words = [Fate::Sent, Fate::Found, Fate::Failed, Fate::Open, Fate::NotNow, Fate::Gone].map(Fate::as_str);
        assert_eq!(words, ["sent", "found", "failed", "open", "not_now", "gone"]);
    }

    fn news(state: State, id: &str) -> News {
        News { provider_id: id.into(), state, error_code: Some(30_003), price: None }
    }

    #[test]
    fn news_move_a_message_forward_or_bring_its_id() {
        let known = Message { provider_id: Some("SM1".into()), ..message(State::Accepted) };
        let sent = report(&known, &news(State::Sent, "SM1"), None, NOW + seconds(1)).unwrap();
        assert_eq!((sent.state, sent.error_code, sent.error.as_ref()), (State::Sent, Some(30_003), None));
        assert_eq!((sent.due_at, sent.updated_at), (known.due_at, NOW + seconds(1)), "it may still be asked for");
        let over = report(&known, &news(State::Undelivered, "SM1"), None, NOW - seconds(1)).unwrap();
        assert_eq!((over.state, over.due_at), (State::Undelivered, None));
        assert_eq!(over.updated_at, NOW, "its time never runs back");
        assert!(report(&known, &news(State::Accepted, "SM1"), None, NOW).is_none());

        let nameless = Message { due_at: None, ..message(State::Accepted) };
        let named = report(&nameless, &news(State::Accepted, &"S".repeat(64)), None, NOW).unwrap();
        assert_eq!((named.state, named.provider_id), (State::Accepted, Some("S".repeat(64))));
        assert_eq!((named.error_code, named.error.as_deref()), (Some(1), Some("before")), "the rest stays");
        assert!(report(&nameless, &news(State::Accepted, &"S".repeat(65)), None, NOW).is_none());
        let moved = report(&nameless, &news(State::Sent, &"S".repeat(65)), None, NOW).unwrap();
        assert_eq!((moved.state, moved.provider_id), (State::Sent, None));
    }

    #[test]
    fn an_accepted_message_is_asked_for_at_doubling_ages_for_an_hour() {
        let accepted = message(State::Accepted);
        let next = |age: Duration| next_poll(&accepted, NOW + age).map(|at| at.since(NOW + age));
        assert_eq!(next(seconds(1)), Some(seconds(5)));
        assert_eq!(next(seconds(5)), Some(seconds(5)));
        assert_eq!(next(seconds(90)), Some(seconds(90)));
        assert_eq!(next(seconds(3600) - MS), Some(seconds(3600) - MS));
        assert_eq!(next(seconds(3600)), None);
        assert_eq!(next_poll(&message(State::Delivered), NOW + seconds(1)), None);
        let unattempted = Message { attempt_at: None, reserved_at: NOW - seconds(10), ..accepted };
        assert_eq!(next_poll(&unattempted, NOW), Some(NOW + seconds(10)));
    }

    #[test]
    fn an_otp_fails_with_its_message_unless_another_may_be_out_or_waits() {
        let failed = message(State::Failed);
        let end = |otp: &Otp, messages: &[Message], now| otp_after_failure(otp, messages, 1, now).map(|otp| otp.state);
        assert_eq!(end(&otp(), std::slice::from_ref(&failed), NOW), Some(otp::State::Failed));
        let itself = Message { state: State::Sending, ..failed.clone() };
        assert_eq!(end(&otp(), &[itself], NOW), Some(otp::State::Failed), "as it was before it failed");
        assert_eq!(end(&otp(), &[], otp().expires_at), Some(otp::State::Expired));
        for &state in State::ALL {
            let other = Message { id: 2, state, ..failed.clone() };
            let alone = matches!(state, State::Failed | State::Canceled);
            assert_eq!(end(&otp(), &[failed.clone(), other], NOW).is_some(), alone, "{state:?}");
        }
        let verified = Otp { state: otp::State::Verified, ..otp() };
        assert_eq!(end(&verified, &[failed], NOW), None);
    }

    #[test]
    fn what_is_given_back_is_the_message_and_its_step_of_the_cooldown() {
        let mut usage = Usage { unproven: 3, ..Usage::default() };
        let window = [crate::usage::Window::new(9, 3600)];
        for at in [NOW - seconds(1), NOW] {
            usage.count_send(at, "", &window);
            usage.purpose_mut("login").asked.push(at.millis());
        }
        let guessed = Otp { wrong_guesses: 1, ..otp() };
        give_back_to_phone(&mut usage, &message(State::Failed), Some(&guessed));
        assert_eq!((usage.sends.len(), usage.unproven), (2, 2), "it gave a code to guess at");
        give_back_to_phone(&mut usage, &message(State::Failed), Some(&otp()));
        assert_eq!((usage.sends.len(), usage.unproven), (1, 1));
        assert_eq!(usage.purpose("login").unwrap().asked, [(NOW - seconds(1)).millis()]);
        give_back(&mut usage, &message(State::Failed));
        assert_eq!((usage.sends.len(), usage.purposes.len()), (1, 1), "a second time there is nothing to give back");
        let plain = Message { reserved_at: NOW - seconds(1), ..message(State::Failed) };
        give_back_to_phone(&mut usage, &plain, None);
        assert_eq!((usage.sends.len(), usage.unproven), (0, 1), "without a code there is nothing unproven");
    }
}
