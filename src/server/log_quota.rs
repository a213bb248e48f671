//! How many lines a second strangers may cause in the log.
//!
//! Anyone who reaches the port can fail a handshake, thousands of times a second. Must never be
//! true: a line left out that is not counted. Called by the handshake threads, which share one,
//! and by the acceptor.

use std::time::{Duration, Instant};

/// The second in which the quota holds.
const WINDOW: Duration = Duration::from_secs(1);

/// So many lines a second; the rest are counted.
#[derive(Debug)]
pub(super) struct LogQuota {
    lines_max: u32,
    lines: u32,
    left_out: u64,
    began: Option<Instant>,
}

impl LogQuota {
    /// `lines_max` lines a second.
    pub(super) fn new(lines_max: u32) -> Self {
        Self {
            lines_max,
            lines: 0,
            left_out: 0,
            began: None,
        }
    }

    /// Whether a line may be written at `now`; if not, it is counted.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            self.began = Some(now);
            self.lines = 0;
        }
        let admitted = self.lines < self.lines_max;
        if admitted {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        admitted
    }

    /// How many lines have been left out since this was last told, once their second is over.
    /// Ask now and then: the last of a flood would not be told otherwise.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Option<u64> {
        let due = self.left_out > 0 && self.is_over(now);
        due.then(|| std::mem::take(&mut self.left_out))
    }

    /// Whether lines were left out that have not been told of.
    pub(super) fn has_left_out(&self) -> bool {
        self.left_out > 0
    }

    fn is_over(&self, now: Instant) -> bool {
        self.began
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_quota_are_counted_and_told_once() {
        let start = Instant::now();
        let mut quota = LogQuota::new(2);
        for (name, after_ms, admitted) in [
            ("first", 0, true),
            ("second", 10, true),
            ("third", 20, false),
            ("end of the second", 999, false),
            ("the next second", 1000, true),
            ("again", 1001, true),
            ("and no more", 1002, false),
        ] {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(quota.admit(now), admitted, "{name}");
        }
        for (name, after_ms, told) in [
            ("its second is not over", 1999, None),
            ("it is", 2000, Some(3)),
            ("told already", 9000, None),
        ] {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(quota.take_left_out(now), told, "{name}");
            assert_eq!(quota.has_left_out(), after_ms < 2000, "{name}");
        }
    }

    #[test]
    fn a_clock_that_a_thread_read_earlier_starts_no_new_second() {
        let start = Instant::now();
        let mut quota = LogQuota::new(1);
        assert!(quota.admit(start + WINDOW));
        assert!(!quota.admit(start), "of another thread");
    }
}
