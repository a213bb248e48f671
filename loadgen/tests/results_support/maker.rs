//! Fills a result second by second, request by request.

use kms_loadgen::results::{BatchBucket, ErrorKind, Latency, Loop, RunResult, Second};
use rand::Rng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, LogNormal};

use super::{Recipe, START_UNIX_US, operation, sum_up};

const MS: f64 = 1e6;

/// A run under way.
pub struct Maker {
    recipe: Recipe,
    random: SmallRng,
    run: RunResult,
    latencies: [[Latency; 3]; 2],
}

const OPERATIONS: [&str; 2] = ["decrypt", "encrypt"];

impl Maker {
    pub fn new(recipe: Recipe, random: SmallRng, run: RunResult) -> Self {
        let latencies = [(); 2].map(|()| [(); 3].map(|()| Latency::new()));
        Self {
            recipe,
            random,
            run,
            latencies,
        }
    }

    pub fn fill(mut self) -> RunResult {
        for second in 0..self.recipe.seconds {
            self.second(second);
        }
        self.finish()
    }

    fn second(&mut self, index: u64) {
        let mut second = Second {
            unix_s: START_UNIX_US / 1_000_000 + index,
            connections: 64,
            hits: Some(0),
            joined: Some(0),
            shared: Some(0),
            misses: Some(0),
            ..Second::default()
        };
        let spread = LogNormal::new(0.0, 0.02).unwrap();
        let count = (self.recipe.rate_per_s as f64 * spread.sample(&mut self.random)) as u64;
        let mut latency = Latency::new();
        for _ in 0..count {
            let at_s = index as f64 + self.random.random::<f64>();
            self.request(at_s, &mut second, &mut latency);
        }
        second.planned = count;
        second.sent = count;
        second.hsm_operations = second.misses;
        self.handshakes(&mut second);
        let cpu = |each: f64, extra: f64| (count as f64 * each + extra) as u64;
        second.client_cpu_us = Some(cpu(17.0, 900.0));
        second.server_cpu_us = Some(cpu(11.0, 217.0 * second.handshakes as f64));
        second.set_latency(&latency);
        self.run.series.push(second);
    }

    fn request(&mut self, at_s: f64, second: &mut Second, latency: &mut Latency) {
        let kind = usize::from(self.random.random_bool(0.05));
        let warmth = match self.recipe.warm_s {
            0 => 1.0,
            warm => (at_s / warm as f64).min(1.0),
        };
        let source: f64 = self.random.random();
        let is_hit = kind == 0 && source < self.recipe.hit_ratio * warmth.powf(0.35);
        let joins = kind == 0 && !is_hit && self.random.random_bool(0.25);
        let mut log_normal = |median: f64, sigma: f64| {
            median * LogNormal::new(0.0, sigma).unwrap().sample(&mut self.random)
        };
        let mut service = log_normal(0.16 * MS, 0.32) * self.recipe.slower;
        if !is_hit {
            service += log_normal(1.25 * MS, 0.38);
        }
        if !is_hit && let Some(wait_s) = self.stalled_for(at_s) {
            service += wait_s * 1e9;
        }
        if self.random.random_bool(0.0004) {
            service += 6.0 * MS * self.random.random::<f64>();
        }
        let lag = 2_000.0 + 20_000.0 * self.random.random::<f64>().powi(12);
        self.run.latencies.lag.record_ns(lag as u64);
        second.lag_max_ns = second.lag_max_ns.max(lag as u64);
        if service > 1.6e9 && self.random.random_bool(0.7) {
            *second.errors.entry(ErrorKind::GatewayTimeout).or_default() += 1;
            self.latencies[kind][2].record_ns(2_000_000_000);
            return;
        }
        if !is_hit
            && self.stalled_for(at_s).is_some_and(|wait| wait > 0.3)
            && self.random.random_bool(0.15)
        {
            *second.errors.entry(ErrorKind::Unavailable).or_default() += 1;
            self.latencies[kind][2].record_ns(400_000);
            return;
        }
        let source = match (kind, is_hit, joins) {
            (0, true, _) => &mut second.hits,
            (0, false, true) => &mut second.joined,
            _ => &mut second.misses,
        };
        *source = source.map(|count| count + 1);
        second.right += 1;
        self.latencies[kind][1].record_ns(service as u64);
        if self.recipe.mode == Loop::Open {
            self.latencies[kind][0].record_ns((service + lag) as u64);
        }
        latency.record_ns((service + lag) as u64);
    }

    /// How long a miss at that time waits for the HSM: until the stall ends, then for the backlog.
    fn stalled_for(&self, at_s: f64) -> Option<f64> {
        let (begin, length) = self.recipe.stall?;
        let end = begin + length;
        let drained = end + length * 0.6;
        if (begin..end).contains(&at_s) {
            Some(end - at_s + (at_s - begin) * 0.3)
        } else if (end..drained).contains(&at_s) {
            Some((drained - at_s) * 0.5 * (length / 2.0))
        } else {
            None
        }
    }

    fn handshakes(&mut self, second: &mut Second) {
        for _ in 0..self.recipe.handshakes_per_s {
            let resumed = self.random.random_bool(0.6);
            let (histogram, median) = if resumed {
                (&mut self.run.latencies.handshake_resumed, 0.7 * MS)
            } else {
                (&mut self.run.latencies.handshake_full, 1.4 * MS)
            };
            let time = median * LogNormal::new(0.0, 0.4).unwrap().sample(&mut self.random);
            histogram.record_ns(time as u64);
            let count = if resumed {
                &mut self.run.totals.handshakes_resumed
            } else {
                &mut self.run.totals.handshakes_full
            };
            *count += 1;
            second.handshakes += 1;
        }
    }

    fn finish(mut self) -> RunResult {
        for (name, [response, service, failed]) in OPERATIONS.iter().zip(self.latencies) {
            let latency = self
                .run
                .latencies
                .operations
                .entry(operation(name))
                .or_default();
            (latency.response, latency.service, latency.failed) = (response, service, failed);
        }
        sum_up(&mut self.run);
        let misses = self.run.server.unwraps().map_or(0, |split| split.misses);
        let after = self.run.server.after.as_mut().unwrap();
        after.batches = batches(misses, 1);
        self.run.machines[0].stolen_us = Some(self.recipe.seconds * 1_900);
        self.run
    }
}

/// Messages of so many items in all, most of them short.
fn batches(items: u64, scale: u64) -> Vec<BatchBucket> {
    let shares = [
        (1, 1, 0.52),
        (2, 2, 0.21),
        (3, 4, 0.14),
        (5, 8, 0.07),
        (9, 16, 0.04),
        (17, 32, 0.02),
    ];
    let bucket = |(items_min, items_max, share): (u32, u32, f64)| BatchBucket {
        items_min,
        items_max: Some(items_max),
        messages: (items as f64 * share / 2.6) as u64 * scale,
    };
    shares.map(bucket).to_vec()
}
