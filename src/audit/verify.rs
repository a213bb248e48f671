//! Whether an audit log is whole: every chain from its first line on, and up to the anchors that are known.
//!
//! Must never be true: lines missing from a chain, at its head too, unless the caller said that files before the
//! first are elsewhere, and then a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::AuditKey;
use super::chain::mac;
use super::key::unhex;

const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Errors, and warnings, that are told one by one: with a wrong key every line is one.
const TOLD_MAX: usize = 100;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A line that is known to have been written: `chain:number:mac`, as the server's own log has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Anchor {
    chain: String,
    number: u64,
    mac: [u8; 32],
}

impl std::str::FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no anchor: CHAIN:NUMBER:MAC is wanted");
        let mut parts = text.split(':');
        let (Some(chain), Some(number), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            chain: chain.to_owned(),
            number: number.parse().map_err(|_| wrong())?,
            mac: *unhex(mac).ok_or_else(wrong)?,
        })
    }
}

/// The anchors in a server's own log, text or JSON.
pub fn anchors(log: &str) -> Vec<Anchor> {
    let after = |line: &str| {
        let (_, rest) = line.split_once("audit anchor ")?;
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != ':');
        rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
    };
    log.lines().filter_map(after).collect()
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Lines that are in their chains.
    pub lines: u64,
    /// Chains.
    pub chains: usize,
    /// What shows that the log was changed: the first ones.
    pub errors: Vec<String>,
    /// All of them.
    pub error_count: u64,
    /// What may be in order, and should be looked at: the first ones.
    pub warnings: Vec<String>,
    /// All of them.
    pub warning_count: u64,
}

impl Verdict {
    fn error(&mut self, what: String) {
        self.error_count += 1;
        if self.errors.len() < TOLD_MAX {
            self.errors.push(what);
        }
    }

    fn warn(&mut self, what: String) {
        self.warning_count += 1;
        if self.warnings.len() < TOLD_MAX {
            self.warnings.push(what);
        }
    }
}

#[derive(Deserialize)]
struct Members {
    chain: String,
    seq: u64,
    #[serde(default)]
    event: String,
    #[serde(default)]
    count: u64,
}

struct State {
    /// The first line that was seen, or is due.
    first: u64,
    next: u64,
    mac: [u8; 32],
    has_ended: bool,
}

/// Reads lines of the files in the order in which they were written.
pub struct Verifier<'a> {
    key: &'a AuditKey,
    anchors: Vec<Anchor>,
    chains: BTreeMap<String, State>,
    is_continued: bool,
    verdict: Verdict,
}

impl<'a> Verifier<'a> {
    /// With the key of the chains and the lines that must be there.
    pub fn new(key: &'a AuditKey, anchors: Vec<Anchor>) -> Self {
        Self {
            key,
            anchors,
            chains: BTreeMap::new(),
            is_continued: false,
            verdict: Verdict::default(),
        }
    }

    /// Files before the first one are elsewhere: a chain may begin in its middle. Its first line here is believed
    /// where the anchor of the line before it is known; else it is not proved itself, only what follows it.
    #[must_use]
    pub fn continued(mut self) -> Self {
        self.is_continued = true;
        self
    }

    /// Reads one file, called `name` in what is found.
    pub fn read(&mut self, name: &str, mut from: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = io::Read::take(&mut from, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if number == 1 && line.starts_with(GZIP_MAGIC) {
                return Err(io::Error::other(
                    "it is compressed: name it as <(zcat FILE), in bash",
                ));
            }
            self.line(&format!("{name} line {number}"), &line);
        }
        Ok(())
    }

    fn line(&mut self, place: &str, line: &[u8]) {
        let Some((content, told)) = split(line) else {
            let warning = format!("{place}: no whole line; a full disk leaves such a piece");
            self.verdict.warn(warning);
            return;
        };
        let parsed = serde_json::from_slice::<Members>(&[content, b"}"].concat());
        let Ok(members) = parsed else {
            self.verdict
                .error(format!("{place}: not a line of this log"));
            return;
        };
        let (is_proved, begin) = self.begin(&members);
        let state = self.chains.entry(members.chain.clone()).or_insert(begin);
        if !is_proved {
            self.verdict.lines += 1;
            self.verdict.warn(format!(
                "{place}: chain {} begins with line {}: the lines before it, and that one itself, are not proved here",
                members.chain, members.seq
            ));
        } else if members.seq != state.next {
            self.verdict.error(format!(
                "{place}: chain {} goes on with line {} where {} is due: lines are missing, twice there, or out of order",
                members.chain, members.seq, state.next
            ));
        } else if mac(&self.key.chain, &state.mac, content) != told {
            self.verdict.error(format!(
                "{place}: line {} of chain {} was changed, or the line before it, or the key is another",
                members.seq, members.chain
            ));
        } else {
            self.verdict.lines += 1;
        }
        if members.event == "lost" {
            self.verdict.warn(format!(
                "{place}: the log could not be written, and {} lines were dropped",
                members.count
            ));
        }
        state.next = members.seq.saturating_add(1);
        state.mac = told;
        state.has_ended = members.event == "end";
        for anchor in &mut self.anchors {
            if anchor.chain == members.chain && anchor.number == members.seq {
                if anchor.mac != told {
                    let error = format!("{place}: not the line that the anchor tells of");
                    self.verdict.error(error);
                }
                // Seen.
                anchor.chain.clear();
            }
        }
    }

    /// What to expect of a chain of which nothing was seen so far, and whether its line can be held to it.
    fn begin(&self, members: &Members) -> (bool, State) {
        let mut begin = State {
            first: 0,
            next: 0,
            mac: [0; 32],
            has_ended: false,
        };
        let is_new = !self.chains.contains_key(&members.chain);
        if !self.is_continued || members.seq == 0 || !is_new {
            return (true, begin);
        }
        (begin.first, begin.next) = (members.seq, members.seq);
        let mut anchors = self.anchors.iter();
        let before = anchors.find(|anchor| {
            anchor.chain == members.chain && Some(anchor.number) == members.seq.checked_sub(1)
        });
        if let Some(before) = before {
            begin.mac = before.mac;
        }
        (before.is_some(), begin)
    }

    /// What was found in all.
    pub fn finish(mut self) -> Verdict {
        if self.chains.is_empty() {
            let warning =
                "no line at all: nothing was asked of the server yet, or all of it was cut";
            self.verdict.warn(warning.to_owned());
        }
        let mut elsewhere = BTreeSet::new();
        for anchor in std::mem::take(&mut self.anchors) {
            let (chain, number) = (anchor.chain, anchor.number);
            let first = self.chains.get(&chain).map(|chain| chain.first);
            match (chain.is_empty(), self.is_continued, first) {
                (true, _, _) => {}
                (false, true, Some(first)) if number < first => {}
                (false, true, None) => {
                    elsewhere.insert(chain);
                }
                _ => self.verdict.error(format!(
                    "line {number} of chain {chain} was written and is not there: the tail was cut, or a file is missing"
                )),
            }
        }
        for chain in elsewhere {
            self.verdict.warn(format!(
                "chain {chain}, of which there are anchors, is in none of these files: look for it in those before"
            ));
        }
        for (id, state) in &self.chains {
            if !state.has_ended {
                self.verdict.warn(format!(
                    "chain {id} has no end after line {}: its server still runs, was killed, or the tail was cut",
                    state.next.saturating_sub(1)
                ));
            }
        }
        self.verdict.chains = self.chains.len();
        self.verdict
    }
}

/// A line without its end, and the MAC in that.
fn split(line: &[u8]) -> Option<(&[u8], [u8; 32])> {
    const MARK: &[u8] = b",\"mac\":\"";
    let tail = MARK.len() + 64 + b"\"}\n".len();
    let (content, rest) = line.split_at(line.len().checked_sub(tail)?);
    let hex = rest.strip_prefix(MARK)?.strip_suffix(b"\"}\n")?;
    let mac = unhex(std::str::from_utf8(hex).ok()?)?;
    Some((content, *mac))
}
