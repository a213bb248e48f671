//! The cluster's sealing key (CSK): what it is made into, and which of them this node holds.
//!
//! The nodes share one random key, which the engine keeps wrapped by a key of the HSM that is used for
//! nothing else. What seals, what names and what signs are made of it by HMAC under a label each. While a new
//! one takes over from an old one both are held: the old one reads, the new one reads and writes. Must never
//! be true: key bytes outside the arena; an id that is not derived from its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::secret::{Arena, SecretKey, StoreError, cipher, wipe_slice};

/// Bytes of a sealing key.
pub const CSK_BYTES: usize = 32;
/// Records that one node seals under one key at most, of which half before another takes over: nonces are random, and
/// sixteen nodes together stay within the 2^32 that AES-GCM allows for one key. Counted by the process: a restart forgets.
pub const SEALS_MAX: u64 = 1 << 28;

/// One sealing key, as sub-keys.
pub struct Csk {
    id: [u8; 8],
    created_ms: u64,
    sealing: SecretKey,
    naming: SecretKey,
    signing: SecretKey,
    /// Records sealed by this node.
    seals: AtomicU64,
}

impl Csk {
    /// Derives everything from `csk`, which was made at `created_ms`.
    pub fn derive(
        arena: &'static Arena,
        csk: &SecretKey,
        created_ms: u64,
    ) -> Result<Self, StoreError> {
        let derived = |label: &[u8]| csk.expose(|csk| cipher::mac(csk, &[label]));
        let stored = |label: &[u8]| {
            let mut bytes = derived(label);
            let stored = arena.store(&bytes);
            wipe_slice(&mut bytes);
            stored
        };
        let mut id = [0; 8];
        id.copy_from_slice(&derived(b"id")[..8]);
        Ok(Self {
            id,
            created_ms,
            sealing: stored(b"seal")?,
            naming: stored(b"name")?,
            signing: stored(b"word")?,
            seals: AtomicU64::new(0),
        })
    }

    /// Tells it from others; no secret.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// When it was made, milliseconds since 1970.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// A record more was sealed.
    pub(super) fn count_seal(&self) {
        self.seals.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is time for another.
    pub(super) fn is_worn(&self) -> bool {
        self.seals.load(Ordering::Relaxed) >= SEALS_MAX / 2
    }

    /// Whether this node has sealed as many records under it as it may.
    pub(super) fn is_spent(&self) -> bool {
        self.seals.load(Ordering::Relaxed) >= SEALS_MAX
    }

    #[cfg(test)]
    pub(super) fn wear_out(&self) {
        self.seals.store(SEALS_MAX, Ordering::Relaxed);
    }

    pub(super) fn sealing(&self) -> &SecretKey {
        &self.sealing
    }

    pub(super) fn naming(&self) -> &SecretKey {
        &self.naming
    }

    /// For what nodes tell each other.
    pub(super) fn signing(&self) -> &SecretKey {
        &self.signing
    }
}

impl std::fmt::Debug for Csk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Csk({:016x})", u64::from_be_bytes(self.id))
    }
}

/// The keys held now.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Reads and writes.
    pub current: Arc<Csk>,
    /// Reads, until then in milliseconds since 1970.
    pub previous: Option<(Arc<Csk>, u64)>,
}

impl Keys {
    /// The one of this id.
    pub fn by_id(&self, id: [u8; 8]) -> Option<&Arc<Csk>> {
        let previous = self.previous.iter().map(|(csk, _)| csk);
        std::iter::once(&self.current)
            .chain(previous)
            .find(|csk| csk.id() == id)
    }

    /// The previous one, while what it sealed may still be there.
    pub fn previous_at(&self, now_ms: u64) -> Option<&Arc<Csk>> {
        let held = self.previous.as_ref();
        held.filter(|(_, until_ms)| now_ms < *until_ms)
            .map(|(csk, _)| csk)
    }
}

/// Where every thread finds them.
#[derive(Debug, Default)]
pub struct Keyring(ArcSwap<Option<Keys>>);

impl Keyring {
    /// What is held now.
    pub fn keys(&self) -> Arc<Option<Keys>> {
        self.0.load_full()
    }

    /// Whether there is a key at all.
    pub fn is_loaded(&self) -> bool {
        self.0.load().is_some()
    }

    /// Holds these from now on.
    pub fn hold(&self, keys: Keys) {
        self.0.store(Arc::new(Some(keys)));
    }
}
