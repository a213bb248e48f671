//! What the reader of descriptions takes, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use kms_loadgen::sim::Preset;
use kms_tune::input::{Source, field, render_example};
use kms_tune::trace::Origin;

/// A name, a description, and what its refusal says.
type Refused = (&'static str, &'static str, &'static [&'static str]);

const REFUSED: &[Refused] = &[
    (
        "nothing",
        "",
        &[
            "workload.peak_rps is not there",
            "workload.keys_total",
            "hsm.message_ms",
            "hsm.preset",
        ],
    ),
    (
        "ttl 0",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "[policy]\nttl_s = 0\n"
        ),
        &["policy.ttl_s is 0 where a whole number from 1 to 86 400 belongs"],
    ),
    (
        "negative exponent",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "zipf_s = -1\n",
            "[hsm]\npreset = \"lan-hsm\"\n"
        ),
        &["workload.zipf_s is -1 where a number from 0 to 3 belongs"],
    ),
    (
        "no number",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "zipf_s = \"steep\"\n",
            "[hsm]\npreset = \"lan-hsm\"\n"
        ),
        &["workload.zipf_s is \"steep\" where a number"],
    ),
    (
        "infinite",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "zipf_s = inf\n",
            "[hsm]\npreset = \"lan-hsm\"\n"
        ),
        &["workload.zipf_s is no end"],
    ),
    (
        "misspelt",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "[policy]\nttl = 60\n"
        ),
        &["policy.ttl: there is no such field; did you mean policy.ttl_s?"],
    ),
    (
        "strange table",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "[colours]\nred = 1\n"
        ),
        &["colours: there is no such field"],
    ),
    (
        "preset",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"fast\"\n"
        ),
        &["hsm.preset is \"fast\" where null or soft-kmip"],
    ),
    (
        "all nodes lost",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "[policy]\nnodes = 2\nnodes_lost = 2\n"
        ),
        &["policy.nodes_lost is 2 where less than policy.nodes, 2, belongs"],
    ),
    (
        "all HSMs lost",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "hsm_lost = 1\n"
        ),
        &["hsm.hsm_lost is 1 where less than hsm.hsms, 1, belongs"],
    ),
    (
        "mean above peak",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "mean_rps = 2000\n",
            "[hsm]\npreset = \"lan-hsm\"\n"
        ),
        &["workload.mean_rps is 2000 where at most workload.peak_rps, 1000, belongs"],
    ),
    (
        "ceiling below the mean",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "cold_share = 0.5\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "ceiling_ops_s = 100\n"
        ),
        &["hsm.ceiling_ops_s is 100 where at least", "for each HSM"],
    ),
    (
        "ceiling below what no cache saves",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "ceiling_ops_s = 5\n[policy]\nttl_s = 60\n"
        ),
        &["hsm.ceiling_ops_s is 5 where at least"],
    ),
    (
        "slower than the deadline",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "message_ms = 3000\n"
        ),
        &["policy.timeout_ms is 2000 where more than one message to the HSM takes"],
    ),
    ("no TOML", "[workload\n", &["site.toml: no TOML"]),
    (
        "two at once",
        concat!(
            "[workload]\npeak_rps = 1000\nkeys_total = 10000\n",
            "zipf_s = 9\n",
            "[hsm]\npreset = \"lan-hsm\"\n",
            "sigma = 9\n"
        ),
        &["workload.zipf_s is 9", "hsm.sigma is 9"],
    ),
];

/// Why it is refused.
fn refusal(text: &str) -> Option<String> {
    let read = Source::parse(Path::new("site.toml"), text).and_then(|source| source.site());
    read.err().map(|error| error.to_string())
}

#[test]
fn inputs_are_refused_by_field_value_and_range() {
    for (name, text, wants) in REFUSED {
        let error = refusal(text).unwrap_or_else(|| panic!("{name}: taken"));
        for want in *wants {
            assert!(error.contains(want), "{name}: {error}");
        }
    }
    let good = "[workload]\npeak_rps = 1000\nkeys_total = 10000\n[hsm]\npreset = \"lan-hsm\"\n";
    assert_eq!(refusal(good), None);
}

#[test]
fn the_example_is_a_site_and_names_every_field() {
    let example = render_example();
    let source = Source::parse(Path::new("site.toml"), &example).unwrap();
    source.site().unwrap();
    for field in field::FIELDS {
        assert!(example.contains(field.help), "{}", field.path);
    }
}

#[test]
fn presets_are_those_of_the_simulator() {
    for preset in Preset::ALL {
        let text = format!(
            "[workload]\npeak_rps = 10\nkeys_total = 100\n[hsm]\npreset = \"{}\"\n",
            preset.name()
        );
        let held = Source::parse(Path::new("site.toml"), &text)
            .unwrap()
            .site()
            .unwrap();
        let model = preset.model();
        assert!(
            (held.get(&field::MESSAGE_MS).value() - model.message_ms).abs() < 1e-12,
            "{}",
            preset.name()
        );
        assert_eq!(
            held.opt(&field::CEILING).map(|ceiling| ceiling.value()),
            model.ceiling_ops_s,
            "{}",
            preset.name()
        );
    }
}

#[test]
fn what_was_measured_stands_below_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let measured = "[machine]\nhit_us = 4.5\nmiss_us = 18.0\n[hsm]\nmessage_ms = 2.5\n";
    std::fs::write(folder.path().join("machine.toml"), measured).unwrap();
    let file = folder.path().join("site.toml");
    let text = "[workload]\npeak_rps = 10\nkeys_total = 100\n[hsm]\npreset = \"lan-hsm\"\n[machine]\ncalibration = \"machine.toml\"\nmiss_us = 30.0\n";
    std::fs::write(&file, text).unwrap();
    let held = Source::read(&file).unwrap().site().unwrap();
    assert!((held.get(&field::HIT_US).value() - 4.5).abs() < 1e-12);
    assert!(
        matches!(held.get(&field::HIT_US).origin(), Origin::Measured(place) if place.ends_with("machine.toml"))
    );
    assert!(
        (held.get(&field::MISS_US).value() - 30.0).abs() < 1e-12,
        "what is written wins"
    );
    assert!(
        (held.get(&field::MESSAGE_MS).value() - 2.5).abs() < 1e-12,
        "measured wins over the preset"
    );
}
