//! Argon2id with its traces wiped, random bytes, and room for a plaintext in passing.
//!
//! AES-256-GCM is `secret::cipher`'s. Must never be true: Argon2's memory freed with what it held.

use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::error::KeyFileError;
use crate::secret::cipher::overwrite_stack;
pub(super) use crate::secret::cipher::{open, seal};
use crate::secret::{Arena, LockedBuf, SecretString};

/// Bytes of a master key and of the key that seals the file.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of the salt of Argon2id.
pub(super) const SALT_BYTES: usize = 16;
/// What Argon2id costs, as recorded in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Cost {
    /// New files: about 0.2 s on a server's core.
    pub(crate) const STANDARD: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };
    const MEMORY_KIB_MAX: u32 = 256 * 1024;
    const PASSES_MAX: u32 = 16;
    const LANES_MAX: u32 = 8;

    /// False for what Argon2 refuses, and for what would stall or starve a start.
    pub(super) fn is_sane(self) -> bool {
        (1..=Self::LANES_MAX).contains(&self.lanes)
            && (1..=Self::PASSES_MAX).contains(&self.passes)
            && (8 * self.lanes..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
    }
}

/// Stretches the passphrase into the key that seals the file, and logs how long that took: it is most of a start.
pub(super) fn derive(
    passphrase: &SecretString,
    salt: &[u8; SALT_BYTES],
    cost: Cost,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyFileError> {
    let start = Instant::now();
    let key = stretch(passphrase, salt, cost)?;
    let Cost {
        memory_kib,
        passes,
        lanes,
    } = cost;
    log::info!(
        "the key of the key file was derived us={} memory_kib={memory_kib} passes={passes} lanes={lanes}",
        start.elapsed().as_micros()
    );
    Ok(key)
}

/// Argon2id. Its memory is wiped when this returns.
fn stretch(
    passphrase: &SecretString,
    salt: &[u8; SALT_BYTES],
    cost: Cost,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyFileError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))
        .map_err(|_| KeyFileError::Derivation)?;
    let mut blocks = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| KeyFileError::Derivation)?;
    blocks.resize(params.block_count(), Block::new());
    let mut blocks = Zeroizing::new(blocks);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(
            passphrase.expose().as_bytes(),
            salt,
            key.as_mut_slice(),
            blocks.as_mut_slice(),
        );
    overwrite_stack();
    done.map_err(|_| KeyFileError::Derivation)?;
    Ok(key)
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| KeyFileError::NoRandom)?;
    Ok(bytes)
}

/// Room for a plaintext in passing: locked while the arena's buffers last, else wiped heap.
pub(super) enum Scratch {
    Locked(LockedBuf),
    Heap(Zeroizing<Vec<u8>>),
}

impl Scratch {
    pub(super) fn new(arena: &'static Arena, len: usize) -> Self {
        arena
            .buffer(len)
            .map_or_else(|| Self::Heap(Zeroizing::new(vec![0; len])), Self::Locked)
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Locked(buffer) => buffer,
            Self::Heap(bytes) => bytes,
        }
    }
}
