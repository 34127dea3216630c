//! The rules of a Verify service's own rate limits: keys of the caller's choice, each counted in buckets.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::sid::random_sid;
use crate::clock::Timestamp;

/// At most so many limits in a service, and buckets in a limit. Twilio has such bounds too (60207) and does not say how high they are.
const LIMITS_MAX: usize = 100;
const BUCKETS_MAX: usize = 100;
/// At most so many values of a key are counted in a bucket; of more, the one whose last start is the oldest is forgotten.
const VALUES_MAX: usize = 10_000;

/// A limit: the name by which a start gives its key's value.
#[derive(Clone)]
pub(super) struct RateLimit {
    pub sid: String,
    pub service: String,
    pub unique_name: String,
    pub description: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    buckets: Vec<Bucket>,
}

/// So many starts with the same value in so many seconds.
#[derive(Clone)]
pub(super) struct Bucket {
    pub sid: String,
    pub max: u32,
    pub interval: u32,
    pub created: Timestamp,
    pub updated: Timestamp,
    starts: HashMap<String, VecDeque<Timestamp>>,
}

/// Why a limit or a bucket is not made or changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    /// The name is taken in this service.
    NameTaken,
    /// The limit has a bucket of this interval (60211).
    IntervalTaken,
    /// 60207
    TooMany,
}

/// The limits of all services.
#[derive(Default)]
pub(super) struct RateLimits(Vec<RateLimit>);

impl RateLimit {
    /// Its buckets, the newest first.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().rev()
    }

    pub fn bucket(&self, sid: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.sid == sid)
    }

    /// Adds a bucket.
    pub fn add_bucket(&mut self, max: u32, interval: u32, now: Timestamp) -> Result<&Bucket, Refused> {
        if self.buckets.iter().any(|bucket| bucket.interval == interval) {
            return Err(Refused::IntervalTaken);
        }
        if self.buckets.len() >= BUCKETS_MAX {
            return Err(Refused::TooMany);
        }
        let (sid, starts) = (random_sid("BL"), HashMap::new());
        let at = self.buckets.len();
        self.buckets.push(Bucket { sid, max, interval, created: now, updated: now, starts });
        Ok(&self.buckets[at])
    }

    /// Changes what is given of a bucket.
    pub fn change_bucket(
        &mut self,
        sid: &str,
        (max, interval): (Option<u32>, Option<u32>),
        now: Timestamp,
    ) -> Result<&Bucket, Refused> {
        let at = self.buckets.iter().position(|bucket| bucket.sid == sid).ok_or(Refused::NotFound)?;
        let taken = |(place, bucket): (usize, &Bucket)| place != at && Some(bucket.interval) == interval;
        if self.buckets.iter().enumerate().any(taken) {
            return Err(Refused::IntervalTaken);
        }
        let bucket = &mut self.buckets[at];
        bucket.max = max.unwrap_or(bucket.max);
        bucket.interval = interval.unwrap_or(bucket.interval);
        bucket.updated = now;
        Ok(bucket)
    }

    /// Deletes a bucket; false: there is none.
    pub fn delete_bucket(&mut self, sid: &str) -> bool {
        let before = self.buckets.len();
        self.buckets.retain(|bucket| bucket.sid != sid);
        self.buckets.len() < before
    }
}

impl Bucket {
    /// The starts that still count are `max` already.
    fn is_full(&mut self, value: &str, now: Timestamp) -> bool {
        let (max, interval) = (self.max as usize, Duration::from_secs(self.interval.into()));
        let Some(starts) = self.starts.get_mut(value) else { return max == 0 };
        while starts.front().is_some_and(|at| now >= *at + interval) {
            starts.pop_front();
        }
        starts.len() >= max
    }

    fn count(&mut self, value: &str, now: Timestamp) {
        if self.starts.len() >= VALUES_MAX && !self.starts.contains_key(value) {
            let oldest =
                self.starts.iter().min_by_key(|(_, starts)| starts.back().copied()).map(|(value, _)| value.clone());
            oldest.and_then(|oldest| self.starts.remove(&oldest));
        }
        self.starts.entry(value.to_owned()).or_default().push_back(now);
    }
}

impl RateLimits {
    /// A service's limits, the newest first.
    pub fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a RateLimit> {
        self.0.iter().rev().filter(move |limit| limit.service == service)
    }

    pub fn get_mut(&mut self, service: &str, sid: &str) -> Option<&mut RateLimit> {
        self.0.iter_mut().find(|limit| limit.service == service && limit.sid == sid)
    }

    /// Adds a limit, which holds nobody back before it has a bucket.
    pub fn add(&mut self, service: &str, name: &str, description: &str, now: Timestamp) -> Result<&RateLimit, Refused> {
        if self.of(service).any(|limit| limit.unique_name == name) {
            return Err(Refused::NameTaken);
        }
        if self.of(service).count() >= LIMITS_MAX {
            return Err(Refused::TooMany);
        }
        let at = self.0.len();
        self.0.push(RateLimit {
            sid: random_sid("RK"),
            service: service.to_owned(),
            unique_name: name.to_owned(),
            description: description.to_owned(),
            created: now,
            updated: now,
            buckets: Vec::new(),
        });
        Ok(&self.0[at])
    }

    /// Deletes a limit with its buckets; false: there is none.
    pub fn delete(&mut self, service: &str, sid: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|limit| !(limit.service == service && limit.sid == sid));
        self.0.len() < before
    }

    pub fn delete_all_of(&mut self, service: &str) {
        self.0.retain(|limit| limit.service != service);
    }

    pub fn has(&self, service: &str, name: &str) -> bool {
        self.of(service).any(|limit| limit.unique_name == name)
    }

    /// Counts a start with these names and values, in every bucket or, if one of them is full, in none. False: one is full.
    pub fn admit(&mut self, service: &str, keys: &[(String, String)], now: Timestamp) -> bool {
        let mut concerned: Vec<(&mut Bucket, &str)> = Vec::new();
        for limit in self.0.iter_mut().filter(|limit| limit.service == service) {
            if let Some((_, value)) = keys.iter().find(|(name, _)| *name == limit.unique_name) {
                concerned.extend(limit.buckets.iter_mut().map(|bucket| (bucket, value.as_str())));
            }
        }
        let full = concerned.iter_mut().any(|(bucket, value)| bucket.is_full(value, now));
        if !full {
            concerned.into_iter().for_each(|(bucket, value)| bucket.count(value, now));
        }
        !full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_values_the_one_that_was_used_longest_ago_is_forgotten() {
        let (mut limits, start) = (RateLimits::default(), Timestamp(0));
        let sid = limits.add("VA0", "ip", "", start).map(|limit| limit.sid.clone()).unwrap_or_default();
        let limit = limits.get_mut("VA0", &sid).unwrap();
        limit.add_bucket(1, 3600, start).unwrap();
        let mut admit =
            |value: usize, millis: i64| limits.admit("VA0", &[("ip".to_owned(), value.to_string())], Timestamp(millis));
        for (value, millis) in (0..VALUES_MAX).zip(0..) {
            assert!(admit(value, millis));
        }
        assert!(!admit(0, 20_000), "it is counted still");
        assert!(admit(VALUES_MAX, 20_000));
        assert!(admit(0, 20_000), "it was forgotten");
        assert!(!admit(2, 20_000), "others were not: value 1 made room for value 0");
    }
}
