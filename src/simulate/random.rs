//! Random numbers that are the same for the same seed, on every machine and in every version: what `rand` makes of a seed may
//! change with its releases. Nothing secret comes from here.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// The numbers that belong to a text: FNV-1a spreads it.
    pub fn of(seed: &str) -> Random {
        let spread = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Random(seed.bytes().fold(0xcbf2_9ce4_8422_2325, spread))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, which is never reached.
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in this part of all cases.
    pub fn happens(&mut self, part: f64) -> bool {
        self.part() < part
    }

    /// Between the two.
    pub fn within(&mut self, [from, to]: [f64; 2]) -> f64 {
        from + (to - from) * self.part()
    }

    /// Between the two, evenly in its logarithm.
    pub fn within_ln(&mut self, [from, to]: [f64; 2]) -> f64 {
        self.within([from.ln(), to.ln()]).exp()
    }

    /// Below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.part() * end as f64) as usize
    }

    /// One of them; `None` where there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// The place in a list of sums that grow, drawn by what each adds.
    pub fn by_weight(&mut self, sums: &[f64]) -> usize {
        let drawn = self.part() * sums.last().copied().unwrap_or(0.0);
        sums.partition_point(|sum| *sum <= drawn).min(sums.len().saturating_sub(1))
    }

    /// Exponentially distributed, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.part()).ln() * mean
    }

    /// Log-normally distributed.
    pub fn log_normal(&mut self, ln_median: f64, sigma: f64) -> f64 {
        let (radius, angle) = (self.exponential(2.0).sqrt(), self.part() * std::f64::consts::TAU);
        (ln_median + sigma * radius * angle.cos()).exp()
    }

    /// Beta distributed, with whole parameters.
    pub fn beta(&mut self, alpha: u32, beta: u32) -> f64 {
        let mut gamma = |shape: u32| (0..shape).map(|_| self.exponential(1.0)).sum::<f64>();
        let (x, y) = (gamma(alpha), gamma(beta));
        if x + y > 0.0 { x / (x + y) } else { 0.5 }
    }
}

/// The sums of weights, as [`Random::by_weight`] takes them.
pub fn sums(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
    weights
        .into_iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_on_every_machine() {
        let mut one = Random::of("far/1/2000");
        let drawn: Vec<u64> = (0..3).map(|_| one.next()).collect();
        let mut again = Random::of("far/1/2000");
        assert_eq!(drawn, (0..3).map(|_| again.next()).collect::<Vec<_>>());
        assert_ne!(drawn[0], Random::of("far/2/2000").next());
        // The reference sequence of SplitMix64 for the seed 0.
        assert_eq!(Random(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn distributions_have_the_means_that_they_should() {
        let mut random = Random::of("means");
        let mut mean =
            |draw: &mut dyn FnMut(&mut Random) -> f64| (0..50_000).map(|_| draw(&mut random)).sum::<f64>() / 50_000.0;
        let near = |found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 0.03, "{found}, not {wanted}");
        near(mean(&mut |r| r.part()), 0.5);
        near(mean(&mut |r| r.exponential(7.0)), 7.0);
        near(mean(&mut |r| r.beta(15, 4)), 15.0 / 19.0);
        near(mean(&mut |r| r.log_normal(3.0, 0.5)), (3.0f64 + 0.125).exp());
        near(mean(&mut |r| r.by_weight(&sums([1.0, 0.0, 3.0])) as f64), 1.5);
        assert_eq!(random.one_of::<u8>(&[]), None);
    }
}
