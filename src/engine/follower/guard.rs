//! Whether this node's own cache may be served, and when the HSM is to be asked. The time is an argument.
//!
//! Must never be true: served [`TRUST`] after the last good look while other nodes' changes cannot be known.
//! Called by the follower.

use std::time::{Duration, Instant};

/// How often the HSM is asked while the engine is lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks for what was missed are so far apart at least; twice as far each time, up to [`LOOK_EVERY`]: whoever can
/// write to the engine can have nodes look as often as that and no oftener.
const AGAIN: Duration = Duration::from_millis(50);
/// After so long without such a look the next ones are close together again.
const QUIET: Duration = Duration::from_secs(10);
/// How long the own cache is served after a look began that succeeded.
pub(super) const TRUST: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(super) struct Guard {
    /// Since when the engine's token is not known; none: it is.
    lost: Option<Instant>,
    /// Something may have been missed, first and last at those times, and no look that began later has succeeded.
    missed: Option<(Instant, Instant)>,
    /// Not to look for it before.
    again: Instant,
    /// From one look for it to the next.
    pause: Duration,
    /// When the last look began that succeeded.
    looked: Instant,
    /// When the next one is due while the engine is lost.
    next: Instant,
    is_looking: bool,
}

impl Guard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lost: None,
            missed: None,
            again: now,
            pause: AGAIN,
            looked: now,
            next: now,
            is_looking: false,
        }
    }

    /// Whether to look now.
    pub(super) fn tick(&mut self, now: Instant, fresh: bool) -> bool {
        if fresh {
            if self.lost.take().is_some() {
                // Something may have changed since the last look, and before the token that is known now.
                self.missed(now);
            }
        } else if self.lost.is_none() {
            self.lost = Some(now);
            self.next = now;
        }
        let missed = self.missed.is_some() && now >= self.again;
        let due = missed || (self.lost.is_some() && now >= self.next);
        if !due || self.is_looking {
            return false;
        }
        self.is_looking = true;
        self.next = now + LOOK_EVERY;
        if missed {
            let quiet = now.saturating_duration_since(self.again) >= QUIET;
            self.pause = if quiet {
                AGAIN
            } else {
                (self.pause * 2).min(LOOK_EVERY)
            };
        }
        self.again = now + self.pause;
        true
    }

    pub(super) fn missed(&mut self, now: Instant) {
        let first = self.missed.map_or(now, |(first, _)| first);
        self.missed = Some((first, now));
    }

    pub(super) fn looked(&mut self, began: Instant, now: Instant, good: bool) {
        self.is_looking = false;
        if !good {
            self.again = now + self.pause;
            return;
        }
        self.looked = self.looked.max(began);
        if self.missed.is_some_and(|(_, last)| last <= began) {
            self.missed = None;
        }
    }

    pub(super) fn serves(&self, now: Instant, alone_max: Duration) -> bool {
        let within = |since: Instant, max| now.saturating_duration_since(since) <= max;
        // The first look after a loss has the same time as any other.
        let trusted = |since: Instant| within(self.looked.max(since), TRUST);
        let missed = self.missed.is_none_or(|(first, _)| trusted(first));
        let lost = self
            .lost
            .is_none_or(|lost| trusted(lost) && within(lost, alone_max));
        missed && lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_own_cache_is_served_while_somebody_vouches_for_it() {
        let start = Instant::now();
        let at = |tenths: u32| start + S * tenths / 10;
        // Looks: (began, good); none: the engine is there.
        for (name, lost, alone_max, good_looks, judged, want) in [
            ("the engine is there", None, HOUR, &[][..], 10_000, true),
            ("just lost", Some(0), HOUR, &[], 29, true),
            (
                "lost, and the HSM does not answer",
                Some(0),
                HOUR,
                &[],
                31,
                false,
            ),
            (
                "lost, and the HSM answers",
                Some(0),
                HOUR,
                &[0, 10, 20, 30, 40],
                69,
                true,
            ),
            (
                "and then no more",
                Some(0),
                HOUR,
                &[0, 10, 20, 30, 40],
                71,
                false,
            ),
            (
                "longer than the site wants",
                Some(0),
                S,
                &[0, 5, 10],
                11,
                false,
            ),
            (
                "not at all without the engine",
                Some(0),
                Duration::ZERO,
                &[],
                1,
                false,
            ),
        ] {
            let mut guard = Guard::new(start);
            guard.tick(start, lost.is_none());
            for began in good_looks {
                guard.looked(at(*began), at(*began + 1), true);
            }
            if lost.is_none() {
                guard.tick(at(judged), true);
            }
            assert_eq!(guard.serves(at(judged), alone_max), want, "{name}");
        }
    }

    #[test]
    fn what_was_missed_is_looked_for_at_once_and_again_until_it_is_found() {
        let start = Instant::now();
        let at = |tenths: u32| start + S * tenths / 10;
        let mut guard = Guard::new(start);
        assert!(!guard.tick(at(0), true), "all is well");
        guard.missed(at(10));
        assert!(guard.tick(at(10), true));
        assert!(!guard.tick(at(11), true), "one look at a time");
        guard.missed(at(12));
        guard.looked(at(10), at(13), true);
        assert!(guard.tick(at(14), true), "the second came while it looked");
        guard.looked(at(14), at(15), false);
        assert!(guard.serves(at(40), HOUR));
        assert!(!guard.serves(at(45), HOUR), "nobody looked since");
        assert!(guard.tick(at(46), true));
        guard.looked(at(46), at(47), true);
        assert!(guard.serves(at(47), HOUR) && !guard.tick(at(48), true));
    }

    #[test]
    fn what_changed_before_the_token_was_known_again_is_looked_for() {
        let start = Instant::now();
        let at = |tenths: u32| start + S * tenths / 10;
        let mut guard = Guard::new(start);
        assert!(guard.tick(at(0), false), "lost: a look at once");
        guard.looked(at(0), at(1), true);
        assert!(guard.tick(at(5), true), "what changed between 0 and 5?");
        guard.looked(at(5), at(6), true);
        assert!(!guard.tick(at(30), true), "and then no more");
    }

    #[test]
    fn misses_without_end_cost_one_look_a_second() {
        let start = Instant::now();
        let mut guard = Guard::new(start);
        guard.tick(start, true);
        let mut looks = Vec::new();
        for ms in 0..20_000 {
            let now = start + Duration::from_millis(ms);
            guard.missed(now);
            if guard.tick(now, true) {
                looks.push(ms);
                guard.looked(now, now, true);
            }
        }
        assert!((20..=26).contains(&looks.len()), "{looks:?}");
        // One alone is looked for at once, and after a quiet time several are.
        let later = start + Duration::from_mins(1);
        for ms in [0, 50, 150] {
            let now = later + Duration::from_millis(ms);
            guard.missed(now);
            assert!(guard.tick(now, true), "{ms}");
            guard.looked(now, now, true);
        }
    }
}
