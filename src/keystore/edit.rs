//! A keystore being changed: entries in, entries out, then written as PKCS#12 whatever it was before.
//!
//! Must never be true: a chain out of order or with its root; a key stored with another key's certificate. Called
//! by `cli`.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::alias::{Aliases, fold};
use super::chain::{self, Link};
use super::{KeyEntry, Keystore, KeystoreError, NewEntry, TrustedEntry, WriteError, write_pkcs12};
use crate::secret::SecretString;

/// Entries to be written.
#[derive(Debug, Default)]
pub struct Edit {
    keys: Vec<KeyEntry>,
    trusted: Vec<TrustedEntry>,
}

impl Edit {
    /// With all that `store` holds.
    pub fn of(store: Keystore) -> Self {
        Self {
            keys: store.keys,
            trusted: store.trusted,
        }
    }

    /// Whether there is an entry of that name; letter case does not count.
    pub fn has(&self, alias: &str) -> bool {
        let alias = fold(alias);
        self.keys.iter().any(|entry| entry.alias == alias)
            || self.trusted.iter().any(|entry| entry.alias == alias)
    }

    /// Whether the entry of that name is a private key.
    pub fn has_key(&self, alias: &str) -> bool {
        let alias = fold(alias);
        self.keys.iter().any(|entry| entry.alias == alias)
    }

    /// Gives the private key of that name other certificates of its own, as [`Self::put_key`] does. False: there is no
    /// such key.
    pub fn renew(
        &mut self,
        alias: &str,
        certificates: &[CertificateDer<'static>],
    ) -> Result<bool, KeystoreError> {
        let folded = fold(alias);
        let Some(entry) = self.keys.iter_mut().find(|entry| entry.alias == folded) else {
            return Ok(false);
        };
        entry.chain = arrange(alias, &entry.key, certificates)?;
        Ok(true)
    }

    /// The certificate of that entry; of a key, its own.
    pub fn certificate(&self, alias: &str) -> Option<&CertificateDer<'static>> {
        let alias = fold(alias);
        let key = self.keys.iter().find(|entry| entry.alias == alias);
        let trusted = self.trusted.iter().find(|entry| entry.alias == alias);
        key.and_then(|entry| entry.chain.first())
            .or(trusted.map(|entry| &entry.certificate))
    }

    /// Puts a private key with what belongs to it of `certificates`, in whatever order they are: its own first, then
    /// each issuer, without the root. In the place of an entry of that name.
    pub fn put_key(
        &mut self,
        alias: &str,
        key: PrivateKeyDer<'static>,
        certificates: &[CertificateDer<'static>],
    ) -> Result<(), KeystoreError> {
        let chain = arrange(alias, &key, certificates)?;
        self.remove(alias);
        self.keys.push(KeyEntry {
            alias: fold(alias),
            key,
            chain,
        });
        Ok(())
    }

    /// Puts a certificate to trust, in the place of an entry of that name.
    pub fn put_trusted(
        &mut self,
        alias: &str,
        certificate: CertificateDer<'static>,
    ) -> Result<(), KeystoreError> {
        if Link::new(&certificate).is_none() {
            return Err(KeystoreError::BadCertificate {
                alias: Some(alias.to_owned()),
            });
        }
        self.remove(alias);
        self.trusted.push(TrustedEntry {
            alias: fold(alias),
            certificate,
        });
        Ok(())
    }

    /// False: there was none.
    pub fn remove(&mut self, alias: &str) -> bool {
        let (was, folded) = (self.has(alias), fold(alias));
        self.keys.retain(|entry| entry.alias != folded);
        self.trusted.retain(|entry| entry.alias != folded);
        was
    }

    /// The PKCS#12 file.
    pub fn write(&self, password: &SecretString) -> Result<Vec<u8>, WriteError> {
        let mut aliases = Aliases::default();
        let keys = self.keys.iter().map(|entry| NewEntry::Key {
            alias: &entry.alias,
            key: &entry.key,
            chain: &entry.chain,
        });
        let trusted = self.trusted.iter().map(|entry| NewEntry::Trusted {
            alias: &entry.alias,
            certificate: &entry.certificate,
        });
        let all: Vec<NewEntry<'_>> = keys.chain(trusted).collect();
        for entry in &all {
            let (NewEntry::Key { alias, .. } | NewEntry::Trusted { alias, .. }) = entry;
            aliases.claim(alias).map_err(WriteError::Entry)?;
        }
        write_pkcs12(&all, password)
    }
}

/// The certificates that belong to `key`, leaf first, without a root; what does not belong to it is left out.
pub fn arrange(
    alias: &str,
    key: &PrivateKeyDer<'static>,
    certificates: &[CertificateDer<'static>],
) -> Result<Vec<CertificateDer<'static>>, KeystoreError> {
    let alias = || alias.to_owned();
    let own =
        chain::public_key(key).ok_or_else(|| KeystoreError::UnusableKey { alias: alias() })?;
    let bad = || KeystoreError::BadCertificate {
        alias: Some(alias()),
    };
    let heap: Vec<Link<'_>> = certificates
        .iter()
        .map(|der| Link::new(der).ok_or_else(bad))
        .collect::<Result<_, _>>()?;
    let leaf = heap.iter().position(|link| link.spki() == own);
    let leaf = leaf.ok_or_else(|| match certificates {
        [] => KeystoreError::NoCertificate { alias: alias() },
        _ => KeystoreError::KeyMismatch { alias: alias() },
    })?;
    let mut chain = chain::build(leaf, &heap);
    // Whoever is to trust the root has it; a self-signed leaf is all there is.
    if chain.len() > 1
        && chain
            .last()
            .and_then(|last| Link::new(last))
            .is_some_and(|last| last.is_self_issued())
    {
        chain.pop();
    }
    Ok(chain)
}
