//! `kms-loadgen report`, `merge` and `compare` as people start them: what they write and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    missing_docs
)]

mod results_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use kms_loadgen::results::files::{load, save};
use kms_loadgen::results::{Doubt, RunResult};
use results_support::{Recipe, one_answer, only_errors};
use serde_json::Value;

fn loadgen(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(
        Command::new(env!("CARGO_BIN_EXE_kms-loadgen"))
            .args(arguments)
            .current_dir(folder),
    )
}

fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let [out, wrong] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code(), out, wrong)
}

fn short(change: impl Fn(&mut Recipe)) -> RunResult {
    let mut recipe = Recipe {
        seconds: 20,
        rate_per_s: 1000,
        slo: "p99<5ms",
        ..Recipe::default()
    };
    change(&mut recipe);
    recipe.make()
}

/// Results `before`, `after` (slower), `other` (of the first's plan) and `invalid`.
fn results() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let before = short(|_| ());
    let mut invalid = before.clone();
    invalid.validity.doubts = vec![Doubt::SendLag {
        p99_us: 9000.0,
        limit_us: 1000.0,
    }];
    for (name, run) in [
        ("before", &before),
        (
            "after",
            &short(|recipe| (recipe.seed, recipe.slower) = (9, 1.4)),
        ),
        ("other", &short(|recipe| recipe.seed = 5)),
        ("invalid", &invalid),
        ("errors", &only_errors()),
        ("one", &one_answer()),
    ] {
        save(&folder.path().join(name), run).unwrap();
    }
    folder
}

/// Arguments, exit code, and what is said: on standard error where the code is 2.
const CASES: [(&str, i32, &str); 20] = [
    ("report before", 0, "VALID, SLO met (p99<5ms)"),
    ("report before --quiet --out page.html", 0, ""),
    (
        "report before after --out both.html",
        0,
        "report: both.html",
    ),
    ("report before after", 2, "say with --out where"),
    ("report empty", 2, "no load result here"),
    ("report errors", 0, "750 WRONG ANSWERS, SLO MISSED"),
    (
        "report invalid",
        0,
        "INVALID, SLO met (p99<5ms): the generator sent late: p99 of the lag was 9.000 ms",
    ),
    ("compare before other", 0, "no regression beyond 5 %"),
    ("compare before after", 1, "REGRESSION beyond 5 %: p50 +"),
    (
        "compare before after --tolerance 60",
        0,
        "no regression beyond 60 %",
    ),
    ("compare after before", 0, "better"),
    (
        "compare before invalid",
        2,
        "B is INVALID: the generator sent late",
    ),
    (
        "compare before invalid --force",
        0,
        "note: compared by force: B is INVALID",
    ),
    ("compare errors before --force", 2, "A has no right answer"),
    ("compare before nowhere", 2, "nowhere: no load result here"),
    (
        "compare before other --tolerance=-1",
        2,
        "give percent from 0 to 1000",
    ),
    ("merge before other --out merged", 0, "VALID, SLO met"),
    ("merge before invalid --out merged", 3, "INVALID"),
    (
        "merge before one --out merged",
        2,
        "--force merges them nevertheless",
    ),
    (
        "merge before one --out merged --force",
        0,
        "note: merged by force",
    ),
];

#[test]
fn commands_end_as_they_say() {
    let folder = results();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (arguments, code, want) in CASES {
        let words: Vec<&str> = arguments.split(' ').collect();
        let (got, out, wrong) = loadgen(folder.path(), &words);
        assert_eq!(got, Some(code), "{arguments}: {out}{wrong}");
        let said = if code == 2 { &wrong } else { &out };
        assert!(said.contains(want), "{arguments}: {out}{wrong}");
        assert!(code == 2 || wrong.is_empty(), "{arguments}: {wrong}");
    }
    for page in [
        "before/report.html",
        "page.html",
        "both.html",
        "merged/report.html",
    ] {
        let text = fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(
            text.starts_with("<!DOCTYPE html>") && text.contains("<figure"),
            "{page}"
        );
    }
    let both = fs::read_to_string(folder.path().join("both.html")).unwrap();
    assert!(both.contains(">before</td>") && both.contains(">after</td>"));
    let merged = load(&folder.path().join("merged")).unwrap();
    assert_eq!(merged.about.merged_from.len(), 2);
}

#[test]
fn comparisons_speak_json_and_html() {
    let folder = results();
    let (code, out, _) = loadgen(
        folder.path(),
        &["compare", "before", "after", "--json", "--html", "c.html"],
    );
    assert_eq!(code, Some(1));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["is_regression"], &json["tolerance"]),
        (&true.into(), &0.05.into())
    );
    let lines = json["lines"].as_array().unwrap();
    let p50 = lines.iter().find(|line| line["name"] == "p50").unwrap();
    assert_eq!(
        (&p50["outcome"], &p50["kind"]),
        (&"worse".into(), &"latency_ns".into())
    );
    let (change, interval) = (
        p50["change"].as_f64().unwrap(),
        p50["interval"].as_array().unwrap(),
    );
    assert!(interval[0].as_f64().unwrap() < change && change < interval[1].as_f64().unwrap());
    let page = fs::read_to_string(folder.path().join("c.html")).unwrap();
    for part in [
        "A: before",
        "B: after",
        "id=\"changes\"",
        "id=\"percentiles\"",
        "✗ worse",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_full_disk_leaves_the_result_that_was_there() {
    let folder = results();
    loadgen(
        folder.path(),
        &["merge", "before", "other", "--out", "merged"],
    );
    let merged = folder.path().join("merged");
    let before = load(&merged).unwrap();
    // The kernel refuses to write files beyond 8 blocks of 1024 bytes, as it refuses when a disk is full.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" merge before after --out merged --force";
    let program = env!("CARGO_BIN_EXE_kms-loadgen");
    let (code, _, wrong) = told(
        Command::new("bash")
            .args(["-c", script, program])
            .current_dir(folder.path()),
    );
    assert_eq!(code, Some(2), "{wrong}");
    assert!(
        wrong.contains("no space for the result")
            && wrong.contains("what was there before is untouched"),
        "{wrong}"
    );
    assert!(load(&merged).unwrap() == before);
    let hidden = fs::read_dir(&merged).unwrap().flatten();
    let left: Vec<_> = hidden
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_summary_is_aligned() {
    let folder = results();
    let (_, out, _) = loadgen(folder.path(), &["report", "before"]);
    let lines: Vec<&str> = out.lines().collect();
    let head = lines
        .iter()
        .position(|line| line.starts_with("latency "))
        .unwrap();
    let ends: Vec<usize> = lines[head..head + 8]
        .iter()
        .map(|line| line.chars().count())
        .collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{out}");
    assert!(
        out.is_ascii()
            || out
                .chars()
                .filter(|c| !c.is_ascii())
                .all(|c| "▁▂▃▄▅▆▇█·".contains(c)),
        "{out}"
    );
}
