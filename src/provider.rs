//! The voice: what carries a message, and what each answer means for the database.

pub mod console;
pub mod twilio;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::phone::Phone;

/// A message on its way out. The body holds the code, so it is a secret and has no `Debug` of its own.
pub struct Outgoing {
    /// Our id of the message, without the leading `m`.
    pub message_id: i64,
    /// Where it goes.
    pub to: Phone,
    /// The whole text.
    pub body: SecretString,
    /// For how many whole seconds it makes sense to deliver it (Twilio's ValidityPeriod, 1 to 36000).
    pub validity_seconds: Option<u32>,
}

/// What became of a message that was handed over.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// The provider took it.
    Accepted {
        /// The provider's id, for example a Twilio message SID.
        provider_id: String,
        /// The provider's first status, verbatim.
        status: String,
    },
    /// The provider answered that it will not send it: it surely was not sent.
    Refused(Refused),
    /// The provider asks to come back: surely not sent.
    Busy {
        /// When it said to come back.
        retry_after: Option<Duration>,
        /// What it said.
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
    /// The provider's error code, for example Twilio's 21610.
    pub code: Option<u32>,
    /// The HTTP status of the refusal.
    pub http_status: u16,
    /// What it means, in our words or the provider's.
    pub meaning: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// Who has to act.
    pub blame: Blame,
    /// The recipient opted out (Twilio's 21610).
    pub opted_out: bool,
}

/// Who has to act on a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Our request was wrong.
    Request,
    /// The recipient's number or choice.
    Recipient,
    /// Credentials, sender or account set-up.
    Setup,
    /// The provider or a carrier.
    Provider,
    /// A limit of the provider.
    Limit,
    /// Held to be fraud.
    Fraud,
}

/// A message as the provider reports it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The provider's id.
    pub provider_id: String,
    /// The provider's status, verbatim (Twilio: queued, sent, delivered, ...).
    pub status: String,
    /// The error code of a failed delivery.
    pub error_code: Option<u32>,
    /// How many segments it took, once known.
    pub segments: Option<u32>,
    /// The whole text; compared with the computed code, never shown.
    pub body: SecretString,
    /// When the provider made it, by the provider's clock.
    pub created_at: Option<Timestamp>,
}

/// What carries messages. An implementation never panics and never waits for ever: every call is bounded in time and size.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name in configuration and database: `twilio`, `console`.
    fn name(&self) -> &'static str;

    /// Hands a message over, once. Never retries by itself.
    async fn send(&self, message: &Outgoing) -> Delivery;

    /// Asks what became of a message. `None`: the provider does not know it. Providers without look-up answer `NO_PROVIDER`.
    async fn fetch(&self, provider_id: &str) -> Result<Option<Report>>;

    /// Messages to `to` that the provider made at or after `since`, newest first, at most 200. `None`: it cannot list.
    async fn find(&self, to: &Phone, since: Timestamp) -> Result<Option<Vec<Report>>>;

    /// The provider's clock, if its last answer told it: reconciling compares times of one clock only.
    fn clock_skew_ms(&self) -> i64 {
        0
    }

    /// True where nothing leaves the house (console): such sends count as accepted at once.
    fn is_local(&self) -> bool {
        false
    }
}
