//! Whether a server of the engine is asked at all: not while it lets callers wait in vain.
//!
//! By time, not by count alone: one stall of the machine lets many calls run out at once, and the next
//! answer comes a millisecond later. Must never be true: more than one caller in [`PROBE_EVERY`] that waits for
//! a server that does not answer. The time is an argument.

use std::time::{Duration, Instant};

/// Calls that ran out of time, in a row, before it opens.
const TIMEOUTS: u32 = 4;
/// And this long without an answer.
const SILENCE: Duration = Duration::from_millis(15);
/// While it is open one caller in so long tries.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// One server's breaker.
#[derive(Debug)]
pub struct Breaker {
    timeouts: u32,
    /// The last answer, or when it was first asked.
    heard: Instant,
    /// When the next caller may try; `None`: all may.
    open_until: Option<Instant>,
}

impl Breaker {
    /// Closed.
    pub fn new(now: Instant) -> Self {
        Self {
            timeouts: 0,
            heard: now,
            open_until: None,
        }
    }

    /// Whether a caller may ask now.
    pub fn allows(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now >= until => {
                self.open_until = Some(now + PROBE_EVERY);
                true
            }
            Some(_) => false,
        }
    }

    /// An answer came.
    pub fn answered(&mut self, now: Instant) {
        self.timeouts = 0;
        self.heard = now;
        self.open_until = None;
    }

    /// A call ran out of time.
    pub fn timed_out(&mut self, now: Instant) {
        self.timeouts = self.timeouts.saturating_add(1);
        let silent = now.saturating_duration_since(self.heard) >= SILENCE;
        if self.timeouts >= TIMEOUTS && silent && self.open_until.is_none() {
            self.open(now);
        }
    }

    /// Nobody asks for a while.
    pub fn open(&mut self, now: Instant) {
        self.open_until = Some(now + PROBE_EVERY);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_opens_after_timeouts_and_silence_together() {
        for (name, timeouts, after_ms, want) in [
            ("one stall, many calls", 100, 14, false),
            ("a long silence, few calls", 3, 1000, false),
            ("both", 4, 15, true),
        ] {
            let start = Instant::now();
            let mut breaker = Breaker::new(start);
            for _ in 0..timeouts {
                breaker.timed_out(start + after_ms * MS);
            }
            assert_eq!(breaker.is_open(), want, "{name}");
        }
    }

    #[test]
    fn while_open_one_in_a_tenth_of_a_second_tries() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        breaker.open(start);
        let tried = (0..1000).filter(|ms| breaker.allows(start + *ms * MS));
        assert_eq!(
            tried.collect::<Vec<_>>(),
            [100, 200, 300, 400, 500, 600, 700, 800, 900]
        );
        breaker.answered(start + 1000 * MS);
        assert!(breaker.allows(start + 1001 * MS) && breaker.allows(start + 1001 * MS));
    }
}
