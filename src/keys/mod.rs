//! Key name -> HSM objects: what this node knows of each key, for how long, and what changed.
//!
//! A record older than the metadata life is still served while one refresh is on its way, so that
//! an HSM outage never turns warm unwraps away; a refresh that shows another object or state tells
//! the engine to purge. Must never be true: a name that was not found remembered as missing; more
//! names than the bound; two families of one number. Called by the engine only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::cache::Family;
use crate::hsm::{KeyRecord, KeyVersion};

/// Names known at once. Far above any site's number of master keys.
pub const NAMES_MAX: usize = 65_536;
/// How long a record is used before it is looked up again.
pub const METADATA_TTL: Duration = Duration::from_secs(30);
/// How long a refresh may take before another request starts a new one.
const REFRESH_RETRY: Duration = Duration::from_secs(5);

/// What is known of one key.
#[derive(Debug)]
pub struct Known {
    /// The record as last read.
    pub record: Arc<KeyRecord>,
    /// The number by which its cache entries are purged.
    pub family: Family,
    /// Milliseconds since the directory's start after which a refresh is due.
    refresh_due_ms: AtomicU64,
}

impl Known {
    /// The version `number`, or the latest for `None`.
    pub fn version(&self, number: Option<u32>) -> Option<&KeyVersion> {
        match number {
            None => self.record.versions.last(),
            Some(number) => self
                .record
                .versions
                .iter()
                .find(|version| version.number == number),
        }
    }

    /// Number of the newest version.
    pub fn latest(&self) -> u32 {
        self.record
            .versions
            .last()
            .map_or(0, |version| version.number)
    }
}

/// What storing a record meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Learnt {
    /// The name was not known.
    New,
    /// As before.
    Same,
    /// Another object, state or bound: cached plaintexts of this family must go.
    Changed(Family),
    /// [`NAMES_MAX`] is reached; the record is used once and not kept.
    Full,
}

/// All keys this node has met.
pub struct Directory {
    names: DashMap<Arc<str>, Arc<Known>>,
    families: AtomicU32,
    start: Instant,
}

impl Directory {
    /// An empty directory; `start` is what its times count from.
    pub fn new(start: Instant) -> Self {
        Self {
            names: DashMap::new(),
            families: AtomicU32::new(0),
            start,
        }
    }

    /// What is known of `name`. The flag is true for exactly one caller when a refresh is due.
    pub fn lookup(&self, name: &str, now: Instant) -> Option<(Arc<Known>, bool)> {
        let known = Arc::clone(&*self.names.get(name)?);
        let now_ms = self.ms(now);
        let due_ms = known.refresh_due_ms.load(Ordering::Relaxed);
        let refresh = now_ms >= due_ms
            && known
                .refresh_due_ms
                .compare_exchange(
                    due_ms,
                    now_ms + millis(REFRESH_RETRY),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        Some((known, refresh))
    }

    /// Keeps `record` as of `now`.
    pub fn learn(&self, record: Arc<KeyRecord>, now: Instant) -> Learnt {
        let refresh_due_ms = AtomicU64::new(self.ms(now) + millis(METADATA_TTL));
        let room = self.names.len() < NAMES_MAX;
        match self.names.entry(Arc::clone(&record.name)) {
            Entry::Occupied(mut held) => {
                let family = held.get().family;
                let same = held.get().record == record;
                held.insert(Arc::new(Known {
                    record,
                    family,
                    refresh_due_ms,
                }));
                if same {
                    Learnt::Same
                } else {
                    Learnt::Changed(family)
                }
            }
            Entry::Vacant(_) if !room => Learnt::Full,
            Entry::Vacant(free) => {
                // Numbers are never reused: a forgotten key's late fills stay stale.
                let family = Family(self.families.fetch_add(1, Ordering::Relaxed));
                free.insert(Arc::new(Known {
                    record,
                    family,
                    refresh_due_ms,
                }));
                Learnt::New
            }
        }
    }

    /// Forgets `name`: the HSM says it is gone. Its family must be purged.
    pub fn forget(&self, name: &str) -> Option<Family> {
        self.names.remove(name).map(|(_, known)| known.family)
    }

    fn ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.start))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::hsm::{KeyState, ObjectId};

    fn record(name: &str, object: &str, state: KeyState) -> Arc<KeyRecord> {
        Arc::new(KeyRecord {
            name: name.into(),
            versions: vec![KeyVersion {
                number: 1,
                object: ObjectId(object.into()),
                created_unix_s: 0,
                state,
            }],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        })
    }

    #[test]
    fn a_changed_record_names_the_family_to_purge() {
        let now = Instant::now();
        let first = || record("k", "1", KeyState::Active);
        for (name, second, want) in [
            ("same", first(), Learnt::Same),
            (
                "recreated",
                record("k", "2", KeyState::Active),
                Learnt::Changed(Family(0)),
            ),
            (
                "state",
                record("k", "1", KeyState::Destroyed),
                Learnt::Changed(Family(0)),
            ),
            (
                "another name",
                record("l", "1", KeyState::Active),
                Learnt::New,
            ),
        ] {
            let directory = Directory::new(now);
            assert_eq!(directory.learn(first(), now), Learnt::New, "{name}");
            assert_eq!(directory.learn(second, now), want, "{name}");
        }
    }

    #[test]
    fn one_caller_refreshes_and_all_are_served_meanwhile() {
        let start = Instant::now();
        let directory = Directory::new(start);
        directory.learn(record("k", "1", KeyState::Active), start);
        for (after, want) in [
            (Duration::ZERO, false),
            (
                METADATA_TTL.checked_sub(Duration::from_millis(1)).unwrap(),
                false,
            ),
            (METADATA_TTL, true),
            (METADATA_TTL, false),
            (METADATA_TTL + REFRESH_RETRY, true),
        ] {
            let (_, refresh) = directory.lookup("k", start + after).unwrap();
            assert_eq!(refresh, want, "after {after:?}");
        }
    }

    #[test]
    fn a_forgotten_key_gets_a_new_family() {
        let now = Instant::now();
        let directory = Directory::new(now);
        directory.learn(record("k", "1", KeyState::Active), now);
        assert_eq!(directory.forget("k"), Some(Family(0)));
        assert_eq!(directory.forget("k"), None);
        directory.learn(record("k", "1", KeyState::Active), now);
        assert_eq!(directory.lookup("k", now).unwrap().0.family, Family(1));
    }
}
