//! The program `kms-loadgen hsm-sim` as people start it, and PyKMIP's own client against it.
//!
//! Needs a Python with pykmip: `./test install` makes it; without it the test fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::doc_markdown,
    missing_docs
)]

mod sim_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sim_support::program::{Sim, program};

fn python() -> PathBuf {
    let python = std::env::var_os("KMS_TEST_PYKMIP").map_or_else(
        || {
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
            target.join("test-tools/pykmip/bin/python")
        },
        PathBuf::from,
    );
    let place = python.display();
    assert!(python.exists(), "no PyKMIP at {place}: run ./test install");
    python
}

#[test]
fn pykmips_client_lives_a_key_in_each_version() {
    let folder = tempfile::tempdir().unwrap();
    let sim = Sim::start(folder.path(), &["--preset", "soft-kmip"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim_support/pykmip_client.py");
    for version in ["1.4", "2.0"] {
        let output = Command::new(python())
            .args(["-W", "ignore"])
            .arg(&script)
            .arg(sim.port())
            .arg(folder.path().join("site"))
            .arg(version)
            .output()
            .unwrap();
        let [said, wrong] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(said.contains("done"), "KMIP {version}:\n{said}{wrong}");
    }
    let (status, code) = sim.terminate();
    assert_eq!(code, Some(0));
    assert!(
        status["totals"]["messages"].as_u64().unwrap() > 20,
        "{status}"
    );
}

#[test]
fn a_site_is_made_once_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let site = |name: &str| folder.path().join("site").join(name);
    let first = Sim::start(folder.path(), &["--preset", "lan-hsm", "--message-ms", "2"]);
    assert!(first.text("model").starts_with("2 ms a message"));
    let properties = std::fs::read_to_string(site("kms.properties")).unwrap();
    assert!(properties.contains(&format!("kms.hsm.server.url={}\n", first.text("address"))));
    let certificate = std::fs::read(site("hsm.crt")).unwrap();
    for (words, code, want) in [
        (&["stall", "20"][..], Some(0), "ok\n"),
        (&["rain"], Some(1), "error: there is no fault `rain`"),
        (&["set", "engines", "4"], Some(0), "ok: 2 ms a message"),
    ] {
        let output = first.order(words);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.code() == code && said.starts_with(want),
            "{words:?}: {said}"
        );
    }
    assert_eq!(first.terminate().1, Some(0));
    assert!(!site("hsm-sim.sock").exists());

    let second = Sim::start(folder.path(), &["--fault", "busy count=1"]);
    assert_eq!(std::fs::read(site("hsm.crt")).unwrap(), certificate);
    let properties = std::fs::read_to_string(site("kms.properties")).unwrap();
    assert!(properties.contains(&format!("kms.hsm.server.url={}\n", second.text("address"))));
    let status = second.order(&["status"]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["faults"], serde_json::json!({ "busy": 0 }));
}

#[test]
fn what_cannot_be_is_told_and_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    let used = folder.path().join("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("letter.txt"), "dear").unwrap();
    let used = used.to_str().unwrap();
    let fresh = folder.path().join("fresh");
    let fresh = fresh.to_str().unwrap();
    for (arguments, want) in [
        (&[][..], "no certificates"),
        (&["--write-site", used], "holds other files"),
        (
            &["--write-site", fresh, "--engines", "0"],
            "--engines is `0`",
        ),
        (
            &["--write-site", fresh, "--fault", "rain"],
            "there is no fault `rain`",
        ),
        (
            &[
                "--write-site",
                fresh,
                "--kmip-min",
                "2.0",
                "--kmip-max",
                "1.4",
            ],
            "--kmip-min 2.0 is above",
        ),
        (
            &["ctl", "/nowhere/sock", "status"],
            "no simulator answers there",
        ),
    ] {
        let output = program().args(arguments).output().unwrap();
        let wrong = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {wrong}");
        assert!(wrong.contains(want), "{arguments:?}: {wrong}");
    }
    let output = program().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(
        help.contains("It is none") && help.contains("--truth"),
        "{help}"
    );
}
