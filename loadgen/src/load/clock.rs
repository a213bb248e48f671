//! The time of a run: monotonic nanoseconds since its start, and whether the wall clock kept pace.
//!
//! Must never be true: a run on a machine that was suspended, or whose time was set, that looks like any
//! other. Called by the event loop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Two looks at two clocks that lie further apart than this say nothing.
const LOOK_NS: u64 = 200_000;

/// A jump of the wall clock, for tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jump {
    /// After so long.
    pub at: Duration,
    /// By so many nanoseconds.
    pub by_ns: i64,
}

/// Runs from its start on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin_ns: u64,
    jump: Option<Jump>,
    /// Wall less monotonic, at the last look.
    offset_ns: i64,
    /// The largest change of it from one look to the next.
    largest_ns: i64,
}

impl Clock {
    /// Starts now.
    pub fn start(jump: Option<Jump>) -> Self {
        let mut clock = Self {
            origin_ns: monotonic_ns(),
            jump,
            offset_ns: 0,
            largest_ns: 0,
        };
        clock.offset_ns = clock.offset().unwrap_or(0);
        clock
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns)
    }

    /// Wall clock of the start, microseconds since 1970.
    pub fn start_unix_us(&self) -> u64 {
        let wall_ns = i128::from(self.offset_ns) + i128::from(self.origin_ns);
        u64::try_from(wall_ns / 1000).unwrap_or(0)
    }

    /// Compares the clocks; to be called every second or so.
    pub fn look(&mut self) {
        let Some(offset_ns) = self.offset() else {
            return;
        };
        let change_ns = offset_ns - self.offset_ns;
        if change_ns.abs() > self.largest_ns.abs() {
            self.largest_ns = change_ns;
        }
        self.offset_ns = offset_ns;
    }

    /// The largest step of the wall clock against the monotonic one between two looks.
    pub fn largest_jump_us(&self) -> i64 {
        self.largest_ns / 1000
    }

    /// `None`: interrupted between the two clocks, again and again.
    fn offset(&self) -> Option<i64> {
        (0..10).find_map(|_| {
            let before_ns = monotonic_ns();
            let wall_ns = wall_ns();
            let after_ns = monotonic_ns();
            let jumped_ns = match self.jump {
                Some(jump) if u128::from(after_ns - self.origin_ns) >= jump.at.as_nanos() => {
                    jump.by_ns
                }
                _ => 0,
            };
            let middle_ns = i64::try_from(u64::midpoint(before_ns, after_ns)).ok()?;
            (after_ns - before_ns < LOOK_NS).then(|| wall_ns - middle_ns + jumped_ns)
        })
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

fn wall_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970.
pub fn unix_us() -> u64 {
    u64::try_from(wall_ns() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_seen_once_and_others_are_not() {
        let by_ns = -750_000_000;
        let at = Duration::from_millis(20);
        let mut clock = Clock::start(Some(Jump { at, by_ns }));
        assert!(clock.start_unix_us().abs_diff(unix_us()) < 1_000_000);
        clock.look();
        let early_us = clock.largest_jump_us();
        // The machine's own clock may be set meanwhile, but not by so much.
        assert!(early_us.abs() < 100_000, "{early_us}");
        while u128::from(clock.now_ns()) < at.as_nanos() {
            std::hint::spin_loop();
        }
        for _ in 0..3 {
            clock.look();
            let jump_us = clock.largest_jump_us();
            assert!((jump_us + 750_000).abs() < 100_000, "{jump_us}");
        }
    }
}
