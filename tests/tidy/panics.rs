//! What ends a thread has no place in what is shipped.

use crate::source::{Source, words};

/// Built from halves so that a search of the tree does not end here.
const FORBIDDEN: [&str; 6] = [
    concat!(".unwrap", "()"),
    concat!(".expect", "(\""),
    concat!("panic", "!"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];

pub fn check(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for needle in FORBIDDEN {
        // Literals are blank in the code: look for the call there, for its text in the source.
        let code = needle.trim_end_matches('"');
        let offsets: Vec<_> = if needle.starts_with('.') {
            source
                .shipped
                .match_indices(code)
                .map(|(offset, _)| offset)
                .collect()
        } else {
            words(&source.shipped, code).collect()
        };
        for offset in offsets {
            // A parser may have a method of that name; that of Option and Result takes a text.
            if needle.ends_with('"') && !takes_text(&source.text[offset + code.len()..]) {
                continue;
            }
            violations.push(format!(
                "{}:{}: {code} outside tests",
                source.path,
                source.line(offset)
            ));
        }
    }
    violations
}

fn takes_text(arguments: &str) -> bool {
    let arguments = arguments.trim_start();
    arguments.starts_with('"') || arguments.starts_with("&format!") || arguments.starts_with("r\"")
}

#[test]
fn panicking_calls_are_found() {
    for (name, text) in [
        ("unwrap", "fn f() { x.unwrap() }"),
        ("expect", "fn f() { x.expect(\"y\") }"),
        (
            "expect, on two lines",
            "fn f() { x.expect(\n    \"y\",\n) }",
        ),
        ("panic", "fn f() { panic!(\"y\") }"),
        ("std::panic", "fn f() { std::panic!(\"y\") }"),
        ("todo", "fn f() { todo!() }"),
        ("unimplemented", "fn f() { unimplemented!() }"),
        ("dbg", "fn f() { dbg!(x) }"),
    ] {
        assert_eq!(check(&Source::new("src/a.rs", text)).len(), 1, "{name}");
        assert_eq!(
            check(&Source::new("loadgen/src/a.rs", text)).len(),
            1,
            "{name}"
        );
        assert!(
            check(&Source::new("src/a/tests.rs", text)).is_empty(),
            "{name}"
        );
        let test = format!("#[cfg(test)]\nmod tests {{ {text} }}");
        assert!(check(&Source::new("src/a.rs", &test)).is_empty(), "{name}");
    }
    let good = "fn f() { x.unwrap_or(1); parser.expect(b'{')?; s.expect_err(); } // todo!()";
    assert!(check(&Source::new("src/a.rs", good)).is_empty());
}
