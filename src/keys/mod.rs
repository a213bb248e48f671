//! Key name -> HSM objects: what this node knows of each key, for how long, and what changed.
//!
//! A record older than the metadata life is still served while one refresh is on its way, so that
//! an HSM outage never turns warm unwraps away; an answer that shows another object, state or minimum
//! names the versions whose cached plaintexts must go, and no others: a rotation drops nothing. Must
//! never be true: a name that was not found remembered as missing; more names than the bound; two
//! families of one number; a lookup that undoes a change which this node made after it was asked.
//! Called by the engine only.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use crate::cache::Family;
use crate::hsm::{KeyRecord, KeyState, KeyVersion};

/// Names known at once. Far above any site's number of master keys.
pub const NAMES_MAX: usize = 65_536;
/// How long a record is used before it is looked up again.
pub const METADATA_TTL: Duration = Duration::from_secs(30);
/// How long a refresh may take before another request starts a new one.
const REFRESH_RETRY: Duration = Duration::from_secs(5);

/// Withdrawals remembered before old ones are let go: no question to the back end lasts that long.
const WITHDRAWN_MAX: usize = 1024;
const WITHDRAWN_LIFE: Duration = Duration::from_mins(15);

/// What is known of one key.
#[derive(Debug)]
pub struct Known {
    /// The record as last read.
    pub record: Arc<KeyRecord>,
    /// The numbers by which cache entries are purged: one for each version, in the record's order.
    families: Box<[Family]>,
    /// Milliseconds since the directory's start after which a refresh is due.
    refresh_due_ms: AtomicU64,
    /// When this node last changed the key itself, or asked what is known now.
    settled: Option<Instant>,
}

impl Known {
    /// The version `number`, and the family of its cache entries.
    #[inline]
    pub fn version(&self, number: u32) -> Option<(&KeyVersion, Family)> {
        // From the newest: it is the one most asked for.
        self.record
            .versions
            .iter()
            .zip(&self.families)
            .rev()
            .find(|(version, _)| version.number == number)
            .map(|(version, family)| (version, *family))
    }

    /// Number of the newest version.
    pub fn latest(&self) -> u32 {
        self.record.latest()
    }

    /// Whether an answer from `source` was overtaken by a change or a later question.
    fn outdates(&self, source: Source) -> bool {
        match (source, self.settled) {
            (Source::Lookup { asked }, Some(settled)) => asked < settled,
            _ => false,
        }
    }

    /// The family of `version` if it was known as the same object.
    fn family_of(&self, version: &KeyVersion) -> Option<Family> {
        self.version(version.number)
            .filter(|(held, _)| held.object == version.object)
            .map(|(_, family)| family)
    }

    /// The families of versions that `next` no longer lets be unwrapped as before.
    fn purged_by(&self, next: &Self) -> Vec<Family> {
        let old = self.record.versions.iter().zip(&self.families);
        old.filter(|(held, family)| match next.version(held.number) {
            Some((version, kept)) if kept == **family => {
                let withdrawn = version.state != held.state && version.state != KeyState::Active;
                let number = version.number;
                withdrawn
                    || (number >= self.record.min_decryption_version
                        && number < next.record.min_decryption_version)
            }
            _ => true,
        })
        .map(|(_, family)| *family)
        .collect()
    }
}

/// How a record was come by.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Looked up.
    Lookup {
        /// When the back end was asked.
        asked: Instant,
    },
    /// The answer to a change that this node made.
    Change,
}

/// What storing a record meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Learnt {
    /// The name was not known.
    New,
    /// As before.
    Same,
    /// Another record: cached plaintexts of these families must go. Often none.
    Changed {
        /// Those of versions that are gone, that became another object, that left the state in which
        /// they were served, or that fell below the minimum.
        purge: Vec<Family>,
    },
    /// The lookup was asked before this node's last change of the key: not kept.
    Outdated,
    /// [`NAMES_MAX`] is reached; the record is used once and not kept.
    Full,
}

/// All keys this node has met.
pub struct Directory {
    names: DashMap<Arc<str>, Arc<Known>>,
    families: AtomicU32,
    start: Instant,
    withdrawn: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Directory {
    /// An empty directory; `start` is what its times count from.
    pub fn new(start: Instant) -> Self {
        Self {
            names: DashMap::new(),
            families: AtomicU32::new(0),
            start,
            withdrawn: Mutex::new(HashMap::new()),
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
    pub fn learn(&self, record: Arc<KeyRecord>, source: Source, now: Instant) -> Learnt {
        let room = self.names.len() < NAMES_MAX;
        if self.was_withdrawn_after(&record.name, source) {
            return Learnt::Outdated;
        }
        match self.names.entry(Arc::clone(&record.name)) {
            Entry::Occupied(held) if held.get().outdates(source) => Learnt::Outdated,
            Entry::Occupied(mut held) => {
                let next = self.known(record, Some(held.get()), source, now);
                let same = held.get().record == next.record;
                let purge = held.get().purged_by(&next);
                held.insert(Arc::new(next));
                if same {
                    Learnt::Same
                } else {
                    Learnt::Changed { purge }
                }
            }
            Entry::Vacant(_) if !room => Learnt::Full,
            Entry::Vacant(free) => {
                free.insert(Arc::new(self.known(record, None, source, now)));
                Learnt::New
            }
        }
    }

    /// Forgets `name`: the HSM says it is gone. Returns the families to purge; `None` when it was not
    /// known, or when this node has made it since the HSM was asked.
    pub fn forget(&self, name: &str, source: Source) -> Option<Box<[Family]>> {
        self.names
            .remove_if(name, |_, known| !known.outdates(source))
            .map(|(_, known)| known.families.clone())
    }

    /// Forgets `name`, which another node has changed: the next request looks it up, and an answer to a question
    /// asked before `now` is not kept. Returns the families to purge.
    pub fn withdraw(&self, name: &str, now: Instant) -> Option<Box<[Family]>> {
        let mut withdrawn = self.withdrawn.lock();
        if withdrawn.len() >= WITHDRAWN_MAX {
            let young = |at: Instant| now.saturating_duration_since(at) < WITHDRAWN_LIFE;
            withdrawn.retain(|_, at| young(*at));
            let oldest = withdrawn.iter().min_by_key(|(_, at)| **at);
            let oldest = oldest.map(|(name, _)| Arc::clone(name));
            if let Some(oldest) = oldest.filter(|_| withdrawn.len() >= WITHDRAWN_MAX) {
                withdrawn.remove(&oldest);
            }
        }
        withdrawn.insert(name.into(), now);
        drop(withdrawn);
        self.names
            .remove(name)
            .map(|(_, known)| known.families.clone())
    }

    fn was_withdrawn_after(&self, name: &str, source: Source) -> bool {
        let Source::Lookup { asked } = source else {
            return false;
        };
        let withdrawn = self.withdrawn.lock();
        withdrawn.get(name).is_some_and(|at| asked < *at)
    }

    /// Every name known.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.names
            .iter()
            .map(|entry| Arc::clone(entry.key()))
            .collect()
    }

    /// The families of all versions of `name` that were met.
    pub fn families(&self, name: &str) -> Option<Box<[Family]>> {
        self.names.get(name).map(|known| known.families.clone())
    }

    /// Has the next lookup of `name` refresh it: a change of it ended without a clear answer.
    pub fn doubt(&self, name: &str) {
        if let Some(known) = self.names.get(name) {
            known.refresh_due_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Whether [`NAMES_MAX`] is reached.
    pub fn is_full(&self) -> bool {
        self.names.len() >= NAMES_MAX
    }

    fn known(
        &self,
        record: Arc<KeyRecord>,
        held: Option<&Arc<Known>>,
        source: Source,
        now: Instant,
    ) -> Known {
        // Numbers are never reused: a forgotten version's late fills stay stale.
        let family = |version| {
            held.and_then(|held| held.family_of(version))
                .unwrap_or_else(|| Family(self.families.fetch_add(1, Ordering::Relaxed)))
        };
        Known {
            families: record.versions.iter().map(family).collect(),
            record,
            refresh_due_ms: AtomicU64::new(self.ms(now) + millis(METADATA_TTL)),
            settled: match source {
                Source::Change => Some(now),
                // An answer to a question asked earlier may come later, and is older.
                Source::Lookup { asked } => Some(
                    held.and_then(|held| held.settled)
                        .map_or(asked, |settled| settled.max(asked)),
                ),
            },
        }
    }

    fn ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.start))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
