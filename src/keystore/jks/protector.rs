//! The two ways in which Java encrypts a private key inside JKS and JCEKS.
//!
//! Must never be true: plaintext key bytes in memory that is not wiped, more than
//! [`ITERATIONS_MAX`] hash iterations for one key.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use md5::Md5;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::keystore::der::{CONTEXT_0, Der, DerFault, OCTET_STRING, OID, SEQUENCE, dotted};
use crate::keystore::password::{same, utf16be};
use crate::secret::SecretString;

/// keytool 17 writes 200,000; Java's own limit is 5,000,000.
pub(super) const ITERATIONS_MAX: u32 = 5_000_000;

/// 1.3.6.1.4.1.42.2.17.1.1: the JKS protector.
const JKS_PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];
/// 1.3.6.1.4.1.42.2.19.1: Sun's own `PBEWithMD5AndTripleDES`.
const JCEKS_PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x13, 0x01];

/// Why a key was not recovered.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum ProtectorFault {
    WrongPassword,
    NotAscii,
    Algorithm(String),
    Iterations(u32),
    Malformed,
}

impl From<DerFault> for ProtectorFault {
    fn from(_: DerFault) -> Self {
        Self::Malformed
    }
}

/// Recovers the PKCS#8 key from an `EncryptedPrivateKeyInfo`.
pub(super) fn recover(
    protected: &[u8],
    password: &SecretString,
) -> Result<Zeroizing<Vec<u8>>, ProtectorFault> {
    let mut outer = Der(protected);
    let mut info = outer.sequence()?;
    let mut algorithm = info.sequence()?;
    let oid = algorithm.expect(OID)?;
    let data = info.expect(OCTET_STRING)?;
    if !outer.is_empty() || !info.is_empty() {
        return Err(ProtectorFault::Malformed);
    }
    let key = match oid {
        JKS_PROTECTOR => jks(data, password)?,
        JCEKS_PROTECTOR => jceks(algorithm, data, password)?,
        other => {
            return Err(ProtectorFault::Algorithm(format!(
                "the key encryption {}",
                dotted(other)
            )));
        }
    };
    Ok(key)
}

/// `salt (20) | ciphertext | check (20)`, a key stream of chained SHA-1.
fn jks(data: &[u8], password: &SecretString) -> Result<Zeroizing<Vec<u8>>, ProtectorFault> {
    let (salt, rest) = data
        .split_first_chunk::<20>()
        .ok_or(ProtectorFault::Malformed)?;
    let (cipher, check) = rest
        .split_last_chunk::<20>()
        .ok_or(ProtectorFault::Malformed)?;
    let password = utf16be(password);
    let mut plain = Zeroizing::new(cipher.to_vec());
    let mut block = Zeroizing::new(*salt);
    for piece in plain.chunks_mut(20) {
        *block = Sha1::new()
            .chain_update(&*password)
            .chain_update(*block)
            .finalize()
            .into();
        for (byte, mask) in piece.iter_mut().zip(block.iter()) {
            *byte ^= mask;
        }
    }
    let sum = Sha1::new()
        .chain_update(&*password)
        .chain_update(&*plain)
        .finalize();
    if same(&sum, check) {
        Ok(plain)
    } else {
        Err(ProtectorFault::WrongPassword)
    }
}

/// Triple DES in CBC mode under a key and IV of iterated MD5, with Sun's salt rule.
fn jceks(
    mut algorithm: Der<'_>,
    data: &[u8],
    password: &SecretString,
) -> Result<Zeroizing<Vec<u8>>, ProtectorFault> {
    let mut parameters = algorithm.sequence()?;
    let salt: [u8; 8] = parameters
        .expect(OCTET_STRING)?
        .try_into()
        .map_err(|_| ProtectorFault::Malformed)?;
    let iterations = parameters.unsigned()?;
    if !parameters.is_empty() {
        return Err(ProtectorFault::Malformed);
    }
    if !(1..=ITERATIONS_MAX).contains(&iterations) {
        return Err(ProtectorFault::Iterations(iterations));
    }
    // Sun's cipher takes one byte a character, and only ASCII.
    if !password.expose().is_ascii() {
        return Err(ProtectorFault::NotAscii);
    }
    let derived = jceks_key(salt, iterations, password.expose().as_bytes());
    let (key, iv) = derived.split_at(24);
    let mut plain = Zeroizing::new(data.to_vec());
    let cipher = cbc::Decryptor::<des::TdesEde3>::new_from_slices(key, iv)
        .map_err(|_| ProtectorFault::Malformed)?;
    let length = cipher
        .decrypt_padded_mut::<Pkcs7>(&mut plain)
        .map_err(|_| ProtectorFault::WrongPassword)?
        .len();
    plain.truncate(length);
    // A wrong password gives good padding once in 256: PKCS#8's shape tells.
    if is_pkcs8(&plain) {
        Ok(plain)
    } else {
        Err(ProtectorFault::WrongPassword)
    }
}

/// 24 bytes of key and 8 of IV.
pub(super) fn jceks_key(
    mut salt: [u8; 8],
    iterations: u32,
    password: &[u8],
) -> Zeroizing<[u8; 32]> {
    let (left, right) = salt.split_at_mut(4);
    if left == right {
        // Meant by Sun to make the halves differ.
        left.reverse();
    }
    let mut derived = Zeroizing::new([0; 32]);
    for (half, out) in salt.chunks(4).zip(derived.chunks_mut(16)) {
        let mut digest = Md5::new()
            .chain_update(half)
            .chain_update(password)
            .finalize();
        for _ in 1..iterations {
            digest = Md5::new()
                .chain_update(digest)
                .chain_update(password)
                .finalize();
        }
        out.copy_from_slice(&digest);
    }
    derived
}

/// SEQUENCE { INTEGER, SEQUENCE, OCTET STRING, ... } and nothing after it.
fn is_pkcs8(bytes: &[u8]) -> bool {
    let mut outer = Der(bytes);
    let Ok(mut inside) = outer.sequence() else {
        return false;
    };
    outer.is_empty()
        && inside.unsigned().is_ok()
        && inside.expect(SEQUENCE).is_ok()
        && inside.expect(OCTET_STRING).is_ok()
        && inside
            .peek_tag()
            .is_none_or(|tag| tag >= CONTEXT_0 || tag == 0x81)
}
