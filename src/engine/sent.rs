//! What `send` answers, and what stands behind the answer: the one classification of outcomes.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::abuse::{self, Full, Rule};
use crate::clock::Timestamp;
use crate::delivery::{Blame, Reason};
use crate::error::{self, Error, Result};
use crate::limits::Hit;
use crate::message::{self, Message};
use crate::otp::Otp;
use crate::provider::TEST;
use crate::store::Reply;

/// The answer to a send: of a code, or of a message without one.
#[derive(Debug)]
pub enum SendAnswer<S = Sent> {
    /// It was handed over; what became of it is in [`SentMessage::state`].
    Sent(Box<S>),
    /// A limit, a list or the guard says no; nothing was sent and nothing was charged.
    Refused(Box<Refusal>),
}

/// What became of a code that passed the limits: all that there is to say of its message, and its otp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The challenge.
    pub otp_id: i64,
    /// Its message, whose fields and methods are read through this value.
    pub message: SentMessage,
}

impl Deref for Sent {
    type Target = SentMessage;

    fn deref(&self) -> &SentMessage {
        &self.message
    }
}

impl AsRef<SentMessage> for Sent {
    fn as_ref(&self) -> &SentMessage {
        &self.message
    }
}

impl AsRef<SentMessage> for SentMessage {
    fn as_ref(&self) -> &SentMessage {
        self
    }
}

/// What became of a message that passed the limits.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SentMessage {
    /// The challenge; `None`: the message carries no code.
    pub otp_id: Option<i64>,
    /// The message, without its leading `m`.
    pub message_id: i64,
    /// Where it went. Shown masked.
    pub phone: String,
    /// How far it got: `accepted`, `failed`, `unknown`, `queued`.
    pub state: message::State,
    /// The provider's name.
    pub provider: String,
    /// The provider's id, once accepted.
    pub provider_id: Option<String>,
    /// The provider's error code.
    pub error_code: Option<u32>,
    /// What went wrong.
    pub error: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
    /// Who has to act.
    pub blame: Option<Blame>,
    /// The provider refused it because the recipient opted out.
    #[serde(default)]
    pub opted_out: bool,
    /// The provider was busy: in how many seconds it is worth asking again.
    pub retry_after_seconds: Option<u64>,
    /// The code is valid until then; without one, the message is sent until then.
    pub expires_at: Timestamp,
    /// How many SMS segments it takes.
    pub segments: u32,
    /// The code of an earlier message went out again.
    pub resent: bool,
    /// A declared test number: nothing went out.
    pub test: bool,
}

/// A "no" of the limits, the lists or the guard.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The stable code: one for each reason.
    pub code: error::Code,
    /// In words.
    pub message: String,
    /// What to do about it, in words that fit a terminal and an API alike.
    pub hint: String,
    /// Which limits are full, the one that lasts longest first.
    pub hits: Vec<Hit>,
    /// When it is worth asking again, in whole seconds.
    pub retry_after_seconds: Option<u64>,
    /// The rule of the guard that refuses, and how full it is.
    pub rule: Option<Full>,
}

impl Refusal {
    /// A refusal for a reason that is no limit.
    pub(super) fn new(code: error::Code, message: String, hint: impl Into<String>) -> Refusal {
        Refusal { code, message, hint: hint.into(), hits: Vec::new(), retry_after_seconds: None, rule: None }
    }

    /// The refusal that full limits make; `None` where none is full.
    pub(super) fn of_limits(mut hits: Vec<Hit>) -> Option<Refusal> {
        // Whoever waits for the longest waits for all of them.
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.retry_after_seconds.unwrap_or(u64::MAX)));
        let first = hits.first()?;
        let guesses = first.limit.is_of_guesses();
        Some(Refusal {
            code: if guesses { error::Code::TOO_MANY_GUESSES } else { error::Code::RATE_LIMITED },
            message: first.message(),
            hint: first.hint(),
            retry_after_seconds: first.retry_after_seconds,
            hits,
            rule: None,
        })
    }

    /// The refusal that a rule of the guard makes.
    pub(super) fn of_guard(full: Full, country: &str, now: Timestamp) -> Refusal {
        use Rule::{
            Alarm, Block, Closed, CountryOpen, CountryTotal, DayCeiling, HourCeiling, MessageCeiling, MonthCeiling,
            Pool,
        };
        let place = if country.is_empty() { "the networks of no country" } else { country };
        let code = match full.rule {
            Closed => error::Code::COUNTRY_NOT_ALLOWED,
            CountryOpen | CountryTotal | Pool => error::Code::COUNTRY_CAP,
            Block => error::Code::BLOCK_CAP,
            Alarm => error::Code::ABUSE_SUSPECTED,
            MessageCeiling => error::Code::MESSAGE_CEILING,
            HourCeiling | DayCeiling | MonthCeiling => error::Code::MONEY_CEILING,
        };
        let (what, amounts) = (full.rule.what(), abuse::amounts(&full));
        let message = match full.rule {
            Closed => format!("no messages go to {place}: {what}"),
            Alarm => format!("no message for {place}: {what} stands, and {amounts} are open"),
            _ => format!("{what} is full for {place}: {amounts}"),
        };
        let hint = match full.rule {
            Closed => format!("[countries.{place}] in smsotp.toml closes it."),
            MessageCeiling | HourCeiling | DayCeiling | MonthCeiling => {
                "If it is real traffic, raise the ceiling: [ceilings] in smsotp.toml.".to_owned()
            }
            _ if country.is_empty() => {
                "For this one message: --override caps --reason TEXT; `smsotp alarms list` shows what goes on."
                    .to_owned()
            }
            _ => format!(
                "`smsotp show {place}` says more. If it is real traffic: smsotp block allow {place} --for 2h --reason TEXT"
            ),
        };
        let retry_after_seconds = full.room_at.map(|at| whole_seconds(at.since(now)));
        Refusal { retry_after_seconds, rule: Some(full), ..Refusal::new(code, message, hint) }
    }

    /// The refusal of somebody who may have a code after a challenge.
    pub(super) fn of_challenge(full: Full) -> Refusal {
        let refusal = Refusal::new(
            error::Code::CHALLENGE_REQUIRED,
            "a challenge has to be passed before a code is sent".to_owned(),
            "Have the person solve one, such as a captcha, and ask again with challenge = passed.",
        );
        Refusal { rule: Some(full), ..refusal }
    }

    /// The refusal as whoever asked for the code may see it: of rules against abuse it says nothing but "no".
    pub fn public_error(&self) -> Error {
        if self.code == error::Code::CHALLENGE_REQUIRED || (self.rule.is_none() && self.code != error::Code::BLOCKED) {
            return self.error();
        }
        Error::new(error::Code::REFUSED, "no code is sent for this request")
            .hint("If this goes on, ask whoever runs this service.")
    }

    /// What is full, as an operator's JSON shows it.
    pub fn facts(&self) -> serde_json::Value {
        let mut facts = serde_json::json!({ "limits": self.hits });
        if let Some(Full { rule, used, allowed, room_at }) = self.rule {
            let in_money = rule.in_money();
            facts["rule"] = serde_json::json!({ "name": rule, "used": used, "allowed": allowed, "in_micro_usd": in_money, "room_at": room_at });
        }
        facts
    }

    /// The refusal as an error.
    pub fn error(&self) -> Error {
        let error = Error::new(self.code, self.message.clone()).hint(self.hint.clone());
        match self.retry_after_seconds {
            Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
            None => error,
        }
    }
}

/// A message that was reserved and claimed, on its way to the provider.
pub(super) struct Ticket {
    /// Whose code it carries; `None`: none.
    pub otp: Option<Otp>,
    pub message: Message,
    pub resent: bool,
    /// The idempotency key that waits for the answer.
    pub reply: Option<Reply>,
}

/// Without the phone: what is shown by `{:?}` ends up in logs.
impl fmt::Debug for SentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent")
            .field("otp_id", &self.otp_id)
            .field("message_id", &self.message_id)
            .field("state", &self.state)
            .field("provider_id", &self.provider_id)
            .field("error_code", &self.error_code)
            .field("resent", &self.resent)
            .field("test", &self.test)
            .finish_non_exhaustive()
    }
}

impl SentMessage {
    pub(super) fn of(message: &Message, resent: bool, now: Timestamp) -> SentMessage {
        let waits = message.due_at.filter(|_| message.state == message::State::Queued);
        SentMessage {
            otp_id: message.otp_id,
            message_id: message.id,
            phone: message.phone.as_str().to_owned(),
            state: message.state,
            provider: message.provider.clone(),
            provider_id: message.provider_id.clone(),
            error_code: message.error_code,
            error: message.error.clone(),
            fix: None,
            blame: None,
            opted_out: false,
            retry_after_seconds: waits.map(|due| whole_seconds(due.since(now))),
            expires_at: message.expires_at,
            segments: message.segments,
            resent,
            test: message.provider == TEST,
        }
    }

    /// The same with what a provider says of why it will not arrive.
    #[must_use]
    pub(super) fn because(self, reason: Option<&Reason>) -> SentMessage {
        let Some(reason) = reason else { return self };
        SentMessage { fix: reason.fix.clone(), blame: Some(reason.blame), opted_out: reason.opted_out, ..self }
    }

    /// The answer as it is kept for an idempotency key. It may outlive its otp, so it holds no phone: whoever asks with the
    /// key again names it again.
    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(&SentMessage { phone: String::new(), ..self.clone() })
            .map_err(|error| Error::new(error::Code::BUG, "an answer cannot be written").because(error))
    }

    /// What kept the message from going out, or from being known to have gone; `None` where it is on its way. The one
    /// classification of outcomes: exit codes and HTTP statuses follow from it.
    pub fn failure(&self) -> Option<Error> {
        use error::Code;
        use message::State;
        let why = self.error.as_deref().unwrap_or("no reason was given");
        let number = self.error_code.map(|code| format!(" ({code})")).unwrap_or_default();
        let (code, message) = match self.state {
            State::Scheduled | State::Accepted | State::Sent | State::Delivered | State::Read => return None,
            State::Unknown | State::Sending => {
                (Code::MAYBE_SENT, format!("it is not known whether the message was sent: {why}"))
            }
            State::Queued => (Code::PROVIDER_BUSY, format!("the message waits for its next attempt{number}: {why}")),
            _ if self.opted_out => (Code::OPTED_OUT, format!("the recipient has opted out of messages{number}: {why}")),
            ended if self.provider_id.is_some() => (
                Code::PROVIDER_REFUSED,
                format!("the provider took the message, and it is {}{number}: {why}", ended.as_str()),
            ),
            _ if self.retry_after_seconds.is_some() => (
                Code::PROVIDER_BUSY,
                format!("the message was not sent{number}: {why}; its time would be over before the next attempt"),
            ),
            _ => match self.blame {
                Some(Blame::Setup) => {
                    (Code::PROVIDER_CONFIG, format!("the provider refused our credentials or set-up{number}: {why}"))
                }
                Some(Blame::Recipient | Blame::Fraud) => {
                    (Code::PROVIDER_FORBIDS, format!("the provider sends nothing to this recipient{number}: {why}"))
                }
                None if self.error_code.is_none() => {
                    (Code::PROVIDER_UNREACHABLE, format!("the message could not be sent: {why}"))
                }
                _ => (Code::PROVIDER_REFUSED, format!("the provider refused the message{number}: {why}")),
            },
        };
        let explain = self.error_code.map(|code| format!(" More: smsotp explain {code}")).unwrap_or_default();
        let hint = match (code, &self.fix, self.error_code) {
            (Code::MAYBE_SENT, ..) => {
                "Do not repeat it. `smsotp dispatch` asks the provider what became of it.".to_owned()
            }
            (Code::PROVIDER_BUSY, ..) if self.state == State::Queued && self.otp_id.is_none() => {
                format!("It is kept: `smsotp dispatch` or `serve` sends it. Do not send it again.{explain}")
            }
            (Code::PROVIDER_BUSY, ..) if self.state == State::Queued => {
                format!("It is kept: `smsotp dispatch` or `serve` sends it, and so does asking again then.{explain}")
            }
            (Code::PROVIDER_BUSY, ..) => format!("Ask again then.{explain}"),
            (Code::OPTED_OUT, ..) => OPTED_OUT_HINT.to_owned(),
            (_, Some(fix), Some(_)) => format!("{fix}.{explain}"),
            (_, Some(fix), None) => fix.clone(),
            (_, None, Some(code)) => format!("`smsotp explain {code}` says what it means."),
            (_, None, None) => {
                "Nothing went out. `smsotp test-twilio` checks the connection to Twilio; then send again.".to_owned()
            }
        };
        let error = Error::new(code, message).hint(hint);
        Some(match self.retry_after_seconds.filter(|_| code == Code::PROVIDER_BUSY) {
            Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
            None => error,
        })
    }
}

/// What is done about an opt-out, whoever found it out.
pub(super) const OPTED_OUT_HINT: &str =
    "They must text START to your number; then: smsotp limits reset PHONE --opt-out --reason TEXT";

/// Rounded up: who waits so long has waited long enough.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}
