//! The rules of the house that the compiler does not hold: who may import whom, how long files and
//! functions may be, where `unsafe` lives, that nothing panics on input, headers, reasons for
//! dependencies. Each rule is a function from text to violations, with a bad text in its own test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "tidy/direction.rs"]
mod direction;
#[path = "tidy/length.rs"]
mod length;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/named.rs"]
mod named;
#[path = "tidy/panics.rs"]
mod panics;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/unsafety.rs"]
mod unsafety;

use source::{Source, read_tree, rust_sources};

/// Fails with every violation at once, one a line, as `file:line: what and what to do`.
fn hold(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

fn each_source(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = rust_sources();
    assert!(sources.len() > 10, "the tree was not found");
    sources.iter().flat_map(rule).collect()
}

#[test]
fn rooms_import_only_from_rooms_above() {
    hold(&each_source(direction::check));
}

#[test]
fn files_are_short() {
    hold(&each_source(length::check_file));
}

#[test]
fn functions_are_short() {
    hold(&each_source(length::check_functions));
}

#[test]
fn unsafe_lives_in_secret_and_says_why() {
    hold(&each_source(unsafety::check));
}

#[test]
fn nothing_panics_outside_tests() {
    hold(&each_source(panics::check));
}

#[test]
fn every_source_file_begins_with_its_header() {
    hold(&each_source(text::check_header));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifests: Vec<_> = read_tree()
        .into_iter()
        .filter(|(path, _)| path.ends_with("Cargo.toml"))
        .collect();
    assert!(manifests.len() >= 4, "the members were not found");
    let check = |(path, text): &(String, String)| manifest::check(path, text);
    hold(&manifests.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let tree = read_tree();
    let check = |(path, text): &(String, String)| text::check_machine_paths(path, text);
    hold(&tree.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn tests_that_a_document_names_exist() {
    let sources = rust_sources();
    let tree = read_tree();
    let documents = tree.iter().filter(|(path, _)| {
        let path = std::path::Path::new(path);
        path.extension().is_some_and(|end| end == "md")
    });
    let check = |(path, text): &(String, String)| named::check(path, text, &sources);
    hold(&documents.flat_map(check).collect::<Vec<_>>());
    let (_, cluster) = tree
        .iter()
        .find(|(path, _)| path == "docs/cluster.md")
        .unwrap();
    assert!(
        cluster.contains("| shown by |"),
        "docs/cluster.md: the table of failures names no tests"
    );
}
