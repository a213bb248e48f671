//! Results as files: what is written is read again, by us and by HdrHistogram's port to Python.
//!
//! Needs a Python with hdrhistogram: `./test install` makes it; without it the test fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    clippy::semicolon_if_nothing_returned,
    missing_docs
)]

mod results_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kms_loadgen::results::files::{FileError, load, save};
use kms_loadgen::results::{Completeness, Latency, RunResult, redacted};
use results_support::{
    day, histograms, hostile, huge, knee, nothing, one_answer, only_errors, restore_storm, stall,
    steady,
};

fn all() -> Vec<(&'static str, RunResult)> {
    vec![
        ("steady", steady()),
        ("stall", stall()),
        ("restore storm", restore_storm()),
        ("knee", knee()),
        ("nothing", nothing()),
        ("one answer", one_answer()),
        ("only errors", only_errors()),
        ("huge", huge()),
        ("hostile", hostile()),
    ]
}

#[test]
fn what_is_saved_is_loaded_again() {
    for (name, run) in all() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &run).unwrap();
        let again = load(folder.path()).unwrap();
        assert!(again == run, "{name} changed on its way");
        // Once more over the old files, as a run that is saved from time to time does.
        save(folder.path(), &again).unwrap();
        assert!(
            load(folder.path()).unwrap() == run,
            "{name} changed the second time"
        );
        let hidden = fs::read_dir(folder.path()).unwrap().flatten();
        let left = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(left.count(), 0, "{name} left temporary files");
    }
}

#[test]
fn a_day_is_small_enough_to_keep() {
    let run = day();
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &run).unwrap();
    let size: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 200 << 20, "{} MiB", size >> 20);
    assert!(load(folder.path()).unwrap() == run);
}

fn python() -> PathBuf {
    let python = std::env::var_os("KMS_TEST_PYKMIP").map_or_else(
        || {
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
            target.join("test-tools/pykmip/bin/python")
        },
        PathBuf::from,
    );
    let place = python.display();
    assert!(
        python.exists(),
        "no Python with hdrhistogram at {place}: run ./test install"
    );
    python
}

#[derive(serde::Deserialize)]
struct Read {
    count: u64,
    max: u64,
    percentiles: [u64; 5],
    recorded: Vec<(u64, u64)>,
}

/// By tag or second, as HdrHistogram's port to Python reads it.
fn read_by_python(file: &Path) -> BTreeMap<String, Read> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results_support/read_hlog.py");
    let output = Command::new(python())
        .arg(script)
        .arg(file)
        .output()
        .unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything recorded must be the same. Percentiles may be a sample apart, since that reader rounds the rank
/// where ours takes the next one.
fn hold_against(read: &Read, latency: &Latency, name: &str) {
    let histogram = latency.histogram();
    assert_eq!(read.count, latency.count(), "{name}: count");
    assert!(
        histogram.equivalent(read.max, histogram.max()),
        "{name}: longest"
    );
    let ours = histogram.iter_recorded();
    let ours: Vec<_> = ours
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect();
    let theirs: Vec<_> = read
        .recorded
        .iter()
        .map(|(value, count)| (histogram.highest_equivalent(*value), *count))
        .collect();
    assert!(ours == theirs, "{name}: recorded values");
    for (quantile, got) in [0.5, 0.9, 0.99, 0.999, 0.9999].iter().zip(read.percentiles) {
        let one = 1.0 / latency.count() as f64;
        let low = histogram.value_at_quantile((quantile - one).max(0.0));
        let high = histogram.value_at_quantile((quantile + one).min(1.0));
        let got = histogram.highest_equivalent(got);
        assert!(
            (low..=high).contains(&got),
            "{name}, {quantile}: {got} is not in {low}..{high}"
        );
    }
}

#[test]
fn another_reader_finds_the_same_latencies() {
    for (name, run) in [
        ("stall", stall()),
        ("one answer", one_answer()),
        ("huge", huge()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &run).unwrap();
        let theirs = read_by_python(&folder.path().join("histograms.hlog"));
        let mut ours = histograms(&run);
        ours.retain(|(_, latency)| !latency.is_empty());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (tag, latency) in ours {
            hold_against(&theirs[&tag], &latency, &format!("{name}, {tag}"));
        }
        let theirs = read_by_python(&folder.path().join("seconds.hlog"));
        let seconds: Vec<_> = run
            .series
            .iter()
            .filter(|second| second.interval.is_some())
            .collect();
        assert_eq!(seconds.len(), theirs.len(), "{name}");
        for second in seconds {
            let latency = Latency::from(&second.interval.as_ref().unwrap().unpack().unwrap());
            let at = second.unix_s.to_string();
            hold_against(&theirs[&at], &latency, &format!("{name}, second {at}"));
        }
    }
}

#[test]
fn spectra_have_the_form_of_other_tools() {
    let folder = tempfile::tempdir().unwrap();
    let run = steady();
    save(folder.path(), &run).unwrap();
    let text = fs::read_to_string(folder.path().join("all.response.hgrm")).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    );
    let rows: Vec<Vec<f64>> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.split_whitespace()
                .map(|cell| cell.parse().unwrap())
                .collect()
        })
        .collect();
    let rises = |column: usize| {
        rows.windows(2)
            .all(|pair| pair[0][column] <= pair[1][column])
    };
    assert!(rows.len() > 40 && rises(0) && rises(1) && rises(2));
    let (last, all) = (rows.last().unwrap(), run.headline());
    assert_eq!((last[1], last[2] as u64), (1.0, all.count()));
    assert!((last[0] - all.max_ns().unwrap() as f64 / 1e6).abs() < 1e-5);
    assert!(text.contains("#[Mean    =") && text.contains("Total count    ="));
}

type Harm = fn(&Path);

const HARMS: [(&str, Harm, &str); 9] = [
    (
        "nothing there",
        |at| fs::remove_file(at.join("result.json")).unwrap(),
        "no load result here",
    ),
    (
        "no JSON",
        |at| fs::write(at.join("result.json"), "{").unwrap(),
        "not a load result: EOF",
    ),
    (
        "another JSON",
        |at| fs::write(at.join("result.json"), "{\"format\":\"x\",\"version\":1}").unwrap(),
        "its format is \"x\"",
    ),
    (
        "from the future",
        |at| {
            edit(
                &at.join("result.json"),
                "\"version\": 1,",
                "\"version\": 2,",
            )
        },
        "version 2 of the format, this program knows up to 1",
    ),
    (
        "a series with another figure",
        |at| edit(&at.join("series.csv"), ",1,1,1,", ",1,1,2,"),
        "series.csv: not the file that",
    ),
    (
        "histograms missing",
        |at| fs::remove_file(at.join("histograms.hlog")).unwrap(),
        "histograms.hlog: cannot read",
    ),
    (
        "histograms cut",
        |at| cut(&at.join("histograms.hlog")),
        "histograms.hlog: not the file that",
    ),
    (
        "seconds of another run",
        |at| cut(&at.join("seconds.hlog")),
        "seconds.hlog: not the file that",
    ),
    (
        "a folder for a file",
        |at| {
            fs::remove_file(at.join("series.csv")).unwrap();
            fs::create_dir(at.join("series.csv")).unwrap();
        },
        "series.csv: cannot read",
    ),
];

#[test]
fn files_that_were_touched_are_refused() {
    let run = one_answer();
    for (name, harm, want) in HARMS {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &run).unwrap();
        harm(folder.path());
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not there");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn cut(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() - 20]).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_keeps_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let run = one_answer();
    save(folder.path(), &run).unwrap();
    // The last file to be written stands in for a disk that is full by then: nothing may have been replaced.
    let mut other = steady();
    other.about.completeness = Completeness::Partial("cut".to_owned());
    let place = folder
        .path()
        .join(format!(".result.json.{}.new", std::process::id()));
    fs::create_dir(&place).unwrap();
    let error = save(folder.path(), &other).unwrap_err();
    assert!(matches!(error, FileError::Io(..)), "{error}");
    assert!(load(folder.path()).unwrap() == run);
    let under_a_file = folder.path().join("result.json/below");
    assert!(
        save(&under_a_file, &run)
            .unwrap_err()
            .to_string()
            .contains("cannot make the folder")
    );
}

#[test]
fn no_token_reaches_a_file() {
    let mut run = steady();
    run.about.command_line =
        redacted(["run", "--token", "hvs.SECRET", "--token=hvs.SECRET"].map(str::to_owned));
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &run).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("SECRET"));
    }
}
