//! Plans of whole sites: what they hold, what they refuse, what the server says of their files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::path::Path;
use std::process::{Command, Output};

use kms::config;
use kms_tune::input::{Source, field};
use kms_tune::output::{files, html, json};
use kms_tune::plan::Plan;
use kms_tune::trace::{Origin, Quantity, explain, find};

/// A small site; `more` comes behind it.
fn site(more: &str) -> Source {
    let text = format!(
        "[workload]\npeak_rps = 3000\nkeys_total = 20_000\n{more}\n[hsm]\npreset = \"lan-hsm\"\n[machine]\ncores = 2\n"
    );
    Source::parse(Path::new("site.toml"), &text).unwrap()
}

fn near(got: f64, want: f64, within: f64) -> bool {
    (got / want - 1.0).abs() <= within
}

#[test]
fn a_small_site_is_two_nodes_of_which_one_may_fail() {
    let plan = Plan::alone(&site("")).unwrap();
    assert!(plan.holds(), "{:?}", plan.checks);
    assert!(near(plan.design.nodes.value(), 2.0, 0.0));
    let peak = plan.scenario("peak").unwrap();
    let lost = plan.scenario("node_lost").unwrap();
    assert!(lost.cpu_load.value() > 1.5 * peak.cpu_load.value());
    assert!(peak.hit_ratio.value() > 0.9 && peak.hit_ratio.value() < 1.0);
    let times = peak.times.as_ref().unwrap();
    assert!(
        times.miss.p50.value() > 1.0 && times.miss.p50.value() < 1.6,
        "{:?}",
        times.miss.p50
    );
    assert!(times.all.p99.value() <= times.miss.p99.value());
    // What binds first has the least headroom, and more load than that breaks it.
    let first = plan.limits.first().unwrap();
    assert!(
        plan.limits
            .iter()
            .all(|limit| limit.headroom.value() >= first.headroom.value())
    );
}

#[test]
fn every_number_is_explained_down_to_what_was_given() {
    let plan = Plan::alone(&site("")).unwrap();
    let roots = plan.quantities();
    assert!(roots.len() > 80);
    for quantity in &roots {
        let text = explain(quantity, usize::MAX);
        assert!(text.starts_with(quantity.name()), "{text}");
        let derived = matches!(quantity.origin(), Origin::Derived(_));
        assert!(
            !derived || !quantity.inputs().is_empty(),
            "{} comes of nothing",
            quantity.name()
        );
        assert!(
            !quantity.value().is_nan(),
            "{} is no number",
            quantity.name()
        );
    }
    let names: Vec<&str> = roots.iter().map(Quantity::name).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    // The load's own names come with each scenario that has it.
    assert!(names.len() - once.len() < 12, "{names:?}");
    let peak = find(&roots, "workload.peak_rps").unwrap();
    assert!(matches!(peak.origin(), Origin::Given(place) if place.contains("site.toml")));
}

#[test]
fn the_server_takes_the_planned_configuration() {
    for (name, more) in [
        ("small", ""),
        (
            "large",
            "clients = 200_000\n[policy]\nttl_s = 3600\nnodes = 3",
        ),
        ("tight memory", "[policy]\nnodes = 2\nmlock_mb = 4"),
    ] {
        let plan = Plan::alone(&site(more)).unwrap();
        let all = files::all(&plan);
        let lines = &all
            .iter()
            .find(|file| file.name == "kms.properties")
            .unwrap()
            .text;
        let whole = format!(
            "{lines}kms.keystore.file=k.p12\nkms.keystore.password=x\nkms.hsm.server.url=hsm.example.com\n"
        );
        let loaded = config::parse(Path::new("kms.properties"), whole.as_bytes(), [])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let planned = config::plan::plan(&loaded.config, 2);
        assert!(
            near(
                planned.locked_bytes() as f64,
                plan.memory.locked.value(),
                0.0
            ),
            "{name}"
        );
        assert!(
            near(
                loaded.config.cache.entries_max as f64,
                plan.design.entries.value(),
                0.0
            ),
            "{name}"
        );
        let drop_in = &all
            .iter()
            .find(|file| file.name.ends_with("capacity.conf"))
            .unwrap()
            .text;
        let locked = drop_in
            .lines()
            .find_map(|line| line.strip_prefix("LimitMEMLOCK="))
            .unwrap();
        let mib: f64 = locked.strip_suffix('M').unwrap().parse().unwrap();
        assert!(
            mib * 1_048_576.0 >= plan.memory.locked.value(),
            "{name}: {locked}"
        );
    }
}

#[test]
fn a_cache_that_is_too_small_is_run_and_told() {
    let plan = Plan::alone(&site("[policy]\nentries_max = 2000\nnodes = 2")).unwrap();
    let peak = plan.scenario("peak").unwrap();
    assert!(
        peak.is_full
            && plan
                .notes
                .iter()
                .any(|note| note.contains("working set exceeds")),
        "{:?}",
        plan.notes
    );
    let roomy = Plan::alone(&site("[policy]\nnodes = 2")).unwrap();
    assert!(peak.hit_ratio.value() < roomy.scenario("peak").unwrap().hit_ratio.value() - 0.1);
    assert!(explain(&peak.hit_ratio, 1).contains("src/cache itself"));
}

#[test]
fn what_cannot_be_kept_is_told() {
    let plan = Plan::alone(&site("[policy]\nnodes = 2\n[slo]\nmiss_p99_ms = 0.5")).unwrap();
    assert!(!plan.holds());
    let failed: Vec<_> = plan.checks.iter().filter(|check| !check.holds).collect();
    assert!(
        failed
            .iter()
            .all(|check| check.name.contains("p99 of misses")),
        "{failed:?}"
    );
}

#[test]
fn more_load_needs_more_and_never_less() {
    let mut before = (0.0, 0.0, 0.0);
    for factor in [1.0, 20.0, 100.0, 400.0] {
        let source = site("")
            .with(&field::CEILING, 1e6)
            .with(&field::ENGINES, 1000.0)
            .with(&field::PEAK_RPS, 3000.0 * factor)
            .with(&field::KEYS_TOTAL, 20_000.0 * factor);
        let plan = Plan::alone(&source).unwrap();
        let peak = plan.scenario("peak").unwrap();
        let now = (
            plan.design.nodes.value(),
            peak.hsm_ops.value(),
            plan.design.entries.value(),
        );
        assert!(
            now.0 >= before.0 && now.1 > before.1 && now.2 >= before.2,
            "{factor}: {now:?} after {before:?}"
        );
        before = now;
    }
    assert!(
        before.0 >= 3.0,
        "a million unwraps a second on {} nodes of two cores",
        before.0
    );
}

#[test]
fn the_page_needs_no_network_and_the_json_has_everything() {
    let source = site("[workload.storm]\ndevices = 10_000\nwindow_s = 60\n[slo]\np99_ms = 10");
    let plan = Plan::of(&source).unwrap();
    let page = html::page(&plan, &source);
    // A name of the format, and a word of a command.
    let inert = page
        .replace("http://www.w3.org/2000/svg", "")
        .replace("--metrics http://NODE:8444/metrics", "");
    for remote in [
        "http:", "https:", "src=", "href=", "<script", "@import", "url(",
    ] {
        assert!(!inert.contains(remote), "{remote}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(!page.contains("NaN"));
    let value: serde_json::Value = serde_json::from_str(&json::text(&plan)).unwrap();
    for quantity in plan.quantities() {
        assert!(
            value["quantities"][quantity.name()]["from"].is_string(),
            "{}",
            quantity.name()
        );
    }
    assert!(!value["assumptions"].as_array().unwrap().is_empty());
    let peak = value["sensitivity"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["field"] == "workload.peak_rps")
        .unwrap();
    assert!(
        peak["more"]["hsm_ops"].as_f64().unwrap() > 0.0
            && peak["less"]["hsm_ops"].as_f64().unwrap() < 0.0
    );
    let storm = plan.passing.storm.as_ref().unwrap();
    assert!(near(storm.jobs.value(), 10_000.0, 1e-9));
}

fn tune(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kms-tune"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn the_program_plans_explains_and_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let example = tune(&["example"], folder.path());
    std::fs::write(folder.path().join("site.toml"), &example.stdout).unwrap();
    let planned = tune(&["explain", "site.toml", "peak.hsm_ops_s"], folder.path());
    let text = String::from_utf8(planned.stdout).unwrap();
    assert!(
        text.contains("= 20 000 unwraps/s   given: workload.peak_rps in site.toml"),
        "{text}"
    );
    let unknown = tune(&["explain", "site.toml", "peak.hsm_op_s"], folder.path());
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        String::from_utf8(unknown.stderr)
            .unwrap()
            .contains("did you mean peak.hsm_ops_s?")
    );
    let vary = [
        "sweep",
        "site.toml",
        "--vary",
        "policy.ttl_s=60,600",
        "--show",
        "peak.hsm_ops_s",
        "--svg",
        "ttl.svg",
    ];
    let swept = tune(&vary, folder.path());
    let text = String::from_utf8(swept.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0],
        ["policy.ttl_s", "peak.hsm_ops_s", "objectives"],
        "{text}"
    );
    let ops = |row: usize| rows[row][1].parse::<f64>().unwrap();
    assert!(rows.len() == 3 && ops(1) > 2.0 * ops(2), "{text}");
    assert!(
        std::fs::read_to_string(folder.path().join("ttl.svg"))
            .unwrap()
            .contains("<polyline")
    );
    let missing = tune(&["plan", "nowhere.toml"], folder.path());
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("nowhere.toml: cannot be read")
    );
    let hidden = tune(
        &[
            "plan",
            "site.toml",
            "--set",
            "slo.miss_p99_ms=0.1",
            "--json",
        ],
        folder.path(),
    );
    assert_eq!(hidden.status.code(), Some(1), "an objective that is missed");
}

#[test]
fn a_measured_handshake_is_one_of_p256() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("machine.toml"),
        "[machine]\nhandshake_us = 100\n",
    )
    .unwrap();
    let calibrated = "calibration = \"machine.toml\"";
    // The certificates, what the description says of the machine, microseconds.
    for (cert, more, want_us) in [
        ("p256", calibrated, 100.0),
        ("rsa2048", calibrated, 450.0),
        ("rsa2048", "handshake_us = 300", 300.0),
    ] {
        let text = format!(
            "[workload]\npeak_rps = 3000\nkeys_total = 20_000\ncert = \"{cert}\"\n[hsm]\npreset = \"lan-hsm\"\n\
             [machine]\n{more}\n"
        );
        let source = Source::parse(&folder.path().join("site.toml"), &text).unwrap();
        let plan = Plan::alone(&source).unwrap();
        let got_us = plan.design.handshake_us.value();
        assert!(near(got_us, want_us, 0.0), "{cert}, {more}: {got_us}");
        // What is not taken is not varied either.
        let is_held = plan.site.opt(&field::HANDSHAKE_US).is_some();
        assert_eq!(is_held, want_us < 400.0, "{cert}, {more}");
    }
}
