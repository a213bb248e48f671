//! Results of several processes as one: counts summed, histograms added, servers counted once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    clippy::semicolon_if_nothing_returned,
    missing_docs
)]

mod results_support;

use kms_loadgen::report::{html, terminal};
use kms_loadgen::results::compare::{Options, compare};
use kms_loadgen::results::files::{load, save};
use kms_loadgen::results::merge::{MergeError, merge};
use kms_loadgen::results::{
    Completeness, Doubt, ErrorKind, Event, Latency, RunResult, Second, Split,
};
use results_support::{Recipe, knee, stall};

/// One of several processes that ran together: another seed, half a second later.
fn other(run: &RunResult, seed: u64) -> RunResult {
    let mut other = Recipe {
        name: "HSM stall",
        seed,
        stall: Some((24.0, 2.0)),
        ..Recipe::default()
    }
    .make();
    other.about.start_unix_us = run.about.start_unix_us + 500_000;
    other.machines[0].name = "load-2".to_owned();
    other
}

#[test]
fn merging_is_measuring_with_all_at_once() {
    let one = stall();
    let two = other(&one, 8);
    let merged = merge(&[one.clone(), two.clone()], false).unwrap();
    assert_eq!(merged.totals.right, one.totals.right + two.totals.right);
    let timeouts = |run: &RunResult| run.totals.errors[&ErrorKind::GatewayTimeout];
    assert_eq!(timeouts(&merged), timeouts(&one) + timeouts(&two));
    assert_eq!(
        merged.headline().count(),
        one.headline().count() + two.headline().count()
    );
    // From the start of the first to the end of the last.
    assert_eq!(merged.about.duration_us, one.about.duration_us + 500_000);
    assert!((merged.rate_per_s() / (one.rate_per_s() + two.rate_per_s()) - 1.0).abs() < 0.01);
    assert_eq!((merged.plan.processes, merged.machines.len()), (2, 2));
    let sources = &merged.about.merged_from;
    assert_eq!(
        (
            sources[0].seed,
            sources[1].seed,
            sources[1].machine.as_str()
        ),
        (7, 8, "load-2")
    );
    assert_eq!(
        merged.slo.as_ref().unwrap().expression,
        one.slo.as_ref().unwrap().expression
    );
    // A third one, later, is a merge of three.
    let three = merge(&[merged, other(&one, 9)], false).unwrap();
    assert_eq!(
        (three.plan.processes, three.about.merged_from.len()),
        (3, 3)
    );
}

#[test]
fn percentiles_come_from_added_histograms() {
    let quick = Recipe {
        seconds: 1,
        ..Recipe::default()
    }
    .make();
    let mut slow = quick.clone();
    // A hundred answers, all of them slower than any of the thousands.
    let mut latency = Latency::new();
    (0..100).for_each(|_| latency.record_ns(900_000_000));
    slow.series[0].set_latency(&latency);
    let merged = merge(&[quick.clone(), slow], false).unwrap();
    let [of_quick, of_merged] = [&quick, &merged].map(|run| run.series[0].latency.unwrap());
    assert_eq!(of_merged.count, of_quick.count + 100);
    assert!(
        of_merged.p50_ns < 1_000_000,
        "no mean of 0.2 and 900 ms: {of_merged:?}"
    );
    assert!(of_merged.p99_ns >= 899_000_000, "{of_merged:?}");
}

#[test]
fn seconds_are_aligned_by_the_wall_clock() {
    let mut one = Recipe {
        seconds: 3,
        ..Recipe::default()
    }
    .make();
    let mut two = one.clone();
    for second in &mut two.series {
        second.unix_s += 2;
    }
    two.about.start_unix_us += 2_000_000;
    one.series[1].lag_max_ns = 5;
    let merged = merge(&[one.clone(), two], false).unwrap();
    let sent: Vec<u64> = merged.series.iter().map(|second| second.sent).collect();
    let own = |at: usize| one.series[at].sent;
    assert_eq!(sent, [own(0), own(1), own(2) + own(0), own(1), own(2)]);
    let step = |pair: &[Second]| pair[1].unix_s - pair[0].unix_s;
    assert!(merged.series.windows(2).all(|pair| step(pair) == 1));
}

#[test]
fn percentiles_that_lost_their_histogram_are_not_merged() {
    let one = Recipe {
        seconds: 1,
        ..Recipe::default()
    }
    .make();
    let mut two = one.clone();
    two.series[0].interval = None;
    let merged = merge(&[one.clone(), two], false).unwrap();
    assert_eq!(
        merged.series[0].latency, None,
        "neither the one's nor a mean"
    );
    assert_eq!(merged.series[0].right, 2 * one.series[0].right);
}

#[test]
fn a_server_is_counted_once_and_two_are_summed() {
    let one = stall();
    let mut two = other(&one, 8);
    let same = merge(&[one.clone(), two.clone()], false).unwrap();
    // Both watched the same counters: the merged run spans from the first look to the last.
    let (before, after) = (&one.server.before, &two.server.after);
    assert!(same.server.before == *before && same.server.after == *after);
    assert_eq!(same.cpu.server_us, one.cpu.server_us.max(two.cpu.server_us));
    assert_eq!(same.cpu.client_us, one.cpu.client_us + two.cpu.client_us);
    assert_eq!(same.series[5].hits, one.series[5].hits);
    two.server.target = "127.0.0.1:9443".to_owned();
    let apart = merge(&[one.clone(), two.clone()], false).unwrap();
    let hits = |run: &RunResult| run.server.unwraps().unwrap().hits;
    assert_eq!(hits(&apart), hits(&one) + hits(&two));
    assert_eq!(
        apart.server.hsm_operations(),
        Some(one.server.hsm_operations().unwrap() + two.server.hsm_operations().unwrap())
    );
    assert_eq!(apart.server.target, "127.0.0.1:8443, 127.0.0.1:9443");
    let (ours, theirs) = (one.series[5].hits.unwrap(), two.series[5].hits.unwrap());
    assert_eq!(apart.series[5].hits, Some(ours + theirs));
    assert_eq!(
        apart.cpu.server_us,
        Some(one.cpu.server_us.unwrap() + two.cpu.server_us.unwrap())
    );
}

type Change = fn(&mut RunResult);

const CHANGES: [(&str, Change, &str); 8] = [
    (
        "rate",
        |run| run.plan.schedule = "poisson 1/s".to_owned(),
        "schedule is poisson 4000/s and poisson 1/s",
    ),
    (
        "operations",
        |run| run.plan.mix.truncate(1),
        "mix is decrypt x1 (95) + encrypt x1 (5) and decrypt x1 (95)",
    ),
    (
        "batch",
        |run| run.plan.mix[0].batch = 10,
        "decrypt x10 (95)",
    ),
    (
        "key stream",
        |run| run.plan.key_stream = "uniform".to_owned(),
        "key stream is zipf 0.99 and uniform",
    ),
    (
        "stages alone",
        |run| run.plan.stages[0].rate_per_s = 1.0,
        "stages of the schedule",
    ),
    (
        "keys",
        |run| run.plan.working_set = 5,
        "working set is 100000 and 5",
    ),
    (
        "time",
        |run| run.about.start_unix_us += 600_000_000,
        "not made at the same time",
    ),
    (
        "knee",
        |run| run.knee = knee().knee,
        "knee cannot be merged",
    ),
];

#[test]
fn what_does_not_go_together_is_refused_unless_forced() {
    let one = Recipe {
        seconds: 2,
        ..Recipe::default()
    }
    .make();
    for (name, change, want) in CHANGES {
        let mut two = one.clone();
        change(&mut two);
        let runs = [one.clone(), two];
        let error = merge(&runs, false).unwrap_err();
        assert!(
            error.can_be_forced() && error.to_string().contains(want),
            "{name}: {error}"
        );
        let merged = merge(&runs, true).unwrap();
        let [note] = merged.about.notes.as_slice() else {
            panic!("{name}: {:?}", merged.about.notes)
        };
        assert!(
            note.starts_with("merged by force") && note.contains(want),
            "{name}: {note}"
        );
        assert!(merged.knee.is_none());
    }
    assert_eq!(merge(&[], true), Err(MergeError::Nothing));
}

#[test]
fn one_doubt_makes_the_whole_doubtful() {
    let one = Recipe {
        seconds: 2,
        ..Recipe::default()
    }
    .make();
    let mut two = one.clone();
    two.validity.doubts = vec![Doubt::NoAnswers];
    two.about.completeness = Completeness::Partial("killed".to_owned());
    two.slo = None;
    let merged = merge(&[one.clone(), two.clone(), two], false).unwrap();
    assert_eq!(merged.validity.doubts, [Doubt::NoAnswers]);
    assert_eq!(
        merged.about.completeness,
        Completeness::Partial("killed".to_owned())
    );
    assert!(
        merged.slo.is_none()
            && merged.about.notes == ["the runs had different SLOs: none was judged"]
    );
}

const MOST: u64 = u64::MAX;

/// As a file may hold it.
fn absurd() -> RunResult {
    let mut run = Recipe {
        seconds: 12,
        rate_per_s: 50,
        ..Recipe::default()
    }
    .make();
    for second in &mut run.series {
        (second.planned, second.sent, second.right) = (MOST, MOST, MOST);
        (second.handshakes, second.connections, second.lag_max_ns) = (MOST, MOST, MOST);
        (second.hits, second.joined) = (Some(MOST), Some(MOST));
        (second.shared, second.misses) = (Some(MOST), Some(MOST));
        (second.client_cpu_us, second.server_cpu_us) = (Some(MOST), Some(MOST));
        second.errors = ErrorKind::ALL.map(|kind| (kind, MOST)).into();
    }
    run.series.last_mut().unwrap().unix_s = MOST;
    run.totals.errors = ErrorKind::ALL.map(|kind| (kind, MOST)).into();
    run.totals.statuses = [(0, MOST), (u16::MAX, MOST)].into();
    (run.totals.planned, run.totals.sent, run.totals.right) = (MOST, MOST, MOST);
    (run.about.start_unix_us, run.about.duration_us) = (MOST, MOST);
    (run.plan.duration_us, run.plan.processes) = (MOST, u32::MAX);
    (run.cpu.client_us, run.cpu.server_us) = (MOST, Some(MOST));
    run.machines[0].stolen_us = Some(MOST);
    run.machines[0].cores_online = u32::MAX;
    let after = run.server.after.as_mut().unwrap();
    after.unwraps = Some(Split {
        hits: MOST,
        joined: MOST,
        shared: MOST,
        misses: MOST,
    });
    after
        .batches
        .iter_mut()
        .for_each(|bucket| bucket.messages = MOST);
    run.events = vec![Event {
        at_unix_us: 0,
        until_unix_us: Some(MOST),
        label: String::new(),
    }];
    run
}

/// Nothing that reads results may end by them.
#[test]
fn absurd_numbers_break_nothing() {
    let run = absurd();
    let mut other = run.clone();
    other.server.target = "elsewhere".to_owned();
    let merged = merge(&[run.clone(), run.clone(), other], true).unwrap();
    assert_eq!(
        (merged.totals.right, merged.plan.processes),
        (MOST, u32::MAX)
    );
    let options = Options {
        tolerance: 0.05,
        is_forced: true,
    };
    let comparison = compare(&run, &merged, options).unwrap();
    for page in [
        html::run(&merged),
        html::comparison(&[("a".to_owned(), &run)], Some(&comparison)),
    ] {
        assert!(page.contains("</html>") && !page.contains("NaN"));
    }
    assert!(
        terminal::run(&merged).contains("VALID") && !terminal::comparison(&comparison).is_empty()
    );
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &merged).unwrap();
    assert!(load(folder.path()).unwrap() == merged);
}
