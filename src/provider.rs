//! The voice: what carries a message, and what each answer means for the database.

pub mod console;
pub mod twilio;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::clock::Timestamp;
pub use crate::delivery::{Blame, Delivery, Refused};
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
