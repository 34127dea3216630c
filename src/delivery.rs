//! The life of a message at the provider, decided in one place: claim and lease, retry, settle, first look, give back, poll.
//!
//! Everything here is a pure function of a message and what was learned of it. Sending, dispatching, polling and callbacks
//! all move messages by these rules, and by no others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::message::{Message, State};
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

/// The first pause before another attempt; it doubles, up to [`PAUSE_MAX`], and up to a half of it is left to chance.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);

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
    /// The provider will not send it: it surely was not sent.
    Refused(Refused),
    /// The provider asks to come back: surely not sent.
    Busy {
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

/// A provider's refusal, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The provider's error code.
    pub code: Option<u32>,
    /// The HTTP status of the refusal.
    pub http_status: u16,
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
            Delivery::Refused(_) => "refused",
            Delivery::Busy { .. } => "busy",
            Delivery::Unreachable { .. } => "unreachable",
            Delivery::Maybe { .. } => "maybe",
        }
    }

    /// True where the message surely did not go out: only then is anything given back, or tried again.
    pub fn is_surely_unsent(&self) -> bool {
        !matches!(self, Delivery::Accepted { .. } | Delivery::Maybe { .. })
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
/// its recipient may have opted out.
pub fn is_wanted(otp: &Otp, opted_out: bool, now: Timestamp) -> bool {
    otp.is_live(now) && otp.left(now) >= LEAST_LEFT && !opted_out
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

/// When another attempt is worth making: not after the caller stops waiting, and not for a code that would arrive dead.
pub fn retry_at(now: Timestamp, pause: Duration, until: Timestamp, expires_at: Timestamp) -> Option<Timestamp> {
    let at = now + pause;
    (at < until && expires_at.since(at) >= LEAST_LEFT).then_some(at)
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
        Delivery::Refused(refused) => {
            message.state = State::Failed;
            message.error_code = refused.code;
            message.error = Some(refused.meaning.clone());
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
    },
    /// It is not at the provider.
    Absent,
    /// The provider could not be asked now.
    NotNow,
    /// The provider cannot be asked, now or ever.
    Never,
    /// It waits for an attempt that nobody wants any more: its code is over, or its recipient opted out.
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
    /// Somebody else settled it, or it is not there.
    Gone,
}

impl Fate {
    /// The outcome in the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Records what was found out about a message; `None` where it is not open any more, or somebody is at work on it.
pub fn conclude(message: &Message, finding: &Finding, now: Timestamp) -> Option<(Message, Fate)> {
    let open = match message.state {
        State::Queued => matches!(finding, Finding::Unwanted),
        State::Sending => message.due_at.is_none_or(|due| due <= now),
        State::Unknown => true,
        _ => false,
    };
    if !open {
        return None;
    }
    let mut next = Message { updated_at: now, due_at: None, ..message.clone() };
    let fate = match finding {
        Finding::Found { provider_id, state, error_code } => {
            next.state = *state;
            next.provider_id = Some(provider_id.clone());
            (next.error_code, next.error) = (*error_code, None);
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
            next.error = Some("it was not sent while its code was alive and its recipient wanted it".to_owned());
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
}

/// The message as the news leave it; `None` where they are old, or say nothing that is known.
pub fn report(message: &Message, news: &News, now: Timestamp) -> Option<Message> {
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
        next.error_code = news.error_code;
        next.error = None;
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

/// The otp of a message that failed: it ends too, unless another of its messages was or may have been accepted, or waits.
pub fn otp_after_failure(otp: &Otp, messages: &[Message], failed: i64, now: Timestamp) -> Option<Otp> {
    let another = |other: &Message| other.id != failed && (other.state.may_be_out() || other.state == State::Queued);
    if otp.state != otp::State::Active || messages.iter().any(another) {
        return None;
    }
    let mut otp = otp.clone();
    let end = if otp.is_live(now) { otp::State::Failed } else { otp::State::Expired };
    otp.end(end, now);
    Some(otp)
}

/// Gives a message back that surely was not sent: to the phone, with its step of the cooldown, or to the user. Client
/// addresses, networks and everything keep counting it, so that refusals cannot be farmed.
pub fn give_back(usage: &mut Usage, message: &Message, purpose: Option<&str>) {
    usage.give_back_send(message.reserved_at);
    if let Some(purpose) = purpose {
        usage::take_out(&mut usage.purpose_mut(purpose).asked, message.reserved_at);
    }
}
