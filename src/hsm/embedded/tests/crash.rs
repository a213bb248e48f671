//! kill -9 at any moment: every change that was answered is there afterwards, and one that was not is
//! there whole or not at all.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;
use crate::wire::base64;

/// The child finds its file here; without it the child's test does nothing.
const FILE: &str = "KMS_TEST_EMBEDDED_FILE";
/// Before what a child reports.
const REPORT: &str = "answered ";
const PLAINTEXT: &[u8] = b"a data key";
const ROUNDS: usize = 12;

/// Creates keys and reports each answered one, until killed.
#[test]
fn child_creates_until_killed() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let hsm = open(Path::new(&file)).unwrap();
    let mut out = std::io::stdout();
    for n in 0..100_000 {
        let name = format!("{}-{n}", std::process::id());
        let object = last(&create(&hsm, &name));
        writeln!(out, "{REPORT}{name} {}", object.0)
            .and_then(|()| out.flush())
            .unwrap();
    }
}

fn created(line: &str) -> Option<(String, String)> {
    let mut words = line.rsplit_once(REPORT)?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// Runs the child of that name; kills it some time after it reported `lines_min`, and gives all it reported.
fn run_and_kill(child: &str, file: &Path, lines_min: usize, turns: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("hsm::embedded::tests::crash::{child}"),
            "--nocapture",
        ])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.contains(REPORT));
    let mut reported: Vec<String> = lines.by_ref().take(lines_min).collect();
    // The kill falls wherever the child is by then: writing, syncing, renaming, answering.
    spin(turns);
    child.kill().unwrap();
    child.wait().unwrap();
    reported.extend(lines);
    assert!(!reported.is_empty(), "the child changed nothing");
    reported
}

#[test]
fn no_answered_create_is_lost_when_the_process_is_killed() {
    let (_folder, file) = place();
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..ROUNDS {
        let lines_min = 1 + round * 7 % 5;
        let lines = run_and_kill("child_creates_until_killed", &file, lines_min, round * 1237);
        answered.extend(lines.iter().filter_map(|line| created(line)));
        let hsm = open(&file).unwrap();
        for (name, object) in &answered {
            let record =
                find(&hsm, name).unwrap_or_else(|| panic!("round {round}: {name} is lost"));
            assert_eq!(
                &*last(&record).0,
                object,
                "round {round}: {name} is another key"
            );
        }
        assert!(
            hsm.shared.keyring.len() <= answered.len() + round + 1,
            "at most one unanswered create a round"
        );
    }
}

/// The steps of a key's life: versions, lowest that may unwrap, whether it may be deleted. `None`: no key.
const STEPS: [Option<(u32, u32, bool)>; 5] = [
    None,
    Some((1, 1, false)),
    Some((2, 1, false)),
    Some((2, 2, true)),
    None,
];

fn step(record: Option<&KeyRecord>) -> Option<(u32, u32, bool)> {
    record.map(|record| {
        (
            record.latest(),
            record.min_decryption_version,
            record.deletion_allowed,
        )
    })
}

/// Takes key after key through its steps, some not to the end, and reports each answered one with
/// something that the key's first version sealed.
#[test]
fn child_changes_until_killed() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let hsm = open(Path::new(&file)).unwrap();
    let mut out = std::io::stdout();
    for n in 0..100_000 {
        let name = format!("{}-{n}", std::process::id());
        let mut sealed = String::new();
        for step in 1..=1 + n % 4 {
            match step {
                1 => {
                    let object = last(&create(&hsm, &name));
                    let bytes = encrypt(&hsm, &object, PLAINTEXT, b"");
                    let mut text = Vec::new();
                    base64::put(&mut text, &bytes);
                    sealed = String::from_utf8(text).unwrap();
                }
                2 => drop(rotate(&hsm, &name)),
                3 => {
                    let change = KeyChange {
                        min_decryption_version: Some(2),
                        ..DELETABLE
                    };
                    configure(&hsm, &name, change).unwrap();
                }
                _ => delete(&hsm, &name).unwrap(),
            }
            writeln!(out, "{REPORT}{name} {step} {sealed}")
                .and_then(|()| out.flush())
                .unwrap();
        }
    }
}

/// What was reported of one key.
struct Reported {
    /// The last answered step.
    step: usize,
    sealed: Vec<u8>,
}

fn reported(line: &str) -> (String, Reported) {
    let words: Vec<&str> = line.rsplit_once(REPORT).unwrap().1.split(' ').collect();
    let mut sealed = vec![0; base64::decoded_len_max(words[2].len())];
    let len = base64::decode(words[2].as_bytes(), &mut sealed).unwrap();
    sealed.truncate(len);
    let reported = Reported {
        step: words[1].parse().unwrap(),
        sealed,
    };
    (words[0].to_owned(), reported)
}

#[test]
fn a_killed_change_is_there_whole_or_not_at_all() {
    let (_folder, file) = place();
    let mut settled = BTreeMap::new();
    for round in 0..ROUNDS {
        let lines_min = 1 + round * 7 % 11;
        let lines = run_and_kill("child_changes_until_killed", &file, lines_min, round * 1237);
        let hsm = open(&file).unwrap();
        let busy = reported(lines.last().unwrap()).0;
        for line in &lines {
            let (name, said) = reported(line);
            settled.insert(name, said);
        }
        for (name, said) in &mut settled {
            let record = find(&hsm, name);
            let is = step(record.as_deref());
            let next = STEPS.get(said.step + 1).copied().flatten();
            let went_on = *name == busy && is != STEPS[said.step] && said.step < 4 && is == next;
            assert!(
                is == STEPS[said.step] || went_on,
                "round {round}: {name} answered step {}, is {is:?}",
                said.step
            );
            said.step += usize::from(went_on);
            let Some(record) = record else { continue };
            let first = &record.versions[0].object;
            assert_eq!(decrypt(&hsm, first, &said.sealed, b"").unwrap(), PLAINTEXT);
            let newest = encrypt(&hsm, &last(&record), PLAINTEXT, b"");
            assert_eq!(
                decrypt(&hsm, &last(&record), &newest, b"").unwrap(),
                PLAINTEXT
            );
        }
        // A create that was not answered: whole, or not at all.
        for name in list(&hsm)
            .iter()
            .filter(|name| !settled.contains_key(*name))
        {
            let record = find(&hsm, name);
            assert_eq!(step(record.as_deref()), STEPS[1], "round {round}: {name}");
        }
    }
}

/// A little time, different each round, in which the child goes on.
fn spin(turns: usize) {
    (0..turns).for_each(|turn| {
        std::hint::black_box(turn);
    });
}
