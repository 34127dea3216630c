//! What became of asks, summed by the hour in which somebody asked: kept as it happens, so that a report costs the same however
//! many there were, and so that purging what they were about changes no sum.

use std::borrow::Cow;
use std::time::Duration;

use crate::abuse::Counted;
use crate::clock::Timestamp;
use crate::message::{Message, State};
use crate::money::Money;

/// What is counted: how far an ask got.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::EnumString, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// An ask that was refused. The detail is the limit, the rule or the reason.
    Refused,
    /// A message that was charged. The detail says whether its code is a new one: [`CodeKind`].
    Message,
    /// A message that the provider took, with its cost.
    Accepted,
    /// A message of which nobody knows whether the provider took it, with its cost.
    Unknown,
    /// A message that arrived. The detail is the time that took: [`time`].
    Delivered,
    /// A message that came to nothing. The detail is the provider's error code; empty where there is none.
    Failed,
    /// A code that was entered, or whose person was proven in another way. The detail is the time that took: [`time`]; empty where
    /// it was not entered.
    Verified,
}

/// Which code a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CodeKind {
    /// A new one.
    New,
    /// A new one of which nobody will say whether it was entered.
    Unreported,
    /// One that had been sent before.
    Again,
}

/// One sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// What is summed.
    pub key: SumKey,
    /// How often.
    pub count: i64,
    /// What it cost.
    pub cost: Money,
}

/// What a sum is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SumKey {
    /// The beginning of the hour of the ask.
    pub hour: Timestamp,
    /// The purpose; empty: a message without a code.
    pub purpose: String,
    /// The country, two letters; empty: none.
    pub country: String,
    /// The provider.
    pub provider: String,
    /// How far it got.
    pub stage: Stage,
    /// More about that: see [`Stage`].
    pub detail: String,
}

/// All sums of one hour, purpose, country and provider, as a report reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourSums {
    /// The beginning of the hour of the asks.
    pub hour: Timestamp,
    /// The purpose; empty: messages without a code.
    pub purpose: String,
    /// The country, two letters; empty: none.
    pub country: String,
    /// The provider.
    pub provider: String,
    /// How often each stage and detail was counted: see [`Stage`].
    pub counts: Vec<(Stage, Cow<'static, str>, i64)>,
    /// What the messages cost.
    pub cost: Money,
}

impl Stage {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The stage with that name.
    pub fn parse(name: &str) -> Option<Stage> {
        name.parse().ok()
    }
}

impl Sum {
    /// What takes it back.
    #[must_use]
    pub fn negated(self) -> Sum {
        Sum { count: -self.count, cost: Money::ZERO.minus(self.cost), ..self }
    }
}

impl SumKey {
    /// A message at a stage.
    pub fn of(message: &Message, purpose: &str, stage: Stage, detail: impl Into<String>) -> SumKey {
        SumKey {
            hour: hour(message.reserved_at),
            purpose: purpose.to_owned(),
            country: message.country.clone(),
            provider: message.provider.clone(),
            stage,
            detail: detail.into(),
        }
    }

    /// Counted once, at no cost.
    pub fn once(self) -> Sum {
        self.times(1)
    }

    fn times(self, count: i64) -> Sum {
        Sum { key: self, count, cost: Money::ZERO }
    }
}

/// The beginning of the hour that a moment is in, in UTC.
pub fn hour(at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    Timestamp(at.millis() - at.millis().rem_euclid(HOUR))
}

/// A message that was charged.
pub fn charged(message: &Message, purpose: &str, is_new: bool) -> Option<Sum> {
    let code = match (is_new, message.counted) {
        (false, _) => CodeKind::Again,
        (true, Counted::Unknown) => CodeKind::Unreported,
        (true, _) => CodeKind::New,
    };
    counts(message).then(|| SumKey::of(message, purpose, Stage::Message, <&str>::from(code)).once())
}

/// What is to be added where a message becomes another.
pub fn moved(before: &Message, after: &Message, purpose: &str) -> Vec<Sum> {
    if !counts(after) {
        return Vec::new();
    }
    let gone = stands(before, purpose).into_iter().map(Sum::negated);
    let mut sums: Vec<Sum> = gone.chain(stands(after, purpose)).collect();
    if !has_arrived(before) && has_arrived(after) {
        // What was booked for later did not wait on its way.
        let begun = if after.otp_id.is_none() { after.attempt_at } else { None };
        let took = time(after.updated_at.since(begun.unwrap_or(after.reserved_at)));
        sums.push(SumKey::of(after, purpose, Stage::Delivered, took.to_string()).once());
    }
    sums
}

/// The code of these messages of an otp, in any order, was entered at `at`; `entered`: it was, and its person was not proven in another
/// way. The newest brought it, and the oldest was counted as a new code.
pub fn verified(
    messages: &[Message],
    purpose: &str,
    (created_at, at): (Timestamp, Timestamp),
    entered: bool,
) -> Vec<Sum> {
    let sent = || messages.iter().filter(|message| counts(message));
    let (Some(newest), Some(oldest)) = (sent().max_by_key(|one| one.id), sent().min_by_key(|one| one.id)) else {
        return Vec::new();
    };
    let detail = if entered { time(at.since(created_at)).to_string() } else { String::new() };
    let key = SumKey::of(newest, purpose, Stage::Verified, detail);
    let mut sums = vec![SumKey { hour: hour(created_at), ..key }.once()];
    if oldest.counted == Counted::Unknown {
        // Somebody has said so after all.
        let code = |code: CodeKind, count| SumKey::of(oldest, purpose, Stage::Message, <&str>::from(code)).times(count);
        sums.extend([code(CodeKind::Unreported, -1), code(CodeKind::New, 1)]);
    }
    sums
}

/// What a message counts as, by what is known of it now.
fn stands(message: &Message, purpose: &str) -> Vec<Sum> {
    let one = |stage, detail: String| SumKey::of(message, purpose, stage, detail).once();
    let mut sums = Vec::new();
    if message.provider_id.is_some() {
        sums.push(Sum { cost: message.cost(), ..one(Stage::Accepted, String::new()) });
    }
    match message.state {
        State::Unknown => sums.push(Sum { cost: message.cost(), ..one(Stage::Unknown, String::new()) }),
        State::Failed | State::Undelivered | State::Canceled => {
            sums.push(one(Stage::Failed, message.error_code.map(|code| code.to_string()).unwrap_or_default()));
        }
        _ => {}
    }
    sums
}

fn has_arrived(message: &Message) -> bool {
    matches!(message.state, State::Delivered | State::Read)
}

/// A test number's message is none.
fn counts(message: &Message) -> bool {
    message.counted != Counted::Free
}

/// The steps in which times are counted, in whole seconds: up to so many, and more than before.
pub const TIMES: [u64; 13] = [1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600, 3600];

/// The step that a time is counted in. What took longer than an hour is counted with what took an hour.
pub fn time(took: Duration) -> u64 {
    let up_to = |step: &&u64| took <= Duration::from_secs(**step);
    TIMES.iter().find(up_to).or(TIMES.last()).copied().unwrap_or_default()
}

/// The median of times that were counted in steps, in seconds, between whose ends they are taken as spread evenly; `None`: there is
/// none.
pub fn median(steps: impl IntoIterator<Item = (u64, u64)>) -> Option<f64> {
    let mut steps: Vec<(u64, u64)> = steps.into_iter().filter(|(_, count)| *count > 0).collect();
    steps.sort_unstable();
    let all: u64 = steps.iter().map(|(_, count)| count).sum();
    let (half, mut before) = (all as f64 / 2.0, 0.0);
    for (step, count) in steps {
        let count = count as f64;
        if before + count >= half {
            let from = TIMES.iter().rev().find(|one| **one < step).copied().unwrap_or_default() as f64;
            return Some(from + (step as f64 - from) * (half - before) / count);
        }
        before += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_step_that_holds_it() {
        let of = |millis: u64| time(Duration::from_millis(millis));

        assert_eq!((of(0), of(1000), of(1001), of(3000)), (1, 1, 2, 3));
        assert_eq!((of(600_000), of(600_001)), (600, 3600));
        assert_eq!(of(u64::MAX), 3600);
        assert!(TIMES.windows(2).all(|two| two[0] < two[1]));
    }

    #[test]
    fn the_median_of_one_lies_in_the_middle_of_its_step() {
        assert_eq!(median([(3, 1)]), Some(2.5));
        assert_eq!(median([(3, 0), (8, 2)]), Some(6.5));
        assert_eq!(median([(8, 1), (1, 1)]), Some(1.0));
        assert_eq!(median([(3, 0)]), None);
    }

    #[test]
    fn hours_begin_on_the_hour_before_1970_too() {
        assert_eq!(hour(Timestamp(3_599_999)), Timestamp(0));
        assert_eq!(hour(Timestamp(3_600_000)), Timestamp(3_600_000));
        assert_eq!(hour(Timestamp(-1)), Timestamp(-3_600_000));
    }
}
