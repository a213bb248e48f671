//! One client CA: whether it vouches for a certificate, and by which way.
//!
//! webpki looks at signatures, dates, basic constraints, extended key usage, name constraints and lists of revoked
//! certificates. It takes a CA of the keystore as given, dates included, and leaves key usage alone: that, and that no
//! key of the HSM's CAs is on the way, is asked here. Must never be true: a way past one of these questions.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::ClientCas;
use crate::identity::{Stranger, fingerprint};
use crate::keystore::{CertificateFacts, RevocationList, issued_by};
use crate::limits::CLIENT_CHAIN_MAX;

/// A client CA, from the keystore.
#[derive(Debug)]
pub(super) struct Authority {
    /// Lower-cased.
    pub alias: String,
    /// RFC 4514.
    pub subject: String,
    pub fingerprint: [u8; 32],
    /// SHA-256 of its public key.
    pub key: [u8; 32],
    pub der: CertificateDer<'static>,
    pub anchor: TrustAnchor<'static>,
    /// How many CAs there may be below it.
    pub path_len: Option<u32>,
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
    /// Its own lists of revoked certificates, and those of CAs that may be below it. Empty: none is asked for.
    pub lists: Vec<Arc<RevocationList>>,
}

/// How a CA vouches for a certificate.
#[derive(Debug)]
pub(super) struct Way {
    /// When all on it are valid, the CA included.
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
    /// The certificate first.
    pub path: Vec<Step>,
}

/// What of a certificate on the way may change its standing later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    /// As webpki has names.
    issuer: Box<[u8]>,
    serial: Box<[u8]>,
    /// SHA-256 of its public key.
    pub key: [u8; 32],
    /// SHA-256 of the public key that signed it.
    pub issuer_key: [u8; 32],
}

impl Step {
    /// Below the CA of `issuer_key`, until the next is known.
    fn of(certificate: &webpki::Cert<'_>, facts: &CertificateFacts, issuer_key: [u8; 32]) -> Self {
        Self {
            issuer: certificate.issuer().into(),
            serial: certificate.serial().into(),
            key: fingerprint(&facts.spki),
            issuer_key,
        }
    }
}

impl Authority {
    /// The way from `leaf` up to this CA at `now_unix_s`; `UnknownIssuer`: there is none.
    pub(super) fn way(
        &self,
        leaf: &CertificateDer<'_>,
        facts: &CertificateFacts,
        above: &[CertificateDer<'_>],
        now_unix_s: i64,
        all: &ClientCas,
    ) -> Result<Way, Error> {
        let certificate = EndEntityCert::try_from(leaf)?;
        let lists: Vec<&CertRevocationList<'_>> =
            self.lists.iter().map(|list| list.list()).collect();
        // There is no such builder without lists.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let second = |unix_s: i64| {
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(unix_s).unwrap_or(0)))
        };
        let time = second(now_unix_s);
        let path = certificate.verify_for_usage(
            all.algorithms,
            std::slice::from_ref(&self.anchor),
            above,
            time,
            KeyUsage::client_auth(),
            revocation,
            Some(&|path| self.look_over(path, facts, all)),
        )?;
        if now_unix_s > self.not_after_unix_s {
            let not_after = second(self.not_after_unix_s);
            return Err(Error::CertExpired { time, not_after });
        }
        if now_unix_s < self.not_before_unix_s {
            let not_before = second(self.not_before_unix_s);
            return Err(Error::CertNotValidYet { time, not_before });
        }
        let mut way = Way {
            not_before_unix_s: self.not_before_unix_s.max(facts.not_before_unix_s),
            not_after_unix_s: self.not_after_unix_s.min(facts.not_after_unix_s),
            path: vec![Step::of(&certificate, facts, self.key)],
        };
        for one in path.intermediate_certificates() {
            let facts = CertificateFacts::from_der(&one.der()).map_err(|_| Error::BadDer)?;
            way.not_before_unix_s = way.not_before_unix_s.max(facts.not_before_unix_s);
            way.not_after_unix_s = way.not_after_unix_s.min(facts.not_after_unix_s);
            let step = Step::of(one, &facts, self.key);
            if let Some(below) = way.path.last_mut() {
                below.issuer_key = step.key;
            }
            way.path.push(step);
        }
        Ok(way)
    }

    /// What webpki does not ask.
    fn look_over(
        &self,
        path: &VerifiedPath<'_>,
        leaf: &CertificateFacts,
        all: &ClientCas,
    ) -> Result<(), Error> {
        let is_hsms = |facts: &CertificateFacts| all.hsm_keys.contains(&fingerprint(&facts.spki));
        if is_hsms(leaf) {
            return Err(Error::CertDistrusted);
        }
        if !leaf.uses.digital_signature {
            return Err(Error::EmptyEkuExtension);
        }
        let mut count = 0;
        for one in path.intermediate_certificates() {
            let facts = CertificateFacts::from_der(&one.der()).map_err(|_| Error::BadDer)?;
            if is_hsms(&facts) {
                return Err(Error::CertDistrusted);
            }
            if !facts.uses.cert_sign {
                return Err(Error::EndEntityUsedAsCa);
            }
            count += u32::from(!facts.self_issued);
        }
        match self.path_len {
            Some(path_len) if count > path_len => Err(Error::PathLenConstraintViolated),
            _ => Ok(()),
        }
    }

    /// Whether it issued one of `ladder`.
    pub(super) fn is_above(&self, ladder: &[&[u8]]) -> bool {
        ladder.iter().any(|rung| issued_by(rung, &self.der))
    }

    /// Until when what its lists tell of a way that leads to it is new enough; without lists, for ever. A list that an
    /// unknown CA signed in the name of another counts too: it can only take away.
    pub(super) fn listed_until(&self, path: &[Step]) -> Result<i64, Stranger> {
        let tells = |list: &RevocationList, step: &Step| *step.issuer == *list.issuer();
        judge(&self.lists, path, tells)
    }

    /// The same of a way that leads to another CA: its own lists count for what its key signed.
    pub(super) fn listed_elsewhere_until(&self, path: &[Step]) -> Result<i64, Stranger> {
        let tells = |list: &RevocationList, step: &Step| {
            step.issuer_key == self.key && *step.issuer == *list.issuer()
        };
        judge(&self.lists, path, tells)
    }
}

/// `Revoked`, or when the first of the lists that tell of a step is out of date.
fn judge(
    lists: &[Arc<RevocationList>],
    path: &[Step],
    tells: impl Fn(&RevocationList, &Step) -> bool,
) -> Result<i64, Stranger> {
    let mut until = i64::MAX;
    for list in lists {
        for step in path.iter().filter(|step| tells(list, step)) {
            if list.names(&step.serial) {
                return Err(Stranger::Revoked);
            }
            until = until.min(list.next_update_unix_s);
        }
    }
    Ok(until)
}

/// `leaf` and, one after the other, those of `above` that issued it.
pub(super) fn ladder<'a>(
    leaf: &'a CertificateDer<'_>,
    above: &'a [CertificateDer<'_>],
) -> Vec<&'a [u8]> {
    let mut rungs: Vec<&[u8]> = vec![leaf];
    while let Some(last) = rungs.last().filter(|_| rungs.len() <= CLIENT_CHAIN_MAX) {
        let unused = above.iter().map(AsRef::as_ref);
        let mut unused = unused.filter(|one| !rungs.contains(one));
        match unused.find(|one| issued_by(last, one)) {
            Some(next) => rungs.push(next),
            None => break,
        }
    }
    rungs
}

/// Why a certificate that one of our CAs did issue is not let in.
pub(super) fn stranger(fault: &Error) -> Stranger {
    #[allow(deprecated, reason = "webpki may still give them")]
    match fault {
        Error::CertExpired { .. } | Error::InvalidCertValidity => Stranger::Expired,
        Error::CertNotValidYet { .. } => Stranger::NotYetValid,
        Error::CertRevoked => Stranger::Revoked,
        Error::CrlExpired { .. } => Stranger::StaleList,
        Error::UnknownRevocationStatus
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithm
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKey
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => Stranger::NoList,
        Error::RequiredEkuNotFound
        | Error::RequiredEkuNotFoundContext(_)
        | Error::EmptyEkuExtension
        | Error::CaUsedAsEndEntity => Stranger::Purpose,
        Error::UnknownIssuer => Stranger::Unknown,
        Error::CertDistrusted => {
            Stranger::Path("a CA of the HSM stands between it and the client CA")
        }
        Error::EndEntityUsedAsCa => {
            Stranger::Path("a certificate between it and the client CA is no CA's")
        }
        Error::PathLenConstraintViolated => {
            Stranger::Path("more CAs stand between it and the client CA than a CA allows (pathlen)")
        }
        Error::NameConstraintViolation => {
            Stranger::Path("a CA may not issue certificates for its names (name constraints)")
        }
        Error::UnsupportedSignatureAlgorithm
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Stranger::Path(
            "it, or a CA above it, is signed in a way that is not accepted (SHA-1, or RSA under 2048 bits)",
        ),
        Error::UnsupportedCertVersion => Stranger::Path("it is of X.509 version 1"),
        Error::UnsupportedCriticalExtension => {
            Stranger::Path("it, or a CA above it, has a critical extension that is not known")
        }
        _ => Stranger::Path("it, or a CA above it, is not as RFC 5280 wants certificates"),
    }
}
