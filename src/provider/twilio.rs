//! Twilio Programmable Messaging.
