//! A kernel timer that wakes an event loop at a time, finer than the milliseconds of epoll.
//!
//! Called by the load engine and by the simulated HSM; nothing here sleeps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// One timer, registered with one event loop.
pub(crate) struct Alarm {
    fd: OwnedFd,
    armed_ns: u64,
}

impl Alarm {
    /// Makes `token` readable when it goes off.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self {
            fd,
            armed_ns: u64::MAX,
        })
    }

    /// Goes off at `at_ns` of the clock that says `now_ns`; at `u64::MAX` never. Armed for that time already is
    /// no system call.
    pub fn arm(&mut self, at_ns: u64, now_ns: u64) -> io::Result<()> {
        if at_ns == self.armed_ns {
            return Ok(());
        }
        self.armed_ns = at_ns;
        let left_ns = if at_ns == u64::MAX {
            0
        } else {
            at_ns.saturating_sub(now_ns).max(1)
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

    /// It went off: it must be armed anew.
    pub fn went_off(&mut self) {
        self.armed_ns = u64::MAX;
    }
}
