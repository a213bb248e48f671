#![allow(clippy::unwrap_used)]
use super::*;

fn job(change: impl FnOnce(&mut Job)) -> Job {
    let mut job = Job {
        loads: vec![Load {
            rate: Some(1000.0),
            ..Load::default()
        }],
        ..Job::default()
    };
    change(&mut job);
    job
}

const STORM: StormPlan = StormPlan {
    devices: 10,
    keys_each: 4,
    window_s: 1.0,
    reads: 1,
    gap_ms: 1.0,
};

#[rustfmt::skip]
fn bad_jobs() -> Vec<(&'static str, Job, &'static str)> {
    let streams = |text: &str| vec![text.to_owned()];
    vec![
        ("none", job(|job| job.loads.clear()), "no load"),
        ("no rate", job(|job| job.loads[0].rate = None), "name a rate"),
        ("a rate of 0", job(|job| job.loads[0].rate = Some(0.0)), "a rate of 0"),
        ("two rates", job(|job| job.loads[0].schedule = "ramp:1:2".into()), "rates of their own"),
        ("closed with a rate", job(|job| job.closed = true), "no rate and no schedule"),
        ("pipelining with a schedule", job(|job| job.depth = 2), "does not pipeline"),
        ("no connections", job(|job| job.connections = 0), "0 connections"),
        ("fewer at most", job(|job| job.connections_max = Some(3)), "3 connections at most"),
        ("life", job(|job| job.connection_life = Some("5:2".into())), "`5:2` is no life"),
        ("life of 0", job(|job| job.connection_life = Some("0".into())), "`0` is no life"),
        ("duration", job(|job| job.duration_s = Some(f64::NAN)), "a duration of NaN"),
        ("share", job(|job| job.share = (2, 2)), "share 2 of 2"),
        ("stream", job(|job| job.loads[0].streams = streams("x")), "no stream of keys"),
        ("too few keys", job(|job| {
            job.keys = Some(5);
            job.loads[0].streams = streams("uniform,keys=6");
        }), "asks for 6 data keys"),
        ("storm with a rate", job(|job| job.loads[0].storm = Some(STORM)), "no rate of its own"),
        ("no trace", job(|job| job.loads[0].trace = Some("/none".into())), "/none: No such file"),
    ]
}

#[test]
fn jobs_are_checked() {
    for (name, job, want) in bad_jobs() {
        let error = job.check().err().unwrap_or_default();
        assert!(error.contains(want), "{name}: {error:?}");
    }
}

/// A schedule, a trace and a storm side by side, after a second of warm-up.
fn three_loads(trace: &std::path::Path) -> Job {
    let lines: Vec<String> = (0..100)
        .map(|n| {
            let (t_us, device) = (n * 1000, n % 7);
            format!(r#"{{"t_us":{t_us},"op":"decrypt","key":{n},"device":{device}}}"#)
        })
        .collect();
    std::fs::write(trace, lines.join("\n")).unwrap();
    job(|job| {
        job.loads[0].schedule = "constant".into();
        job.loads.push(Load {
            trace: Some(trace.to_owned()),
            ..Load::default()
        });
        job.loads.push(Load {
            storm: Some(STORM),
            first_key: 100,
            start_s: 0.5,
            ..Load::default()
        });
        job.duration_s = Some(2.0);
        job.warm_up_s = 1.0;
        job.keys = Some(200);
    })
}

/// Times and devices.
fn shots(job: &Job) -> Vec<(u64, u32)> {
    let checked = job.check().unwrap();
    assert_eq!(checked.keys_min, 140);
    let mut feed = checked.feed(job, 200).unwrap();
    std::iter::from_fn(|| feed.next_shot().map(|shot| (shot.at_ns, shot.device))).collect()
}

#[test]
fn shares_of_a_job_make_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = three_loads(&folder.path().join("trace"));
    let all = shots(&whole);
    // 3 s of 1000, warm-up included.
    assert_eq!(all.len(), 3000 + 100 + 40);
    let in_warm_up = |(at_ns, device): &(u64, u32)| *device > 0 && *at_ns < 1_000_000_000;
    assert!(!all.iter().any(in_warm_up));
    let part = |number| {
        let mut part = whole.clone();
        part.share = (number, 3);
        shots(&part)
    };
    let parts: Vec<_> = (0..3).map(part).collect();
    let mut seen = std::collections::HashMap::new();
    for (number, part) in parts.iter().enumerate() {
        for (_, device) in part.iter().filter(|(_, device)| *device > 0) {
            let first = *seen.entry(*device).or_insert(number);
            assert_eq!(first, number, "device {device} is at one generator only");
        }
    }
    assert_eq!(seen.len(), 17);
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), all.len());
}

#[test]
fn a_job_is_as_long_as_its_trace_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    std::fs::write(&trace, r#"{"t_us":3500000,"op":"decrypt","key":1}"#).unwrap();
    for (speed, duration_s, want) in [(1.0, None, 3.5), (7.0, None, 0.5), (1.0, Some(2.0), 2.0)] {
        let job = job(|job| {
            job.loads[0] = Load {
                trace: Some(trace.clone()),
                speed,
                ..Load::default()
            };
            job.duration_s = duration_s;
        });
        let got = job.check().unwrap().duration_s;
        assert!((got - want).abs() < 1e-9, "{got}");
    }
}

#[test]
fn files_hold_jobs_and_refuse_what_they_do_not_know() {
    let job = job(|job| job.slo = Some("p99<5ms".into()));
    let text = serde_json::to_string(&job).unwrap();
    assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    for text in [
        r#"{"conections":1}"#,
        r#"{"reach":{"adress":"x"}}"#,
        r#"{"load":[{"rat":1}]}"#,
    ] {
        assert!(serde_json::from_str::<Job>(text).is_err(), "{text}");
    }
}

#[test]
fn seeds_differ_by_purpose_and_share() {
    let of = |share| job(|job| job.share = share);
    let mut seeds: Vec<u64> = [(0, 3), (1, 3), (2, 3)]
        .into_iter()
        .flat_map(|share| (0..8).map(move |what| of(share).seed_of(what)))
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 24);
}
