//! kill -9 at any moment: every create that was answered is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// The child finds its file here; without it the child's test does nothing.
const FILE: &str = "KMS_TEST_EMBEDDED_FILE";
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
        writeln!(out, "created {name} {}", object.0)
            .and_then(|()| out.flush())
            .unwrap();
    }
}

fn created(line: &str) -> Option<(String, String)> {
    let mut words = line.rsplit_once("created ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

#[test]
fn no_answered_create_is_lost_when_the_process_is_killed() {
    let (_folder, file) = place();
    let mut answered: Vec<(String, String)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "hsm::embedded::tests::crash::child_creates_until_killed",
                "--nocapture",
            ])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        // The kill falls wherever the child is by then: writing, syncing, renaming, answering.
        let before = answered.len();
        answered.extend(
            lines
                .by_ref()
                .filter_map(|line| created(&line))
                .take(1 + round * 7 % 5),
        );
        spin(round * 1237);
        child.kill().unwrap();
        child.wait().unwrap();
        answered.extend(lines.filter_map(|line| created(&line)));
        assert!(
            answered.len() > before,
            "round {round}: the child created nothing"
        );
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

/// A little time, different each round, in which the child goes on.
fn spin(turns: usize) {
    (0..turns).for_each(|turn| {
        std::hint::black_box(turn);
    });
}
