//! Ciphertexts that the HSM refused a moment ago: the one failure worth remembering.
//!
//! Only the digest, only authentication failures, bounded, for five seconds: a client that retries
//! a damaged ciphertext in a loop must not cost an HSM operation each time. Must never be true: a
//! refusal that outlives its time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cache::Digest;

const LIFE: Duration = Duration::from_secs(5);
const ENTRIES_MAX: usize = 4096;

/// The remembered refusals.
#[derive(Default)]
pub(super) struct Refused(Mutex<Table>);

#[derive(Default)]
struct Table {
    until: HashMap<Digest, Instant>,
    order: VecDeque<(Digest, Instant)>,
}

impl Refused {
    /// Whether `digest` was refused less than five seconds before `now`.
    pub(super) fn contains(&self, digest: &Digest, now: Instant) -> bool {
        let table = self.0.lock();
        table.until.get(digest).is_some_and(|until| now < *until)
    }

    /// Remembers `digest` as of `now`.
    pub(super) fn insert(&self, digest: Digest, now: Instant) {
        let mut table = self.0.lock();
        while let Some(&(oldest, until)) = table.order.front() {
            if until > now && table.order.len() < ENTRIES_MAX {
                break;
            }
            table.order.pop_front();
            if table.until.get(&oldest) == Some(&until) {
                table.until.remove(&oldest);
            }
        }
        table.until.insert(digest, now + LIFE);
        table.order.push_back((digest, now + LIFE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lives_five_seconds_and_the_table_is_bounded() {
        let refused = Refused::default();
        let start = Instant::now();
        let digest = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Digest(bytes)
        };
        refused.insert(digest(0), start);
        for (after, want) in [
            (Duration::ZERO, true),
            (Duration::from_millis(4999), true),
            (LIFE, false),
        ] {
            assert_eq!(
                refused.contains(&digest(0), start + after),
                want,
                "after {after:?}"
            );
        }
        for n in 1..=2 * ENTRIES_MAX {
            refused.insert(digest(n), start);
        }
        assert_eq!(refused.0.lock().order.len(), ENTRIES_MAX);
        assert_eq!(refused.0.lock().until.len(), ENTRIES_MAX);
        assert!(!refused.contains(&digest(0), start), "the oldest made room");
    }
}
