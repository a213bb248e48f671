//! What an idle node finds out by itself of an HSM that hangs, refuses or lies, and that it is well again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod sim_support;

use std::time::{Duration, Instant};

use kms::admin::{Status, status};
use kms::hsm::ServerState;
use kms::node::{Credentials, TrialOutcome};
use kms_loadgen::sim::{HsmPlan, Preset};
use sim_support::service::Service;
use sim_support::{Bench, quick, sim};

/// A check is due after 10 s and may take 5; a busy machine takes its time too.
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for a state of the node, which nobody uses meanwhile.
fn wait(what: &str, service: &Service, holds: impl Fn(&Status) -> bool) -> Status {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = status(service.node().shared());
        if holds(&now) {
            return now;
        }
        assert!(Instant::now() < end, "waited in vain: {what}: {now:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn is_ready(status: &Status) -> bool {
    status.readiness.state == "ready" && status.servers[0].trouble.is_none()
}

/// A fault strikes while nobody asks for anything.
fn play(order: &str, state: ServerState, said: &str) {
    let bench: Bench = quick();
    let service = Service::start(&bench.site, &[bench.sim.address]);
    let metrics = || service.node().shared().engine.hsm().metrics().unwrap();
    wait("ready", &service, is_ready);
    bench.order(order);
    let found = wait(order, &service, |status| {
        status.readiness.state == "degraded"
    });
    assert_eq!(found.readiness.status, 200, "{order}");
    let server = &found.servers[0];
    assert_eq!(server.state, state, "{order}: {server:?}");
    let trouble = server.trouble.as_deref().unwrap_or_default();
    assert!(trouble.contains(said), "{order}: {server:?}");
    let detail = &found.readiness.backend_detail;
    assert!(detail.contains(said), "{order}: {detail}");
    assert!(metrics().checks_failed.get() > 0, "{order}");
    bench.order("clear");
    wait("well again", &service, is_ready);
    assert!(metrics().checks.get() > 0, "{order}: by a check");
}

#[test]
fn an_idle_node_notices_an_hsm_that_does_not_work_and_that_it_does_again() {
    std::thread::scope(|scope| {
        for (order, state, said) in [
            ("stall", ServerState::Unavailable, "did not answer in time"),
            (
                "half-open",
                ServerState::Unavailable,
                "did not answer in time",
            ),
            ("partial every=1", ServerState::Degraded, "refused to wrap"),
            (
                "wrong-tag",
                ServerState::Degraded,
                "does not unwrap what it has wrapped",
            ),
            ("garbage", ServerState::Unavailable, ""),
        ] {
            scope.spawn(move || play(order, state, said));
        }
    });
}

/// While clients are served, and for ten seconds after, there are no checks; then one in ten seconds.
#[test]
fn checks_are_few_and_none_while_clients_are_served() {
    let bench = quick();
    let service = Service::start(&bench.site, &[bench.sim.address]);
    let mut device = service.client_as(&bench.site, "cmxDevice");
    let metrics = || service.node().shared().engine.hsm().metrics().unwrap();
    let until = Instant::now() + Duration::from_secs(11);
    let body = br#"{"plaintext":"YQ=="}"#;
    while Instant::now() < until {
        let answer = device.request("POST", "/v1/transit/encrypt/demo", None, body);
        assert_eq!(answer.unwrap().status, 200);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(metrics().checks.get(), 0);
    let idle = Instant::now();
    wait("a check", &service, |_| metrics().checks.get() == 1);
    assert!(
        idle.elapsed() > Duration::from_secs(9),
        "{:?}",
        idle.elapsed()
    );
    wait("another", &service, |_| metrics().checks.get() == 2);
    assert!(
        idle.elapsed() > Duration::from_secs(19),
        "{:?}",
        idle.elapsed()
    );
    assert_eq!(metrics().checks_failed.get(), 0);
}

/// As `kms check` meets and tries an HSM, without a node: outcome, and what is said.
fn try_at(bench: &Bench, key: Option<&str>) -> (TrialOutcome, String) {
    let file = bench.site.file("kms.properties");
    let loaded = kms::config::load(&file, []).unwrap();
    let credentials = Credentials::load(&loaded.config).unwrap();
    let probed = kms::node::probe(&loaded.config, &credentials).unwrap();
    assert!(probed.iter().all(|one| one.up), "{probed:?}");
    let ahead_s = probed[0].clock_ahead_s.unwrap();
    assert!(ahead_s.abs() < 5, "{probed:?}");
    let places: Vec<String> = probed.into_iter().map(|one| one.place).collect();
    let mut tried = kms::node::try_keys(&loaded.config, &credentials, &places, key).unwrap();
    assert_eq!(tried.len(), 1, "{tried:?}");
    let tried = tried.remove(0);
    (tried.outcome, tried.detail)
}

#[test]
fn a_check_tries_a_key_that_it_is_given_or_finds() {
    use TrialOutcome::{Fails, Lies, NoKey, Works};
    let none = sim(Preset::Null.model(), |_| HsmPlan {
        keys: Vec::new(),
        ..HsmPlan::default()
    });
    let (outcome, said) = try_at(&none, None);
    assert!(outcome == NoKey && said.contains("has none"), "{said}");
    let bench = quick();
    for (order, key, want, part) in [
        ("clear", None, Works, "under 'demo' version 1 in "),
        ("clear", Some("demo"), Works, "under 'demo' version 1 in "),
        ("clear", Some("dem"), Fails, "there is no such key"),
        (
            "wrong-tag",
            None,
            Lies,
            "DOES NOT UNWRAP WHAT IT HAS WRAPPED",
        ),
        (
            "partial every=1",
            Some("demo"),
            Fails,
            "refused the operation",
        ),
    ] {
        bench.order(order);
        let (outcome, said) = try_at(&bench, key);
        assert_eq!(outcome, want, "{order} {key:?}: {said}");
        assert!(said.contains(part), "{order} {key:?}: {said}");
        bench.order("clear");
    }
}
