//! What the connections, the statuses, the callbacks and the handle of a sandbox share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};

use super::callback::{Callback, SentCallback};
use super::fault::Faults;
use super::identity::SandboxAccount;
use super::message::{InboundText, StatusChange};
use super::message_log::MessageLog;
use super::options::Options;
use super::plan::CallbackPlan;
use super::verifications::Verifications;
use crate::clock::Timestamp;

/// What the connections, the task that moves statuses, the sender of callbacks and the handle share.
pub(super) struct SandboxState {
    pub options: Options,
    pub account: SandboxAccount,
    message_log: Mutex<MessageLog>,
    faults: Mutex<Faults>,
    plan: Mutex<CallbackPlan>,
    sent_callbacks: Mutex<VecDeque<SentCallback>>,
    verifications: Mutex<Verifications>,
    /// How many requests to create a message arrived.
    pub creates: AtomicUsize,
    /// How many requests are being answered.
    pub in_flight: AtomicUsize,
    callbacks: mpsc::UnboundedSender<Callback>,
    /// Counts the messages that arrived: the long polls of the inbox wait for it to change.
    pub arrivals: watch::Sender<u64>,
    /// Wakes the task that moves statuses.
    pub moving: Notify,
    /// Ends the server.
    pub stop: Notify,
}

impl SandboxState {
    pub fn new(
        mut options: Options,
        account: SandboxAccount,
        callbacks: mpsc::UnboundedSender<Callback>,
    ) -> SandboxState {
        let mut faults = Faults::default();
        for (on, fault, times) in options.faults.drain(..) {
            faults.arm(on, fault, times);
        }
        let now = options.clock.now();
        SandboxState {
            plan: Mutex::new(options.callbacks.clone()),
            options,
            account,
            message_log: Mutex::default(),
            faults: Mutex::new(faults),
            sent_callbacks: Mutex::default(),
            verifications: Mutex::new(Verifications::new(now)),
            creates: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            callbacks,
            arrivals: watch::Sender::new(0),
            moving: Notify::new(),
            stop: Notify::new(),
        }
    }

    pub fn message_log(&self) -> MutexGuard<'_, MessageLog> {
        self.message_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn plan(&self) -> MutexGuard<'_, CallbackPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The callbacks that were due so far, oldest first.
    pub fn sent_callbacks(&self) -> MutexGuard<'_, VecDeque<SentCallback>> {
        self.sent_callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn verifications(&self) -> MutexGuard<'_, Verifications> {
        self.verifications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Moves every message on by one status.
    pub fn step(&self) {
        let now = self.now();
        let sender = self.account.first_number();
        // The callbacks are queued under the lock, so that two steps at once cannot swap the order of one message's callbacks.
        let mut message_log = self.message_log();
        for change in message_log.step(now, &sender) {
            self.send_callback(change);
        }
    }

    /// Sets a message's status; false where there is no such message.
    pub fn set_status(&self, sid: &str, status: &str, error_code: Option<u32>) -> bool {
        let now = self.now();
        let sender = self.account.first_number();
        let mut message_log = self.message_log();
        let Some(change) = message_log.set_status(sid, (status, error_code), now, &sender) else { return false };
        self.send_callback(change);
        true
    }

    /// Sends a text from a phone to the account.
    pub fn send_reply(&self, from: &str, body: &str, to: Option<&str>) {
        let now = self.now();
        let to = to.map_or_else(|| self.account.first_number(), str::to_owned);
        let text = self.message_log().add_text(InboundText { from, to: &to, body, now }, &self.account);
        self.arrivals.send_modify(|n| *n += 1);
        if let Some(url) = &self.options.inbound_url {
            let _ = self.callbacks.send(Callback::of_text(url, text, &self.account));
        }
    }

    /// Queues the callback about a status, if the message requested callbacks.
    pub fn send_callback(&self, change: StatusChange) {
        if let Some(callback) = Callback::of_status(change, &self.account) {
            let _ = self.callbacks.send(callback);
        }
    }
}
