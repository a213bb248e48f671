//! One server of a fleet: whether it rests, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::watch::Watch;
use super::{PAUSE_MAX, PAUSE_MIN};

#[derive(Clone, Copy, Debug)]
enum Rest {
    /// Tried never, or good.
    Fit,
    /// Not to be tried before `until`.
    Resting { until: Instant },
}

pub(super) struct Server {
    pub(super) label: Arc<str>,
    /// Place in the configured order; `None`: it is not configured any more.
    pub(super) rank: Option<usize>,
    rest: Rest,
    /// Pause that its next failure costs.
    pause: Duration,
    /// Connections that stand.
    pub(super) live: usize,
    /// Attempts to connect that have not ended.
    pub(super) opening: usize,
    /// When the last of them began, other than those to move a connection.
    pub(super) tried: Option<Instant>,
    /// Items that one message may hold; learnt downwards only.
    pub(super) batch_max: usize,
    /// Shortest idle time after which it was found to have closed a connection.
    pub(super) idle_limit: Option<Duration>,
    /// Why it rests.
    pub(super) why: String,
    pub(super) watch: Watch,
}

impl Server {
    pub(super) fn new(label: Arc<str>, batch_max: usize) -> Self {
        Self {
            label,
            rank: None,
            rest: Rest::Fit,
            pause: PAUSE_MIN,
            live: 0,
            opening: 0,
            tried: None,
            batch_max: batch_max.max(1),
            idle_limit: None,
            why: String::new(),
            watch: Watch::default(),
        }
    }

    /// Whether it is configured.
    pub(super) fn is_wanted(&self) -> bool {
        self.rank.is_some()
    }

    pub(super) fn is_fit(&self) -> bool {
        matches!(self.rest, Rest::Fit)
    }

    pub(super) fn is_rested(&self, now: Instant) -> bool {
        match self.rest {
            Rest::Fit => true,
            Rest::Resting { until } => until <= now,
        }
    }

    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        match self.rest {
            Rest::Resting { until } if self.opening == 0 => {
                Some(until.saturating_duration_since(now))
            }
            _ => None,
        }
    }

    /// Between half of the pause and all of it, so that many nodes do not knock at once; less what was
    /// `waited` already.
    pub(super) fn lie_down(&mut self, why: &str, share: u8, waited: Duration, now: Instant) {
        let half = self.pause / 2;
        let pause = half + half * u32::from(share) / 255;
        let until = now + pause.saturating_sub(waited).max(PAUSE_MIN / 2);
        self.rest = Rest::Resting { until };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        why.clone_into(&mut self.why);
    }

    pub(super) fn recover(&mut self) {
        self.rest = Rest::Fit;
        self.pause = PAUSE_MIN;
        self.why.clear();
    }
}
