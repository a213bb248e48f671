//! `compare --quick` as people run it: what it measures proves nothing, that it measures is what is asked for here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;

use kms_bench::rows::Row;
use serde_json::Value;

const COMPARE: &str = env!("CARGO_BIN_EXE_compare");

/// Runs these rows, and has them judged each and written into a copy of the README.
fn run(rows: &[&str]) {
    let kms = Path::new(COMPARE).with_file_name("kms");
    assert!(kms.is_file(), "no {}: cargo build first", kms.display());
    let folder = tempfile::tempdir().unwrap();
    let readme = folder.path().join("README.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::copy(root.join("bench/README.md"), &readme).unwrap();
    let output = Command::new(COMPARE)
        .current_dir(root)
        .env("KMS_BENCH_KMS", &kms)
        .arg("--quick")
        .arg("--rows")
        .arg(rows.join(","))
        .arg("--out")
        .arg(folder.path())
        .arg("--readme")
        .arg(&readme)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    // 1: a target was missed, as a development build on a busy machine may.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}{told}");
    let report = fs::read(folder.path().join("compare.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let readme = fs::read_to_string(&readme).unwrap();
    for row in rows {
        let judged = report["judged"].as_array().unwrap();
        let judged: Vec<_> = judged.iter().filter(|line| line["row"] == *row).collect();
        assert!(!judged.is_empty(), "{row} was left out:\n{told}");
        for line in judged {
            let verdict = line["verdict"].as_str().unwrap();
            assert!(
                matches!(verdict, "PASS" | "MISS" | "INFO"),
                "{line}\n{told}"
            );
            let what = line["what"].as_str().unwrap();
            assert!(
                readme.contains(&format!("| {row} | {what} |")),
                "{row}: {what}"
            );
        }
    }
}

#[test]
fn rows_that_want_no_peer_run() {
    run(&["P9", "P10"]);
}

#[test]
#[ignore = "long, and wants the peers that ./test --all install brings"]
fn every_row_runs() {
    let rows: Vec<_> = Row::all().iter().map(|row| row.name()).collect();
    run(&rows);
}
