//! The verifier of the HSM's certificate: by authority and name, or by exact fingerprint.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::{HsmTrust, TlsError, signature};
use crate::identity::{fingerprint, fingerprint_text};

/// The verifier that `trust` asks for.
pub(super) fn verifier(
    trust: &HsmTrust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if let Some(expected) = trust.fingerprint {
        let supported = provider.signature_verification_algorithms;
        return Ok(Arc::new(PinnedHsm {
            expected,
            supported,
        }));
    }
    if trust.authorities.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    let mut roots = RootCertStore::empty();
    for (index, authority) in trust.authorities.iter().enumerate() {
        roots
            .add(authority.clone())
            .map_err(|error| TlsError::Authority(index, error))?;
    }
    let built =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(built.map_err(|error| Error::General(error.to_string()))?)
}

/// The HSM shows another certificate than `kms.hsm.fingerprint` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FingerprintMismatch {
    /// `kms.hsm.fingerprint`.
    pub expected: [u8; 32],
    /// SHA-256 of the certificate that was shown.
    pub shown: [u8; 32],
}

impl fmt::Display for FingerprintMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, shown) = (
            fingerprint_text(&self.expected),
            fingerprint_text(&self.shown),
        );
        write!(
            f,
            "the HSM shows a certificate with SHA-256 {shown}, but kms.hsm.fingerprint is {expected}: \
             if the HSM's certificate was renewed, set the new value; if not, something stands in between"
        )
    }
}

impl std::error::Error for FingerprintMismatch {}

/// Accepts exactly one certificate, of any version, names and dates: it is known to the bit.
struct PinnedHsm {
    expected: [u8; 32],
    supported: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for PinnedHsm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedHsm({})", fingerprint_text(&self.expected))
    }
}

fn key_of(leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    signature::public_key(leaf).ok_or_else(|| CertificateError::BadEncoding.into())
}

impl ServerCertVerifier for PinnedHsm {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = fingerprint(leaf);
        if shown == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = FingerprintMismatch {
            expected: self.expected,
            shown,
        };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls12(message, &key_of(leaf)?, signed, &self.supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &key_of(leaf)?, signed, &self.supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.supported_schemes()
    }
}
