//! The key file on disk: who may open it, how it is read and replaced.
//!
//! Must never be true: a moment at which a crash leaves neither the old file nor the new one whole;
//! a save that was reported and is not on the disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::KeyFileError;
use super::format::{FILE_BYTES_MAX, FormatError};

const OWNER_ONLY: u32 = 0o600;

/// `file` with `suffix` after its whole name, in the same folder.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The right to write one key file, held until dropped or the process ends.
///
/// On a side file, because saving puts another file in the key file's place. The side file stays:
/// removing it would let two processes hold locks on two files of one name.
#[derive(Debug)]
pub(super) struct Lock {
    _held: File,
}

impl Lock {
    pub(super) fn take(file: &Path) -> Result<Self, KeyFileError> {
        let side = beside(file, ".lock");
        let mut held = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&side)
            .map_err(KeyFileError::system("open", &side))?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let mut pid = String::new();
                let _ = (&mut held).take(16).read_to_string(&mut pid);
                return Err(KeyFileError::InUse {
                    path: file.to_owned(),
                    holder: pid.trim().parse().ok(),
                });
            }
            Err(error) => return Err(KeyFileError::system("lock", &side)(error.into())),
        }
        // For the other's error message alone; the lock does not depend on it.
        let noted = held
            .set_len(0)
            .and_then(|()| writeln!(held, "{}", std::process::id()));
        noted.map_err(KeyFileError::system("write", &side))?;
        Ok(Self { _held: held })
    }
}

/// The whole file, or `None` if there is none. Its mode and length are checked on the open file.
pub(super) fn read(file: &Path) -> Result<Option<Vec<u8>>, KeyFileError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file);
    let mut opened = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(KeyFileError::system("open", file))?,
    };
    let about = opened
        .metadata()
        .map_err(KeyFileError::system("look at", file))?;
    if !about.is_file() {
        return Err(KeyFileError::NotAFile {
            path: file.to_owned(),
        });
    }
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: file.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    (&mut opened)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(KeyFileError::system("read", file))?;
    if bytes.len() > FILE_BYTES_MAX {
        let have = usize::try_from(about.len()).unwrap_or(usize::MAX);
        let why = FormatError::Length {
            want: FILE_BYTES_MAX,
            have,
        };
        return Err(KeyFileError::Format {
            path: file.to_owned(),
            why,
        });
    }
    Ok(Some(bytes))
}

/// Puts `parts`, joined, in the place of `file`: all of it is on the disk when this returns.
pub(super) fn replace(file: &Path, parts: &[&[u8]]) -> Result<(), KeyFileError> {
    let new = write_beside(file, parts)?;
    fs::rename(&new, file).map_err(KeyFileError::system("replace", file))?;
    sync_folder(file)
}

/// As [`replace`], but `file` must not exist.
pub(super) fn create(file: &Path, parts: &[&[u8]]) -> Result<(), KeyFileError> {
    let new = write_beside(file, parts)?;
    let linked = fs::hard_link(&new, file);
    let _ = fs::remove_file(&new);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyFileError::Exists {
            path: file.to_owned(),
        }),
        other => other
            .map_err(KeyFileError::system("create", file))
            .and_then(|()| sync_folder(file)),
    }
}

/// Writes and syncs a file that nobody reads yet.
fn write_beside(file: &Path, parts: &[&[u8]]) -> Result<PathBuf, KeyFileError> {
    let new = beside(file, ".new");
    // What a crash left; never followed, never appended to.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(KeyFileError::system("remove", &new)(error));
        }
        _ => {}
    }
    let write = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(&new)?;
        // The umask may have taken the owner's bits.
        out.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        parts.iter().try_for_each(|part| out.write_all(part))?;
        out.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&new);
        KeyFileError::system("write", &new)(error)
    })?;
    Ok(new)
}

/// Without it a crash may undo a rename.
pub(super) fn sync_folder(file: &Path) -> Result<(), KeyFileError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(KeyFileError::system("sync", folder))
}
