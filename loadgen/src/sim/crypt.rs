//! Real cryptography of the simulated HSM: AES-256-GCM with a nonce of 12 bytes and a tag of 16, AES-256-CBC
//! with PKCS#5 padding, HMAC-SHA256.
//!
//! Test keys only: they come from a seed and rest in ordinary memory. Must never be true: a key or a
//! plaintext in a log. Results are appended to the caller's work buffer; nothing is allocated per item.

use std::ops::Range;

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use kms::limits::{NONCE_BYTES, TAG_BYTES};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

/// Bytes of an AES-256 key.
pub const KEY_BYTES: usize = 32;

/// Bytes of a block of AES, and of the IV of CBC.
pub const BLOCK_BYTES: usize = 16;

/// One key, ready to use.
pub struct Cipher {
    gcm: LessSafeKey,
    bytes: [u8; KEY_BYTES],
}

impl Cipher {
    /// The key that `seed` gives to the object `uid`: always the same one.
    pub fn derive(seed: u64, uid: &str) -> Option<Self> {
        let bytes = derive(seed, "key", uid);
        let bytes: [u8; KEY_BYTES] = bytes.as_ref().try_into().ok()?;
        let gcm = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?);
        Some(Self { gcm, bytes })
    }

    /// Appends ciphertext and tag to `work`; where each is.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated_data: &[u8],
        plaintext: &[u8],
        work: &mut Vec<u8>,
    ) -> Option<(Range<usize>, Range<usize>)> {
        let start = work.len();
        work.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated_data);
        let sealed = work.get_mut(start..)?;
        let tag = self
            .gcm
            .seal_in_place_separate_tag(nonce, aad, sealed)
            .ok()?;
        let middle = work.len();
        work.extend_from_slice(tag.as_ref());
        Some((start..middle, middle..work.len()))
    }

    /// Appends the plaintext to `work`; where it is, or `None` when the tag does not fit.
    pub fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated_data: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_BYTES],
        work: &mut Vec<u8>,
    ) -> Option<Range<usize>> {
        let start = work.len();
        work.extend_from_slice(ciphertext);
        work.extend_from_slice(tag);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated_data);
        let opened = self.gcm.open_in_place(nonce, aad, work.get_mut(start..)?);
        let end = opened.ok().map(|plain| start + plain.len());
        work.truncate(end.unwrap_or(start));
        end.map(|end| start..end)
    }
}

impl Cipher {
    /// AES-CBC: appends the padded ciphertext to `work`; where it is.
    pub fn seal_cbc(
        &self,
        iv: [u8; BLOCK_BYTES],
        plaintext: &[u8],
        work: &mut Vec<u8>,
    ) -> Range<usize> {
        let start = work.len();
        let cipher = cbc::Encryptor::<Aes256>::new(&self.bytes.into(), &iv.into());
        work.extend(cipher.encrypt_padded_vec::<Pkcs7>(plaintext));
        start..work.len()
    }

    /// AES-CBC: appends the plaintext to `work`; where it is, or `None` when the padding is wrong.
    pub fn open_cbc(
        &self,
        iv: [u8; BLOCK_BYTES],
        ciphertext: &[u8],
        work: &mut Vec<u8>,
    ) -> Option<Range<usize>> {
        let start = work.len();
        let cipher = cbc::Decryptor::<Aes256>::new(&self.bytes.into(), &iv.into());
        work.extend(cipher.decrypt_padded_vec::<Pkcs7>(ciphertext).ok()?);
        Some(start..work.len())
    }

    /// HMAC-SHA256.
    pub fn mac(&self, data: &[u8]) -> hmac::Tag {
        hmac::sign(&self.hmac_key(), data)
    }

    /// Whether it is the HMAC-SHA256 of `data`.
    pub fn has_mac(&self, data: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.hmac_key(), data, mac).is_ok()
    }

    fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.bytes)
    }
}

/// A pseudorandom value for one purpose.
pub fn derive(seed: u64, purpose: &str, of: &str) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in [purpose, of] {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_cbc_sealed_opens_and_a_mac_holds_for_its_data_only() {
        let cipher = Cipher::derive(1, "a").unwrap();
        for plain in [&b""[..], b"fifteen bytes..", b"sixteen bytes...", &[7; 33]] {
            let mut work = b"before".to_vec();
            let sealed = cipher.seal_cbc([3; 16], plain, &mut work);
            assert_eq!(sealed.len(), (plain.len() / 16 + 1) * 16);
            let sealed = work[sealed].to_vec();
            let opened = cipher.open_cbc([3; 16], &sealed, &mut work).unwrap();
            assert_eq!(&work[opened], plain);
            let cut = &sealed[..sealed.len() - 1];
            assert!(cipher.open_cbc([3; 16], cut, &mut work).is_none());
        }
        let mac = cipher.mac(b"data");
        let other = Cipher::derive(2, "a").unwrap();
        assert!(cipher.has_mac(b"data", mac.as_ref()));
        assert!(!cipher.has_mac(b"date", mac.as_ref()));
        assert!(!cipher.has_mac(b"data", &mac.as_ref()[..31]));
        assert!(!other.has_mac(b"data", mac.as_ref()));
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let cipher = Cipher::derive(1, "a").unwrap();
        let mut work = b"before".to_vec();
        let (data, tag) = cipher.seal([7; 12], b"aad", b"plain", &mut work).unwrap();
        let (data, tag) = (work[data].to_vec(), work[tag].to_vec());
        let tag: [u8; 16] = tag.try_into().unwrap();
        let opened = cipher
            .open([7; 12], b"aad", &data, &tag, &mut work)
            .unwrap();
        assert_eq!(&work[opened], b"plain");
        let mut bad = tag;
        bad[0] ^= 1;
        let other = Cipher::derive(2, "a").unwrap();
        let same = Cipher::derive(1, "a").unwrap();
        let before = work.len();
        for (name, cipher, nonce, aad, tag, want) in [
            ("the same key again", &same, [7; 12], &b"aad"[..], tag, true),
            ("tag", &cipher, [7; 12], b"aad", bad, false),
            ("associated data", &cipher, [7; 12], b"", tag, false),
            ("nonce", &cipher, [8; 12], b"aad", tag, false),
            ("key of another seed", &other, [7; 12], b"aad", tag, false),
        ] {
            let opened = cipher.open(nonce, aad, &data, &tag, &mut work);
            assert_eq!(opened.is_some(), want, "{name}");
            work.truncate(before);
        }
    }
}
