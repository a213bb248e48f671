//! Opening, writing, backing up and restoring key files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};
use zeroize::{Zeroize, Zeroizing};

use super::codec::{self, Bytes, FORMAT, HEADER_BYTES, MAGIC, SALT_BYTES, SEALED_BYTES};
use super::{Cost, KeyfileError, StoredKey};
use crate::secret::{Arena, SecretKey, SecretString};

const CHECKSUM_BYTES: usize = 8;
const PROOF_BYTES: usize = 12 + 16;
const TAG_BYTES: usize = 16;
/// Room under a key's frames that is wiped after each use of its schedule.
const STACK_BYTES_WIPED: usize = 4096;

/// An open key file, locked against other processes.
pub struct Keyfile {
    path: PathBuf,
    /// Header, checksum and proof, as they stand in the file.
    head: Vec<u8>,
    wrapping: SecretKey,
    keys: Vec<StoredKey>,
    arena: &'static Arena,
    _lock: File,
}

impl Keyfile {
    /// Opens the file, or makes it with `cost` when there is none.
    pub fn open(
        path: &Path,
        passphrase: &SecretString,
        arena: &'static Arena,
        cost: Cost,
    ) -> Result<Self, KeyfileError> {
        let lock = lock(path)?;
        let opened = match read(path) {
            Ok(bytes) => unlock(path, &bytes, passphrase, arena)?,
            Err(KeyfileError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                let (head, wrapping) = new_head(passphrase, arena, cost)?;
                Opened {
                    head,
                    wrapping,
                    keys: Vec::new(),
                }
            }
            Err(error) => return Err(error),
        };
        let Opened {
            head,
            wrapping,
            keys,
        } = opened;
        let path = path.to_owned();
        let file = Self {
            path,
            head,
            wrapping,
            keys,
            arena,
            _lock: lock,
        };
        if !file.path.exists() {
            file.write(&file.keys)?;
        }
        Ok(file)
    }

    /// What it holds.
    pub fn keys(&self) -> &[StoredKey] {
        &self.keys
    }

    /// Replaces the directory: when this returns, the disk has it; when it fails, nothing changed
    /// for the caller.
    pub fn replace(&mut self, keys: Vec<StoredKey>) -> Result<(), KeyfileError> {
        self.write(&keys)?;
        self.keys = keys;
        Ok(())
    }

    /// A new random master key: in the arena, and sealed for the file.
    pub fn generate(&self, about: &[u8]) -> Result<(SecretKey, [u8; SEALED_BYTES]), KeyfileError> {
        let mut key = self.arena.buffer(32).ok_or(KeyfileError::NoLockedMemory)?;
        random(&mut key)?;
        let mut nonce = [0; 12];
        random(&mut nonce)?;
        let stored = self
            .arena
            .store(&key)
            .map_err(|_| KeyfileError::NoLockedMemory)?;
        let tag = with_key(&self.wrapping, |seal| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            seal.seal_in_place_separate_tag(nonce, Aad::from(about), &mut key)
        })
        .ok_or(KeyfileError::Crypto("sealing a master key failed"))?;
        let mut sealed = [0; SEALED_BYTES];
        for (to, from) in sealed
            .iter_mut()
            .zip(nonce.iter().chain(key.iter()).chain(tag.as_ref()))
        {
            *to = *from;
        }
        Ok((stored, sealed))
    }

    /// Opens one sealed master key into the arena.
    pub fn unseal(&self, about: &[u8], sealed: &[u8]) -> Result<SecretKey, KeyfileError> {
        let what = "a master key cannot be opened";
        let damaged = || KeyfileError::Damaged {
            path: self.path.clone(),
            what,
        };
        let mut sealed = Bytes(sealed);
        let nonce = sealed.array::<12>().ok_or_else(damaged)?;
        let mut buffer = self
            .arena
            .buffer(sealed.0.len())
            .ok_or(KeyfileError::NoLockedMemory)?;
        buffer.copy_from_slice(sealed.0);
        let opened = with_key(&self.wrapping, |open| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            open.open_in_place(nonce, Aad::from(about), &mut buffer)
                .map(|plain| &*plain)
        });
        let plain = opened.ok_or_else(damaged)?;
        self.arena
            .store(plain)
            .map_err(|_| KeyfileError::NoLockedMemory)
    }

    /// Temporary file, fsync, rename, fsync of the folder.
    fn write(&self, keys: &[StoredKey]) -> Result<(), KeyfileError> {
        let mut bytes = self.head.clone();
        bytes.extend_from_slice(&codec::directory(keys));
        let mut nonce = [0; 12];
        random(&mut nonce)?;
        bytes.extend_from_slice(&nonce);
        let tag = with_key(&self.wrapping, |seal| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            seal.seal_in_place_separate_tag(nonce, Aad::from(&bytes), &mut [])
        });
        let tag = tag.ok_or(KeyfileError::Crypto("sealing the key file failed"))?;
        bytes.extend_from_slice(tag.as_ref());
        place(&self.path, &bytes)
    }
}

/// Runs `operation` with a key made from the arena, and wipes the stack that its schedule stood on:
/// ring does not, and the schedule begins with the key itself.
pub(in super::super) fn with_key<R>(
    key: &SecretKey,
    operation: impl FnOnce(&LessSafeKey) -> Result<R, ring::error::Unspecified>,
) -> Option<R> {
    let result = key.expose(|bytes| scheduled(bytes, operation));
    wipe_stack();
    result
}

#[inline(never)]
fn scheduled<R>(
    bytes: &[u8],
    operation: impl FnOnce(&LessSafeKey) -> Result<R, ring::error::Unspecified>,
) -> Option<R> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
    operation(&key).ok()
}

#[inline(never)]
fn wipe_stack() {
    let mut below = [0_u8; STACK_BYTES_WIPED];
    below.zeroize();
}

struct Opened {
    head: Vec<u8>,
    wrapping: SecretKey,
    keys: Vec<StoredKey>,
}

fn unlock(
    path: &Path,
    bytes: &[u8],
    passphrase: &SecretString,
    arena: &'static Arena,
) -> Result<Opened, KeyfileError> {
    let damaged = |what| KeyfileError::Damaged {
        path: path.to_owned(),
        what,
    };
    let short = || damaged("it is too short");
    if !bytes.starts_with(MAGIC) {
        return Err(KeyfileError::NotAKeyfile(path.to_owned()));
    }
    let mut rest = Bytes(bytes);
    let header = rest.take(HEADER_BYTES).ok_or_else(short)?;
    let checksum = rest.take(CHECKSUM_BYTES).ok_or_else(short)?;
    if !digest(&SHA256, header).as_ref().starts_with(checksum) {
        return Err(damaged("its header was changed"));
    }
    let mut fields = Bytes(header.get(MAGIC.len()..).unwrap_or_default());
    let version = fields.u32().ok_or_else(short)?;
    if version != FORMAT {
        return Err(KeyfileError::Version {
            path: path.to_owned(),
            version,
        });
    }
    let cost = Cost {
        memory_kib: fields.u32().ok_or_else(short)?,
        passes: fields.u32().ok_or_else(short)?,
        lanes: fields.u32().ok_or_else(short)?,
    };
    let salt = fields.array::<SALT_BYTES>().ok_or_else(short)?;
    if !cost.is_sane() {
        return Err(damaged("its key derivation asks for too much"));
    }
    let proof: [u8; PROOF_BYTES] = rest.array().ok_or_else(short)?;
    let wrapping = derive(passphrase, &salt, cost, arena)?;
    if !verify(&wrapping, header, &proof) {
        return Err(KeyfileError::WrongPassphrase(path.to_owned()));
    }
    let end = rest.0.len().checked_sub(PROOF_BYTES).ok_or_else(short)?;
    let (directory, seal) = rest.0.split_at(end);
    let nonce_end = bytes.len() - TAG_BYTES;
    let covered = bytes.get(..nonce_end).ok_or_else(short)?;
    if !verify(&wrapping, covered, seal) {
        return Err(damaged("its contents were changed or cut"));
    }
    let keys = codec::read_directory(directory).ok_or_else(|| damaged("its directory"))?;
    let head = bytes
        .get(..HEADER_BYTES + CHECKSUM_BYTES + PROOF_BYTES)
        .ok_or_else(short)?
        .to_vec();
    Ok(Opened {
        head,
        wrapping,
        keys,
    })
}

/// Whether `seal` (nonce, tag) is `key`'s over `covered`.
fn verify(key: &SecretKey, covered: &[u8], seal: &[u8]) -> bool {
    let mut seal = Bytes(seal);
    let Some(nonce) = seal.array::<12>() else {
        return false;
    };
    let mut tag = seal.0.to_vec();
    with_key(key, |open| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        open.open_in_place(nonce, Aad::from(covered), &mut tag)
            .map(|_| ())
    })
    .is_some()
}

fn new_head(
    passphrase: &SecretString,
    arena: &'static Arena,
    cost: Cost,
) -> Result<(Vec<u8>, SecretKey), KeyfileError> {
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; 12]);
    random(&mut salt)?;
    random(&mut nonce)?;
    let wrapping = derive(passphrase, &salt, cost, arena)?;
    let header = codec::header(cost, &salt);
    let tag = with_key(&wrapping, |seal| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        seal.seal_in_place_separate_tag(nonce, Aad::from(&header), &mut [])
    });
    let tag = tag.ok_or(KeyfileError::Crypto("sealing the key file failed"))?;
    let sum = digest(&SHA256, &header);
    let sum = sum.as_ref().get(..CHECKSUM_BYTES).unwrap_or_default();
    let head = [&header[..], sum, &nonce, tag.as_ref()].concat();
    Ok((head, wrapping))
}

fn derive(
    passphrase: &SecretString,
    salt: &[u8],
    cost: Cost,
    arena: &'static Arena,
) -> Result<SecretKey, KeyfileError> {
    let failed = KeyfileError::Crypto("deriving a key from the passphrase failed");
    let Ok(params) = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)) else {
        return Err(failed);
    };
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0_u8; 32]);
    if argon
        .hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key)
        .is_err()
    {
        return Err(failed);
    }
    arena.store(&*key).map_err(|_| KeyfileError::NoLockedMemory)
}

fn random(into: &mut [u8]) -> Result<(), KeyfileError> {
    let failed = KeyfileError::Crypto("the system gives no random numbers");
    SystemRandom::new().fill(into).map_err(|_| failed)
}

fn at<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> KeyfileError + use<'a> {
    move |error| KeyfileError::Io {
        action,
        path: path.to_owned(),
        error,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyfileError> {
    let file = File::open(path).map_err(at("open", path))?;
    let mut bytes = Vec::new();
    file.take(codec::FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(at("read", path))?;
    Ok(bytes)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The lock is on a file of its own: the key file itself is replaced at each change.
fn lock(path: &Path) -> Result<File, KeyfileError> {
    let beside = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true).mode(0o600);
    let file = options
        .open(&beside)
        .map_err(at("make the lock of", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(KeyfileError::InUse(path.to_owned())),
        Err(error) => Err(at("lock", path)(error.into())),
    }
}

fn place(path: &Path, bytes: &[u8]) -> Result<(), KeyfileError> {
    let temporary = beside(path, ".new");
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(at("write", &temporary))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(at("protect", &temporary))?;
    file.write_all(bytes).map_err(at("write", &temporary))?;
    file.sync_all().map_err(at("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(at("replace", path))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let opened = File::open(folder).map_err(at("open the folder of", path))?;
    opened.sync_all().map_err(at("sync the folder of", path))
}

/// Copies a key file after proving that `passphrase` opens it. Works while a server uses it: files
/// are only ever replaced whole.
pub fn backup(
    file: &Path,
    passphrase: &SecretString,
    arena: &'static Arena,
    to: &Path,
) -> Result<usize, KeyfileError> {
    copy(file, passphrase, arena, to, false)
}

/// Puts a backup in place after proving that `passphrase` opens it; with `force` over an existing
/// file. Refused while a server uses the file.
pub fn restore(
    from: &Path,
    passphrase: &SecretString,
    arena: &'static Arena,
    file: &Path,
    force: bool,
) -> Result<usize, KeyfileError> {
    let _lock = lock(file)?;
    copy(from, passphrase, arena, file, force)
}

/// Gives the number of keys copied.
fn copy(
    from: &Path,
    passphrase: &SecretString,
    arena: &'static Arena,
    to: &Path,
    force: bool,
) -> Result<usize, KeyfileError> {
    if !force && to.exists() {
        return Err(KeyfileError::Exists(to.to_owned()));
    }
    let bytes = read(from)?;
    let opened = unlock(from, &bytes, passphrase, arena)?;
    place(to, &bytes)?;
    Ok(opened.keys.len())
}
