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
    /// An access token of a user.
    pub token: Option<i64>,
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
    /// The pauses of the cooldown, one after the other; empty for every other limit.
    pub pauses: Vec<Duration>,
    /// How many count now; `None` where nobody was asked about.
    pub used: Option<u32>,
    /// If it is full: how long until there is room.
    pub wait: Option<Duration>,
}

impl LimitQuery {
    /// True where no one in particular is asked about.
    pub fn is_nobody(&self) -> bool {
        self.phone.is_none() && self.user.is_empty() && self.ip.is_none() && self.token.is_none()
    }
}

/// The limits themselves, without anyone's usage.
pub fn limits_of_nobody(policy: &Policy) -> Vec<LimitStatus> {
    let empty = Usage::default();
    // What holds for every purpose, and what some have of their own.
    let purposes: Vec<String> = [String::new()].into_iter().chain(policy.limits.purposes.keys().cloned()).collect();
    let limits = Counted { limits: &policy.limits, now: Timestamp(0) };
    let mut rows = limits.of_phone(&empty, &purposes);
    rows.extend(limits.of_pair(&empty));
    rows.extend(limits.of_user(&empty));
    rows.extend(limits.of_ip(&empty));
    rows.extend(limits.of_token(&empty));
    rows.extend(limits.of_wide(SubjectKind::Network, &empty));
    rows.extend(limits.of_wide(SubjectKind::Everything, &empty));
    for row in &mut rows {
        (row.used, row.wait) = (None, None);
    }
    rows
}

/// How full the limits of someone are now.
pub(super) async fn limit_status(ctx: &Context, whom: &LimitQuery) -> Result<Vec<LimitStatus>> {
    let limits = Counted { limits: &ctx.policy.limits, now: ctx.reads().now().await? };
    let mut rows = Vec::new();
    if let Some(phone) = &whom.phone {
        let usage = usage_of(ctx, Subject::Phone(phone.clone())).await?;
        let purposes: Vec<String> = match &whom.purpose {
            Some(purpose) => vec![purpose.as_str().to_owned()],
            None => usage.purposes.keys().cloned().collect(),
        };
        rows.extend(limits.of_phone(&usage, &purposes));
        rows.extend(limits.of_pair(&usage_of(ctx, Subject::Pair(whom.user.clone(), phone.clone())).await?));
    }
    if !whom.user.is_empty() {
        rows.extend(limits.of_user(&usage_of(ctx, Subject::User(whom.user.clone())).await?));
    }
    if let Some(ip) = whom.ip {
        let [ip, network] = Subject::of_client(ip);
        rows.extend(limits.of_ip(&usage_of(ctx, ip).await?));
        rows.extend(limits.of_wide(SubjectKind::Network, &usage_of(ctx, network).await?));
    }
    if let Some(id) = whom.token {
        rows.extend(limits.of_token(&usage_of(ctx, Subject::Token(id)).await?));
    }
    // It closes for everyone alike.
    rows.extend(limits.of_wide(SubjectKind::Everything, &usage_of(ctx, Subject::Everything).await?));
    Ok(rows)
}

async fn usage_of(ctx: &Context, subject: Subject) -> Result<Usage> {
    let found = ctx.reads().usages(&[subject]).await?;
    Ok(found.into_iter().next().flatten().map(|fact| fact.usage).unwrap_or_default())
}

/// The limits, and the moment at which they are looked at.
struct Counted<'a> {
    limits: &'a Limits,
    now: Timestamp,
}

impl Counted<'_> {
    fn rows(
        &self,
        subject: SubjectKind,
        limit: Limit,
        windows: &[Window],
        fill: impl Fn(Window) -> Fill,
    ) -> Vec<LimitStatus> {
        windows.iter().map(|window| row(subject, limit, *window, fill(*window))).collect()
    }

    fn of_phone(&self, phone: &Usage, purposes: &[String]) -> Vec<LimitStatus> {
        use SubjectKind::Phone;
        let (limits, now) = (self.limits, self.now);
        let mut rows = self.rows(Phone, Limit::Phone, &limits.phone, |window| phone.sends_in(window, now));
        for name in purposes {
            let (used, own) = (phone.purpose(name), limits.purposes.get(name));
            let mut of_purpose = Vec::new();
            if let Some(own) = own {
                let sends = used.map_or(&[][..], |purpose| &purpose.sends);
                of_purpose.extend(self.rows(Phone, Limit::Phone, &own.phone, |window| usage::fill(sends, window, now)));
            }
            let pauses = limits.pauses(name);
            // Without anyone's usage, a purpose is named for what it has of its own.
            let shown = name.is_empty() || used.is_some() || own.is_none_or(|own| own.cooldown.is_some());
            if let Some(first) = pauses.first().filter(|_| shown) {
                let free = (Window { max: 1, per: *first }, Fill { used: 0, wait: None });
                let (window, fill) = limits.cooldown(name, used, now).unwrap_or(free);
                let pauses = pauses.to_vec();
                of_purpose.push(LimitStatus { pauses, ..row(Phone, Limit::Cooldown, window, fill) });
            }
            if let Some(tries) = own.and_then(|own| own.guesses_per_otp) {
                of_purpose.push(of_otp(tries));
            }
            let purpose = Some(name.clone()).filter(|name| !name.is_empty());
            rows.extend(of_purpose.into_iter().map(|row| LimitStatus { purpose: purpose.clone(), ..row }));
        }
        rows.extend(self.rows(Phone, Limit::RefusedPhone, &limits.refused_phone, |window| {
            usage::fill(&phone.refused, window, now)
        }));
        rows.push(of_otp(limits.guesses_per_otp));
        rows.extend(self.rows(Phone, Limit::GuessesPerPhone, &limits.guesses_per_phone, |window| {
            usage::fill(&phone.guesses, window, now)
        }));
        rows
    }

    fn of_pair(&self, pair: &Usage) -> Vec<LimitStatus> {
        let (limits, now) = (self.limits, self.now);
        let mut rows = self.rows(SubjectKind::Pair, Limit::GuessesPerUser, &limits.guesses_per_user, |window| {
            usage::fill(&pair.guesses, window, now)
        });
        let window = Window { max: limits.guesses_in_a_row, per: Duration::ZERO };
        let fill = Fill { used: pair.in_a_row, wait: None };
        rows.extend((window.max > 0).then(|| row(SubjectKind::Pair, Limit::GuessesInARow, window, fill)));
        rows
    }

    fn of_user(&self, user: &Usage) -> Vec<LimitStatus> {
        use SubjectKind::User;
        let (limits, now) = (self.limits, self.now);
        let mut rows = self.rows(User, Limit::User, &limits.user, |window| user.sends_in(window, now));
        rows.extend(
            self.rows(User, Limit::UserPhones, &limits.user_phones, |window| user.other_phones_in(window, "", now)),
        );
        rows.extend(
            self.rows(User, Limit::RefusedOther, &limits.refused_other, |window| {
                usage::fill(&user.refused, window, now)
            }),
        );
        rows
    }

    fn of_ip(&self, ip: &Usage) -> Vec<LimitStatus> {
        use SubjectKind::Ip;
        let (limits, now) = (self.limits, self.now);
        let mut rows = self.rows(Ip, Limit::Ip, &limits.ip, |window| ip.sends_in(window, now));
        rows.extend(self.rows(Ip, Limit::IpPhones, &limits.ip_phones, |window| ip.other_phones_in(window, "", now)));
        rows.extend(
            self.rows(Ip, Limit::GuessesPerIp, &limits.guesses_per_ip, |window| usage::fill(&ip.guesses, window, now)),
        );
        rows.extend(
            self.rows(Ip, Limit::RefusedOther, &limits.refused_other, |window| usage::fill(&ip.refused, window, now)),
        );
        rows
    }

    fn of_token(&self, token: &Usage) -> Vec<LimitStatus> {
        self.rows(SubjectKind::Token, Limit::GuessesPerToken, &self.limits.guesses_per_token, |window| {
            usage::fill(&token.guesses, window, self.now)
        })
    }

    fn of_wide(&self, subject: SubjectKind, usage: &Usage) -> Vec<LimitStatus> {
        let (limit, windows) = match subject {
            SubjectKind::Network => (Limit::Network, &self.limits.network),
            _ => (Limit::Everything, &self.limits.everything),
        };
        self.rows(subject, limit, windows, |window| usage.slots_in(window, self.now))
    }
}

fn row(subject: SubjectKind, limit: Limit, window: Window, fill: Fill) -> LimitStatus {
    LimitStatus { subject, limit, purpose: None, window, pauses: Vec::new(), used: Some(fill.used), wait: fill.wait }
}

/// The tries of one code: nobody's usage, so nothing of it is used.
fn of_otp(tries: u32) -> LimitStatus {
    let window = Window { max: tries, per: Duration::ZERO };
    LimitStatus { used: None, ..row(SubjectKind::Phone, Limit::GuessesPerOtp, window, Fill { used: 0, wait: None }) }
}
