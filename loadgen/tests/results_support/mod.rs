//! Results as real runs give them, made up by seed; ugly ones too.
//!
//! A little model of the service makes the latencies: hits are quick, misses wait for an HSM that stalls on
//! order and has a backlog to clear afterwards. So the plots show what those of a real run show.
#![allow(dead_code, unused_imports, clippy::expect_used)]

pub mod browser;
mod maker;
mod ugly;

use std::collections::BTreeMap;

use kms_loadgen::results::slo::Slo;
use kms_loadgen::results::{
    About, Cpu, ErrorKind, Event, Latencies, Latency, Loop, Machine, MixPart, Operation, Plan,
    RunResult, ServerFigures, ServerView, Split, Stage, Tls, Totals,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use maker::Maker;

pub use ugly::{HOSTILE, day, hostile, huge, knee, nothing, one_answer, only_errors};

/// 28 November 2026, 20:00:00.25 UTC.
pub const START_UNIX_US: u64 = 1_795_896_000_250_000;

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
        let slo = self.slo;
        let mut run = Maker::new(self, random, run).fill();
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

/// Totals, CPU and the server's figures from the series.
pub fn sum_up(run: &mut RunResult) {
    let mut split = Split {
        hits: 70_000,
        joined: 900,
        shared: 0,
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
        split.shared += second.shared.unwrap_or(0);
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
