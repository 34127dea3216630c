//! What is known of a block of numbers: all that share everything but their last four digits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counted, Event, EventKind};
use crate::clock::Timestamp;

/// What was counted loses half of its weight in this time.
const HALF_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Shorter times are not worth a calculation.
const CALCULATED_AFTER: Duration = Duration::from_secs(600);

/// A block is proven for so long after somebody there entered a code: 30 days.
const PROVEN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// So many messages may be open in a block where nobody ever entered a code, and as many more as were proven.
const OPEN: f64 = 6.0;

/// Under an alarm so many may be open in a block that is proven, and as many more as were proven.
const OPEN_UNDER_ALARM: f64 = 1.0;

/// A block of numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// Messages to strangers that nobody proved yet, halving.
    open: f64,
    /// Strangers proven, halving.
    proven: f64,
    /// When one was proven last, in milliseconds of the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<i64>,
    /// Until when the two were halved.
    at: i64,
}

impl Block {
    /// Brings what halves up to now.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let passed = now.since(Timestamp(self.at));
        if passed >= CALCULATED_AFTER {
            let kept = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
            self.open *= kept;
            self.proven *= kept;
            self.at = now.millis();
        }
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was counted.
    pub fn none_after(&mut self, now: Timestamp) {
        self.proven_at = self.proven_at.map(|at| at.min(now.millis()));
        self.at = self.at.min(now.millis());
    }

    /// Messages to strangers there that are open, as the rules count them.
    pub fn open(&self) -> f64 {
        self.open
    }

    /// Whether somebody there entered a code in the last 30 days.
    pub fn is_proven(&self, now: Timestamp) -> bool {
        self.proven_at.is_some_and(|at| now.since(Timestamp(at)) < PROVEN_FOR)
    }

    /// From how many open messages on the block gets no more.
    pub fn cap(&self, now: Timestamp, is_alarm: bool) -> f64 {
        match is_alarm {
            false => OPEN + self.proven,
            true if self.is_proven(now) => OPEN_UNDER_ALARM + self.proven,
            true => 0.0,
        }
    }

    /// When there is room again below the cap, if nothing else happens.
    pub(super) fn room_at(&self, now: Timestamp) -> Timestamp {
        // open and proven halve alike: (open - proven) · ½^(t / half-life) < OPEN.
        let half_lives = ((self.open - self.proven) / OPEN).log2().max(0.0);
        now + HALF_LIFE.mul_f64(half_lives) + CALCULATED_AFTER
    }

    pub(super) fn sent(&mut self, now: Timestamp) {
        self.roll(now);
        self.open += 1.0;
    }

    /// Takes in what became of a message that was counted here.
    pub fn apply(&mut self, event: &Event) {
        if event.counted != Counted::Stranger || event.kind == EventKind::Priced {
            return;
        }
        self.roll(event.at);
        self.open = (self.open - 1.0).max(0.0);
        if event.kind == EventKind::Proven {
            self.proven += 1.0;
            self.proven_at = Some(event.at.millis());
        }
    }
}
