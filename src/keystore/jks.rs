//! JKS and JCEKS: Java's own keystore formats, versions 1 and 2, read only.
//!
//! The digest at the end is checked before anything is parsed, so that the parser sees what the
//! holder of the password wrote, or a damaged file is named as such.
//! Must never be true: an allocation from a length or count in the file, bytes left over.

mod protector;

#[cfg(test)]
pub(super) mod encoder;
#[cfg(test)]
mod tests;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::{Digest, Sha1};

use self::protector::ProtectorFault;
use super::alias::Aliases;
use super::certificate::{self, CERTIFICATE_BYTES_MAX};
use super::password::{same, utf16be};
use super::{Format, KeyEntry, Keystore, KeystoreError, TrustedEntry, chain};
use crate::secret::SecretString;

const DIGEST_BYTES: usize = 20;
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Reads a whole file whose magic is known.
pub(super) fn read(
    format: Format,
    bytes: &[u8],
    password: &SecretString,
    key_password: Option<&SecretString>,
) -> Result<Keystore, KeystoreError> {
    let truncated = KeystoreError::Truncated { format };
    let Some((body, digest)) = bytes
        .split_last_chunk::<DIGEST_BYTES>()
        .filter(|(body, _)| body.len() >= 12)
    else {
        return Err(truncated);
    };
    let sum = Sha1::new()
        .chain_update(&*utf16be(password))
        .chain_update(WHITENER)
        .chain_update(body)
        .finalize();
    if !same(&sum, digest) {
        return Err(KeystoreError::WrongPasswordOrDamaged);
    }
    let mut reader = Reader {
        rest: body,
        format,
        version: 2,
    };
    reader.take(4, "magic")?;
    reader.version = reader.u32("version")?;
    if !(1..=2).contains(&reader.version) {
        return Err(KeystoreError::Version(reader.version));
    }
    let count = reader.u32("entry count")?;
    let mut store = Keystore {
        keys: Vec::new(),
        trusted: Vec::new(),
        format,
        secrets: Vec::new(),
        mended: Vec::new(),
    };
    let mut aliases = Aliases::default();
    let passwords = [key_password.unwrap_or(password), password];
    let passwords = if key_password.is_some() {
        &passwords[..]
    } else {
        &passwords[..1]
    };
    for entry in 1..=count {
        read_entry(&mut reader, entry, &mut aliases, passwords, &mut store)?;
    }
    match reader.rest.len() {
        0 => Ok(store),
        bytes => Err(KeystoreError::TrailingBytes { format, bytes }),
    }
}

fn read_entry(
    reader: &mut Reader<'_>,
    entry: u32,
    aliases: &mut Aliases,
    passwords: &[&SecretString],
    store: &mut Keystore,
) -> Result<(), KeystoreError> {
    let tag = reader.u32("entry tag")?;
    let alias = reader.utf("alias")?;
    let alias = modified_utf8(alias).ok_or(KeystoreError::AliasEncoding { entry })?;
    match tag {
        1 | 2 => {}
        3 => return Err(KeystoreError::SecretKeyEntry { alias }),
        _ => return Err(reader.malformed("entry tag")),
    }
    let alias = aliases.claim(&alias)?;
    reader.take(8, "creation time")?;
    if tag == 2 {
        let certificate = reader.certificate(&alias)?;
        store.trusted.push(TrustedEntry { alias, certificate });
        return Ok(());
    }
    let protected = reader.block("private key")?;
    let certificates = reader.u32("chain length")?;
    // Grown certificate by certificate: the count is only a claim.
    let mut chain = Vec::new();
    for _ in 0..certificates {
        chain.push(reader.certificate(&alias)?);
    }
    let key = recover(protected, passwords, &alias, reader.format)?;
    let mut entry = KeyEntry { alias, key, chain };
    store.mended.extend(chain::mend(&mut entry));
    chain::check_leaf(&entry)?;
    store.keys.push(entry);
    Ok(())
}

/// Tries each password; the last wrong one decides.
fn recover(
    protected: &[u8],
    passwords: &[&SecretString],
    alias: &str,
    format: Format,
) -> Result<PrivateKeyDer<'static>, KeystoreError> {
    let mut fault = KeystoreError::WrongKeyPassword {
        alias: alias.to_owned(),
    };
    for password in passwords {
        match protector::recover(protected, password) {
            Ok(mut key) => {
                return Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(
                    std::mem::take(&mut *key),
                )));
            }
            Err(ProtectorFault::WrongPassword) => {}
            Err(ProtectorFault::NotAscii) => fault = KeystoreError::PasswordCharacters { format },
            Err(ProtectorFault::Algorithm(algorithm)) => {
                return Err(KeystoreError::UnsupportedAlgorithm {
                    algorithm,
                    java_reads: true,
                });
            }
            Err(ProtectorFault::Iterations(found)) => {
                return Err(KeystoreError::Iterations {
                    found,
                    max: protector::ITERATIONS_MAX,
                });
            }
            Err(ProtectorFault::Malformed) => {
                return Err(KeystoreError::Malformed {
                    format,
                    what: format!("the private key '{alias}'"),
                });
            }
        }
    }
    Err(fault)
}

/// The bytes not yet read; every length is checked against them before use.
struct Reader<'a> {
    rest: &'a [u8],
    format: Format,
    version: u32,
}

impl<'a> Reader<'a> {
    fn malformed(&self, what: &str) -> KeystoreError {
        KeystoreError::Malformed {
            format: self.format,
            what: what.to_owned(),
        }
    }

    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], KeystoreError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self, what: &str) -> Result<u32, KeystoreError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// Four bytes of length and as many bytes.
    fn block(&mut self, what: &str) -> Result<&'a [u8], KeystoreError> {
        let length = self.u32(what)?;
        let length = usize::try_from(length).map_err(|_| self.malformed(what))?;
        self.take(length, what)
    }

    /// Two bytes of length and as many bytes.
    fn utf(&mut self, what: &str) -> Result<&'a [u8], KeystoreError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        self.take(usize::from(u16::from_be_bytes(*bytes)), what)
    }

    fn certificate(&mut self, alias: &str) -> Result<CertificateDer<'static>, KeystoreError> {
        // Version 1 knows only X.509 and does not say so.
        if self.version == 2 {
            let kind = self.utf("certificate type")?;
            if kind != b"X.509" && kind != b"X509" {
                let algorithm = format!("a certificate type other than X.509 for '{alias}'");
                return Err(KeystoreError::UnsupportedAlgorithm {
                    algorithm,
                    java_reads: false,
                });
            }
        }
        let der = self.block("certificate")?;
        if der.len() > CERTIFICATE_BYTES_MAX || certificate::facts(der).is_err() {
            return Err(KeystoreError::BadCertificate {
                alias: Some(alias.to_owned()),
            });
        }
        Ok(CertificateDer::from(der.to_vec()))
    }
}

/// Java's `DataInput.readUTF`: UTF-16 units of one to three bytes each. Never longer than `bytes`.
fn modified_utf8(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    let mut broken = false;
    let units = std::iter::from_fn(|| {
        let (unit, after) = match *rest {
            [] => return None,
            [a @ 0..=0x7f, ref after @ ..] => (u16::from(a), after),
            [a @ 0xc0..=0xdf, b @ 0x80..=0xbf, ref after @ ..] => {
                (u16::from(a & 0x1f) << 6 | u16::from(b & 0x3f), after)
            }
            [
                a @ 0xe0..=0xef,
                b @ 0x80..=0xbf,
                c @ 0x80..=0xbf,
                ref after @ ..,
            ] => (
                u16::from(a & 0x0f) << 12 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f),
                after,
            ),
            _ => {
                broken = true;
                return None;
            }
        };
        rest = after;
        Some(unit)
    });
    let mut text = String::with_capacity(bytes.len());
    for unit in char::decode_utf16(units) {
        text.push(unit.ok()?);
    }
    (!broken).then_some(text)
}
