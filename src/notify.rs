//! The seam to where alarms are delivered.

pub mod webhook;

use async_trait::async_trait;

use crate::alarm::Alarm;
use crate::clock::Timestamp;

/// What carries an alarm to a person. An implementation never panics and never waits for ever.
#[async_trait]
pub trait Notify: Send + Sync {
    /// Delivers an alarm, once; `Err` is why it was not taken, in words without a secret. The same alarm may come again.
    async fn notify(&self, alarm: &Alarm, now: Timestamp) -> Result<(), String>;
}
