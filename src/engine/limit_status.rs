//! How full the limits of someone are: what `limits show` shows.

use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits::{Limit, Limits, Window};
use crate::otp::User;
use crate::phone::Phone;
use crate::policy::Policy;
use crate::purpose::Purpose;
use crate::subject::{Subject, SubjectKind};
use crate::usage::{self, Fill, Usage};

/// Whose limits are asked for.
#[derive(Clone, Debug, Default)]
pub struct LimitQuery {
    /// A phone.
    pub phone: Option<Phone>,
    /// A user; the empty one is nobody.
    pub user: User,
    /// A client address.
    pub ip: Option<IpAddr>,
    /// The purpose whose budgets are meant; all that are known where none is given.
    pub purpose: Option<Purpose>,
}

/// One limit, and how full it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitStatus {
    /// What it counts.
    pub subject: SubjectKind,
    /// The limit.
    pub limit: Limit,
    /// The purpose that it is for, where each has its own.
    pub purpose: Option<String>,
    /// How many in how long; a span of zero means that only success or a reset opens it.
    pub window: Window,
    /// How many count now; `None` where nobody was asked about.
    pub used: Option<u32>,
    /// If it is full: how long until there is room.
    pub wait: Option<Duration>,
}

impl LimitQuery {
    /// True where no one in particular is asked about.
    pub fn is_nobody(&self) -> bool {
        self.phone.is_none() && self.user.is_empty() && self.ip.is_none()
    }
}

/// The limits themselves, without anyone's usage.
pub fn limits_of_nobody(policy: &Policy) -> Vec<LimitStatus> {
    let limits = &policy.limits;
    let empty = Usage::default();
    let mut rows = of_phone(limits, &empty, Timestamp(0), &[String::new()]);
    rows.extend(of_pair(limits, &empty));
    rows.extend(of_user(limits, &empty, Timestamp(0)));
    rows.extend(of_ip(limits, &empty, Timestamp(0)));
    rows.extend(of_wide(SubjectKind::Network, Limit::Network, &limits.network, &empty, Timestamp(0)));
    rows.extend(of_wide(SubjectKind::Everything, Limit::Everything, &limits.everything, &empty, Timestamp(0)));
    for row in &mut rows {
        (row.used, row.wait) = (None, None);
    }
    rows
}

/// How full the limits of someone are now.
pub(super) async fn limit_status(ctx: &Context, whom: &LimitQuery) -> Result<Vec<LimitStatus>> {
    let limits = &ctx.policy.limits;
    let now = ctx.reads().now().await?;
    let mut rows = Vec::new();
    if let Some(phone) = &whom.phone {
        let usage = usage_of(ctx, Subject::Phone(phone.clone())).await?;
        let purposes: Vec<String> = match &whom.purpose {
            Some(purpose) => vec![purpose.as_str().to_owned()],
            None => usage.purposes.keys().cloned().collect(),
        };
        rows.extend(of_phone(limits, &usage, now, &purposes));
        rows.extend(of_pair(limits, &usage_of(ctx, Subject::Pair(whom.user.clone(), phone.clone())).await?));
    }
    if !whom.user.is_empty() {
        rows.extend(of_user(limits, &usage_of(ctx, Subject::User(whom.user.clone())).await?, now));
    }
    if let Some(ip) = whom.ip {
        let [ip, network] = Subject::of_client(ip);
        rows.extend(of_ip(limits, &usage_of(ctx, ip).await?, now));
        rows.extend(of_wide(
            SubjectKind::Network,
            Limit::Network,
            &limits.network,
            &usage_of(ctx, network).await?,
            now,
        ));
    }
    // It closes for everyone alike.
    rows.extend(of_wide(
        SubjectKind::Everything,
        Limit::Everything,
        &limits.everything,
        &usage_of(ctx, Subject::Everything).await?,
        now,
    ));
    Ok(rows)
}

async fn usage_of(ctx: &Context, subject: Subject) -> Result<Usage> {
    let found = ctx.reads().usages(&[subject]).await?;
    Ok(found.into_iter().next().flatten().map(|fact| fact.usage).unwrap_or_default())
}

fn row(subject: SubjectKind, limit: Limit, window: Window, fill: Fill) -> LimitStatus {
    LimitStatus { subject, limit, purpose: None, window, used: Some(fill.used), wait: fill.wait }
}

fn of_phone(limits: &Limits, phone: &Usage, now: Timestamp, purposes: &[String]) -> Vec<LimitStatus> {
    let mut rows: Vec<LimitStatus> = limits
        .phone
        .iter()
        .map(|window| row(SubjectKind::Phone, Limit::Phone, *window, phone.sends_in(*window, now)))
        .collect();
    rows.push(row(
        SubjectKind::Phone,
        Limit::Refused,
        limits.refused_phone,
        usage::fill(&phone.refused, limits.refused_phone, now),
    ));
    for name in purposes {
        let known = phone.purpose(name);
        let (window, fill) = limits.cooldown(known, now).unwrap_or_else(|| {
            let per = limits.cooldown.first().copied().unwrap_or_default();
            (Window { max: 1, per }, Fill { used: 0, wait: None })
        });
        let purpose = Some(name.clone()).filter(|name| !name.is_empty());
        rows.push(LimitStatus { purpose: purpose.clone(), ..row(SubjectKind::Phone, Limit::Cooldown, window, fill) });
        let window = limits.guesses_per_phone;
        let guesses = known.map_or(&[][..], |purpose| &purpose.guesses);
        rows.push(LimitStatus {
            purpose,
            ..row(SubjectKind::Phone, Limit::Guesses, window, usage::fill(guesses, window, now))
        });
    }
    rows
}

fn of_pair(limits: &Limits, pair: &Usage) -> Vec<LimitStatus> {
    let window = Window { max: limits.guesses_in_a_row, per: Duration::ZERO };
    vec![row(SubjectKind::Pair, Limit::Guesses, window, Fill { used: pair.in_a_row, wait: None })]
}

fn of_user(limits: &Limits, user: &Usage, now: Timestamp) -> Vec<LimitStatus> {
    let mut rows: Vec<LimitStatus> = limits
        .user
        .iter()
        .map(|window| row(SubjectKind::User, Limit::User, *window, user.sends_in(*window, now)))
        .collect();
    let window = limits.user_phones;
    rows.push(row(SubjectKind::User, Limit::UserPhones, window, user.other_phones_in(window, "", now)));
    rows.push(row(
        SubjectKind::User,
        Limit::Refused,
        limits.refused_other,
        usage::fill(&user.refused, limits.refused_other, now),
    ));
    rows
}

fn of_ip(limits: &Limits, ip: &Usage, now: Timestamp) -> Vec<LimitStatus> {
    let mut rows: Vec<LimitStatus> =
        limits.ip.iter().map(|window| row(SubjectKind::Ip, Limit::Ip, *window, ip.sends_in(*window, now))).collect();
    rows.push(row(SubjectKind::Ip, Limit::IpPhones, limits.ip_phones, ip.other_phones_in(limits.ip_phones, "", now)));
    let window = limits.guesses_per_ip;
    rows.push(row(SubjectKind::Ip, Limit::Guesses, window, usage::fill(&ip.guesses, window, now)));
    rows.push(row(
        SubjectKind::Ip,
        Limit::Refused,
        limits.refused_other,
        usage::fill(&ip.refused, limits.refused_other, now),
    ));
    rows
}

fn of_wide(subject: SubjectKind, limit: Limit, windows: &[Window], usage: &Usage, now: Timestamp) -> Vec<LimitStatus> {
    windows.iter().map(|window| row(subject, limit, *window, usage.slots_in(*window, now))).collect()
}
