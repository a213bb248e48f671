//! A data key as the engine keeps it: sealed under the cluster's key, bound to all that decides it.
//!
//! | field | bytes |
//! |---|---|
//! | magic `KL2\x01` | 4 |
//! | id of the sealing key | 8 |
//! | not after, milliseconds since 1970 | 8 |
//! | nonce | 12 |
//! | ciphertext | as the data key |
//! | tag | 16 |
//!
//! Big-endian. The associated data is the [`Subject`] and the first 20 bytes, so a record stands for one
//! cluster, generation, HSM object, version, state and wrapped key, and its name is an HMAC of the same: it
//! tells nobody which. Must never be true: a plaintext outside locked memory; bytes of a record believed
//! before its tag was checked. Sans-IO; the time is an argument.

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::keyring::Csk;
use crate::limits::{CACHED_PLAINTEXT_BYTES_MAX, NONCE_BYTES, TAG_BYTES};
use crate::secret::{SecretKey, cipher, wipe_slice};

const MAGIC: [u8; 4] = *b"KL2\x01";
const HEADER_BYTES: usize = 20;
const SUBJECT_LABEL: &[u8] = b"kms-l2/1\0";
/// What a record has beside the data key.
const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
/// The longest record.
pub const RECORD_BYTES_MAX: usize = OVERHEAD_BYTES + CACHED_PLAINTEXT_BYTES_MAX;
/// Locked memory that sealing or opening one takes.
pub const ROOM_BYTES: usize = CACHED_PLAINTEXT_BYTES_MAX + TAG_BYTES;
/// Bytes of a record's name, before they are written as hexadecimal digits.
const NAME_BYTES: usize = 20;

/// Everything that decides a plaintext.
#[derive(Clone, Copy, Debug)]
pub struct What<'a> {
    /// The HSM object.
    pub object: &'a str,
    /// Its version's number.
    pub version: u32,
    /// A number for the version's state: a record made in another is not found.
    pub state: u8,
    /// The wrapped key.
    pub sealed: &'a [u8],
    /// Bound to it.
    pub associated_data: &'a [u8],
    /// Of a derived key.
    pub context: &'a [u8],
}

/// [`What`] in one cluster and generation, as associated data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject(Vec<u8>);

impl Subject {
    /// Length-prefixed, so that no part runs into the next.
    pub fn new(cluster: &str, generation: &[u8; 16], what: &What<'_>) -> Self {
        let mut of_wrapped = Context::new(&SHA256);
        for part in [what.sealed, what.associated_data, what.context] {
            of_wrapped.update(&length(part));
            of_wrapped.update(part);
        }
        let mut bytes = Vec::with_capacity(128 + cluster.len() + what.object.len());
        bytes.extend_from_slice(SUBJECT_LABEL);
        for part in [cluster.as_bytes(), generation, what.object.as_bytes()] {
            bytes.extend_from_slice(&length(part));
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&what.version.to_be_bytes());
        bytes.push(what.state);
        bytes.extend_from_slice(of_wrapped.finish().as_ref());
        Self(bytes)
    }

    /// The name under which the engine keeps the record, behind `prefix`.
    pub fn name(&self, prefix: &str, csk: &Csk) -> String {
        use std::fmt::Write as _;
        let mac = csk
            .naming()
            .expose(|key| cipher::mac(key, &[&self.0, &length(b"name"), b"name"]));
        let mut name = String::with_capacity(prefix.len() + 2 * NAME_BYTES);
        name.push_str(prefix);
        for byte in &mac[..NAME_BYTES] {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// Some number that differs from subject to subject.
    pub fn spread(&self) -> u64 {
        self.0
            .last_chunk::<8>()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        [&self.0[..], &length(header), header].concat()
    }
}

/// No part is longer than a request's body.
fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Why a plaintext was not sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsealed {
    /// Longer than what is cached.
    TooLong,
    /// No random numbers, or the sealing key is broken.
    Failed,
}

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No record, or not of this version.
    Malformed,
    /// Sealed under another key than its name says.
    OtherKey,
    /// Its time is over.
    Expired,
    /// The tag is wrong: changed, swapped, or made by somebody without the key.
    Forged,
}

/// Seals `plaintext` about `subject`. `room` is locked memory of [`ROOM_BYTES`]; it is wiped before this returns.
pub fn seal(
    csk: &Csk,
    subject: &Subject,
    plaintext: &SecretKey,
    not_after_ms: u64,
    room: &mut [u8],
) -> Result<Vec<u8>, Unsealed> {
    let room = room.get_mut(..plaintext.len()).ok_or(Unsealed::TooLong)?;
    if plaintext.len() > CACHED_PLAINTEXT_BYTES_MAX {
        return Err(Unsealed::TooLong);
    }
    // The keeper could not replace it, for the HSM or the engine did not let it.
    if csk.is_spent() {
        return Err(Unsealed::Failed);
    }
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| Unsealed::Failed)?;
    let mut record = Vec::with_capacity(OVERHEAD_BYTES + room.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&csk.id());
    record.extend_from_slice(&not_after_ms.to_be_bytes());
    let associated_data = subject.associated_data(&record);
    plaintext.expose(|plaintext| room.copy_from_slice(plaintext));
    let tag = csk
        .sealing()
        .expose(|key| cipher::seal(key, nonce, &associated_data, room));
    csk.count_seal();
    if let Ok(tag) = tag {
        record.extend_from_slice(&nonce);
        record.extend_from_slice(room);
        record.extend_from_slice(&tag);
    }
    wipe_slice(room);
    match tag {
        Ok(_) => Ok(record),
        Err(_) => Err(Unsealed::Failed),
    }
}

/// Opens what claims to be about `subject` and lends the plaintext to `take`. `room` is as for [`seal`].
pub fn open<R>(
    csk: &Csk,
    subject: &Subject,
    record: &[u8],
    now_ms: u64,
    room: &mut [u8],
    take: impl FnOnce(&[u8]) -> R,
) -> Result<R, Refusal> {
    if record.len() < OVERHEAD_BYTES || record.len() > RECORD_BYTES_MAX {
        return Err(Refusal::Malformed);
    }
    let (header, rest) = record.split_at(HEADER_BYTES);
    let (nonce, sealed) = rest.split_at(NONCE_BYTES);
    let (Some(not_after), Ok(nonce), Some(room)) = (
        header.last_chunk::<8>(),
        <[u8; NONCE_BYTES]>::try_from(nonce),
        room.get_mut(..sealed.len()),
    ) else {
        return Err(Refusal::Malformed);
    };
    if header[..4] != MAGIC {
        return Err(Refusal::Malformed);
    }
    if header[4..12] != csk.id() {
        return Err(Refusal::OtherKey);
    }
    if now_ms > u64::from_be_bytes(*not_after) {
        return Err(Refusal::Expired);
    }
    room.copy_from_slice(sealed);
    let associated_data = subject.associated_data(header);
    let opened = csk
        .sealing()
        .expose(|key| cipher::open(key, nonce, &associated_data, room));
    let taken = match opened {
        Ok(len) => Ok(take(&room[..len])),
        Err(_) => Err(Refusal::Forged),
    };
    wipe_slice(room);
    taken
}
