//! Passwords asked for on a real terminal: nothing of them is shown, and the terminal is left as it was, also when the
//! question is not answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

const PASSWORD: &str = "Correct-Horse-9";
const ENTER: &str = "Correct-Horse-9\n";

/// Name, arguments, steps, exit code, what the terminal shows.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    i64,
    &'static str,
);

const NEW: &str = "New password of store.p12: ";
const KNOWN: &str = "Password of store.p12: ";

/// In this order, in one folder.
const ROWS: &[Row] = &[
    (
        "two that differ",
        &["init", "store.p12"],
        &[
            ("wait", NEW),
            ("type", ENTER),
            ("wait", "Again: "),
            ("type", "other-one\n"),
        ],
        2,
        "the two passwords differ",
    ),
    (
        "too short",
        &["init", "store.p12"],
        &[
            ("wait", NEW),
            ("type", "Horse\n"),
            ("wait", "Again: "),
            ("type", "Horse\n"),
        ],
        2,
        "at least 6 characters",
    ),
    (
        "a new one",
        &["init", "store.p12"],
        &[
            ("wait", NEW),
            ("type", ENTER),
            ("wait", "Again: "),
            ("type", ENTER),
        ],
        0,
        "store.p12 is an empty PKCS12 keystore now",
    ),
    (
        "the right one",
        &["list", "store.p12"],
        &[("wait", KNOWN), ("type", ENTER)],
        0,
        "entries 0",
    ),
    (
        "a slip that is erased",
        &["list", "store.p12"],
        &[("wait", KNOWN), ("type", "Correct-Horse-99\u{7f}\n")],
        0,
        "entries 0",
    ),
    (
        "a wrong one",
        &["list", "store.p12"],
        &[("wait", KNOWN), ("type", "Horse-of-others\n")],
        2,
        "the store password is wrong",
    ),
    (
        "Ctrl-D",
        &["list", "store.p12"],
        &[("wait", KNOWN), ("key", "D")],
        2,
        "no password was given",
    ),
];

/// Name, steps, the signal that ends it.
type Ended = (&'static str, &'static [(&'static str, &'static str)], i64);

/// Nothing may stay as the question had it.
const ENDED: &[Ended] = &[
    (
        "Ctrl-C",
        &[("wait", KNOWN), ("type", "Corr"), ("key", "C")],
        2,
    ),
    (
        "Ctrl-C at the second question",
        &[
            ("wait", NEW),
            ("type", ENTER),
            ("wait", "Again: "),
            ("key", "C"),
        ],
        2,
    ),
    (
        "Ctrl-Z and Ctrl-backslash, which would leave it mute, are mere characters",
        &[("wait", KNOWN), ("key", "Z"), ("key", "\\"), ("key", "C")],
        2,
    ),
    ("SIGTERM", &[("wait", KNOWN), ("kill", "SIGTERM")], 15),
    ("SIGHUP", &[("wait", KNOWN), ("kill", "SIGHUP")], 1),
];

fn at_a_terminal(folder: &Path, args: &[&str], steps: &[(&str, &str)]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal/prompt.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .arg(json!(steps).to_string())
        .arg(env!("CARGO_BIN_EXE_kms"));
    command.arg("keystore").args(args).current_dir(folder);
    command.env_remove("KMS_KEYSTORE_PASSWORD");
    let done = command
        .output()
        .expect("python3 is needed: run ./test install");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Nothing of a password is shown, no question echoes, and the terminal is as it was.
fn judge(name: &str, told: &Value) {
    let shown = told["shown"].as_str().unwrap();
    for part in [PASSWORD, "Corr", "Horse", "other-one", "*"] {
        assert!(!shown.contains(part), "{name}: {part} is shown: {shown:?}");
    }
    for question in told["questions"].as_array().unwrap() {
        assert_eq!(question[0], false, "{name}: a question echoes: {told}");
    }
    assert_eq!(
        told["after"], told["before"],
        "{name}: the terminal is not as it was: {told}"
    );
}

#[test]
fn nothing_is_shown_and_the_terminal_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for (name, args, steps, code, want) in ROWS {
        let told = at_a_terminal(folder.path(), args, steps);
        judge(name, &told);
        assert_eq!(told["code"], *code, "{name}: {told}");
        let shown = told["shown"].as_str().unwrap();
        assert!(shown.contains(want), "{name}: {shown:?}");
    }
}

#[test]
fn whoever_is_interrupted_leaves_no_mute_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.p12"), "").unwrap();
    for (name, steps, signal) in ENDED {
        let args = if steps[0].1 == NEW {
            ["init", "new.p12"]
        } else {
            ["list", "store.p12"]
        };
        let steps: Vec<_> = steps
            .iter()
            .map(|(kind, what)| {
                (
                    *kind,
                    if *what == NEW {
                        "New password of new.p12: "
                    } else {
                        what
                    },
                )
            })
            .collect();
        let told = at_a_terminal(folder.path(), &args, &steps);
        judge(name, &told);
        assert_eq!(told["signal"], *signal, "{name}: {told}");
    }
    assert!(!folder.path().join("new.p12").exists());
}

#[test]
fn without_a_terminal_it_is_told_what_to_do() {
    let done = Command::new("setsid")
        .args([
            "--wait",
            env!("CARGO_BIN_EXE_kms"),
            "keystore",
            "init",
            "x.p12",
        ])
        .env_remove("KMS_KEYSTORE_PASSWORD")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(
        said.contains("name a file with --password-file, or set KMS_KEYSTORE_PASSWORD"),
        "{said}"
    );
}
