//! From values to places on an axis, and the ticks that people read there.

use super::units;

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    /// Empty for a minor one, which only has a grid line.
    pub(super) label: String,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Linear,
    Logarithmic,
    /// Quantiles by their distance to 1: 0.9, 0.99 and 0.999 are equally far apart.
    Nines,
}

/// An axis: values between two ends on a line of a length.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    shape: Shape,
    low: f64,
    high: f64,
    ticks: Vec<Tick>,
}

impl Scale {
    /// From 0 to a round number at or above `high`.
    pub(super) fn from_zero(high: f64, wanted_ticks: u32, label: impl Fn(f64) -> String) -> Self {
        let high = if high.is_finite() && high > 0.0 {
            high
        } else {
            1.0
        };
        let step = round_step(high / f64::from(wanted_ticks.max(1)));
        let count = (high / step - 1e-9).ceil().max(1.0);
        Self::stepped(0.0, count * step, step, label)
    }

    /// Between two ends that stay as they are.
    pub(super) fn linear(
        low: f64,
        high: f64,
        wanted_ticks: u32,
        label: impl Fn(f64) -> String,
    ) -> Self {
        let span = if high > low { high - low } else { 1.0 };
        Self::stepped(
            low,
            low + span,
            round_step(span / f64::from(wanted_ticks.max(1))),
            label,
        )
    }

    fn stepped(low: f64, high: f64, step: f64, label: impl Fn(f64) -> String) -> Self {
        let first = (low / step - 1e-9).ceil();
        let ticks = (0..200_u32).map(|at| (first + f64::from(at)) * step);
        let ticks = ticks.take_while(|value| *value <= high + step * 1e-9);
        let ticks = ticks
            .map(|value| Tick {
                value,
                label: label(value),
            })
            .collect();
        Self {
            shape: Shape::Linear,
            low,
            high,
            ticks,
        }
    }

    /// So many places side by side, each with a name.
    pub(super) fn named(places: f64, ticks: Vec<Tick>) -> Self {
        Self {
            shape: Shape::Linear,
            low: 0.0,
            high: places.max(1.0),
            ticks,
        }
    }

    /// The same from the top down: place n is at -n.
    pub(super) fn named_down(places: f64, ticks: Vec<Tick>) -> Self {
        Self {
            shape: Shape::Linear,
            low: -places.max(1.0),
            high: 0.0,
            ticks,
        }
    }

    /// Seconds since the start, with ticks at times that clocks have.
    pub(super) fn elapsed(end_s: f64, wanted_ticks: u32) -> Self {
        const STEPS: [f64; 17] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
            7200.0, 10_800.0, 21_600.0, 43_200.0,
        ];
        let end_s = if end_s.is_finite() {
            end_s.max(1.0)
        } else {
            1.0
        };
        let wanted = end_s / f64::from(wanted_ticks.max(1));
        let step = STEPS.into_iter().find(|step| *step >= wanted);
        let step = step.unwrap_or_else(|| (wanted / 86_400.0).ceil() * 86_400.0);
        Self::stepped(0.0, end_s, step, units::clock)
    }

    /// Logarithmic, from a round number at or below `low` to one at or above `high`.
    pub(super) fn logarithmic(low: f64, high: f64, label: impl Fn(f64) -> String) -> Self {
        let low = if low.is_finite() && low > 0.0 {
            low
        } else {
            1.0
        };
        let high = if high.is_finite() && high > low {
            high
        } else {
            low * 10.0
        };
        let (low, high) = (round_down(low), round_step(high));
        let high = if high > low { high } else { low * 10.0 };
        let decades = (high / low).log10();
        // The fewer decades there are, the more of each has a label.
        let is_label = |digit: u32| match digit {
            1 => true,
            2 | 5 => decades <= 1.6,
            3 => decades > 1.6 && decades <= 3.2,
            _ => false,
        };
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(low.log10().floor());
        while decade <= high * 1.0001 && ticks.len() < 400 {
            for digit in 1..10 {
                let value = decade * f64::from(digit);
                if value >= low * 0.9999 && value <= high * 1.0001 {
                    let label = if is_label(digit) {
                        label(value)
                    } else {
                        String::new()
                    };
                    ticks.push(Tick { value, label });
                }
            }
            decade *= 10.0;
        }
        Self {
            shape: Shape::Logarithmic,
            low,
            high,
            ticks,
        }
    }

    /// Quantiles from 0 to the last that `count` samples tell of.
    pub(super) fn nines(count: u64) -> Self {
        let last = count.max(10) as f64;
        let mut ticks = vec![Tick {
            value: 0.0,
            label: units::plain_percent(0.0),
        }];
        ticks.push(Tick {
            value: 0.5,
            label: units::plain_percent(0.5),
        });
        let mut nines = 10.0;
        while nines <= last * 1.0001 {
            let value = 1.0 - 1.0 / nines;
            ticks.push(Tick {
                value,
                label: units::plain_percent(value),
            });
            nines *= 10.0;
        }
        Self {
            shape: Shape::Nines,
            low: 0.0,
            high: 1.0 - 1.0 / last,
            ticks,
        }
    }

    pub(super) fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// Where a value lies: 0 is the low end, 1 the high one; beyond them it is at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let along = |value: f64| match self.shape {
            Shape::Linear => value,
            Shape::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Shape::Nines => -(1.0 - value).max(1e-12).log10(),
        };
        let (low, high) = (along(self.low), along(self.high));
        if high <= low {
            return 0.0;
        }
        ((along(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The quantile at a place on an axis of nines.
    pub(super) fn quantile_at(&self, place: f64) -> f64 {
        let end = -(1.0 - self.high).max(1e-12).log10();
        1.0 - 10_f64.powf(-place * end)
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    let fits = |factor: &f64| decade * factor >= step * (1.0 - 1e-9);
    factors
        .into_iter()
        .find(fits)
        .map_or(decade * 10.0, |factor| decade * factor)
}

fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf((value.log10() + 1e-9).floor());
    let factors = [5.0, 2.0];
    let fits = |factor: &f64| decade * factor <= value * (1.0 + 1e-9);
    factors
        .into_iter()
        .find(fits)
        .map_or(decade, |factor| decade * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        let labels = scale
            .ticks()
            .iter()
            .map(|tick| tick.label.replace('\u{202f}', " "));
        labels.filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let number = |value: f64| format!("{value}");
        for (name, scale, want) in [
            (
                "rate",
                Scale::from_zero(4213.0, 4, number),
                "0 2000 4000 6000",
            ),
            (
                "small",
                Scale::from_zero(0.7, 4, |value| format!("{value:.1}")),
                "0.0 0.2 0.4 0.6 0.8",
            ),
            (
                "nothing",
                Scale::from_zero(0.0, 2, |value| format!("{value:.1}")),
                "0.0 0.5 1.0",
            ),
            (
                "a minute",
                Scale::elapsed(60.0, 8),
                "0:00 0:10 0:20 0:30 0:40 0:50 1:00",
            ),
            (
                "a day",
                Scale::elapsed(86_400.0, 8),
                "0:00 3:00:00 6:00:00 9:00:00 12:00:00 15:00:00 18:00:00 21:00:00 24:00:00",
            ),
            ("no time", Scale::elapsed(0.0, 8), "0:00 0:01"),
            (
                "a decade",
                Scale::logarithmic(1.2e6, 8e6, units::tick_time),
                "1 ms 2 ms 5 ms 10 ms",
            ),
            (
                "many decades",
                Scale::logarithmic(1.2e5, 8e8, units::tick_time),
                "100 µs 1 ms 10 ms 100 ms 1 s",
            ),
            (
                "one value",
                Scale::logarithmic(1e6, 1e6, units::tick_time),
                "1 ms 2 ms 5 ms 10 ms",
            ),
            (
                "nines",
                Scale::nines(100_000),
                "0 % 50 % 90 % 99 % 99.9 % 99.99 % 99.999 %",
            ),
            ("few", Scale::nines(1), "0 % 50 % 90 %"),
        ] {
            assert_eq!(labels(&scale).join(" "), want, "{name}");
        }
    }

    #[test]
    fn places_lie_between_the_ends() {
        let near = |got: f64, want: f64| (got - want).abs() < 1e-9;
        let linear = Scale::from_zero(10.0, 5, |_| String::new());
        assert!(
            near(linear.place(5.0), 0.5)
                && near(linear.place(-1.0), 0.0)
                && near(linear.place(99.0), 1.0)
        );
        let log = Scale::logarithmic(1.0, 100.0, |_| String::new());
        assert!(near(log.place(10.0), 0.5) && near(log.place(0.0), 0.0));
        let nines = Scale::nines(10_000);
        assert!(near(nines.place(0.99), 0.5) && near(nines.place(1.0), 1.0));
        assert!(near(nines.quantile_at(0.5), 0.99) && near(nines.quantile_at(0.0), 0.0));
        for bad in [f64::NAN, f64::INFINITY] {
            let scale = Scale::logarithmic(bad, bad, |_| String::new());
            assert!((0.0..=1.0).contains(&scale.place(1.0)));
            let scale = Scale::from_zero(bad, 4, |_| String::new());
            assert!((0.0..=1.0).contains(&scale.place(1.0)));
        }
    }
}
