//! What is known of the installation as a whole: what it spends, and what it has proven.

use chrono::{Datelike, Months, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::caps::{self, Past};
use super::country::{BEST_KEPT, HOUR_MS, HOURS, day, hour};
use super::ring::Ring;
use super::rule::Rule;
use super::{Counted, Event, EventKind};
use crate::clock::Timestamp;
use crate::money::{Ceilings, Money};

const MINUTES_MS: i64 = 300_000;

/// One slot more than fills an hour or a day: the oldest is only partly outside, and counts as a whole. A ceiling refuses a
/// little early, never late.
const IN_AN_HOUR: usize = 13;
const IN_A_DAY: usize = 25;

/// The installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installation {
    /// When the first message was judged, in milliseconds of the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<i64>,
    /// The day that is counted, since the epoch, in UTC.
    day: i64,
    /// Strangers proven on it.
    day_proven: u32,
    /// What was spent on it.
    day_money: Money,
    /// The best whole day of strangers proven, which each day makes a little less.
    best: f64,
    /// The dearest whole day, likewise.
    best_money: Money,
    /// Strangers proven in all.
    proven_ever: u32,
    /// Spent, in millionths of a US dollar, by hours.
    hours: Ring<i64, IN_A_DAY>,
    /// Spent by five minutes.
    minutes: Ring<i64, IN_AN_HOUR>,
    /// The calendar month, counted from the year 0, and what was spent in it.
    month: (i64, Money),
    /// Open in countries that are not proven, by hours.
    pool: Ring<i64, HOURS>,
    /// Paid for strangers who were proven, by hours of the proof.
    proven_money: Ring<i64, HOURS>,
    /// When the ceilings of hour, day and month were last reported to be reached, in milliseconds of the Unix epoch.
    reached_at: [i64; 3],
}

/// What a ceiling allows, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Which one.
    pub rule: Rule,
    /// Spent.
    pub used: Money,
    /// The most that may be.
    pub allowed: Money,
    /// An operator set it: known phones get no more than others.
    pub configured: bool,
}

fn month(at: Timestamp) -> i64 {
    let date = at.datetime();
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

impl Installation {
    /// Brings what is counted up to now.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let days = day(now) - self.day;
        if days > 0 {
            let kept = BEST_KEPT.powf(days as f64);
            self.best = (self.best * kept).max(f64::from(self.day_proven));
            self.best_money = Money((self.best_money.0 as f64 * kept) as i64).max(self.day_money);
            (self.day, self.day_proven, self.day_money) = (day(now), 0, Money::ZERO);
        }
        self.hours.roll(hour(now));
        self.minutes.roll(now.millis().div_euclid(MINUTES_MS));
        self.pool.roll(hour(now));
        self.proven_money.roll(hour(now));
        if month(now) > self.month.0 {
            self.month = (month(now), Money::ZERO);
        }
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was counted.
    pub fn none_after(&mut self, now: Timestamp) {
        self.began = self.began.map(|at| at.min(now.millis()));
        self.day = self.day.min(day(now));
        self.hours.none_after(hour(now));
        self.minutes.none_after(now.millis().div_euclid(MINUTES_MS));
        self.month.0 = self.month.0.min(month(now));
        self.pool.none_after(hour(now));
        self.proven_money.none_after(hour(now));
        self.reached_at.iter_mut().for_each(|at| *at = now.millis().min(*at));
    }

    /// The first message is judged now, if none was.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.began.get_or_insert(now.millis());
    }

    /// What the caps and the ceilings are made of.
    pub fn past(&self, now: Timestamp) -> Past {
        Past {
            is_young: self.began.is_none_or(|began| now.since(Timestamp(began)) < caps::YOUNG),
            best: self.best,
            best_money: self.best_money,
            proven_money: Money(self.proven_money.sum()),
        }
    }

    /// Strangers proven since the beginning.
    pub fn proven_ever(&self) -> u32 {
        self.proven_ever
    }

    /// Open in all countries together that are not proven.
    pub fn pooled(&self) -> Money {
        Money(self.pool.sum())
    }

    /// Spent in the last 24 hours, the oldest one counted as a whole.
    pub fn spent_in_a_day(&self) -> Money {
        Money(self.hours.sum())
    }

    /// The ceilings on spans of time, in the order in which they are looked at. Without `automatic`, those alone that an operator
    /// set.
    pub fn ceilings(&self, ceilings: &Ceilings, automatic: bool, now: Timestamp) -> Vec<Used> {
        let day = caps::day(ceilings, &self.past(now));
        let day_used = Used {
            rule: Rule::DayCeiling,
            used: self.spent_in_a_day(),
            allowed: day,
            configured: ceilings.day.is_some(),
        };
        let hour_used = Used {
            rule: Rule::HourCeiling,
            used: Money(self.minutes.sum()),
            allowed: caps::hour(ceilings, day),
            configured: ceilings.hour.is_some(),
        };
        let month_used = ceilings.month.map(|allowed| Used {
            rule: Rule::MonthCeiling,
            used: self.month.1,
            allowed,
            configured: true,
        });
        let kept = |used: &Used| used.configured || automatic;
        month_used.into_iter().chain([day_used, hour_used]).filter(kept).collect()
    }

    /// Whether it is news that a ceiling is reached: it was not reported in the last 24 hours. From now on it was.
    pub(super) fn is_full_news(&mut self, rule: Rule, now: Timestamp) -> bool {
        let [hour, day, month] = &mut self.reached_at;
        let reported_at = match rule {
            Rule::HourCeiling => hour,
            Rule::DayCeiling => day,
            _ => month,
        };
        let is_news = now.millis().saturating_sub(*reported_at) >= 24 * HOUR_MS;
        if is_news {
            *reported_at = now.millis();
        }
        is_news
    }

    /// When a ceiling leaves room for so much again.
    pub(super) fn room_at(&self, used: &Used, price: Money, now: Timestamp) -> Option<Timestamp> {
        let below = used.allowed.minus(price).0.saturating_add(1);
        let after = |nth: i64, slots: usize, length: i64| Timestamp((nth + slots as i64) * length);
        match used.rule {
            _ if below <= 0 => None,
            Rule::HourCeiling => Some(after(self.minutes.nth(), self.minutes.room_in(below)?, MINUTES_MS)),
            Rule::DayCeiling => Some(after(self.hours.nth(), self.hours.room_in(below)?, HOUR_MS)),
            _ => next_month(now),
        }
    }

    /// When there is room for so much again in the pool.
    pub(super) fn pool_room_at(&self, allowed: Money, price: Money) -> Option<Timestamp> {
        let slots = self.pool.room_in(allowed.minus(price).0.saturating_add(1))?;
        Some(Timestamp((self.pool.nth() + slots as i64) * HOUR_MS))
    }

    pub(super) fn sent(&mut self, price: Money, pooled: bool) {
        self.spend(price.0, None);
        if pooled {
            *self.pool.newest() += price.0;
        }
    }

    /// Adds what was spent now, or what was reserved at `then` cost beyond that.
    fn spend(&mut self, amount: i64, then: Option<Timestamp>) {
        let add = |slot: &mut i64| *slot = slot.saturating_add(amount).max(0);
        let at = then.unwrap_or(Timestamp(i64::MAX));
        self.hours.at(hour(at)).map(add);
        self.minutes.at(at.millis().div_euclid(MINUTES_MS)).map(add);
        if then.is_none_or(|then| day(then) == self.day) {
            add(&mut self.day_money.0);
        }
        if then.is_none_or(|then| month(then) == self.month.0) {
            add(&mut self.month.1.0);
        }
    }

    /// Takes in what became of a message that was counted here.
    pub fn apply(&mut self, event: &Event) {
        if event.counted == Counted::Free {
            return;
        }
        self.roll(event.at);
        match event.kind {
            EventKind::NotSent => self.spend(-event.price.0, Some(event.reserved_at)),
            EventKind::Priced => self.spend(event.price.0, Some(event.reserved_at)),
            EventKind::Failed => {}
            EventKind::Proven if event.counted == Counted::Stranger => {
                self.day_proven = self.day_proven.saturating_add(1);
                self.proven_ever = self.proven_ever.saturating_add(1);
                *self.proven_money.newest() += event.price.0;
            }
            EventKind::Proven => {}
        }
        let more = match event.kind {
            EventKind::Proven | EventKind::NotSent => -event.price.0,
            EventKind::Priced => event.price.0,
            EventKind::Failed => 0,
        };
        if event.pooled
            && let Some(open) = self.pool.at(hour(event.reserved_at))
        {
            *open = (*open + more).max(0);
        }
    }
}

/// The first moment of the next month.
fn next_month(now: Timestamp) -> Option<Timestamp> {
    let first = now.datetime().date_naive().with_day(1)?.checked_add_months(Months::new(1))?;
    Some(first.and_time(NaiveTime::MIN).and_local_timezone(Utc).single()?.into())
}
