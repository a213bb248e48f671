//! Which prepared request comes next: seeded, so that a run can be repeated.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Every index below `len` equally likely, for ever.
#[derive(Clone, Debug)]
pub struct Uniform {
    random: SmallRng,
    len: usize,
}

impl Uniform {
    /// None when there is nothing to choose from.
    pub fn new(seed: u64, len: usize) -> Option<Self> {
        (len > 0).then(|| Self {
            random: SmallRng::seed_from_u64(seed),
            len,
        })
    }
}

impl Iterator for Uniform {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        Some(self.random.random_range(0..self.len))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uniform_reaches_everything_and_repeats_by_seed() {
        assert!(Uniform::new(1, 0).is_none());
        let stream = Uniform::new(7, 100).unwrap();
        let picks: Vec<usize> = stream.clone().take(2000).collect();
        assert_eq!(picks, stream.take(2000).collect::<Vec<_>>());
        let mut seen = [0_u32; 100];
        for pick in picks {
            seen[pick] += 1;
        }
        assert!(
            seen.iter().all(|&times| (2..80).contains(&times)),
            "{seen:?}"
        );
    }
}
