//! `unsafe` only in `src/secret/`, and each with a SAFETY comment of its own.

use crate::source::{Source, words};

const HOME: &str = "src/secret/";
/// Files elsewhere that need it, each with its reason.
const ELSEWHERE: [(&str, &str); 1] = [(
    "tests/keystore_mutation.rs",
    "an allocator that measures the largest allocation a damaged file causes",
)];
/// A comment this many lines above still belongs to the block.
const COMMENT_LINES_MAX: usize = 8;

pub fn check(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut violations = Vec::new();
    let mut claimed = 0;
    for offset in words(&source.code, "unsafe") {
        let line = source.line(offset);
        let place = format!("{}:{line}", source.path);
        let name: String = source.code[offset..]
            .chars()
            .take_while(|&c| c.is_alphanumeric() || c == '_')
            .collect();
        // Names of functions may begin like that; the lint's name is as good as the thing.
        if name != "unsafe" && name != "unsafe_code" {
            continue;
        }
        let is_excepted = ELSEWHERE.iter().any(|(path, _)| *path == source.path);
        if !source.path.starts_with(HOME) && !is_excepted {
            violations.push(format!("{place}: {name} outside {HOME}"));
            continue;
        }
        // A function states its contract; its body says why each block keeps one.
        let rest = source.code[offset + name.len()..].trim_start();
        if name != "unsafe" || rest.starts_with("fn ") || rest.starts_with("extern ") {
            continue;
        }
        let from = claimed.max(line.saturating_sub(COMMENT_LINES_MAX + 1));
        let said = (from..line).rev().find(|&at| is_reason(lines[at]));
        match said {
            Some(at) => claimed = at + 1,
            None => violations.push(format!("{place}: unsafe without a SAFETY comment above it")),
        }
    }
    violations
}

fn is_reason(line: &str) -> bool {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    comment.contains("SAFETY:") || comment.contains("# Safety")
}

#[test]
fn stray_and_unexplained_unsafe_is_found() {
    let two = "// SAFETY: a\nunsafe { a() };\nunsafe { b() };\n";
    for (name, path, text, want) in [
        (
            "elsewhere",
            "src/net/pipe.rs",
            "// SAFETY: no\nunsafe { f() }",
            "outside",
        ),
        (
            "allowed elsewhere",
            "src/net/pipe.rs",
            "#![allow(unsafe_code)]",
            "outside",
        ),
        ("in a test", "tests/a.rs", "unsafe { f() }", "outside"),
        (
            "block",
            "src/secret/a.rs",
            "fn f() {\n    unsafe { g() }\n}",
            "without a SAFETY",
        ),
        (
            "impl",
            "src/secret/a.rs",
            "unsafe impl Send for A {}",
            "without a SAFETY",
        ),
        (
            "in a string",
            "src/secret/a.rs",
            "let a = \"SAFETY:\";\nunsafe { g() }",
            "without a SAFETY",
        ),
        (
            "one reason for two",
            "src/secret/a.rs",
            two,
            "a.rs:3: unsafe without",
        ),
    ] {
        let found = check(&Source::new(path, text)).join("\n");
        assert!(found.contains(want), "{name}: {found:?}");
    }
    let good = "#![allow(unsafe_code)]\n// SAFETY: a\n// more\nlet x =\n    unsafe { a() };\n";
    assert!(check(&Source::new("src/secret/a.rs", good)).is_empty());
}
