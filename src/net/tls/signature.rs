//! Handshake signatures against a bare public key.
//!
//! webpki would parse the certificate first, and refuse version 1 and unknown critical extensions.
//! For an exact pin none of that matters: the certificate is known to the bit.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};

/// The `SubjectPublicKeyInfo` of a certificate of any version.
pub(super) fn public_key(
    certificate: &CertificateDer<'_>,
) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.tbs_certificate.subject_pki.raw.to_vec().into())
}

/// As `rustls::crypto::verify_tls12_signature`, for a bare key. A TLS 1.2 scheme names no curve, so
/// it maps to several algorithms; the one that fits the key decides.
pub(super) fn verify_tls12(
    message: &[u8],
    spki: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let unsuited = || Error::from(CertificateError::BadSignature);
    let key = webpki::RawPublicKeyEntity::try_from(spki).map_err(|_| unsuited())?;
    let found = supported
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme);
    let (_, algorithms) = found.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    for algorithm in *algorithms {
        match key.verify_signature(*algorithm, message, signed.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Err(unsuited()),
        }
    }
    Err(unsuited())
}
