//! Countries, prices and segments. The prices are made up, the same on every run.

use crate::phone::{self, Phone};
use crate::segments::measure;

/// A country that messages go to.
pub(super) struct Country {
    /// ISO 3166-1 alpha-2.
    pub iso: &'static str,
    pub name: &'static str,
    /// What is dialled before the national number.
    pub prefix: &'static str,
    /// The made-up price of a segment, in millionths of a US dollar.
    pub micros: i64,
}

/// The made-up price of a segment to every other country.
pub(super) const PRICE_ELSEWHERE: i64 = 50_000;

/// Enough countries for examples to differ.
pub(super) const COUNTRIES: &[Country] = &[
    Country { iso: "US", name: "United States", prefix: "1", micros: 8_300 },
    Country { iso: "CA", name: "Canada", prefix: "1", micros: 8_300 },
    Country { iso: "GB", name: "United Kingdom", prefix: "44", micros: 52_400 },
    Country { iso: "DE", name: "Germany", prefix: "49", micros: 111_000 },
    Country { iso: "FR", name: "France", prefix: "33", micros: 79_800 },
    Country { iso: "ES", name: "Spain", prefix: "34", micros: 76_100 },
    Country { iso: "IT", name: "Italy", prefix: "39", micros: 92_700 },
    Country { iso: "NL", name: "Netherlands", prefix: "31", micros: 107_000 },
    Country { iso: "PL", name: "Poland", prefix: "48", micros: 43_800 },
    Country { iso: "SE", name: "Sweden", prefix: "46", micros: 62_600 },
    Country { iso: "CH", name: "Switzerland", prefix: "41", micros: 75_100 },
    Country { iso: "BR", name: "Brazil", prefix: "55", micros: 65_200 },
    Country { iso: "MX", name: "Mexico", prefix: "52", micros: 71_800 },
    Country { iso: "IN", name: "India", prefix: "91", micros: 83_200 },
    Country { iso: "PK", name: "Pakistan", prefix: "92", micros: 47_300 },
    Country { iso: "JP", name: "Japan", prefix: "81", micros: 88_400 },
    Country { iso: "AU", name: "Australia", prefix: "61", micros: 51_500 },
    Country { iso: "ZA", name: "South Africa", prefix: "27", micros: 113_000 },
];

/// The country of a number by the numbering plans: two letters; `None` for numbers of none.
pub(super) fn country_of(number: &str) -> Option<String> {
    phone::parse(number, None).ok()?.country
}

/// The made-up price of one segment to a number, in millionths of a US dollar.
pub(super) fn price_micros(to: &str) -> i64 {
    country_of(to).and_then(|iso| find_country(&iso)).map_or(PRICE_ELSEWHERE, |country| country.micros)
}

/// How many segments a text takes.
pub(super) fn segments(text: &str) -> u32 {
    measure(text).segments
}

/// The country with this two-letter code.
pub(super) fn find_country(iso: &str) -> Option<&'static Country> {
    COUNTRIES.iter().find(|country| country.iso == iso)
}

/// True for E.164 that fits its country's numbering plan.
pub(super) fn is_reachable(number: &str) -> bool {
    Phone::from_e164(number).is_some() && phone::parse(number, None).is_ok()
}
