//! Times as distributions: what exceeds a time, and which time so many exceed.
//!
//! A message to the HSM takes a lognormal time or, now and then, a Pareto tail, and a fixed part for its
//! items; nothing takes longer than its deadline. Sources: textbook; the residual life is the integrated
//! tail over the mean, whose lognormal part is Black and Scholes' formula. Error: exact but for the
//! normal distribution function (7.5e-8, Abramowitz and Stegun 26.2.17).

/// Halvings that find a quantile.
const STEPS: usize = 36;
/// Seconds between which quantiles are looked for.
const TIMES: (f64, f64) = (1e-7, 1e5);

/// Share of a standard normal above `x`.
pub fn normal_above(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal_above(-x);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    series * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The time that the share `1 - quantile` of something exceeds, given what exceeds a time.
pub fn quantile(quantile: f64, exceeds: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = TIMES;
    for _ in 0..STEPS {
        let middle = (low * high).sqrt();
        if exceeds(middle) > 1.0 - quantile {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// A lognormal time as parts of it, each with its share: finer where it is longer, to be added to something else.
pub fn lognormal_parts(median_s: f64, sigma: f64) -> Vec<(f64, f64)> {
    const DECADES: i32 = 5;
    const PARTS: u32 = 9;
    if sigma <= 0.0 || median_s <= 0.0 {
        return vec![(1.0, median_s)];
    }
    // In the middle of a part that begins where the share `above` lies above.
    let part = |above: f64, width: f64| {
        let middle = above - width / 2.0;
        let exceeds = |time_s: f64| normal_above((time_s / median_s).ln() / sigma);
        (width, quantile(1.0 - middle, exceeds))
    };
    let decade = |decade: i32| {
        let width = 10_f64.powi(-decade - 1);
        (0..PARTS).map(move |at| part(10_f64.powi(-decade) - f64::from(at) * width, width))
    };
    let rest = 10_f64.powi(-DECADES);
    let mut parts: Vec<_> = (0..DECADES).flat_map(decade).collect();
    parts.push(part(rest, rest));
    parts
}

/// The time of a message without its items.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Median of the lognormal part, seconds.
    pub median_s: f64,
    /// Its sigma.
    pub sigma: f64,
    /// Share of messages that are in the tail instead.
    pub tail_share: f64,
    /// The least that these take.
    pub tail_min_s: f64,
    /// Their exponent.
    pub tail_alpha: f64,
    /// Nothing takes longer: the deadline, after which the connection is given up.
    pub longest_s: f64,
}

impl Message {
    /// Without jitter, tail or deadline.
    pub fn fixed(median_s: f64) -> Self {
        Self {
            median_s,
            sigma: 0.0,
            tail_share: 0.0,
            tail_min_s: 0.0,
            tail_alpha: 2.0,
            longest_s: f64::INFINITY,
        }
    }

    /// Share of messages that take longer than `time_s`.
    pub fn exceeds(&self, time_s: f64) -> f64 {
        if time_s >= self.longest_s {
            return 0.0;
        }
        (1.0 - self.tail_share) * self.body_exceeds(time_s)
            + self.tail_share * self.tail_exceeds(time_s)
    }

    /// The mean of what a message takes beyond `time_s`, nothing counted where it takes less.
    pub fn mean_beyond(&self, time_s: f64) -> f64 {
        let beyond = |time_s: f64| {
            (1.0 - self.tail_share) * self.body_beyond(time_s)
                + self.tail_share * self.tail_beyond(time_s)
        };
        if self.longest_s.is_infinite() {
            beyond(time_s)
        } else {
            (beyond(time_s) - beyond(self.longest_s.max(time_s))).max(0.0)
        }
    }

    /// A pause holds up messages that begin at `rate` a second: by how much the longest wait exceeds the pause, in the
    /// median.
    ///
    /// One that began `t` after the pause did takes its own time when that is over, and exceeds it by that time less `t`.
    /// One that was under way for `t` when the pause began exceeds it by `t`. Of either kind, on average `rate` times
    /// the mean beyond `x` exceed it by more than `x`, and none does with probability one half where both come to ln 2.
    pub fn longest_beyond_s(&self, rate: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.longest_s.min(TIMES.1));
        for _ in 0..STEPS {
            let middle = f64::midpoint(low, high);
            if 2.0 * rate * self.mean_beyond(middle) > std::f64::consts::LN_2 {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Mean.
    pub fn mean_s(&self) -> f64 {
        self.mean_beyond(0.0)
    }

    /// Variance over squared mean.
    pub fn scv(&self) -> f64 {
        let mean = self.mean_s();
        if mean <= 0.0 {
            return 0.0;
        }
        // E[X^2] is twice the integral of the mean beyond; the steps are even in the logarithm.
        let (from, to) = (mean * 1e-3, self.longest_s.min(mean * 1e4));
        let steps = 400;
        let width = (to / from).ln() / f64::from(steps);
        let mut second = 2.0 * from * mean;
        for step in 0..steps {
            let time = from * ((f64::from(step) + 0.5) * width).exp();
            second += 2.0 * self.mean_beyond(time) * time * width;
        }
        (second / (mean * mean) - 1.0).max(0.0)
    }

    fn body_exceeds(&self, time_s: f64) -> f64 {
        if time_s <= 0.0 {
            return 1.0;
        }
        if self.sigma <= 0.0 || self.median_s <= 0.0 {
            return f64::from(u8::from(time_s < self.median_s));
        }
        normal_above((time_s / self.median_s).ln() / self.sigma)
    }

    fn body_beyond(&self, time_s: f64) -> f64 {
        if self.sigma <= 0.0 || self.median_s <= 0.0 {
            return (self.median_s - time_s).max(0.0);
        }
        let mean = self.median_s * (self.sigma * self.sigma / 2.0).exp();
        if time_s <= 0.0 {
            return mean - time_s;
        }
        let z = (time_s / self.median_s).ln() / self.sigma;
        (mean * normal_above(z - self.sigma) - time_s * normal_above(z)).max(0.0)
    }

    fn tail_exceeds(&self, time_s: f64) -> f64 {
        if time_s <= self.tail_min_s {
            1.0
        } else {
            (self.tail_min_s / time_s).powf(self.tail_alpha)
        }
    }

    fn tail_beyond(&self, time_s: f64) -> f64 {
        let alpha = self.tail_alpha;
        if time_s <= self.tail_min_s {
            self.tail_min_s * alpha / (alpha - 1.0) - time_s
        } else {
            self.tail_min_s.powf(alpha) * time_s.powf(1.0 - alpha) / (alpha - 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, within: f64) -> bool {
        (got / want - 1.0).abs() < within
    }

    #[test]
    fn quantiles_are_those_of_the_presets() {
        let lan = Message {
            sigma: 0.35,
            ..Message::fixed(0.001)
        };
        assert!(near(quantile(0.5, |t| lan.exceeds(t)), 0.001, 1e-4));
        assert!(near(
            quantile(0.99, |t| lan.exceeds(t)),
            0.001 * (2.326_35 * 0.35_f64).exp(),
            1e-3
        ));
        assert!(near(
            lan.mean_s(),
            0.001 * (0.35_f64 * 0.35 / 2.0).exp(),
            1e-6
        ));
        assert!(
            near(lan.scv(), (0.35_f64 * 0.35).exp() - 1.0, 0.02),
            "{}",
            lan.scv()
        );
        assert!(lan.scv() > Message::fixed(0.001).scv());
    }

    #[test]
    fn parts_of_a_lognormal_time_have_its_quantiles() {
        let parts = lognormal_parts(0.2, 0.9);
        let all: f64 = parts.iter().map(|(share, _)| share).sum();
        assert!(near(all, 1.0, 1e-9), "{all}");
        for (above, want) in [(0.5, 0.2), (0.01, 0.2 * (2.326_35 * 0.9_f64).exp())] {
            let longer = parts.iter().filter(|(_, time_s)| *time_s > want);
            let share: f64 = longer.map(|(share, _)| share).sum();
            assert!((share - above).abs() < 1e-9, "{above}: {share}");
        }
        assert_eq!(lognormal_parts(0.2, 0.0), [(1.0, 0.2)]);
    }

    #[test]
    fn the_longest_wait_is_beyond_a_pause_where_messages_spread() {
        let busy = Message {
            sigma: 1.26,
            ..Message::fixed(0.008)
        };
        let beyond_s = busy.longest_beyond_s(320.0);
        assert!(near(640.0 * busy.mean_beyond(beyond_s), 2_f64.ln(), 1e-3));
        assert!((0.05..0.2).contains(&beyond_s), "{beyond_s}");
        // Few come in a short message's time.
        assert!(Message::fixed(0.0005).longest_beyond_s(400.0) < 1e-9);
    }

    #[test]
    fn a_tail_and_a_deadline_count() {
        let wan = Message {
            sigma: 0.35,
            tail_share: 0.01,
            tail_min_s: 0.1,
            tail_alpha: 1.5,
            ..Message::fixed(0.04)
        };
        let endless = wan.mean_s();
        assert!(
            near(
                endless,
                0.99 * 0.04 * (0.061_25_f64).exp() + 0.01 * 0.3,
                1e-4
            ),
            "{endless}"
        );
        let cut = Message {
            longest_s: 2.0,
            ..wan
        };
        // Of the tail 0.1^1.5 x 2^-0.5 / 0.5 lies beyond two seconds.
        let beyond = 0.01 * 0.1_f64.powf(1.5) * 2.0_f64.powf(-0.5) / 0.5;
        assert!(near(cut.mean_s(), endless - beyond, 1e-4));
        assert!(cut.exceeds(2.0) == 0.0 && cut.exceeds(1.99) > 0.0);
    }
}
