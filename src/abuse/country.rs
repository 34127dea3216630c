//! What is known of a country.

use serde::{Deserialize, Serialize};

use super::caps::{self, CountryPast};
use super::detector::Detector;
use super::ring::Ring;
use super::{Counted, Event, EventKind};
use crate::clock::Timestamp;

/// The hours that are counted.
pub(super) const HOURS: usize = 24;
pub(super) const HOUR_MS: i64 = 3_600_000;

/// What is left of the best day after a day.
pub(super) const BEST_KEPT: f64 = 0.97;

/// What is left of what was usual after an hour.
const USUAL_KEPT: f64 = 0.97;

pub(super) fn hour(at: Timestamp) -> i64 {
    at.millis().div_euclid(HOUR_MS)
}

pub(super) fn day(at: Timestamp) -> i64 {
    hour(at).div_euclid(24)
}

/// A country.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Country {
    /// By hours: messages to strangers that are open.
    open: Ring<u32, HOURS>,
    /// By hours: all messages to strangers.
    total: Ring<u32, HOURS>,
    /// By hours: strangers proven.
    proven: Ring<u32, HOURS>,
    /// The day that is counted, since the epoch, in UTC.
    day: i64,
    /// Strangers proven on it.
    day_proven: u32,
    /// The day on which the first stranger was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_since: Option<i64>,
    /// Messages of it of which nobody will say what became of them.
    day_unknown: u32,
    /// The best whole day of strangers proven, which each day makes a little less.
    best: f64,
    /// The same of messages of which nobody says what became of them.
    best_unknown: f64,
    /// Strangers usually proven in an hour.
    usual: f64,
    pub(super) detector: Detector,
    /// When it was last reported that it is capped, in milliseconds of the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capped_at: Option<i64>,
    /// When it was last reported that conversion is known no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown_at: Option<i64>,
}

impl Country {
    /// Brings what is counted up to now.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let (was, is) = (self.open.nth(), hour(now));
        if is > was {
            let days = day(now) - self.day;
            if days > 0 {
                let kept = BEST_KEPT.powf(days as f64);
                self.best = (self.best * kept).max(f64::from(self.day_proven));
                self.best_unknown = (self.best_unknown * kept).max(f64::from(self.day_unknown));
                (self.day, self.day_proven, self.day_unknown) = (day(now), 0, 0);
            }
            let passed = (is - was).min(HOURS as i64);
            let weight = 1.0 - USUAL_KEPT.powf(passed as f64);
            self.usual += weight * (f64::from(*self.proven.newest()) - self.usual);
            for ring in [&mut self.open, &mut self.total, &mut self.proven] {
                ring.roll(is);
            }
        }
        self.detector.roll(now);
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was counted.
    pub fn none_after(&mut self, now: Timestamp) {
        for ring in [&mut self.open, &mut self.total, &mut self.proven] {
            ring.none_after(hour(now));
        }
        self.day = self.day.min(day(now));
        self.proven_since = self.proven_since.map(|since| since.min(self.day));
        for at in [&mut self.capped_at, &mut self.unknown_at].into_iter().flatten() {
            *at = now.millis().min(*at);
        }
        self.detector.none_after(now);
    }

    /// What the caps are made of.
    pub fn past(&self) -> CountryPast {
        CountryPast {
            best: self.best,
            proven: self.proven.sum(),
            best_sent: self.best_unknown,
            is_young: self.proven_since.is_none_or(|since| self.day - since < caps::YOUNG_DAYS),
        }
    }

    /// Messages to strangers of the last 24 hours that are open, and all of them.
    pub fn counts(&self) -> (u32, u32) {
        (self.open.sum(), self.total.sum())
    }

    /// Whether the detector's alarm stands, and until when.
    pub fn alarm(&self, now: Timestamp) -> Option<Timestamp> {
        self.detector.stands(now).then(|| self.detector.until())
    }

    /// The usual part of codes that are entered, of 1.
    pub fn usual_conversion(&self) -> f64 {
        self.detector.usual()
    }

    pub(super) fn usual_in_an_hour(&self) -> f64 {
        self.usual
    }

    /// When less than so many are open; in all where `all`.
    pub(super) fn room_at(&self, allowed: f64, all: bool) -> Option<Timestamp> {
        let ring = if all { &self.total } else { &self.open };
        let slots = ring.room_in(allowed.ceil() as u32)?;
        Some(Timestamp((ring.nth() + slots as i64) * HOUR_MS))
    }

    pub(super) fn sent(&mut self, counted: Counted) {
        *self.total.newest() += 1;
        match counted {
            Counted::Unknown => self.day_unknown += 1,
            _ => {
                *self.open.newest() += 1;
                self.detector.sent();
            }
        }
    }

    /// Takes in what became of a message that was counted here.
    pub fn apply(&mut self, event: &Event) {
        let not_sent = event.kind == EventKind::NotSent;
        if event.kind == EventKind::Priced || matches!(event.counted, Counted::Known | Counted::Free) {
            return;
        }
        self.roll(event.at);
        let less = |ring: &mut Ring<u32, HOURS>| {
            if let Some(count) = ring.at(hour(event.reserved_at)) {
                *count = count.saturating_sub(1);
            }
        };
        if not_sent {
            less(&mut self.total);
        }
        if event.counted == Counted::Unknown {
            self.day_unknown -= u32::from(not_sent && day(event.reserved_at) == self.day && self.day_unknown > 0);
            return;
        }
        less(&mut self.open);
        let proven = event.kind == EventKind::Proven;
        self.detector.settled(self.at_least(event.at), event.reserved_at, proven, !not_sent);
        if proven {
            *self.proven.newest() += 1;
            self.day_proven = self.day_proven.saturating_add(1);
            self.proven_since.get_or_insert(self.day);
        }
    }

    /// Events may be taken in a little late: time never runs back.
    fn at_least(&self, at: Timestamp) -> Timestamp {
        at.max(Timestamp(self.open.nth() * HOUR_MS))
    }
}
