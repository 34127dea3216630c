//! How often one bearer, or one stranger, may ask: token buckets in the memory of this process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// In which an empty bucket fills up.
const SECOND: Duration = Duration::from_secs(1);

/// Fewer buckets than these are not looked through for ones that are full again.
const FEW: usize = 1024;

/// Buckets that each hold as many requests as may come in a second, and fill up again within one. Of each is kept when it
/// will be full: a full one is not kept at all, so there are never more than the requests of about a second.
pub(super) struct Buckets<K>(Mutex<Kept<K>>);

struct Kept<K> {
    full_at: HashMap<K, Duration>,
    look_through_at: usize,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Buckets(Mutex::new(Kept { full_at: HashMap::new(), look_through_at: FEW }))
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes one request out of a bucket. `now` is the time since any moment that stays the same; `per_second` is at least 1.
    ///
    /// # Errors
    /// The bucket is empty: how long until there is one in it.
    pub fn take(&self, key: K, per_second: u32, now: Duration) -> Result<(), Duration> {
        let mut kept = self.kept();
        if let Some(full_at) = kept.full_at.get_mut(&key) {
            // An empty bucket is full within a second: what lies far ahead was written before the clock went back.
            *full_at = if *full_at > now + 2 * SECOND { now + SECOND } else { *full_at };
        }
        let full_at = after_one_more(kept.full_at.get(&key).copied(), per_second, now)?;
        if kept.full_at.len() >= kept.look_through_at {
            kept.full_at.retain(|_, full_at| *full_at > now);
            kept.look_through_at = FEW.max(2 * kept.full_at.len());
        }
        kept.full_at.insert(key, full_at);
        Ok(())
    }

    /// Looks whether there is a request in a bucket, and takes none.
    ///
    /// # Errors
    /// As [`Buckets::take`].
    pub fn look(&self, key: &K, per_second: u32, now: Duration) -> Result<(), Duration> {
        after_one_more(self.kept().full_at.get(key).copied(), per_second, now).map(|_| ())
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a bucket will be full after one more request; or how long until that request is in it.
fn after_one_more(full_at: Option<Duration>, per_second: u32, now: Duration) -> Result<Duration, Duration> {
    let one = SECOND / per_second.max(1);
    let full_at = full_at.unwrap_or(now).max(now);
    match (full_at + one).checked_sub(now + SECOND) {
        None | Some(Duration::ZERO) => Ok(full_at + one),
        Some(wait) => Err(wait),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    fn taken<K: Eq + Hash + Copy>(buckets: &Buckets<K>, key: K, rate: u32, now: Duration, tries: u32) -> usize {
        (0..tries).filter(|_| buckets.take(key, rate, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_holds_the_requests_of_a_second_and_fills_up_again() {
        for rate in [1, 2, 3, 7, 10, 100, 999, 1000, 10_000] {
            let buckets = Buckets::default();
            let full = taken(&buckets, 1, rate, START, 2 * rate);
            assert_eq!(full, rate as usize, "{rate}");
            let wait = buckets.take(1, rate, START).unwrap_err();
            assert!(wait <= SECOND / rate && wait > Duration::ZERO, "{rate} {wait:?}");
            assert_eq!(buckets.look(&1, rate, START), Err(wait), "looking takes nothing");
            assert!(buckets.take(1, rate, START + wait - Duration::from_nanos(1)).is_err(), "{rate}");
            assert!(buckets.take(1, rate, START + wait).is_ok(), "{rate}");
            assert_eq!(taken(&buckets, 2, rate, START, 2 * rate), rate as usize, "another one's bucket is full");
            let later = START + wait + Duration::from_secs(1);
            assert_eq!(taken(&buckets, 1, rate, later, 2 * rate), rate as usize, "{rate}");
        }
    }

    #[test]
    fn many_at_once_take_no_more_than_is_in_it() {
        let (buckets, taken) = (Buckets::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for nth in 0..1000_u32 {
                        // The time moves on by a tenth of a second for everyone.
                        let now = START + Duration::from_millis(u64::from(nth / 10));
                        if buckets.take("one", 50, now).is_ok() {
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let taken = taken.into_inner();
        // 50 that were in it, and one for every 20 of the 99 ms.
        assert!((50..=54).contains(&taken), "{taken}");
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let buckets = Buckets::default();
        assert_eq!(taken(&buckets, 1, 5, START, 9), 5);
        let earlier = START - Duration::from_secs(86_400);
        assert!(buckets.take(1, 5, earlier).is_err());
        assert!(buckets.take(1, 5, earlier + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn what_is_kept_is_bounded_by_the_requests_of_a_second() {
        let buckets = Buckets::default();
        for nth in 0..200_000_u32 {
            // A thousand a second, each of a key of its own.
            let now = START + Duration::from_millis(u64::from(nth));
            buckets.take(nth, 10, now).unwrap();
        }
        assert!(buckets.kept().full_at.len() <= 4 * FEW, "{}", buckets.kept().full_at.len());
    }
}
