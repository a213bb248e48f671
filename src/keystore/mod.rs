//! Java and PKCS#12 keystores, opened by magic: entries by lower-cased alias.
//!
//! Must never be true: an allocation larger than the input, a pin without the trusted flag, two
//! aliases that collide when lower-cased, a private key that is not wiped.

use crate::secret::SecretString;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A private key with its chain, leaf first, in order.
pub struct KeyEntry {
    pub alias: String,
    pub key: PrivateKeyDer<'static>,
    pub chain: Vec<CertificateDer<'static>>,
}

/// A trusted certificate.
pub struct TrustedEntry {
    pub alias: String,
    pub certificate: CertificateDer<'static>,
}

/// An opened keystore.
pub struct Keystore {
    pub keys: Vec<KeyEntry>,
    pub trusted: Vec<TrustedEntry>,
    pub format: Format,
}

/// What the magic said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Jks,
    Jceks,
    Pkcs12,
}

/// Why a keystore was not opened; `Display` is for operators and names the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeystoreError {
    WrongPasswordOrDamaged,
}

/// Opens the bytes of a keystore file. `key_password` is for JKS/JCEKS whose keys have their own.
pub fn open(
    _bytes: &[u8],
    _password: &SecretString,
    _key_password: Option<&SecretString>,
) -> Result<Keystore, KeystoreError> {
    todo!()
}
