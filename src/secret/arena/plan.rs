//! How much to lock, what the system allows, and why it was refused.

use std::fmt;
use std::io;

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

/// How many bytes of each kind to reserve. All of it is mapped, locked and touched at start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArenaPlan {
    /// Bytes for cached and in-flight keys of at most 512 bytes, handed to size classes by 4 KiB page.
    pub key_bytes: usize,
    /// Number of large regions (plaintexts over 512 bytes, which pass through).
    pub large_count: usize,
    /// Bytes of one large region.
    pub large_bytes: usize,
    /// Bytes for [`LockedBuf`](super::LockedBuf)s: connection input, reply scratch, HSM buffers.
    pub buffer_bytes: usize,
    /// `Some` forces a mode (tests run both); `None` prefers `memfd_secret`.
    pub mode: Option<Mode>,
}

/// Plaintexts of 513 to this many bytes have places of their own, so that a batch of them does not use
/// up the few regions that hold a whole request body each.
pub(super) const MEDIUM_BYTES: usize = 4096;
/// How many such places there are.
const MEDIUM_COUNT: usize = 64;
/// Large regions below this size are used alone: smaller places would save nothing.
const MEDIUM_FROM_LARGE_BYTES: usize = 4 * MEDIUM_BYTES;

/// What locks the arena.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// `memfd_secret(2)`: not even root reads it through /proc.
    MemfdSecret,
    /// `mmap` and `mlock` with `MADV_DONTDUMP`.
    Mlock,
}

/// The most a plan may hold of each kind: what a key's packed address can name.
const KEY_BYTES_MAX: usize = 64 << 30;
const LARGE_COUNT_MAX: usize = (1 << 16) - MEDIUM_COUNT;
const LARGE_BYTES_MAX: usize = (1 << 26) - 1;
const BUFFER_BYTES_MAX: usize = 64 << 30;

impl ArenaPlan {
    /// Bytes that will be locked: each region rounded up to whole pages. Guard pages are not locked.
    pub fn locked_bytes(&self) -> usize {
        self.region_bytes().fold(0, usize::saturating_add)
    }

    /// Plaintexts of 513 to 4096 bytes that find room at once, beside the large regions.
    pub fn medium_count(&self) -> usize {
        if self.large_count > 0 && self.large_bytes >= MEDIUM_FROM_LARGE_BYTES {
            MEDIUM_COUNT
        } else {
            0
        }
    }

    /// The regions in their order: keys, buffers, medium ones together, then each large one. Some may
    /// be empty.
    pub(super) fn region_bytes(&self) -> impl Iterator<Item = usize> {
        let page = rustix::param::page_size();
        let larges = std::iter::repeat_n(self.large_bytes, self.large_count);
        let mediums = self.medium_count() * MEDIUM_BYTES;
        [self.key_bytes, self.buffer_bytes, mediums]
            .into_iter()
            .chain(larges)
            .map(move |bytes| bytes.checked_next_multiple_of(page).unwrap_or(usize::MAX))
    }

    /// Refuses what a packed address could not name.
    pub(super) fn check(&self) -> Result<(), ArenaError> {
        for (field, value, max) in [
            ("key_bytes", self.key_bytes, KEY_BYTES_MAX),
            ("large_count", self.large_count, LARGE_COUNT_MAX),
            ("large_bytes", self.large_bytes, LARGE_BYTES_MAX),
            ("buffer_bytes", self.buffer_bytes, BUFFER_BYTES_MAX),
        ] {
            if value > max {
                return Err(ArenaError::Plan { field, value, max });
            }
        }
        Ok(())
    }
}

/// Why the arena could not be reserved. `Display` names `RLIMIT_MEMLOCK` and the value needed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArenaError {
    /// Locking `needed_bytes` failed under the limit `limit_bytes`.
    Lock {
        /// What the plan locks in all.
        needed_bytes: usize,
        /// Soft `RLIMIT_MEMLOCK`; `None` is unlimited.
        limit_bytes: Option<u64>,
    },
    /// The plan asks for more than the arena can address.
    Plan {
        /// The field of [`ArenaPlan`].
        field: &'static str,
        /// What it holds.
        value: usize,
        /// What it may hold.
        max: usize,
    },
    /// `memfd_secret` was demanded and this kernel does not have it.
    NoMemfdSecret(io::Error),
    /// Any other system call that failed.
    System {
        /// The call.
        call: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock {
                needed_bytes,
                limit_bytes: Some(limit),
            } if (*needed_bytes as u64) > *limit => write!(
                f,
                "cannot lock {needed_bytes} bytes of memory for keys: RLIMIT_MEMLOCK is {limit} bytes. Raise it to \
                 at least {needed_bytes} bytes: LimitMEMLOCK={needed_bytes} in the systemd unit, or `ulimit -l {}` \
                 (KiB) in the shell that starts the server, or grant CAP_IPC_LOCK \
                 (AmbientCapabilities=CAP_IPC_LOCK); or keep fewer keys",
                needed_bytes.div_ceil(1024),
            ),
            Self::Lock {
                needed_bytes,
                limit_bytes,
            } => {
                write!(
                    f,
                    "cannot lock {needed_bytes} bytes of memory for keys although RLIMIT_MEMLOCK is "
                )?;
                match limit_bytes {
                    Some(limit) => write!(f, "{limit} bytes")?,
                    None => f.write_str("unlimited")?,
                }
                write!(
                    f,
                    ": the host or container is short of memory, or this process has locked other memory already. \
                     Give it more memory, set LimitMEMLOCK= (`ulimit -l`) above {needed_bytes} bytes, grant \
                     CAP_IPC_LOCK, or keep fewer keys"
                )
            }
            Self::Plan { field, value, max } => {
                write!(
                    f,
                    "{field} of the key memory is {value}; at most {max} can be addressed: keep fewer keys"
                )
            }
            Self::NoMemfdSecret(error) => write!(
                f,
                "memfd_secret is not available: {error}. It needs Linux 5.14, not started with secretmem.enable=0, \
                 and a seccomp filter that allows it; without the demand, mlock is used instead"
            ),
            Self::System { call, error } => {
                write!(f, "cannot reserve memory for keys: {call}: {error}")
            }
        }
    }
}

impl std::error::Error for ArenaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoMemfdSecret(error) | Self::System { error, .. } => Some(error),
            Self::Lock { .. } | Self::Plan { .. } => None,
        }
    }
}

/// Bytes this process may lock: soft `RLIMIT_MEMLOCK`. `None` is unlimited, by the limit or by `CAP_IPC_LOCK`.
///
/// In a container with its own user namespace the capability may be shown and still not count: a
/// refusal then names the plain limit.
pub fn memlock_limit() -> Option<u64> {
    let lifted = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if lifted { None } else { memlock_rlimit() }
}

/// Soft `RLIMIT_MEMLOCK` alone.
pub(super) fn memlock_rlimit() -> Option<u64> {
    rustix::process::getrlimit(Resource::Memlock).current
}
