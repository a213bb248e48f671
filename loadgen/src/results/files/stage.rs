//! Files that take their names only when all of them are whole.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::digest;

use super::document::FileOf;
use super::{FILE_BYTES_MAX, FileError};

/// Files under way into one folder; dropped unpublished, it leaves nothing behind.
pub(super) struct Stage {
    folder: PathBuf,
    files: Vec<Staged>,
}

struct Staged {
    temporary: PathBuf,
    about: FileOf,
}

impl Stage {
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(folder)
            .map_err(|error| FileError::io(folder, "make the folder", error))?;
        Ok(Self {
            folder: folder.to_owned(),
            files: Vec::new(),
        })
    }

    /// Writes one file in full, under a name that no reader looks for.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let temporary = self
            .folder
            .join(format!(".{name}.{}.new", std::process::id()));
        // Noted first, so that a file that could be made but not filled is removed too.
        self.files.push(Staged {
            temporary: temporary.clone(),
            about: FileOf::new(name, bytes),
        });
        // Never through a link that somebody left there.
        let _ = fs::remove_file(&temporary);
        let written = File::create_new(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|error| FileError::io(&self.folder.join(name), "write", error))
    }

    /// What `names` hold, of those already written.
    pub(super) fn written(&self, names: &[&str]) -> Vec<FileOf> {
        let all = self.files.iter().map(|staged| &staged.about);
        all.filter(|file| names.contains(&file.name.as_str()))
            .cloned()
            .collect()
    }

    /// Gives all files their names, in the order they were written.
    pub(super) fn publish(mut self) -> Result<(), FileError> {
        let staged = std::mem::take(&mut self.files);
        let mut files = staged.into_iter();
        while let Some(file) = files.next() {
            let path = self.folder.join(&file.about.name);
            if let Err(error) = fs::rename(&file.temporary, &path) {
                self.files = std::iter::once(file).chain(files).collect();
                return Err(FileError::io(&path, "put the file in its place", error));
            }
        }
        // Makes the new names durable; not every file system can.
        let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for staged in &self.files {
            let _ = fs::remove_file(&staged.temporary);
        }
    }
}

impl FileOf {
    fn new(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }

    /// Whether it holds exactly these bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == sha256(bytes)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads a file that is not larger than a result can be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::io(path, "read", error);
    // Before it is opened: opening a pipe would wait for a writer.
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(io::Error::other("it is no ordinary file")));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge(path.to_owned(), meta.len()));
    }
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}
