//! The audit log on a disk that fills: a real tmpfs of a few pages, in a mount namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod service_support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use service_support::client::Client;
use service_support::on_disk::{PLAINTEXT, UNWRAP, start, wrap};
use service_support::{Running, file, until};

/// Where the tmpfs is, for the run inside.
const INSIDE: &str = "AUDIT_TEST_TMPFS";
/// Not a multiple of a line, so that one is cut.
const DISK_BYTES: usize = 64 * 1024;
/// What is taken away to give space back.
const BALLAST_BYTES: usize = 24 * 1024;

/// Runs the test `name` again where a tmpfs is mounted; returns its folder in that run.
fn on_a_small_disk(name: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    // As root the namespace of users stays, and with it the right to lock memory.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} none \"${INSIDE}\" && exec \"$@\"");
    let done = command
        .args(["--mount", "--", "bash", "-c", &mount, "inside"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .expect("unshare (util-linux) is needed: run ./test install");
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(
        done.status.success() && said.contains("1 passed"),
        "a tmpfs is needed for this test: run it as root, or where users may make namespaces \
         (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces).\n{said}"
    );
    None
}

/// A node whose audit log is on the disk.
fn start_on(disk: &Path, mode: &str) -> Running {
    let log = disk.join("audit.log");
    start(&format!(
        "kms.audit.file={}\nkms.audit.key.file=audit.key\nkms.audit.mode={mode}\nkms.threads=2",
        log.display()
    ))
}

fn request_id(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    body["request_id"].as_str().unwrap().to_owned()
}

/// Lines that are whole.
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read(log).unwrap();
    let text = String::from_utf8(text).unwrap();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What `kms audit verify` says of it.
fn verify(running_house: &service_support::House, log: &Path) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_kms"))
        .args(["audit", "verify", "--json", "--key-file"])
        .arg(file(running_house, "audit.key"))
        .arg(log)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let json = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}"));
    (output.status.code(), json)
}

/// Asks on until the disk is full; the ids of what was answered.
fn fill(running: &Running, body: &str, log: &Path) -> HashSet<String> {
    let mut clients: Vec<Client> = (0..4).map(|_| running.device()).collect();
    let mut answered = HashSet::new();
    let audit = running.node.shared().audit.clone().unwrap();
    until("the disk is full", || {
        for client in &mut clients {
            client.ask("POST", UNWRAP, body);
            match client.try_answer() {
                Ok(answer) if answer.status == 200 => {
                    answered.insert(request_id(&answer.body));
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
                // Cut: its line could not be written.
                Err(_) => *client = running.device(),
            }
        }
        audit.failed.get() > 0
    });
    let size = fs::metadata(log).unwrap().len();
    assert!(size > 8192, "lines went there first: {size}");
    answered
}

#[test]
fn strict_answers_nothing_that_is_not_written_and_goes_on_when_there_is_space() {
    let Some(disk) = on_a_small_disk(
        "strict_answers_nothing_that_is_not_written_and_goes_on_when_there_is_space",
    ) else {
        return;
    };
    let (log, ballast) = (disk.join("audit.log"), disk.join("ballast"));
    let running = start_on(&disk, "strict");
    let body = wrap(&running, PLAINTEXT);
    fs::write(&ballast, vec![0; BALLAST_BYTES]).unwrap();
    let mut answered = fill(&running, &body, &log);
    // The kernel takes what fills its last page; once in some hundred runs that is the end of a line.
    let is_torn = !fs::read(&log).unwrap().ends_with(b"\n");
    let mut device = running.device();
    for _ in 0..3 {
        let answer = device.post(UNWRAP, &body);
        let told = (answer.status, answer.header("Retry-After"));
        assert_eq!(told, (503, Some("1")), "{}", answer.body);
    }
    fs::remove_file(&ballast).unwrap();
    until("space is used again", || {
        let answer = device.post(UNWRAP, &body);
        if answer.status == 200 {
            answered.insert(request_id(&answer.body));
        }
        answered.len() > 60 && answer.status == 200
    });
    let house = Running::stop_and_keep(running);
    let written: HashSet<String> = lines(&log)
        .iter()
        .filter_map(|line| line["request"].as_str().map(str::to_owned))
        .collect();
    let missing: Vec<_> = answered.difference(&written).collect();
    assert!(missing.is_empty(), "answered and not written: {missing:?}");
    let (code, said) = verify(&house, &log);
    let (errors, warnings) = (said["errors"].to_string(), said["warnings"].to_string());
    assert_eq!((code, &*errors), (Some(is_torn.into()), "[]"), "{said}");
    let piece = warnings.contains("a full disk leaves such a piece");
    assert_eq!(piece, is_torn, "{said}");
    assert!(!warnings.contains("were dropped"), "{said}");
}

#[test]
fn best_effort_answers_on_and_tells_what_it_dropped() {
    let Some(disk) = on_a_small_disk("best_effort_answers_on_and_tells_what_it_dropped") else {
        return;
    };
    let (log, ballast) = (disk.join("audit.log"), disk.join("ballast"));
    let running = start_on(&disk, "best-effort");
    let body = wrap(&running, PLAINTEXT);
    fs::write(&ballast, vec![0; BALLAST_BYTES]).unwrap();
    fill(&running, &body, &log);
    let is_torn = !fs::read(&log).unwrap().ends_with(b"\n");
    let mut device = running.device();
    let audit = running.node.shared().audit.clone().unwrap();
    let before = audit.written().0;
    let waits: HashSet<String> = (0..20)
        .map(|_| {
            let answer = device.post(UNWRAP, &body);
            assert_eq!(answer.status, 200, "{}", answer.body);
            request_id(&answer.body)
        })
        .collect();
    fs::remove_file(&ballast).unwrap();
    // Not as fast as it answers: in the second until it tries again more than a mebibyte of lines would wait.
    let pause = Duration::from_millis(10);
    until("what waited is written", || {
        std::thread::sleep(pause);
        assert_eq!(device.post(UNWRAP, &body).status, 200);
        audit.written().0 >= before + 20
    });
    let house = Running::stop_and_keep(running);
    let written: HashSet<String> = lines(&log)
        .iter()
        .filter_map(|line| line["request"].as_str().map(str::to_owned))
        .collect();
    let missing = waits.difference(&written).count();
    assert_eq!(missing, 0, "they waited in memory");
    assert_eq!(audit.dropped.get(), 0);
    let (code, said) = verify(&house, &log);
    let errors = said["errors"].to_string();
    assert_eq!((code, &*errors), (Some(is_torn.into()), "[]"), "{said}");
}
