//! The cache's name for an unwrap: a digest of everything that decides its plaintext.
//!
//! Length-prefixed SHA-256 over the HSM object, version, *decoded* ciphertext, associated data and context,
//! begun with a random block of this process and cut to 128 bits: nobody outside the process can
//! search for two inputs of one digest, so 128 bits are as good as 256 and halve the index. The
//! object identifier makes a key recreated under the same name miss.

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cache::Digest;
use crate::hsm::KeyVersion;

/// SHA-256's block: hashed once, at start.
pub(super) const BLOCK_BYTES: usize = 64;

/// The process's own beginning of every digest.
pub(super) struct DigestKey(Context);

impl DigestKey {
    /// A new one.
    pub(super) fn random() -> Result<Self, ring::error::Unspecified> {
        let mut block = zeroize::Zeroizing::new([0; BLOCK_BYTES]);
        SystemRandom::new().fill(block.as_mut())?;
        Ok(Self::of(&block))
    }

    /// The one that begins with `block`.
    pub(super) fn of(block: &[u8; BLOCK_BYTES]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(block);
        Self(context)
    }

    /// Names the unwrap of `sealed` with `associated_data` under `version`, which for a derived key is that of `context`.
    pub(super) fn digest(
        &self,
        version: &KeyVersion,
        sealed: &[u8],
        associated_data: &[u8],
        context: &[u8],
    ) -> Digest {
        let mut whole = self.0.clone();
        let object = version.object.0.as_bytes();
        // The last part's length follows from the whole's. Kept short: with these, an identifier of a
        // UUID's length and a 32-byte key all fit into two blocks after the first.
        let mut lengths = [0; 16];
        lengths[..4].copy_from_slice(&version.number.to_be_bytes());
        lengths[4..8].copy_from_slice(&length(object));
        lengths[8..12].copy_from_slice(&length(sealed));
        lengths[12..].copy_from_slice(&length(associated_data));
        whole.update(&lengths);
        whole.update(object);
        whole.update(sealed);
        whole.update(associated_data);
        whole.update(context);
        let whole = whole.finish();
        let mut cut = [0; 16];
        cut.copy_from_slice(&whole.as_ref()[..16]);
        Digest(cut)
    }
}

/// No part can be longer than a request's body.
fn length(part: &[u8]) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::{KeyState, ObjectId};

    fn version(object: &str, number: u32) -> KeyVersion {
        KeyVersion {
            number,
            object: ObjectId(object.into()),
            created_unix_s: 0,
            state: KeyState::Active,
        }
    }

    #[test]
    fn every_part_changes_the_digest_and_none_runs_into_the_next() {
        let key = DigestKey::random().unwrap_or_else(|_| panic!("no random"));
        let base = key.digest(&version("ab", 1), b"cd", b"ef", b"g");
        assert_eq!(
            base,
            key.digest(&version("ab", 1), b"cd", b"ef", b"g"),
            "deterministic"
        );
        for (name, other) in [
            ("object", key.digest(&version("aX", 1), b"cd", b"ef", b"g")),
            ("version", key.digest(&version("ab", 2), b"cd", b"ef", b"g")),
            (
                "ciphertext",
                key.digest(&version("ab", 1), b"cX", b"ef", b"g"),
            ),
            (
                "associated data",
                key.digest(&version("ab", 1), b"cd", b"eX", b"g"),
            ),
            ("context", key.digest(&version("ab", 1), b"cd", b"ef", b"h")),
            (
                "border of data and context",
                key.digest(&version("ab", 1), b"cd", b"efg", b""),
            ),
            (
                "border of object and ciphertext",
                key.digest(&version("abc", 1), b"d", b"ef", b"g"),
            ),
            (
                "border of ciphertext and data",
                key.digest(&version("ab", 1), b"cde", b"f", b"g"),
            ),
        ] {
            assert_ne!(base, other, "{name}");
        }
        let another = DigestKey::random().unwrap_or_else(|_| panic!("no random"));
        assert_ne!(
            base,
            another.digest(&version("ab", 1), b"cd", b"ef", b"g"),
            "another process"
        );
    }
}
