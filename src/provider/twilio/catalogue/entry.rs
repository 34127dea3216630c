//! One entry of the catalogue of error codes.

use serde::{Deserialize, Serialize};

use crate::provider::Blame;

/// One error code, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueEntry {
    /// Twilio's code.
    pub code: u32,
    /// Where it shows up.
    pub stage: Stage,
    /// The HTTP status that it comes with, where it answers a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Who has to act.
    pub blame: Blame,
    /// Whether repeating helps.
    pub retry: Retry,
    /// A short name.
    pub title: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

/// Where a code shows up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Twilio refused the request.
    Request,
    /// A message was taken and not delivered.
    Delivery,
    /// The Verify service.
    Verify,
    /// The Lookup service.
    Lookup,
    /// A phone call.
    Voice,
    /// Twilio calling our URL.
    Webhook,
    /// A code that the catalogue does not hold.
    Unknown,
}

/// Whether repeating helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request will always fail.
    Never,
    /// Only after something was changed.
    AfterFix,
    /// Soon, with growing pauses.
    Backoff,
    /// After minutes or hours.
    Later,
    /// It may have been done already: check first.
    Ambiguous,
    /// By another channel.
    OtherChannel,
}
