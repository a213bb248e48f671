//! How long a file and a function may be.

use crate::source::{Source, closing_brace, is_word, words};

const FILE_LINES_MAX: usize = 400;
/// Between the braces.
const FUNCTION_LINES_MAX: usize = 60;
/// Files that may be longer, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

pub fn check_file(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX || LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines, more than {FILE_LINES_MAX}: split it by subject",
        source.path
    )]
}

pub fn check_functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut violations = Vec::new();
    for offset in words(code, "fn ") {
        let Some(open) = body(code, offset) else {
            continue;
        };
        let end = closing_brace(code, open).unwrap_or(code.len());
        // The lines of the braces themselves do not count.
        let lines = code[open..end].matches('\n').count().saturating_sub(1);
        if lines > FUNCTION_LINES_MAX {
            let name = code[offset + 3..]
                .split(|c: char| !c.is_ascii() || !is_word(c as u8))
                .next();
            violations.push(format!(
                "{}:{}: {} has {lines} lines, more than {FUNCTION_LINES_MAX}",
                source.path,
                source.line(offset),
                name.unwrap_or("a function")
            ));
        }
    }
    violations
}

/// Offset of the brace that opens the body; none for a declaration.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn long_files_are_found() {
    let long = "\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(check_file(&Source::new("src/a.rs", &long)).len(), 1);
    assert_eq!(check_file(&Source::new("src/a.rs", &long[1..])).len(), 0);
}

#[test]
fn long_functions_are_found() {
    let function = |lines| {
        format!(
            "trait T {{ fn d(x: [u8; 2]); }}\nfn long<const N: usize>(x: [u8; 4])\nwhere\n{{\n{}}}\n",
            "    a;\n".repeat(lines)
        )
    };
    let found = check_functions(&Source::new("src/a.rs", &function(FUNCTION_LINES_MAX + 1)));
    assert_eq!(found, ["src/a.rs:2: long has 61 lines, more than 60"]);
    assert!(check_functions(&Source::new("src/a.rs", &function(FUNCTION_LINES_MAX))).is_empty());
}
