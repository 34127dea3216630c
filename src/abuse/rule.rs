//! What may refuse a message, and how full it is.

use crate::clock::Timestamp;

/// What refuses a message.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// The operator closed the country.
    Closed,
    /// Too many messages to strangers in the country are open.
    CountryOpen,
    /// Too many messages went to strangers in the country.
    CountryTotal,
    /// Too much money is open in countries that are not proven.
    Pool,
    /// Too many messages in the block of numbers are open.
    Block,
    /// The detector's alarm stands.
    Alarm,
    /// The message costs too much.
    MessageCeiling,
    /// The last hour cost too much.
    HourCeiling,
    /// The last 24 hours cost too much.
    DayCeiling,
    /// The calendar month cost too much.
    MonthCeiling,
}

impl Rule {
    /// Whether `used` and `allowed` are money.
    pub fn in_money(self) -> bool {
        use Rule::{DayCeiling, HourCeiling, MessageCeiling, MonthCeiling, Pool};
        matches!(self, Pool | MessageCeiling | HourCeiling | DayCeiling | MonthCeiling)
    }

    /// What is full, as an operator reads it: "the cap of open codes in a country".
    pub fn what(self) -> &'static str {
        match self {
            Rule::Closed => "the country is closed",
            Rule::CountryOpen => "the cap on open messages to strangers in the country",
            Rule::CountryTotal => "the cap on all messages to strangers in the country",
            Rule::Pool => "the cap on open money in all countries that are not proven",
            Rule::Block => "the cap on open messages in the block of numbers",
            Rule::Alarm => "the alarm of the detector",
            Rule::MessageCeiling => "the ceiling on one message",
            Rule::HourCeiling => "the ceiling of the hour",
            Rule::DayCeiling => "the ceiling of the day",
            Rule::MonthCeiling => "the ceiling of the month",
        }
    }
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which rule.
    pub rule: Rule,
    /// Messages, or millionths of a US dollar where [`Rule::in_money`]; of a ceiling without the message that was refused.
    pub used: u64,
    /// The most that may be, likewise.
    pub allowed: u64,
    /// When there is room again if nothing else happens; `None`: no time brings it.
    pub room_at: Option<Timestamp>,
}
