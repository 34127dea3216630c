//! Asks for codes, and what becomes of each.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::otp::User;
use crate::phone::Phone;

/// One ask for a code.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// When.
    pub at: Timestamp,
    /// For which phone.
    pub phone: Phone,
    /// Its country by two letters; empty for numbers of no country.
    pub country: Arc<str>,
    /// For which user; empty where nobody in particular.
    pub user: User,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// After how long the person is proven, by this code or by another way.
    pub proven_after: Option<Duration>,
    /// After how long the carrier reports the message as failed or undelivered; only where nobody is proven.
    pub failed_after: Option<Duration>,
    /// It belongs to an attack.
    pub attack: bool,
    /// The caller reports what becomes of its codes; otherwise a code that nobody enters says nothing.
    pub reported: bool,
}

/// A phone that was proven before the first ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The phone.
    pub phone: Phone,
    /// When it was last proven; `None`: just before the first ask.
    pub at: Option<Timestamp>,
}

/// What an installation is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Who was proven before.
    pub known: Vec<Known>,
    /// The asks, by time.
    pub asks: Vec<Ask>,
    /// What was asked before this is history: it is played, and not counted.
    pub judge_from: Timestamp,
}

impl Traffic {
    /// Its asks per day, over the time that it covers.
    pub fn per_day(&self) -> f64 {
        const DAY: f64 = 86_400.0;
        let (Some(first), Some(last)) = (self.asks.first(), self.asks.last()) else { return 0.0 };
        self.asks.len() as f64 / (last.at.since(first.at).as_secs_f64() / DAY).max(1.0)
    }
}
