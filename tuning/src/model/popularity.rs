//! How often each key is asked for, as shares of all requests that sum to 1.
//!
//! Keys of nearly equal share are one group, so that a sum over ten billion keys is one over less than a
//! thousand groups; what is summed is off by less than 0.05 %. Must never be true: shares that do not sum to 1.

/// Ranks of a Zipf law that are groups of their own.
const HEAD: f64 = 300.0;
/// From one group to the next, behind the head.
const GROWTH: f64 = 1.03;

/// Keys that are asked for equally often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// How many; may be a fraction where keys are spread over nodes.
    pub keys: f64,
    /// Share of all requests that one of them gets.
    pub share: f64,
}

/// All keys.
#[derive(Clone, Debug)]
pub struct Popularity {
    groups: Vec<Group>,
}

impl Popularity {
    /// `keys` keys, that of rank i asked for in proportion to i^-s.
    ///
    /// Sums behind the head are integrals by the midpoint rule: off by less than 1e-6.
    pub fn zipf(keys: f64, s: f64) -> Self {
        let keys = keys.max(1.0).floor();
        let mut groups = Vec::new();
        let head = keys.min(HEAD);
        let mut rank = 1.0_f64;
        while rank <= head {
            groups.push(Group {
                keys: 1.0,
                share: rank.powf(-s),
            });
            rank += 1.0;
        }
        while rank <= keys {
            let next = (rank * GROWTH).ceil().max(rank + 1.0).min(keys + 1.0);
            let sum = power_integral(rank - 0.5, next - 0.5, s);
            groups.push(Group {
                keys: next - rank,
                share: sum / (next - rank),
            });
            rank = next;
        }
        Self::scaled(groups)
    }

    /// As counted: how many requests each key had. Keys of equal counts become one group.
    pub fn counted(counts: impl IntoIterator<Item = u64>) -> Self {
        let mut by_count = std::collections::BTreeMap::new();
        for count in counts.into_iter().filter(|count| *count > 0) {
            *by_count.entry(count).or_insert(0.0) += 1.0;
        }
        let groups = by_count.into_iter().rev().map(|(count, keys)| Group {
            keys,
            share: count as f64,
        });
        Self::scaled(groups.collect())
    }

    fn scaled(mut groups: Vec<Group>) -> Self {
        let total: f64 = groups.iter().map(|group| group.keys * group.share).sum();
        if total > 0.0 {
            for group in &mut groups {
                group.share /= total;
            }
        }
        Self { groups }
    }

    /// What one of `nodes` sees when a key always meets the same node: a part of the keys, each with a larger
    /// share of that node's requests. The mean over the nodes.
    #[must_use]
    pub fn split(&self, nodes: f64) -> Self {
        let split = |group: &Group| Group {
            keys: group.keys / nodes,
            share: group.share * nodes,
        };
        Self {
            groups: self.groups.iter().map(split).collect(),
        }
    }

    /// Most popular first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many keys.
    pub fn keys(&self) -> f64 {
        self.groups.iter().map(|group| group.keys).sum()
    }

    /// Share of the most popular key.
    pub fn hottest(&self) -> f64 {
        self.groups.first().map_or(0.0, |group| group.share)
    }

    /// Sum over all keys of `of` the rate at which one is asked for, when `rate` requests a second come in all.
    pub fn sum(&self, rate: f64, of: impl Fn(f64) -> f64) -> f64 {
        self.groups
            .iter()
            .map(|group| group.keys * of(rate * group.share))
            .sum()
    }

    /// Share of the requests that the `count` most popular keys get.
    pub fn share_of_top(&self, count: f64) -> f64 {
        let mut left = count;
        let mut share = 0.0;
        for group in &self.groups {
            let taken = group.keys.min(left.max(0.0));
            share += taken * group.share;
            left -= taken;
        }
        share
    }
}

/// The integral of x^-s.
fn power_integral(from: f64, to: f64, s: f64) -> f64 {
    if (s - 1.0).abs() < 1e-9 {
        (to / from).ln()
    } else {
        (to.powf(1.0 - s) - from.powf(1.0 - s)) / (1.0 - s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_sum_to_what_single_keys_do() {
        for (name, keys, s) in [
            ("flat", 50_000.0, 0.0),
            ("usual", 100_000.0, 0.9),
            ("one", 30_000.0, 1.0),
            ("steep", 1e5, 1.3),
            ("few", 3.0, 0.8),
        ] {
            let grouped = Popularity::zipf(keys, s);
            assert!((grouped.keys() - keys).abs() < 1e-6, "{name}");
            let of = |rate: f64| rate / (1.0 + 60.0 * rate);
            let ranks = (1..).take_while(|rank| f64::from(*rank) <= keys);
            let weights: Vec<f64> = ranks.map(|rank| f64::from(rank).powf(-s)).collect();
            let total: f64 = weights.iter().sum();
            let single: f64 = weights.iter().map(|w| of(1000.0 * w / total)).sum();
            let got = grouped.sum(1000.0, of);
            assert!(
                (got / single - 1.0).abs() < 5e-4,
                "{name}: {got} for {single}"
            );
            let top: f64 = weights.iter().take(1000).sum::<f64>() / total;
            assert!((grouped.share_of_top(1000.0) - top).abs() < 5e-4, "{name}");
        }
    }

    #[test]
    fn a_part_of_the_keys_has_all_requests_of_its_node() {
        let all = Popularity::counted([10, 10, 5, 0, 1]);
        assert!((all.keys() - 4.0).abs() < 1e-12 && (all.hottest() - 10.0 / 26.0).abs() < 1e-12);
        let part = all.split(2.0);
        assert!((part.keys() - 2.0).abs() < 1e-12);
        assert!((part.sum(1.0, |rate| rate) - 1.0).abs() < 1e-12);
    }
}
