//! What lies around a wrapped key's ciphertext, and how long the whole can be.
//!
//! A back end has one envelope for its whole life, so that ciphertexts of an impossible length are
//! refused before it is asked. Must never be true: an envelope without authentication. Used by the
//! engine, the KMIP back end and `batch`.

use super::ObjectId;
use crate::limits::{CBC_BLOCK_BYTES, IV_BYTES, MAC_BYTES, NONCE_BYTES, TAG_BYTES};
use crate::wire::base64;

/// How a ciphertext is laid out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Envelope {
    /// nonce (12) | ciphertext | tag (16): AES-256-GCM.
    #[default]
    AesGcm,
    /// IV (16) | ciphertext, padded as PKCS5 | MAC (32): AES-256-CBC, then HMAC-SHA256 under a key of its
    /// own, over what [`Envelope::AesCbcHmac`]'s back end says.
    AesCbcHmac,
    /// Whatever a Vault's Transit makes of it: passed on as it is. None of its ciphers needs less around it
    /// than AES-GCM.
    Transit,
}

impl Envelope {
    /// Whether anything sealed can have this length.
    #[inline]
    pub const fn fits(self, sealed_bytes: usize) -> bool {
        match self {
            Self::AesGcm | Self::Transit => sealed_bytes >= NONCE_BYTES + TAG_BYTES,
            Self::AesCbcHmac => {
                sealed_bytes >= IV_BYTES + CBC_BLOCK_BYTES + MAC_BYTES
                    && (sealed_bytes - IV_BYTES - MAC_BYTES).is_multiple_of(CBC_BLOCK_BYTES)
            }
        }
    }

    /// Length of what so long a plaintext is sealed to.
    #[inline]
    pub const fn sealed_bytes(self, plaintext_bytes: usize) -> usize {
        match self {
            Self::AesGcm | Self::Transit => NONCE_BYTES + plaintext_bytes + TAG_BYTES,
            // Padding is never empty.
            Self::AesCbcHmac => {
                IV_BYTES + (plaintext_bytes / CBC_BLOCK_BYTES + 1) * CBC_BLOCK_BYTES + MAC_BYTES
            }
        }
    }
}

/// Parts two objects of one version; no identifier may hold it.
pub(super) const SEPARATOR: char = '\u{1f}';

impl ObjectId {
    /// Two objects that make up one version: what encrypts, and what authenticates. `None` when an
    /// identifier holds what parts them.
    pub fn pair(cipher: &str, mac: &str) -> Option<Self> {
        let is_fit = !cipher.contains(SEPARATOR) && !mac.contains(SEPARATOR);
        is_fit.then(|| Self(format!("{cipher}{SEPARATOR}{mac}").into()))
    }

    /// The object that a Vault derives from this one for `context`: a key of its own.
    #[must_use]
    pub fn derived(&self, context: &[u8]) -> Self {
        let mut text = self.0.as_bytes().to_vec();
        text.push(SEPARATOR as u8);
        base64::put(&mut text, context);
        // Both halves are text.
        Self(String::from_utf8_lossy(&text).into())
    }

    /// What [`ObjectId::pair`] was made of; `None` for a single object.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.split_once(SEPARATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_fit() {
        for (envelope, bytes, want) in [
            (Envelope::AesGcm, 27, false),
            (Envelope::AesGcm, 28, true),
            (Envelope::AesGcm, 61, true),
            (Envelope::AesCbcHmac, 0, false),
            (Envelope::AesCbcHmac, 48, false),
            (Envelope::AesCbcHmac, 63, false),
            (Envelope::AesCbcHmac, 64, true),
            (Envelope::AesCbcHmac, 65, false),
            (Envelope::AesCbcHmac, 96, true),
        ] {
            assert_eq!(envelope.fits(bytes), want, "{envelope:?} {bytes}");
        }
    }

    #[test]
    fn what_is_sealed_fits() {
        for envelope in [Envelope::AesGcm, Envelope::AesCbcHmac] {
            for bytes in 0..100 {
                assert!(envelope.fits(envelope.sealed_bytes(bytes)), "{bytes}");
            }
        }
        assert_eq!(Envelope::AesCbcHmac.sealed_bytes(32), 16 + 48 + 32);
    }

    #[test]
    fn a_pair_is_taken_apart_again() {
        let pair = ObjectId::pair("a", "b");
        assert_eq!(pair.as_ref().and_then(ObjectId::parts), Some(("a", "b")));
        assert_eq!(ObjectId("a".into()).parts(), None);
        assert_eq!(ObjectId::pair("a\u{1f}c", "b"), None);
        assert_eq!(ObjectId::pair("a", "\u{1f}"), None);
    }
}
