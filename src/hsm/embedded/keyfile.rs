//! The key file, open: its lock, the key that seals it, and how it is read, saved and copied.
//!
//! Must never be true: a save without the lock; a nonce used twice with one sealing key.

use std::fs;
use std::path::{Path, PathBuf};

use super::cipher::{self, Cost, KEY_BYTES, Scratch};
use super::disk::{self, Lock, beside};
use super::error::KeyFileError;
use super::format::{self, Entry, FILE_BYTES_MAX, HEADER_BYTES, Header, PayloadError};
use crate::limits::TAG_BYTES;
use crate::secret::{Arena, SecretKey, SecretString};

/// Takes a master key into the arena.
pub(super) type Store<'a> = &'a dyn Fn(&[u8]) -> Result<SecretKey, KeyFileError>;

/// A key file that this process alone writes.
pub(super) struct KeyFile {
    path: PathBuf,
    arena: &'static Arena,
    /// What the passphrase and `header.salt` give.
    sealing_key: SecretKey,
    header: Header,
    _lock: Lock,
}

impl KeyFile {
    /// Opens and locks `path`, or makes an empty key file there.
    pub(super) fn open(
        path: &Path,
        passphrase: &SecretString,
        arena: &'static Arena,
        cost: Cost,
        store: Store<'_>,
    ) -> Result<(Self, Vec<Entry>), KeyFileError> {
        if passphrase.is_empty() {
            return Err(KeyFileError::EmptyPassphrase);
        }
        // A save replaces the file a link points to, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = Lock::take(&path)?;
        if let Some(bytes) = disk::read(&path)? {
            let opened = unseal(&path, &bytes, passphrase, arena, store)?;
            let file = Self {
                path,
                arena,
                sealing_key: opened.sealing_key,
                header: opened.header,
                _lock: lock,
            };
            return Ok((file, opened.entries));
        }
        let header = Header {
            cost,
            salt: cipher::random()?,
            nonce: cipher::random()?,
        };
        let sealing_key = store(cipher::derive(passphrase, &header.salt, cost)?.as_slice())?;
        let file = Self {
            path,
            arena,
            sealing_key,
            header,
            _lock: lock,
        };
        file.save(&[])?;
        Ok((file, Vec::new()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content; it is on the disk when this returns.
    pub(super) fn save(&self, entries: &[&Entry]) -> Result<(), KeyFileError> {
        let len = format::payload_bytes(entries.iter().copied());
        if HEADER_BYTES + len + TAG_BYTES > FILE_BYTES_MAX {
            return Err(KeyFileError::TooManyKeys {
                path: self.path.clone(),
            });
        }
        let mut scratch = Scratch::new(self.arena, len);
        let payload = scratch.bytes();
        format::encode_payload(entries.iter().copied(), payload)
            .map_err(KeyFileError::system("encode", &self.path))?;
        let header = Header {
            nonce: cipher::random()?,
            ..self.header
        };
        let clear = header.encode(len);
        let sealed = self
            .sealing_key
            .expose(|key| cipher::seal(key, header.nonce, &clear, payload));
        let tag = sealed.map_err(|_| KeyFileError::Derivation)?;
        disk::replace(&self.path, &[&clear, payload, &tag])
    }
}

struct Unsealed {
    header: Header,
    sealing_key: SecretKey,
    entries: Vec<Entry>,
}

fn unseal(
    path: &Path,
    bytes: &[u8],
    passphrase: &SecretString,
    arena: &'static Arena,
    store: Store<'_>,
) -> Result<Unsealed, KeyFileError> {
    let refused = |why| KeyFileError::Format {
        path: path.to_owned(),
        why,
    };
    let (header, clear, sealed) = Header::decode(bytes).map_err(refused)?;
    let key = cipher::derive(passphrase, &header.salt, header.cost)?;
    let mut scratch = Scratch::new(arena, sealed.len());
    let payload = scratch.bytes();
    payload.copy_from_slice(sealed);
    let len = cipher::open(key.as_slice(), header.nonce, clear, payload).map_err(|_| {
        KeyFileError::Seal {
            path: path.to_owned(),
        }
    })?;
    let entries =
        format::decode_payload(payload.get(..len).unwrap_or_default(), store).map_err(|error| {
            match error {
                PayloadError::Format(why) => refused(why),
                PayloadError::Store(error) => error,
            }
        })?;
    Ok(Unsealed {
        header,
        sealing_key: store(key.as_slice())?,
        entries,
    })
}

/// Opens the seal of `bytes` and forgets what is in it.
fn verify(path: &Path, bytes: &[u8], passphrase: &SecretString) -> Result<(), KeyFileError> {
    let refused = |why| KeyFileError::Format {
        path: path.to_owned(),
        why,
    };
    let (header, clear, sealed) = Header::decode(bytes).map_err(refused)?;
    let key: zeroize::Zeroizing<[u8; KEY_BYTES]> =
        cipher::derive(passphrase, &header.salt, header.cost)?;
    let mut payload = zeroize::Zeroizing::new(sealed.to_vec());
    cipher::open(key.as_slice(), header.nonce, clear, &mut payload)
        .map(drop)
        .map_err(|_| KeyFileError::Seal {
            path: path.to_owned(),
        })
}

/// Whether `path` opens with `passphrase`, also beside a running server. False: there is no file yet,
/// and the first start makes one.
pub fn opens(path: &Path, passphrase: &SecretString) -> Result<bool, KeyFileError> {
    let Some(bytes) = disk::read(path)? else {
        return Ok(false);
    };
    verify(path, &bytes, passphrase).map(|()| true)
}

/// The keys in `bytes`, read from `path`: for a look, without the right to write.
pub(super) fn entries(
    path: &Path,
    bytes: &[u8],
    passphrase: &SecretString,
    arena: &'static Arena,
    store: Store<'_>,
) -> Result<Vec<Entry>, KeyFileError> {
    unseal(path, bytes, passphrase, arena, store).map(|opened| opened.entries)
}

/// Copies the key file `from` to `to`, which must not exist, once it is shown to open.
///
/// Works beside a running server: a save replaces the file whole, so what is read is one state of it.
pub fn backup(from: &Path, passphrase: &SecretString, to: &Path) -> Result<(), KeyFileError> {
    let bytes = disk::read(from)?.ok_or_else(|| KeyFileError::Missing {
        path: from.to_owned(),
    })?;
    verify(from, &bytes, passphrase)?;
    disk::create(to, &[&bytes])
}

/// Puts the backup in the place of the key file `to`, once it is shown to open.
///
/// No server may have `to` open. With `force` an existing `to` is kept as `<to>.old`, whose own
/// predecessor is replaced; without it nothing is overwritten.
pub fn restore(
    backup: &Path,
    passphrase: &SecretString,
    to: &Path,
    force: bool,
) -> Result<(), KeyFileError> {
    let bytes = disk::read(backup)?.ok_or_else(|| KeyFileError::Missing {
        path: backup.to_owned(),
    })?;
    verify(backup, &bytes, passphrase)?;
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let _lock = Lock::take(&to)?;
    if !to.exists() {
        return disk::create(&to, &[&bytes]);
    }
    if !force {
        return Err(KeyFileError::Exists { path: to });
    }
    let old = beside(&to, ".old");
    match fs::remove_file(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(KeyFileError::system("remove", &old)(error));
        }
        _ => {}
    }
    // A second name, not a rename: at every moment there is a file at `to`.
    fs::hard_link(&to, &old).map_err(KeyFileError::system("keep", &to))?;
    disk::replace(&to, &[&bytes])
}
