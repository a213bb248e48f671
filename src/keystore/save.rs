//! Files with secrets, written whole or not at all, and by one process at a time.
//!
//! Must never be true: half a file under its name; a moment in which others may read it than could read the old one;
//! a change that is lost because another was made from the same old content. Called by `cli`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, fchmod, fchown, flock};
use rustix::process::{Gid, Uid};

/// A change takes a second at most, unless somebody is asked for a password meanwhile.
const WAIT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const OWNER_ONLY: u32 = 0o600;
/// The group's right to read, which a server has that runs as another user than who changes its files.
const GROUP_READS: u32 = 0o040;

/// The right to change one file, held until dropped or the process ends. Whoever changes what is there takes it before
/// reading.
///
/// It is a lock on the folder: the file itself is replaced, and a side file of root's would be closed to others.
#[derive(Debug)]
pub struct WriteLock {
    path: PathBuf,
    folder: File,
}

impl WriteLock {
    /// Waits a bounded time for another that has it.
    pub fn take(path: &Path) -> io::Result<Self> {
        Self::take_within(path, WAIT)
    }

    fn take_within(path: &Path, wait: Duration) -> io::Result<Self> {
        // The file that a link points to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")))?;
        let deadline = Instant::now() + wait;
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { path, folder }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!(
                        "another kms changes {} or a file beside it, for more than {} s now: it may wait for a \
                         password; let it end, then try again",
                        path.display(),
                        wait.as_secs()
                    ),
                ));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Writes `bytes` beside the file first, flushed to the disk, then renamed. A file that was there is kept with
    /// `.old` behind its name, which is the answer then. The new one is mode 0600 and belongs to whom the old one did,
    /// whose group goes on reading if it could: what root changes stays readable to the server.
    pub fn save(&self, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
        self.place(bytes, GROUP_READS)
    }

    /// `kept_mode`: bits of the old file's mode that the new one has too.
    fn place(&self, bytes: &[u8], kept_mode: u32) -> io::Result<Option<PathBuf>> {
        let (new, old) = (self.beside(".new"), self.beside(".old"));
        // Of a run that was cut off: nobody else writes it while this lock is held.
        remove(&new)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(OWNER_ONLY);
        let file = options.open(&new)?;
        let placed = self.fill(file, bytes, kept_mode).and_then(|()| {
            let kept = self.keep(&old)?;
            fs::rename(&new, &self.path)?;
            Ok(kept)
        });
        if placed.is_err() {
            // A full disk is no place for half a file.
            let _ = fs::remove_file(&new);
        }
        let kept = placed?;
        self.folder.sync_all()?;
        Ok(kept)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }

    /// What will be the file, whole and on the disk.
    fn fill(&self, mut file: File, bytes: &[u8], kept_mode: u32) -> io::Result<()> {
        if let Ok(was) = fs::metadata(&self.path) {
            // Only root may give a file away; whoever else writes here owns the old one or shall own the new one.
            let (owner, group) = (Uid::from_raw(was.uid()), Gid::from_raw(was.gid()));
            if fchown(&file, Some(owner), Some(group)).is_err() {
                let _ = fchown(&file, None, Some(group));
            }
            // Another group than the old one's gets nothing.
            let kept = was.mode() & kept_mode;
            if kept != 0 && file.metadata()?.gid() == was.gid() {
                fchmod(&file, Mode::from_raw_mode(OWNER_ONLY | kept))?;
            }
        }
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives the file that is there a second name, so that it is never without one.
    fn keep(&self, old: &Path) -> io::Result<Option<PathBuf>> {
        remove(old)?;
        match fs::hard_link(&self.path, old) {
            Ok(()) => Ok(Some(old.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes `bytes` to `path` as [`WriteLock::save`] does, whatever is there; mode 0600 even where the old one's group
/// could read.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    WriteLock::take(path)?.place(bytes, 0)
}

/// One that is not there is as good.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_the_old_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.p12");
        let old = folder.path().join("store.p12.old");
        fs::write(folder.path().join("store.p12.new"), "cut off").unwrap();
        assert_eq!(save(&path, b"one").unwrap(), None);
        assert_eq!(save(&path, b"two").unwrap().as_deref(), Some(&*old));
        assert_eq!(save(&path, b"three").unwrap().as_deref(), Some(&*old));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&path), read(&old)), ("three".into(), "two".into()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        // Whoever is not root cannot give it away, and has nothing to give back.
        if std::os::unix::fs::chown(&path, Some(4321), Some(4322)).is_ok() {
            save(&path, b"for another").unwrap();
            let owner = fs::metadata(&path).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (4321, 4322));
        }
        save(&path, b"three").unwrap();
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        save(&taken, b"no").unwrap_err();
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 3, "nothing is left of what failed");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        save(&link, b"four").unwrap();
        assert!(link.is_symlink() && read(&path) == "four");
    }

    #[test]
    fn the_group_reads_on_where_it_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.p12");
        for (was, changed, made_anew) in [
            (0o600, 0o600, 0o600),
            (0o640, 0o640, 0o600),
            (0o400, 0o600, 0o600),
            (0o666, 0o640, 0o600),
            (0o604, 0o600, 0o600),
        ] {
            for is_change in [true, false] {
                fs::write(&path, "old").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(was)).unwrap();
                let want = if is_change {
                    WriteLock::take(&path).unwrap().save(b"new").unwrap();
                    changed
                } else {
                    save(&path, b"new").unwrap();
                    made_anew
                };
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, want, "{was:o}, a change: {is_change}");
                // One that only its owner may not write is none to write to.
                fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn who_waits_in_vain_is_told_and_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.p12");
        let new = folder.path().join("store.p12.new");
        let held = WriteLock::take(&path).unwrap();
        fs::write(&new, "half").unwrap();
        let error = WriteLock::take_within(&path, Duration::from_millis(1)).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("another kms changes") && said.contains("store.p12"));
        assert!(new.exists(), "it is the other's");
        drop(held);
        WriteLock::take_within(&path, Duration::ZERO).unwrap();
    }
}
