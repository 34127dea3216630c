//! The guard against SMS pumping: what stops somebody who has codes sent to numbers that earn them money.
//!
//! Before a message goes out, [`States::judge`] weighs it against what is known of its country, of its block of numbers and of
//! the installation. Afterwards [`States::sent`] counts it, and an [`Event`] tells what became of it. All of it is pure and of a
//! fixed size: what a decision costs does not grow with what happened before.

mod block;
pub mod caps;
mod country;
mod detector;
mod installation;
mod judge;
mod ring;
mod rule;

pub use block::Block;
pub use country::Country;
pub use installation::Installation;
pub use judge::{Ask, Judged, Sent, States, Verdict, amounts};
pub use rule::{Full, Rule};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::money::{Ceilings, Money, Prices};
use crate::purpose::Purpose;

/// For how long a phone is known after somebody proved it: 90 days.
pub const KNOWN_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// A phone that was sent so many messages since its last proof, of which nobody proved one, is a stranger again.
pub const UNPROVEN_MAX: u32 = 3;

/// How a message counts. It is kept with the message, so that what becomes of it undoes exactly what sending it did.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Counted {
    /// Its phone was proven lately: it counts as money alone.
    Known,
    /// Its phone was not: it is open until somebody proves it.
    Stranger,
    /// Nobody will say whether its code was entered: it counts in totals.
    Unknown,
    /// It costs nothing: a test number.
    Free,
}

/// How a message to a phone counts. `unproven`: the messages since `proven_at` that nobody proved.
pub fn counted(proven_at: Option<Timestamp>, unproven: u32, conversion_known: bool, now: Timestamp) -> Counted {
    match proven_at {
        Some(at) if now.since(at) < KNOWN_FOR && unproven < UNPROVEN_MAX => Counted::Known,
        _ if conversion_known => Counted::Stranger,
        _ => Counted::Unknown,
    }
}

/// What became of a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// Its code was entered, or the caller vouched for the person in another way.
    Proven,
    /// The carrier reported it failed or undelivered. It was paid all the same.
    Failed,
    /// It surely never went out.
    NotSent,
    /// Its final price is known.
    Priced,
}

/// What became of a message, and how it was counted when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it became so.
    pub at: Timestamp,
    /// What became of it.
    pub kind: EventKind,
    /// When it was counted.
    pub reserved_at: Timestamp,
    /// What was counted for it; of [`EventKind::Priced`] what it cost beyond that, below zero where it was cheaper.
    pub price: Money,
    /// How it was counted.
    pub counted: Counted,
    /// It was counted among the countries that are not proven; of [`EventKind::Priced`]: it still is.
    pub pooled: bool,
}

/// What becomes of what the guard finds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr, strum::EnumString, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Nothing is judged but the configured ceilings.
    Off,
    /// The detector raises its alarm and refuses nothing; caps and ceilings refuse.
    Watch,
    /// The detector refuses and challenges as well.
    Enforce,
}

/// What an operator says about one country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountryPolicy {
    /// Messages to strangers that may be open in 24 hours while the country has no past; unset: by its price.
    pub floor: Option<u32>,
    /// The most messages to strangers in any 24 hours; unset: by what the country proved.
    pub cap: Option<u32>,
    /// No codes go there at all.
    pub closed: bool,
}

impl Mode {
    /// The mode where none was set: watch until so many strangers were proven that the detector knows what is usual.
    pub fn unset(everything: &Installation) -> Mode {
        if everything.proven_ever() < PROVEN_TO_ENFORCE { Mode::Watch } else { Mode::Enforce }
    }
}

/// After so many proofs of strangers an unset mode is [`Mode::Enforce`].
pub const PROVEN_TO_ENFORCE: u32 = 200;

/// What to do where conversion is declared unknown without a ceiling.
pub const CEILINGS_HINT: &str = "Set hour, day or month under [ceilings] in smsotp.toml, in US$: for example day = 50.";

/// The settings of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardPolicy {
    /// Unset: watch until 200 codes were proven, then enforce; watch where nothing costs money.
    pub mode: Option<Mode>,
    /// The most that may be spent.
    pub ceilings: Ceilings,
    /// By country (ISO 3166 two letters).
    pub countries: BTreeMap<String, CountryPolicy>,
    /// What a segment costs.
    pub prices: Prices,
    /// Purposes whose callers never say whether a code was entered.
    pub conversion_unknown: BTreeSet<Purpose>,
}

impl GuardPolicy {
    /// Why conversion may not be declared unknown: nothing that bounds what is spent was configured. Without knowledge of
    /// conversion the guard is left with totals alone, and has no past to judge them by.
    pub fn conversion_unknown_needs(&self) -> Option<&'static str> {
        (!self.ceilings.bounds_time()).then_some(
            "needs a ceiling of spending: where nobody says whether codes are entered, only money can be guarded",
        )
    }

    /// What was said about a country; the defaults where nothing was.
    pub fn country(&self, country: &str) -> CountryPolicy {
        self.countries.get(country).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
