//! How many different things there were, without keeping any of them: `HyperLogLog`.
//!
//! Each thing is a uniform hash, of which a register keeps the longest run of leading zeros that it has seen. Source:
//! Flajolet et al. 2007, read with Ertl's estimator of 2017, which needs no tables and is right from nothing up.
//! Standard error 1.6 %. Must never be true: something in here by which one of the things could be found again.

/// Registers; their number decides the error: 1.04 / sqrt(4096).
const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 12;
/// The longest run that a register can hold, and one more for a hash of which all the rest is 0.
const RUN_MAX: usize = 64 - INDEX_BITS as usize + 1;

/// Counts different hashes.
#[derive(Clone, Debug)]
pub struct Distinct(Box<[u8; REGISTERS]>);

impl Default for Distinct {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Distinct {
    /// Notes a hash; one that was noted before changes nothing.
    pub fn note(&mut self, hash: u64) {
        let rest = hash << INDEX_BITS;
        let zeros = rest.leading_zeros().min(64 - INDEX_BITS);
        // At most RUN_MAX, which is below 64.
        let run = u8::try_from(zeros + 1).unwrap_or(u8::MAX);
        let index = usize::try_from(hash >> (64 - INDEX_BITS)).unwrap_or(0);
        if let Some(longest) = self.0.get_mut(index) {
            *longest = run.max(*longest);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Notes all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *ours = (*ours).max(*theirs);
        }
    }

    /// About how many different ones were noted.
    pub fn estimate(&self) -> f64 {
        let mut counts = [0_u32; RUN_MAX + 1];
        for run in self.0.iter() {
            if let Some(count) = counts.get_mut(usize::from(*run)) {
                *count += 1;
            }
        }
        let registers = f64::from(1_u32 << INDEX_BITS);
        let share = |run: usize| f64::from(counts.get(run).copied().unwrap_or(0)) / registers;
        let mut sum = registers * full(1.0 - share(RUN_MAX));
        for run in (1..RUN_MAX).rev() {
            sum = 0.5 * (sum + share(run) * registers);
        }
        sum += registers * empty(share(0));
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// Ertl's sigma, of the share of registers that have seen nothing: x + the sum of x^(2^k) 2^(k-1) over k from 1.
fn empty(share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let next = sum + power * weight;
        if next <= sum {
            return sum;
        }
        (sum, weight) = (next, weight * 2.0);
    }
}

/// Ertl's tau, of the share of registers that are not full.
fn full(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        weight *= 0.5;
        let next = sum - (1.0 - root).powi(2) * weight;
        if next >= sum {
            return sum / 3.0;
        }
        sum = next;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_precision_loss)] // counts far below 2^52
    use super::*;

    /// A uniform hash of a number: splitmix64.
    fn hash(number: u64) -> u64 {
        let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(numbers: impl Iterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        numbers.for_each(|number| distinct.note(hash(number)));
        distinct
    }

    #[test]
    fn estimates_are_within_three_standard_errors() {
        for (first, count) in (0_u64..).map(|at| at << 32).zip([
            1_u64, 2, 10, 100, 1000, 4096, 10_000, 50_000, 300_000, 2_000_000,
        ]) {
            let got = of(first + 1..=first + count).estimate();
            let off = (got / count as f64 - 1.0).abs();
            // A handful is counted nearly exactly: hardly two share a register.
            assert!(
                off < if count <= 10 { 0.01 } else { 0.05 },
                "{count}: {got}"
            );
        }
        assert!(of(0..0).estimate() <= 0.0);
    }

    #[test]
    fn what_comes_again_counts_once_and_unions_count_all_once() {
        let once = of(1..=5000);
        let again = of((1..=5000).chain(1..=5000).chain(2000..=3000));
        assert_eq!(once.0, again.0);
        let mut union = of(1..=3000);
        union.merge(&of(2500..=5000));
        assert_eq!(union.0, once.0);
        union.clear();
        assert!(union.estimate() <= 0.0);
    }

    #[test]
    fn any_hash_is_taken() {
        let mut distinct = Distinct::default();
        for hash in [0, u64::MAX, 1, 1 << 63, (1 << 52) - 1] {
            distinct.note(hash);
        }
        let got = distinct.estimate();
        assert!((2.0..6.0).contains(&got), "{got}");
        let full = Distinct(Box::new([53; REGISTERS]));
        assert!(full.estimate() > 1e15 || full.estimate().is_infinite());
    }
}
