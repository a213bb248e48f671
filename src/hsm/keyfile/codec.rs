//! The bytes of a key file, both directions. No disk and no cryptography here.

use super::Cost;

/// First bytes of every key file.
pub(super) const MAGIC: &[u8; 8] = b"KMSKEYF\n";
/// The format written.
pub(super) const FORMAT: u32 = 1;
/// Bytes of salt.
pub(super) const SALT_BYTES: usize = 16;
/// Bytes of the header before its checksum.
pub(super) const HEADER_BYTES: usize = 8 + 4 + 12 + SALT_BYTES;
/// A sealed master key: nonce, 32 bytes, tag.
pub(super) const SEALED_BYTES: usize = 12 + 32 + 16;
/// Bytes of a key file; a larger one is refused unread.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One master key's versions, as stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// Its name.
    pub name: String,
    /// As in Transit.
    pub min_decryption_version: u32,
    /// As in Transit.
    pub min_encryption_version: u32,
    /// As in Transit.
    pub deletion_allowed: bool,
    /// Ascending, never empty.
    pub versions: Vec<StoredVersion>,
}

/// One version, sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredVersion {
    /// From 1.
    pub number: u32,
    /// Random, so that a key made again under its old name is another object.
    pub object: [u8; 16],
    /// Seconds since 1970.
    pub created_unix_s: u64,
    /// Nonce, key, tag.
    pub sealed: [u8; SEALED_BYTES],
}

/// Header: everything that the checksum covers.
pub(super) fn header(cost: Cost, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    for value in [FORMAT, cost.memory_kib, cost.passes, cost.lanes] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(salt);
    out
}

/// The directory, without its seal.
pub fn directory(keys: &[StoredKey]) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, keys.len());
    for key in keys {
        put_count(&mut out, key.name.len());
        out.extend_from_slice(key.name.as_bytes());
        out.extend_from_slice(&key.min_decryption_version.to_be_bytes());
        out.extend_from_slice(&key.min_encryption_version.to_be_bytes());
        out.push(u8::from(key.deletion_allowed));
        put_count(&mut out, key.versions.len());
        for version in &key.versions {
            out.extend_from_slice(&version.number.to_be_bytes());
            out.extend_from_slice(&version.object);
            out.extend_from_slice(&version.created_unix_s.to_be_bytes());
            out.extend_from_slice(&version.sealed);
        }
    }
    out
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // Names are at most 512 bytes and the file 64 MiB: a count always fits.
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

/// Takes bytes off the front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

/// Reads a directory; `None` when it is not exactly one.
pub fn read_directory(bytes: &[u8]) -> Option<Vec<StoredKey>> {
    let mut bytes = Bytes(bytes);
    let mut keys = Vec::new();
    for _ in 0..bytes.u32()? {
        let name_len = bytes.u32()? as usize;
        let name = std::str::from_utf8(bytes.take(name_len)?).ok()?.to_owned();
        let min_decryption_version = bytes.u32()?;
        let min_encryption_version = bytes.u32()?;
        let [deletion] = bytes.array()?;
        let mut versions = Vec::new();
        for _ in 0..bytes.u32()? {
            versions.push(StoredVersion {
                number: bytes.u32()?,
                object: bytes.array()?,
                created_unix_s: bytes.array().map(u64::from_be_bytes)?,
                sealed: bytes.array()?,
            });
        }
        if versions.is_empty() || !versions.is_sorted_by(|a, b| a.number < b.number) {
            return None;
        }
        keys.push(StoredKey {
            name,
            min_decryption_version,
            min_encryption_version,
            deletion_allowed: deletion == 1,
            versions,
        });
    }
    bytes.0.is_empty().then_some(keys)
}
