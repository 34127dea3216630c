//! The seam to the providers: what is handed over, and what each answer means for the database.
//!
//! A provider's names, status words and error codes stay inside its own file. A new one is such a file, its settings in
//! `config/settings.rs`, and the line in `app.rs` that makes it.

pub mod console;
pub mod twilio;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::clock::Timestamp;
pub use crate::delivery::{Blame, Delivery, Reason};
use crate::error::Result;
use crate::message::State;
use crate::money::Money;
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

/// A message as the provider has it.
#[derive(Clone, Debug)]
pub struct RemoteMessage {
    /// The provider's id.
    pub provider_id: String,
    /// How far it got: [`State::Accepted`], or further.
    pub state: State,
    /// The error code of a failed delivery.
    pub error_code: Option<u32>,
    /// What it has cost, once known and where that is in US dollars.
    pub price: Option<Money>,
    /// How many segments it took, once known.
    pub segments: Option<u32>,
    /// The whole text; compared with the computed code, never shown.
    pub body: SecretString,
    /// When the provider made it, by the provider's clock.
    pub created_at: Option<Timestamp>,
}

/// What a provider did to its copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// It is gone, or never was there.
    Deleted,
    /// Its text is emptied; the rest can be deleted later.
    Redacted,
    /// This provider deletes nothing.
    Never,
}

/// The name under which messages to declared test numbers are recorded, which no provider gets.
pub const TEST: &str = "test";

/// The names under which messages are recorded of which no provider has a copy: they never left this machine.
pub const WITHOUT_COPY: [&str; 2] = ["console", TEST];

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

    /// How much money is left; `None`: this provider has no balance, or none in US dollars.
    async fn balance(&self) -> Result<Option<Money>> {
        Ok(None)
    }

    /// The countries (ISO 3166 two letters) of the provider's price list. `None`: it has no price list.
    async fn priced_countries(&self) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// What an SMS segment to a country costs at the dearest carrier. `None`: the price list has no price for it.
    async fn price(&self, _country: &str) -> Result<Option<Money>> {
        Ok(None)
    }

    /// Deletes the provider's copy of a message, or as much of it as can be deleted now. Safe to repeat.
    async fn erase(&self, _provider_id: &str) -> Result<Erasure> {
        Ok(Erasure::Never)
    }

    /// What an error code of a delivery that failed means. `None`: this provider has no such codes.
    fn explain(&self, _error_code: u32) -> Option<Reason> {
        None
    }

    /// How far the provider's clock is ahead of ours, as far as its last answer showed: times are compared on one clock only.
    fn clock_skew_ms(&self) -> i64 {
        0
    }

    /// True where nothing leaves this machine (console): such messages count as accepted at once.
    fn is_local(&self) -> bool {
        false
    }

    /// True where no message costs money: nothing leaves this machine, or a sandbox takes it.
    fn costs_nothing(&self) -> bool {
        self.is_local()
    }
}
