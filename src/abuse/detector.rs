//! The detector: whether the codes to one country are entered so much less than usual that it is no chance.
//!
//! It is Page's sequential test (E. S. Page, Continuous Inspection Schemes, Biometrika 41, 1954) of "conversion has halved"
//! against "conversion is as usual". A message that nobody proved yet counts the less the younger it is, since its code may
//! still be entered: proofs come after a time that is distributed log-normally, with a median of 45 s and σ 0.9. Messages and
//! proofs of the last ten minutes wait together in half-minutes; what is older has gone into one sum.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ring::Ring;
use crate::clock::Timestamp;

/// The half-minutes that wait.
const COHORTS: usize = 20;
const COHORT: Duration = Duration::from_secs(30);

/// The part of all proofs that have come after 15, 45, 75 … seconds: the log-normal distribution in the middle of each cohort.
pub(super) const COME: [f64; COHORTS] = [
    0.1111, 0.5000, 0.7148, 0.8268, 0.8889, 0.9256, 0.9484, 0.9631, 0.9730, 0.9799, 0.9847, 0.9882, 0.9908, 0.9927,
    0.9941, 0.9953, 0.9961, 0.9968, 0.9974, 0.9978,
];

/// The score from which on there is an alarm: chance is held to be less likely than 1 in e⁹ = 8,100.
const ALARM: f64 = 9.0;
/// More does not add up.
const MOST: f64 = 40.0;
/// An alarm begins anew with this score, and what is usual is learned below it.
const CALM: f64 = ALARM / 2.0;

/// An alarm lasts so long after it was raised or prolonged: 25 minutes.
pub(super) const LASTS: Duration = Duration::from_secs(25 * 60);

/// Prolonging by less is not worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(5 * 60);

/// So many asks under an alarm are demand, whatever is usual.
const DEMAND: f64 = 3.0;
/// What is left of demand after a half-minute.
const DEMAND_KEPT: f64 = 0.95;

/// What is left of what was learned with each message.
const LEARNED_KEPT: f64 = 0.998;

/// The messages of one half-minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
struct Cohort {
    /// Not proven, not failed.
    waiting: u32,
    proven: u32,
}

impl std::ops::AddAssign for Cohort {
    fn add_assign(&mut self, other: Cohort) {
        self.waiting = self.waiting.saturating_add(other.waiting);
        self.proven = self.proven.saturating_add(other.proven);
    }
}

impl From<(u32, u32)> for Cohort {
    fn from((waiting, proven): (u32, u32)) -> Cohort {
        Cohort { waiting, proven }
    }
}

impl From<Cohort> for (u32, u32) {
    fn from(cohort: Cohort) -> (u32, u32) {
        (cohort.waiting, cohort.proven)
    }
}

/// What the detector knows of one country.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Detector {
    cohorts: Ring<Cohort, COHORTS>,
    /// The score of all that is older.
    sum: f64,
    /// What has gone into the sum since it was zero.
    run: Run,
    /// Usual conversion, as two decaying sums.
    entered: f64,
    of: f64,
    /// The end of the alarm, in milliseconds of the Unix epoch.
    until: i64,
    /// The end that was last reported.
    reported: i64,
    /// Asks under the alarm that were refused, or would have been.
    demand: f64,
    /// What raised the last alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
}

/// The messages that a score is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Run {
    /// The half-minute of the first one.
    since: i64,
    sent: u32,
    proven: u32,
}

impl Run {
    fn add(&mut self, nth: i64, cohort: Cohort) {
        let sent = cohort.waiting + cohort.proven;
        if sent > 0 {
            self.since = if self.sent == 0 { nth } else { self.since };
            self.sent = self.sent.saturating_add(sent);
            self.proven = self.proven.saturating_add(cohort.proven);
        }
    }
}

impl Default for Detector {
    /// Before anything was learned, eight of ten are usual.
    fn default() -> Detector {
        Detector {
            cohorts: Ring::default(),
            sum: 0.0,
            run: Run::default(),
            entered: 8.0,
            of: 10.0,
            until: 0,
            reported: 0,
            demand: 0.0,
            found: None,
        }
    }
}

/// What a message says about "halved" against "as usual": the logarithm of the ratio of its likelihoods.
struct Weights {
    usual: f64,
}

impl Weights {
    fn proven(&self) -> f64 {
        0.5_f64.ln()
    }
    /// Of a message that nobody proved, when this part of all proofs has come.
    fn waiting(&self, come: f64) -> f64 {
        ((1.0 - self.usual / 2.0 * come) / (1.0 - self.usual * come)).ln()
    }
    fn never(&self) -> f64 {
        self.waiting(1.0)
    }
    /// Page's recursion: evidence for "as usual" is not saved up.
    fn step(&self, score: f64, cohort: Cohort, come: f64) -> f64 {
        let evidence = f64::from(cohort.waiting) * self.waiting(come) + f64::from(cohort.proven) * self.proven();
        (score + evidence).max(0.0)
    }
}

/// What an alarm has to say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// When it was found.
    pub(super) at: Timestamp,
    /// When the first of the messages went out.
    pub(super) since: Timestamp,
    /// How many of them there are.
    pub(super) sent: u32,
    /// Whose codes were entered.
    pub(super) proven: u32,
    /// The usual part, of 1.
    pub(super) usual: f64,
    /// It is chance once in so many times.
    pub(super) odds: f64,
    /// The end of the alarm.
    pub(super) until: Timestamp,
}

fn nth(at: Timestamp) -> i64 {
    at.millis().div_euclid(COHORT.as_millis() as i64)
}

impl Detector {
    /// The usual conversion, in steps of 0.05 within what the test can tell apart.
    fn weights(&self) -> Weights {
        let learned = (self.entered / self.of).clamp(0.45, 0.9);
        Weights { usual: (learned * 20.0).round() / 20.0 }
    }

    /// The usual conversion as it was learned.
    pub(super) fn usual(&self) -> f64 {
        self.entered / self.of
    }

    /// Brings the half-minutes up to now.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let passed = nth(now) - self.cohorts.nth();
        if passed <= 0 {
            return;
        }
        let (weights, stands) = (self.weights(), self.stands(now));
        for (first, cohort) in self.cohorts.roll(nth(now)) {
            let evidence = f64::from(cohort.waiting) * weights.never() + f64::from(cohort.proven) * weights.proven();
            self.sum = (self.sum + evidence).clamp(0.0, MOST);
            self.run.add(first, cohort);
            if self.sum == 0.0 {
                self.run = Run::default();
            }
            if !stands && self.sum < CALM {
                (0..cohort.waiting.min(10_000)).for_each(|_| self.learn(false));
            }
        }
        self.demand *= DEMAND_KEPT.powf(passed.min(400) as f64);
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was counted. An alarm that stands ends
    /// no later than one that is raised now.
    pub(super) fn none_after(&mut self, now: Timestamp) {
        self.cohorts.none_after(nth(now));
        self.run.since = self.run.since.min(nth(now));
        let latest = (now + LASTS).millis();
        (self.until, self.reported) = (self.until.min(latest), self.reported.min(latest));
        if let Some(found) = &mut self.found {
            (found.at, found.since) = (found.at.min(now), found.since.min(now));
            found.until = found.until.min(Timestamp(latest));
        }
    }

    fn learn(&mut self, entered: bool) {
        self.entered = self.entered * LEARNED_KEPT + f64::from(u8::from(entered));
        self.of = self.of * LEARNED_KEPT + 1.0;
    }

    /// The score, and what it is about.
    fn score(&self) -> (f64, Run) {
        let (weights, mut score, mut run) = (self.weights(), self.sum, self.run);
        for (age, cohort) in self.cohorts.iter().filter(|(_, cohort)| *cohort != Cohort::default()) {
            score = weights.step(score, cohort, COME[age]);
            run.add(self.cohorts.nth() - age as i64, cohort);
            if score == 0.0 {
                run = Run::default();
            }
        }
        (score, run)
    }

    /// The score alone.
    #[cfg(test)]
    pub(super) fn score_now(&self) -> f64 {
        self.score().0
    }

    /// Whether an alarm stands.
    pub(super) fn stands(&self, now: Timestamp) -> bool {
        now.millis() < self.until
    }

    /// The end of the alarm, past or to come.
    pub(super) fn until(&self) -> Timestamp {
        Timestamp(self.until)
    }

    /// Raises the alarm if the score is high enough and none stands. What was rolled to is now.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<Found> {
        let (score, run) = self.score();
        if self.stands(now) || score <= ALARM {
            return None;
        }
        let found = Found {
            at: now,
            since: Timestamp(run.since * COHORT.as_millis() as i64),
            sent: run.sent,
            proven: run.proven,
            // As many digits as are shown.
            usual: (100.0 * self.usual()).round() / 100.0,
            odds: score.exp().round(),
            until: now + LASTS,
        };
        *self = Detector {
            sum: CALM,
            until: found.until.millis(),
            reported: found.until.millis(),
            demand: 0.0,
            found: Some(found),
            run: Run { since: run.since, ..Run::default() },
            cohorts: Ring::at_slot(self.cohorts.nth()),
            ..*self
        };
        Some(found)
    }

    /// Somebody asked under the alarm. More of that than is usual in an hour prolongs it; answers what it says if that is news.
    pub(super) fn asked(&mut self, now: Timestamp, usual_in_an_hour: f64) -> Option<Found> {
        self.demand += 1.0;
        if self.demand <= usual_in_an_hour.max(DEMAND) {
            return None;
        }
        self.until = self.until.max((now + LASTS).millis());
        let is_news = self.until().since(Timestamp(self.reported)) >= WORTH_A_WORD;
        if is_news {
            self.reported = self.until;
        }
        self.found.filter(|_| is_news).map(|found| Found { until: self.until(), ..found })
    }

    pub(super) fn sent(&mut self) {
        let newest = self.cohorts.newest();
        newest.waiting = newest.waiting.saturating_add(1);
    }

    /// A message is open no more: proven, or else no evidence of anything. What was rolled to is `at`.
    pub(super) fn settled(&mut self, at: Timestamp, reserved_at: Timestamp, proven: bool, learn: bool) {
        let weights = self.weights();
        match self.cohorts.at(nth(reserved_at)) {
            Some(cohort) => {
                // After an alarm the ring begins anew: what it does not know is not taken out.
                cohort.waiting = cohort.waiting.saturating_sub(1);
                cohort.proven = cohort.proven.saturating_add(u32::from(proven));
            }
            None => {
                let taken_back = self.sum - weights.never();
                let added = if proven { weights.proven() } else { 0.0 };
                self.sum = (taken_back.max(0.0) + added).max(0.0);
            }
        }
        if learn && !self.stands(at) && self.score().0 < CALM {
            self.learn(proven);
        }
    }
}
