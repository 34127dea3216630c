//! The rules of Verify: how long a code lives, how often it is sent and checked, and when it is gone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::buckets::RateLimits;
use super::sid::random_sid;
use super::templates::Template;
use crate::clock::Timestamp;

/// A code lives so long (<https://www.twilio.com/docs/verify/api/rate-limits-and-timeouts>).
const LIFE: Duration = Duration::from_secs(600);
/// So often it is sent, and as often checked, before it is over.
const SENDS_MAX: usize = 5;
const CHECKS_MAX: u32 = 5;
/// Attempts are shown so long.
const ATTEMPTS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// At most so many services and verifications are kept; the oldest go first.
const SERVICES_MAX: usize = 1_000;
const VERIFICATIONS_MAX: usize = 100_000;

/// A service with its settings.
#[derive(Clone)]
pub(super) struct Service {
    pub sid: String,
    pub friendly_name: String,
    pub code_length: u8,
    pub lookup: bool,
    pub skip_landlines: bool,
    pub dtmf_input: bool,
    pub psd2: bool,
    pub do_not_share: bool,
    pub custom_code: bool,
    pub default_template: Option<&'static Template>,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// A code on its way to somebody.
#[derive(Clone)]
pub(super) struct Verification {
    pub sid: String,
    pub service: String,
    pub to: String,
    pub channel: String,
    /// `pending`, `approved`, `canceled` or `max_attempts_reached`.
    pub status: &'static str,
    pub code: String,
    /// Amount and payee, where it is about a payment (PSD2).
    pub payment: Option<(String, String)>,
    /// The language that was asked for.
    pub locale: Option<String>,
    pub sends: Vec<Send>,
    checks: u32,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// One time that a code was sent.
#[derive(Clone)]
pub(super) struct Send {
    pub at: Timestamp,
    pub channel: String,
    pub sid: String,
    /// The SID of the message that carried it.
    pub message: String,
}

/// One sending of a code, with what became of it.
pub(super) struct Attempt {
    pub verification: String,
    pub service: String,
    pub to: String,
    pub locale: Option<String>,
    pub code_length: usize,
    pub send: Send,
    /// The code was entered; of several sendings the last one counts.
    pub converted: bool,
    pub updated: Timestamp,
}

/// What a client asks for.
pub(super) struct Start {
    pub to: String,
    pub channel: String,
    pub code: Option<String>,
    pub payment: Option<(String, String)>,
    pub locale: Option<String>,
    /// The service's own limits that it counts in: their names, and a value for each.
    pub keys: Vec<(String, String)>,
}

/// What became of a start.
pub(super) enum Started {
    Sent(Box<Verification>),
    /// 20429
    Limited,
    /// 60203
    TooOften,
}

/// What became of a check.
pub(super) enum Checked {
    Answered(Box<Verification>),
    /// 60202
    TooOften,
    /// 60206
    OtherPayment,
    NotFound,
}

/// All services and verifications.
pub(super) struct Verifications {
    services: VecDeque<Service>,
    all: VecDeque<Verification>,
    pub rate_limits: RateLimits,
    /// Numbers with their entries' SIDs.
    pub safe_list: HashMap<String, String>,
}

impl Service {
    /// One with Twilio's defaults.
    pub fn new(now: Timestamp) -> Service {
        Service {
            sid: random_sid("VA"),
            friendly_name: "sandbox".to_owned(),
            code_length: 6,
            lookup: false,
            skip_landlines: false,
            dtmf_input: true,
            psd2: false,
            do_not_share: false,
            custom_code: false,
            default_template: None,
            created: now,
            updated: now,
        }
    }
}

impl Verification {
    /// Twilio forgets what is approved, canceled or expired.
    fn is_there(&self, now: Timestamp) -> bool {
        now < self.created + LIFE && matches!(self.status, "pending" | "max_attempts_reached")
    }

    fn is(&self, service: &str, which: &str) -> bool {
        self.service == service && (self.sid == which || self.to == which)
    }
}

impl Verifications {
    /// With one service, so that a client has one to begin with.
    pub fn new(now: Timestamp) -> Verifications {
        Verifications {
            services: [Service::new(now)].into(),
            all: VecDeque::new(),
            rate_limits: RateLimits::default(),
            safe_list: HashMap::new(),
        }
    }

    /// The services, the newest first.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().rev()
    }

    pub fn add_service(&mut self, service: Service) {
        self.services.push_back(service);
        if self.services.len() > SERVICES_MAX {
            self.services.pop_front();
        }
    }

    pub fn service(&self, sid: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.sid == sid)
    }

    pub fn service_mut(&mut self, sid: &str) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.sid == sid)
    }

    /// Deletes a service with its verifications; false: there is none.
    pub fn delete_service(&mut self, sid: &str) -> bool {
        let before = self.services.len();
        self.services.retain(|service| service.sid != sid);
        self.all.retain(|verification| verification.service != sid);
        self.rate_limits.delete_all_of(sid);
        self.services.len() < before
    }

    /// Sends a code: the one that lives, or a new one.
    pub fn start(&mut self, service: &Service, start: Start, now: Timestamp) -> Started {
        let Start { to, channel, code, payment, locale, keys } = start;
        let send = Send { at: now, channel: channel.clone(), sid: random_sid("VL"), message: random_sid("SM") };
        if self.live(&service.sid, &to, now).is_some_and(|living| living.sends.len() >= SENDS_MAX) {
            return Started::TooOften;
        }
        if !self.rate_limits.admit(&service.sid, &keys, now) {
            return Started::Limited;
        }
        if let Some(living) = self.find(&service.sid, &to, now) {
            (living.channel, living.updated) = (channel, now);
            living.sends.push(send);
            return Started::Sent(Box::new(living.clone()));
        }
        let verification = Verification {
            sid: random_sid("VE"),
            service: service.sid.clone(),
            to,
            channel,
            status: "pending",
            code: code.unwrap_or_else(|| digits(service.code_length)),
            payment,
            locale,
            sends: vec![send],
            checks: 0,
            created: now,
            updated: now,
        };
        self.all.push_back(verification.clone());
        if self.all.len() > VERIFICATIONS_MAX {
            self.all.pop_front();
        }
        Started::Sent(Box::new(verification))
    }

    /// The one with this SID, or to this number, while Twilio knows it.
    pub fn live(&self, service: &str, which: &str, now: Timestamp) -> Option<&Verification> {
        self.all.iter().rev().find(|one| one.is(service, which) && one.is_there(now))
    }

    fn find(&mut self, service: &str, which: &str, now: Timestamp) -> Option<&mut Verification> {
        self.all.iter_mut().rev().find(|one| one.is(service, which) && one.is_there(now))
    }

    /// Every sending of the last thirty days, in no particular order.
    pub fn attempts(&self, now: Timestamp) -> impl Iterator<Item = Attempt> {
        let of_one = move |one: &Verification| {
            let last = one.sends.len() - 1;
            let kept = one.sends.iter().enumerate().filter(move |(_, send)| now < send.at + ATTEMPTS_KEPT);
            let attempts = kept.map(|(place, send)| {
                let converted = one.status == "approved" && place == last;
                Attempt {
                    verification: one.sid.clone(),
                    service: one.service.clone(),
                    to: one.to.clone(),
                    locale: one.locale.clone(),
                    code_length: one.code.chars().count(),
                    send: send.clone(),
                    converted,
                    updated: if converted { one.updated } else { send.at },
                }
            });
            attempts.collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of_one)
    }

    /// Ends one as its caller says.
    pub fn end(&mut self, service: &str, which: &str, status: &str, now: Timestamp) -> Option<Verification> {
        let found = self.find(service, which, now)?;
        found.status = if status == "approved" { "approved" } else { "canceled" };
        found.updated = now;
        Some(found.clone())
    }

    /// Compares a code.
    pub fn check(
        &mut self,
        service: &str,
        which: &str,
        (code, (amount, payee)): (&str, (Option<&str>, Option<&str>)),
        now: Timestamp,
    ) -> Checked {
        let Some(found) = self.find(service, which, now) else { return Checked::NotFound };
        if found.checks >= CHECKS_MAX {
            return Checked::TooOften;
        }
        if let Some((bound_amount, bound_payee)) = &found.payment
            && (amount != Some(bound_amount.as_str()) || payee != Some(bound_payee.as_str()))
        {
            return Checked::OtherPayment;
        }
        found.updated = now;
        if found.code == code {
            found.status = "approved";
        } else {
            found.checks += 1;
            if found.checks >= CHECKS_MAX {
                found.status = "max_attempts_reached";
            }
        }
        // The answer to the last wrong one says "pending" like those before it.
        let status = if found.status == "approved" { "approved" } else { "pending" };
        Checked::Answered(Box::new(Verification { status, ..found.clone() }))
    }
}

#[expect(clippy::disallowed_methods, reason = "a code of the sandbox protects nothing")]
fn digits(length: u8) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(b'0' + random.random_range(0..10u8))).collect()
}
