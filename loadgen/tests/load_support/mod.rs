//! Jobs against a node in this process, in front of a simulated HSM.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs
)]

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use kms_loadgen::load::job::{Job, Load, Reach};
use kms_loadgen::load::run::Conditions;
use kms_loadgen::load::session::{RunError, Session};
use kms_loadgen::results::{Doubt, Operation, RunResult};
use kms_loadgen::sim::site::Site;

/// Lag that a busy machine of tests may make: what is asserted here is not its speed.
pub const LAG_MS: f64 = 5000.0;

/// As the client `name` of `site`, at `address`.
pub fn reach_as(site: &Site, address: SocketAddr, name: &str) -> Reach {
    Reach {
        address: address.to_string(),
        server_name: Some("localhost".into()),
        ca: site.file("ca.crt"),
        cert: site.file(&format!("{name}.crt")),
        key: site.file(&format!("{name}.key")),
        ..Reach::default()
    }
}

/// As the device.
pub fn reach(site: &Site, address: SocketAddr) -> Reach {
    reach_as(site, address, "cmxDevice")
}

/// A second of 300 unwraps.
pub fn job(reach: Reach, change: impl FnOnce(&mut Job)) -> Job {
    let mut job = Job {
        reach,
        loads: vec![Load {
            rate: Some(300.0),
            schedule: "constant".into(),
            ..Load::default()
        }],
        connections: 8,
        duration_s: Some(1.0),
        keys: Some(200),
        lag_ms_max: LAG_MS,
        ..Job::default()
    };
    change(&mut job);
    job
}

/// A closed loop instead.
pub fn closed(job: &mut Job) {
    job.closed = true;
    job.loads[0].rate = None;
    job.loads[0].schedule = Load::default().schedule;
}

pub fn try_run(job: &Job) -> Result<RunResult, RunError> {
    let session = Session::open(job, None, &mut |_| {})?;
    let stop = AtomicBool::new(false);
    if job.fill_cache {
        session.fill_cache(job, &stop)?;
    }
    session.run(job, Conditions::plain(&stop))
}

/// Why it does not run.
pub fn refusal(job: &Job) -> String {
    match try_run(job) {
        Ok(result) => panic!("it ran: {:?}", result.totals),
        Err(error) => error.to_string(),
    }
}

pub fn run(job: &Job) -> RunResult {
    let result = try_run(job).expect("it runs");
    assert_eq!(result.totals.wrong(), 0, "{:?}", result.totals);
    result
}

/// Every planned request was sent and answered rightly.
pub fn all_right(what: &str, result: &RunResult) {
    let totals = &result.totals;
    assert_eq!(
        totals.right, totals.planned,
        "{what}: {totals:?} {:?}",
        result.about.notes
    );
    assert_eq!(totals.sent, totals.planned, "{what}: {totals:?}");
    assert!(
        totals.errors.is_empty() && totals.planned > 0,
        "{what}: {totals:?}"
    );
    // What other guests of the host take is none of ours.
    let is_ours = |doubt: &&Doubt| !matches!(doubt, Doubt::StealTime { .. });
    let doubt = result.validity.doubts.iter().find(is_ours);
    assert_eq!(doubt, None, "{what}");
}

/// Right answers of an operation.
pub fn answers(result: &RunResult, operation: &str) -> u64 {
    let operation = Operation::new(operation).unwrap();
    result
        .latencies
        .operations
        .get(&operation)
        .map_or(0, |latency| latency.service.count())
}
