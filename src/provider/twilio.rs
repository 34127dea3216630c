//! Twilio Programmable Messaging.

pub mod catalogue;
pub mod signature;
