//! Documents whose commands are run: the `sh` blocks of a Markdown file, in order, in bash.
//!
//! Must never be true: a block that is passed over; a command that was edited before it was run; a wait without a
//! deadline. The first block holds the document's variables and is run before every other, as its reader does in a
//! new shell.
#![allow(dead_code)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command may take so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Commands of one fence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// The nearest heading above, without its signs.
    pub heading: String,
    /// Of the fence.
    pub line: usize,
    pub text: String,
}

/// The `sh` blocks of a document. Fences of other languages are only shown; one without language is refused, for it
/// may be meant to be run.
pub fn blocks(markdown: &str) -> Result<Vec<Block>, String> {
    let (mut all, mut heading) = (Vec::new(), String::new());
    let mut open: Option<(String, Block)> = None;
    for (number, line) in (1..).zip(markdown.lines()) {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title
                        .trim_start_matches('#')
                        .trim()
                        .clone_into(&mut heading);
                }
            }
            (None, Some("")) => return Err(format!("line {number}: a fence without a language")),
            (None, Some(language)) => {
                let block = Block {
                    heading: heading.clone(),
                    line: number,
                    text: String::new(),
                };
                open = Some((language.to_owned(), block));
            }
            (Some((_, block)), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some(_), Some("")) => {
                let closed = open.take().filter(|(language, _)| language == "sh");
                all.extend(closed.map(|(_, block)| block));
            }
            (Some(_), Some(_)) => return Err(format!("line {number}: a fence within a fence")),
        }
    }
    match open {
        Some((_, block)) => Err(format!("line {}: a fence that does not end", block.line)),
        None => Ok(all),
    }
}

/// Runs a document's blocks.
pub struct Shell<'a> {
    /// The document, for messages.
    pub document: &'a str,
    /// Run before every block.
    pub variables: &'a Block,
    /// Where every block starts.
    pub folder: &'a Path,
    /// Beside the test's own.
    pub environment: &'a [(String, String)],
}

impl Shell<'_> {
    /// Runs one block as it stands; all that it said. Panics if a command of it fails.
    pub fn run(&self, block: &Block) -> String {
        let (done, said) = self.try_run(block);
        let place = format!("{}:{}", self.document, block.line);
        assert!(
            done,
            "{place} ({}):\n{}\nsaid:\n{said}",
            block.heading, block.text
        );
        said
    }

    fn try_run(&self, block: &Block) -> (bool, String) {
        let script = format!("{}\n{}", self.variables.text, block.text);
        let log = self.folder.join("block.log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &script]);
        command
            .current_dir(self.folder)
            .envs(self.environment.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() > end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::park_timeout(Duration::from_millis(20)),
            }
        };
        let mut said = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        if status.is_none() {
            said.push_str("\n(it did not end)");
        }
        (status.is_some_and(|status| status.success()), said)
    }
}

#[test]
fn blocks_are_found_with_their_places() {
    let text = "# One\n```sh\na\n```\n## Two\n```text\nnot run\n# no heading\n```\nsome ```code```\n\n  ```sh\nb\n\nc\n  ```\n";
    let found = blocks(text).unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|one| (&*one.heading, one.line, &*one.text))
        .collect();
    assert_eq!(told, [("One", 2, "a\n"), ("Two", 12, "b\n\nc\n")]);
    for (name, text, want) in [
        ("no language", "```\na\n```\n", "line 1: a fence without"),
        (
            "no end",
            "x\n```sh\na\n",
            "line 2: a fence that does not end",
        ),
        ("within", "```sh\n```text\n", "line 2: a fence within"),
    ] {
        assert!(blocks(text).unwrap_err().contains(want), "{name}");
    }
}

#[test]
fn a_block_that_fails_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let block = |text: &str| Block {
        heading: "h".to_owned(),
        line: 7,
        text: text.to_owned(),
    };
    let variables = block("A=${A:-site}\n");
    let shell = Shell {
        document: "x.md",
        variables: &variables,
        folder: folder.path(),
        environment: &[("A".to_owned(), "test".to_owned())],
    };
    assert_eq!(shell.run(&block("echo $A\n")), "test\n");
    for text in [
        "false\ntrue\n",
        "false | true\n",
        "echo $NOT_SET_ANYWHERE\n",
        "exit 1\n",
    ] {
        assert!(!shell.try_run(&block(text)).0, "{text}");
    }
}
