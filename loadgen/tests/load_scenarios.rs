//! Scenarios: those that are shipped are read and make sense; a short one is played with a real server's process;
//! the shipped ones are played in the long tests.
//!
//! Needs the program `kms` beside `kms-loadgen`, which building the workspace makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kms_loadgen::results::{Doubt, RunResult, files};
use kms_loadgen::scenario::file::Scenario;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn server() -> PathBuf {
    let server = Path::new(env!("CARGO_BIN_EXE_kms-loadgen")).with_file_name("kms");
    let place = server.display();
    assert!(server.is_file(), "no kms at {place}: run cargo build");
    server
}

struct Played {
    result: RunResult,
    code: Option<i32>,
    told: String,
    folder: tempfile::TempDir,
}

fn play(file: &Path) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-loadgen"));
    command.arg("scenario").arg(file).arg("--kms").arg(server());
    command.arg("--out").arg(folder.path());
    command.env("TMPDIR", scratch.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let left = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 0, "certificates stay behind: {told}");
    let log = fs::read_to_string(folder.path().join("kms.log")).unwrap_or_default();
    assert!(
        log.trim_end().ends_with("stopped"),
        "the server was not stopped: {told}{log}"
    );
    let result = match files::load(folder.path()) {
        Ok(result) => result,
        Err(error) => panic!("{}: {error}: {told}", file.display()),
    };
    assert!(folder.path().join("report.html").is_file());
    Played {
        result,
        code: output.status.code(),
        told,
        folder,
    }
}

#[test]
fn shipped_scenarios_are_read() {
    let names: Vec<String> = shipped()
        .iter()
        .map(|file| {
            let scenario = Scenario::read(file).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap();
            assert_eq!(scenario.name, name);
            assert!(
                scenario.run.slo.is_some() && !scenario.about.trim().is_empty(),
                "{name}"
            );
            scenario.name
        })
        .collect();
    let wanted = [
        "certificate-rotation",
        "handshake-storm",
        "hsm-stall",
        "node-restart",
        "restore-storm",
        "steady",
    ];
    assert_eq!(names, wanted);
}

const SHORT: &str = r#"
name = "short"
about = "Everything that may happen, in some seconds."
[hsm]
preset = "null"
set = { message-ms = 1 }
[server]
"kms.cache.entries.max" = 1000
[run]
duration_s = 9
warm_up_s = 0.5
connections = 8
connections_max = 64
connection_life = "20:60"
resume = true
keys = 500
fill_cache = true
give_up_s = 30
lag_ms_max = 5000
slo = "rate>20/s"
[[run.load]]
rate = 150
streams = ["zipf:1.0"]
[[event]]
at_s = 0.5
hsm = "stall 200"
[[event]]
at_s = 1.5
server = "rotate-certificate"
[[event]]
at_s = 2.5
server = "purge-cache"
label = "nothing is cached any more"
[[event]]
at_s = 3
server = "freeze"
for_s = 0.3
[[event]]
at_s = 4
server = "kill"
[[event]]
at_s = 6
server = "restart"
for_s = 0.2
[[event]]
at_s = 8
label = "a mark"
for_s = 0.5
"#;

#[test]
fn a_scenario_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("short.toml");
    fs::write(&file, SHORT).unwrap();
    let played = play(&file);
    let result = &played.result;
    let labels: Vec<&str> = result
        .events
        .iter()
        .map(|event| event.label.as_str())
        .collect();
    let wanted = [
        "HSM: stall 200",
        "the server's certificate is changed",
        "nothing is cached any more",
        "the server is frozen",
        "the server is killed",
        "the server is restarted",
        "a mark",
    ];
    assert_eq!(labels, wanted, "{}", played.told);
    // An event that failed would be a doubt of its own; a busy machine may make others.
    let failed = |doubt: &&Doubt| matches!(doubt, Doubt::Other { .. });
    assert_eq!(
        result.validity.doubts.iter().find(failed),
        None,
        "{}",
        played.told
    );
    assert!(
        result.totals.right > 400 && result.totals.wrong() == 0,
        "{:?}",
        result.totals
    );
    assert!(result.totals.handshakes_resumed > 0, "{:?}", result.totals);
    assert_eq!(result.plan.scenario.as_deref(), Some("short"));
    assert!(result.server.after.is_some() && result.cpu.server_us.is_some());
    assert_ne!(played.code, Some(2), "{}", played.told);
    drop(played.folder);
}

#[test]
#[ignore = "minutes: each runs as long as it says"]
fn shipped_scenarios_are_played() {
    for file in shipped() {
        let played = play(&file);
        let (name, result) = (file.display(), &played.result);
        assert_eq!(result.totals.wrong(), 0, "{name}");
        let failed = |doubt: &&Doubt| matches!(doubt, Doubt::Other { .. } | Doubt::NoAnswers);
        assert_eq!(
            result.validity.doubts.iter().find(failed),
            None,
            "{name}: {}",
            played.told
        );
        assert!(result.series.len() >= 30, "{name}");
    }
}

#[test]
fn a_scenario_that_cannot_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    for (name, text, kms, want) in [
        ("no TOML", "name = ", "kms", "s.toml"),
        (
            "unknown key",
            &SHORT.replace("resume", "resumption"),
            "kms",
            "resumption",
        ),
        ("no server", SHORT, "nothing", "no kms at"),
        (
            "a property that is none",
            &SHORT.replace("entries.max", "entries.maxi"),
            "kms",
            "kms.cache.entries.max",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms-loadgen"));
        command
            .arg("scenario")
            .arg(&file)
            .arg("--out")
            .arg(out.path());
        command
            .arg("--kms")
            .arg(server().with_file_name(kms))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {wrong}");
        assert!(wrong.contains(want), "{name}: {wrong}");
    }
}
