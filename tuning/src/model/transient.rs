//! What passes: an empty cache filling, the HSM pausing, a node gone, a restore storm. Fluid model: what comes in less
//! what goes out.
//!
//! - Cold start: a key's first request asks the HSM, so the demand is the sum of l e^(-l t).
//! - Pause of d: the jobs of d wait and are worked off at mu - m: over after d + m d / (mu - m).
//! - A node gone, balanced by hash: its keys are cold for the others: (1 - 1/N) m + 1/N sum of l e^(-l t).
//! - Storm: S keys nobody has, in a window W: S/W more.
//!
//! Where the queue would be longer than the deadline allows, what is beyond it is refused and asked again,
//! so the work stays: waits end at the deadline, and the time until all is done does not change. Source: fluid limit. Error:
//! held by `tests/des_transient.rs`; it under-estimates near the critical load. Domain: demand well
//! below or above the capacity.

use crate::trace::{Error, Formula, Held};

use super::popularity::Popularity;

/// [`cold_start`].
pub static COLD_START: Formula = Formula {
    text: "largest of: sum of 1 - e^(-l t) over the keys + others t - capacity t; the wait is that over the capacity; warm when sum of l e^(-l t) is down to 1.1 of what is usual",
    source: "fluid limit (tuning/src/model/transient.rs)",
    error: Error::Relative(0.1),
    domain: "demand well below or above the capacity; it under-estimates in between",
    held: Held::Test("des_transient"),
};
/// [`pause`].
pub static PAUSE: Formula = Formula {
    text: "m d jobs wait; over after d + m d / (capacity - m)",
    source: "fluid limit (tuning/src/model/transient.rs)",
    error: Error::Relative(0.1),
    domain: "m below 0.9 of the capacity",
    held: Held::Test("des_transient"),
};
/// [`node_gone`].
pub static NODE_GONE: Formula = Formula {
    text: "as an empty cache, for the keys of the node that is gone, beside what is usual",
    source: "fluid limit (tuning/src/model/transient.rs)",
    error: Error::Relative(0.15),
    domain: "balanced by hash",
    held: Held::Test("des_transient"),
};
/// [`storm`].
pub static STORM: Formula = Formula {
    text: "(m + S / W - capacity) W jobs wait at its end; all done m below the capacity later",
    source: "fluid limit (tuning/src/model/transient.rs)",
    error: Error::Relative(0.1),
    domain: "demand well below or above the capacity",
    held: Held::Test("des_transient"),
};

/// Steps a factor of ten of time.
const STEPS: u32 = 40;

/// A backlog that grew and went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Jobs waiting at the worst moment.
    pub jobs: f64,
    /// Longest wait.
    pub wait_s: f64,
    /// When it is gone.
    pub over_s: f64,
    /// When the demand for fetches is down to what it is in the long run.
    pub warm_s: f64,
}

/// An empty cache: `rate` requests a second, `others` jobs a second besides, `capacity` jobs a second, and
/// `usual` fetches a second in the long run.
pub fn cold_start(
    popularity: &Popularity,
    rate: f64,
    others: f64,
    capacity: f64,
    usual: f64,
    ttl_s: f64,
) -> Backlog {
    fill(
        |time_s| popularity.sum(rate, |key| 1.0 - (-key * time_s).exp()) + others * time_s,
        |time_s| first_requests(popularity, rate, time_s),
        capacity,
        usual,
        ttl_s,
    )
}

/// First requests of keys, a second, `time_s` after the start of an empty cache.
pub fn first_requests(popularity: &Popularity, rate: f64, time_s: f64) -> f64 {
    popularity.sum(rate, |key| key * (-key * time_s).exp())
}

/// One of `nodes` gone, balanced by hash: its keys are new to the others; `usual` fetches of one of these before.
pub fn node_gone(
    popularity: &Popularity,
    rate: f64,
    nodes: f64,
    usual: f64,
    capacity: f64,
    ttl_s: f64,
) -> Backlog {
    // A survivor takes over its share of the keys of the one that is gone.
    let taken = 1.0 / (nodes * (nodes - 1.0));
    fill(
        |time_s| usual * time_s + taken * popularity.sum(rate, |key| 1.0 - (-key * time_s).exp()),
        |time_s| usual + taken * popularity.sum(rate, |key| key * (-key * time_s).exp()),
        capacity,
        usual * nodes / (nodes - 1.0),
        ttl_s,
    )
}

/// `asked` in all until a time, `demand` at that time.
fn fill(
    asked: impl Fn(f64) -> f64,
    demand: impl Fn(f64) -> f64,
    capacity: f64,
    usual: f64,
    ttl_s: f64,
) -> Backlog {
    let mut worst = Backlog::default();
    let (from, to) = (1e-4_f64, 1e7_f64.max(10.0 * ttl_s));
    let steps = f64::from(STEPS) * (to / from).log10();
    // What the capacity has worked off: it does not work ahead.
    let (mut done, mut before_s, mut is_warm) = (0.0, 0.0, false);
    let mut at = 0.0;
    while at <= steps {
        let time_s = from * 10_f64.powf(at / f64::from(STEPS));
        let jobs_asked = asked(time_s);
        done = (done + capacity * (time_s - before_s)).min(jobs_asked);
        let backlog = jobs_asked - done;
        if backlog > worst.jobs {
            worst.jobs = backlog;
        }
        // Less than a job is none.
        if backlog >= 1.0 {
            worst.over_s = time_s;
        }
        if !is_warm && demand(time_s) <= 1.1 * usual {
            is_warm = true;
            worst.warm_s = time_s;
        }
        if is_warm && backlog < 1.0 && demand(time_s) < capacity {
            break;
        }
        before_s = time_s;
        at += 1.0;
    }
    worst.wait_s = worst.jobs / capacity;
    worst.warm_s = worst.warm_s.min(ttl_s).max(worst.over_s);
    worst
}

/// The HSM answers nothing for `pause_s`; `demand` jobs a second, `capacity` behind it.
pub fn pause(pause_s: f64, demand: f64, capacity: f64) -> Backlog {
    let jobs = demand * pause_s;
    let drained_s = if capacity > demand {
        jobs / (capacity - demand)
    } else {
        f64::INFINITY
    };
    Backlog {
        jobs,
        wait_s: pause_s,
        over_s: pause_s + drained_s,
        warm_s: 0.0,
    }
}

/// A storm of `jobs` in `window_s` beside a `demand`, on a `capacity`.
pub fn storm(jobs: f64, window_s: f64, demand: f64, capacity: f64) -> Backlog {
    let grows = demand + jobs / window_s - capacity;
    if grows <= 0.0 {
        return Backlog {
            over_s: window_s,
            ..Backlog::default()
        };
    }
    let waiting = grows * window_s;
    let drained_s = if capacity > demand {
        waiting / (capacity - demand)
    } else {
        f64::INFINITY
    };
    Backlog {
        jobs: waiting,
        wait_s: waiting / capacity,
        over_s: window_s + drained_s,
        warm_s: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, within: f64) -> bool {
        (got / want - 1.0).abs() < within
    }

    #[test]
    fn a_pause_drains_as_a_fluid() {
        let backlog = pause(2.0, 1287.5, 1602.0);
        assert!(
            near(backlog.jobs, 2575.0, 1e-9) && near(backlog.over_s, 2.0 + 2575.0 / 314.5, 1e-9),
            "{backlog:?}"
        );
        assert!(pause(2.0, 100.0, 100.0).over_s.is_infinite());
    }

    #[test]
    fn a_storm_within_the_capacity_is_none() {
        assert!(storm(600_000.0, 600.0, 500.0, 1600.0).jobs <= 0.0);
        let beyond = storm(600_000.0, 600.0, 500.0, 1200.0);
        assert!(
            near(beyond.jobs, 180_000.0, 1e-9)
                && near(beyond.over_s, 600.0 + 180_000.0 / 700.0, 1e-9),
            "{beyond:?}"
        );
    }

    #[test]
    fn an_empty_cache_asks_for_each_key_once() {
        let keys = Popularity::zipf(50_000.0, 0.9);
        let roomy = cold_start(&keys, 20_000.0, 0.0, 1e9, 700.0, 60.0);
        assert!(
            roomy.jobs < 1.0 && roomy.warm_s > 5.0 && roomy.warm_s < 60.0,
            "{roomy:?}"
        );
        let tight = cold_start(&keys, 20_000.0, 0.0, 2000.0, 700.0, 60.0);
        assert!(
            tight.jobs > 5000.0 && tight.over_s > 5.0 && tight.over_s < 60.0,
            "{tight:?}"
        );
    }
}
