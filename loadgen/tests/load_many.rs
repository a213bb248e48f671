//! Commands that are more than one run: workers, agents and their merge, and the search for a knee.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "load_support/program.rs"]
mod program;
mod sim_support;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_loadgen::results::Completeness;
use program::{Running, Stage, ends, program, result, stage, texts};

#[test]
fn workers_share_a_load() {
    let stage = stage();
    let out = stage.file("workers");
    let words = [
        "run",
        "--rate",
        "300",
        "--schedule",
        "constant",
        "--duration-s",
        "1",
        "--keys",
        "50",
        "--workers",
        "3",
    ];
    ends(stage.load(&words).arg("--out").arg(&out), 0);
    let merged = result(&out);
    assert_eq!((merged.totals.planned, merged.totals.right), (300, 300));
    assert_eq!(
        (
            merged.plan.processes,
            merged.machines.len(),
            merged.about.merged_from.len()
        ),
        (3, 3, 3)
    );
}

/// A second of 300 requests a second over prepared data keys.
fn plan(stage: &Stage) -> PathBuf {
    let plan = stage.file("plan.toml");
    let prepared = stage.file("ciphertexts");
    ends(
        stage
            .command(&["prepare", "--quiet"])
            .arg(&prepared)
            .args(["--keys", "40"]),
        0,
    );
    let words = [
        "run",
        "--rate",
        "300",
        "--schedule",
        "constant",
        "--duration-s",
        "1",
    ];
    let mut command = stage.load(&words);
    ends(
        command
            .arg("--ciphertexts")
            .arg(&prepared)
            .arg("--write-plan")
            .arg(&plan),
        0,
    );
    plan
}

#[test]
fn agents_share_a_load_and_are_merged() {
    let stage = stage();
    let plan = plan(&stage);
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3);
    let agents: Vec<_> = ["1/2", "2/2"]
        .iter()
        .map(|share| {
            let folder = stage.file(&share.replace('/', "-of-"));
            let mut command = program();
            command
                .arg("agent")
                .arg(&plan)
                .args(["--share", share, "--quiet"]);
            command
                .arg("--start")
                .arg(start.as_secs_f64().to_string())
                .arg("--out")
                .arg(&folder);
            command.stdout(Stdio::null());
            (command.spawn().unwrap(), folder)
        })
        .collect();
    let mut merge = program();
    merge.arg("merge");
    for (mut child, folder) in agents {
        assert!(child.wait().unwrap().success());
        let part = result(&folder);
        assert_eq!((part.totals.right, part.plan.working_set), (150, 40));
        // Ends of a microsecond's rounding and of the wake-up of a sleep.
        let late_us =
            i128::from(part.about.start_unix_us) - i128::try_from(start.as_micros()).unwrap();
        assert!((-1000..3_000_000).contains(&late_us), "{late_us}");
        merge.arg(folder);
    }
    let all = stage.file("all");
    let (said, _) = ends(merge.arg("--out").arg(&all), 0);
    assert!(said.contains("constant 300/s"), "{said}");
    assert_eq!(result(&all).totals.right, 300);
    let (said, _) = ends(program().arg("compare").arg(&all).arg(&all), 0);
    assert!(said.contains("p99"), "{said}");
}

#[test]
fn a_knee_is_an_interval() {
    let stage = stage();
    // 20 ms a message, 4 connections to the HSM: some 200 messages of one item a second and connection.
    stage.bench.order("set message-ms 5");
    let out = stage.file("out");
    let words = [
        "knee",
        "--slo",
        "p90<60ms,err<1%",
        "--from",
        "100",
        "--to",
        "1600",
        "--probe-s",
        "0.5",
        "--precision",
        "0.9",
        "--probes-max",
        "6",
        "--stream",
        "scan-once",
        "--keys",
        "20000",
    ];
    let output = stage.load(&words).arg("--out").arg(&out).output().unwrap();
    let (said, wrong) = texts(&output);
    assert!(said.contains("p90<60ms"), "{said}\n{wrong}");
    let knee = result(&out).knee.unwrap();
    assert!(
        !knee.probes.is_empty() && knee.probes.len() <= 6,
        "{knee:?}"
    );
    if let (Some(met), Some(missed)) = (knee.met_per_s, knee.missed_per_s) {
        assert!(met < missed, "{knee:?}");
    }
}

#[test]
fn a_search_that_is_cut_keeps_its_probes() {
    let stage = stage();
    let out = stage.file("out");
    let words = [
        "knee",
        "--slo",
        "err<50%",
        "--from",
        "50",
        "--probe-s",
        "0.5",
        "--keys",
        "50",
        "--connections",
        "4",
        "--lag-ms-max",
        "5000",
    ];
    let mut running = Running::start(stage.command(&words), &out);
    running.tells("probing");
    running.tells("probing");
    running.signal("INT");
    running.ends(1);
    let result = result(&out);
    assert_eq!(result.knee.unwrap().probes.len(), 1);
    assert!(
        matches!(&result.about.completeness, Completeness::Partial(why) if why.contains("cut after probe 1")),
        "{:?}",
        result.about.completeness
    );
}
