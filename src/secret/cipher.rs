//! AES-256-GCM and HMAC-SHA256 under a key that rests in the arena, with the traces wiped.
//!
//! A key rests as its plain bytes. Each operation expands it into ring's key schedule on the stack (well
//! under a microsecond with AES-NI) rather than keep a schedule, which starts with the raw key, in ordinary
//! memory. ring does not wipe it, so the stack below is overwritten after. Must never be true: a caller of
//! ring's keys with a secret outside this file. Used by the embedded back end and the shared cache.

use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroize;

use crate::limits::{NONCE_BYTES, TAG_BYTES};

/// More than ring's schedule and its callees' frames.
const STACK_BYTES: usize = 8 * 1024;

/// The tag is wrong, or the key has another length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused;

/// Encrypts `data` in place; the tag is given apart.
pub fn seal(
    key: &[u8],
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    data: &mut [u8],
) -> Result<[u8; TAG_BYTES], Refused> {
    let tag = seal_with_schedule(key, nonce, associated_data, data);
    overwrite_stack();
    tag
}

/// Decrypts `data`, which ends in its tag, in place; the plaintext's length, all but the tag.
pub fn open(
    key: &[u8],
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    data: &mut [u8],
) -> Result<usize, Refused> {
    let len = open_with_schedule(key, nonce, associated_data, data);
    overwrite_stack();
    len
}

/// HMAC-SHA256 over `parts`, one behind the other: callers prefix lengths where borders matter.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mac = mac_with_schedule(key, parts);
    overwrite_stack();
    mac
}

#[inline(never)]
fn seal_with_schedule(
    key: &[u8],
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    data: &mut [u8],
) -> Result<[u8; TAG_BYTES], Refused> {
    let schedule = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| Refused)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = schedule
        .seal_in_place_separate_tag(nonce, Aad::from(associated_data), data)
        .map_err(|_| Refused)?;
    tag.as_ref().try_into().map_err(|_| Refused)
}

#[inline(never)]
fn open_with_schedule(
    key: &[u8],
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    data: &mut [u8],
) -> Result<usize, Refused> {
    let schedule = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| Refused)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let plaintext = schedule
        .open_in_place(nonce, Aad::from(associated_data), data)
        .map_err(|_| Refused)?;
    Ok(plaintext.len())
}

#[inline(never)]
fn mac_with_schedule(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let schedule = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&schedule);
    for part in parts {
        context.update(part);
    }
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

/// Zeroes the stretch of stack that the callee before has just left.
#[inline(never)]
pub fn overwrite_stack() {
    let mut stretch = [0_u8; STACK_BYTES];
    stretch.zeroize();
    black_box(&stretch);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_three_and_no_others() {
        let (key, nonce, aad) = ([7; 32], [1; NONCE_BYTES], &b"about"[..]);
        let mut data = *b"plaintext";
        let tag = seal(&key, nonce, aad, &mut data);
        let Ok(tag) = tag else {
            panic!("a key of 32 bytes")
        };
        let whole = [&data[..], &tag].concat();
        let with = |key: &[u8], nonce, aad: &[u8]| {
            let mut data = whole.clone();
            let len = open(key, nonce, aad, &mut data)?;
            Ok(data[..len].to_vec())
        };
        assert_eq!(with(&key, nonce, aad), Ok(b"plaintext".to_vec()));
        for (name, got) in [
            ("key", with(&[8; 32], nonce, aad)),
            ("nonce", with(&key, [2; NONCE_BYTES], aad)),
            ("associated data", with(&key, nonce, b"other")),
            ("a key too short", with(&[7; 31], nonce, aad)),
        ] {
            assert_eq!(got, Err(Refused), "{name}");
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_mac_is_hmac_sha256() {
        let mac = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac[28..], [0x64, 0xec, 0x38, 0x43]);
    }
}
