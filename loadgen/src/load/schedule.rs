//! When requests are meant to be sent: a rate over time, and how arrivals lie in it.
//!
//! Sans-IO: nanoseconds out, no clock in. Must never be true: a time before the one given last; a
//! schedule that bends to what the server answers. Called by [`super::source`].

use std::fmt;
use std::str::FromStr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::Exp1;
use serde::{Deserialize, Serialize};

/// Requests a second that anybody may ask for.
pub const RATE_MAX: f64 = 10_000_000.0;
/// Steps of a staircase.
const STEPS_MAX: f64 = 10_000.0;
const NS_PER_S: f64 = 1e9;

/// How arrivals lie in the rate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Equal distances.
    Even,
    /// Independent of each other, as those of many clients: exponential distances (a Poisson process).
    Random,
    /// So many at once.
    Bursts(u32),
}

/// The rate over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Profile {
    /// Always the same.
    Constant {
        /// Requests a second.
        rate: f64,
    },
    /// From one rate to another, in a straight line over the whole duration.
    Ramp {
        /// Requests a second at the start.
        from: f64,
        /// Requests a second at the end.
        to: f64,
    },
    /// A staircase: `by` more every `every_s` until `to`, which holds to the end.
    Step {
        /// Requests a second at the start.
        from: f64,
        /// Requests a second at the top.
        to: f64,
        /// Requests a second of one step, up or down.
        by: f64,
        /// Seconds of one step.
        every_s: f64,
    },
}

/// What `--schedule` says; a rate of its own, or that of `--rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulePlan {
    /// `None`: the constant rate that is told apart.
    pub profile: Option<Profile>,
    /// How arrivals lie in it.
    pub arrivals: Arrivals,
}

impl Default for SchedulePlan {
    fn default() -> Self {
        Self {
            profile: None,
            arrivals: Arrivals::Random,
        }
    }
}

/// What [`SchedulePlan`] reads, for errors.
const FORMS: &str =
    "poisson, constant, burst:SIZE, ramp:FROM:TO[:even], step:FROM:TO:BY:SECONDS[:even]";

impl FromStr for SchedulePlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no schedule; there are {FORMS}");
        let parts: Vec<&str> = text.split(':').collect();
        let number =
            |text: &str| rate_of(text).map_err(|why| format!("`{text}` in a schedule: {why}"));
        let arrivals = |even: Option<&&str>| match even {
            None => Ok(Arrivals::Random),
            Some(&"even") => Ok(Arrivals::Even),
            Some(_) => Err(bad()),
        };
        let (profile, arrivals) = match parts.as_slice() {
            ["poisson"] => (None, Arrivals::Random),
            ["constant"] => (None, Arrivals::Even),
            ["burst", size] => {
                let size = size
                    .parse()
                    .ok()
                    .filter(|size| (1..=1_000_000).contains(size));
                (None, Arrivals::Bursts(size.ok_or_else(bad)?))
            }
            ["ramp", from, to, rest @ ..] if rest.len() < 2 => {
                let (from, to) = (number(from)?, number(to)?);
                (Some(Profile::Ramp { from, to }), arrivals(rest.first())?)
            }
            ["step", from, to, by, every_s, rest @ ..] if rest.len() < 2 => {
                let profile = Profile::Step {
                    from: number(from)?,
                    to: number(to)?,
                    by: number(by)?,
                    every_s: number(every_s)?,
                };
                (Some(profile), arrivals(rest.first())?)
            }
            _ => return Err(bad()),
        };
        Ok(Self { profile, arrivals })
    }
}

impl fmt::Display for SchedulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let even = if self.arrivals == Arrivals::Even {
            ":even"
        } else {
            ""
        };
        match (self.profile, self.arrivals) {
            (Some(Profile::Ramp { from, to }), _) => write!(f, "ramp:{from}:{to}{even}"),
            (
                Some(Profile::Step {
                    from,
                    to,
                    by,
                    every_s,
                }),
                _,
            ) => {
                write!(f, "step:{from}:{to}:{by}:{every_s}{even}")
            }
            (_, Arrivals::Bursts(size)) => write!(f, "burst:{size}"),
            (_, Arrivals::Random) => f.write_str("poisson"),
            (_, Arrivals::Even) => f.write_str("constant"),
        }
    }
}

/// A rate, or another number above 0, as people write it.
pub fn rate_of(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number > 0.0 && *number <= RATE_MAX)
        .ok_or_else(|| format!("a number above 0 and up to {RATE_MAX} belongs here"))
}

/// A stretch in which the rate goes in a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    from: f64,
    to: f64,
    length_s: f64,
}

impl Stretch {
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.length_s
    }

    /// Seconds into it at which `count` have arrived.
    fn time_s(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.length_s;
        // Of the two roots the one that stays exact when the slope is next to nothing.
        let root = (self.from * self.from + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        2.0 * count / (self.from + root)
    }
}

fn stretches(profile: Profile, duration_s: f64) -> Result<Vec<Stretch>, String> {
    let flat = |rate, length_s| Stretch {
        from: rate,
        to: rate,
        length_s,
    };
    Ok(match profile {
        Profile::Constant { rate } => vec![flat(rate, duration_s)],
        Profile::Ramp { from, to } => vec![Stretch {
            from,
            to,
            length_s: duration_s,
        }],
        Profile::Step {
            from,
            to,
            by,
            every_s,
        } => {
            let steps = ((to - from).abs() / by).ceil();
            if steps > STEPS_MAX {
                return Err(format!("{steps} steps; at most {STEPS_MAX}"));
            }
            let (mut list, mut left_s, mut rate) = (Vec::new(), duration_s, from);
            while left_s > 0.0 {
                let last = (rate - to).abs() < f64::EPSILON;
                let length_s = if last { left_s } else { every_s.min(left_s) };
                list.push(flat(rate, length_s));
                left_s -= length_s;
                let toward = if to > from {
                    (rate + by).min(to)
                } else {
                    (rate - by).max(to)
                };
                rate = toward;
            }
            list
        }
    })
}

/// The rate over time, for people: from which second on, which rate, and where it goes until the next.
pub fn stages(profile: Profile, duration_s: f64) -> Result<Vec<(f64, f64, f64)>, String> {
    let mut at_s = 0.0;
    let list = stretches(profile, duration_s)?;
    let stage = |stretch: Stretch| {
        let begin_s = at_s;
        at_s += stretch.length_s;
        (begin_s, stretch.from, stretch.to)
    };
    Ok(list.into_iter().map(stage).collect())
}

/// Intended send times, in nanoseconds since the start, never earlier than the one before.
#[derive(Clone, Debug)]
pub struct Schedule {
    stretches: Vec<Stretch>,
    arrivals: Arrivals,
    /// Arrivals so far, in units of the rate: a whole number each when they are even.
    place: f64,
    count: u64,
    /// Where between two others these arrivals lie, 0 to 1.
    phase: f64,
    /// The stretch, and the arrivals and seconds before it.
    at: (usize, f64, f64),
    random: SmallRng,
}

impl Schedule {
    /// Over `lead_s` at the rate it begins with, then over `duration_s` as `profile` says.
    pub fn new(
        profile: Profile,
        arrivals: Arrivals,
        (lead_s, duration_s): (f64, f64),
        seed: u64,
    ) -> Result<Self, String> {
        let mut list = stretches(profile, duration_s)?;
        let first = list.first().map_or(0.0, |stretch| stretch.from);
        if lead_s > 0.0 {
            list.insert(
                0,
                Stretch {
                    from: first,
                    to: first,
                    length_s: lead_s,
                },
            );
        }
        Ok(Self {
            stretches: list,
            arrivals,
            place: 0.0,
            count: 0,
            phase: 0.0,
            at: (0, 0.0, 0.0),
            random: SmallRng::seed_from_u64(seed),
        })
    }

    /// The part of one of `of` generators that together make the whole: number `number`, from 0.
    #[must_use]
    pub fn share(mut self, number: u32, of: u32) -> Self {
        let (number, of) = (f64::from(number), f64::from(of.max(1)));
        for stretch in &mut self.stretches {
            stretch.from /= of;
            stretch.to /= of;
        }
        self.phase = number / of;
        if let Arrivals::Bursts(size) = self.arrivals {
            // All burst at the same time.
            self.arrivals = Arrivals::Bursts((size / (of as u32)).max(1));
            self.phase = 0.0;
        }
        self
    }

    /// How many there will be: exactly when arrivals are even, else in the mean.
    pub fn expected(&self) -> f64 {
        self.stretches.iter().map(Stretch::arrivals).sum()
    }

    fn advance(&mut self) {
        match self.arrivals {
            Arrivals::Even => self.place = self.count as f64 + self.phase,
            Arrivals::Random => self.place += self.random.sample::<f64, _>(Exp1),
            Arrivals::Bursts(size) => {
                let size = u64::from(size);
                self.place = (self.count / size * size) as f64;
            }
        }
        self.count += 1;
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.advance();
        loop {
            let (index, count_before, time_before_s) = self.at;
            let stretch = self.stretches.get(index)?;
            let in_it = self.place - count_before;
            if in_it < stretch.arrivals() {
                let time_s = time_before_s + stretch.time_s(in_it);
                return Some((time_s * NS_PER_S) as u64);
            }
            self.at = (
                index + 1,
                count_before + stretch.arrivals(),
                time_before_s + stretch.length_s,
            );
        }
    }
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;
