//! Tests that a document names: a promise is shown by a test that exists, or it is none.

use crate::source::Source;

/// Title of a table's last column that names tests.
const COLUMN: &str = "shown by";

/// Each row of a table with that column names tests, and all of them exist.
pub fn check(path: &str, text: &str, sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut is_inside = false;
    for (number, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
        let last = cells.last().map_or("", |cell| cell.trim());
        if !line.trim_start().starts_with('|') {
            is_inside = false;
            continue;
        }
        if last == COLUMN {
            is_inside = true;
            continue;
        }
        if !is_inside || last.chars().all(|c| "-: ".contains(c)) && !last.is_empty() {
            continue;
        }
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        let mut wrong = |what: String| violations.push(format!("{path}:{}: {what}", number + 1));
        if names.is_empty() {
            wrong("a row names no test".to_owned());
        }
        for name in names {
            if !is_test(name, sources) {
                wrong(format!("no test is called {name}"));
            }
        }
    }
    violations
}

fn is_test(name: &str, sources: &[Source]) -> bool {
    let head = format!("fn {name}(");
    sources.iter().any(|source| {
        source.code.match_indices(&head).any(|(at, _)| {
            // Attributes stand between this and whatever is before.
            let before = &source.code[..at];
            let item = before
                .rfind(['}', ';'])
                .map_or(before, |end| &before[end..]);
            item.contains("#[test]")
        })
    })
}

#[test]
fn rows_without_a_test_and_tests_that_are_none_are_found() {
    let source = Source::new(
        "tests/a.rs",
        "fn helper() {}\n#[test]\n#[ignore = \"long; `x`\"]\nfn is_there() {}\n",
    );
    let document = "| what | shown by |\n|---|---|\n| a | `is_there` |\n| b | nobody |\n| c | `helper`, `is_there` |\n\n| d | e |";
    assert_eq!(
        check("d.md", document, &[source]),
        [
            "d.md:4: a row names no test",
            "d.md:5: no test is called helper"
        ]
    );
}
