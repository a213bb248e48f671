//! Every dependency says what it is for.

/// A dependency needs a comment right above it, or above the unbroken group it stands in.
pub fn check(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let (mut in_dependencies, mut explained, mut open) = (false, false, 0_i32);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if open > 0 {
            open += nesting(line);
        } else if line.starts_with('[') {
            in_dependencies = is_dependencies(line);
            // `[dependencies.name]` is a dependency itself.
            if is_single_dependency(line) && !explained {
                violations.push(violation(path, number, line));
            }
            explained = false;
        } else if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else {
            if in_dependencies && !explained {
                violations.push(violation(path, number, line));
            }
            open = nesting(line);
        }
    }
    violations
}

fn violation(path: &str, number: usize, line: &str) -> String {
    let name = line.split(['=', ' ']).next().unwrap_or(line);
    format!("{path}:{}: {name} has no comment that says why", number + 1)
}

fn is_dependencies(header: &str) -> bool {
    header.trim_end_matches(']').ends_with("dependencies")
}

fn is_single_dependency(header: &str) -> bool {
    header.contains("dependencies.") && !is_dependencies(header)
}

fn nesting(line: &str) -> i32 {
    let count = |chars: [char; 2]| i32::try_from(line.matches(chars).count()).unwrap_or(0);
    count(['{', '[']) - count(['}', ']'])
}

#[test]
fn unexplained_dependencies_are_found() {
    for (name, text, want) in [
        ("first", "[dependencies]\na = \"1\"\n", "x:2: a has no"),
        (
            "after a gap",
            "[dependencies]\n# why\na = \"1\"\n\nb = \"1\"",
            "x:5: b has no",
        ),
        (
            "for tests",
            "[dev-dependencies]\na = { version = \"1\" }",
            "x:2: a has no",
        ),
        (
            "for one target",
            "[target.'cfg(unix)'.dependencies]\na = \"1\"",
            "x:2: a has no",
        ),
        ("own table", "[dependencies.a]\nversion = \"1\"", "has no"),
    ] {
        let found = check("x", text).join("\n");
        assert!(found.contains(want), "{name}: {found:?}");
    }
    let good = "[package]\nname = \"a\"\n[dependencies]\n# why\na = { version = \"1\", features = [\n    \"x\",\n] }\nb = \"1\"\n[lints]\nworkspace = true";
    assert!(check("x", good).is_empty());
}
