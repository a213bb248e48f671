//! The verifier of client certificates: what the snapshot in force knows, or nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::signature;
use crate::identity::{Pin, Snapshot, Stranger};

/// Accepts the principals of the current snapshot. The chain behind a pin is ignored; for any other certificate it is
/// what client CAs are asked with, where there are some.
pub(super) struct KnownClients {
    pins: Arc<ArcSwap<Snapshot>>,
    supported: WebPkiSupportedAlgorithms,
}

impl KnownClients {
    pub(super) fn new(pins: Arc<ArcSwap<Snapshot>>, supported: WebPkiSupportedAlgorithms) -> Self {
        Self { pins, supported }
    }

    /// The key that signed the handshake. Looked up anew: verifiers keep nothing between calls. rustls has asked
    /// [`ClientCertVerifier::verify_client_cert`] of this certificate before, and the server asks again afterwards.
    fn key(&self, leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
        let pins = self.pins.load();
        match pins.pin(leaf) {
            Some(pin) => Ok(pin.spki.clone().into()),
            None if pins.client_cas.is_empty() => Err(CertificateError::UnknownIssuer.into()),
            None => signature::public_key(leaf).ok_or_else(|| CertificateError::BadEncoding.into()),
        }
    }
}

impl fmt::Debug for KnownClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownClients(..)")
    }
}

impl ClientCertVerifier for KnownClients {
    /// No hints, with client CAs neither: clients offer what they have (one with a pinned certificate that another CA
    /// signed would offer nothing), and strangers learn nothing of the site's names.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let pins = self.pins.load();
        let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match pins.identify(leaf, intermediates, now_unix_s) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(stranger) => Err(certificate_error(stranger, pins.pin(leaf), now).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls12(message, &self.key(leaf)?, signed, &self.supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &self.key(leaf)?, signed, &self.supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.supported_schemes()
    }
}

/// What decides the alert.
fn certificate_error(
    stranger: Stranger,
    pin: Option<&Arc<Pin>>,
    time: UnixTime,
) -> CertificateError {
    let second = |unix_s: i64| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(unix_s).unwrap_or(0)))
    };
    match (stranger, pin) {
        (Stranger::Expired, Some(pin)) => CertificateError::ExpiredContext {
            time,
            not_after: second(pin.not_after_unix_s),
        },
        (Stranger::NotYetValid, Some(pin)) => CertificateError::NotValidYetContext {
            time,
            not_before: second(pin.not_before_unix_s),
        },
        (Stranger::Expired, None) => CertificateError::Expired,
        (Stranger::NotYetValid, None) => CertificateError::NotValidYet,
        (Stranger::Revoked, _) => CertificateError::Revoked,
        (Stranger::Unknown, _) => CertificateError::UnknownIssuer,
        (Stranger::Purpose, _) => CertificateError::InvalidPurpose,
        (Stranger::StaleList, _) => CertificateError::ExpiredRevocationList,
        (Stranger::NoList, _) => CertificateError::UnknownRevocationStatus,
        (other, _) => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
