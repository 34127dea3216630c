//! What happened in the last hours or minutes, as one number for each of a fixed count of slots.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

/// `N` slots of the same length, of which the newest is the `nth` since the epoch. What is older has fallen out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(i64, Vec<T>)", into = "(i64, Vec<T>)")]
#[serde(bound(serialize = "T: Clone + Serialize", deserialize = "T: Copy + Default + Deserialize<'de>"))]
pub struct Ring<T, const N: usize> {
    nth: i64,
    /// Newest last.
    slots: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Ring { nth: 0, slots: [T::default(); N] }
    }
}

impl<T: Copy + Default, const N: usize> From<(i64, Vec<T>)> for Ring<T, N> {
    /// Slots that were not written are empty: those are the oldest.
    fn from((nth, written): (i64, Vec<T>)) -> Self {
        let mut slots = [T::default(); N];
        for (slot, value) in slots.iter_mut().rev().zip(written.into_iter().rev()) {
            *slot = value;
        }
        Ring { nth, slots }
    }
}

impl<T: Clone, const N: usize> From<Ring<T, N>> for (i64, Vec<T>) {
    fn from(ring: Ring<T, N>) -> Self {
        (ring.nth, ring.slots.to_vec())
    }
}

impl<T: Copy + Default + PartialEq, const N: usize> Ring<T, N> {
    /// The newest slot.
    pub fn nth(&self) -> i64 {
        self.nth
    }

    /// An empty one.
    pub fn at_slot(nth: i64) -> Self {
        Ring { nth, ..Ring::default() }
    }

    /// Makes the `nth` slot the newest, and answers what fell out, oldest first: which slot, and what was in it.
    pub fn roll(&mut self, nth: i64) -> Vec<(i64, T)> {
        let by = usize::try_from(nth.saturating_sub(self.nth)).unwrap_or(0).min(N);
        if by == 0 {
            return Vec::new();
        }
        let oldest = self.nth - (N as i64 - 1);
        self.nth = nth;
        self.slots.rotate_left(by);
        let fallen = self.slots[N - by..].iter_mut().map(std::mem::take);
        (oldest..).zip(fallen).filter(|(_, slot)| *slot != T::default()).collect()
    }

    /// The slot that was the newest at the `nth`, if it has not fallen out. What lies ahead counts as the newest.
    pub fn at(&mut self, nth: i64) -> Option<&mut T> {
        let age = usize::try_from(self.nth.saturating_sub(nth)).unwrap_or(0);
        N.checked_sub(age + 1).map(|place| &mut self.slots[place])
    }

    /// The newest slot.
    pub fn newest(&mut self) -> &mut T {
        &mut self.slots[N - 1]
    }

    /// Oldest first, each with its age in slots.
    pub fn iter(&self) -> impl Iterator<Item = (usize, T)> + '_ {
        self.slots.iter().enumerate().map(|(place, slot)| (N - 1 - place, *slot))
    }
}

impl<T: Copy + Default + AddAssign, const N: usize> Ring<T, N> {
    /// All slots together.
    pub fn sum(&self) -> T {
        self.slots.iter().fold(T::default(), |mut sum, slot| {
            sum += *slot;
            sum
        })
    }
}

impl<T: Copy + Default + PartialEq + AddAssign, const N: usize> Ring<T, N> {
    /// Takes what lies after the `nth` slot as if it had happened in it: the clock was ahead when it was counted.
    pub fn none_after(&mut self, nth: i64) {
        let mut folded = Self::at_slot(nth.min(self.nth));
        for (age, slot) in self.iter() {
            if let Some(place) = folded.at(self.nth - age as i64) {
                *place += slot;
            }
        }
        *self = folded;
    }
}

impl<T: Copy + Default + PartialEq + PartialOrd + SubAssign + AddAssign, const N: usize> Ring<T, N> {
    /// In how many slots so much has fallen out that less than `allowed` is left; `None` where that takes all of them.
    pub fn room_in(&self, allowed: T) -> Option<usize> {
        let mut left = self.sum();
        for (age, slot) in self.iter() {
            left -= slot;
            if left < allowed {
                return Some(N - age);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_ring_falls_out_oldest_first() {
        let mut ring = Ring::<u32, 3>::default();
        for (nth, count) in [(10, 1), (11, 2), (12, 4)] {
            ring.roll(nth);
            *ring.newest() += count;
        }
        assert_eq!(ring.sum(), 7);
        assert_eq!(ring.roll(14), [(10, 1), (11, 2)]);
        assert_eq!(ring.iter().collect::<Vec<_>>(), [(2, 4), (1, 0), (0, 0)]);
        assert_eq!(ring.at(12).copied(), Some(4));
        assert_eq!(ring.at(11), None);
        assert_eq!(ring.room_in(4), Some(1));
        assert_eq!(ring.roll(100), [(12, 4)]);
        assert_eq!(ring.roll(50), [], "time does not run back");
    }

    #[test]
    fn what_lies_ahead_counts_as_the_newest_once_the_clock_is_right() {
        let mut ring = Ring::<u32, 3>::default();
        for (nth, count) in [(10, 1), (11, 2), (12, 4)] {
            ring.roll(nth);
            *ring.newest() += count;
        }
        let mut right = ring.clone();
        right.none_after(12);
        assert_eq!(right, ring, "nothing lies ahead");
        right.none_after(11);
        assert_eq!(right.iter().collect::<Vec<_>>(), [(2, 0), (1, 1), (0, 6)]);
        right.none_after(-1_000);
        assert_eq!((right.nth(), right.sum()), (-1_000, 7), "all of it still counts");
        right.roll(-999);
        assert_eq!(right.sum(), 7);
        right.roll(-997);
        assert_eq!(right.sum(), 0, "and falls out in its time");
    }

    #[test]
    fn a_ring_is_read_as_it_was_written() {
        let mut ring = Ring::<u32, 4>::default();
        ring.roll(7);
        *ring.newest() += 3;
        let text = serde_json::to_string(&ring).unwrap();
        assert_eq!(text, "[7,[0,0,0,3]]");
        assert_eq!(serde_json::from_str::<Ring<u32, 4>>(&text).unwrap(), ring);
        assert_eq!(serde_json::from_str::<Ring<u32, 4>>("[7,[3]]").unwrap(), ring, "the oldest are empty");
    }
}
