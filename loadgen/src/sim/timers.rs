//! What is due when: a heap of times, and a kernel timer finer than epoll's milliseconds.
//!
//! Called by the event loop; nothing here sleeps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// What happens at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Due {
    /// The request that a connection (its place and number) is served is done, or refused as busy.
    Answer {
        place: usize,
        number: u64,
        busy: bool,
    },
    /// A connection may have been idle for too long.
    Idle { place: usize, number: u64 },
    /// The model pauses.
    Stall,
}

/// Times to come, earliest first; equal ones in the order in which they were set.
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
    sequence: u64,
    fd: OwnedFd,
    armed_ns: u64,
}

impl Timers {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self {
            heap: BinaryHeap::new(),
            sequence: 0,
            fd,
            armed_ns: u64::MAX,
        })
    }

    pub(super) fn set(&mut self, at_ns: u64, due: Due) {
        self.sequence += 1;
        self.heap.push(Reverse((at_ns, self.sequence, due)));
    }

    /// What is due by now, with its time; one at a time.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<(u64, Due)> {
        let Reverse((at_ns, ..)) = self.heap.peek()?;
        if *at_ns > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse((at_ns, _, due))| (at_ns, due))
    }

    /// When the next one is due.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Makes the kernel wake the loop at that time, if it does not yet.
    pub(super) fn arm(&mut self, next_ns: Option<u64>, now_ns: u64) -> io::Result<()> {
        let next_ns = next_ns.unwrap_or(u64::MAX);
        if next_ns == self.armed_ns {
            return Ok(());
        }
        self.armed_ns = next_ns;
        let left_ns = if next_ns == u64::MAX {
            0
        } else {
            next_ns.saturating_sub(now_ns).max(1)
        };
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: i64::try_from(left_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left_ns % 1_000_000_000).unwrap_or(0),
        };
        let spec = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// The kernel's timer went off: it must be armed anew.
    pub(super) fn went_off(&mut self) {
        self.armed_ns = u64::MAX;
    }
}
