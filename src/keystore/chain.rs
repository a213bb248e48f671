//! Linking: which certificate belongs to a key, and who issued whom.
//!
//! Must never be true: a key with another key's certificate; an issuer chosen by name alone where
//! its signature could be checked (two CAs may share one name while a CA is being renewed).

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{Der, DerFault, SEQUENCE};
use super::{KeyEntry, KeystoreError, MendedChain, certificate};

/// Certificates in one chain, leaf and root included.
pub(super) const CHAIN_MAX: usize = 10;

/// The public key (`SubjectPublicKeyInfo`, DER) of a private key that TLS can use.
pub(super) fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let signer = aws_lc_rs::sign::any_supported_type(key).ok()?;
    signer.public_key().map(|spki| spki.to_vec())
}

/// Refuses an entry whose key cannot be used, has no certificate, or has that of another key.
pub(super) fn check_leaf(entry: &KeyEntry) -> Result<(), KeystoreError> {
    let alias = || entry.alias.clone();
    let own =
        public_key(&entry.key).ok_or_else(|| KeystoreError::UnusableKey { alias: alias() })?;
    let leaf = entry
        .chain
        .first()
        .ok_or_else(|| KeystoreError::NoCertificate { alias: alias() })?;
    let facts = certificate::facts(leaf).map_err(|_| KeystoreError::BadCertificate {
        alias: Some(alias()),
    })?;
    if facts.spki == own {
        Ok(())
    } else {
        Err(KeystoreError::KeyMismatch { alias: alias() })
    }
}

/// Puts a chain in order that is not: the key's own certificate, then each issuer. A chain without the key's own
/// certificate is left to [`check_leaf`]. Certificates are parsed one at a time: a heap of them would be larger than
/// the file.
pub(super) fn mend(entry: &mut KeyEntry) -> Option<MendedChain> {
    let own = public_key(&entry.key)?;
    let is_leaf = |der: &CertificateDer<'_>| Link::new(der).is_some_and(|link| link.spki() == own);
    let is_step = |pair: &[CertificateDer<'_>]| match pair {
        [below, above] => issued_by(below, above),
        _ => true,
    };
    let leaf = entry.chain.iter().position(is_leaf)?;
    if leaf == 0 && entry.chain.windows(2).all(is_step) {
        return None;
    }
    let mut rest = std::mem::take(&mut entry.chain);
    let held = rest.len();
    let mut last = rest.remove(leaf);
    while entry.chain.len() + 1 < CHAIN_MAX && !issued_by(&last, &last) {
        let Some(above) = rest.iter().position(|der| issued_by(&last, der)) else {
            break;
        };
        entry
            .chain
            .push(std::mem::replace(&mut last, rest.remove(above)));
    }
    entry.chain.push(last);
    Some(MendedChain {
        alias: entry.alias.clone(),
        held,
        kept: entry.chain.len(),
    })
}

/// Whether `issuer` issued `certificate`: by name, and by signature where that can be checked.
pub fn issued_by(certificate: &[u8], issuer: &[u8]) -> bool {
    match (Link::new(certificate), Link::new(issuer)) {
        (Some(below), Some(above)) => {
            below.names_issuer(&above) && below.signed_by(&above) != Some(false)
        }
        _ => false,
    }
}

/// One certificate of a heap of them, parsed once.
pub(super) struct Link<'a> {
    pub(super) der: &'a [u8],
    pub(super) parsed: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    /// None when `der` is not exactly one certificate.
    pub(super) fn new(der: &'a [u8]) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then_some(Self { der, parsed })
    }

    pub(super) fn spki(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject_pki.raw
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.names_issuer(self)
    }

    fn names_issuer(&self, issuer: &Self) -> bool {
        self.parsed.tbs_certificate.issuer.as_raw()
            == issuer.parsed.tbs_certificate.subject.as_raw()
    }

    /// Whether `issuer`'s key made this certificate's signature; None when that cannot be checked
    /// here (SHA-1, small RSA keys).
    fn signed_by(&self, issuer: &Self) -> Option<bool> {
        let algorithm = signature_algorithm(self.der).ok()?;
        let key = &issuer.parsed.tbs_certificate.subject_pki;
        let key_algorithm = Der(key.raw).sequence().ok()?.expect(SEQUENCE).ok()?;
        let mut known = aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == algorithm)
            .filter(|known| known.public_key_alg_id().as_ref() == key_algorithm)
            .peekable();
        known.peek()?;
        let message = self.parsed.tbs_certificate.as_ref();
        let signature = &self.parsed.signature_value.data;
        Some(known.any(|known| {
            known
                .verify_signature(&key.subject_public_key.data, message, signature)
                .is_ok()
        }))
    }
}

/// The inside of the outer `AlgorithmIdentifier`, as the providers name algorithms.
fn signature_algorithm(certificate: &[u8]) -> Result<&[u8], DerFault> {
    let mut inside = Der(certificate).sequence()?;
    inside.item()?;
    inside.expect(SEQUENCE)
}

/// The chain above and including `leaf`, as far as `heap` has it: each issuer by name and signature.
///
/// Where a signature algorithm cannot be checked, an issuer is taken by name if it is the only one.
pub(super) fn build(leaf: usize, heap: &[Link<'_>]) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf];
    while let Some(below) = chain.last().and_then(|last| heap.get(*last)) {
        if chain.len() == CHAIN_MAX
            || (below.names_issuer(below) && below.signed_by(below) != Some(false))
        {
            break;
        }
        let unused = |link: &Link<'_>| {
            chain
                .iter()
                .filter_map(|used| heap.get(*used))
                .all(|used| used.der != link.der)
        };
        let by_name: Vec<_> = heap
            .iter()
            .enumerate()
            .filter(|(_, link)| below.names_issuer(link) && unused(link))
            .collect();
        let proved = by_name
            .iter()
            .find(|(_, link)| below.signed_by(link) == Some(true));
        let unchecked = || match by_name.as_slice() {
            [only] if below.signed_by(only.1).is_none() => Some(only),
            _ => None,
        };
        match proved.or_else(unchecked) {
            Some((above, _)) => chain.push(*above),
            None => break,
        }
    }
    chain
        .iter()
        .filter_map(|used| heap.get(*used))
        .map(|link| CertificateDer::from(link.der.to_vec()))
        .collect()
}
