//! What every operation works with: the store, the provider, the keys, the settings, and who asks.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::{Actor, Details, Event};
use crate::clock::Timestamp;
use crate::code::{self, Binding, Code};
use crate::error::{self, Error, Result};
use crate::keys::Keyring;
use crate::money::{Money, Prices};
use crate::notify::Notify;
use crate::otp::Otp;
use crate::policy::Policy;
use crate::provider::{Provider, Reason};
use crate::purpose::Purpose;
use crate::store::{self, Decision, Facts, Needs, Read, Store};

/// The parts of an engine.
#[derive(Clone)]
pub(super) struct Context {
    pub store: Store,
    pub provider: Option<Arc<dyn Provider>>,
    pub notify: Option<Arc<dyn Notify>>,
    pub keyring: Arc<Keyring>,
    pub policy: Arc<Policy>,
    pub on_step: Option<OnStep>,
    pub on_wait: Option<OnWait>,
    /// The prices as they were last read.
    pub prices: KnownPrices,
    /// Declared test numbers count.
    pub test_numbers: bool,
    /// When the worker first asks for an accepted message.
    pub poll_after: Option<Duration>,
}

/// How old the prices may be that a send reckons with.
const FRESH: Duration = Duration::from_secs(60);

/// The prices as they were last read, and when.
type ReadPrices = Option<(Timestamp, Arc<Prices>)>;

/// The same, shared by all clones of an engine.
#[derive(Clone, Default)]
pub(super) struct KnownPrices(Arc<Mutex<ReadPrices>>);

impl KnownPrices {
    /// Has them read anew.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, ReadPrices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

pub(super) type OnWait = Arc<dyn Fn(Waited, Duration) + Send + Sync>;

/// Who asks for an operation.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the audit log.
    pub actor: Actor,
    /// The client's address, where one is known; without it the address limits do not apply.
    pub ip: Option<IpAddr>,
    /// The service vouches that the user is already signed in: guess budgets of their own.
    pub known: bool,
    /// The id of the access token, where it speaks for one user alone: what that user guesses through it has a budget.
    pub user_token: Option<i64>,
    /// The caller never says whether a code was entered.
    pub conversion_unknown: bool,
}

impl Caller {
    /// A caller without a client address.
    pub fn new(actor: Actor) -> Caller {
        Caller { actor, ip: None, known: false, user_token: None, conversion_unknown: false }
    }
}

/// How far a send has come, for `-v` and for crash tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Limits charged, otp and message in the database, the attempt claimed: one commit.
    Reserved,
    /// An attempt of a waiting message was claimed by its own commit.
    Claimed,
    /// The message is about to be handed to the provider.
    Handing,
    /// The provider's answer was read and is not yet in the database.
    Answered,
    /// The outcome is in the database.
    Settled,
}

/// A call that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// An operation in the store, from the wait for its turn to its commit.
    Store,
    /// A message handed to the provider, with how it ended: `accepted`, `ended`, `refused`, `busy`, `unreachable`,
    /// `maybe`.
    Provider(&'static str),
}

impl Context {
    /// The part of the store that answers questions.
    pub fn reads(&self) -> &dyn Read {
        self.store.reads.as_ref()
    }

    /// Whether messages that the provider took are asked for: somebody wants that, and there is somebody to ask.
    pub fn asks(&self) -> bool {
        self.poll_after.is_some() && !self.provider.as_ref().is_some_and(|provider| provider.is_local())
    }

    /// Runs one operation, timed.
    pub async fn operate<A, F>(&self, needs: Needs, decide: F) -> Result<A>
    where
        A: Send + 'static,
        F: FnMut(&Facts) -> Result<Decision<A>> + Send + 'static,
    {
        let begun = Instant::now();
        let answer = store::operate(self.store.operations.as_ref(), needs, decide).await;
        self.waited(Waited::Store, begun);
        match &answer {
            Ok(_) => tracing::trace!(target: "smsotp", took_us = begun.elapsed().as_micros() as u64, "operation done"),
            Err(error) => tracing::trace!(target: "smsotp", code = error.code().name, "operation failed"),
        }
        answer
    }

    /// Writes an audit row for `action`, which changes nothing.
    pub async fn record(&self, caller: &Caller, action: &'static str, details: Details) -> Result<()> {
        let actor = caller.actor.clone();
        self.operate(Needs::default(), move |facts| {
            let event = Event::new(facts.now, actor.clone(), action, "done").details(details.clone());
            Ok(Decision::Write { changes: Vec::new(), event, answer: () })
        })
        .await
    }

    /// The provider.
    pub fn provider(&self) -> Result<&Arc<dyn Provider>> {
        self.provider.as_ref().ok_or_else(|| {
            Error::new(error::Code::NO_PROVIDER, "no provider is configured, so nothing can be sent")
                .hint("Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER; or try `--provider console`, or `smsotp sandbox`.")
        })
    }

    /// What a day of codes costs at most, as far as that was said: the configured ceiling.
    pub fn day(&self) -> Option<Money> {
        self.policy.guard.ceilings.day
    }

    /// The prices in force: the operator's file over the provider's list over the shipped table. At most a minute old.
    pub async fn prices(&self) -> Result<Arc<Prices>> {
        let now = self.reads().now().await?;
        let is_fresh = |(read_at, _): &&(Timestamp, Arc<Prices>)| *read_at <= now && now.since(*read_at) < FRESH;
        let known = self.prices.lock().as_ref().filter(is_fresh).map(|(_, prices)| Arc::clone(prices));
        if let Some(prices) = known {
            return Ok(prices);
        }
        let fetched = self.reads().prices().await?;
        let prices = Arc::new(self.policy.guard.prices.clone().with_fetched(&fetched));
        *self.prices.lock() = Some((now, Arc::clone(&prices)));
        Ok(prices)
    }

    /// What the provider's error code of a failed delivery means.
    pub fn explain(&self, error_code: Option<u32>) -> Option<Reason> {
        self.provider.as_ref()?.explain(error_code?)
    }

    /// What an unknown purpose is answered.
    pub fn unknown_purpose(&self, purpose: &Purpose) -> Error {
        let known: Vec<&str> = self.policy.purposes.keys().map(Purpose::as_str).collect();
        Error::new(error::Code::PURPOSE_UNKNOWN, format!("no purpose is called {purpose}"))
            .hint(format!("Known are {}; declare others in smsotp.toml under [purposes.NAME].", known.join(", ")))
    }

    /// Passes on how long a call took.
    pub fn waited(&self, what: Waited, begun: Instant) {
        if let Some(on_wait) = &self.on_wait {
            on_wait(what, begun.elapsed());
        }
    }

    /// Passes on how far a send has come.
    pub fn reached(&self, step: Step) {
        tracing::debug!(target: "smsotp", ?step, "send");
        if let Some(on_step) = &self.on_step {
            on_step(step);
        }
    }
}

/// Computes the code of an otp.
///
/// # Errors
/// `KEY_INVALID` where the ring does not hold the key that it was made with.
pub(super) fn code_of(keyring: &Keyring, otp: &Otp) -> Result<Code> {
    let key = keyring.get(&otp.key_id).ok_or_else(|| missing_key(keyring, otp))?;
    let binding = Binding {
        nonce: &otp.nonce,
        phone: otp.phone.as_str(),
        purpose: otp.purpose.as_str(),
        user: otp.user.as_str(),
    };
    Ok(code::derive(key.code_key(), &binding, otp.digits))
}

fn missing_key(keyring: &Keyring, otp: &Otp) -> Error {
    let held: Vec<String> = keyring.ids().iter().map(ToString::to_string).collect();
    let (otp, key, origin, held) = (otp.id, otp.key_id, keyring.origin(), held.join(", "));
    Error::new(
        error::Code::KEY_INVALID,
        format!("the code of otp {otp} was made with key {key}; {origin} holds {held}"),
    )
    .hint("Add that key again at the end of the list; `smsotp keys list` shows which keys are in use.")
}
