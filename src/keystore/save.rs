//! Files with secrets, written whole or not at all.
//!
//! Must never be true: half a file under its name; a moment in which others may read it. Called by `cli`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};

/// Writes `bytes` to `path` with mode 0600: beside it first, flushed to the disk, then renamed. A file that was there
/// is kept as `path` with `.old` behind it, which is the answer then; the new one belongs to whom the old one did, so
/// that what root changes stays readable to the server.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    // The file that a link points to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (new, old) = (beside(".new"), beside(".old"));
    // Of a run that was cut off.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let placed = write_beside(path, &new, bytes).and_then(|()| {
        let kept = keep(path, &old)?;
        fs::rename(&new, path)?;
        Ok(kept)
    });
    if placed.is_err() {
        // A full disk is no place for half a file.
        let _ = fs::remove_file(&new);
    }
    let kept = placed?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(kept)
}

/// What will be `path`, as `new`, whole and on the disk.
fn write_beside(path: &Path, new: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
    if let Ok(was) = fs::metadata(path) {
        // Only root may give a file away; whoever else writes here owns the old one or shall own the new one.
        let (owner, group) = (Uid::from_raw(was.uid()), Gid::from_raw(was.gid()));
        let _ = rustix::fs::fchown(&file, Some(owner), Some(group));
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives the file at `path` a second name, so that it is never without one.
fn keep(path: &Path, old: &Path) -> io::Result<Option<PathBuf>> {
    match fs::remove_file(old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::hard_link(path, old) {
        Ok(()) => Ok(Some(old.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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
}
