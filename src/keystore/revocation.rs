//! Lists of revoked certificates (CRLs), as authorities publish them: PEM, several in a file, or one in DER.
//!
//! webpki reads and judges them; here is what it does not tell: their dates, and whose signature they bear. Must never
//! be true: a list that counts although something in it was not understood; a panic on any bytes. Called by `identity`
//! and `node`.

use std::fmt;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, SubjectPublicKeyInfoDer};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, OwnedCertRevocationList, RawPublicKeyEntity,
};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::certificate::rfc4514;
use super::der::{BIT_STRING, Der, DerFault, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
use crate::limits::CRL_FILE_BYTES_MAX;

/// A list that was read whole.
pub struct RevocationList {
    der: Vec<u8>,
    list: CertRevocationList<'static>,
    /// The CA that made it, RFC 4514.
    pub issuer_text: String,
    /// When it was made, seconds since 1970.
    pub this_update_unix_s: i64,
    /// When the next one is due, seconds since 1970.
    pub next_update_unix_s: i64,
    /// How many certificates it names.
    pub revoked: usize,
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, revoked) = (&self.issuer_text, self.revoked);
        write!(f, "RevocationList({issuer}, revoked {revoked})")
    }
}

/// Why a file of lists is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RevocationError {
    /// More bytes than there may be.
    TooLarge,
    /// No list is in it.
    None,
    /// This one, from 1, is no PEM.
    Damaged(usize),
    /// This one, from 1, is of version 1.
    Version1(usize),
    /// This one, from 1, does not say when the next one is due.
    NoNextUpdate(usize),
    /// This one, from 1, is not understood.
    Refused(usize, webpki::Error),
}

impl fmt::Display for RevocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "more than {CRL_FILE_BYTES_MAX} bytes"),
            Self::None => f.write_str(
                "no list of revoked certificates is in it: PEM (-----BEGIN X509 CRL-----) or one in DER is wanted",
            ),
            Self::Damaged(number) => write!(f, "list {number} is damaged: fetch the file again"),
            Self::Version1(number) => write!(
                f,
                "list {number} is of version 1: have the CA make it of version 2, with a number (openssl ca: crlnumber)"
            ),
            Self::NoNextUpdate(number) => write!(
                f,
                "list {number} does not say when the next one is due (nextUpdate): have the CA say it"
            ),
            Self::Refused(number, error) => {
                let why = match error {
                    webpki::Error::UnsupportedDeltaCrl => "it is a delta; the full list is wanted",
                    webpki::Error::UnsupportedIndirectCrl => {
                        "it is an indirect list; one that the CA itself signed is wanted"
                    }
                    webpki::Error::UnsupportedRevocationReason
                    | webpki::Error::UnsupportedRevocationReasonsPartitioning => {
                        "it is for some reasons of revocation only; the full list is wanted"
                    }
                    webpki::Error::UnsupportedCrlIssuingDistributionPoint => {
                        "it does not say by a URI where it is from (issuing distribution point)"
                    }
                    webpki::Error::UnsupportedCriticalExtension => {
                        "it has a critical extension that is not known"
                    }
                    _ => "it is damaged: fetch the file again",
                };
                write!(f, "list {number}: {why} ({error})")
            }
        }
    }
}

impl std::error::Error for RevocationError {}

/// All lists of a file, in its order; at least one.
pub fn revocation_lists(bytes: &[u8]) -> Result<Vec<RevocationList>, RevocationError> {
    if bytes.len() > CRL_FILE_BYTES_MAX {
        return Err(RevocationError::TooLarge);
    }
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![RevocationList::from_der(1, bytes)?]);
    }
    let mut all = Vec::new();
    for (at, part) in CertificateRevocationListDer::pem_slice_iter(bytes).enumerate() {
        let der = part.map_err(|_| RevocationError::Damaged(at + 1))?;
        all.push(RevocationList::from_der(at + 1, &der)?);
    }
    if all.is_empty() {
        return Err(RevocationError::None);
    }
    Ok(all)
}

impl RevocationList {
    fn from_der(number: usize, der: &[u8]) -> Result<Self, RevocationError> {
        let refused = |error| RevocationError::Refused(number, error);
        let malformed = |_| refused(webpki::Error::BadDer);
        let head = Head::of(der).map_err(|fault| match fault {
            HeadFault::Version1 => RevocationError::Version1(number),
            HeadFault::Der => refused(webpki::Error::BadDer),
        })?;
        let next_update_unix_s = head
            .next_update_unix_s
            .ok_or(RevocationError::NoNextUpdate(number))?;
        Signed::of(der).map_err(malformed)?;
        let list = OwnedCertRevocationList::from_der(der).map_err(refused)?;
        let borrowed = BorrowedCertRevocationList::from_der(der).map_err(refused)?;
        let revoked = borrowed.into_iter().count();
        Ok(Self {
            der: der.to_vec(),
            list: list.into(),
            issuer_text: head.issuer,
            this_update_unix_s: head.this_update_unix_s,
            next_update_unix_s,
            revoked,
        })
    }

    /// For webpki.
    pub fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    /// The bytes, which tell one list from another.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The name of the CA that made it: the inside of its SEQUENCE, as webpki has names.
    pub fn issuer(&self) -> &[u8] {
        self.list.issuer()
    }

    /// What it is a part of, where a CA divides its list; `None`: it is all of it.
    pub fn part(&self) -> Option<&[u8]> {
        self.list.issuing_distribution_point()
    }

    /// Whether it names the certificate of this serial number (the inside of its INTEGER).
    pub fn names(&self, serial: &[u8]) -> bool {
        // A fault counts as yes; there is none, for the list was read whole.
        !matches!(self.list.find_serial(serial), Ok(None))
    }

    /// Whether the key of this `SubjectPublicKeyInfo` made its signature, by an algorithm that is accepted.
    pub fn is_signed_by(&self, spki: &[u8]) -> bool {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let (Ok(signed), Ok(key)) = (Signed::of(&self.der), RawPublicKeyEntity::try_from(&spki))
        else {
            return false;
        };
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let mut fitting = algorithms
            .all
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == signed.algorithm);
        fitting.any(|known| {
            key.verify_signature(*known, signed.message, signed.signature)
                .is_ok()
        })
    }
}

/// What every signed structure of X.509 consists of.
struct Signed<'a> {
    /// With its tag and length.
    message: &'a [u8],
    /// The inside of the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn of(der: &'a [u8]) -> Result<Self, DerFault> {
        let mut inside = Der(der).sequence()?;
        let (_, message) = inside.whole()?;
        let algorithm = inside.expect(SEQUENCE)?;
        match inside.expect(BIT_STRING)? {
            [0, signature @ ..] => Ok(Self {
                message,
                algorithm,
                signature,
            }),
            _ => Err(DerFault::Malformed),
        }
    }
}

enum HeadFault {
    Version1,
    Der,
}

impl From<DerFault> for HeadFault {
    fn from(_: DerFault) -> Self {
        Self::Der
    }
}

/// What stands before the serial numbers.
struct Head {
    issuer: String,
    this_update_unix_s: i64,
    next_update_unix_s: Option<i64>,
}

impl Head {
    fn of(der: &[u8]) -> Result<Self, HeadFault> {
        let mut body = Der(der).sequence()?.sequence()?;
        if body.peek_tag() == Some(SEQUENCE) {
            return Err(HeadFault::Version1);
        }
        body.expect(INTEGER)?;
        // The algorithm of the signature.
        body.expect(SEQUENCE)?;
        let (_, issuer) = body.whole()?;
        let (_, issuer) = X509Name::from_der(issuer).map_err(|_| HeadFault::Der)?;
        Ok(Self {
            issuer: rfc4514(&issuer),
            this_update_unix_s: time(&mut body)?.ok_or(HeadFault::Der)?,
            next_update_unix_s: time(&mut body)?,
        })
    }
}

/// A time, if one comes next; seconds since 1970.
fn time(body: &mut Der<'_>) -> Result<Option<i64>, HeadFault> {
    if !matches!(body.peek_tag(), Some(UTC_TIME | GENERALIZED_TIME)) {
        return Ok(None);
    }
    let (_, whole) = body.whole()?;
    let (_, time) = ASN1Time::from_der(whole).map_err(|_| HeadFault::Der)?;
    Ok(Some(time.timestamp()))
}

#[cfg(test)]
mod tests;
