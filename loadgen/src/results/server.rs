//! The server, as seen from here and as it tells of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sum;

/// Sample that tells one process from the next.
const PROCESS_START: &str = "process_start_time_seconds";

/// Whom the load went to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerView {
    /// Address and port, or a list of them.
    pub target: String,
    /// What it calls itself, e.g. `connected-kms`, `OpenBao`.
    #[serde(default)]
    pub name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// What its connections agreed on.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Its figures before the first request.
    #[serde(default)]
    pub before: Option<ServerFigures>,
    /// Its figures after the last answer.
    #[serde(default)]
    pub after: Option<ServerFigures>,
}

/// What a connection agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// `TLSv1_3`.
    pub version: String,
    /// `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
    /// `X25519MLKEM768`.
    pub key_exchange: String,
    /// Signature or key of the server's certificate, e.g. `ECDSA P-256`, if known.
    #[serde(default)]
    pub certificate: Option<String>,
}

/// Counters of the server, and of a simulated HSM behind it, at one moment. They count from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Unwraps by where the plaintext came from.
    #[serde(default)]
    pub unwraps: Option<Split>,
    /// Operations that the HSM did.
    #[serde(default)]
    pub hsm_operations: Option<u64>,
    /// Messages to the HSM, by the number of items in each.
    #[serde(default)]
    pub batches: Vec<BatchBucket>,
    /// Every sample of `/metrics` by its name and labels.
    #[serde(default)]
    pub samples: BTreeMap<String, f64>,
}

/// Unwraps (items) by where the plaintext came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// From the cache.
    pub hits: u64,
    /// From another request's fetch.
    pub joined: u64,
    /// From the cache that the nodes share.
    #[serde(default)]
    pub shared: u64,
    /// From the HSM.
    pub misses: u64,
}

/// How many messages had so many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchBucket {
    /// Fewest items.
    pub items_min: u32,
    /// Most items; none: no bound.
    pub items_max: Option<u32>,
    /// Messages.
    pub messages: u64,
}

impl ServerFigures {
    /// Whether these are of another process than those `before`: its start is another, or a counter fell.
    pub fn is_anew(&self, before: &Self) -> bool {
        let begun = |of: &Self| of.samples.get(PROCESS_START).copied();
        if let (Some(now), Some(before)) = (begun(self), begun(before)) {
            return now.total_cmp(&before).is_ne();
        }
        let counts = |of: &Self| {
            let split = of.unwraps.unwrap_or_default();
            [
                split.hits,
                split.joined,
                split.shared,
                split.misses,
                of.hsm_operations.unwrap_or(0),
            ]
        };
        let both = counts(self).into_iter().zip(counts(before));
        both.into_iter().any(|(now, before)| now < before)
    }

    /// With the counters of a process that is no more; samples stay as they were told.
    #[must_use]
    pub fn plus(&self, ended: &Self) -> Self {
        let mut whole = self.clone();
        whole.unwraps = [self.unwraps, ended.unwraps]
            .into_iter()
            .flatten()
            .reduce(|one, other| one.plus(&other));
        whole.hsm_operations = [self.hsm_operations, ended.hsm_operations]
            .into_iter()
            .flatten()
            .reduce(u64::saturating_add);
        for bucket in &ended.batches {
            let same = |other: &&mut BatchBucket| {
                (other.items_min, other.items_max) == (bucket.items_min, bucket.items_max)
            };
            match whole.batches.iter_mut().find(same) {
                Some(other) => other.messages = other.messages.saturating_add(bucket.messages),
                None => whole.batches.push(*bucket),
            }
        }
        whole.batches.sort_by_key(|bucket| bucket.items_min);
        whole
    }
}

impl Split {
    /// All unwraps.
    pub fn total(&self) -> u64 {
        sum([self.hits, self.joined, self.shared, self.misses])
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            hits: self.hits.saturating_add(other.hits),
            joined: self.joined.saturating_add(other.joined),
            shared: self.shared.saturating_add(other.shared),
            misses: self.misses.saturating_add(other.misses),
        }
    }

    /// What was added since `before`; a counter that fell began anew.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            hits: grown(self.hits, before.hits),
            joined: grown(self.joined, before.joined),
            shared: grown(self.shared, before.shared),
            misses: grown(self.misses, before.misses),
        }
    }
}

/// A counter that fell belongs to a server that was started again: all it has is new.
fn grown(after: u64, before: u64) -> u64 {
    after.checked_sub(before).unwrap_or(after)
}

impl ServerView {
    /// Unwraps of the run.
    pub fn unwraps(&self) -> Option<Split> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        Some(after.unwraps?.since(&before.unwraps?))
    }

    /// HSM operations of the run.
    pub fn hsm_operations(&self) -> Option<u64> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        Some(grown(after.hsm_operations?, before.hsm_operations?))
    }

    /// Messages to the HSM during the run, by size; empty buckets are left out.
    pub fn batches(&self) -> Vec<BatchBucket> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return Vec::new();
        };
        let messages_before = |bucket: &BatchBucket| {
            let same = |other: &&BatchBucket| {
                (other.items_min, other.items_max) == (bucket.items_min, bucket.items_max)
            };
            before
                .batches
                .iter()
                .find(same)
                .map_or(0, |other| other.messages)
        };
        let during = after.batches.iter().map(|bucket| BatchBucket {
            messages: grown(bucket.messages, messages_before(bucket)),
            ..*bucket
        });
        during.filter(|bucket| bucket.messages > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_what_they_grew() {
        for (name, before, after, want) in [
            ("grown", (5, 1, 2), (9, 1, 4), (4, 0, 2)),
            ("a server started again", (5, 1, 2), (3, 0, 1), (3, 0, 1)),
        ] {
            let figures = |(hits, joined, misses)| ServerFigures {
                unwraps: Some(Split {
                    hits,
                    joined,
                    shared: joined,
                    misses,
                }),
                hsm_operations: Some(misses),
                batches: vec![BatchBucket {
                    items_min: 1,
                    items_max: Some(1),
                    messages: misses,
                }],
                ..ServerFigures::default()
            };
            let mut view = ServerView {
                after: Some(figures(after)),
                ..ServerView::default()
            };
            assert_eq!(view.unwraps(), None, "{name}: nothing known before");
            view.before = Some(figures(before));
            let (hits, joined, misses) = want;
            assert_eq!(
                view.unwraps(),
                Some(Split {
                    hits,
                    joined,
                    shared: joined,
                    misses
                }),
                "{name}"
            );
            assert_eq!(view.hsm_operations(), Some(misses), "{name}");
            assert_eq!(
                view.batches()
                    .iter()
                    .map(|bucket| bucket.messages)
                    .sum::<u64>(),
                misses,
                "{name}"
            );
        }
    }
}
