//! Where the time comes from, for what cannot be told it: completions on a back end's thread, and
//! whoever waits for a socket or for work.
//!
//! Everything else takes the time as an argument. Must never be true: two parts of one node on
//! different times; a lock or an indirect call on the way to the real time. Called by `hsm` and `engine`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The monotonic clock, or a simulated one that its [`Hand`] turns.
#[derive(Clone, Debug, Default)]
pub struct Time(Option<Hand>);

/// Turns a simulated clock.
#[derive(Clone, Debug)]
pub struct Hand {
    start: Instant,
    passed_ns: Arc<AtomicU64>,
}

impl Time {
    /// The monotonic clock.
    pub const fn real() -> Self {
        Self(None)
    }

    /// A clock that stands still at `start` until its hand is moved.
    pub fn simulated(start: Instant) -> (Self, Hand) {
        let hand = Hand {
            start,
            passed_ns: Arc::default(),
        };
        (Self(Some(hand.clone())), hand)
    }

    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(hand) => hand.now(),
        }
    }
}

impl Hand {
    /// What the clock shows.
    pub fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.passed_ns.load(Ordering::Acquire))
    }

    /// Sets the clock, forwards or back to a time after its start.
    pub fn set(&self, to: Instant) {
        let passed = to.saturating_duration_since(self.start).as_nanos();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.passed_ns.store(passed, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_shows_what_its_hand_says() {
        let start = Instant::now();
        let (time, hand) = Time::simulated(start);
        let copy = time.clone();
        assert_eq!(time.now(), start);
        hand.set(start + Duration::from_millis(1500));
        assert_eq!(copy.now(), start + Duration::from_millis(1500));
        hand.set(start);
        assert_eq!(time.now(), start);
        assert!(Time::real().now() >= start);
    }
}
