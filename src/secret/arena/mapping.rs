//! The system calls under the arena: reserve, map, lock, keep out of dumps and forks, touch.
//!
//! Must never be true: a region without an unreadable page on both sides, or one that is mapped but
//! not locked. Called by [`super::Arena::reserve`] only.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use super::plan::{ArenaError, ArenaPlan, Mode, memlock_rlimit};
use crate::secret::wipe::wipe;

/// A locked stretch of the mapping, zero at first. Readers and writers keep apart by the books of
/// `slots`, `large` and `buffers`; hence the unsafe methods.
pub(super) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory of the whole process, never unmapped; who may touch which bytes when is the
// contract of each method.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Bytes of it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where `at` is.
    ///
    /// # Safety
    /// `at <= self.bytes()`.
    pub(super) unsafe fn start(&self, at: usize) -> NonNull<u8> {
        debug_assert!(at <= self.bytes);
        // SAFETY: the caller keeps `at` within the region.
        unsafe { self.base.add(at) }
    }

    /// Lends `at..at + len`.
    ///
    /// # Safety
    /// Within the region, and written by nobody while the slice lives.
    pub(super) unsafe fn read(&self, at: usize, len: usize) -> &[u8] {
        debug_assert!(at + len <= self.bytes);
        // SAFETY: mapped and initialised (zero at first) for ever; the caller keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start(at).as_ptr(), len) }
    }

    /// Copies `from` to `at`.
    ///
    /// # Safety
    /// `at..at + from.len()` is within the region and the caller's alone.
    pub(super) unsafe fn write(&self, at: usize, from: &[u8]) {
        debug_assert!(at + from.len() <= self.bytes);
        // SAFETY: the caller owns the target; `from` cannot overlap what is the caller's alone.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start(at).as_ptr(), from.len()) }
    }

    /// Zeroes `at..at + len`.
    ///
    /// # Safety
    /// Within the region and the caller's alone.
    pub(super) unsafe fn wipe(&self, at: usize, len: usize) {
        debug_assert!(at + len <= self.bytes);
        // SAFETY: as the caller promises.
        unsafe { wipe(self.start(at).as_ptr(), len) }
    }

    /// Address range, for tests that look into /proc.
    #[cfg(test)]
    pub(super) fn addresses(&self) -> std::ops::Range<usize> {
        let start = self.base.as_ptr().addr();
        start..start + self.bytes
    }
}

/// Addresses that are ours; given back unless every region came up.
struct Reservation {
    base: NonNull<u8>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole; on this path no region of it was handed out.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Maps, locks, guards and touches the plan's regions, in its order, and never gives them back.
pub(super) fn map(plan: &ArenaPlan) -> Result<(Mode, Vec<Region>), ArenaError> {
    let total = plan.locked_bytes();
    let (mode, secret_fd) = choose(plan.mode, total)?;
    let page = rustix::param::page_size();
    let guards = plan.large_count + 4;
    let bytes = guards
        .checked_mul(page)
        .and_then(|guards| total.checked_add(guards))
        .ok_or(ArenaError::System {
            call: "mmap",
            error: io::ErrorKind::OutOfMemory.into(),
        })?;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    }
    .map_err(failed("mmap"))?;
    let base = NonNull::new(base.cast::<u8>()).ok_or(ArenaError::System {
        call: "mmap",
        error: io::ErrorKind::InvalidData.into(),
    })?;
    let reservation = Reservation { base, bytes };

    let mut regions = Vec::with_capacity(plan.large_count + 3);
    let (mut address_at, mut file_at) = (page, 0_u64);
    for bytes in plan.region_bytes() {
        // SAFETY: the sum of regions and guards is `reservation.bytes`.
        let region = Region {
            base: unsafe { base.add(address_at) },
            bytes,
        };
        if bytes > 0 {
            let mapped = match &secret_fd {
                Some(fd) => map_secret(&region, fd, file_at),
                None => map_locked(&region),
            };
            mapped.map_err(|failure| failure.into_error(total))?;
            touch(&region, page);
        }
        address_at += bytes + page;
        file_at += bytes as u64;
        regions.push(region);
    }
    std::mem::forget(reservation);
    Ok((mode, regions))
}

/// Opens the secret file of `total` bytes, or settles for mlock where the kernel lacks it. A lock
/// limit never decides: mlock has the same one.
fn choose(wanted: Option<Mode>, total: usize) -> Result<(Mode, Option<OwnedFd>), ArenaError> {
    if wanted == Some(Mode::Mlock) {
        return Ok((Mode::Mlock, None));
    }
    let missing = [Some(libc::ENOSYS), Some(libc::EPERM), Some(libc::EACCES)];
    match memfd_secret() {
        Ok(fd) => {
            rustix::fs::ftruncate(&fd, total as u64).map_err(failed("ftruncate"))?;
            Ok((Mode::MemfdSecret, Some(fd)))
        }
        // EPERM and EACCES are what seccomp filters answer for calls they do not know.
        Err(error) if missing.contains(&error.raw_os_error()) => match wanted {
            None => Ok((Mode::Mlock, None)),
            Some(_) => Err(ArenaError::NoMemfdSecret(error)),
        },
        Err(error) => Err(ArenaError::System {
            call: "memfd_secret",
            error,
        }),
    }
}

fn memfd_secret() -> io::Result<OwnedFd> {
    // SAFETY: takes a flag word, touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::c_long::from(libc::O_CLOEXEC)) };
    match i32::try_from(fd) {
        // SAFETY: a descriptor the kernel has just opened for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What stopped a region.
enum Failure {
    /// The lock limit, or no memory to lock.
    Lock,
    Call(&'static str, Errno),
}

impl Failure {
    fn into_error(self, needed_bytes: usize) -> ArenaError {
        match self {
            Self::Lock => ArenaError::Lock {
                needed_bytes,
                limit_bytes: memlock_rlimit(),
            },
            Self::Call(call, errno) => ArenaError::System {
                call,
                error: errno.into(),
            },
        }
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> ArenaError {
    move |errno| ArenaError::System {
        call,
        error: errno.into(),
    }
}

fn map_secret(region: &Region, fd: &OwnedFd, file_at: u64) -> Result<(), Failure> {
    // SAFETY: replaces pages of our own reservation that nobody has seen yet.
    unsafe {
        rustix::mm::mmap(
            region.base.as_ptr().cast(),
            region.bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::FIXED,
            fd,
            file_at,
        )
    }
    .map_err(|errno| {
        if errno == Errno::AGAIN {
            Failure::Lock
        } else {
            Failure::Call("mmap of memfd_secret", errno)
        }
    })?;
    advise(region, Advice::LinuxDontDump, "madvise(MADV_DONTDUMP)")?;
    // A shared mapping cannot be wiped on fork; a child that touches it faults instead.
    advise(region, Advice::LinuxDontFork, "madvise(MADV_DONTFORK)")
}

fn map_locked(region: &Region) -> Result<(), Failure> {
    let start = region.base.as_ptr();
    // SAFETY: opens pages of our own reservation that nobody has seen yet.
    unsafe {
        rustix::mm::mprotect(
            start.cast(),
            region.bytes,
            MprotectFlags::READ | MprotectFlags::WRITE,
        )
    }
    .map_err(|errno| Failure::Call("mprotect", errno))?;
    advise(region, Advice::LinuxWipeOnFork, "madvise(MADV_WIPEONFORK)")?;
    // SAFETY: locks our own mapped pages.
    if !unsafe { memsec::mlock(start, region.bytes) } {
        return Err(Failure::Lock);
    }
    // memsec asks for this as well, but drops the answer.
    advise(region, Advice::LinuxDontDump, "madvise(MADV_DONTDUMP)")
}

fn advise(region: &Region, advice: Advice, call: &'static str) -> Result<(), Failure> {
    // SAFETY: our own pages; none of the advices used changes their content here.
    unsafe { rustix::mm::madvise(region.base.as_ptr().cast(), region.bytes, advice) }
        .map_err(|errno| Failure::Call(call, errno))
}

/// `memfd_secret` gives pages at first touch, and when there are none left it kills: better now than later.
fn touch(region: &Region, page: usize) {
    for at in (0..region.bytes).step_by(page) {
        // SAFETY: within the region, which nobody else knows yet.
        unsafe { region.start(at).write_volatile(0) };
    }
}
