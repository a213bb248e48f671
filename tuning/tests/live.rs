//! Plans from running nodes' figures: what is taken from them, what is warned of, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt::Write as _;
use std::path::Path;

use kms_tune::input::{Source, field};
use kms_tune::live::{Figures, told};
use kms_tune::model::popularity::Popularity;
use kms_tune::trace::Origin;

const SITE: &str = "[workload]\npeak_rps = 400\nmean_rps = 200\nkeys_total = 1000\n[hsm]\npreset = \"lan-hsm\"\n\
    [policy]\nttl_s = 60\n";

/// As a node tells it after an hour of 300 unwraps a second of 50 000 keys by Zipf 0.8, TTL 300 s.
fn node(entries_max: u32) -> String {
    let keys = Popularity::zipf(50_000.0, 0.8);
    let held = |key: f64| key * 300.0 / (1.0 + key * 300.0);
    let ttl = keys.sum(300.0, held);
    let day = keys.sum(300.0, |key| 1.0 - (1.0 - held(key)) * (-key * 3300.0).exp());
    let mut text = format!(
        "# TYPE kms_uptime_seconds gauge\nkms_uptime_seconds 3600\n\
         kms_unwraps_total{{source=\"cache\"}} 700000\nkms_unwraps_total{{source=\"joined\"}} 0\n\
         kms_unwraps_total{{source=\"hsm\"}} 380000\nkms_refreshes_total{{outcome=\"renewed\"}} 20000\n\
         kms_hsm_message_items_sum 472000\nkms_hsm_message_items_count 470000\n\
         kms_connections 900\nkms_handshakes_total 7200\n\
         kms_handshake_duration_seconds_count{{kind=\"full\"}} 1800\nkms_handshake_duration_seconds_count{{kind=\"resumed\"}} 5400\n\
         kms_cache_ttl_seconds 300\nkms_cache_entries_max {entries_max}\n\
         kms_working_set_keys{{window=\"ttl\"}} {ttl}\nkms_working_set_keys{{window=\"day\"}} {day}\n\
         kms_working_set_seconds{{window=\"ttl\"}} 300\nkms_working_set_seconds{{window=\"day\"}} 3600\n"
    );
    for (bound, count) in [
        ("0.001", 0),
        ("0.002", 235_000),
        ("0.005", 465_300),
        ("0.01", 470_000),
        ("+Inf", 470_000),
    ] {
        let name = "kms_hsm_message_duration_seconds_bucket";
        writeln!(text, "{name}{{about=\"crypt\",le=\"{bound}\"}} {count}").unwrap();
    }
    text
}

fn figures(text: &str) -> Figures {
    Figures::new(kms_loadgen::load::scrape::samples(text))
}

fn source() -> Source {
    Source::parse(Path::new("site.toml"), SITE).unwrap()
}

#[test]
fn a_site_is_what_its_nodes_tell() {
    let nodes = [figures(&node(100_000)), figures(&node(100_000))];
    let told = told(&nodes, &source()).unwrap();
    let site = source().with_live(told.fields).site().unwrap();
    for (field, want, within) in [
        (&field::MEAN_RPS, 600.0, 0.001),
        // The description's peak is twice its mean.
        (&field::PEAK_RPS, 1200.0, 0.001),
        (&field::WRAPS_RPS, 40.0, 0.001),
        (&field::CLIENTS, 1800.0, 0.001),
        (&field::CONN_LIFETIME_S, 450.0, 0.001),
        (&field::RESUME_RATIO, 0.75, 0.001),
        (&field::TTL_S, 300.0, 0.001),
        (&field::KEYS_TOTAL, 50_000.0, 0.05),
        (&field::ZIPF_S, 0.8, 0.05),
        (&field::MESSAGE_MS, 2.0, 0.001),
        (&field::SIGMA, 2.5_f64.ln() / 2.326, 0.01),
    ] {
        let got = site.get(field);
        assert!(
            (got.value() / want - 1.0).abs() < within,
            "{}: {}",
            field.path,
            got.value()
        );
        assert!(
            matches!(got.origin(), Origin::Measured(_)),
            "{}",
            field.path
        );
    }
    assert!(
        told.notes
            .iter()
            .any(|note| note.contains("more than the description's peak"))
    );
}

#[test]
fn a_working_set_without_room_is_warned_of() {
    for (name, entries_max, want) in [("room", 100_000, false), ("no room", 5000, true)] {
        let told = told(&[figures(&node(entries_max))], &source()).unwrap();
        let is_warned = told
            .notes
            .iter()
            .any(|note| note.starts_with("WARNING: node 1 fetched"));
        assert_eq!(is_warned, want, "{name}: {:?}", told.notes);
    }
}

#[test]
fn what_tells_nothing_is_refused_or_told() {
    let young = node(1000).replace("kms_uptime_seconds 3600", "kms_uptime_seconds 3");
    for (name, text, want) in [
        (
            "another program",
            "go_goroutines 7\n",
            "no figures of a kms",
        ),
        ("just started", young.as_str(), "no figures of a kms"),
        ("nothing", "", "no figures of a kms"),
    ] {
        let error = told(&[figures(text)], &source()).unwrap_err();
        assert!(error.contains(want), "{name}: {error}");
    }
    let idle = node(1000).replace("700000", "7").replace("380000", "3");
    assert!(
        told(&[figures(&idle)], &source())
            .unwrap_err()
            .contains("10 unwraps")
    );
    let no_set: String = node(1000)
        .lines()
        .filter(|line| !line.contains("working_set"))
        .fold(String::new(), |all, line| all + line + "\n");
    let quiet = told(&[figures(&no_set)], &source()).unwrap();
    assert!(
        quiet
            .fields
            .iter()
            .all(|(told, _)| told.path != field::ZIPF_S.path)
    );
    assert!(
        quiet
            .notes
            .iter()
            .any(|note| note.contains("no working set"))
    );
}
