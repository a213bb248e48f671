//! The same recorded requests to a real OpenBao and to our server: what differs has its stated reason.
//!
//! `differential/*.txt` are the requests, `differential/differences.rs` the documented differences.
//! The harness is held by asking two of the real ones, which must not differ, and by answers that do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/differences.rs"]
mod differences;
#[path = "differential/exchange.rs"]
mod exchange;
#[path = "differential/harness.rs"]
mod harness;
#[path = "differential/mask.rs"]
mod mask;
#[path = "differential/openbao.rs"]
mod openbao;
#[path = "differential/peers.rs"]
mod peers;
#[path = "differential/record.rs"]
mod record;
mod support;

use differences::DIFFERENCES;
use openbao::OpenBao;
use peers::Ours;
use record::Row;

/// In this order: each works on what those before it made.
const RECORDS: &[(&str, &str)] = &[
    ("keys", include_str!("differential/keys.txt")),
    ("crypt", include_str!("differential/crypt.txt")),
    ("batch", include_str!("differential/batch.txt")),
    ("json", include_str!("differential/json.txt")),
    ("versions", include_str!("differential/versions.txt")),
    ("datakey", include_str!("differential/datakey.txt")),
    ("rewrap", include_str!("differential/rewrap.txt")),
    ("names", include_str!("differential/names.txt")),
    ("methods", include_str!("differential/methods.txt")),
    ("headers", include_str!("differential/headers.txt")),
    ("limits", include_str!("differential/limits.txt")),
    ("system", include_str!("differential/system.txt")),
    ("left_out", include_str!("differential/left_out.txt")),
];

fn rows() -> Vec<Row> {
    RECORDS
        .iter()
        .flat_map(|(file, text)| record::read(file, text))
        .collect()
}

#[test]
fn our_answers_are_openbaos() {
    let (mut theirs, mut ours) = (OpenBao::start(), Ours::start(&[]));
    compare::run(&rows(), &mut theirs, &mut ours, DIFFERENCES).hold(DIFFERENCES);
    ours.node.process.assert_alive();
}

#[test]
fn two_openbaos_do_not_differ() {
    let (mut one, mut other) = (OpenBao::start(), OpenBao::start());
    compare::run(&rows(), &mut one, &mut other, &[]).hold(&[]);
}

#[test]
fn documented_differences_are_few_and_have_reasons() {
    // Each one costs a client something: a new one is a decision, told in README.md.
    assert_eq!(DIFFERENCES.len(), 18);
    for (at, difference) in DIFFERENCES.iter().enumerate() {
        assert!(difference.reason.len() > 20, "{}: no reason", difference.id);
        let again = DIFFERENCES[..at]
            .iter()
            .any(|other| other.id == difference.id);
        assert!(!again, "{} stands twice", difference.id);
    }
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) = readme
        .split_once("### Where answers differ")
        .expect("the section");
    let rows = section.lines().take_while(|line| !line.starts_with("##"));
    let mut told: Vec<_> = rows
        .filter_map(|row| row.strip_prefix("| ")?.split_once(" | "))
        .collect();
    told.retain(|(id, _)| !id.is_empty() && *id != "|");
    told.sort_unstable();
    let mut held: Vec<_> = DIFFERENCES.iter().map(|difference| difference.id).collect();
    held.sort_unstable();
    let told: Vec<_> = told.into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, held, "README.md");
}
