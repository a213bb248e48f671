//! Alternating rounds: every contender is run once a round, in turn, so that a disturbance of the
//! machine hits all. Ratios are taken within a round, and their median is what counts.

use std::fs::OpenOptions;
use std::time::Duration;

use kms_loadgen::report::micros_each;
use kms_loadgen::stream::Uniform;
use kms_loadgen::{Driver, Exchanges, Plan, Until, cpu};
use serde::Serialize;

use crate::peers::Contender;
use crate::progress::say;

/// How long and how often.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    /// Rounds.
    pub rounds: usize,
    /// Measured time of one run.
    pub duration: Duration,
    /// Unmeasured time before each.
    pub warm_up: Duration,
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Answers a second.
    pub requests_per_s: f64,
    /// Microseconds.
    pub p50_us: f64,
    /// Microseconds.
    pub p99_us: f64,
    /// CPU of the server, microseconds a request.
    pub server_cpu_us: f64,
    /// CPU of the client, microseconds a request.
    pub client_cpu_us: f64,
    /// Share of the run in which the client's thread was busy: near 1 it limits the rate.
    pub client_busy: f64,
    /// Every answer was right and no connection was lost.
    pub clean: bool,
}

/// All runs of one contender at one number of connections.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The contender.
    pub name: String,
    /// Keep-alive connections.
    pub connections: usize,
    /// One a round.
    pub samples: Vec<Sample>,
}

/// One figure of a [`Sample`].
pub type Figure = fn(&Sample) -> f64;

impl Series {
    /// The median over the rounds.
    pub fn median(&self, figure: Figure) -> f64 {
        median(self.samples.iter().map(figure).collect())
    }

    /// The median of this series' figure over the other's, round by round.
    pub fn ratio(&self, other: &Self, figure: Figure) -> f64 {
        let pairs = self.samples.iter().zip(&other.samples);
        median(
            pairs
                .map(|(own, others)| figure(own) / figure(others))
                .collect(),
        )
    }

    /// Whether it may be judged.
    pub fn is_clean(&self) -> bool {
        !self.samples.is_empty() && self.samples.iter().all(|sample| sample.clean)
    }
}

/// Runs `contenders` alternately at `connections`.
pub fn alternate(
    contenders: &[&Contender],
    connections: usize,
    settings: &Settings,
) -> Result<Vec<Series>, String> {
    let mut entered = Vec::new();
    for contender in contenders {
        let driver = Driver::connect(&contender.target, connections);
        let driver = driver.map_err(|error| format!("{}: {error}", contender.name))?;
        let series = Series {
            name: contender.name.clone(),
            connections,
            samples: Vec::new(),
        };
        entered.push((*contender, driver, series));
    }
    for round in 0..settings.rounds {
        say(&format!("{connections} connections, round {}", round + 1));
        let one = |(contender, driver, series): &mut (&Contender, Driver, Series)| {
            let sample = run(contender, driver, round as u64, settings);
            series
                .samples
                .push(sample.map_err(|error| format!("{}: {error}", contender.name))?);
            Ok::<(), String>(())
        };
        in_turn(round, &mut entered, one)?;
    }
    Ok(entered.into_iter().map(|(_, _, series)| series).collect())
}

/// Gives each of `entered` its turn in this round: there and back, so that nobody always follows the same neighbour.
pub fn in_turn<T>(
    round: usize,
    entered: &mut [T],
    turn: impl FnMut(&mut T) -> Result<(), String>,
) -> Result<(), String> {
    if round.is_multiple_of(2) {
        entered.iter_mut().try_for_each(turn)
    } else {
        entered.iter_mut().rev().try_for_each(turn)
    }
}

fn run(
    contender: &Contender,
    driver: &mut Driver,
    round: u64,
    settings: &Settings,
) -> Result<Sample, Box<dyn std::error::Error>> {
    let exchanges = &contender.exchanges;
    let mut order = Uniform::new(round, exchanges.len()).ok_or("no requests prepared")?;
    let mut plan = Plan {
        depth: 1,
        until: Until::Elapsed(settings.warm_up),
    };
    driver.run(exchanges, &mut order, plan)?;
    plan.until = Until::Elapsed(settings.duration);
    let servers = [contender.server.pid()];
    let sample = sample(driver, exchanges, &mut order, plan, &servers)?;
    if let Some(log) = &contender.request_log {
        // Servers append to it: they go on at its new end.
        OpenOptions::new().write(true).open(log)?.set_len(0)?;
    }
    Ok(sample)
}

/// One run; its server CPU is that of all `servers` together, by process id.
pub fn sample(
    driver: &mut Driver,
    exchanges: &Exchanges,
    order: &mut dyn Iterator<Item = usize>,
    plan: Plan,
    servers: &[u32],
) -> Result<Sample, Box<dyn std::error::Error>> {
    let used = || {
        let each = servers.iter().map(|pid| cpu::process_tree(*pid));
        each.sum::<std::io::Result<Duration>>()
    };
    let before = used()?;
    let outcome = driver.run(exchanges, order, plan)?;
    let server_cpu = used()?.saturating_sub(before);
    Ok(Sample {
        requests_per_s: outcome.rate(),
        p50_us: outcome.quantile_us(0.5),
        p99_us: outcome.quantile_us(0.99),
        server_cpu_us: micros_each(server_cpu, outcome.answers()),
        client_cpu_us: micros_each(outcome.client_cpu, outcome.answers()),
        client_busy: outcome.client_cpu.as_secs_f64() / outcome.elapsed.as_secs_f64(),
        clean: outcome.is_clean(),
    })
}

/// The middle of `values`, the mean of the two middle ones of an even number; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if values.len().is_multiple_of(2) => f64::midpoint(*high, *low),
        (Some(only), _) => *only,
        (None, _) => f64::NAN,
    }
}

/// The value that so large a part of `values` does not exceed; NaN of none.
pub fn quantile_of(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    // At most the number of values.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    values
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(cpu: &[f64]) -> Series {
        let sample = |&server_cpu_us| Sample {
            requests_per_s: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            server_cpu_us,
            client_cpu_us: 1.0,
            client_busy: 0.5,
            clean: server_cpu_us < 100.0,
        };
        Series {
            name: "x".into(),
            connections: 1,
            samples: cpu.iter().map(sample).collect(),
        }
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn medians_and_ratios() {
        for (name, values, want) in [
            ("one", &[3.0][..], 3.0),
            ("odd", &[9.0, 1.0, 2.0], 2.0),
            ("even", &[4.0, 1.0, 2.0, 9.0], 3.0),
        ] {
            assert_eq!(median(values.to_vec()), want, "{name}");
        }
        assert!(median(vec![]).is_nan());
        // A slow round slows both: the ratio stays.
        let (ours, peer) = (series(&[8.0, 16.0, 8.0]), series(&[16.0, 32.0, 10.0]));
        assert_eq!(ours.ratio(&peer, |sample| sample.server_cpu_us), 0.5);
        assert_eq!(ours.median(|sample| sample.server_cpu_us), 8.0);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (name, values, quantile, want) in [
            ("p99 of a hundred", &hundred[..], 0.99, 99.0),
            ("p50 of a hundred", &hundred, 0.5, 50.0),
            ("all", &hundred, 1.0, 100.0),
            ("one", &[7.0], 0.99, 7.0),
        ] {
            let got = quantile_of(values.to_vec(), quantile);
            assert!((got - want).abs() < 1e-9, "{name}: {got}");
        }
        assert!(quantile_of(Vec::new(), 0.5).is_nan());
    }

    #[test]
    fn turns_go_there_and_back() {
        let mut order = String::new();
        for round in 0..3 {
            let noted = in_turn(round, &mut ['a', 'b', 'c'], |one| {
                order.push(*one);
                if *one == 'b' && round == 2 {
                    Err("b".into())
                } else {
                    Ok(())
                }
            });
            assert_eq!(noted.is_err(), round == 2);
        }
        assert_eq!(order, "abccbaab");
    }

    #[test]
    fn one_wrong_answer_spoils_a_series() {
        assert!(series(&[1.0, 2.0]).is_clean());
        assert!(!series(&[1.0, 200.0]).is_clean());
        assert!(!series(&[]).is_clean());
    }
}
