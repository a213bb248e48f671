//! The key file's bytes: a header in the clear and a sealed payload. Knows no disk and no clock.
//!
//! Header: magic (8) | format (2) | Argon2id memory in KiB (4), passes (4), lanes (4) | salt (16) |
//! nonce (12) | bytes that follow the header (4) | first 8 bytes of SHA-256 of all before.
//! The digest tells a damaged header from a wrong passphrase; the seal, whose associated data is the
//! whole header, is what protects. Payload, sealed with AES-256-GCM: count of keys (4), then each
//! key: name length (2), name, the two minimum versions (4, 4), deletion allowed (1), count of
//! versions (4), then each version: number (4), object id (32, hex), created (8), state (1), key (32).
//! Integers are big-endian. Must never be true: an allocation from a length in the file.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::super::{KeyKind, KeyRecord, KeyState, KeyVersion, ObjectId};
use super::cipher::{Cost, KEY_BYTES, SALT_BYTES};
use crate::limits::{KEY_NAME_BYTES_MAX, NONCE_BYTES, TAG_BYTES};
use crate::secret::SecretKey;

const MAGIC: [u8; 8] = *b"CKMSKEYS";
const FORMAT: u16 = 1;
const DIGEST_BYTES: usize = 8;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 8 + 2 + 12 + SALT_BYTES + NONCE_BYTES + 4 + DIGEST_BYTES;
/// Bytes of a whole key file: some 80 000 keys of one version, or 100 000 versions of a few.
pub(super) const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Characters of an object id.
pub(super) const ID_BYTES: usize = 32;
const KEY_FIXED_BYTES: usize = 2 + 4 + 4 + 1 + 4;
const VERSION_BYTES: usize = 4 + ID_BYTES + 8 + 1 + KEY_BYTES;

/// What is wrong with the bytes, before any seal is tried or after it opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FormatError {
    /// Nothing in it.
    Empty,
    /// Begins with other bytes than a key file.
    NotAKeyFile,
    /// Ends before the header or the payload does, or goes on after it.
    Length {
        /// Bytes there should be; the least, when the header itself is cut.
        want: usize,
        /// Bytes there are.
        have: usize,
    },
    /// Written by a later release.
    UnknownFormat(u16),
    /// The header's digest is not that of the header.
    Header,
    /// Argon2id parameters that no release has written.
    Cost {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The seal opened and the content makes no sense: a fault of the program that wrote it.
    Payload(&'static str),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RESTORE: &str = "restore a backup with `kms keyfile restore`";
        match self {
            Self::Empty => write!(
                f,
                "the file is empty; {RESTORE}, or remove it to begin without keys"
            ),
            Self::NotAKeyFile => f.write_str("this is not a key file; check the path"),
            Self::Length { want, have } => {
                write!(
                    f,
                    "the file is damaged: it has {have} bytes and should have {want}; {RESTORE}"
                )
            }
            Self::UnknownFormat(format) => {
                write!(
                    f,
                    "the file has format {format}, this release reads {FORMAT}; use the release that wrote it"
                )
            }
            Self::Header => write!(f, "the file's header is damaged; {RESTORE}"),
            Self::Cost {
                memory_kib,
                passes,
                lanes,
            } => write!(
                f,
                "the header asks for Argon2id with {memory_kib} KiB, {passes} passes, {lanes} lanes, which no \
                 release writes: the file is damaged or forged; {RESTORE}"
            ),
            Self::Payload(what) => write!(f, "the content is inconsistent ({what}); {RESTORE}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// The clear part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) cost: Cost,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) nonce: [u8; NONCE_BYTES],
}

impl Header {
    /// The header of a file whose payload has `payload_bytes`, tag not counted.
    pub(super) fn encode(&self, payload_bytes: usize) -> [u8; HEADER_BYTES] {
        let body = u32::try_from(payload_bytes + TAG_BYTES).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&body.to_be_bytes());
        bytes.extend_from_slice(&short_digest(&bytes));
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes);
        header
    }

    /// Splits a file into its header, the header's bytes and what is sealed.
    pub(super) fn decode(file: &[u8]) -> Result<(Self, &[u8], &[u8]), FormatError> {
        if file.is_empty() {
            return Err(FormatError::Empty);
        }
        if !MAGIC.starts_with(file.get(..MAGIC.len()).unwrap_or(file)) {
            return Err(FormatError::NotAKeyFile);
        }
        let short = FormatError::Length {
            want: HEADER_BYTES,
            have: file.len(),
        };
        let (header, sealed) = file.split_at_checked(HEADER_BYTES).ok_or(short)?;
        let mut input = Input(header);
        let (_, format) = (input.array::<8>()?, input.u16()?);
        if format != FORMAT {
            return Err(FormatError::UnknownFormat(format));
        }
        let cost = Cost {
            memory_kib: input.u32()?,
            passes: input.u32()?,
            lanes: input.u32()?,
        };
        let (salt, nonce) = (input.array()?, input.array()?);
        let body = input.u32()? as usize;
        let (clear, stored) = header.split_at(HEADER_BYTES - DIGEST_BYTES);
        if short_digest(clear) != stored {
            return Err(FormatError::Header);
        }
        if !cost.is_sane() {
            let Cost {
                memory_kib,
                passes,
                lanes,
            } = cost;
            return Err(FormatError::Cost {
                memory_kib,
                passes,
                lanes,
            });
        }
        if sealed.len() != body || body < TAG_BYTES {
            return Err(FormatError::Length {
                want: HEADER_BYTES.saturating_add(body),
                have: file.len(),
            });
        }
        Ok((Self { cost, salt, nonce }, header, sealed))
    }
}

fn short_digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut short = [0; DIGEST_BYTES];
    short
        .iter_mut()
        .zip(digest(&SHA256, bytes).as_ref())
        .for_each(|(to, from)| *to = *from);
    short
}

/// A key with all its versions; `keys` are in the order of `record.versions`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<KeyRecord>,
    pub(super) keys: Vec<SecretKey>,
}

/// Bytes of the payload that holds `entries`.
pub(super) fn payload_bytes<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    4 + entries
        .map(|entry| KEY_FIXED_BYTES + entry.record.name.len() + entry.keys.len() * VERSION_BYTES)
        .sum::<usize>()
}

/// Fills `out`, which must have exactly [`payload_bytes`].
pub(super) fn encode_payload<'a>(
    entries: impl ExactSizeIterator<Item = &'a Entry>,
    mut out: &mut [u8],
) -> io::Result<()> {
    let counted = |count: usize| u32::try_from(count).map_err(io::Error::other);
    out.write_all(&counted(entries.len())?.to_be_bytes())?;
    for Entry { record, keys } in entries {
        let name_bytes = u16::try_from(record.name.len()).map_err(io::Error::other)?;
        out.write_all(&name_bytes.to_be_bytes())?;
        out.write_all(record.name.as_bytes())?;
        out.write_all(&record.min_decryption_version.to_be_bytes())?;
        out.write_all(&record.min_encryption_version.to_be_bytes())?;
        out.write_all(&[u8::from(record.deletion_allowed)])?;
        out.write_all(&counted(keys.len())?.to_be_bytes())?;
        for (version, key) in record.versions.iter().zip(keys) {
            out.write_all(&version.number.to_be_bytes())?;
            out.write_all(version.object.0.as_bytes())?;
            out.write_all(&version.created_unix_s.to_be_bytes())?;
            out.write_all(&[state_byte(version.state)])?;
            key.expose(|bytes| out.write_all(bytes))?;
        }
    }
    if out.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other("the key file's length was misjudged"))
    }
}

/// What an opened payload could not become.
#[derive(Debug)]
pub(super) enum PayloadError<E> {
    Format(FormatError),
    /// What `store` said.
    Store(E),
}

impl<E> From<FormatError> for PayloadError<E> {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// Reads an opened payload; `store` takes each master key.
pub(super) fn decode_payload<E>(
    payload: &[u8],
    mut store: impl FnMut(&[u8]) -> Result<SecretKey, E>,
) -> Result<Vec<Entry>, PayloadError<E>> {
    let mut input = Input(payload);
    let mut names = HashSet::new();
    let mut entries = Vec::new();
    for _ in 0..input.u32()? {
        let entry = decode_entry(&mut input, &mut store)?;
        if !names.insert(Arc::clone(&entry.record.name)) {
            return Err(FormatError::Payload("a name twice").into());
        }
        entries.push(entry);
    }
    if input.0.is_empty() {
        Ok(entries)
    } else {
        Err(FormatError::Payload("bytes left over").into())
    }
}

fn decode_entry<E>(
    input: &mut Input<'_>,
    store: &mut impl FnMut(&[u8]) -> Result<SecretKey, E>,
) -> Result<Entry, PayloadError<E>> {
    let name_bytes = usize::from(input.u16()?);
    if name_bytes > KEY_NAME_BYTES_MAX {
        return Err(FormatError::Payload("a name too long").into());
    }
    let name = text(input.slice(name_bytes)?)?;
    let (min_decryption_version, min_encryption_version) = (input.u32()?, input.u32()?);
    let deletion_allowed = match input.array()? {
        [0] => false,
        [1] => true,
        [_] => return Err(FormatError::Payload("an unknown deletion setting").into()),
    };
    let (mut versions, mut keys) = (Vec::<KeyVersion>::new(), Vec::new());
    for _ in 0..input.u32()? {
        let number = input.u32()?;
        if number <= versions.last().map_or(0, |last| last.number) {
            return Err(FormatError::Payload("versions out of order").into());
        }
        let object = ObjectId(text(input.slice(ID_BYTES)?)?);
        let created_unix_s = u64::from_be_bytes(input.array()?);
        let state = state_of(input.array()?)?;
        versions.push(KeyVersion {
            number,
            object,
            created_unix_s,
            state,
        });
        keys.push(store(input.slice(KEY_BYTES)?).map_err(PayloadError::Store)?);
    }
    if versions.is_empty() {
        return Err(FormatError::Payload("a key without versions").into());
    }
    check_minimums(min_decryption_version, min_encryption_version, &versions)?;
    let record = KeyRecord {
        name,
        versions,
        min_decryption_version,
        min_encryption_version,
        deletion_allowed,
        kind: KeyKind::default(),
    };
    Ok(Entry {
        record: Arc::new(record),
        keys,
    })
}

/// By the rules of [`KeyRecord::changed`].
fn check_minimums(decrypt: u32, encrypt: u32, versions: &[KeyVersion]) -> Result<(), FormatError> {
    let latest = versions.last().map_or(0, |version| version.number);
    let contradict = encrypt > 0 && encrypt < decrypt;
    if contradict || decrypt > latest || encrypt > latest {
        return Err(FormatError::Payload("minimum versions that cannot be"));
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<Arc<str>, FormatError> {
    std::str::from_utf8(bytes)
        .map(Arc::from)
        .map_err(|_| FormatError::Payload("a name that is not UTF-8"))
}

const STATES: [KeyState; 5] = [
    KeyState::PreActive,
    KeyState::Active,
    KeyState::Deactivated,
    KeyState::Compromised,
    KeyState::Destroyed,
];

/// KMIP's numbers: 1 is pre-active.
fn state_byte(state: KeyState) -> u8 {
    STATES
        .iter()
        .zip(1..)
        .find(|(known, _)| **known == state)
        .map_or(0, |(_, byte)| byte)
}

fn state_of([byte]: [u8; 1]) -> Result<KeyState, FormatError> {
    let known = usize::from(byte)
        .checked_sub(1)
        .and_then(|index| STATES.get(index));
    known
        .copied()
        .ok_or(FormatError::Payload("an unknown state"))
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(FormatError::Payload("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.slice(N)?
            .try_into()
            .map_err(|_| FormatError::Payload("it ends too early"))
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_be_bytes)
    }
}
