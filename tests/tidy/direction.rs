//! Import direction: each line of rooms may import only from lines above it.

use crate::source::{Source, is_word, words};

/// From the ground up. Rooms of one line do not know each other.
const LINES: [&[&str]; 13] = [
    &["limits"],
    &["secret", "metrics"],
    &["wire", "keystore", "config", "audit"],
    &["identity"],
    &["net", "cache", "flight", "quota"],
    &["hsm", "api", "cluster"],
    &["keys"],
    &["engine"],
    &["server"],
    // It tells about the server, which does not know it.
    &["admin"],
    &["node"],
    &["cli"],
    &["main"],
];

/// Forbidden although the line is above: who, whom, why.
const NEVER: [(&str, &str, &str); 2] = [
    ("hsm", "cache", "it gets a completion function instead"),
    ("api", "config", "what it needs comes as arguments"),
];

fn line_of(room: &str) -> Option<usize> {
    LINES.iter().position(|line| line.contains(&room))
}

/// Modules of a file below `src/`: `src/net/tls.rs` is `[net, tls]`.
fn modules(path: &str) -> Option<Vec<&str>> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Vec<_> = path.split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    (parts != ["lib"]).then_some(parts)
}

pub fn check(source: &Source) -> Vec<String> {
    let Some(own) = modules(&source.path) else {
        return Vec::new();
    };
    let room = own[0];
    let mut violations = Vec::new();
    for (offset, target) in imports(&source.shipped, own.len()) {
        if target == room {
            continue;
        }
        let place = format!("{}:{}", source.path, source.line(offset));
        let (Some(from), Some(to)) = (line_of(room), line_of(target)) else {
            violations.push(format!(
                "{place}: {room} or {target} is in no line of tests/tidy/direction.rs"
            ));
            continue;
        };
        if to >= from {
            violations.push(format!(
                "{place}: {room} imports {target}, which is not above it"
            ));
        }
        for (who, whom, why) in NEVER {
            if (who, whom) == (room, target) {
                violations.push(format!("{place}: {who} never imports {whom}: {why}"));
            }
        }
    }
    violations
}

/// Rooms named by `crate::room`, `crate::{room, ...}` and as many `super::` as lead to the root.
fn imports(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let roots = [format!("crate{}", "::"), "super::".repeat(depth)];
    let mut found = Vec::new();
    for root in &roots {
        for offset in words(code, root) {
            let rest = &code[offset + root.len()..];
            // More `super` than here would leave the crate; `a::super::` is no root either.
            if code[..offset].ends_with("::") {
                continue;
            }
            for name in heads(rest) {
                if name != "super" && name != "self" {
                    found.push((offset, name));
                }
            }
        }
    }
    found
}

/// The first names of a path or of a braced group of paths.
fn heads(rest: &str) -> Vec<&str> {
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        return head(rest).into_iter().collect();
    };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (offset, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                names.extend(head(group[start..offset].trim_start()));
                start = offset + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn head(path: &str) -> Option<&str> {
    let length = path.bytes().take_while(|&byte| is_word(byte)).count();
    (length > 0).then(|| &path[..length])
}

#[test]
fn wrong_directions_are_found() {
    for (name, path, text, want) in [
        (
            "upwards",
            "src/cache/mod.rs",
            "use crate::engine::Done;",
            "cache imports engine",
        ),
        (
            "same line",
            "src/net/lane.rs",
            "use crate::cache::Cache;",
            "net imports cache",
        ),
        (
            "in a group",
            "src/wire/http.rs",
            "use crate::{limits::A, hsm::{B, C}};",
            "wire imports hsm",
        ),
        (
            "group, last",
            "src/wire/http.rs",
            "use crate::{\n    limits::{A, B},\n    node,\n};",
            "wire imports node",
        ),
        (
            "without use",
            "src/hsm/mod.rs",
            "fn f() { crate::server::go() }",
            "hsm imports server",
        ),
        (
            "by super",
            "src/wire/http.rs",
            "use super::super::hsm::Job;",
            "wire imports hsm",
        ),
        (
            "hsm and cache",
            "src/hsm/pool.rs",
            "use crate::cache::Cache;",
            "hsm never imports cache",
        ),
        (
            "api and config",
            "src/api/mod.rs",
            "use crate::config::Config;",
            "api never imports config",
        ),
        (
            "unknown room",
            "src/wire/http.rs",
            "use crate::attic::X;",
            "in no line",
        ),
    ] {
        let found = check(&Source::new(path, text)).join("\n");
        assert!(found.contains(want), "{name}: {found:?}");
    }
}

#[test]
fn right_directions_pass() {
    for (name, path, text) in [
        (
            "downwards",
            "src/engine/mod.rs",
            "use crate::{cache::Cache, hsm::Job, secret};",
        ),
        (
            "own room",
            "src/hsm/pool.rs",
            "use crate::hsm::Job; use super::batch::Batch;",
        ),
        ("a comment", "src/wire/ttlv.rs", "// as in crate::hsm\n"),
        (
            "a test",
            "src/net/tls.rs",
            "#[cfg(test)]\nmod tests { use crate::cli::pki; }",
        ),
        (
            "one super",
            "src/net/tls/pins.rs",
            "use super::super::inbox::Inbox;",
        ),
    ] {
        assert_eq!(
            check(&Source::new(path, text)),
            Vec::<String>::new(),
            "{name}"
        );
    }
}
