//! Results as real runs give them, made up by seed; ugly ones too.
//!
//! A little model of the service makes the latencies: hits are quick, misses wait for an HSM that stalls on
//! order and has a backlog to clear afterwards. So the plots show what those of a real run show.
#![allow(dead_code, unused_imports)]

mod ugly;

use std::collections::BTreeMap;

use kms_loadgen::results::slo::Slo;
use kms_loadgen::results::{
    About, BatchBucket, Cpu, ErrorKind, Event, Latencies, Latency, Loop, Machine, MixPart,
    Operation, Plan, RunResult, Second, ServerFigures, ServerView, Split, Stage, Tls, Totals,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal};

pub use ugly::{day, hostile, huge, knee, nothing, one_answer, only_errors};

/// 28 November 2026, 20:00:00.25 UTC.
pub const START_UNIX_US: u64 = 1_795_896_000_250_000;
const MS: f64 = 1e6;

/// What to make up.
#[derive(Clone)]
pub struct Recipe {
    pub name: &'static str,
    pub seed: u64,
    pub seconds: u64,
    pub rate_per_s: u64,
    /// Share of hits once warm.
    pub hit_ratio: f64,
    /// Seconds until the cache is warm; 0: it is at the start.
    pub warm_s: u64,
    /// Begin and length of a stall of the HSM.
    pub stall: Option<(f64, f64)>,
    /// The server's own time is this many times what it was.
    pub slower: f64,
    pub mode: Loop,
    pub slo: &'static str,
    /// New connections a second.
    pub handshakes_per_s: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "steady",
            seed: 7,
            seconds: 60,
            rate_per_s: 4000,
            hit_ratio: 0.97,
            warm_s: 0,
            stall: None,
            slower: 1.0,
            mode: Loop::Open,
            slo: "p50<1ms,p99<5ms,p99.9<=20ms,err<0.1%,rate>=3900/s",
            handshakes_per_s: 3,
        }
    }
}

pub fn steady() -> RunResult {
    Recipe::default().make()
}

pub fn stall() -> RunResult {
    Recipe {
        name: "HSM stall",
        stall: Some((24.0, 2.0)),
        ..Recipe::default()
    }
    .make()
}

pub fn restore_storm() -> RunResult {
    Recipe {
        name: "restore storm",
        seed: 11,
        seconds: 90,
        rate_per_s: 5200,
        hit_ratio: 0.93,
        warm_s: 25,
        stall: Some((48.0, 1.2)),
        slo: "p99<10ms,err<0.1%,max<3s",
        handshakes_per_s: 140,
        ..Recipe::default()
    }
    .make()
}

pub fn operation(name: &str) -> Operation {
    Operation::new(name).unwrap()
}

struct Maker {
    recipe: Recipe,
    random: SmallRng,
    run: RunResult,
    latencies: [[Latency; 3]; 2],
}

const OPERATIONS: [&str; 2] = ["decrypt", "encrypt"];

impl Recipe {
    pub fn make(self) -> RunResult {
        let random = SmallRng::seed_from_u64(self.seed);
        let run = RunResult {
            about: self.about(),
            machines: vec![machine()],
            plan: self.plan(),
            server: server_view(),
            events: self.events(),
            ..RunResult::default()
        };
        let latencies = [(); 2].map(|()| [(); 3].map(|()| Latency::new()));
        let slo = self.slo;
        let mut maker = Maker {
            recipe: self,
            random,
            run,
            latencies,
        };
        for second in 0..maker.recipe.seconds {
            maker.second(second);
        }
        let mut run = maker.finish();
        run.slo = (!slo.is_empty()).then(|| slo.parse::<Slo>().unwrap().judge(&run));
        run
    }

    fn about(&self) -> About {
        About {
            name: Some(self.name.to_owned()),
            tool_version: "0.1.0".to_owned(),
            command_line: [
                "kms-loadgen",
                "run",
                "--scenario",
                "steady.toml",
                "--token",
                "[redacted]",
            ]
            .map(str::to_owned)
            .to_vec(),
            seed: self.seed,
            start_unix_us: START_UNIX_US,
            duration_us: self.seconds * 1_000_000 + 3_200,
            ..About::default()
        }
    }

    fn plan(&self) -> Plan {
        let is_open = self.mode == Loop::Open;
        let schedule = if is_open {
            format!("poisson {}/s", self.rate_per_s)
        } else {
            "closed".to_owned()
        };
        let part = |name, weight| MixPart {
            operation: operation(name),
            weight,
            batch: 1,
        };
        Plan {
            mode: self.mode,
            schedule,
            stages: if is_open {
                vec![Stage {
                    at_us: 0,
                    rate_per_s: self.rate_per_s as f64,
                    ramps_to_per_s: None,
                }]
            } else {
                Vec::new()
            },
            mix: vec![part("decrypt", 95.0), part("encrypt", 5.0)],
            key_stream: "zipf 0.99".to_owned(),
            working_set: 100_000,
            connections: 64,
            depth: 1,
            identities: 8,
            reuse: "life 500..2000 requests".to_owned(),
            resumption: true,
            duration_us: self.seconds * 1_000_000,
            warm_up_us: 5_000_000,
            timeout_us: 5_000_000,
            scenario: Some(format!("{}.toml", self.name.replace(' ', "-"))),
            processes: 1,
        }
    }

    fn events(&self) -> Vec<Event> {
        let at = |s: f64| START_UNIX_US + (s * 1e6) as u64;
        let stall = self.stall.map(|(begin, length)| Event {
            at_unix_us: at(begin),
            until_unix_us: Some(at(begin + length)),
            label: "HSM stalls".to_owned(),
        });
        stall.into_iter().collect()
    }
}

impl Maker {
    fn second(&mut self, index: u64) {
        let mut second = Second {
            unix_s: START_UNIX_US / 1_000_000 + index,
            connections: 64,
            hits: Some(0),
            joined: Some(0),
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

/// Totals, CPU and the server's figures from the series.
pub fn sum_up(run: &mut RunResult) {
    let mut split = Split {
        hits: 70_000,
        joined: 900,
        misses: 11_000,
    };
    let before = split;
    let mut cpu = Cpu {
        client_us: 0,
        server_us: Some(0),
    };
    let (full, resumed) = (run.totals.handshakes_full, run.totals.handshakes_resumed);
    run.totals = Totals {
        handshakes_full: full,
        handshakes_resumed: resumed,
        ..Totals::default()
    };
    for second in &run.series {
        let mut totals = Totals {
            errors: second.errors.clone(),
            ..Totals::default()
        };
        (totals.planned, totals.sent, totals.right) = (second.planned, second.sent, second.right);
        totals.statuses = BTreeMap::from([(200, second.right)]);
        for (kind, status) in [
            (ErrorKind::Unavailable, 503),
            (ErrorKind::GatewayTimeout, 504),
        ] {
            if let Some(count) = second.errors.get(&kind) {
                totals.statuses.insert(status, *count);
            }
        }
        run.totals.add(&totals);
        split.hits += second.hits.unwrap_or(0);
        split.joined += second.joined.unwrap_or(0);
        split.misses += second.misses.unwrap_or(0);
        cpu.client_us += second.client_cpu_us.unwrap_or(0);
        cpu.server_us = cpu
            .server_us
            .map(|sum| sum + second.server_cpu_us.unwrap_or(0));
    }
    run.totals.bytes_sent = run.totals.sent * 412;
    run.totals.bytes_received = run.totals.right * 388;
    run.cpu = cpu;
    let figures = |split: Split| ServerFigures {
        unwraps: Some(split),
        hsm_operations: Some(split.misses),
        batches: Vec::new(),
        samples: BTreeMap::from([("kms_connections".to_owned(), 64.0)]),
    };
    run.server.before = Some(figures(before));
    run.server.after = Some(figures(split));
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

pub fn machine() -> Machine {
    Machine {
        name: "load-1".to_owned(),
        kernel: "6.1.0-31-amd64".to_owned(),
        cpu: "AMD EPYC 9354 32-Core Processor".to_owned(),
        cores: 2,
        cores_online: 2,
        memory_bytes: Some(25_177_088_000),
        governor: None,
        clocksource: Some("tsc".to_owned()),
        load_before: Some(0.41),
        stolen_us: Some(0),
        cgroup_cores: Some(2.0),
        cgroup_memory_bytes: None,
        memlock: Some("8388608 bytes".to_owned()),
        nofile: Some("20000 files".to_owned()),
    }
}

fn server_view() -> ServerView {
    ServerView {
        target: "127.0.0.1:8443".to_owned(),
        name: Some("connected-kms".to_owned()),
        version: Some("0.1.0".to_owned()),
        tls: Some(Tls {
            version: "TLS 1.3".to_owned(),
            cipher_suite: "TLS13_AES_128_GCM_SHA256".to_owned(),
            key_exchange: "X25519MLKEM768".to_owned(),
            certificate: Some("ECDSA P-256".to_owned()),
        }),
        before: None,
        after: None,
    }
}

/// All histograms of a run in one place, to be compared.
pub fn histograms(run: &RunResult) -> Vec<(String, Latency)> {
    let latencies: &Latencies = &run.latencies;
    latencies
        .named()
        .map(|(name, latency)| (name, latency.clone()))
        .collect()
}
