//! Writes PKCS#12 files that keytool, Java, curl and openssl read: PBES2 with AES-256, SHA-256 MAC.
//!
//! Called by `cli` (demo, certificates). Must never be true: two aliases that collide, a private
//! key written with a certificate that is not its own.

#[cfg(test)]
mod tests;

use std::fmt;

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::alias::Aliases;
use super::{KeyEntry, KeystoreError, chain};
use crate::secret::SecretString;

/// What to write under one alias.
#[derive(Clone, Copy)]
pub enum NewEntry<'a> {
    /// A private key (PKCS#8) with its chain, leaf first.
    Key {
        /// Keytool would write it in lower case.
        alias: &'a str,
        /// PKCS#8.
        key: &'a PrivateKeyDer<'static>,
        /// At least the leaf.
        chain: &'a [CertificateDer<'static>],
    },
    /// A certificate to trust.
    Trusted {
        /// Kept as it is.
        alias: &'a str,
        /// DER.
        certificate: &'a CertificateDer<'static>,
    },
}

/// Why a keystore was not written.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// The entries would not be accepted when read again.
    Entry(KeystoreError),
    /// Keytool cannot open a PKCS#12 file whose password is not ASCII.
    PasswordNotAscii,
    /// An alias that the format cannot hold, or a key that is not PKCS#8.
    Encoding {
        /// The entry's alias, where known.
        alias: Option<String>,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(error) => write!(f, "{error}"),
            Self::PasswordNotAscii => f.write_str("the password of a PKCS12 keystore must be ASCII, or keytool cannot open it: give \
                 the new file one of its own (kms keystore convert --to FILE --to-password-file FILE)"),
            Self::Encoding { alias: Some(alias) } => write!(f, "'{alias}' cannot be written to a PKCS12 keystore: is its key in PKCS#8 form?"),
            Self::Encoding { alias: None } => f.write_str("the PKCS12 keystore cannot be encoded: an alias may have no character beyond 16 bits"),
        }
    }
}

impl std::error::Error for WriteError {}

/// A PKCS#12 file of `entries` under `password`, which opens its keys as well.
pub fn write_pkcs12(
    entries: &[NewEntry<'_>],
    password: &SecretString,
) -> Result<Vec<u8>, WriteError> {
    if !password.expose().is_ascii() {
        return Err(WriteError::PasswordNotAscii);
    }
    let mut aliases = Aliases::default();
    let mut store = KeyStore::new();
    for entry in entries {
        let (NewEntry::Key { alias, .. } | NewEntry::Trusted { alias, .. }) = *entry;
        aliases.claim(alias).map_err(WriteError::Entry)?;
        store.add_entry(alias, encode(entry)?);
    }
    store
        .writer(password.expose())
        .write()
        .map_err(|_| WriteError::Encoding { alias: None })
}

fn encode(entry: &NewEntry<'_>) -> Result<KeyStoreEntry, WriteError> {
    let certificate = |alias: &str, der: &CertificateDer<'_>| {
        Certificate::from_der(der).map_err(|_| {
            WriteError::Entry(KeystoreError::BadCertificate {
                alias: Some(alias.to_owned()),
            })
        })
    };
    match *entry {
        NewEntry::Trusted {
            alias,
            certificate: der,
        } => Ok(KeyStoreEntry::Certificate(certificate(alias, der)?)),
        NewEntry::Key { alias, key, chain } => {
            let entry = KeyEntry {
                alias: alias.to_owned(),
                key: key.clone_key(),
                chain: chain.to_vec(),
            };
            chain::check_leaf(&entry).map_err(WriteError::Entry)?;
            let encoding = |_| WriteError::Encoding {
                alias: Some(alias.to_owned()),
            };
            let key = PrivateKey::from_der(key.secret_der()).map_err(encoding)?;
            let certificates = chain
                .iter()
                .map(|der| certificate(alias, der))
                .collect::<Result<Vec<_>, _>>()?;
            // Links key and leaf inside the file, so it must be unique: the alias and the leaf are.
            let mut id = digest::Context::new(&digest::SHA256);
            id.update(alias.as_bytes());
            id.update(chain.first().map(AsRef::as_ref).unwrap_or_default());
            let id = id.finish().as_ref().to_vec();
            Ok(KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(
                id,
                key,
                certificates,
            )))
        }
    }
}
