//! send = reserve → deliver → settle. The provider is called with no transaction open.

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::advance::advance;
use super::context::{Caller, Context, Step};
use super::deliver::deliver;
use super::idempotency::{mismatch, reply_of};
use super::reserve::{Reserved, reserve};
use super::text;
use crate::clock::Timestamp;
use crate::delivery::Blame;
use crate::error::{self, Error, Result};
use crate::limits::{Hit, Limit};
use crate::message::{self, Message};
use crate::otp::{Otp, User};
use crate::phone::{self, Number, Phone};
use crate::purpose::Purpose;
use crate::store::Reply;
use crate::template::Endings;

/// What to send, and how.
pub struct SendOtp {
    /// Where to.
    pub to: Destination,
    /// Why.
    pub purpose: Purpose,
    /// For whom; empty where the host system has no users.
    pub user: User,
    /// A new code although one is alive; the old one is superseded.
    pub new_code: bool,
    /// The limits that staff sets aside this once. Audited.
    pub override_limits: Option<Override>,
    /// The same key gives the same answer.
    pub idempotency_key: Option<String>,
    /// The last lines for Android or WebOTP.
    pub endings: Endings,
    /// How many segments the text may take, if not the policy's.
    pub segments_max: Option<u32>,
    /// For how long to go on trying.
    pub timeout: Duration,
}

/// Limits that staff sets aside for one message.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which.
    pub limits: Vec<Limit>,
    /// Why, for the audit log.
    pub reason: String,
}

/// A phone that was typed in.
pub enum Destination {
    /// A number that its country's plan knows.
    Known(Number),
    /// E.164 by shape alone: fine for a declared test number, else the error says what is wrong with it.
    Shape(Phone, Error),
}

impl Destination {
    /// Reads a number as it was typed: international, or national with `region` (ISO 3166 two letters).
    ///
    /// # Errors
    /// `PHONE_INVALID` where not even its shape is that of a phone number.
    pub fn parse(typed: &str, region: Option<&str>) -> Result<Destination> {
        match phone::parse(typed, region) {
            Ok(number) => Ok(Destination::Known(number)),
            Err(error) => match phone::shape(typed) {
                Ok(phone) => Ok(Destination::Shape(phone, error)),
                Err(_) => Err(error),
            },
        }
    }

    /// The phone.
    pub fn phone(&self) -> &Phone {
        match self {
            Destination::Known(number) => &number.phone,
            Destination::Shape(phone, _) => phone,
        }
    }

    /// The number, if its country's plan knows it.
    pub fn number(&self) -> Option<&Number> {
        match self {
            Destination::Known(number) => Some(number),
            Destination::Shape(..) => None,
        }
    }
}

/// The answer to a send.
#[derive(Debug)]
pub enum SendAnswer {
    /// It was handed over; what became of it is in [`Sent::state`].
    Sent(Box<Sent>),
    /// A limit or a list says no; nothing was sent and nothing was charged.
    Refused(Box<Refusal>),
}

/// What became of a message that passed the limits.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The challenge.
    pub otp_id: i64,
    /// The message, without its leading `m`.
    pub message_id: i64,
    /// Where it went. Shown masked.
    pub phone: String,
    /// Why.
    pub purpose: String,
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
    /// The HTTP status of a refusal: 401, 403 and 3xx mean that credentials or set-up are wrong.
    pub http_status: Option<u16>,
    /// Who has to act.
    pub blame: Option<Blame>,
    /// The code is valid until then.
    pub expires_at: Timestamp,
    /// How many SMS segments it takes.
    pub segments: u32,
    /// The code of an earlier message went out again.
    pub resent: bool,
    /// A declared test number: nothing went out.
    pub test: bool,
}

/// A "no" of the limits or lists.
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
}

impl Refusal {
    /// A refusal for a reason that is no limit.
    pub(super) fn new(code: error::Code, message: String, hint: impl Into<String>) -> Refusal {
        Refusal { code, message, hint: hint.into(), hits: Vec::new(), retry_after_seconds: None }
    }

    /// The refusal that full limits make; `None` where none is full.
    pub(super) fn of_limits(mut hits: Vec<Hit>) -> Option<Refusal> {
        // Whoever waits for the longest waits for all of them.
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.retry_after_seconds.unwrap_or(u64::MAX)));
        let first = hits.first()?;
        let guesses = first.limit == Limit::Guesses;
        Some(Refusal {
            code: if guesses { error::Code::TOO_MANY_GUESSES } else { error::Code::RATE_LIMITED },
            message: first.message(),
            hint: first.hint(),
            retry_after_seconds: first.retry_after_seconds,
            hits,
        })
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
    pub otp: Otp,
    pub message: Message,
    pub resent: bool,
    /// The idempotency key that waits for the answer.
    pub reply: Option<Reply>,
}

/// Sends a code: a new one, or the living one again.
pub(super) async fn send(ctx: &Context, caller: &Caller, request: SendOtp) -> Result<SendAnswer> {
    let segments = check(ctx, &request).await?;
    let reply = reply_for(ctx, &request)?;
    if let Some(reply) = &reply
        && let Some(answer) = replay(ctx, caller, reply, request.to.phone()).await?
    {
        return Ok(answer);
    }
    let mut orphans_settled = false;
    loop {
        match reserve(ctx, caller, &request, segments, reply.clone(), orphans_settled).await? {
            Reserved::Go(ticket) => {
                ctx.reached(Step::Reserved);
                return deliver(ctx, caller, *ticket, request.timeout).await.map(SendAnswer::Sent);
            }
            Reserved::Done(sent) => return Ok(SendAnswer::Sent(sent)),
            Reserved::Refused(refusal) => return Ok(SendAnswer::Refused(refusal)),
            Reserved::Orphans(ids) => {
                // Each send first settles what an earlier one left open; if that cannot be done now, it stays open.
                for id in ids {
                    advance(ctx, caller, id).await?;
                }
                orphans_settled = true;
            }
        }
    }
}

/// What can be said before the database is asked: the purpose, the number, the length of the text in segments.
async fn check(ctx: &Context, request: &SendOtp) -> Result<u32> {
    ctx.provider()?;
    let segments = measure(ctx, request)?;
    if let Destination::Shape(phone, error) = &request.to {
        let declared =
            ctx.test_numbers && ctx.reads().test_numbers().await?.iter().any(|number| number.phone == *phone);
        if !declared {
            return Err(Error::new(error.code(), error.message()).hint(error.hint_text().unwrap_or_default()));
        }
    }
    Ok(segments)
}

/// The longest that the text can get, in segments; an error where that is too long.
fn measure(ctx: &Context, request: &SendOtp) -> Result<u32> {
    let settings = ctx.policy.purpose(&request.purpose).ok_or_else(|| ctx.unknown_purpose(&request.purpose))?;
    let text = text::longest(&ctx.policy, &request.purpose, settings, &request.endings)?;
    let measured = crate::segments::measure(text.expose_secret());
    let allowed = request.segments_max.unwrap_or(ctx.policy.segments_max);
    if measured.segments > allowed {
        return Err(text::too_long(&measured, allowed));
    }
    Ok(measured.segments)
}

fn reply_for(ctx: &Context, request: &SendOtp) -> Result<Option<Reply>> {
    let Some(key) = &request.idempotency_key else { return Ok(None) };
    let (phone, user) = (request.to.phone().as_str(), request.user.as_str());
    let asked = format!("send\0{phone}\0{}\0{user}\0{}", request.purpose, request.new_code);
    reply_of(&ctx.store.operations.keys().index, key, &asked).map(Some)
}

/// The answer that the key got before, if it was used before.
async fn replay(ctx: &Context, caller: &Caller, asked: &Reply, phone: &Phone) -> Result<Option<SendAnswer>> {
    let Some(known) = ctx.reads().reply(asked.tag).await? else { return Ok(None) };
    if known.fingerprint != asked.fingerprint {
        return Err(mismatch());
    }
    if let Some(answer) = &known.answer {
        let sent: Sent = serde_json::from_str(answer)
            .map_err(|error| Error::new(error::Code::STORE_CORRUPT, "a stored answer cannot be read").because(error))?;
        let sent = Sent { phone: phone.as_str().to_owned(), ..sent };
        return Ok(Some(SendAnswer::Sent(Box::new(sent))));
    }
    let Some(id) = known.message_id else { return Ok(None) };
    let now = ctx.reads().now().await?;
    let open = ctx.reads().message(id).await?;
    if open.as_ref().is_some_and(|message| message.state == message::State::Sending && message.due_at > Some(now)) {
        return Err(Error::new(error::Code::IN_PROGRESS, "a send with this idempotency key is under way")
            .retry_after(Duration::from_secs(5))
            .hint("Ask again with the same key in a few seconds."));
    }
    advance(ctx, caller, id).await?;
    let Some(message) = ctx.reads().message(id).await? else { return Ok(None) };
    let Some(otp_id) = message.otp_id else { return Ok(None) };
    let otp = ctx.reads().otp(otp_id).await?;
    Ok(otp.map(|otp| SendAnswer::Sent(Box::new(Sent::of(&otp, &message, false)))))
}

/// Without the phone: what is shown by `{:?}` ends up in logs.
impl fmt::Debug for Sent {
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

impl Sent {
    pub(super) fn of(otp: &Otp, message: &Message, resent: bool) -> Sent {
        Sent {
            otp_id: otp.id,
            message_id: message.id,
            phone: otp.phone.as_str().to_owned(),
            purpose: otp.purpose.as_str().to_owned(),
            state: message.state,
            provider: message.provider.clone(),
            provider_id: message.provider_id.clone(),
            error_code: message.error_code,
            error: message.error.clone(),
            fix: None,
            http_status: None,
            blame: None,
            expires_at: otp.expires_at,
            segments: message.segments,
            resent,
            test: otp.test,
        }
    }

    /// The answer as it is kept for an idempotency key. It may outlive its otp, so it holds no phone: whoever asks with the
    /// key again names it again.
    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(&Sent { phone: String::new(), ..self.clone() })
            .map_err(|error| Error::new(error::Code::BUG, "an answer cannot be written").because(error))
    }

    /// What kept the message from going out, or from being known to have gone; `None` where it is on its way. The one
    /// classification of outcomes: exit codes and HTTP statuses follow from it.
    pub fn failure(&self) -> Option<Error> {
        use error::Code;
        use message::State;
        let why = self.error.clone().unwrap_or_else(|| "no reason was given".to_owned());
        let number = self.error_code.map(|code| format!(" ({code})")).unwrap_or_default();
        let setup = matches!(self.http_status, Some(300..=399 | 401 | 403));
        let (code, message) = match self.state {
            State::Unknown | State::Sending => {
                (Code::MAYBE_SENT, format!("it is not known whether the message was sent: {why}"))
            }
            State::Queued => (Code::PROVIDER_BUSY, format!("the message waits for its next attempt: {why}")),
            State::Failed if setup => {
                (Code::PROVIDER_CONFIG, format!("the provider refused our credentials or set-up{number}: {why}"))
            }
            State::Failed if self.http_status.is_none() && self.provider_id.is_none() => {
                (Code::PROVIDER_UNREACHABLE, format!("the message could not be sent{number}: {why}"))
            }
            State::Failed | State::Undelivered | State::Canceled => {
                (Code::PROVIDER_REFUSED, format!("the provider refused the message{number}: {why}"))
            }
            _ => return None,
        };
        let hint = match (code, &self.fix, self.error_code) {
            (Code::MAYBE_SENT, ..) => {
                "Do not repeat it. `smsotp dispatch` asks the provider; the code stays valid if it arrives.".to_owned()
            }
            (Code::PROVIDER_BUSY, ..) => "`smsotp dispatch` sends it; so does sending again.".to_owned(),
            (_, Some(fix), Some(code)) => format!("{fix}. More: smsotp explain {code}"),
            (_, Some(fix), None) => fix.clone(),
            (_, None, Some(code)) => format!("`smsotp explain {code}` says what it means."),
            (_, None, None) => {
                "Nothing went out. `smsotp test-twilio` checks the way to Twilio; then send again.".to_owned()
            }
        };
        Some(Error::new(code, message).hint(hint))
    }
}
