//! A stand-in for Twilio's REST API on loopback: for trying smsotp out, for pipelines, and for the tests.
//!
//! [`Sandbox::start`] listens, prints nothing and needs no account. Twilio's own libraries work against it once they are
//! pointed at [`Sandbox::url`]; `smsotp` itself is pointed at it by the four variables of [`Sandbox::env`].
//!
//! Twilio's libraries are pointed at it from outside, as `tests/clients` shows: Python's by an `http_client` and Node's by an
//! `httpClient` that replace `https://*.twilio.com` by [`Sandbox::url`], twilio-cli by `NODE_OPTIONS=--require` and a shim that
//! does the same below it.
//!
//! Its answers have Twilio's form: form in, JSON out, error codes, paging, status callbacks with a signature. What it cannot
//! know (prices, carriers) is made up, the same on every run.

mod account;
mod answer;
mod attempts;
mod buckets;
mod callback;
mod client;
mod connection;
mod control;
mod countries;
mod create;
mod display;
mod env_file;
mod fault;
mod identity;
pub mod inbox;
mod lookup;
mod message;
mod message_log;
mod messages;
mod missing;
mod options;
mod page;
mod plan;
mod rate_limits;
mod request;
pub mod running;
mod safe_list;
mod server;
mod services;
mod sid;
mod state;
mod templates;
mod verifications;
mod verify;
mod verify_services;
mod webhooks;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use callback::SentCallback;
pub use fault::{Fault, On};
pub use message::ReceivedMessage;
pub use missing::names as missing;
pub use options::{OnMessage, Options, Pace};
pub use plan::CallbackPlan;

use crate::error::{Code, Error, Result};
use identity::SandboxAccount;
use message_log::FinalStatus;
use state::SandboxState;

/// A running sandbox. It has a thread of its own and stops when this handle is dropped.
pub struct Sandbox {
    state: Arc<SandboxState>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Listens and serves on a thread of its own; returns once connections are accepted. Callable from sync and async code.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for options that cannot work, `PROVIDER_UNREACHABLE` when the address cannot be listened on.
    pub fn start(options: Options) -> Result<Sandbox> {
        if !options.listen.ip().is_loopback() && !options.allow_remote {
            return Err(Error::new(
                Code::CONFIG_INVALID,
                format!("{} can be reached from other machines", options.listen.ip()),
            )
            .hint("Listen on 127.0.0.1 or [::1], or allow it with --allow-remote."));
        }
        let account = SandboxAccount::new(&options)?;
        let listener = server::bind(options.listen)?;
        let address =
            listener.local_addr().map_err(|e| Error::new(Code::BUG, "the listener has no address").because(e))?;
        let (callbacks, queue) = mpsc::unbounded_channel();
        let state = Arc::new(SandboxState::new(options, account, callbacks));
        let (stop, stopped) = oneshot::channel();
        let thread = server::spawn(listener, Arc::clone(&state), queue, stopped)?;
        Ok(Sandbox { state, address, stop: Some(stop), thread: Some(thread) })
    }

    /// The base URL, for example `http://127.0.0.1:4010`.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// The four variables that point a client at this sandbox.
    pub fn env(&self) -> Vec<(String, String)> {
        let account = &self.state.account;
        [
            ("TWILIO_ACCOUNT_SID", account.account_sid.clone()),
            ("TWILIO_AUTH_TOKEN", account.auth_token.clone()),
            ("TWILIO_PHONE_NUMBER", self.phone_number()),
            ("TWILIO_API_BASE_URL", self.url()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Writes [`Sandbox::env`] to a file that only its owner can read, in one rename.
    ///
    /// # Errors
    /// `CONFIG_INVALID` when the file exists and was not written by a sandbox, `FILE_FAILED` when it cannot be written.
    pub fn write_env(&self, path: &Path) -> Result<()> {
        env_file::write(path, &self.env())
    }

    /// Whether it has ended, because a client has stopped it.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The account's SID.
    pub fn account_sid(&self) -> &str {
        &self.state.account.account_sid
    }

    /// The account's token; it signs the callbacks.
    pub fn auth_token(&self) -> &str {
        &self.state.account.auth_token
    }

    /// An API key of the account and its secret. They stay the same as long as account and token do.
    pub fn api_key(&self) -> (&str, &str) {
        (&self.state.account.key_sid, &self.state.account.key_secret)
    }

    /// SID and token of the test credentials: the magic numbers work with them, nothing is kept, and no callbacks are sent.
    pub fn test_credentials(&self) -> (&str, &str) {
        (&self.state.account.test_sid, &self.state.account.test_token)
    }

    /// The account's Messaging Service.
    pub fn messaging_service(&self) -> &str {
        &self.state.account.service_sid
    }

    /// The account's first number.
    pub fn phone_number(&self) -> String {
        self.state.account.first_number()
    }

    /// Everything outbound that was accepted, oldest first, deleted and redacted messages included. At most 100,000.
    pub fn messages(&self) -> Vec<ReceivedMessage> {
        self.state.message_log().outbound().map(|message| message.received()).collect()
    }

    /// How many requests to create a message arrived, whatever the answers were.
    pub fn requests(&self) -> usize {
        self.state.creates.load(Ordering::SeqCst)
    }

    /// Arms a fault for the next `times` requests that create a message. Faults are used up in the order of arming.
    pub fn fault(&self, fault: Fault, times: u32) {
        self.fault_on(On::Create, fault, times);
    }

    /// Arms a fault for the next `times` requests of a kind.
    pub fn fault_on(&self, on: On, fault: Fault, times: u32) {
        self.state.faults().arm(on, fault, times);
    }

    /// Disarms every fault that was not used up.
    pub fn clear_faults(&self) {
        self.state.faults().clear();
    }

    /// Moves every message on by one status (and releases the scheduled ones that are due), and sends the callbacks.
    pub fn step(&self) {
        self.state.step();
    }

    /// Sets a message's status and error code, also backwards, and sends the callback about it. An unknown SID does nothing.
    pub fn set_status(&self, sid: &str, status: &str, error_code: Option<u32>) {
        self.state.set_status(sid, status, error_code);
    }

    /// Sets the last status of messages to a phone from now on: `delivered`, `undelivered`, `failed`, or `sent` where the carrier
    /// reports nothing more.
    pub fn set_outcome(&self, to: &str, status: &str, error_code: Option<u32>) {
        self.state.message_log().set_outcome(to, FinalStatus { status: status.to_owned(), error_code });
    }

    /// Sends a text from a phone to the account's first number (or to `to`). STOP and START opt it out and in, as on Twilio.
    pub fn reply(&self, from: &str, body: &str, to: Option<&str>) {
        self.state.send_reply(from, body, to);
    }

    /// Changes what is done to callbacks from now on.
    pub fn plan_callbacks(&self, plan: CallbackPlan) {
        *self.state.plan() = plan;
    }

    /// The callbacks that were due so far, in the order in which they were answered, failed or were lost. At most 10,000.
    pub fn callbacks(&self) -> Vec<SentCallback> {
        self.state.sent_callbacks().iter().cloned().collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // A handler of `on_message` may hold the last handle: a thread cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}
