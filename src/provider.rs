//! The seam to the providers: what is handed over, and what each answer means for the database.
//!
//! A provider's names, status words and error codes stay inside its own file. A new one is such a file, its settings in
//! `config/settings.rs`, and the line in `app.rs` that makes it.

pub mod console;
pub mod twilio;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::State;
use crate::phone::Phone;

/// A message on its way out. The body holds the code, so it is a secret and has no `Debug` of its own.
pub struct Outgoing {
    /// Our id of the message, without the leading `m`.
    pub message_id: i64,
    /// Where it goes.
    pub to: Phone,
    /// The whole text.
    pub body: SecretString,
    /// For how many whole seconds it makes sense to deliver it (1 to 36000).
    pub validity_seconds: Option<u32>,
}

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

/// A message as the provider has it.
#[derive(Clone, Debug)]
pub struct RemoteMessage {
    /// The provider's id.
    pub provider_id: String,
    /// How far it got: [`State::Accepted`], or further.
    pub state: State,
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

    /// Looks a message up. `None`: the provider does not know it.
    async fn fetch(&self, provider_id: &str) -> Result<Option<RemoteMessage>>;

    /// Messages to `to` that the provider made at or after `since`, newest first, at most 200. `None`: it cannot list.
    async fn find(&self, to: &Phone, since: Timestamp) -> Result<Option<Vec<RemoteMessage>>>;

    /// How far the provider's clock is ahead of ours, as far as its last answer showed: times are compared on one clock only.
    fn clock_skew_ms(&self) -> i64 {
        0
    }

    /// True where nothing leaves this machine (console): such messages count as accepted at once.
    fn is_local(&self) -> bool {
        false
    }
}
