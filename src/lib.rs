//! smsotp sends one-time passwords and messages over SMS, verifies them, and keeps its books in SQLite.
//!
//! Modules in reading order:
#![cfg_attr(test, allow(clippy::unwrap_used))]

// The rules: pure functions over facts.
pub mod audit;
pub mod code;
pub mod ledger;
pub mod limits;
pub mod message;
pub mod otp;
pub mod phone;
pub mod purpose;
pub mod risk;
pub mod segments;
pub mod template;
pub mod token;

// What everything else is written in.
pub mod clock;
pub mod error;
pub mod keys;

// The seams and their adapters: the memory and the voice.
pub mod provider;
pub mod store;

// The deeds.
pub mod engine;

// The wiring, the counter, and the stand-in for Twilio.
pub mod app;
pub mod cli;
pub mod config;
pub mod output;
pub mod sandbox;
