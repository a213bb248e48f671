//! When a token is to be renewed, and when renewing is over and a login is due. Time is an argument.
//!
//! A lease that comes back shorter than the last one has met the token's maximum: renewing would only see
//! it end. Must never be true: a token with time left that is not renewed before it ends; a step that
//! is due for ever at once. Called by `keeper`.

use std::time::{Duration, Instant};

/// Soonest a step is tried again that failed.
const AGAIN_MIN: Duration = Duration::from_millis(500);
/// Latest.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What a Vault says of a token's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lease {
    /// `None`: it never ends.
    pub(super) ttl: Option<Duration>,
    pub(super) renewable: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Renew,
    LogIn,
}

/// One token's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// When it ends; `None`: never.
    ends: Option<Instant>,
    ttl: Duration,
    is_renewable: bool,
    due: Option<Instant>,
}

impl Life {
    /// Of a lease that begins `now`, to be renewed so long before its end.
    pub(super) fn of(lease: Lease, now: Instant, before: Duration) -> Self {
        let ttl = lease.ttl.unwrap_or_default();
        Self {
            ends: lease.ttl.map(|ttl| now + ttl),
            ttl,
            is_renewable: lease.renewable,
            due: lease
                .ttl
                .map(|ttl| now + ttl.saturating_sub(before.min(ttl / 2))),
        }
    }

    /// What is due next, and when.
    pub(super) fn next(&self) -> Option<(Instant, Step)> {
        let step = if self.is_renewable {
            Step::Renew
        } else {
            Step::LogIn
        };
        self.due.map(|due| (due, step))
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Whether only another token helps.
    pub(super) fn is_last(&self) -> bool {
        self.ends.is_some() && !self.is_renewable
    }

    /// It was renewed to `lease`.
    pub(super) fn renewed(&mut self, lease: Lease, now: Instant, before: Duration) {
        let shrank = lease.ttl.is_some_and(|ttl| ttl < self.ttl);
        *self = Self::of(lease, now, before);
        self.is_renewable &= !shrank;
    }

    /// It cannot be renewed: a login is due, at the time at which renewing was.
    pub(super) fn worn_out(&mut self) {
        self.is_renewable = false;
    }

    /// The step that was due failed, and is tried again before the end; after it now and then.
    pub(super) fn failed(&mut self, now: Instant) {
        let left = self.ends.unwrap_or(now).saturating_duration_since(now);
        let again = (left / 4).clamp(AGAIN_MIN, AGAIN_MAX);
        self.due = Some(now + again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Duration = Duration::from_secs(30);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(ttl_s: u64, renewable: bool) -> Lease {
        Lease {
            ttl: (ttl_s > 0).then(|| s(ttl_s)),
            renewable,
        }
    }

    #[test]
    fn steps_are_due_before_the_end() {
        let now = Instant::now();
        for (name, ttl_s, renewable, want) in [
            ("an hour", 3600, true, Some((s(3570), Step::Renew))),
            ("a minute", 60, true, Some((s(30), Step::Renew))),
            (
                "shorter than twice the time",
                40,
                true,
                Some((s(20), Step::Renew)),
            ),
            (
                "a moment",
                1,
                true,
                Some((Duration::from_millis(500), Step::Renew)),
            ),
            ("a batch token", 3600, false, Some((s(3570), Step::LogIn))),
            ("without end", 0, false, None),
        ] {
            let life = Life::of(lease(ttl_s, renewable), now, BEFORE);
            let next = life.next().map(|(due, step)| (due - now, step));
            assert_eq!(next, want, "{name}");
            assert_eq!(life.is_last(), ttl_s > 0 && !renewable, "{name}");
        }
    }

    /// A role of 3 s and at most 8 s, as OpenBao walks it: 3, 3, 3, 2.
    #[test]
    fn a_shrinking_lease_means_a_login() {
        let start = Instant::now();
        let mut life = Life::of(lease(3, true), start, BEFORE);
        for (at_s, ttl_s, want) in [
            (1, 3, Step::Renew),
            (3, 3, Step::Renew),
            (6, 2, Step::LogIn),
        ] {
            let now = start + s(at_s);
            life.renewed(lease(ttl_s, true), now, BEFORE);
            let half = s(ttl_s) / 2;
            assert_eq!(life.next(), Some((now + half, want)), "{at_s}");
        }
        let mut periodic = Life::of(lease(4, true), start, BEFORE);
        periodic.renewed(lease(4, true), start + s(2), BEFORE);
        assert_eq!(periodic.next().map(|next| next.1), Some(Step::Renew));
        // Looked at late, the first lease seems shorter than it is.
        let mut late = Life::of(lease(5, true), start, BEFORE);
        late.renewed(lease(6, true), start + s(1), BEFORE);
        assert_eq!(late.next().map(|next| next.1), Some(Step::Renew));
    }

    #[test]
    fn what_failed_is_tried_again_before_the_end_and_after() {
        let start = Instant::now();
        let mut life = Life::of(lease(60, true), start, BEFORE);
        for (at_s, want) in [
            (30, Duration::from_millis(7500)),
            (56, s(1)),
            (60, AGAIN_MIN),
            (100, AGAIN_MIN),
        ] {
            life.failed(start + s(at_s));
            let next = life
                .next()
                .map(|(due, step)| (due - (start + s(at_s)), step));
            assert_eq!(next, Some((want, Step::Renew)), "{at_s}");
        }
        life.worn_out();
        assert_eq!(life.next().map(|next| next.1), Some(Step::LogIn));
    }
}
