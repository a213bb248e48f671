//! The program's commands as people start them: their output, their files and their exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "load_support/program.rs"]
mod program;
mod sim_support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use kms_loadgen::results::Doubt;
use kms_loadgen::results::slo::Verdict;
use program::{Running, ends, program, result, stage};
use serde_json::Value;

#[test]
fn a_run_is_told_and_kept() {
    let stage = stage();
    let out = stage.file("out");
    let words = [
        "run",
        "--rate",
        "200",
        "--duration-s",
        "1",
        "--keys",
        "50",
        "--slo",
        "err<0.1%",
        "--token",
        "s3cret",
    ];
    let mut command = stage.load(&words);
    let (said, _) = ends(command.arg("--out").arg(&out), 0);
    for want in [
        "open loop, poisson 200/s",
        "decrypt, response",
        "decrypt, service",
        "handshake, full",
        "send lag",
        "VALID, SLO met",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let kept = result(&out);
    assert!(kept.totals.right > 100 && kept.slo.as_ref().is_some_and(Verdict::is_met));
    let line = kept.about.command_line.join(" ");
    assert!(
        line.contains("--rate 200") && !line.contains("s3cret"),
        "{line}"
    );
    let (json, _) = ends(
        stage
            .load(&[
                "run",
                "--closed",
                "--duration-s",
                "0.2",
                "--keys",
                "50",
                "--json",
            ])
            .arg("--name")
            .arg("x"),
        0,
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verdict"], "VALID", "{json}");
    let (said, _) = ends(
        &mut stage.load(&["run", "--closed", "--duration-s", "0.2", "--keys", "50"]),
        0,
    );
    assert!(
        said.contains("closed loop, as fast") && !said.contains("response"),
        "{said}"
    );
}

#[test]
fn mistakes_exit_2_and_name_the_option() {
    let stage = stage();
    for (words, want) in [
        (&["run"][..], "--rate"),
        (&["run", "--rate", "0"], "a rate of 0"),
        (&["run", "--rate", "5", "--closed"], "cannot be used with"),
        (&["run", "--schedule", "sine", "--rate", "5"], "no schedule"),
        (&["run", "--storm", "5"], "--storm 5"),
        (&["run", "--rate", "5", "--mix", "sign"], "no operation"),
        (&["run", "--rate", "5", "--stream", "x"], "no stream"),
        (&["run", "--rate", "5", "--metrics", "https://x"], "no URL"),
        (
            &["run", "--rate", "5", "--proxy-v2-from", "x"],
            "no network",
        ),
        (&["run", "--rate", "5", "--slo", "p99"], "--slo"),
        (
            &["run", "--rate", "5", "--namespace", "a\nX-B: c"],
            "--namespace",
        ),
        (&["knee"], "--slo"),
        (
            &["knee", "--slo", "p99<1s", "--to", "0.5"],
            "--from and --to",
        ),
        (
            &["knee", "--slo", "p99<1s", "--from", "9", "--to", "8"],
            "--from and --to",
        ),
        (&["replay", "/nowhere"], "/nowhere"),
    ] {
        let (_, wrong) = ends(&mut stage.load(words), 2);
        assert!(wrong.contains(want), "{words:?}: {wrong}");
    }
    let (_, wrong) = ends(
        program().args(["merge", "/nowhere", "--out", "/nowhere"]),
        2,
    );
    assert!(wrong.contains("/nowhere"), "{wrong}");
    let (_, wrong) = ends(program().args(["run", "--rate", "5"]), 2);
    assert!(wrong.contains("--ca"), "{wrong}");
}

#[test]
fn a_generator_that_was_stopped_says_that_it_is_invalid() {
    let stage = stage();
    let command = stage.command(&[
        "run",
        "--rate",
        "500",
        "--duration-s",
        "3",
        "--keys",
        "50",
        "--connections",
        "4",
    ]);
    let out = stage.file("out");
    let mut running = Running::start(command, &out);
    // The first second is over.
    running.tells("/s, p50");
    running.signal("STOP");
    std::thread::sleep(Duration::from_millis(700));
    running.signal("CONT");
    running.ends(3);
    let kept = result(&out);
    let lags =
        |doubt: &Doubt| matches!(doubt, Doubt::SendLag { p99_us, .. } if *p99_us > 300_000.0);
    assert!(kept.validity.doubts.iter().any(lags), "{:?}", kept.validity);
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    let stage = stage();
    let command = stage.command(&[
        "run",
        "--rate",
        "200",
        "--duration-s",
        "60",
        "--keys",
        "50",
        "--lag-ms-max",
        "5000",
    ]);
    let out = stage.file("out");
    let mut running = Running::start(command, &out);
    running.tells("/s, p50");
    running.signal("INT");
    running.ends(1);
    let kept = result(&out);
    assert!(
        kept.totals.right > 10 && format!("{:?}", kept.about.completeness).contains("interrupted")
    );
}

#[test]
fn a_clock_jump_is_told() {
    let stage = stage();
    let mut command = stage.load(&["run", "--rate", "100", "--duration-s", "1", "--keys", "50"]);
    command.env("KMS_LOADGEN_TEST_CLOCK_JUMP", "300:-5000");
    let (said, _) = ends(&mut command, 3);
    assert!(
        said.contains("INVALID: the clock jumped by -5000"),
        "{said}"
    );
}

#[test]
fn a_full_disk_costs_the_files_only() {
    let stage = stage();
    let out = stage.file("out");
    // A limit on the size of files is to a program what a full disk is.
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "bash"]);
    let load = stage.load(&["run", "--rate", "200", "--duration-s", "1", "--keys", "50"]);
    shell
        .arg(load.get_program())
        .args(load.get_args())
        .arg("--out")
        .arg(&out);
    shell.stdin(Stdio::null());
    let (said, wrong) = ends(&mut shell, 2);
    assert!(
        said.contains("open loop") && said.contains("VALID"),
        "{said}"
    );
    assert!(
        wrong.contains("no space for the result") && wrong.contains("out"),
        "{wrong}"
    );
    let left = fs::read_dir(&out).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no half result");
}
