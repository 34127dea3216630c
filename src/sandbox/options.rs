//! How a sandbox is set up.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::env_file;
use super::fault::{Fault, On};
use super::message::ReceivedMessage;
use super::plan::CallbackPlan;
use crate::clock::{Clock, SystemClock};
use crate::error::Result;

/// How fast the statuses of a message move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One status every 20 milliseconds: a message is delivered in well under a second.
    Quick,
    /// One status in each span of this length.
    Every(Duration),
    /// Only [`Sandbox::step`](super::Sandbox::step) and [`Sandbox::set_status`](super::Sandbox::set_status) move them.
    Manual,
}

impl Pace {
    pub(super) fn interval(self) -> Option<Duration> {
        match self {
            Pace::Quick => Some(Duration::from_millis(20)),
            Pace::Every(span) => Some(span.max(Duration::from_millis(1))),
            Pace::Manual => None,
        }
    }
}

/// What is called with every message that the sandbox accepts.
pub type OnMessage = Box<dyn Fn(&ReceivedMessage) + Send + Sync>;

/// How a sandbox is set up. `..Options::default()` gives a full account in good standing with one number.
pub struct Options {
    /// Where to listen; port 0 takes a free one. Default 127.0.0.1:0.
    pub listen: SocketAddr,
    /// Allows [`Options::listen`] to be reachable from other machines. Default false.
    pub allow_remote: bool,
    /// AC and 32 lower-case hex digits. Default: random.
    pub account_sid: Option<String>,
    /// The account's token. Default: 32 random hex digits.
    pub auth_token: Option<String>,
    /// The account's first number, E.164. Default +12025550100.
    pub phone_number: Option<String>,
    /// More numbers of the account, E.164.
    pub more_numbers: Vec<String>,
    /// Is called with every accepted message, on the sandbox's thread.
    pub on_message: Option<OnMessage>,
    /// How fast statuses move. Default [`Pace::Quick`].
    pub pace: Pace,
    /// The clock of dates, schedules, validity and the `Date` header.
    pub clock: Arc<dyn Clock>,
    /// Faults that are armed from the start.
    pub faults: Vec<(On, Fault, u32)>,
    /// What is done to status callbacks. Default: each is sent once, in order, at once.
    pub callbacks: CallbackPlan,
    /// Where inbound messages are posted to (only http on loopback is called).
    pub inbound_url: Option<String>,
    /// `active`, `suspended` or `closed`. Default active.
    pub account_status: String,
    /// A trial account: it sends only to [`Options::verified`] (21608). Default false.
    pub trial: bool,
    /// The recipients that a trial account may send to.
    pub verified: HashSet<String>,
    /// The balance at the start, in thousandths of a US dollar. Default 20000.
    pub balance_millis: i64,
    /// Two-letter countries whose SMS permission is off (21408).
    pub countries_off: HashSet<String>,
    /// The API key is a Standard key: it may not read `/Accounts` (401/20003). Default false.
    pub standard_key: bool,
    /// The Messaging Service has no senders (21704). Default false.
    pub empty_service: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            account_sid: None,
            auth_token: None,
            phone_number: None,
            more_numbers: Vec::new(),
            on_message: None,
            pace: Pace::Quick,
            clock: Arc::new(SystemClock),
            faults: Vec::new(),
            callbacks: CallbackPlan::default(),
            inbound_url: None,
            account_status: "active".to_owned(),
            trial: false,
            verified: HashSet::new(),
            balance_millis: 20_000,
            countries_off: HashSet::new(),
            standard_key: false,
            empty_service: false,
        }
    }
}

impl Options {
    /// Takes SID, token and number from a file that [`Sandbox::write_env`](super::Sandbox::write_env) wrote before, so that clients
    /// which read it keep working after a restart. Values that are set already win; a missing file changes nothing.
    ///
    /// # Errors
    /// `CONFIG_INVALID` when the file is not one of ours, `FILE_FAILED` when it cannot be read.
    pub fn resume_from(mut self, path: &Path) -> Result<Options> {
        if let Some(old) = env_file::read(path)? {
            self.account_sid = self.account_sid.or(old.account_sid);
            self.auth_token = self.auth_token.or(old.auth_token);
            self.phone_number = self.phone_number.or(old.phone_number);
        }
        Ok(self)
    }
}
