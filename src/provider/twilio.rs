//! Twilio Programmable Messaging.

pub mod catalogue;
pub mod settings;
pub mod signature;
