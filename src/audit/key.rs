//! The key of the chains, and of the digests by which ciphertexts are named.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::AuditError;
use super::line::put_hex;

const KEY_BYTES: usize = 32;

/// Two keys made of the one in the file, so that no digest of a ciphertext is ever a link of a chain.
pub struct AuditKey {
    pub(super) chain: hmac::Key,
    pub(super) digest: hmac::Key,
}

impl AuditKey {
    /// Reads it, or makes the file with a new one.
    pub fn open_or_make(file: &Path) -> Result<Self, AuditError> {
        match Self::open(file) {
            Err(AuditError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                make(file)?;
                Self::open(file)
            }
            opened => opened,
        }
    }

    /// Reads it.
    pub fn open(file: &Path) -> Result<Self, AuditError> {
        let text = Zeroizing::new(fs::read_to_string(file).map_err(|error| failed(file, error))?);
        let bytes = unhex(text.trim()).ok_or_else(|| AuditError::NoKey(file.to_owned()))?;
        let master = hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice());
        let derived = |purpose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, purpose).as_ref())
        };
        Ok(Self {
            chain: derived(b"connected-kms audit chain"),
            digest: derived(b"connected-kms audit ciphertext"),
        })
    }
}

fn failed(file: &Path, error: io::Error) -> AuditError {
    AuditError::File {
        key: "kms.audit.key.file",
        file: file.to_owned(),
        error,
    }
}

fn make(file: &Path) -> Result<(), AuditError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom::new()
        .fill(bytes.as_mut_slice())
        .map_err(|_| AuditError::Random)?;
    let mut text = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES + 1));
    put_hex(&mut text, bytes.as_slice());
    text.push(b'\n');
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(file);
    let written = made.and_then(|mut made| {
        made.write_all(&text)?;
        made.sync_all()
    });
    written.map_err(|error| failed(file, error))
}

/// Exactly [`KEY_BYTES`] bytes of hexadecimal digits.
pub(super) fn unhex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}
