//! A stand-in for Twilio's REST API on loopback: for people who try things out, for pipelines, and for the tests.
//!
//! [`Sandbox::start`] listens, prints nothing and needs no account. Twilio's own libraries work against it once they are
//! pointed at [`Sandbox::url`]; `smsotp` itself is pointed at it by the four variables of [`Sandbox::env`].
//!
//! Twilio's libraries are pointed at it from outside, as `tests/clients` shows: Python's by an `http_client` and Node's by an
//! `httpClient` that put [`Sandbox::url`] in the place of `https://*.twilio.com`, twilio-cli by `NODE_OPTIONS=--require` and a
//! shim that does the same below it.
//!
//! What it answers is Twilio's shape: form in, JSON out, error codes, paging, status callbacks with a signature. What it
//! cannot know (prices, carriers) is made up, the same on every run, and says so where it is made.

mod account;
mod answer;
mod call;
mod callback;
mod catalogue;
mod control;
mod create;
mod credentials;
mod env_file;
mod fault;
pub mod inbox;
mod message;
mod message_log;
mod messages;
mod server;
mod shown;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use callback::{CallbackPlan, SentCallback};
pub use fault::{Fault, On};
pub use message::Received;
pub use shown::Shown;

use crate::clock::{Clock, SystemClock};
use crate::error::{Code, Error, Result};
use credentials::Credentials;
use fault::Faults;
use message_log::{MessageLog, Outcome};

/// A running sandbox. It has a thread of its own and stops when this handle is dropped.
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How fast the statuses of a message move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One status every 20 milliseconds: a message is delivered in well under a second.
    Quick,
    /// One status in each span of this length.
    Every(Duration),
    /// Only [`Sandbox::step`] and [`Sandbox::deliver`] move them.
    Manual,
}

impl Pace {
    fn tick(self) -> Option<Duration> {
        match self {
            Pace::Quick => Some(Duration::from_millis(20)),
            Pace::Every(span) => Some(span.max(Duration::from_millis(1))),
            Pace::Manual => None,
        }
    }
}

/// What is called with every message that the sandbox accepts.
pub type OnMessage = Box<dyn Fn(&Shown) + Send + Sync>;

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
    /// Where the sandbox's present comes from: dates, schedules, validity and the `Date` header.
    pub clock: Arc<dyn Clock>,
    /// Faults that are armed from the start.
    pub faults: Vec<(On, Fault, u32)>,
    /// What happens to status callbacks. Default: each goes out once, in order, at once.
    pub callbacks: CallbackPlan,
    /// Where inbound messages are posted to (loopback http alone is called).
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
    /// Takes SID, token and number over from a file that [`Sandbox::write_env`] wrote before, so that clients which read it
    /// once keep working after a restart. Values that are set already win; a missing file changes nothing.
    ///
    /// # Errors
    /// `CONFIG_INVALID` when the file is not one of ours, `FILE_FAILED` when it cannot be read.
    pub fn remember(mut self, path: &Path) -> Result<Options> {
        if let Some(old) = env_file::read(path)? {
            self.account_sid = self.account_sid.or(old.account_sid);
            self.auth_token = self.auth_token.or(old.auth_token);
            self.phone_number = self.phone_number.or(old.phone_number);
        }
        Ok(self)
    }
}

impl Sandbox {
    /// Listens and serves on a thread of its own; returns once connections are taken. Callable from sync and async code.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for options that cannot be, `PROVIDER_UNREACHABLE` when the address cannot be listened on.
    pub fn start(options: Options) -> Result<Sandbox> {
        if !options.listen.ip().is_loopback() && !options.allow_remote {
            return Err(Error::new(
                Code::CONFIG_INVALID,
                format!("{} can be reached from other machines", options.listen.ip()),
            )
            .hint("Listen on 127.0.0.1 or [::1], or allow remote clients explicitly."));
        }
        let credentials = Credentials::new(&options)?;
        let listener = server::bind(options.listen)?;
        let address =
            listener.local_addr().map_err(|e| Error::new(Code::BUG, "the listener has no address").because(e))?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(options, credentials, jobs));
        let (stop, stopped) = oneshot::channel();
        let thread = server::spawn(listener, Arc::clone(&shared), queue, stopped)?;
        Ok(Sandbox { shared, address, stop: Some(stop), thread: Some(thread) })
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
        let credentials = &self.shared.credentials;
        [
            ("TWILIO_ACCOUNT_SID", credentials.account_sid.clone()),
            ("TWILIO_AUTH_TOKEN", credentials.auth_token.clone()),
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

    /// The account's SID.
    pub fn account_sid(&self) -> &str {
        &self.shared.credentials.account_sid
    }

    /// The account's token; it signs the callbacks.
    pub fn auth_token(&self) -> &str {
        &self.shared.credentials.auth_token
    }

    /// An API key of the account and its secret. They stay the same as long as account and token do.
    pub fn api_key(&self) -> (&str, &str) {
        (&self.shared.credentials.key_sid, &self.shared.credentials.key_secret)
    }

    /// SID and token of the test credentials: the magic numbers work with them, nothing is kept, nothing calls back.
    pub fn test_credentials(&self) -> (&str, &str) {
        (&self.shared.credentials.test_sid, &self.shared.credentials.test_token)
    }

    /// The account's Messaging Service.
    pub fn messaging_service(&self) -> &str {
        &self.shared.credentials.service_sid
    }

    /// The account's first number.
    pub fn phone_number(&self) -> String {
        self.shared.credentials.first_number()
    }

    /// Everything outbound that was accepted, oldest first, deleted and redacted messages included. At most 100,000.
    pub fn messages(&self) -> Vec<Received> {
        self.shared.message_log().outbound().map(|message| message.received()).collect()
    }

    /// How many requests to create a message arrived, whatever they were answered.
    pub fn requests(&self) -> usize {
        self.shared.creates.load(Ordering::SeqCst)
    }

    /// Arms a fault for the next `times` requests that create a message. Faults are used up in the order of arming.
    pub fn fault(&self, fault: Fault, times: u32) {
        self.fault_on(On::Create, fault, times);
    }

    /// Arms a fault for the next `times` requests of a kind.
    pub fn fault_on(&self, on: On, fault: Fault, times: u32) {
        self.shared.faults().arm(on, fault, times);
    }

    /// Disarms every fault that was not used up.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Moves every message on by one status (and releases the scheduled ones that are due), and sends the callbacks.
    pub fn step(&self) {
        self.shared.step();
    }

    /// Sets a message's status and error code, also backwards, and sends the callback for it. An unknown SID does nothing.
    pub fn deliver(&self, sid: &str, status: &str, error_code: Option<u32>) {
        self.shared.deliver(sid, status, error_code);
    }

    /// Says how messages to a phone will end from now on: `delivered`, `undelivered`, `failed`, or `sent` for "never heard of
    /// again".
    pub fn outcome(&self, to: &str, status: &str, error_code: Option<u32>) {
        self.shared.message_log().set_outcome(to, Outcome { status: status.to_owned(), error_code });
    }

    /// Lets a phone text the account's first number (or `to`). STOP and START opt it out and in, as on Twilio.
    pub fn reply(&self, from: &str, body: &str, to: Option<&str>) {
        self.shared.reply(from, body, to);
    }

    /// Changes what happens to callbacks from now on.
    pub fn plan_callbacks(&self, plan: CallbackPlan) {
        *self.shared.plan() = plan;
    }

    /// The callbacks that were due so far, in the order in which they were answered, failed or got lost. At most 10,000.
    pub fn callbacks(&self) -> Vec<SentCallback> {
        self.shared.log().iter().cloned().collect()
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

/// What the connections, the mover of statuses, the sender of callbacks and the handle share.
struct Shared {
    options: Options,
    credentials: Credentials,
    message_log: Mutex<MessageLog>,
    faults: Mutex<Faults>,
    plan: Mutex<CallbackPlan>,
    log: Mutex<std::collections::VecDeque<SentCallback>>,
    creates: AtomicUsize,
    under_way: AtomicUsize,
    jobs: mpsc::UnboundedSender<callback::Job>,
    /// Counts what came in: the long polls of the inbox wait for it to change.
    arrivals: watch::Sender<u64>,
    /// Wakes the mover of statuses.
    moving: Notify,
}

impl Shared {
    fn new(mut options: Options, credentials: Credentials, jobs: mpsc::UnboundedSender<callback::Job>) -> Shared {
        let mut faults = Faults::default();
        for (on, fault, times) in options.faults.drain(..) {
            faults.arm(on, fault, times);
        }
        Shared {
            plan: Mutex::new(options.callbacks.clone()),
            options,
            credentials,
            message_log: Mutex::default(),
            faults: Mutex::new(faults),
            log: Mutex::default(),
            creates: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            jobs,
            arrivals: watch::Sender::new(0),
            moving: Notify::new(),
        }
    }

    fn message_log(&self) -> MutexGuard<'_, MessageLog> {
        self.message_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> MutexGuard<'_, CallbackPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, std::collections::VecDeque<SentCallback>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> crate::clock::Timestamp {
        self.options.clock.now()
    }

    fn step(&self) {
        let now = self.now();
        let sender = self.credentials.first_number();
        // The jobs leave under the lock, so that two steps at once cannot swap the order of one message's callbacks.
        let mut message_log = self.message_log();
        for news in message_log.step(now, &sender) {
            self.call_back(news);
        }
    }

    fn deliver(&self, sid: &str, status: &str, error_code: Option<u32>) -> bool {
        let now = self.now();
        let sender = self.credentials.first_number();
        let mut message_log = self.message_log();
        let Some(news) = message_log.deliver(sid, (status, error_code), now, &sender) else { return false };
        self.call_back(news);
        true
    }

    fn reply(&self, from: &str, body: &str, to: Option<&str>) {
        let now = self.now();
        let to = to.map_or_else(|| self.credentials.first_number(), str::to_owned);
        let inbound = self.message_log().inbound(message::Inbound { from, to: &to, body, now }, &self.credentials);
        self.arrivals.send_modify(|n| *n += 1);
        if let Some(url) = &self.options.inbound_url {
            let _ = self.jobs.send(callback::Job::inbound(url, inbound, &self.credentials));
        }
    }

    fn call_back(&self, news: message::News) {
        if let Some(job) = callback::Job::status(news, &self.credentials) {
            let _ = self.jobs.send(job);
        }
    }
}
