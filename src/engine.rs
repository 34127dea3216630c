//! The operations: each is one atomic step in the store, decided by the rules. What `cli` and `serve` do, they do through here.

mod audit_log;
mod maintain;
mod callback;
mod deliver;
mod dispatch;
mod follow;
mod keys;
mod purge;
mod reserve;
mod reset;
mod revoke;
mod send;
mod show;
mod standing;
mod test_number;
mod text;
mod token;
mod verify;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::store::export::{Transfer, Transferred};
pub use crate::store::{Filter, Status, Subject, TestNumber};
pub use audit_log::{AuditFilter, AuditPage, AuditRead, Audited};
pub use callback::{Inbound, InboundAnswer, Report, Reported};
pub use dispatch::Dispatched;
pub use keys::KeyUse;
pub use purge::{Purge, PurgeReport};
pub use reset::{Forgotten, Reset};
pub use revoke::{Revoke, Revoked};
pub use send::{Destination, Refusal, Send, SendAnswer, Sent};
pub use show::{Listing, Step as TimelineStep, Timeline, Wanted};
pub use standing::{Standing, Whom, standings_of_nobody};
pub use test_number::AddTestNumber;
pub use token::{NewToken, Secret, Whose};
pub use verify::{Verdict, Verify, VerifyAnswer};
pub use worker::{Work, Worked};

use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::code::{self, Binding, Code};
use crate::error::{self, Error, Result};
use crate::keys::Keyring;
use crate::usage::{Usage, PurposeUsage};
use crate::otp::Otp;
use crate::provider::Provider;
use crate::purpose::Policy;
use crate::store::{self, CLOCK_SLACK, Change, Facts, Needs, Store, SubjectFact};

/// The operations with all that they need: a memory, a voice, the keys and the settings.
///
/// Cheap to clone; every clone speaks of the same database.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    provider: Option<Arc<dyn Provider>>,
    keyring: Arc<Keyring>,
    policy: Arc<Policy>,
    watch: Option<Watch>,
    meter: Option<Meter>,
    test_numbers: bool,
    poll_after: Option<Duration>,
}

/// What is told of one call that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// An operation in the store, from the wait for its turn to its commit.
    Store,
    /// A message handed to the provider, with how it ended: `accepted`, `refused`, `busy`, `unreachable`, `maybe`.
    Provider(&'static str),
}

type Meter = Arc<dyn Fn(Waited, Duration) + std::marker::Send + Sync>;

type Watch = Arc<dyn Fn(Step) + std::marker::Send + Sync>;

/// Who asks for an operation.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the audit log.
    pub actor: Actor,
    /// The client's address, where one is known; without it the address limits do not apply.
    pub ip: Option<IpAddr>,
    /// The service vouches that the user is already signed in: guess budgets of their own.
    pub known: bool,
}

impl Caller {
    /// A caller without a client address.
    pub fn new(actor: Actor) -> Caller {
        Caller { actor, ip: None, known: false }
    }
}

/// How far a send has come: told to whoever watches, for `-v` and for crash tests.
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

impl Engine {
    /// Puts an engine together. Without a provider it does everything but send.
    pub fn new(store: Arc<dyn Store>, keyring: Arc<Keyring>, policy: Arc<Policy>) -> Engine {
        Engine {
            store,
            provider: None,
            keyring,
            policy,
            watch: None,
            meter: None,
            test_numbers: true,
            poll_after: None,
        }
    }

    /// Gives it a voice.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<dyn Provider>) -> Engine {
        self.provider = Some(provider);
        self
    }

    /// Calls `watch` at every step of a send, before the next one begins.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(Step) + std::marker::Send + Sync + 'static) -> Engine {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// Tells `meter` how long stores and providers were waited for.
    #[must_use]
    pub fn metered(mut self, meter: impl Fn(Waited, Duration) + std::marker::Send + Sync + 'static) -> Engine {
        self.meter = Some(Arc::new(meter));
        self
    }

    /// Treats declared test numbers as any other: their fixed codes open nothing here.
    #[must_use]
    pub fn without_test_numbers(mut self) -> Engine {
        self.test_numbers = false;
        self
    }

    /// Has the worker ask the provider what became of accepted messages, first so long after they were accepted. For
    /// providers that do not call back, and against lost callbacks.
    #[must_use]
    pub fn polling(mut self, after: Duration) -> Engine {
        self.poll_after = Some(after);
        self
    }

    /// The memory, for reading.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The settings.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// True where nothing that is sent leaves this machine: the console provider.
    pub fn is_local(&self) -> bool {
        self.provider.as_ref().is_some_and(|provider| provider.is_local())
    }

    fn provider(&self) -> Result<&Arc<dyn Provider>> {
        self.provider.as_ref().ok_or_else(|| {
            Error::new(error::Code::NO_PROVIDER, "no provider is configured, so nothing can be sent")
                .hint("Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER; or try `--provider console`, or `smsotp sandbox`.")
        })
    }

    /// One operation, timed.
    async fn operation<A, F>(&self, needs: Needs, decide: F) -> Result<A>
    where
        A: std::marker::Send + 'static,
        F: FnMut(&Facts) -> Result<(Vec<Change>, A)> + std::marker::Send + 'static,
    {
        let begun = Instant::now();
        let answer = store::operation(self.store.as_ref(), needs, decide).await;
        self.waited(Waited::Store, begun);
        match &answer {
            Ok(_) => {
                tracing::debug!(target: "smsotp", took_us = begun.elapsed().as_micros() as u64, "decided and recorded")
            }
            Err(error) => tracing::debug!(target: "smsotp", code = error.code().name, "not recorded"),
        }
        answer
    }

    fn waited(&self, what: Waited, begun: Instant) {
        if let Some(meter) = &self.meter {
            meter(what, begun.elapsed());
        }
    }

    fn tell(&self, step: Step) {
        tracing::info!(target: "smsotp", ?step, "send");
        if let Some(watch) = &self.watch {
            watch(step);
        }
    }
}

/// Computes the code of an otp.
///
/// # Errors
/// `KEY_INVALID` where the ring does not hold the key that it was made with.
fn code_of(keyring: &Keyring, otp: &Otp) -> Result<Code> {
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
    Error::new(
        error::Code::KEY_INVALID,
        format!(
            "the code of otp {} was made with key {}; {} holds {}",
            otp.id,
            otp.key_id,
            keyring.origin(),
            held.join(", ")
        ),
    )
    .hint("Put that key back at the end of the keys; `smsotp keys list` tells which keys are in use.")
}

/// The present as a subject sees it: its time never runs back.
///
/// # Errors
/// `CLOCK_WRONG` where the newest thing that is known of it lies more than five minutes ahead.
fn steady(now: Timestamp, usages: &[&Usage]) -> Result<Timestamp> {
    let seen = latest(now, usages);
    if seen.since(now) > CLOCK_SLACK {
        return Err(Error::new(
            error::Code::CLOCK_WRONG,
            format!("the clock says {now}, but the database already know of {seen}"),
        )
        .hint("Set the clock right (is NTP running?); if it was ahead before, wait until it has caught up."));
    }
    Ok(seen)
}

/// The present, or the newest thing that is known of these subjects where that lies ahead of it.
fn latest(now: Timestamp, usages: &[&Usage]) -> Timestamp {
    Timestamp(usages.iter().map(|usage| usage.seen).fold(now.millis(), i64::max))
}

/// Writes a usage with its idle time, without purposes that remember nothing.
fn put(fact: &SubjectFact, mut usage: Usage, longest: Duration) -> Change {
    usage.purposes.retain(|_, purpose| *purpose != PurposeUsage::default());
    let idle_at = usage.idle_at(longest);
    Change::PutUsage(fact.id, usage, idle_at)
}
