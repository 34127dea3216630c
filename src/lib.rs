//! smsotp sends one-time passwords over SMS, verifies them, and keeps its database in SQLite or PostgreSQL.
//!
//! The binary of the same name is a thin command line over this library. A program of your own combines the same parts: a
//! store, a provider, a keyring and a policy make an [`engine::Engine`], and the engine runs the operations, each as one atomic
//! step.
//!
//! # From send to verified
//!
//! The sandbox stands in for Twilio, in this process; with an account, the four variables of its own take its place.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use smsotp::audit::Actor;
//! use smsotp::clock::SystemClock;
//! use smsotp::code::Code;
//! use smsotp::engine::{Caller, Destination, Engine, SendAnswer, SendOtp, Verdict, VerifyOtp};
//! use smsotp::keys::{Keyring, SecretKey};
//! use smsotp::otp::User;
//! use smsotp::phone;
//! use smsotp::provider::twilio::{self, Twilio};
//! use smsotp::policy::Policy;
//! use smsotp::purpose::Purpose;
//! use smsotp::sandbox::{self, Sandbox, inbox};
//! use smsotp::store::sqlite::{SqliteOptions, Sqlite};
//! use smsotp::template::Endings;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The provider: Twilio's API, at the sandbox's address.
//! let sandbox = Sandbox::start(sandbox::Options::default())?;
//! let account = twilio::Settings::check(&twilio::Account {
//!     account_sid: Some(sandbox.account_sid().to_owned()),
//!     auth_token: Some(sandbox.auth_token().to_owned().into()),
//!     phone_number: Some(sandbox.phone_number()),
//!     base_url: Some(sandbox.url().parse()?),
//!     ..twilio::Account::default()
//! })?;
//! let provider = Arc::new(Twilio::new(account)?);
//!
//! // The store: one file. Without the key, which is kept elsewhere, it reveals no code.
//! let folder = tempfile::tempdir()?;
//! let keyring = Arc::new(Keyring::new(vec![SecretKey::generate()?]).ok_or("a ring has at least one key")?);
//! let path = folder.path().join("smsotp.db");
//! let database = Arc::new(Sqlite::open(&path, &keyring, Arc::new(SystemClock), SqliteOptions::default())?);
//!
//! let engine = Engine::new(database, keyring, Arc::new(Policy::default())).with_provider(provider);
//! let caller = Caller::new(Actor::System);
//!
//! // A code goes out. The answer is a value: sent, or refused by a limit that names itself.
//! let number = phone::parse("+1 415-555-0123", None)?;
//! let phone = number.phone.clone();
//! let (purpose, user) = (Purpose::parse("login").ok_or("no purpose")?, User::parse("ada")?);
//! let ask = SendOtp {
//!     to: Destination::Known(number),
//!     purpose: purpose.clone(),
//!     user: user.clone(),
//!     new_code: false,
//!     challenge_passed: false,
//!     override_limits: None,
//!     idempotency_key: None,
//!     endings: Endings::default(),
//!     locale: None,
//!     segments_max: None,
//!     timeout: Duration::from_secs(45),
//! };
//! let SendAnswer::Sent(sent) = engine.send(&caller, ask).await? else { return Err("refused".into()) };
//! assert_eq!(sent.phone, "+14155550123");
//!
//! // What the person reads on the phone, and types.
//! let typed = inbox::extract_code(&sandbox.messages()[0].body).ok_or("no code in the message")?;
//!
//! // The right code is right once.
//! let guess = || VerifyOtp { phone: phone.clone(), purpose: purpose.clone(), user: user.clone(), code: Code::parse(&typed).unwrap(), idempotency_key: None };
//! assert_eq!(engine.verify(&caller, guess()).await?.verdict, Verdict::Verified);
//! assert_eq!(engine.verify(&caller, guess()).await?.verdict, Verdict::AlreadyUsed);
//! # Ok(())
//! # }
//! ```
//!
//! A refusal is an answer and no error: [`engine::SendAnswer::Refused`], [`engine::Verdict`]. An [`error::Error`] is something that
//! kept the library from answering; it has a stable [`error::Code`] and a hint. Times come from a [`clock::Clock`], so that
//! tests can move them ([`clock::ManualClock`]).
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none | the engine with SQLite, Twilio and the console |
//! | `postgres` | PostgreSQL beside SQLite |
//! | `serve` | the REST API over an engine ([`http`]) |
//! | `sandbox` | the stand-in for Twilio ([`sandbox`]), for tests |
//! | `cli` (default) | the command line, its configuration and output, and the three above |
//!
//! With `default-features = false` nothing of the others is compiled.
//!
//! # Modules in reading order
//!
//! The rules are pure functions over facts; [`store`] and [`provider`] are the seams to the outside; [`engine`] joins them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

// The rules: pure functions over facts.
pub mod abuse;
pub mod alarm;
pub mod audit;
pub mod check;
pub mod code;
pub mod delivery;
pub mod limits;
pub mod lists;
pub mod locale;
pub mod message;
pub mod money;
pub mod otp;
pub mod phone;
pub mod policy;
pub mod purpose;
pub mod report;
pub mod risk;
pub mod segments;
pub mod subject;
pub mod sums;
pub mod template;
pub mod texts;
pub mod token;
pub mod typed;
pub mod usage;

// What everything else is written in.
pub mod clock;
pub mod error;
#[cfg_attr(not(feature = "cli"), allow(dead_code))]
mod files;
pub mod keys;
mod wipe;

// The seams and their adapters.
pub mod notify;
pub mod provider;
pub mod store;

// The operations.
pub mod engine;

// The wiring, the command line, the REST API, and the stand-in for Twilio.
#[cfg(feature = "cli")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "serve")]
pub mod http;
#[cfg(feature = "cli")]
pub mod output;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "cli")]
pub mod simulate;

// What all connections out have in common.
mod outgoing;

// What the window and the stand-in share of the wire.
#[cfg(any(feature = "serve", feature = "sandbox"))]
mod host;
#[cfg(any(feature = "serve", feature = "sandbox"))]
mod linger;
