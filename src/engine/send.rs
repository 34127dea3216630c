//! send = reserve → deliver → settle. The provider is called with no transaction open.

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::{Caller, Engine, Step};
use crate::clock::Timestamp;
use crate::error::{self, Error, Result};
use crate::limits::Hit;
use crate::message::{self, Message};
use crate::otp::{Otp, User};
use crate::phone::{Number, Phone};
use crate::provider::Blame;
use crate::purpose::Purpose;
use crate::store::Reply;
use crate::template::Endings;

/// What to send, and how.
pub struct Send {
    /// Where to.
    pub to: Destination,
    /// Why.
    pub purpose: Purpose,
    /// For whom; empty where the host system has no users.
    pub user: User,
    /// A new code although one is alive; the old one is superseded.
    pub new_code: bool,
    /// The limits that staff sets aside this once, and why. Audited.
    pub override_limit: Option<(Vec<String>, String)>,
    /// The same key gives the same answer.
    pub idempotency_key: Option<String>,
    /// The last lines for Android or WebOTP.
    pub endings: Endings,
    /// How many segments the text may take, if not the policy's.
    pub segments_max: Option<u32>,
    /// For how long to go on trying.
    pub timeout: Duration,
}

/// A phone that was typed in.
pub enum Destination {
    /// A number that its country's plan knows.
    Known(Number),
    /// E.164 by shape alone: fine for a declared test number, else the error says what is wrong with it.
    Shape(Phone, Error),
}

impl Destination {
    /// The phone.
    pub fn phone(&self) -> &Phone {
        match self {
            Destination::Known(number) => &number.phone,
            Destination::Shape(phone, _) => phone,
        }
    }
}

/// The answer to a send.
#[derive(Debug)]
pub enum SendAnswer {
    /// It was handed over; what became of it stands in [`Sent::state`].
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
    /// The stable code.
    pub code: error::Code,
    /// In words.
    pub message: String,
    /// Which limits are full, the one that lasts longest first.
    pub hits: Vec<Hit>,
    /// When it is worth asking again, in whole seconds.
    pub retry_after_seconds: Option<u64>,
}

/// A message that was reserved and claimed, on its way to the provider.
pub(super) struct Ticket {
    pub otp: Otp,
    pub message: Message,
    pub resent: bool,
    /// Whose budgets get it back if it surely was not sent, and the idempotency key that waits for the answer.
    pub user: User,
    pub reply: Option<Reply>,
}

impl Engine {
    /// Sends a code: a new one, or the living one again.
    ///
    /// # Errors
    /// `TOO_MANY_SEGMENTS`, `PURPOSE_UNKNOWN`, `PHONE_INVALID`, `NO_PROVIDER`, `IN_PROGRESS`, `IDEMPOTENCY_MISMATCH`,
    /// `KEY_INVALID`, `CLOCK_WRONG`, `STORE_*`. After an error of the store while settling, the message stands as
    /// `sending` and `dispatch` finds out what became of it.
    pub async fn send(&self, caller: &Caller, ask: Send) -> Result<SendAnswer> {
        let segments = self.check(&ask).await?;
        let reply = self.reply_for(&ask)?;
        if let Some(reply) = &reply
            && let Some(answer) = self.replay(caller, reply, ask.to.phone()).await?
        {
            return Ok(answer);
        }
        let mut settled = false;
        loop {
            match self.reserve(caller, (&ask, segments), reply.clone(), settled).await? {
                Reserved::Go(ticket) => {
                    self.tell(Step::Reserved);
                    return self.deliver(caller, *ticket, ask.timeout).await.map(SendAnswer::Sent);
                }
                Reserved::Done(sent) => return Ok(SendAnswer::Sent(sent)),
                Reserved::Refused(refusal) => return Ok(SendAnswer::Refused(refusal)),
                Reserved::Orphans(ids) => {
                    // Each send first settles what an earlier one left open; if that cannot be done now, it stays open.
                    for id in ids {
                        self.settle_orphan(caller, id).await?;
                    }
                    settled = true;
                }
            }
        }
    }

    /// What can be said before the database is asked: the purpose, the number, the length of the text in segments.
    async fn check(&self, ask: &Send) -> Result<u32> {
        if self.policy.purpose(&ask.purpose).is_none() {
            return Err(self.unknown_purpose(&ask.purpose));
        }
        self.provider()?;
        let segments = self.measure(ask)?;
        if let Destination::Shape(phone, error) = &ask.to {
            let declared =
                self.test_numbers && self.store.test_numbers().await?.iter().any(|number| number.phone == *phone);
            if !declared {
                return Err(Error::new(error.code(), error.message()).hint(error.hint_text().unwrap_or_default()));
            }
        }
        Ok(segments)
    }

    /// What an unknown purpose is told.
    pub fn unknown_purpose(&self, purpose: &Purpose) -> Error {
        let known: Vec<&str> = self.policy.purposes.keys().map(Purpose::as_str).collect();
        Error::new(error::Code::PURPOSE_UNKNOWN, format!("no purpose is called {purpose}"))
            .hint(format!("Known are {}; declare others in smsotp.toml under [purposes.NAME].", known.join(", ")))
    }

    /// The database's side of the idempotency key: tags alone, because keys may hold what a caller would not want kept.
    fn reply_for(&self, ask: &Send) -> Result<Option<Reply>> {
        let Some(key) = &ask.idempotency_key else { return Ok(None) };
        let asked =
            format!("send\0{}\0{}\0{}\0{}", ask.to.phone().as_str(), ask.purpose, ask.user.as_str(), ask.new_code);
        reply_of(&self.store.keys().index, key, &asked).map(Some)
    }

    /// The answer that the key got before, if it was used before.
    async fn replay(&self, caller: &Caller, asked: &Reply, phone: &Phone) -> Result<Option<SendAnswer>> {
        let Some(known) = self.store.reply(asked.tag).await? else { return Ok(None) };
        if known.fingerprint != asked.fingerprint {
            return Err(Error::new(
                error::Code::IDEMPOTENCY_MISMATCH,
                "this idempotency key was used for a different phone, purpose or user",
            )
            .hint("Use a new key for each thing to be sent."));
        }
        if let Some(answer) = &known.answer {
            let sent: Sent = serde_json::from_str(answer).map_err(|error| {
                Error::new(error::Code::STORE_CORRUPT, "a stored answer cannot be read").because(error)
            })?;
            let sent = Sent { phone: phone.as_str().to_owned(), ..sent };
            return Ok(Some(SendAnswer::Sent(Box::new(sent))));
        }
        let Some(id) = known.message_id else { return Ok(None) };
        let now = self.store.now().await?;
        let open = self.store.message(id).await?;
        if open.as_ref().is_some_and(|message| message.state == message::State::Sending && message.due_at > Some(now)) {
            return Err(Error::new(error::Code::IN_PROGRESS, "a send with this idempotency key is under way")
                .retry_after(Duration::from_secs(5))
                .hint("Ask again with the same key in a few seconds."));
        }
        self.settle_orphan(caller, id).await?;
        let (Some(message), Some(otp)) = (self.store.message(id).await?, self.otp_of(id).await?) else {
            return Ok(None);
        };
        Ok(Some(SendAnswer::Sent(Box::new(Sent::of(&otp, &message, false)))))
    }

    async fn otp_of(&self, message_id: i64) -> Result<Option<Otp>> {
        match self.store.message(message_id).await?.and_then(|message| message.otp_id) {
            Some(id) => self.store.otp(id).await,
            None => Ok(None),
        }
    }

    /// Says before anything is recorded how long the text will be, and refuses what is too long.
    fn measure(&self, ask: &Send) -> Result<u32> {
        let policy = self.policy.purpose(&ask.purpose).ok_or_else(|| self.unknown_purpose(&ask.purpose))?;
        let text = super::text::longest(&self.policy, &ask.purpose, policy, &ask.endings)?;
        let measured = crate::segments::measure(text.expose_secret());
        let allowed = ask.segments_max.unwrap_or(self.policy.segments_max);
        if measured.segments > allowed {
            return Err(super::text::too_long(&measured, allowed));
        }
        Ok(measured.segments)
    }
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

/// The database's side of an idempotency key, for what was asked.
pub(super) fn reply_of(index: &crate::keys::IndexKey, key: &str, asked: &str) -> Result<Reply> {
    if key.is_empty() || key.len() > 255 || key.chars().any(char::is_control) {
        return Err(Error::new(error::Code::VALUE_INVALID, "an idempotency key has 1 to 255 visible characters")
            .hint("Use something unique for each thing to be done once, for example a UUID."));
    }
    Ok(Reply {
        tag: index.tag("idempotency-key", key.as_bytes()),
        fingerprint: index.tag("idempotency-ask", asked.as_bytes()),
        message_id: None,
        answer: None,
        created_at: Timestamp(0),
    })
}

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
}
