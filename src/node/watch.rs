//! Whether files have changed, judged by what the file system tells of them; time is an argument.
//!
//! A file that is still being written is left alone until it has been the same for [`SETTLE`]. Must never be true: a
//! change that is taken twice, or a file that is read because of its age alone. Called by housekeeping.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long files must have stayed the same.
const SETTLE: Duration = Duration::from_secs(1);

/// What tells one state of a file from another; `None`: it is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// Marks of all `files`, in their order.
pub(super) fn marks(files: &[PathBuf]) -> Vec<Option<Mark>> {
    let mark = |file: &PathBuf| mark(file);
    files.iter().map(mark).collect()
}

fn mark(file: &Path) -> Option<Mark> {
    let meta = fs::metadata(file).ok()?;
    Some(Mark {
        inode: meta.ino(),
        len: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}

/// Remembers what was taken last, and since when there is something else.
#[derive(Debug)]
pub(super) struct Watch<M> {
    taken: M,
    seen: Option<(M, Instant)>,
}

impl<M: Clone + Eq> Watch<M> {
    /// `taken` is in force.
    pub(super) fn new(taken: M) -> Self {
        Self { taken, seen: None }
    }

    /// True once what is there now is not what was taken, and has not changed for [`SETTLE`]; it counts as taken from
    /// then on, whatever comes of it.
    pub(super) fn is_news(&mut self, now_there: &M, now: Instant) -> bool {
        if *now_there == self.taken {
            self.seen = None;
            return false;
        }
        match &self.seen {
            Some((seen, since)) if seen == now_there => {
                let has_settled = now.saturating_duration_since(*since) >= SETTLE;
                if has_settled {
                    self.taken = now_there.clone();
                    self.seen = None;
                }
                has_settled
            }
            _ => {
                self.seen = Some((now_there.clone(), now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_is_news_once_it_has_settled() {
        let start = Instant::now();
        let mut watch = Watch::new(1);
        for (name, ms, there, want) in [
            ("as it was", 0, 1, false),
            ("something else", 100, 2, false),
            ("not long enough", 1000, 2, false),
            ("still being written", 1100, 3, false),
            ("the old age does not count", 2000, 3, false),
            ("settled", 2100, 3, true),
            ("told once", 9000, 3, false),
            ("back again is a change", 9100, 1, false),
            ("and again away", 9200, 3, false),
            ("nothing to take", 20_000, 3, false),
        ] {
            let now = start + Duration::from_millis(ms);
            assert_eq!(watch.is_news(&there, now), want, "{name}");
        }
    }

    #[test]
    fn a_mark_tells_states_of_a_file_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        let files = [file.clone()];
        let none = marks(&files);
        fs::write(&file, "one").unwrap();
        let one = marks(&files);
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        let two = marks(&files);
        assert!(none != one && one != two && two == marks(&files));
    }
}
