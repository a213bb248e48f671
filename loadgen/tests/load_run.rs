//! Runs of the load engine against a whole node in this process: what is planned is asked, over the connections
//! that were to be made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod load_support;
mod sim_support;

use std::fs;

use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::load::trace::StormPlan;
use kms_loadgen::results::{Loop, RunResult};
use load_support::{all_right, answers, closed, job, reach, reach_as, run};
use sim_support::service::Service;
use sim_support::{Bench, quick};

struct Stage {
    service: Service,
    bench: Bench,
}

fn stage(more: &[&str]) -> Stage {
    let bench = quick();
    let service = Service::start_with(&bench.site, &[bench.sim.address], more);
    Stage { service, bench }
}

impl Stage {
    fn run(&self, change: impl FnOnce(&mut Job)) -> RunResult {
        let reach = reach(&self.bench.site, self.service.target.address);
        run(&job(reach, change))
    }
}

#[test]
fn each_schedule_sends_what_it_plans() {
    let stage = stage(&[]);
    for (schedule, rate, planned) in [
        ("constant", Some(300.0), 300..=300),
        ("poisson", Some(300.0), 220..=380),
        ("burst:50", Some(300.0), 300..=300),
        ("ramp:100:500:even", None, 300..=300),
        ("step:200:400:200:0.5:even", None, 300..=300),
    ] {
        let result = stage.run(|job| {
            job.loads[0].rate = rate;
            job.loads[0].schedule = schedule.into();
        });
        all_right(schedule, &result);
        assert!(
            planned.contains(&result.totals.planned),
            "{schedule}: {:?}",
            result.totals
        );
        let latencies = &result.latencies;
        assert_eq!(latencies.lag.count(), result.totals.planned, "{schedule}");
        let response = latencies.all(|operation| &operation.response);
        let service = latencies.all(|operation| &operation.service);
        assert_eq!(
            (response.count(), service.count()),
            (result.totals.right, result.totals.right)
        );
        // No request is sent before it is due, so each took at least as long as the server's part of it.
        for quantile in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0] {
            let [of_response, of_service] = [&response, &service].map(|all| all.at_ns(quantile));
            assert!(
                of_response >= of_service,
                "{schedule}, {quantile}: {of_response:?} {of_service:?}"
            );
        }
        // Seconds of wall clock tell the same as the whole.
        let of = |part: fn(&kms_loadgen::results::Second) -> u64| {
            result.series.iter().map(part).sum::<u64>()
        };
        assert_eq!(
            (of(|s| s.planned), of(|s| s.sent), of(|s| s.right)),
            (
                planned_of(&result),
                planned_of(&result),
                planned_of(&result)
            )
        );
        assert!(result.series.is_sorted_by_key(|second| second.unix_s) && result.series.len() <= 4);
    }
}

fn planned_of(result: &RunResult) -> u64 {
    result.totals.planned
}

#[test]
fn a_warm_up_is_load_without_figures() {
    let stage = stage(&[]);
    let result = stage.run(|job| job.warm_up_s = 0.5);
    all_right("warm-up", &result);
    assert_eq!(result.totals.planned, 300);
    let served = stage.service.target.clone();
    drop(served);
    assert!(result.about.duration_us >= 1_000_000);
}

#[test]
fn all_operations_are_asked_and_what_comes_back_is_unwrapped() {
    let stage = stage(&[]);
    let site = &stage.bench.site;
    let backend = reach_as(site, stage.service.target.address, "cmxBackend");
    let result = run(&job(backend, |job| {
        job.loads[0].mix =
            "decrypt=40,encrypt=20,rewrap=10,datakey=10,decrypt/7=10,encrypt/3=5,rewrap/2=5".into();
    }));
    all_right("all", &result);
    let kinds = [
        "decrypt",
        "encrypt",
        "rewrap",
        "datakey",
        "decrypt-batch7",
        "encrypt-batch3",
        "rewrap-batch2",
    ];
    for kind in kinds {
        assert!(answers(&result, kind) > 0, "{kind}");
    }
    let notes = result.about.notes.join("\n");
    assert!(
        notes.contains("ciphertexts that came back were unwrapped: all right"),
        "{notes}"
    );
    // A device may not rewrap: refused, and no wrong answer.
    let refused = stage.run(|job| job.loads[0].mix = "rewrap".into());
    assert_eq!((refused.totals.right, refused.totals.failed()), (0, 300));
    assert!(
        refused.about.notes.join("\n").contains("permission denied"),
        "{:?}",
        refused.about.notes
    );
}

#[test]
fn a_closed_loop_says_so() {
    let stage = stage(&[]);
    let result = stage.run(|job| {
        closed(job);
        job.depth = 4;
    });
    all_right("closed", &result);
    assert_eq!(result.plan.mode, Loop::Closed);
    assert_eq!(result.plan.schedule, "as fast as answers come");
    assert!(
        result.totals.right > 300 && result.latencies.lag.is_empty(),
        "{:?}",
        result.totals
    );
    assert_eq!(answers(&result, "decrypt"), result.totals.right);
    assert!(
        result
            .latencies
            .all(|operation| &operation.response)
            .is_empty(),
        "nothing was intended"
    );
}

#[test]
fn connections_live_as_long_as_they_are_told_to() {
    let stage = stage(&[]);
    for (life, resume, handshakes) in [
        (None, false, 8..=8),
        (Some("1"), false, 300..=300),
        (Some("1"), true, 300..=300),
        (Some("5:15"), false, 20..=68),
    ] {
        let what = format!("{life:?} {resume}");
        let result = stage.run(|job| {
            job.connection_life = life.map(str::to_owned);
            job.resume = resume;
        });
        all_right(&what, &result);
        let (full, resumed) = (
            result.totals.handshakes_full,
            result.totals.handshakes_resumed,
        );
        assert!(
            handshakes.contains(&(full + resumed)),
            "{what}: {full} {resumed}"
        );
        let latencies = &result.latencies;
        assert_eq!(
            (
                latencies.handshake_full.count(),
                latencies.handshake_resumed.count()
            ),
            (full, resumed)
        );
        // The first ones have no session yet; every other finds one.
        assert_eq!(resumed > 200, resume, "{what}: {full} {resumed}");
    }
}

#[test]
fn each_device_of_a_storm_has_its_own_connection_and_keys() {
    let stage = stage(&[]);
    let result = stage.run(|job| {
        job.loads[0] = Load {
            storm: Some(StormPlan {
                devices: 40,
                keys_each: 5,
                window_s: 0.5,
                reads: 1,
                gap_ms: 4.0,
            }),
            ..Load::default()
        };
    });
    all_right("storm", &result);
    assert_eq!(
        (result.totals.planned, result.totals.handshakes_full),
        (200, 40)
    );
}

#[test]
fn a_trace_is_replayed() {
    let stage = stage(&[]);
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.jsonl");
    let line = |n: u64| {
        let (t_us, key, device) = (n * 2000, n % 30, n % 3);
        format!(r#"{{"t_us":{t_us},"op":"decrypt","key":"k{key}","device":"d{device}"}}"#)
    };
    let lines: Vec<String> = (0..200).map(line).collect();
    fs::write(&trace, lines.join("\n")).unwrap();
    for (speed, duration_us) in [(1.0, 398_000), (2.0, 199_000)] {
        let result = stage.run(|job| {
            job.loads[0] = Load {
                trace: Some(trace.clone()),
                speed,
                ..Load::default()
            };
            job.duration_s = None;
        });
        all_right("trace", &result);
        assert_eq!(
            (result.totals.planned, result.totals.handshakes_full),
            (200, 3)
        );
        assert_eq!(result.plan.duration_us, duration_us, "{speed}");
    }
}

#[test]
fn the_servers_own_figures_are_read() {
    let stage = stage(&["kms.cache.entries.max=1000"]);
    let metrics = format!("http://{}/metrics", stage.service.health());
    let measured = |fill_cache| {
        stage.run(|job| {
            job.fill_cache = fill_cache;
            job.metrics = Some(metrics.clone());
            job.server_pid = Some(std::process::id());
            job.seed = 2 + u64::from(fill_cache);
            job.loads[0].streams = vec!["scan-once".into()];
            job.loads[0].rate = Some(190.0);
        })
    };
    let cold = measured(false);
    all_right("cold", &cold);
    let unwraps = cold.server.unwraps().unwrap();
    // Some were tried before the run.
    assert!(
        unwraps.total() == 190 && unwraps.misses >= 180,
        "{unwraps:?}"
    );
    let warm = measured(true);
    let unwraps = warm.server.unwraps().unwrap();
    assert_eq!((unwraps.hits, unwraps.misses), (190, 0));
    assert_eq!(
        warm.series
            .iter()
            .filter_map(|second| second.hits)
            .sum::<u64>(),
        190
    );
    assert!(warm.cpu.client_us > 0 && warm.cpu.server_us.is_some_and(|us| us > 0));
    assert_eq!(
        warm.server.version.as_deref().map(str::is_empty),
        Some(false)
    );
}

#[test]
fn many_certificates_and_many_addresses() {
    let stage = stage(&[
        "kms.server.proxy-protocol=v2",
        "kms.server.proxy-protocol.from=127.0.0.0/8",
    ]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["cmxDevice", "cmxBackend"] {
        for end in ["crt", "key"] {
            let file = format!("{name}.{end}");
            fs::copy(stage.bench.site.file(&file), folder.path().join(&file)).unwrap();
        }
    }
    let result = stage.run(|job| {
        job.reach.identities = Some(folder.path().to_owned());
        job.reach.proxy_v2_from = Some("10.7.0.0/16".into());
        job.metrics = Some(format!("http://{}/metrics", stage.service.health()));
    });
    all_right("many", &result);
    assert_eq!(result.plan.identities, 2);
    let clients = result.server.after.as_ref().unwrap().samples["kms_clients"];
    // Each of the 8 connections is a client of its own to the server.
    assert!(clients >= 8.0, "{clients}");
}
