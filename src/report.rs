//! What a report says of the sums of a time: the funnel from asks to codes that were entered, as a whole and by purpose, country,
//! provider, hour of the day and day; and conditions on it, for whoever wants to hear of it only when something is wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::money::Money;
use crate::sums::{self, CodeKind, HourSums, Stage, TIMES};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// How far asks got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Asks for a message, those that were refused too.
    pub asked: u64,
    /// Asks that were refused.
    pub refused: u64,
    /// Messages that were charged.
    pub messages: u64,
    /// New codes among them.
    pub codes: u64,
    /// New codes of which nobody will say whether they were entered.
    pub unreported: u64,
    /// Messages that the provider took.
    pub accepted: u64,
    /// Messages of which nobody knows whether the provider took them.
    pub unknown: u64,
    /// Messages that arrived, as far as somebody reported it.
    pub delivered: u64,
    /// Messages that came to nothing.
    pub failed: u64,
    /// Codes that were entered, or whose persons were proven in another way.
    pub verified: u64,
    /// What the messages cost.
    pub cost: Money,
    /// How many messages arrived within each step of [`TIMES`], and how many codes were entered.
    deliver: [u64; TIMES.len()],
    verify: [u64; TIMES.len()],
}

/// What a report is broken down by.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum By {
    /// The purpose of the code.
    Purpose,
    /// The country of the number.
    Country,
    /// The provider.
    Provider,
    /// The hour of the day, in UTC.
    Hour,
    /// The day, in UTC.
    Day,
}

/// What a report is about; `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// This purpose.
    pub purpose: Option<String>,
    /// This country, two letters.
    pub country: Option<String>,
    /// This provider.
    pub provider: Option<String>,
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// All together.
    pub whole: Funnel,
    /// Each breakdown.
    pub parts: BTreeMap<By, BTreeMap<String, Funnel>>,
    /// How many asks each limit, rule or reason refused.
    pub refusals: BTreeMap<String, u64>,
    /// How many messages failed with each error code of the provider; `None`: without one.
    pub failures: BTreeMap<Option<u32>, u64>,
}

impl By {
    /// All in the order of their declaration.
    pub const ALL: &[By] = <By as strum::VariantArray>::VARIANTS;

    /// The name in JSON, CSV and on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The breakdown with that name.
    pub fn parse(name: &str) -> Option<By> {
        name.parse().ok()
    }

    /// Which part of this breakdown sums belong to.
    fn part(self, sums: &HourSums) -> String {
        match self {
            By::Purpose => sums.purpose.clone(),
            By::Country => sums.country.clone(),
            By::Provider => sums.provider.clone(),
            By::Hour => format!("{:02}", sums.hour.millis().rem_euclid(DAY) / HOUR),
            By::Day => sums.hour.to_rfc3339().get(..10).unwrap_or_default().to_owned(),
        }
    }
}

impl Only {
    fn takes(&self, sums: &HourSums) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.purpose, &sums.purpose) && is(&self.country, &sums.country) && is(&self.provider, &sums.provider)
    }
}

impl Report {
    /// Adds sums, if the report is about them.
    pub fn add(&mut self, only: &Only, sums: &HourSums) {
        // A row of which nothing is left, because another provider took on what it counted, is no part of anything.
        let is_empty = sums.counts.is_empty() && sums.cost == Money::ZERO;
        if is_empty || !only.takes(sums) {
            return;
        }
        let funnel = Funnel::of(sums);
        self.whole.merge(&funnel);
        for by in By::ALL {
            self.parts.entry(*by).or_default().entry(by.part(sums)).or_default().merge(&funnel);
        }
        for (stage, detail, count) in &sums.counts {
            match stage {
                Stage::Refused => add(self.refusals.entry(detail.clone().into_owned()).or_default(), *count),
                Stage::Failed => add(self.failures.entry(detail.parse().ok()).or_default(), *count),
                _ => {}
            }
        }
    }

    /// The parts of a breakdown: hours and days in their order, all others by how many asks they had, the most first.
    pub fn by(&self, by: By) -> Vec<(&str, &Funnel)> {
        let parts = self.parts.get(&by).into_iter().flatten();
        let mut parts: Vec<(&str, &Funnel)> = parts.map(|(name, funnel)| (name.as_str(), funnel)).collect();
        if !matches!(by, By::Hour | By::Day) {
            parts.sort_by_key(|(_, funnel)| std::cmp::Reverse(funnel.asked));
        }
        parts
    }
}

impl Funnel {
    fn of(sums: &HourSums) -> Funnel {
        let mut funnel = Funnel { cost: sums.cost, ..Funnel::default() };
        for (stage, detail, count) in &sums.counts {
            funnel.count(*stage, detail, *count);
        }
        funnel
    }

    fn count(&mut self, stage: Stage, detail: &str, times: i64) {
        let step = |steps: &mut [u64; TIMES.len()]| {
            let within = detail.parse().ok().and_then(|step: u64| TIMES.iter().position(|one| *one == step));
            if let Some(count) = within.and_then(|nth| steps.get_mut(nth)) {
                add(count, times);
            }
        };
        let count = match stage {
            Stage::Refused => {
                add(&mut self.asked, times);
                &mut self.refused
            }
            Stage::Message => {
                add(&mut self.asked, times);
                if detail != <&str>::from(CodeKind::Again) {
                    add(&mut self.codes, times);
                }
                if detail == <&str>::from(CodeKind::Unreported) {
                    add(&mut self.unreported, times);
                }
                &mut self.messages
            }
            Stage::Accepted => &mut self.accepted,
            Stage::Unknown => &mut self.unknown,
            Stage::Delivered => {
                step(&mut self.deliver);
                &mut self.delivered
            }
            Stage::Failed => &mut self.failed,
            Stage::Verified => {
                step(&mut self.verify);
                &mut self.verified
            }
        };
        add(count, times);
    }

    fn merge(&mut self, other: &Funnel) {
        // Named one by one, so that a number that is added to the funnel cannot be forgotten here.
        let Funnel {
            asked, refused, messages, codes, unreported, accepted, unknown, delivered, failed, verified, ..
        } = self;
        let Funnel { cost, deliver, verify, .. } = other;
        for (sum, more) in [
            (asked, other.asked),
            (refused, other.refused),
            (messages, other.messages),
            (codes, other.codes),
            (unreported, other.unreported),
            (accepted, other.accepted),
            (unknown, other.unknown),
            (delivered, other.delivered),
            (failed, other.failed),
            (verified, other.verified),
        ] {
            *sum = sum.wrapping_add(more);
        }
        for (sums, more) in [(&mut self.deliver, deliver), (&mut self.verify, verify)] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.wrapping_add(*more));
        }
        self.cost = self.cost.plus(*cost);
    }

    /// How many of the codes were entered, in percent; `None`: there was none of which somebody would have said so.
    pub fn conversion(&self) -> Option<f64> {
        percent(self.verified, self.codes.saturating_sub(self.unreported))
    }

    /// The median of how long messages took to arrive, in seconds.
    pub fn time_to_deliver(&self) -> Option<f64> {
        sums::median(TIMES.into_iter().zip(self.deliver))
    }

    /// The median of how long it took until codes were entered, in seconds.
    pub fn time_to_verify(&self) -> Option<f64> {
        sums::median(TIMES.into_iter().zip(self.verify))
    }
}

/// Sums of one key may have parts below zero, which together never are.
fn add(count: &mut u64, more: i64) {
    *count = count.wrapping_add_signed(more);
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// A condition on a report: a number of its funnel, compared with another.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    number: Number,
    /// Of what the number is a part, in percent.
    in_percent: bool,
    comparison: Comparison,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
enum Number {
    Asked,
    Refused,
    Messages,
    Codes,
    Accepted,
    Unknown,
    Delivered,
    Failed,
    Verified,
    Conversion,
    Cost,
    TimeToDeliver,
    TimeToVerify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
enum Comparison {
    #[strum(serialize = "<=")]
    AtMost,
    #[strum(serialize = ">=")]
    AtLeast,
    #[strum(serialize = "<")]
    Below,
    #[strum(serialize = ">")]
    Above,
}

/// The numbers that a condition can name.
pub fn numbers() -> &'static [&'static str] {
    <Number as strum::VariantNames>::VARIANTS
}

impl Condition {
    /// Reads `conversion<60%`, `cost>50`, `failed>=5%`, `time-to-verify>90s`.
    ///
    /// # Errors
    /// In words, what cannot be read.
    pub fn parse(text: &str) -> Result<Condition, String> {
        const COMPARISONS: [Comparison; 4] =
            [Comparison::AtMost, Comparison::AtLeast, Comparison::Below, Comparison::Above];
        let split = |comparison: &Comparison| Some((text.split_once(<&str>::from(comparison))?, *comparison));
        let ((name, bound), comparison) =
            COMPARISONS.iter().find_map(split).ok_or("a condition is a number, one of < <= > >=, and a bound")?;
        let name = name.trim();
        let number: Number =
            name.parse().map_err(|_| format!("there is no number \"{name}\": there are {}", numbers().join(", ")))?;
        let bound = bound.trim();
        let (bare, unit) = match bound.char_indices().next_back() {
            Some((at, '%' | 's')) => bound.split_at(at),
            _ => (bound, ""),
        };
        let bare = bare.trim_end().trim_start_matches('$');
        let value: f64 = bare
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite() && *value >= 0.0)
            .ok_or_else(|| format!("\"{bound}\" is not a bound: a number from 0 on"))?;
        let allowed: &[&str] = match number {
            Number::Conversion => &["%", ""],
            Number::Refused | Number::Unknown | Number::Delivered | Number::Failed | Number::Verified => &["%", ""],
            Number::TimeToDeliver | Number::TimeToVerify => &["s", ""],
            _ => &[""],
        };
        if !allowed.contains(&unit) {
            return Err(format!("{name} has no bound in \"{unit}\""));
        }
        if (unit == "%" || number == Number::Conversion) && value > 100.0 {
            return Err(format!("{bound} is more than all"));
        }
        Ok(Condition { number, in_percent: unit == "%" || number == Number::Conversion, comparison, bound: value })
    }

    /// Why the condition holds, in words; `None`: it does not, or there is nothing yet that it could be said of.
    pub fn holds(&self, funnel: &Funnel) -> Option<String> {
        let value = self.value(funnel)?;
        let holds = match self.comparison {
            Comparison::AtMost => value <= self.bound,
            Comparison::AtLeast => value >= self.bound,
            Comparison::Below => value < self.bound,
            Comparison::Above => value > self.bound,
        };
        let name = <&str>::from(self.number).replace('-', " ");
        let limit = format!("{} {}", self.in_words(), self.shown(self.bound));
        holds.then(|| format!("{name} is {}{}: {limit}", self.shown(value), self.of(funnel)))
    }

    fn value(&self, funnel: &Funnel) -> Option<f64> {
        let part = |count: u64, whole: u64| if self.in_percent { percent(count, whole) } else { Some(count as f64) };
        match self.number {
            Number::Asked => Some(funnel.asked as f64),
            Number::Messages => Some(funnel.messages as f64),
            Number::Codes => Some(funnel.codes as f64),
            Number::Accepted => Some(funnel.accepted as f64),
            Number::Refused => part(funnel.refused, funnel.asked),
            Number::Unknown => part(funnel.unknown, funnel.messages),
            Number::Failed => part(funnel.failed, funnel.messages),
            Number::Delivered => part(funnel.delivered, funnel.accepted),
            Number::Verified => part(funnel.verified, funnel.codes.saturating_sub(funnel.unreported)),
            Number::Conversion => funnel.conversion(),
            Number::Cost => Some(funnel.cost.usd()),
            Number::TimeToDeliver => funnel.time_to_deliver(),
            Number::TimeToVerify => funnel.time_to_verify(),
        }
    }

    fn of(&self, funnel: &Funnel) -> String {
        let of = |part: u64, whole: u64, what: &str| format!(" ({part} of {whole} {what})");
        if !self.in_percent {
            return String::new();
        }
        match self.number {
            Number::Refused => of(funnel.refused, funnel.asked, "asks"),
            Number::Unknown => of(funnel.unknown, funnel.messages, "messages"),
            Number::Failed => of(funnel.failed, funnel.messages, "messages"),
            Number::Delivered => of(funnel.delivered, funnel.accepted, "that the provider took"),
            _ => of(funnel.verified, funnel.codes.saturating_sub(funnel.unreported), "codes"),
        }
    }

    fn in_words(&self) -> &'static str {
        match self.comparison {
            Comparison::AtMost => "at most",
            Comparison::AtLeast => "at least",
            Comparison::Below => "below",
            Comparison::Above => "above",
        }
    }

    fn shown(&self, value: f64) -> String {
        match self.number {
            Number::Cost => Money::from_usd(value).to_string(),
            Number::TimeToDeliver | Number::TimeToVerify => format!("{value:.0} s"),
            _ if self.in_percent => format!("{value:.1} %"),
            _ => format!("{value:.0}"),
        }
    }
}

/// The hours that a report of this time covers: whole ones, from the one that `since` is in to the one that `until` is in.
pub fn hours(since: Timestamp, until: Timestamp) -> (Timestamp, Timestamp) {
    (sums::hour(since), Timestamp(sums::hour(Timestamp(until.millis().saturating_sub(1))).millis() + HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(hour: i64, country: &str, stage: Stage, detail: &'static str, count: i64) -> HourSums {
        HourSums {
            hour: Timestamp(hour * HOUR),
            purpose: "login".to_owned(),
            country: country.to_owned(),
            provider: "twilio".to_owned(),
            counts: vec![(stage, detail.into(), count)],
            cost: Money(if stage == Stage::Accepted { count * 10_000 } else { 0 }),
        }
    }

    fn example() -> Report {
        let mut report = Report::default();
        for sum in [
            sum(1, "US", Stage::Message, "new", 8),
            sum(1, "US", Stage::Message, "again", 2),
            sum(25, "DE", Stage::Message, "unreported", 3),
            sum(25, "DE", Stage::Message, "new", 2),
            sum(25, "DE", Stage::Refused, "cooldown", 5),
            sum(1, "US", Stage::Accepted, "", 9),
            sum(1, "US", Stage::Unknown, "", 1),
            // A part of a sum in one chain, which another chain's part makes up for.
            sum(25, "DE", Stage::Unknown, "", -1),
            sum(25, "DE", Stage::Unknown, "", 1),
            sum(1, "US", Stage::Delivered, "5", 4),
            sum(1, "US", Stage::Delivered, "8", 2),
            sum(25, "DE", Stage::Failed, "30003", 2),
            sum(25, "DE", Stage::Failed, "", 1),
            sum(1, "US", Stage::Verified, "20", 5),
            sum(1, "US", Stage::Verified, "", 1),
        ] {
            report.add(&Only::default(), &sum);
        }
        report
    }

    #[test]
    fn the_funnel_counts_each_stage() {
        let report = example();
        let whole = &report.whole;

        assert_eq!((whole.asked, whole.refused, whole.messages), (20, 5, 15));
        assert_eq!((whole.codes, whole.unreported, whole.verified), (13, 3, 6));
        assert_eq!((whole.accepted, whole.unknown, whole.delivered, whole.failed), (9, 1, 6, 3));
        assert_eq!((whole.cost, whole.conversion()), (Money(90_000), Some(60.0)));
        assert_eq!(report.by(By::Country).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["DE", "US"]);
        assert_eq!(
            report.by(By::Hour).iter().map(|(name, part)| (*name, part.messages)).collect::<Vec<_>>(),
            [("01", 15)]
        );
        let days: Vec<_> = report.by(By::Day).iter().map(|(name, part)| (*name, part.messages)).collect();
        assert_eq!(days, [("1970-01-01", 10), ("1970-01-02", 5)]);
        assert_eq!(report.failures, BTreeMap::from([(None, 1), (Some(30_003), 2)]));
    }

    #[test]
    fn medians_lie_within_the_step_that_holds_the_middle() {
        let whole = example().whole;

        // Half of 6 is 3, of the 4 between 3 and 5 seconds.
        assert_eq!(whole.time_to_deliver(), Some(4.5));
        assert_eq!(whole.time_to_verify(), Some(16.5));
        assert_eq!(Funnel::default().time_to_verify(), None);
    }

    #[test]
    fn a_condition_holds_or_says_nothing() {
        let whole = example().whole;
        let why = |text: &str| Condition::parse(text).unwrap().holds(&whole);

        assert_eq!(why("conversion<60%"), None);
        assert_eq!(why("conversion<=60").unwrap(), "conversion is 60.0 % (6 of 10 codes): at most 60.0 %");
        assert_eq!(why(" failed > 15 % ").unwrap(), "failed is 20.0 % (3 of 15 messages): above 15.0 %");
        assert_eq!(why("failed>2").unwrap(), "failed is 3: above 2");
        assert_eq!(why("refused>=25%").unwrap(), "refused is 25.0 % (5 of 20 asks): at least 25.0 %");
        assert_eq!(why("delivered<70%").unwrap(), "delivered is 66.7 % (6 of 9 that the provider took): below 70.0 %");
        assert_eq!(why("unknown>0").unwrap(), "unknown is 1: above 0");
        assert_eq!(why("cost>$0.08").unwrap(), "cost is 0.09 US$: above 0.08 US$");
        assert_eq!(why("time-to-verify>16s").unwrap(), "time to verify is 16 s: above 16 s");
        assert_eq!(why("time-to-deliver>5"), None);
        assert_eq!(why("asked<1"), None);
        // Of nothing, no part can be said to be too small; how much there is can.
        let nothing = Funnel::default();
        assert_eq!(Condition::parse("conversion<60%").unwrap().holds(&nothing), None);
        assert_eq!(Condition::parse("messages<1").unwrap().holds(&nothing).unwrap(), "messages is 0: below 1");
    }

    #[test]
    fn what_is_no_condition_is_refused_in_words() {
        for (text, words) in [
            ("", "a condition is a number"),
            ("conversion", "a condition is a number"),
            ("converted<60%", "there is no number \"converted\""),
            ("conversion<sixty", "\"sixty\" is not a bound"),
            ("conversion<101%", "more than all"),
            ("conversion<-1", "not a bound"),
            ("cost>NaN", "not a bound"),
            ("cost>5%", "cost has no bound in \"%\""),
            ("messages>5s", "messages has no bound in \"s\""),
        ] {
            let said = Condition::parse(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn a_time_covers_the_hours_that_it_touches() {
        let at = |minutes: i64| Timestamp(minutes * 60_000);

        assert_eq!(hours(at(61), at(119)), (at(60), at(120)));
        assert_eq!(hours(at(60), at(120)), (at(60), at(120)));
        assert_eq!(hours(at(60), at(121)), (at(60), at(180)));
    }
}
