//! The caps of the guard's first layer: how many messages to strangers, and how much money, a day may take (see docs/money.md).
//!
//! A *stranger* is a phone that was not proven lately; *open* is a message to one that nobody proved yet. A day is 24 hours, of
//! which each is counted as a whole. The numbers come from a simulation of ten shapes of attacks and of nine of traffic without one.

use std::time::Duration;

use super::CountryPolicy;
use crate::money::{Ceilings, Money};

/// An installation that is younger has no past to be judged by.
pub const YOUNG: Duration = Duration::from_secs(48 * 3600);

/// A country is young for so many days, that of its first proof included: whoever enters the codes of an attack on one evening is not
/// to have four times as much the next day.
pub const YOUNG_DAYS: i64 = 3;

/// A country is *proven* once so many strangers there entered a code on its best day, or today.
pub const PROVEN: f64 = 8.0;

/// A country without a past may have so much money open.
const FLOOR: Money = Money(4_000_000);
/// But at least and at most so many messages.
const FLOOR_RANGE: (u32, u32) = (10, 50);

/// All countries that are not proven may together have so much money open.
const POOL: Money = Money(10_000_000);

/// What a day may cost before there is a past.
const DAY: Money = Money(25_000_000);

/// What is known of a country.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CountryPast {
    /// The strangers who entered a code on its best whole day, of which each day takes 3 %.
    pub best: f64,
    /// Those of the last 24 hours.
    pub proven: u32,
    /// The messages of its best whole day, where nobody says which codes were entered.
    pub best_sent: f64,
    /// Nobody was proven there before the last [`YOUNG_DAYS`] days.
    pub is_young: bool,
}

/// What is known of the installation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// It is younger than [`YOUNG`].
    pub is_young: bool,
    /// The strangers who entered a code on its best whole day.
    pub best: f64,
    /// What its best whole day cost.
    pub best_money: Money,
    /// What the messages cost whose codes were entered in the last 24 hours.
    pub proven_money: Money,
}

impl Default for Past {
    /// None.
    fn default() -> Past {
        Past { is_young: true, best: 0.0, best_money: Money::ZERO, proven_money: Money::ZERO }
    }
}

impl CountryPast {
    /// The strangers who entered a code on the better of its best day and today.
    pub fn most(&self) -> f64 {
        self.best.max(f64::from(self.proven))
    }
    /// Whether real people enter codes there.
    pub fn is_proven(&self) -> bool {
        self.most() >= PROVEN
    }
}

/// How many messages may be open in a country without a past. `message`: what one costs.
pub fn floor(message: Money, own: CountryPolicy) -> u32 {
    let (least, most) = FLOOR_RANGE;
    let worth = FLOOR.0.checked_div(message.0).and_then(|count| u32::try_from(count).ok()).unwrap_or(most);
    own.floor.unwrap_or(worth.clamp(least, most))
}

/// From how many open messages on a country that is not proven gets none, and in a proven one only blocks that are.
pub fn open(floor: u32, past: &CountryPast) -> f64 {
    f64::from(floor) + past.most()
}

/// From how many open messages on nobody gets one.
pub fn open_at_most(floor: u32, past: &CountryPast) -> f64 {
    open(floor, past) * if past.is_proven() { 1.5 } else { 1.0 }
}

/// From how many messages to strangers on a country gets no more in 24 hours.
pub fn total(floor: u32, past: &CountryPast, whole: &Past, own: CountryPolicy) -> f64 {
    // In an old installation a country opens with customers like the others', of whom more than half enter their codes.
    let (today, launch) = if whole.is_young { (3.0, f64::INFINITY) } else { (2.0, 0.2 * whole.best) };
    let growth = if past.is_young { 2.0 } else { 4.0 };
    let by_past = (growth * past.best).max((today * f64::from(past.proven)).min(launch));
    own.cap.map_or(by_past.max(2.0 * f64::from(floor)), f64::from)
}

/// The same where nobody says which codes were entered.
pub fn total_unknown(floor: u32, past: &CountryPast, own: CountryPolicy) -> f64 {
    own.cap.map_or((2.5 * past.best_sent).max(2.0 * f64::from(floor)), f64::from)
}

/// How much money may be open in all countries together that are not proven.
pub fn pool(whole: &Past) -> Money {
    POOL.max(whole.best_money.percent(5))
}

/// What 24 hours may cost: the ceiling that was configured, else one by the past.
pub fn day(ceilings: &Ceilings, whole: &Past) -> Money {
    let young = if whole.is_young { DAY.plus(whole.proven_money.times(2)) } else { Money::ZERO };
    ceilings.day.unwrap_or(DAY.max(whole.best_money.times(3)).max(young))
}

/// What an hour may cost.
pub fn hour(ceilings: &Ceilings, day: Money) -> Money {
    ceilings.hour.unwrap_or(day.percent(35))
}

/// Phones that were proven lately may go so far above the ceiling of a day, so that an attack does not lock people out.
pub fn day_of_known(day: Money) -> Money {
    day.percent(125)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_OWN: CountryPolicy = CountryPolicy { floor: None, cap: None, closed: false };

    #[test]
    fn a_country_without_a_past_gets_four_dollars_worth_between_ten_and_fifty() {
        for (micros, messages) in [(8_300, 50), (80_000, 50), (110_000, 36), (400_000, 10), (900_000, 10), (0, 50)] {
            assert_eq!(floor(Money(micros), NO_OWN), messages, "{micros}");
        }
        assert_eq!(floor(Money(400_000), CountryPolicy { floor: Some(3), ..NO_OWN }), 3);
    }

    #[test]
    fn what_was_proven_widens_the_caps() {
        let (none, young) = (CountryPast::default(), Past::default());
        assert_eq!((open(10, &none), open_at_most(10, &none), total(10, &none, &young, NO_OWN)), (10.0, 10.0, 20.0));
        let known = CountryPast { best: 40.0, proven: 12, best_sent: 60.0, is_young: false };
        assert_eq!(
            (open(10, &known), open_at_most(10, &known), total(10, &known, &young, NO_OWN)),
            (50.0, 75.0, 160.0)
        );
        assert_eq!((total_unknown(10, &known, NO_OWN), total_unknown(10, &none, NO_OWN)), (150.0, 20.0));
        let own = CountryPolicy { cap: Some(15), ..NO_OWN };
        assert_eq!((total(10, &known, &young, own), total_unknown(10, &known, own)), (15.0, 15.0));
        // A country that opens today: three for each that was proven, later two, but not above its share of the whole.
        let opening = CountryPast { proven: 100, ..CountryPast::default() };
        let old = Past { is_young: false, best: 1000.0, ..Past::default() };
        assert_eq!((total(10, &opening, &young, NO_OWN), total(10, &opening, &old, NO_OWN)), (300.0, 200.0));
        let opened = CountryPast { proven: 60, ..CountryPast::default() };
        assert_eq!((total(10, &opened, &young, NO_OWN), total(10, &opened, &old, NO_OWN)), (180.0, 120.0));
        let second_day = CountryPast { is_young: true, proven: 0, ..known };
        assert_eq!(total(10, &second_day, &old, NO_OWN), 80.0, "what was proven on one day is worth half of a past");
        assert!(!none.is_proven() && CountryPast { proven: 8, ..none }.is_proven());
    }

    #[test]
    fn money_is_bounded_by_what_was_configured_or_by_the_past() {
        let (set, unset) =
            (Ceilings { day: Some(Money(50)), hour: Some(Money(5)), ..Ceilings::default() }, Ceilings::default());
        let usd = Money::from_usd;
        let young = Past { proven_money: usd(3.0), ..Past::default() };
        assert_eq!((day(&unset, &young), day(&set, &young)), (usd(31.0), Money(50)));
        let old = Past { is_young: false, best_money: usd(400.0), ..young };
        assert_eq!((day(&unset, &old), pool(&old), pool(&young)), (usd(1200.0), usd(20.0), usd(10.0)));
        assert_eq!(
            (hour(&unset, usd(100.0)), hour(&set, usd(100.0)), day_of_known(usd(100.0))),
            (usd(35.0), Money(5), usd(125.0))
        );
        let quiet = Past { is_young: false, ..Past::default() };
        assert_eq!(day(&unset, &quiet), usd(25.0));
    }
}
