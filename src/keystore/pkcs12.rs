//! PKCS#12: the crate decrypts the bags; what belongs together, and what may be trusted, is ours.
//!
//! A key's leaf is found by its public key and the chain by name and signature. Only certificates
//! with Java's trusted flag become trusted entries, as in Java itself. Of secret keys only the names
//! are kept, so that no change of the file loses one unseen.
//! An entry without a name gets the next free number from 1 (keys first, then certificates).
//! Must never be true: a file without MAC accepted; a pin without the flag.

#[cfg(test)]
mod tests;

use p12_keystore::error::Error;
use p12_keystore::{CertificateBag, Pkcs12Archive, PrivateKeyBag};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::alias::{Aliases, fold};
use super::certificate::{self, CERTIFICATE_BYTES_MAX};
use super::chain::{self, Link};
use super::{Format, KeyEntry, Keystore, KeystoreError, TrustedEntry, pkcs12_peek};
use crate::secret::SecretString;

/// Subjects named in an error.
const SUBJECTS_SHOWN: usize = 3;

/// Reads a whole file.
pub(super) fn read(bytes: &[u8], password: &SecretString) -> Result<Keystore, KeystoreError> {
    let safes = pkcs12_peek::frame(bytes)?;
    // The format hashes passwords as UCS-2, which has no characters beyond 16 bits.
    if password.expose().chars().any(|c| u32::from(c) > 0xffff) {
        return Err(KeystoreError::PasswordCharacters {
            format: Format::Pkcs12,
        });
    }
    let archive = Pkcs12Archive::from_pkcs12(bytes, password.expose())
        .map_err(|error| explain(&error, safes))?;
    link(&archive)
}

/// The crate's refusal in our words.
fn explain(error: &Error, safes: &[u8]) -> KeystoreError {
    match error {
        Error::MacError(_) => KeystoreError::WrongPasswordOrDamaged,
        Error::X509Error(_) | Error::UnsupportedCertificateType => {
            KeystoreError::BadCertificate { alias: None }
        }
        // Everything else was met behind the MAC: it is the file's own content.
        error => pkcs12_peek::survey(safes)
            .err()
            .unwrap_or_else(|| KeystoreError::Malformed {
                format: Format::Pkcs12,
                what: error.to_string(),
            }),
    }
}

fn link(archive: &Pkcs12Archive) -> Result<Keystore, KeystoreError> {
    let mut aliases = Aliases::default();
    let mut unnamed = 0;
    let mut name = |friendly: Option<&String>| match friendly {
        Some(alias) => aliases.claim(alias),
        None => Ok(aliases.number(&mut unnamed)),
    };
    let heap = archive
        .certs
        .iter()
        .map(checked_link)
        .collect::<Result<Vec<_>, _>>()?;
    let mut keys = Vec::new();
    for bag in &archive.keys {
        let alias = name(bag.friendly_name.as_ref())?;
        keys.push(key_entry(alias, bag, &archive.certs, &heap)?);
    }
    let mut trusted = Vec::new();
    for bag in archive.certs.iter().filter(|bag| bag.trusted) {
        let alias = name(bag.friendly_name.as_ref())?;
        trusted.push(TrustedEntry {
            alias,
            certificate: CertificateDer::from(bag.cert.as_der().to_vec()),
        });
    }
    if keys.is_empty() && trusted.is_empty() && !heap.is_empty() {
        let facts = archive
            .certs
            .iter()
            .filter_map(|bag| certificate::facts(bag.cert.as_der()).ok());
        return Err(KeystoreError::NothingTrusted {
            subjects: facts
                .map(|facts| facts.subject)
                .take(SUBJECTS_SHOWN)
                .collect(),
        });
    }
    let secrets = archive.secrets.iter();
    let secrets = secrets.map(|bag| bag.friendly_name.as_deref().map_or_else(String::new, fold));
    Ok(Keystore {
        keys,
        trusted,
        secrets: secrets.collect(),
        format: Format::Pkcs12,
        mended: Vec::new(),
    })
}

fn checked_link(bag: &CertificateBag) -> Result<Link<'_>, KeystoreError> {
    let der = bag.cert.as_der();
    let link = if der.len() > CERTIFICATE_BYTES_MAX {
        None
    } else {
        Link::new(der)
    };
    link.ok_or_else(|| KeystoreError::BadCertificate {
        alias: bag.friendly_name.clone(),
    })
}

fn key_entry(
    alias: String,
    bag: &PrivateKeyBag,
    certs: &[CertificateBag],
    heap: &[Link<'_>],
) -> Result<KeyEntry, KeystoreError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()));
    let mut entry = KeyEntry {
        alias,
        key,
        chain: Vec::new(),
    };
    let Some(own) = chain::public_key(&entry.key) else {
        return Err(KeystoreError::UnusableKey {
            alias: entry.alias.clone(),
        });
    };
    let same_id = |cert: &CertificateBag| match (&bag.local_key_id, &cert.local_key_id) {
        (Some(key), Some(cert)) => key.as_ref() == cert.as_slice(),
        _ => false,
    };
    // Of several certificates for one key (a renewal, a pin that equals a leaf) the marked one wins.
    let leaf = certs
        .iter()
        .zip(heap)
        .enumerate()
        .filter(|(_, (_, link))| link.spki() == own.as_slice())
        .min_by_key(|(_, (cert, _))| (!same_id(cert), cert.trusted))
        .map(|(index, _)| index);
    let Some(leaf) = leaf else {
        let alias = entry.alias.clone();
        return Err(if certs.iter().any(same_id) {
            KeystoreError::KeyMismatch { alias }
        } else {
            KeystoreError::NoCertificate { alias }
        });
    };
    entry.chain = chain::build(leaf, heap);
    Ok(entry)
}
