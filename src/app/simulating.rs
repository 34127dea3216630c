//! Plays traffic through an engine of its own: the real rules and store on a database in memory, a clock that is moved, and a provider
//! that takes everything at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::App;
use crate::audit::{Actor, Details, Event};
use crate::clock::{ManualClock, Timestamp};
use crate::code::Code as OtpCode;
use crate::engine::{Caller, Destination, Engine, News, SendAnswer, SendOtp, StatusReport, Verdict, VerifyOtp};
use crate::error::{Code, Error, Result};
use crate::keys::{Keyring, SecretKey};
use crate::message::State;
use crate::phone::{Kind, Number, Phone};
use crate::policy::Policy;
use crate::provider::{Delivery, Outgoing, Provider, RemoteMessage};
use crate::purpose::Purpose;
use crate::simulate::{Answer, Ask, Column, Defence, Figures, History, Traffic, play};
use crate::store::sqlite::Sqlite;
use crate::store::{self, Decision, Needs, Store, Subject};
use crate::template::Endings;

/// How many rows of the audit log are read at a time.
const ROWS_AT_ONCE: u32 = 1_000;

/// How many known phones are written in one operation.
const SEEDED_AT_ONCE: usize = 500;

/// Plays traffic through an engine with this policy, as one column of a simulation. `progress` is called with how many asks are done.
///
/// # Errors
/// That of `progress`; others are our bug.
pub fn simulate(
    traffic: &Traffic,
    policy: Policy,
    column: Column,
    progress: impl FnMut(u64) -> Result<()>,
) -> Result<Figures> {
    let prices = policy.guard.prices.clone();
    let mut simulated = Simulated::new(traffic, policy, column)?;
    play(traffic, &prices, &mut simulated, progress)
}

impl App {
    /// What the audit log knows of asks since then, as traffic.
    ///
    /// # Errors
    /// `STORE_*`; `VALUE_INVALID` where it knows of none.
    pub fn history(&self, since: Timestamp) -> Result<Traffic> {
        let mut history = History::default();
        let reads = self.engine.reads();
        for head in self.run(reads.audit_heads())? {
            let mut before = head.seq.saturating_add(1);
            'chain: while before > 1 {
                let rows = self.run(reads.audit_back(None, (head.chain, before), ROWS_AT_ONCE))?;
                let Some(last) = rows.last() else { break };
                before = last.seq;
                for row in &rows {
                    if row.at().is_some_and(|at| at < since) {
                        break 'chain;
                    }
                    history.take(row);
                }
            }
        }
        let ids = history.phones();
        let masked = self.run(reads.masked(&ids))?;
        let masked = ids.into_iter().zip(masked).filter_map(|(id, masked)| Some((id, masked?))).collect();
        let silent = &self.config.policy.guard.conversion_unknown;
        let traffic = history.traffic(&masked, |purpose| silent.iter().any(|one| one.as_str() == purpose));
        if traffic.asks.is_empty() {
            return Err(Error::new(Code::VALUE_INVALID, "the audit log knows of no ask since then")
                .hint("Name an earlier moment with --since; `smsotp audit list --action send` shows what there is."));
        }
        Ok(traffic)
    }
}

struct Simulated {
    engine: Engine,
    clock: Arc<ManualClock>,
    provider: Arc<Taking>,
    column: Column,
    reporting: Purpose,
    silent: Purpose,
    runtime: tokio::runtime::Runtime,
}

/// What is remembered of a message that went out.
struct Out {
    otp_id: i64,
    message_id: i64,
    provider_id: String,
    code: Option<OtpCode>,
}

impl Simulated {
    fn new(traffic: &Traffic, policy: Policy, column: Column) -> Result<Simulated> {
        let first = traffic.asks.first().map_or(traffic.judge_from, |ask| ask.at) - Duration::from_secs(1);
        let clock = Arc::new(ManualClock::at(first));
        let no_key = || Error::new(Code::BUG, "a ring of one key has no key");
        let keyring = Arc::new(Keyring::new(vec![SecretKey::generate()?]).ok_or_else(no_key)?);
        let store: Store = Arc::new(Sqlite::in_memory(&keyring, Arc::clone(&clock) as _)?).into();
        let provider = Arc::new(Taking::default());
        let (reporting, silent) = Column::purposes()?;
        let policy = Arc::new(policy);
        let engine = Engine::new(store, keyring, policy).with_provider(Arc::clone(&provider) as _);
        let runtime = super::runtime()?;
        let simulated = Simulated { engine, clock, provider, column, reporting, silent, runtime };
        simulated.seed(traffic, first)?;
        Ok(simulated)
    }

    /// Writes down who was proven before.
    fn seed(&self, traffic: &Traffic, first: Timestamp) -> Result<()> {
        let known: BTreeMap<&Phone, Timestamp> =
            traffic.known.iter().map(|known| (&known.phone, known.at.unwrap_or(first).min(first))).collect();
        let known: Vec<(Phone, Timestamp)> = known.into_iter().map(|(phone, at)| (phone.clone(), at)).collect();
        for some in known.chunks(SEEDED_AT_ONCE) {
            let needs = Needs {
                subjects: some.iter().map(|(phone, _)| Subject::Phone(phone.clone())).collect(),
                ..Needs::default()
            };
            let (times, limits) = (some.to_vec(), self.engine.policy().limits.clone());
            let decide = move |facts: &store::Facts| {
                let proven = facts.subjects.iter().zip(&times).map(|(fact, (_, at))| {
                    fact.updated(facts.now, &limits, |usage| usage.proven_at = Some(at.millis()))
                });
                let event = Event::new(facts.now, Actor::System, "verify", "verified").details(Details::new());
                Ok(Decision::Write { changes: proven.collect(), event, answer: () })
            };
            self.runtime.block_on(store::operate(self.engine.store().operations.as_ref(), needs, decide))?;
        }
        Ok(())
    }

    fn caller(ask: &Ask) -> Caller {
        Caller { ip: ask.ip, ..Caller::new(Actor::System) }
    }

    fn purpose(&self, ask: &Ask) -> Purpose {
        if ask.reported { self.reporting.clone() } else { self.silent.clone() }
    }
}

impl Defence for Simulated {
    type Sent = Out;

    fn ask(&mut self, ask: &Ask) -> Result<Answer<Out>> {
        self.clock.set(ask.at);
        let country = Some(ask.country.to_string()).filter(|country| !country.is_empty());
        let request = SendOtp {
            to: Destination::Known(Number { phone: ask.phone.clone(), country, kind: Kind::Mobile }),
            purpose: self.purpose(ask),
            user: ask.user.clone(),
            new_code: false,
            challenge_passed: false,
            override_limits: None,
            idempotency_key: None,
            endings: Endings::default(),
            locale: None,
            segments_max: None,
            timeout: Duration::from_secs(45),
        };
        Ok(match self.runtime.block_on(self.engine.send(&Self::caller(ask), request))? {
            SendAnswer::Sent(sent) => Answer::Sent(Out {
                otp_id: sent.otp_id,
                message_id: sent.message_id,
                provider_id: sent.message.provider_id.unwrap_or_default(),
                code: self.provider.last_code(),
            }),
            SendAnswer::Refused(refusal) => self.column.answer(refusal.code),
        })
    }

    fn proven(&mut self, now: Timestamp, ask: &Ask, sent: Out) -> Result<()> {
        self.clock.set(now);
        let Some(code) = sent.code.filter(|_| ask.reported) else { return Ok(()) };
        let (phone, user) = (ask.phone.clone(), ask.user.clone());
        let request = VerifyOtp { phone, purpose: self.purpose(ask), user, code, idempotency_key: None };
        let answer = self.runtime.block_on(self.engine.verify(&Self::caller(ask), request))?;
        match answer.verdict {
            // The code of an earlier message was entered, and is the same.
            Verdict::Verified | Verdict::AlreadyUsed => Ok(()),
            // The person proved it too late for the code, so in another way.
            _ => self.runtime.block_on(self.engine.proven(&Self::caller(ask), sent.otp_id)).map(drop),
        }
    }

    fn failed(&mut self, now: Timestamp, ask: &Ask, sent: Out) -> Result<()> {
        self.clock.set(now);
        let news = News { provider_id: sent.provider_id, state: State::Undelivered, error_code: None, price: None };
        let report = StatusReport { message_id: sent.message_id, news, to: None };
        self.runtime.block_on(self.engine.report(&Self::caller(ask), report)).map(drop)
    }
}

/// A provider that takes every message at once and passes none on. Of the last one it keeps the code.
#[derive(Default)]
struct Taking(Mutex<Option<OtpCode>>);

impl Taking {
    fn last_code(&self) -> Option<OtpCode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Provider for Taking {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn send(&self, message: &Outgoing) -> Delivery {
        // In a simulation the whole text is the code.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = OtpCode::parse(message.body.expose_secret()).ok();
        Delivery::Accepted { provider_id: format!("S{}", message.message_id), state: State::Sent }
    }

    async fn fetch(&self, _provider_id: &str) -> Result<Option<RemoteMessage>> {
        Ok(None)
    }

    async fn find(&self, _to: &Phone, _since: Timestamp) -> Result<Option<Vec<RemoteMessage>>> {
        Ok(None)
    }
}
