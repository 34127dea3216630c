//! The guard against SMS pumping: what stops somebody who has codes sent to numbers that earn them money.

pub mod caps;

use std::collections::{BTreeMap, BTreeSet};

use crate::money::{Ceilings, Prices};
use crate::purpose::Purpose;

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
