//! Samples of one node's `/metrics`, and what is worked out of them.
//!
//! Must never be true: a histogram read beyond its last bound.

use std::collections::BTreeMap;

/// Text of metrics is some hundred KiB; more is none.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;
/// A node that has just started tells nothing.
const UPTIME_S_MIN: f64 = 10.0;

/// Every sample by its name and labels, as they stand there.
#[derive(Clone, Debug)]
pub struct Figures(BTreeMap<String, f64>);

/// What a node was asked since its start, a second.
pub(super) struct Load {
    pub(super) unwraps: f64,
    pub(super) unwraps_s: f64,
    pub(super) wraps_s: f64,
    pub(super) connections: f64,
    pub(super) handshakes_s: f64,
}

impl Figures {
    /// Of these samples.
    pub fn new(samples: BTreeMap<String, f64>) -> Self {
        Self(samples)
    }

    /// One sample.
    pub fn get(&self, sample: &str) -> Option<f64> {
        self.0
            .get(sample)
            .copied()
            .filter(|value| value.is_finite())
    }

    pub(super) fn load(&self) -> Option<Load> {
        let uptime_s = self
            .get("kms_uptime_seconds")
            .filter(|uptime_s| *uptime_s >= UPTIME_S_MIN)?;
        let unwraps = |source: &str| self.get(&format!("kms_unwraps_total{{source=\"{source}\"}}"));
        let misses = unwraps("hsm")?;
        let all = unwraps("cache")? + unwraps("joined")? + misses;
        let refreshes: f64 = ["renewed", "failed"]
            .iter()
            .filter_map(|outcome| {
                self.get(&format!("kms_refreshes_total{{outcome=\"{outcome}\"}}"))
            })
            .sum();
        let items = self.get("kms_hsm_message_items_sum").unwrap_or(misses);
        Some(Load {
            unwraps: all,
            unwraps_s: all / uptime_s,
            wraps_s: (items - misses - refreshes).max(0.0) / uptime_s,
            connections: self.get("kms_connections").unwrap_or(0.0),
            handshakes_s: self.get("kms_handshakes_total").unwrap_or(0.0) / uptime_s,
        })
    }

    /// Different keys, and how far back they are counted.
    pub(super) fn working_set(&self, window: &str) -> Option<(f64, f64)> {
        let of = |name: &str| self.get(&format!("kms_working_set_{name}{{window=\"{window}\"}}"));
        Some((of("keys")?, of("seconds")?))
    }

    /// Mean of a histogram of all nodes.
    pub(super) fn mean(nodes: &[Self], family: &str) -> Option<f64> {
        let sum = |suffix: &str| {
            let name = format!("{family}_{suffix}");
            nodes.iter().filter_map(|node| node.get(&name)).sum::<f64>()
        };
        let count = sum("count");
        (count > 0.0).then(|| sum("sum") / count)
    }

    /// A histogram of all nodes: its cumulative counts are added.
    pub(super) fn histogram(nodes: &[Self], family: &str, label: &str) -> Buckets {
        let start = format!("{family}_bucket{{{label},le=\"");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (name, count) in nodes.iter().flat_map(|node| &node.0) {
            let Some(bound) = name.strip_prefix(&start) else {
                continue;
            };
            let bound = bound.trim_end_matches("\"}");
            let bound = if bound == "+Inf" {
                Ok(f64::INFINITY)
            } else {
                bound.parse()
            };
            let Ok(bound) = bound else {
                continue;
            };
            match buckets
                .iter_mut()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
            {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, *count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Buckets(buckets)
    }
}

/// Upper bounds, and counts up to them.
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Between the bounds around it, even on a logarithmic axis; none beyond the last bound.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count();
        let mut below: Option<(f64, f64)> = None;
        for (bound, count) in &self.0 {
            if *count >= wanted && *count > 0.0 {
                if bound.is_infinite() {
                    return None;
                }
                let (from, before) = below.unwrap_or((bound / 2.0, 0.0));
                let along = (wanted - before) / (count - before).max(f64::MIN_POSITIVE);
                return Some(from * (bound / from).powf(along.clamp(0.0, 1.0)));
            }
            below = Some((*bound, *count));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_lie_between_their_bounds() {
        let text = [
            (0.001, 0.0),
            (0.002, 50.0),
            (0.005, 98.0),
            (0.01, 99.5),
            (f64::INFINITY, 100.0),
        ];
        let buckets = Buckets(text.to_vec());
        for (name, share, want) in [
            ("on a bound", 0.5, Some(0.002)),
            ("within", 0.74, Some(0.002 * 2.5_f64.sqrt())),
            ("nearly all", 0.99, Some(0.005 * 2.0_f64.powf(2.0 / 3.0))),
            ("beyond the last bound", 0.999, None),
        ] {
            let got = buckets.quantile(share);
            let is_near = match (got, want) {
                (Some(got), Some(want)) => (got / want - 1.0).abs() < 1e-9,
                (got, want) => got == want,
            };
            assert!(is_near, "{name}: {got:?}");
        }
        assert_eq!(Buckets(Vec::new()).quantile(0.5), None);
    }
}
