//! The audit log: one JSON line an operation, chained by HMAC, so that a line that was changed, dropped, moved or
//! cut off is found.
//!
//! Each worker has a chain of its own in one file, opened for appending. A line's `mac` is an HMAC-SHA256 over the
//! `mac` of the line before it in its chain and over the line up to its own `mac`. Lines gather while a worker
//! serves; one write(2) puts them into the file before any of their answers is sent. Anchors (chain, number, mac) go
//! to the ordinary log, so that a cut tail and a chain that was left out show. Must never be true: a key, a
//! plaintext or a whole ciphertext in a line; in strict mode an answer whose line was not written; half a line
//! that makes the next one unreadable. Made by `node`, written by `server`, verified by `cli`.

mod chain;
mod key;
mod line;
mod tail;
pub mod verify;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam::utils::CachePadded;
use parking_lot::Mutex;

use crate::metrics::Counter;

pub use chain::Chain;
pub use key::AuditKey;
pub use line::{Record, Who};

use tail::Tail;

/// What happens when the log cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// What was not written is not answered.
    Strict,
    /// Lines wait in bounded memory, then are dropped, counted and told.
    BestEffort,
}

/// Where and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The log, made with mode 0640.
    pub file: PathBuf,
    /// The key of the chains; made with mode 0600 if it is not there.
    pub key_file: PathBuf,
    /// What happens when it cannot be written.
    pub mode: Mode,
    /// Whether each write waits for the disk.
    pub sync: bool,
}

/// Why there is no audit log.
#[derive(Debug)]
pub enum AuditError {
    /// The log or its key file.
    File {
        /// Which configuration key names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The key file holds something else.
    NoKey(PathBuf),
    /// The kernel gives no random numbers.
    Random,
}

impl std::fmt::Display for AuditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { key, file, error } => write!(
                f,
                "{key}: {} cannot be used: {error}; make its folder for this user, name another file, or set \
                 kms.audit.mode = off",
                file.display()
            ),
            Self::NoKey(file) => write!(
                f,
                "kms.audit.key.file: {} does not hold 64 hexadecimal digits: it is no audit key",
                file.display()
            ),
            Self::Random => f.write_str("the kernel gives no random numbers"),
        }
    }
}

impl std::error::Error for AuditError {}

/// The log, shared by all chains.
pub struct Log {
    settings: Settings,
    file: ArcSwap<File>,
    /// Held while one worker appends: on a full disk the kernel takes part of a write, and nobody's line may
    /// follow a piece of another's.
    tail: Mutex<Tail>,
    key: AuditKey,
    /// Lines that were dropped in best-effort mode.
    pub dropped: Counter,
    /// Writes that failed.
    pub failed: Counter,
    /// Of each chain, on cache lines of its own.
    written: Mutex<Vec<Arc<CachePadded<Written>>>>,
}

/// What is in the file of one chain, or of all.
#[derive(Debug, Default)]
pub struct Written {
    /// Whole lines.
    pub lines: Counter,
    /// Bytes, pieces of lines included.
    pub bytes: Counter,
}

impl Log {
    /// Opens it, and makes it and its key if they are not there.
    pub fn open(settings: Settings) -> Result<Arc<Self>, AuditError> {
        let is_new = !settings.key_file.exists();
        let key = AuditKey::open_or_make(&settings.key_file)?;
        if is_new && fs::metadata(&settings.file).is_ok_and(|log| log.len() > 0) {
            log::warn!(
                "kms.audit.key.file: {} was not there and was made anew, but {} has lines: what they were written \
                 with is needed to verify them, so keep its copy apart from the new one",
                settings.key_file.display(),
                settings.file.display()
            );
        }
        let file = open(&settings)?;
        let tail = Tail::of(&file).map_err(|error| cannot_be_used(&settings, error))?;
        Ok(Arc::new(Self {
            settings,
            file: ArcSwap::from_pointee(file),
            tail: Mutex::new(tail),
            key,
            dropped: Counter::default(),
            failed: Counter::default(),
            written: Mutex::default(),
        }))
    }

    /// Lines and bytes written since the start.
    pub fn written(&self) -> (u64, u64) {
        let all = self.written.lock();
        all.iter().fold((0, 0), |(lines, bytes), one| {
            (lines + one.lines.get(), bytes + one.bytes.get())
        })
    }

    /// For another chain.
    fn count_another(&self) -> Arc<CachePadded<Written>> {
        let one = Arc::<CachePadded<Written>>::default();
        self.written.lock().push(Arc::clone(&one));
        one
    }

    /// Opens the file by its name again, after logrotate moved it. On error the old one stays in use.
    pub fn reopen(&self) -> Result<(), AuditError> {
        self.go_on_in(open(&self.settings)?)
    }

    /// Writes to `file` from now on. If nobody moved the log, that is the file of before: where it ends is asked
    /// while no worker writes, or a piece that one leaves meanwhile would be forgotten.
    fn go_on_in(&self, file: File) -> Result<(), AuditError> {
        let mut held = self.tail.lock();
        *held = Tail::of(&file).map_err(|error| cannot_be_used(&self.settings, error))?;
        self.file.store(Arc::new(file));
        Ok(())
    }

    /// Whether the file that is written to has no name any more: what goes there is lost.
    pub fn is_deleted(&self) -> bool {
        self.file
            .load()
            .metadata()
            .is_ok_and(|file| file.nlink() == 0)
    }

    /// What happens when it cannot be written.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Appends; how many bytes were taken, and why not all.
    fn append(&self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut tail = self.tail.lock();
        let file = self.file.load();
        let (written, error) = tail.append(&mut &**file, bytes);
        drop(tail);
        let synced = if self.settings.sync {
            file.sync_data()
        } else {
            Ok(())
        };
        (written, error.or(synced.err()))
    }
}

fn open(settings: &Settings) -> Result<File, AuditError> {
    OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(0o640)
        .open(&settings.file)
        .map_err(|error| cannot_be_used(settings, error))
}

fn cannot_be_used(settings: &Settings, error: io::Error) -> AuditError {
    AuditError::File {
        key: "kms.audit.file",
        file: settings.file.clone(),
        error,
    }
}

#[cfg(test)]
mod tests;
