//! One worker's chain: lines that wait for the next write, and the link to what was written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::line::{put, put_hex, put_number, put_text};
use super::{AuditError, Log, Mode, Record, Written};

/// Bytes that wait in best-effort mode while the log cannot be written.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How soon a log that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
const ANCHOR_EVERY: Duration = Duration::from_mins(1);

/// The last line of a chain.
#[derive(Clone, Copy)]
struct Link {
    /// Number of the next line.
    next: u64,
    mac: [u8; 32],
}

/// Lines of one worker.
pub struct Chain {
    pub(super) log: Arc<Log>,
    counters: Arc<CachePadded<Written>>,
    /// In hexadecimal; random, so no two chains of a site share one.
    id: String,
    written: Link,
    waiting: Link,
    pub(super) lines: Vec<u8>,
    /// Ends of the lines in `lines`, and the link after each.
    ends: Vec<(usize, Link)>,
    /// Since when it cannot be written, and when that was last tried.
    failing: Option<Instant>,
    lost: u64,
    anchored: (Instant, u64),
    /// As lines have it.
    time: Vec<u8>,
}

impl Chain {
    /// Begins a chain; its first line goes with the next write.
    pub fn begin(log: Arc<Log>, now: Instant) -> Result<Self, AuditError> {
        let mut id = [0; 8];
        SystemRandom::new()
            .fill(&mut id)
            .map_err(|_| AuditError::Random)?;
        let mut text = Vec::new();
        put_hex(&mut text, &id);
        let link = Link {
            next: 0,
            mac: [0; 32],
        };
        Ok(Self {
            counters: log.count_another(),
            log,
            id: String::from_utf8_lossy(&text).into_owned(),
            written: link,
            waiting: link,
            lines: Vec::new(),
            ends: Vec::new(),
            failing: None,
            lost: 0,
            anchored: (now, 0),
            time: Vec::new(),
        })
    }

    /// What the time is in lines from now on, RFC 3339.
    pub fn set_time(&mut self, time: &str) {
        self.time.clear();
        self.time.extend_from_slice(time.as_bytes());
    }

    /// Whether lines wait for [`Chain::commit`].
    pub fn is_pending(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Adds a line.
    pub fn record(&mut self, record: &Record<'_>) {
        if self.lines.len() > WAITING_BYTES_MAX {
            self.lost += 1;
            self.log.dropped.bump();
            return;
        }
        if self.waiting.next == 0 {
            self.event("start", None);
        }
        let digest = record
            .ciphertext
            .map(|text| hmac::sign(&self.log.key.digest, text.as_bytes()));
        let start = self.lines.len();
        let digest = digest.as_ref().map(AsRef::as_ref);
        put(&mut self.lines, &self.time, record, digest);
        self.seal(start);
    }

    /// A line about the chain itself.
    fn event(&mut self, name: &str, count: Option<u64>) {
        let start = self.lines.len();
        self.lines.extend_from_slice(b"{\"time\":\"");
        self.lines.extend_from_slice(&self.time);
        self.lines.extend_from_slice(b"\",\"event\":");
        put_text(&mut self.lines, name);
        if let Some(count) = count {
            self.lines.extend_from_slice(b",\"count\":");
            put_number(&mut self.lines, count);
        }
        self.seal(start);
    }

    /// Links the line that begins at `start` to the one before it.
    fn seal(&mut self, start: usize) {
        self.lines.extend_from_slice(b",\"chain\":\"");
        self.lines.extend_from_slice(self.id.as_bytes());
        self.lines.extend_from_slice(b"\",\"seq\":");
        put_number(&mut self.lines, self.waiting.next);
        let line = self.lines.get(start..).unwrap_or_default();
        let mac = mac(&self.log.key.chain, &self.waiting.mac, line);
        self.lines.extend_from_slice(b",\"mac\":\"");
        put_hex(&mut self.lines, &mac);
        self.lines.extend_from_slice(b"\"}\n");
        self.waiting = Link {
            next: self.waiting.next + 1,
            mac,
        };
        self.ends.push((self.lines.len(), self.waiting));
    }

    /// Writes what waits. False: in strict mode, what it is about must not be answered.
    pub fn commit(&mut self, now: Instant) -> bool {
        if !self.is_pending() {
            return true;
        }
        if self.log.mode() == Mode::BestEffort
            && self
                .failing
                .is_some_and(|tried| now.saturating_duration_since(tried) < RETRY_AFTER)
        {
            return true;
        }
        let (taken, error) = self.log.append(&self.lines);
        self.keep_from(taken);
        match error {
            None => {
                self.recovered(now);
                true
            }
            error => self.fail(now, error),
        }
    }

    /// Takes note that so many bytes are in the file.
    pub(super) fn keep_from(&mut self, taken: usize) {
        let whole = self
            .ends
            .iter()
            .take_while(|(end, _)| *end <= taken)
            .count();
        let upto = match whole.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(&(end, link)) => {
                self.written = link;
                end
            }
            None => 0,
        };
        self.counters.lines.add(whole as u64);
        self.counters.bytes.add(taken as u64);
        self.lines.drain(..upto);
        self.ends.drain(..whole);
        for (end, _) in &mut self.ends {
            *end -= upto;
        }
    }

    pub(super) fn fail(&mut self, now: Instant, error: Option<std::io::Error>) -> bool {
        self.log.failed.bump();
        let why = error.map_or_else(|| "no reason told".to_owned(), |error| error.to_string());
        let is_strict = self.log.mode() == Mode::Strict;
        if self.failing.replace(now).is_none() {
            let then = if is_strict {
                "requests are answered 503 until it can (kms.audit.mode = strict)"
            } else {
                "lines wait, then are dropped (kms.audit.mode = best-effort)"
            };
            log::error!("the audit log cannot be written: {why}; {then}");
        }
        if is_strict {
            self.lines.clear();
            self.ends.clear();
            self.waiting = self.written;
        }
        !is_strict
    }

    fn recovered(&mut self, now: Instant) {
        if self.failing.take().is_some() {
            log::info!("the audit log can be written again");
            let lost = std::mem::take(&mut self.lost);
            if lost > 0 {
                // With the next write.
                self.event("lost", Some(lost));
            }
        }
        let (then, number) = self.anchored;
        if now.saturating_duration_since(then) >= ANCHOR_EVERY && number != self.written.next {
            self.anchor(now);
        }
    }

    /// Whether requests are to be refused now; tries to write, now and then, to find out.
    pub fn refuses(&mut self, now: Instant) -> bool {
        let Some(tried) = self.failing else {
            return false;
        };
        if self.log.mode() == Mode::BestEffort {
            return false;
        }
        if now.saturating_duration_since(tried) < RETRY_AFTER {
            return true;
        }
        self.event("resumed", None);
        !self.commit(now)
    }

    /// Ends the chain: its last line, and an anchor.
    pub fn end(&mut self, now: Instant) {
        if self.waiting.next > 0 {
            self.failing = None;
            self.event("end", None);
            self.commit(now);
            self.anchor(now);
        }
    }

    fn anchor(&mut self, now: Instant) {
        self.anchored = (now, self.written.next);
        let Some(last) = self.written.next.checked_sub(1) else {
            return;
        };
        let mut hex = Vec::new();
        put_hex(&mut hex, &self.written.mac);
        let hex = String::from_utf8_lossy(&hex);
        log::info!("audit anchor {}:{last}:{hex}", self.id);
    }
}

/// The link of a line to the one before it.
pub(super) fn mac(key: &hmac::Key, before: &[u8; 32], line: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(before);
    context.update(line);
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}
