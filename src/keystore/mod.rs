//! Java and PKCS#12 keystores, opened by magic: entries by lower-cased alias.
//!
//! Must never be true: an allocation larger than the input, a pin without the trusted flag, two
//! aliases that collide when lower-cased, a private key that is not wiped. The PKCS#12 crate frees
//! key bytes unwiped: the program's wipe-on-free allocator covers that.
//!
//! Called by `identity`, `node` (start, reload), `cli` (check, demo).

mod alias;
mod certificate;
mod chain;
mod der;
mod edit;
mod error;
mod jks;
mod password;
pub mod pem;
mod pkcs12;
mod pkcs12_peek;
mod revocation;
mod save;
mod write;

use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

pub use certificate::{CertificateError, CertificateFacts, KeyUses, SubjectAltName};
pub use chain::issued_by;
pub use edit::{Edit, arrange};
pub use error::KeystoreError;
pub use revocation::{RevocationError, RevocationList, revocation_lists};
pub use save::{WriteLock, save};
pub use write::{NewEntry, WriteError, write_pkcs12};

use crate::limits::KEYSTORE_BYTES_MAX;
use crate::secret::SecretString;

/// A private key with its chain, leaf first, in order. The key is wiped on drop.
pub struct KeyEntry {
    /// Lower-cased.
    pub alias: String,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// At least the leaf, whose public key is the private key's own.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyEntry({}, key .., {} certificates)",
            self.alias,
            self.chain.len()
        )
    }
}

/// A certificate that the operator marked as trusted.
#[derive(Clone, Debug)]
pub struct TrustedEntry {
    /// Lower-cased.
    pub alias: String,
    /// DER, known to parse.
    pub certificate: CertificateDer<'static>,
}

/// An opened keystore.
#[derive(Debug)]
pub struct Keystore {
    /// In the file's order.
    pub keys: Vec<KeyEntry>,
    /// In the file's order.
    pub trusted: Vec<TrustedEntry>,
    /// The kind of file, by its magic.
    pub format: Format,
    /// Aliases of secret keys of a PKCS#12 file, which are not read. JCEKS with one is refused.
    pub secrets: Vec<String>,
    /// Private keys whose chain the file has in another order than TLS sends it.
    pub mended: Vec<MendedChain>,
}

/// A chain that was put in order when it was read: the key's own certificate, then each issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MendedChain {
    /// Lower-cased.
    pub alias: String,
    /// Certificates in the file.
    pub held: usize,
    /// Those of them that belong to the key.
    pub kept: usize,
}

impl fmt::Display for MendedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alias, held, kept } = self;
        write!(
            f,
            "the chain of '{alias}' is not in order in the keystore: its own certificate must come first, then each \
             issuer. It is used in order, {kept} of {held} certificates; kms keystore convert writes it so"
        )
    }
}

/// What the magic said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Java's old default.
    Jks,
    /// Java's second format, with triple DES.
    Jceks,
    /// What keytool writes since Java 9, under any file name.
    Pkcs12,
}

/// Opens the bytes of a keystore file.
///
/// `key_password` is for JKS and JCEKS whose keys have their own; keys that it does not open are
/// tried with `password`. A PKCS#12 file has one password, so there it is ignored, as by keytool.
pub fn open(
    bytes: &[u8],
    password: &SecretString,
    key_password: Option<&SecretString>,
) -> Result<Keystore, KeystoreError> {
    if bytes.len() > KEYSTORE_BYTES_MAX {
        return Err(KeystoreError::TooLarge { bytes: bytes.len() });
    }
    match detect(bytes)? {
        Format::Pkcs12 => pkcs12::read(bytes, password),
        format => jks::read(format, bytes, password, key_password),
    }
}

fn detect(bytes: &[u8]) -> Result<Format, KeystoreError> {
    let looks_like = match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => return Ok(Format::Jks),
        [0xce, 0xce, 0xce, 0xce, ..] => return Ok(Format::Jceks),
        [der::SEQUENCE, ..] => return Ok(Format::Pkcs12),
        [] => Some("an empty file"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP or JAR file"),
        // Text may stand before the armour, as `openssl x509 -text` writes it.
        _ if bytes
            .windows(11)
            .take(64 * 1024)
            .any(|window| window == b"-----BEGIN ") =>
        {
            Some("a PEM file")
        }
        _ => None,
    };
    Err(KeystoreError::NotAKeystore { looks_like })
}

impl Keystore {
    /// The private key of that name; letter case does not count.
    pub fn key(&self, alias: &str) -> Option<&KeyEntry> {
        let alias = alias::fold(alias);
        self.keys.iter().find(|entry| entry.alias == alias)
    }

    /// The trusted certificate of that name; letter case does not count.
    pub fn trusted(&self, alias: &str) -> Option<&TrustedEntry> {
        let alias = alias::fold(alias);
        self.trusted.iter().find(|entry| entry.alias == alias)
    }

    /// All aliases: private keys, then trusted certificates.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter().map(|entry| entry.alias.as_str());
        keys.chain(self.trusted.iter().map(|entry| entry.alias.as_str()))
    }

    /// The alias that `missing` was probably meant to be, for "did you mean".
    pub fn did_you_mean(&self, missing: &str) -> Option<&str> {
        alias::nearest(missing, self.aliases())
    }
}

#[cfg(test)]
mod tests;
