//! Why a keystore was not opened, in the operator's words.
//!
//! Must never be true: a password or key byte in an error. The caller adds the file's name.

use std::fmt;

use super::Format;
use crate::limits::KEYSTORE_BYTES_MAX;

/// Rewrites a keystore in the form that every supported reader opens; needs Java.
const REMEDY_KEYTOOL: &str = "convert it with: keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12";
/// The same for what Java cannot read.
const REMEDY_OPENSSL: &str = "convert it with: openssl pkcs12 -legacy -in OLD -nodes -out all.pem && \
     openssl pkcs12 -export -in all.pem -name ALIAS -out NEW.p12 && shred -u all.pem \
     (then import trusted certificates again with keytool -importcert)";

/// Why a keystore was not opened; `Display` is for operators and names the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeystoreError {
    /// More than [`KEYSTORE_BYTES_MAX`] bytes.
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// The first bytes are of no keystore; what they look like, where that is clear.
    NotAKeystore {
        /// For instance `a PEM file`.
        looks_like: Option<&'static str>,
    },
    /// The file ends before its content does.
    Truncated {
        /// The kind of keystore.
        format: Format,
    },
    /// Bytes follow the end of the keystore.
    TrailingBytes {
        /// The kind of keystore.
        format: Format,
        /// How many.
        bytes: usize,
    },
    /// The digest or MAC over the file is not the one this password gives.
    WrongPasswordOrDamaged,
    /// A JKS or JCEKS version other than 1 and 2.
    Version(u32),
    /// The structure is wrong: damage, or an unusual writer.
    Malformed {
        /// The kind of keystore.
        format: Format,
        /// What was being read.
        what: String,
    },
    /// An alias is not valid modified UTF-8.
    AliasEncoding {
        /// Which entry of the file, from 1.
        entry: u32,
    },
    /// Two aliases are the same when letter case is ignored.
    DuplicateAlias {
        /// One spelling.
        first: String,
        /// The other.
        second: String,
    },
    /// A JCEKS file with a secret key: a serialised Java object, whose length is not known.
    SecretKeyEntry {
        /// Its alias.
        alias: String,
    },
    /// An encryption, MAC or certificate type that is not supported.
    UnsupportedAlgorithm {
        /// Its name or object identifier.
        algorithm: String,
        /// Whether keytool can read it, which decides the remedy.
        java_reads: bool,
    },
    /// More hash iterations than any sane file has.
    Iterations {
        /// Declared in the file.
        found: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// The password does not open this key.
    WrongKeyPassword {
        /// The key's alias.
        alias: String,
    },
    /// The key's password has characters that this format cannot use.
    PasswordCharacters {
        /// The kind of keystore.
        format: Format,
    },
    /// A PKCS#12 file without MAC: anybody could have put certificates into it.
    NoMac,
    /// PKCS#12 in BER (indefinite lengths, strings in pieces) instead of DER.
    Ber,
    /// The private key is not the one of its certificate.
    KeyMismatch {
        /// The key's alias.
        alias: String,
    },
    /// A private key that TLS here cannot use.
    UnusableKey {
        /// The key's alias.
        alias: String,
    },
    /// A private key without certificate.
    NoCertificate {
        /// The key's alias.
        alias: String,
    },
    /// A certificate that is not X.509 in DER.
    BadCertificate {
        /// The entry's alias, where known.
        alias: Option<String>,
    },
    /// A PKCS#12 file with certificates none of which is marked as trusted, and no key.
    NothingTrusted {
        /// Subjects of some of them.
        subjects: Vec<String>,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jks => "JKS",
            Self::Jceks => "JCEKS",
            Self::Pkcs12 => "PKCS12",
        })
    }
}

impl fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { .. }
            | Self::NotAKeystore { .. }
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::WrongPasswordOrDamaged
            | Self::Version(_)
            | Self::Malformed { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::Iterations { .. }
            | Self::PasswordCharacters { .. }
            | Self::NoMac
            | Self::Ber
            | Self::NothingTrusted { .. } => self.about_the_file(f),
            _ => self.about_an_entry(f),
        }
    }
}

impl KeystoreError {
    fn about_the_file(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "the keystore has {bytes} bytes, more than the {KEYSTORE_BYTES_MAX} that are accepted: is it the right file?")
            }
            Self::NotAKeystore { looks_like } => {
                f.write_str("this is not a keystore: a JKS, JCEKS or PKCS12 file is wanted")?;
                match looks_like {
                    Some(kind) => write!(
                        f,
                        ", and this looks like {kind}; make a keystore with: openssl pkcs12 -export \
                         -inkey KEY -in CHAIN -name ALIAS -out NEW.p12, or for a trusted certificate: \
                         keytool -importcert -alias ALIAS -file CERT -keystore NEW.p12"
                    ),
                    None => Ok(()),
                }
            }
            Self::Truncated { format } => {
                write!(f, "the {format} keystore is cut short: copy it again from its source")
            }
            Self::TrailingBytes { format, bytes } => {
                write!(f, "{bytes} bytes follow the end of the {format} keystore: copy it again from its source, or {REMEDY_KEYTOOL}")
            }
            Self::WrongPasswordOrDamaged => f.write_str(
                "the store password is wrong, or the file is damaged (its checksum cannot tell which): \
                 try it with: kms keystore list FILE",
            ),
            Self::Version(version) => write!(f, "the keystore has version {version}; 1 and 2 are known: {REMEDY_KEYTOOL}"),
            Self::Malformed { format, what } => {
                write!(f, "the {format} keystore cannot be read ({what}): copy it again from its source, or {REMEDY_KEYTOOL}")
            }
            Self::UnsupportedAlgorithm { algorithm, java_reads } => {
                let remedy = if *java_reads { REMEDY_KEYTOOL } else { REMEDY_OPENSSL };
                write!(f, "the keystore uses {algorithm}, which is not supported: {remedy}")
            }
            Self::Iterations { found, max } => {
                write!(f, "the keystore asks for {found} hash iterations, and 1 to {max} are accepted: {REMEDY_KEYTOOL}")
            }
            Self::PasswordCharacters { format } => write!(
                f,
                "the password has characters that a {format} keystore cannot use: change it to ASCII \
                 (keytool -storepasswd, keytool -keypasswd), or store it as PKCS12: {REMEDY_KEYTOOL}"
            ),
            Self::NoMac => write!(
                f,
                "the PKCS12 keystore has no MAC, so anybody could have put certificates into it unseen: \
                 look at what it holds (keytool -list -v -keystore OLD), then {REMEDY_KEYTOOL}"
            ),
            Self::Ber => write!(f, "the PKCS12 keystore is written in BER (indefinite lengths) and not in DER: {REMEDY_KEYTOOL}"),
            Self::NothingTrusted { subjects } => write!(
                f,
                "the PKCS12 keystore holds certificates ({}) but none is marked as trusted and there is no key: \
                 import each with: keytool -importcert -alias ALIAS -file CERT -keystore NEW.p12",
                subjects.join("; ")
            ),
            _ => Ok(()),
        }
    }

    fn about_an_entry(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AliasEncoding { entry } => {
                write!(f, "the alias of entry {entry} is not valid text: rename it with keytool -changealias")
            }
            Self::DuplicateAlias { first, second } => write!(
                f,
                "the aliases '{first}' and '{second}' are the same, as letter case does not count: \
                 rename one with: keytool -changealias -alias '{second}' -destalias NEW"
            ),
            Self::SecretKeyEntry { alias } => write!(
                f,
                "'{alias}' is a secret key, which cannot be read from a JCEKS file: \
                 remove it with: keytool -delete -alias '{alias}' -storetype JCEKS, or {REMEDY_KEYTOOL}"
            ),
            Self::WrongKeyPassword { alias } => write!(
                f,
                "the password does not open the private key '{alias}': set the key's own password, \
                 or make it the store's with: keytool -keypasswd -alias '{alias}'"
            ),
            Self::KeyMismatch { alias } => write!(
                f,
                "the private key '{alias}' does not belong to its certificate: import the certificate that was issued for this key"
            ),
            Self::UnusableKey { alias } => write!(
                f,
                "the private key '{alias}' is of no kind that TLS can use here: RSA of 2048 bits or more, \
                 ECDSA on P-256, P-384 or P-521, or Ed25519 is wanted"
            ),
            Self::NoCertificate { alias } => write!(
                f,
                "the private key '{alias}' has no certificate in the keystore: import the certificate that was issued for it"
            ),
            Self::BadCertificate { alias: Some(alias) } => {
                write!(f, "a certificate of '{alias}' is not a readable X.509 certificate: import it again")
            }
            Self::BadCertificate { alias: None } => {
                f.write_str("the keystore holds a certificate that is not a readable X.509 certificate: find it with keytool -list -v")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for KeystoreError {}
