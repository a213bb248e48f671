//! The audit log of a running node: a line an operation, whole chains, and what happens when it cannot be written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use service_support::on_disk::{PLAINTEXT, UNWRAP, start, wrap};
use service_support::{House, Running, file, until};

const AUDIT: &str = "kms.audit.file=audit.log\nkms.audit.key.file=audit.key";

fn lines(house: &House) -> Vec<Value> {
    let text = fs::read_to_string(file(house, "audit.log")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `operation key version item status source` of each line about an operation.
fn told(house: &House) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let members = [
        "alias",
        "operation",
        "key",
        "version",
        "item",
        "status",
        "source",
    ];
    let line = |line: &Value| members.map(|name| text(&line[name])).join(" ");
    let mut lines = lines(house);
    lines.retain(|line| line["event"].is_null());
    lines.iter().map(line).collect()
}

fn verify(house: &House, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kms"))
        .args(["audit", "verify", "audit.log", "--key-file", "audit.key"])
        .args(more)
        .current_dir(house.dir.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

const WANT: [&str; 13] = [
    "cmxbackend create k 0 - 200 -",
    "cmxbackend encrypt k 1 - 200 hsm",
    "cmxdevice decrypt k 1 - 200 hsm",
    "cmxdevice decrypt k 1 - 200 cache",
    "cmxdevice decrypt k 1 0 200 cache",
    "cmxdevice decrypt k 1 1 400 -",
    "cmxdevice decrypt k 9 2 400 -",
    "cmxdevice decrypt k 1 0 200 cache",
    "cmxdevice decrypt k 1 1 200 cache",
    "cmxdevice create new 0 - 403 -",
    "cmxdevice datakey k 1 - 200 hsm",
    "cmxdevice invalid  0 - 404 -",
    "cmxdevice invalid  0 - 400 -",
];

#[test]
fn each_operation_has_a_line_and_the_chains_are_whole() {
    let running = start(&format!("{AUDIT}\nkms.threads=1"));
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let ciphertext = body.split('"').nth(3).unwrap();
    let mut device = running.device();
    for _ in 0..2 {
        assert_eq!(device.post(UNWRAP, &body).status, 200);
    }
    let batch = format!(
        r#"{{"batch_input":[{{"ciphertext":"{ciphertext}"}},{{"ciphertext":"vault:v1:AAAA"}},{{"ciphertext":"vault:v9:AAAA"}}]}}"#
    );
    assert_eq!(device.post(UNWRAP, &batch).status, 400);
    let hits = format!(
        r#"{{"batch_input":[{{"ciphertext":"{ciphertext}"}},{{"ciphertext":"{ciphertext}"}}]}}"#
    );
    assert_eq!(device.post(UNWRAP, &hits).status, 200);
    assert_eq!(device.post("/v1/transit/keys/new", "").status, 403);
    assert_eq!(device.post("/v1/transit/datakey/wrapped/k", "").status, 200);
    assert_eq!(device.post("/v1/transit/nothing", "").status, 404);
    assert_eq!(device.post("/v1/transit/decrypt/k", "{").status, 400);
    until("all is written", || told(house).len() >= WANT.len());
    assert_eq!(told(house), WANT);
    let all = lines(house);
    let digests: Vec<&Value> = [2, 3, 4, 5].map(|at| &all[at]["ciphertext"]).to_vec();
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "one data key is traced: {digests:?}"
    );
    assert_eq!(all[1]["address"], "127.0.0.1");
    let text = fs::read_to_string(file(house, "audit.log")).unwrap();
    assert!(!text.contains(PLAINTEXT) && !text.contains(&ciphertext[9..40]));
    let (code, said) = verify(house, &[]);
    assert!(code == Some(1) && said.contains("has no end"), "{said}");

    let dir = Running::stop_and_keep(running);
    let (code, said) = verify(&dir, &["--json"]);
    assert!(code == Some(0) && said.contains("\"chains\": 1"), "{said}");
    let changed = text.replacen("\"status\":403", "\"status\":200", 1);
    fs::write(file(&dir, "audit.log"), changed).unwrap();
    let (code, said) = verify(&dir, &[]);
    assert!(code == Some(2) && said.contains("was changed"), "{said}");
    let (code, said) = verify(&dir, &["--anchor", "nonsense"]);
    assert!(
        code == Some(2) && said.contains("CHAIN:NUMBER:MAC"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_written_is_not_answered_in_strict_mode_alone() {
    for (mode, is_strict) in [("strict", true), ("best-effort", false)] {
        let running = start(&format!("{AUDIT}\nkms.audit.mode={mode}\nkms.threads=1"));
        let house = &running.house;
        let body = wrap(&running, PLAINTEXT);
        let mut device = running.device();
        assert_eq!(device.post(UNWRAP, &body).status, 200);
        // Full from now on.
        let log = file(house, "audit.log");
        fs::rename(&log, file(house, "audit.log.1")).unwrap();
        std::os::unix::fs::symlink("/dev/full", &log).unwrap();
        let audit = running.node.shared().audit.clone().unwrap();
        audit.reopen().unwrap();
        device.send(service_support::client::request("POST", UNWRAP, &body));
        let first = device.try_answer();
        assert_eq!(first.is_err(), is_strict, "{mode}: {first:?}");
        let mut device = running.device();
        for _ in 0..3 {
            let answer = device.post(UNWRAP, &body);
            let want = if is_strict {
                (503, Some("1"))
            } else {
                (200, None)
            };
            assert_eq!(
                (answer.status, answer.header("Retry-After")),
                want,
                "{mode}: {}",
                answer.body
            );
        }
        assert!(audit.failed.get() > 0);
        // Space is back.
        fs::remove_file(&log).unwrap();
        fs::rename(file(house, "audit.log.1"), &log).unwrap();
        audit.reopen().unwrap();
        until("it is written again", || {
            device.post(UNWRAP, &body).status == 200
        });
        let house = Running::stop_and_keep(running);
        let (code, said) = verify(&house, &[]);
        assert_eq!(code, Some(0), "{mode}: {said}");
    }
}

#[test]
fn a_log_that_was_deleted_is_made_anew_and_what_is_gone_is_found() {
    let running = start(AUDIT);
    let house = &running.house;
    let body = wrap(&running, PLAINTEXT);
    let log = file(house, "audit.log");
    fs::remove_file(&log).unwrap();
    until("it is there again", || log.exists());
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    assert!(fs::read_to_string(&log).unwrap().contains("\"decrypt\""));
    let house = Running::stop_and_keep(running);
    let (code, said) = verify(&house, &[]);
    assert!(
        code == Some(2) && said.contains("lines are missing"),
        "{said}"
    );
}
