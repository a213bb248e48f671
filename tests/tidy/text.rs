//! Rules about plain text: module headers, and paths that exist on one machine only.

use crate::source::Source;

/// In halves, so that this file is clean itself.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/home", "/"),
];

pub fn check_header(source: &Source) -> Vec<String> {
    let is_source = source.path.starts_with("src/") || source.path.contains("/src/");
    // A file of tests is the tail of the module it tests, whose header is elsewhere.
    let is_test = source.shipped.trim().is_empty();
    if !is_source || is_test || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![format!(
        "{}:1: begins without //!: say what lives here, what must never be true, who calls it",
        source.path
    )]
}

pub fn check_machine_paths(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for needle in MACHINE_PATHS {
            if line
                .match_indices(needle)
                .any(|(at, _)| begins_path(line, at))
            {
                violations.push(format!(
                    "{path}:{}: a path of one machine: {needle}",
                    number + 1
                ));
            }
        }
    }
    violations
}

/// `https://host/work/x` and `net/work/` are no paths of this machine.
fn begins_path(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '-' || c == '_')
}

#[test]
fn missing_headers_are_found() {
    for path in ["src/a.rs", "bench/src/lib.rs"] {
        assert_eq!(
            check_header(&Source::new(path, "use a;\n//! Late.")).len(),
            1,
            "{path}"
        );
        assert!(check_header(&Source::new(path, "//! What lives here.")).is_empty());
    }
}

#[test]
fn machine_paths_are_found() {
    for needle in MACHINE_PATHS {
        let found = check_machine_paths("a.md", &format!("\nsee {needle}x"));
        assert_eq!(found, [format!("a.md:2: a path of one machine: {needle}")]);
        let url = format!("https://host.example{needle}x");
        assert!(check_machine_paths("a.md", &url).is_empty());
    }
}
