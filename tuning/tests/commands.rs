//! What a plan tells people to run is what the programs know: loadgen's own parser takes its lines.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use kms_loadgen::load::keys::StreamPlan;
use kms_loadgen::results::slo::Slo;
use kms_tune::input::Source;
use kms_tune::output::verify::commands;
use kms_tune::plan::Plan;

const SMALL: &str = "[workload]\npeak_rps = 100\nkeys_total = 1000\n[hsm]\npreset = \"lan-hsm\"\n";
const MUCH: &str = "[workload]\npeak_rps = 90_000\nkeys_total = 500_000_000\nzipf_s = 1.05\nclients = 1_000_000\n\
    [workload.storm]\ndevices = 1_000_000\nkeys_per_device = 3\nwindow_s = 3600\n\
    [slo]\np50_ms = 2.5\np99_ms = 30\np999_ms = 200\nmax_storm_wait_s = 3\n\
    [policy]\nttl_s = 3600\nnodes = 16\n[hsm]\npreset = \"lan-hsm\"\nhsms = 16\n";
const NUMBERS: &str = "[workload]\npeak_rps = 100\nkeys_total = 1000\n[slo]\nerror_pct = 0.05\n\
    [hsm]\nmessage_ms = 2\nsigma = 0.3\nitem_ms = 0.1\n";

/// As a shell splits it: quotes, and a comment at the end.
fn words(line: &str) -> Vec<String> {
    let line = line.split("   #").next().unwrap();
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[test]
fn loadgen_takes_every_line() {
    for (name, text, runs) in [
        ("small", SMALL, 1),
        ("much", MUCH, 2),
        ("no preset", NUMBERS, 1),
    ] {
        let source = Source::parse(Path::new("site.toml"), text).unwrap();
        let plan = Plan::alone(&source).unwrap();
        let mut seen = 0;
        for line in commands(&plan) {
            let words = words(&line);
            if words[0] != "kms-loadgen" {
                assert_eq!(words[0], "kms-tune", "{name}: {line}");
                continue;
            }
            let parsed = kms_loadgen::cli::parser().try_get_matches_from(&words);
            let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            let Some(("run", run)) = parsed.subcommand() else {
                continue;
            };
            seen += 1;
            if let Some(slo) = run.get_one::<String>("slo") {
                slo.parse::<Slo>().unwrap();
            }
            for stream in run.get_many::<String>("streams").unwrap() {
                stream.parse::<StreamPlan>().unwrap();
            }
        }
        assert_eq!(seen, runs, "{name}");
    }
}

#[test]
fn a_parser_that_takes_anything_would_show() {
    let wrong = ["kms-loadgen", "run", "--data-keyz", "5"];
    assert!(
        kms_loadgen::cli::parser()
            .try_get_matches_from(wrong)
            .is_err()
    );
}
