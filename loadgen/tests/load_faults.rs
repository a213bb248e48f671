//! What a load run says when things go wrong: the HSM stalls, nobody listens, certificates do not fit, ciphertexts
//! are another server's, the server dies, the generator itself is at fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod load_support;
mod sim_support;

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use kms_loadgen::load::clock::Jump;
use kms_loadgen::load::job::{Job, Load};
use kms_loadgen::load::run::{Conditions, exit_code};
use kms_loadgen::load::session::Session;
use kms_loadgen::results::{Completeness, Doubt, ErrorKind, RunResult};
use kms_loadgen::sim::{HsmPlan, Preset};
use load_support::{all_right, closed, job, reach, refusal, run};
use sim_support::service::Service;
use sim_support::{Bench, quick, sim};

/// How long the HSM says nothing, and from when on.
const STALL_MS: u64 = 300;
const STALL_AT: Duration = Duration::from_millis(600);

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
    fn job(&self, change: impl FnOnce(&mut Job)) -> Job {
        job(reach(&self.bench.site, self.service.target.address), change)
    }

    /// Runs `job` while the HSM stalls once.
    fn run_with_stall(&self, job: &Job) -> RunResult {
        let session = Session::open(job, None, &mut |_| {}).unwrap();
        let stop = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(STALL_AT);
                self.bench.order(&format!("stall {STALL_MS}"));
            });
            session.run(job, Conditions::plain(&stop)).unwrap()
        });
        assert_eq!(result.totals.failed(), 0, "{:?}", result.totals);
        result
    }
}

fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

/// The lesson of coordinated omission: one stall, two loops, two p99.
#[test]
fn a_stall_shows_in_the_open_loop_and_not_in_the_closed_one() {
    let stage = stage(&["kms.hsm.timeout.ms=5000", "kms.cache.entries.max=1000"]);
    let cold = |job: &mut Job| {
        job.duration_s = Some(2.0);
        job.connections = 4;
        job.keys = Some(20_000);
        job.loads[0].streams = vec!["scan-once".into()];
    };
    let open = stage.run_with_stall(&stage.job(|job| {
        cold(job);
        // No more at a time than the closed loop has; others wait, and are counted.
        job.loads[0].rate = Some(400.0);
    }));
    let shut = stage.run_with_stall(&stage.job(|job| {
        cold(job);
        closed(job);
    }));
    let p99_ms = |result: &RunResult| ms(result.headline().at_ns(0.99).unwrap());
    let max_ms = |result: &RunResult| ms(result.headline().max_ns().unwrap());
    // 300 of 2000 ms: a seventh of those who came waited.
    assert!(p99_ms(&open) > 200, "open: {}", p99_ms(&open));
    // Four requests of some thousands waited: the stall is there, and the percentile does not show it.
    assert!(max_ms(&shut) > 250, "closed: {}", max_ms(&shut));
    assert!(shut.totals.right > 800, "{:?}", shut.totals);
    assert!(p99_ms(&shut) < 100, "closed: {}", p99_ms(&shut));
    // What the server took of its own is the same in both.
    let service = open.latencies.all(|operation| &operation.service);
    assert!(service.at_ns(0.99).unwrap() < open.headline().at_ns(0.99).unwrap());
}

#[test]
fn a_rate_that_the_server_does_not_take_is_invalid() {
    let stage = stage(&["kms.cache.entries.max=1000"]);
    stage.bench.order("set message-ms 50");
    let result = run(&stage.job(|job| {
        job.connections = 2;
        job.keys = Some(2000);
        job.timeout_ms = 1500;
        job.loads[0].streams = vec!["scan-once".into()];
        job.duration_s = Some(2.0);
    }));
    // Two connections, 20 requests a second each.
    // The host may take the CPU as well, which is nobody's fault here.
    let mut own = result.validity.doubts.clone();
    own.retain(|doubt| !matches!(doubt, Doubt::StealTime { .. }));
    assert!(matches!(own[..], [Doubt::MissedRate { .. }]), "{own:?}");
    assert_eq!(exit_code(&result), 3);
    let errors = &result.totals.errors;
    assert!(errors.contains_key(&ErrorKind::NotSent), "{errors:?}");
    assert_eq!(
        result.totals.ended(),
        result.totals.planned,
        "each has an end"
    );
}

#[test]
fn more_connections_are_opened_when_none_is_free() {
    let stage = stage(&["kms.cache.entries.max=1000"]);
    stage.bench.order("set message-ms 50");
    let result = run(&stage.job(|job| {
        job.connections = 2;
        job.connections_max = Some(100);
        job.keys = Some(2000);
        job.loads[0].streams = vec!["scan-once".into()];
    }));
    all_right("more connections", &result);
    assert!(
        (10..=100).contains(&result.totals.handshakes_full),
        "{:?}",
        result.totals
    );
}

#[test]
fn a_clock_that_jumps_makes_a_run_invalid() {
    let stage = stage(&[]);
    let job = stage.job(|_| {});
    let session = Session::open(&job, None, &mut |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    for (by_ns, is_invalid) in [
        (-2_000_000_000, true),
        (30_000_000_000, true),
        (1_000_000, false),
    ] {
        let conditions = Conditions {
            jump: Some(Jump {
                at: Duration::from_millis(300),
                by_ns,
            }),
            ..Conditions::plain(&stop)
        };
        let result = session.run(&job, conditions).unwrap();
        let doubts = &result.validity.doubts;
        let jumps = doubts.iter().any(|doubt| matches!(doubt, Doubt::ClockJump { jump_us, .. } if (jump_us - by_ns / 1000).abs() < 100_000));
        assert_eq!(jumps, is_invalid, "{by_ns}: {doubts:?}");
        assert_eq!(exit_code(&result), if is_invalid { 3 } else { 0 });
        assert_eq!(result.totals.right, 300, "figures are kept");
    }
}

#[test]
fn a_server_that_dies_ends_the_run_and_what_was_measured_is_kept() {
    let mut stage = stage(&[]);
    let job = stage.job(|job| {
        job.duration_s = Some(60.0);
        job.give_up_s = 1;
        job.timeout_ms = 1000;
    });
    let session = Session::open(&job, None, &mut |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| session.run(&job, Conditions::plain(&stop)).unwrap());
        std::thread::sleep(Duration::from_millis(800));
        stage.service.stop();
        running.join().unwrap()
    });
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    let Completeness::Partial(why) = &result.about.completeness else {
        panic!("{:?}", result.about);
    };
    assert!(why.contains("given up") && why.contains("refused"), "{why}");
    let totals = &result.totals;
    assert!(
        totals.right > 100 && totals.errors[&ErrorKind::ConnectFailed] > 100,
        "{totals:?}"
    );
    assert_eq!(totals.ended(), totals.planned, "each has an end");
    assert_eq!(exit_code(&result), 1);
}

#[test]
fn a_server_that_comes_back_is_found() {
    let mut stage = stage(&[]);
    let address = stage.service.target.address;
    let job = stage.job(|job| {
        job.duration_s = Some(4.0);
        job.keys = Some(50);
    });
    let session = Session::open(&job, None, &mut |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| session.run(&job, Conditions::plain(&stop)).unwrap());
        std::thread::sleep(Duration::from_millis(800));
        stage.service.stop();
        let port = format!("kms.server.port={}", address.port());
        stage.service =
            Service::start_with(&stage.bench.site, &[stage.bench.sim.address], &[&port]);
        running.join().unwrap()
    });
    let totals = &result.totals;
    assert_eq!(
        (result.about.completeness, totals.ended()),
        (Completeness::Whole, totals.planned)
    );
    assert!(totals.right > 300, "{totals:?}");
    let late = result
        .series
        .iter()
        .rev()
        .find(|second| second.planned > 200)
        .unwrap();
    assert!(late.right > 200 && late.errors.is_empty(), "{late:?}");
}

/// A change to a good job, and what is said then.
type Row = (&'static str, Box<dyn Fn(&mut Job)>, &'static [&'static str]);

fn row(
    name: &'static str,
    change: impl Fn(&mut Job) + 'static,
    wants: &'static [&'static str],
) -> Row {
    (name, Box::new(change), wants)
}

/// What is wrong with the server or the certificates.
fn wrong_servers(other: &Bench) -> Vec<Row> {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let theirs = |name: &str| other.site.file(name);
    let ca = theirs("ca.crt");
    let (cert, key) = (theirs("cmxDevice.crt"), theirs("cmxDevice.key"));
    let no_pem = theirs("kms.properties");
    vec![
        row(
            "nobody",
            move |job| job.reach.address = free.to_string(),
            &["refused", "127.0.0.1"],
        ),
        row(
            "no host",
            |job| job.reach.address = "no.such.invalid:1".into(),
            &["no.such.invalid"],
        ),
        row(
            "foreign authority",
            move |job| job.reach.ca.clone_from(&ca),
            &["--ca"],
        ),
        row(
            "another name",
            |job| job.reach.server_name = Some("kms.example".into()),
            &["--server-name"],
        ),
        row(
            "foreign client",
            move |job| {
                job.reach.cert.clone_from(&cert);
                job.reach.key.clone_from(&key);
            },
            &["--cert"],
        ),
        row(
            "no PEM",
            move |job| job.reach.ca.clone_from(&no_pem),
            &["kms.properties", "PEM"],
        ),
        row(
            "no file",
            |job| job.reach.cert = "/nowhere.crt".into(),
            &["/nowhere.crt"],
        ),
        row(
            "no such key",
            |job| job.reach.transit_key = "nobody".into(),
            &["data keys cannot be wrapped"],
        ),
        row(
            "a key that is no path",
            |job| job.reach.transit_key = "a?b".into(),
            &["--transit-key `a?b`"],
        ),
        row("no TLS version", |job| job.tls = "1.1".into(), &["`1.1`"]),
    ]
}

#[test]
fn a_wrong_server_or_certificate_is_told() {
    let here = stage(&[]);
    let other = quick();
    for (name, change, wants) in wrong_servers(&other) {
        let error = refusal(&here.job(|job| change(job)));
        for want in wants {
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}

#[test]
fn a_file_of_ciphertexts_is_for_one_server() {
    let here = stage(&[]);
    // Equal seeds are one HSM.
    let plan = HsmPlan {
        seed: 2,
        ..HsmPlan::default()
    };
    let other = sim(Preset::Null.model(), |_| plan);
    let session = Session::open(&here.job(|_| {}), None, &mut |_| {}).unwrap();
    let (file, cut) = (
        here.bench.folder.path().join("keys"),
        here.bench.folder.path().join("cut"),
    );
    session.prepared.write(&file).unwrap();
    std::fs::write(&cut, &std::fs::read(&file).unwrap()[..5000]).unwrap();
    let with = |path: &std::path::Path, keys: u32| {
        let path = path.to_owned();
        move |job: &mut Job| {
            job.ciphertexts = Some(path.clone());
            job.keys = Some(keys);
        }
    };
    all_right("good file", &run(&here.job(with(&file, 200))));
    for (name, change, wants) in [
        row("cut", with(&cut, 200), &["no whole file", "prepare"]),
        row(
            "too few keys",
            with(&file, 201),
            &["the file holds 200", "prepare --keys 201"],
        ),
    ] {
        let error = refusal(&here.job(|job| change(job)));
        for want in wants {
            assert!(error.contains(want), "{name}: {error}");
        }
    }
    let foreign = Service::start(&other.site, &[other.sim.address]);
    let theirs = job(reach(&other.site, foreign.target.address), with(&file, 200));
    let error = refusal(&theirs);
    let mine = here.service.target.address.port().to_string();
    for want in ["not of key `demo`", mine.as_str(), "prepare"] {
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn an_slo_decides() {
    let stage = stage(&[]);
    for (slo, code) in [
        ("p99<30s,err<0.1%,rate>10/s", 0),
        ("p50<1us", 1),
        ("err<0.1%,rate>1k/s", 1),
    ] {
        let result = run(&stage.job(|job| job.slo = Some(slo.into())));
        assert_eq!(exit_code(&result), code, "{slo}: {:?}", result.slo);
    }
    let error = refusal(&stage.job(|job| job.slo = Some("p99".into())));
    assert!(error.contains("--slo"), "{error}");
    // A scan that begins anew is told.
    let result = run(&stage.job(|job| {
        job.loads[0] = Load {
            streams: vec!["scan-once".into()],
            ..job.loads[0].clone()
        };
    }));
    assert!(
        result
            .about
            .notes
            .iter()
            .any(|note| note.contains("went through all its keys 1 times")),
        "{:?}",
        result.about.notes
    );
}
