//! How full the limits of someone stand: what `limits show` tells.

use std::net::IpAddr;
use std::time::Duration;

use super::Engine;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::usage::{self, Fill, Usage};
use crate::limits::{Limits, Window};
use crate::otp::User;
use crate::phone::Phone;
use crate::purpose::{Policy, Purpose};
use crate::store::Subject;

/// Whose limits are asked for.
#[derive(Clone, Debug, Default)]
pub struct Whom {
    /// A phone.
    pub phone: Option<Phone>,
    /// A user; the empty one is nobody.
    pub user: User,
    /// A client address.
    pub ip: Option<IpAddr>,
    /// The purpose whose budgets are meant; all that are known where none is given.
    pub purpose: Option<Purpose>,
}

/// One limit, and how full it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What it counts.
    pub subject: &'static str,
    /// Its name, as `--override` takes it.
    pub limit: &'static str,
    /// The purpose that it is for, where each has its own.
    pub purpose: Option<String>,
    /// How many in how long; a span of zero means that only success or a reset opens it.
    pub window: Window,
    /// How many count now; `None` where nobody was asked about.
    pub used: Option<u32>,
    /// If it is full: how long until there is room.
    pub wait: Option<Duration>,
}

impl Whom {
    /// True where no one in particular is asked about.
    pub fn is_nobody(&self) -> bool {
        self.phone.is_none() && self.user.is_empty() && self.ip.is_none()
    }
}

/// The limits themselves, without anyone's standing.
pub fn standings_of_nobody(policy: &Policy) -> Vec<Standing> {
    let limits = &policy.limits;
    let empty = Usage::default();
    let mut rows = of_phone(limits, &empty, Timestamp(0), &[String::new()]);
    rows.extend(of_pair(limits, &empty));
    rows.extend(of_user(limits, &empty, Timestamp(0)));
    rows.extend(of_ip(limits, &empty, Timestamp(0)));
    rows.extend(of_wide("network", &limits.network, &empty, Timestamp(0)));
    rows.extend(of_wide("everything", &limits.everything, &empty, Timestamp(0)));
    for row in &mut rows {
        (row.used, row.wait) = (None, None);
    }
    rows
}

impl Engine {
    /// How full the limits of someone stand now.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn standings(&self, whom: &Whom) -> Result<Vec<Standing>> {
        let limits = &self.policy.limits;
        let now = self.store.now().await?;
        let mut rows = Vec::new();
        if let Some(phone) = &whom.phone {
            let usage = self.usage(Subject::Phone(phone.clone())).await?;
            let purposes: Vec<String> = match &whom.purpose {
                Some(purpose) => vec![purpose.as_str().to_owned()],
                None => usage.purposes.keys().cloned().collect(),
            };
            rows.extend(of_phone(limits, &usage, now, &purposes));
            rows.extend(of_pair(limits, &self.usage(Subject::Pair(whom.user.clone(), phone.clone())).await?));
        }
        if !whom.user.is_empty() {
            rows.extend(of_user(limits, &self.usage(Subject::User(whom.user.clone())).await?, now));
        }
        if let Some(ip) = whom.ip {
            let [ip, network] = Subject::of_client(ip);
            rows.extend(of_ip(limits, &self.usage(ip).await?, now));
            rows.extend(of_wide("network", &limits.network, &self.usage(network).await?, now));
        }
        // It closes for everyone alike.
        rows.extend(of_wide("everything", &limits.everything, &self.usage(Subject::Everything).await?, now));
        Ok(rows)
    }

    async fn usage(&self, subject: Subject) -> Result<Usage> {
        let found = self.store.usages(&[subject]).await?;
        Ok(found.into_iter().next().flatten().map(|fact| fact.usage).unwrap_or_default())
    }
}

fn row(subject: &'static str, limit: &'static str, window: Window, fill: Fill) -> Standing {
    Standing { subject, limit, purpose: None, window, used: Some(fill.used), wait: fill.wait }
}

fn of_phone(limits: &Limits, phone: &Usage, now: Timestamp, purposes: &[String]) -> Vec<Standing> {
    let mut rows: Vec<Standing> =
        limits.phone.iter().map(|window| row("phone", "phone", *window, phone.sends_in(*window, now))).collect();
    rows.push(row("phone", "refused", limits.refused_phone, usage::fill(&phone.refused, limits.refused_phone, now)));
    for name in purposes {
        let known = phone.purpose(name);
        let (window, fill) = limits.cooldown(known, now).unwrap_or_else(|| {
            let per = limits.cooldown.first().copied().unwrap_or_default();
            (Window { max: 1, per }, Fill { used: 0, wait: None })
        });
        let purpose = Some(name.clone()).filter(|name| !name.is_empty());
        rows.push(Standing { purpose: purpose.clone(), ..row("phone", "cooldown", window, fill) });
        let window = limits.guesses_per_phone;
        let guesses = known.map_or(&[][..], |purpose| &purpose.guesses);
        rows.push(Standing { purpose, ..row("phone", "guesses", window, usage::fill(guesses, window, now)) });
    }
    rows
}

fn of_pair(limits: &Limits, pair: &Usage) -> Vec<Standing> {
    let window = Window { max: limits.guesses_in_a_row, per: Duration::ZERO };
    vec![row("pair", "guesses", window, Fill { used: pair.in_a_row, wait: None })]
}

fn of_user(limits: &Limits, user: &Usage, now: Timestamp) -> Vec<Standing> {
    let mut rows: Vec<Standing> =
        limits.user.iter().map(|window| row("user", "user", *window, user.sends_in(*window, now))).collect();
    let window = limits.user_phones;
    rows.push(row("user", "user-phones", window, user.other_phones_in(window, "", now)));
    rows.push(row("user", "refused", limits.refused_other, usage::fill(&user.refused, limits.refused_other, now)));
    rows
}

fn of_ip(limits: &Limits, ip: &Usage, now: Timestamp) -> Vec<Standing> {
    let mut rows: Vec<Standing> =
        limits.ip.iter().map(|window| row("ip", "ip", *window, ip.sends_in(*window, now))).collect();
    rows.push(row("ip", "ip-phones", limits.ip_phones, ip.other_phones_in(limits.ip_phones, "", now)));
    let window = limits.guesses_per_ip;
    rows.push(row("ip", "guesses", window, usage::fill(&ip.guesses, window, now)));
    rows.push(row("ip", "refused", limits.refused_other, usage::fill(&ip.refused, limits.refused_other, now)));
    rows
}

fn of_wide(name: &'static str, windows: &[Window], usage: &Usage, now: Timestamp) -> Vec<Standing> {
    windows.iter().map(|window| row(name, name, *window, usage.slots_in(*window, now))).collect()
}
