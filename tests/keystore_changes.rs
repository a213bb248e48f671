//! Changes of one keystore by several `kms` at once, as scripts of a roll-out make them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const KMS: &str = env!("CARGO_BIN_EXE_kms");
const AT_ONCE: usize = 6;

fn kms(folder: &Path, line: &str) -> Child {
    Command::new(KMS)
        .current_dir(folder)
        .args(line.split(' '))
        .args(["--password-file", "password"])
        .env_remove("KMS_KEYSTORE_PASSWORD")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its exit code and all that it said.
fn end(child: Child) -> (Option<i32>, String) {
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn good(folder: &Path, line: &str) -> String {
    let (code, said) = end(kms(folder, line));
    assert_eq!(code, Some(0), "{line}: {said}");
    said
}

/// A folder with an empty keystore and a certificate.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    fs::write(desk.path().join("password"), "changeit-1\n").unwrap();
    let line =
        "req -x509 -newkey rsa:2048 -nodes -keyout one.key -out one.crt -days 900 -subj /CN=One";
    let made = Command::new("openssl")
        .current_dir(desk.path())
        .args(line.split(' '))
        .output()
        .expect("openssl is needed: run ./test install");
    assert!(made.status.success(), "{made:?}");
    good(desk.path(), "keystore init store.p12");
    desk
}

#[test]
fn none_of_several_imports_at_once_is_lost() {
    let desk = desk();
    let folder = desk.path();
    let line = |alias: &str| format!("keystore import store.p12 --alias {alias} --cert one.crt");
    let aliases: Vec<String> = (0..AT_ONCE)
        .map(|number| format!("client{number}"))
        .collect();
    let running: Vec<Child> = aliases
        .iter()
        .map(|alias| kms(folder, &line(alias)))
        .collect();
    for (alias, child) in aliases.iter().zip(running) {
        let (code, said) = end(child);
        assert_eq!(code, Some(0), "{alias}: {said}");
    }
    let listed = good(folder, "keystore list store.p12");
    for alias in &aliases {
        assert!(listed.contains(&format!("{alias}: ")), "{alias}: {listed}");
    }
    let mut left: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let want = [
        "one.crt",
        "one.key",
        "password",
        "store.p12",
        "store.p12.old",
    ];
    assert_eq!(left, want);
}

/// One that begins while another holds the folder reads what that one wrote.
#[test]
fn a_change_waits_for_the_one_before_it() {
    let desk = desk();
    let folder = desk.path();
    good(folder, "keystore convert store.p12 --to next.p12");
    good(
        folder,
        "keystore import next.p12 --alias before --cert one.crt",
    );
    let held = File::open(folder).unwrap();
    held.lock().unwrap();
    let waiting = kms(
        folder,
        "keystore import store.p12 --alias after --cert one.crt",
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let folder_link = fs::canonicalize(folder).unwrap();
    let fds = format!("/proc/{}/fd", waiting.id());
    // It has the folder open once it waits for it.
    while !fs::read_dir(&fds)
        .unwrap()
        .any(|fd| fd.is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == folder_link)))
    {
        assert!(std::time::Instant::now() < deadline, "it does not wait");
        std::thread::yield_now();
    }
    fs::rename(folder.join("next.p12"), folder.join("store.p12")).unwrap();
    drop(held);
    let (code, said) = end(waiting);
    assert_eq!(code, Some(0), "{said}");
    let listed = good(folder, "keystore list store.p12");
    for alias in ["before: ", "after: "] {
        assert!(listed.contains(alias), "{alias}: {listed}");
    }
}
