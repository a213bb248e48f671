//! `calibrate` and `validate` as programs: a short measurement with real processes is read by a plan; what cannot be
//! played is refused by name before anything starts.
//!
//! Needs the program `kms` beside `kms-tune`, which building the workspace makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kms_tune::input::{Source, field};
use kms_tune::trace::Origin;

fn tune(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-tune"));
    command.args(arguments).current_dir(folder);
    // Its own scratch folders go with ours.
    command.env("TMPDIR", folder).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SITE: &str = "[workload]\npeak_rps = 100\nkeys_total = 1000\n[hsm]\npreset = \"lan-hsm\"\n";

#[test]
fn a_measurement_is_read_by_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let output = tune(
        &[
            "calibrate",
            "--seconds",
            "0.5",
            "--keys",
            "4000",
            "--out",
            "machine.toml",
        ],
        folder.path(),
    );
    let errors = errors(&output);
    // 1: what could not be measured so quickly is told.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{errors}");
    let site = SITE.replace("peak_rps", "cert = \"p256\"\npeak_rps");
    let text = format!("{site}[machine]\ncalibration = \"machine.toml\"\n");
    let source = Source::parse(&folder.path().join("site.toml"), &text).unwrap();
    let site = source.site().unwrap();
    for field in [&field::HIT_US, &field::HIT_BASE_US, &field::HANDSHAKE_US] {
        let found = site.opt(field).unwrap_or_else(|| panic!("{}", field.path));
        assert!(
            matches!(found.origin(), Origin::Measured(_)),
            "{}",
            field.path
        );
        assert!(found.value() > 0.5, "{}: {}", field.path, found.value());
    }
    let measured = fs::read_to_string(folder.path().join("machine.toml")).unwrap();
    assert_eq!(
        output.status.code() == Some(1),
        measured.contains("# Not measured"),
        "{measured}"
    );
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "only the file stays");
}

/// A name, arguments, what the error has.
type Refused = (&'static str, &'static [&'static str], &'static str);

const REFUSED: [Refused; 12] = [
    (
        "a balancer that is not played",
        &["validate", "hash.toml"],
        "policy.lb is hash where random or least-conn",
    ),
    (
        "too many nodes",
        &["validate", "wide.toml"],
        "policy.nodes comes to 9 where at most 4",
    ),
    (
        "several HSMs",
        &["validate", "wide.toml"],
        "hsm.hsms is 2 where 1 belongs",
    ),
    (
        "growth",
        &["validate", "wide.toml"],
        "workload.growth_pct_year is 20 where 0 belongs",
    ),
    (
        "keys that a storm reads again",
        &["validate", "wide.toml"],
        "workload.storm.reads_per_key is 2 where 1 belongs",
    ),
    (
        "a later site's mistake comes first",
        &["validate", "hash.toml", "typo.toml"],
        "policy.ttl",
    ),
    (
        "no server",
        &["validate", "hash.toml", "--kms", "nowhere"],
        "nowhere: the server's program is not there",
    ),
    (
        "a limit without an HSM",
        &["calibrate", "--hsm-ceiling"],
        "--hsm-node",
    ),
    (
        "an HSM without a certificate",
        &["calibrate", "--hsm-node", "x:1"],
        "--ca",
    ),
    (
        "a rate that is none",
        &["calibrate", "--hsm-node", "x:1", "--hsm-ops-max", "0"],
        "a number from 1 to",
    ),
    (
        "metrics that are not there",
        &["plan", "hash.toml", "--from-metrics", "gone.txt"],
        "gone.txt: cannot be read as metrics",
    ),
    (
        "metrics that are none",
        &["plan", "hash.toml", "--from-metrics", "typo.toml"],
        "no figures of a kms",
    ),
];

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, more: &str| {
        fs::write(folder.path().join(name), format!("{SITE}{more}")).unwrap();
    };
    write("hash.toml", "[policy]\nlb = \"hash\"\n");
    let storm = "[workload.storm]\ndevices = 10\nwindow_s = 10\nreads_per_key = 2\n";
    let wide = SITE.replace("peak_rps", "growth_pct_year = 20\npeak_rps");
    let wide = format!("{wide}hsms = 2\n[policy]\nnodes = 9\n{storm}");
    fs::write(folder.path().join("wide.toml"), wide).unwrap();
    write("typo.toml", "[policy]\nttl = 5\n");
    for (name, arguments, want) in REFUSED {
        let output = tune(arguments, folder.path());
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {errors}");
        assert!(errors.contains(want), "{name}: {errors}");
    }
}
