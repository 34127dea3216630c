//! Money in US dollars, exact to a millionth.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

/// An amount of money in millionths of a US dollar: prices of messages have up to five decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// So many US dollars, rounded to a millionth.
    pub fn from_usd(usd: f64) -> Money {
        Money((usd * 1e6).round() as i64)
    }

    /// In US dollars.
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// So many times as much.
    pub fn times(self, factor: u32) -> Money {
        Money(self.0.saturating_mul(i64::from(factor)))
    }

    /// So much of it, rounded to a millionth.
    pub fn part(self, factor: f64) -> Money {
        Money((self.0 as f64 * factor).round() as i64)
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Money) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Add::add)
    }
}

/// With two decimals, or with up to four where they are needed: `5.60 US$`, `0.0083 US$`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.usd());
        let cents = text.strip_suffix("00").unwrap_or(&text);
        write!(f, "{cents} US$")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_with_cents_and_with_what_is_less_where_it_counts() {
        let shown = |usd| Money::from_usd(usd).to_string();
        assert_eq!(shown(5.6), "5.60 US$");
        assert_eq!(shown(0.0083), "0.0083 US$");
        assert_eq!(shown(0.0), "0.00 US$");
        assert_eq!(Money::from_usd(0.0083).times(3), Money(24_900));
        assert_eq!(Money(i64::MAX) + Money(1), Money(i64::MAX));
    }
}
