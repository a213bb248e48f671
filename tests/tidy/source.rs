//! Rust files as the rules see them: comments and literals blanked, test code told from the rest.

use std::collections::BTreeSet;
use std::path::Path;

/// Folders that are not part of the repository.
const SKIPPED: [&str; 5] = [".git", "target", "kms-demo", "corpus", "artifacts"];

pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
    /// `text` with comments and the insides of literals as spaces; line breaks are kept.
    pub code: String,
    /// `code` with everything under `#[cfg(test)]` blanked too; all of it in a test file.
    pub shipped: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let shipped = if is_test_path(path) {
            blank(&code)
        } else {
            blank_test_items(&code)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            shipped,
        }
    }

    /// One-based line of a byte offset, which is the same in `text`, `code` and `shipped`.
    pub fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }
}

/// Every readable text file of the repository, in order.
pub fn read_tree() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let relative = path.strip_prefix(root).unwrap().to_string_lossy();
                found.push((relative.replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

pub fn rust_sources() -> Vec<Source> {
    let mut sources: Vec<_> = read_tree()
        .iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|end| end == "rs"))
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let test_only = test_only_modules(&sources);
    for source in &mut sources {
        let stem = module_stem(&source.path);
        if test_only
            .iter()
            .any(|module| stem == *module || stem.starts_with(&format!("{module}/")))
        {
            source.shipped = blank(&source.code);
        }
    }
    sources
}

/// `src/a/mod.rs` and `src/a.rs` are both `src/a`.
fn module_stem(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.strip_suffix("/lib").unwrap_or(stem).to_owned()
}

/// Stems of the modules declared as `#[cfg(test)] mod name;`.
fn test_only_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources {
        for (item, _) in test_items(&source.code) {
            let declared = source.code[item]
                .strip_suffix(';')
                .and_then(|item| item.rsplit_once("mod "))
                .map(|(_, name)| name.trim());
            if let Some(name) = declared {
                found.insert(format!("{}/{name}", module_stem(&source.path)));
            }
        }
    }
    found
}

fn is_test_path(path: &str) -> bool {
    // A fuzz entry tells what it found by panicking.
    if path.starts_with("fuzz/") {
        return true;
    }
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    path.ends_with("/tests.rs") || folders.split('/').any(|name| name == "tests")
}

fn blank(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

fn blank_test_items(code: &str) -> String {
    let mut shipped = code.to_owned();
    for (item, _) in test_items(code) {
        shipped.replace_range(item.clone(), &blank(&code[item]));
    }
    shipped
}

/// Byte ranges of the items under `#[cfg(test)]` (or `cfg(all(test, ...))`), and where each begins.
fn test_items(code: &str) -> Vec<(std::ops::Range<usize>, usize)> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(") {
        let start = from + found;
        let Some(end) = code[start..].find(']').map(|end| start + end + 1) else {
            break;
        };
        let condition = &code[start..end];
        from = end;
        if !condition.contains("(test)") && !condition.contains("all(test") {
            continue;
        }
        let stop = item_end(code, end);
        items.push((start..stop, start));
        from = stop;
    }
    items
}

/// Where the item that begins at `from` ends: behind its `;`, or behind its closing brace.
fn item_end(code: &str, from: usize) -> usize {
    let mut round = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b';' if round == 0 => return offset + 1,
            b'{' if round == 0 => {
                return closing_brace(code, offset).map_or(code.len(), |end| end + 1);
            }
            _ => {}
        }
    }
    code.len()
}

/// Offset of the brace that closes the one at `open`.
pub fn closing_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(offset);
        }
    }
    None
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offsets at which `needle` stands and no letter, digit or underscore stands before it.
pub fn words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle)
        .map(|(offset, _)| offset)
        .filter(|&offset| offset == 0 || !is_word(code.as_bytes()[offset - 1]))
}

/// Comments and the insides of strings and characters as spaces, byte for byte.
fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == b'b' => {
                raw_string_end(bytes, at).unwrap_or(at + 1)
            }
            b'\'' => character_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("whole literals were blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes[at..].iter().position(|&byte| byte == b'\n');
    rest.map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while next < bytes.len() {
        match bytes[next] {
            b'\\' => next += 2,
            b'"' => return next + 1,
            _ => next += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let open = at + 1 + hashes;
    (bytes.get(open) == Some(&b'"')).then_some(())?;
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let length = bytes[open + 1..]
        .windows(close.len())
        .position(|piece| piece == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// A lifetime is one step; a character goes to its closing quote.
fn character_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at + 1..];
    if rest.first() == Some(&b'\\') {
        let length = rest.iter().skip(2).position(|&byte| byte == b'\'');
        return length.map_or(bytes.len(), |length| at + 1 + 2 + length + 1);
    }
    let width = rest.first().map_or(1, |&byte| match byte {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    });
    if rest.get(width) == Some(&b'\'') {
        at + width + 2
    } else {
        at + 1
    }
}

#[test]
fn literals_and_comments_are_blanked_in_place() {
    for (name, text, want) in [
        ("comment", "a // unsafe\nb", "a          \nb"),
        (
            "nested comment",
            "a /* x /* y */ z */ b",
            "a                   b",
        ),
        ("string", r#"f("un\"safe") g"#, "f(          ) g"),
        ("raw string", "f(r#\"a\"b\"#) g", "f(        ) g"),
        ("brace character", "m('{') n", "m(   ) n"),
        ("escaped quote", r"m('\'') n", "m(    ) n"),
        (
            "lifetime",
            "fn f<'a>(x: &'a u8) {}",
            "fn f<'a>(x: &'a u8) {}",
        ),
    ] {
        assert_eq!(blank_literals(text), want, "{name}");
    }
}

#[test]
fn test_items_are_told_from_shipped_ones() {
    let source = Source::new(
        "src/a.rs",
        "fn one() {}\n#[cfg(test)]\nmod tests { fn two() {} }\n#[cfg(test)]\nuse x::{y};\nfn three() {}\n",
    );
    assert!(source.shipped.contains("one") && source.shipped.contains("three"));
    assert!(!source.shipped.contains("two"));
    for path in ["tests/a.rs", "src/a/tests.rs", "src/a/tests/b.rs"] {
        assert!(
            Source::new(path, "fn one() {}").shipped.trim().is_empty(),
            "{path}"
        );
    }
    let parent = Source::new("src/a/mod.rs", "#[cfg(test)]\nmod encoder;\n");
    assert!(test_only_modules(&[parent]).contains("src/a/encoder"));
}
