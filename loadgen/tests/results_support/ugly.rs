//! Results that no demo shows: empty, absurd, endless, hostile.

use kms_loadgen::results::slo::Slo;
use kms_loadgen::results::{
    Completeness, Doubt, ErrorKind, Event, Knee, Latency, Loop, Probe, RunResult, Second,
};

use super::{Recipe, START_UNIX_US, operation, steady, sum_up};

/// A text that would run where it is not escaped.
pub const HOSTILE: &str =
    "</title></style><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";

fn empty(name: &'static str) -> RunResult {
    Recipe {
        name,
        seconds: 0,
        ..Recipe::default()
    }
    .make()
}

/// Ended before anything came back.
pub fn nothing() -> RunResult {
    let mut run = empty("nothing");
    run.about.duration_us = 0;
    run.about.completeness = Completeness::Partial("the server never answered".to_owned());
    run.validity.doubts = vec![Doubt::NoAnswers];
    run
}

pub fn one_answer() -> RunResult {
    let mut run = empty("one answer");
    run.about.duration_us = 412_000;
    let mut latency = Latency::new();
    latency.record_ns(731_000);
    let mut second = Second {
        unix_s: START_UNIX_US / 1_000_000,
        planned: 1,
        sent: 1,
        right: 1,
        ..Second::default()
    };
    second.set_latency(&latency);
    run.series = vec![second];
    let place = run
        .latencies
        .operations
        .entry(operation("decrypt"))
        .or_default();
    place.response = latency.clone();
    place.service = latency;
    sum_up(&mut run);
    judge(&mut run);
    run
}

pub fn only_errors() -> RunResult {
    let mut run = empty("all refused");
    run.about.duration_us = 20_000_000;
    let failed = &mut run
        .latencies
        .operations
        .entry(operation("decrypt"))
        .or_default()
        .failed;
    for index in 0..20_u64 {
        let mut second = Second {
            unix_s: START_UNIX_US / 1_000_000 + index,
            planned: 500,
            sent: 480,
            ..Second::default()
        };
        for (at, kind) in ErrorKind::ALL.into_iter().enumerate() {
            let count = 10 + (index * 7 + at as u64 * 13) % 60;
            second.errors.insert(kind, count);
            for _ in 0..count {
                failed.record_ns(300_000 * (1 + at as u64));
            }
        }
        run.series.push(second);
    }
    sum_up(&mut run);
    judge(&mut run);
    run
}

fn judge(run: &mut RunResult) {
    let slo: Slo = "p50<1ms,p99<5ms,p99.9<=20ms,err<0.1%,rate>=3900/s"
        .parse()
        .unwrap();
    run.slo = Some(slo.judge(&*run));
}

/// A day with some load every dozen seconds, none for a while, and one bad second.
pub fn day() -> RunResult {
    let mut run = Recipe {
        name: "a day",
        seconds: 4,
        rate_per_s: 300,
        ..Recipe::default()
    }
    .make();
    let models = std::mem::take(&mut run.series);
    let first_s = START_UNIX_US / 1_000_000;
    for index in 0..86_400_u64 {
        let mut second = models[(index % 4) as usize].clone();
        second.unix_s = first_s + index;
        if (index % 12 != 0 && index != 50_000) || (30_000..31_000).contains(&index) {
            second = Second {
                unix_s: first_s + index,
                ..Second::default()
            };
        }
        if index == 50_000 {
            let mut slow = Latency::new();
            slow.record_ns(9_000_000_000);
            second.set_latency(&slow);
            second.errors.insert(ErrorKind::Timeout, 40);
        }
        run.series.push(second);
    }
    run.about.duration_us = 86_400_000_000;
    run.plan.duration_us = 86_400_000_000;
    sum_up(&mut run);
    run
}

/// Everything takes longer than can be kept.
pub fn huge() -> RunResult {
    let mut run = steady();
    for latency in run.latencies.operations.values_mut() {
        for _ in 0..20_000 {
            latency.response.record_ns(u64::MAX);
            latency.service.record_ns(59_000_000_000);
        }
    }
    run.validity.doubts = vec![
        Doubt::SendLag {
            p99_us: 61_000_000.0,
            limit_us: 1_000.0,
        },
        Doubt::MissedRate {
            sent_per_s: 812.0,
            planned_per_s: 4000.0,
            limit_ratio: 0.99,
        },
        Doubt::ClockJump {
            jump_us: -3_600_000_000,
            limit_us: 100_000,
        },
        Doubt::StealTime {
            ratio: 0.31,
            limit_ratio: 0.05,
        },
        Doubt::GeneratorBusy {
            ratio: 1.0,
            limit_ratio: 0.9,
        },
    ];
    run.totals.planned *= 5;
    run
}

/// Every text that a peer or a file gives is an attack.
pub fn hostile() -> RunResult {
    let mut run = Recipe {
        seconds: 12,
        ..Recipe::default()
    }
    .make();
    let text = || HOSTILE.to_owned();
    run.about.name = Some(text());
    run.about.tool_version = text();
    run.about.command_line.push(text());
    run.about.notes = vec![text()];
    run.about.completeness = Completeness::Partial(text());
    run.plan.schedule = text();
    run.plan.key_stream = text();
    run.plan.reuse = text();
    run.plan.scenario = Some(text());
    run.server.target = text();
    run.server.name = Some(text());
    run.server.version = Some(text());
    if let Some(tls) = &mut run.server.tls {
        (tls.version, tls.cipher_suite, tls.key_exchange) = (text(), text(), text());
        tls.certificate = Some(text());
    }
    let machine = &mut run.machines[0];
    (machine.name, machine.kernel, machine.cpu) = (text(), text(), text());
    machine.governor = Some(text());
    machine.memlock = Some(text());
    run.events = vec![Event {
        at_unix_us: START_UNIX_US + 3_000_000,
        until_unix_us: None,
        label: text(),
    }];
    run.validity.doubts = vec![Doubt::Other { text: text() }];
    if let Some(slo) = &mut run.slo {
        slo.expression = text();
        slo.terms[0].term = text();
    }
    run.knee = Some(Knee {
        slo: text(),
        met_per_s: None,
        missed_per_s: None,
        probes: Vec::new(),
    });
    run
}

/// A search for the knee that ended between two rates.
pub fn knee() -> RunResult {
    use kms_loadgen::results::slo::Outcome;
    let mut run = Recipe {
        name: "knee",
        seconds: 20,
        ..Recipe::default()
    }
    .make();
    let probe = |rate: f64| {
        let load = rate / 9_600.0;
        let p99_ms = 2.2 / (1.0 - load.min(0.995)).powf(0.45);
        Probe {
            rate_per_s: rate,
            achieved_per_s: rate.min(9_580.0),
            duration_us: 20_000_000,
            samples: (rate * 20.0) as u64,
            p50_ns: Some((p99_ms * 0.2e6) as u64),
            p99_ns: Some((p99_ms * 1e6) as u64),
            p999_ns: Some((p99_ms * 2.6e6) as u64),
            error_ratio: Some(if load > 1.0 { 0.02 } else { 0.0 }),
            is_valid: rate < 11_000.0,
            outcome: match p99_ms {
                ..4.8 => Outcome::Met,
                4.8..5.3 => Outcome::Unsure,
                _ => Outcome::Missed,
            },
        }
    };
    let rates = [
        1000.0, 2000.0, 4000.0, 8000.0, 12000.0, 9800.0, 8900.0, 8300.0, 8000.0, 7800.0,
    ];
    run.knee = Some(Knee {
        slo: "p99<5ms,err<0.1%".to_owned(),
        met_per_s: Some(7_800.0),
        missed_per_s: Some(8_300.0),
        probes: rates.map(probe).to_vec(),
    });
    run.plan.mode = Loop::Open;
    run
}
