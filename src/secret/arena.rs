//! One locked mapping, reserved at start, in which every unwrapped key rests.

/// How many bytes of each kind to reserve. All of it is mapped, locked and touched at start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArenaPlan {
    /// Bytes for cached and in-flight keys of at most 512 bytes, handed to size classes by 4 KiB page.
    pub key_bytes: usize,
    /// Number of large regions (plaintexts over 512 bytes, which pass through).
    pub large_count: usize,
    /// Bytes of one large region.
    pub large_bytes: usize,
    /// Bytes for [`LockedBuf`]s: connection input, reply scratch, HSM buffers.
    pub buffer_bytes: usize,
    /// `Some` forces a mode (tests run both); `None` prefers memfd_secret.
    pub mode: Option<Mode>,
}

/// What locks the arena.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// `memfd_secret(2)`: not even root reads it through /proc.
    MemfdSecret,
    /// `mmap` and `mlock` with `MADV_DONTDUMP`.
    Mlock,
}

/// Why the arena could not be reserved. `Display` names RLIMIT_MEMLOCK and the value needed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArenaError {
    /// Locking `needed_bytes` failed under the limit `limit_bytes`.
    Lock {
        needed_bytes: usize,
        limit_bytes: Option<u64>,
    },
}

/// Why bytes were not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// No free slot of the class (or no free large region).
    Full,
    /// Longer than a large region.
    TooLong,
}

/// The mapping. One for the process, leaked on purpose: keys point into it until the end.
pub struct Arena {}

impl Arena {
    /// Maps, locks, guards and touches everything.
    pub fn reserve(_plan: &ArenaPlan) -> Result<&'static Arena, ArenaError> {
        todo!()
    }
    /// Which mode is in force.
    pub fn mode(&self) -> Mode {
        todo!()
    }
    /// Copies `bytes` into a slot of the smallest class that holds them.
    pub fn store(&'static self, _bytes: &[u8]) -> Result<SecretKey, StoreError> {
        todo!()
    }
    /// A zeroed locked buffer of exactly `len` bytes; `None` when the buffer region is used up.
    pub fn buffer(&'static self, _len: usize) -> Option<LockedBuf> {
        todo!()
    }
}

/// A key in the arena. Clones share the slot; the last drop wipes it.
pub struct SecretKey {}

impl SecretKey {
    /// Lends the bytes to `reader` and no longer.
    pub fn expose<R>(&self, _reader: impl FnOnce(&[u8]) -> R) -> R {
        todo!()
    }
    /// Bytes of the plaintext.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// True for an empty plaintext, which is legal.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// False for a large plaintext, which only passes through.
    pub fn is_cacheable(&self) -> bool {
        todo!()
    }
}

impl Clone for SecretKey {
    fn clone(&self) -> Self {
        todo!()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A locked, wiped buffer: derefs to `[u8]`, goes back to the arena on drop.
pub struct LockedBuf {}

impl std::ops::Deref for LockedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
}
impl std::ops::DerefMut for LockedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        todo!()
    }
}
