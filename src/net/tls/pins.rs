//! The verifier of client certificates: an exact pin or nothing.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::signature;
use crate::identity::{Pin, Snapshot, Stranger};

/// Accepts the pins of the current snapshot. Chains are ignored: no CA vouches for a client.
pub(super) struct PinnedClients {
    pins: Arc<ArcSwap<Snapshot>>,
    supported: WebPkiSupportedAlgorithms,
}

impl PinnedClients {
    pub(super) fn new(pins: Arc<ArcSwap<Snapshot>>, supported: WebPkiSupportedAlgorithms) -> Self {
        Self { pins, supported }
    }

    /// The pin whose key signed the handshake. Looked up anew: verifiers keep nothing between calls.
    fn pin(&self, leaf: &CertificateDer<'_>) -> Result<Arc<Pin>, Error> {
        let pins = self.pins.load();
        pins.pin(leaf)
            .cloned()
            .ok_or_else(|| CertificateError::UnknownIssuer.into())
    }
}

impl fmt::Debug for PinnedClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinnedClients(..)")
    }
}

impl ClientCertVerifier for PinnedClients {
    /// No hints: clients offer what they have, and strangers learn nothing of the site's names.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let pin = self.pin(leaf)?;
        let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match pin.standing(now_unix_s) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(stranger) => Err(certificate_error(stranger, &pin, now).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let pin = self.pin(leaf)?;
        let spki = SubjectPublicKeyInfoDer::from(pin.spki.as_slice());
        signature::verify_tls12(message, &spki, signed, &self.supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let pin = self.pin(leaf)?;
        let spki = SubjectPublicKeyInfoDer::from(pin.spki.as_slice());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.supported_schemes()
    }
}

/// What decides the alert.
fn certificate_error(stranger: Stranger, pin: &Pin, time: UnixTime) -> CertificateError {
    let second = |unix_s: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(unix_s).unwrap_or(0),
        ))
    };
    match stranger {
        Stranger::Expired => CertificateError::ExpiredContext {
            time,
            not_after: second(pin.not_after_unix_s),
        },
        Stranger::NotYetValid => CertificateError::NotValidYetContext {
            time,
            not_before: second(pin.not_before_unix_s),
        },
        Stranger::Revoked => CertificateError::Revoked,
        Stranger::Unknown => CertificateError::UnknownIssuer,
    }
}
