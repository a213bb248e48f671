//! What a failed handshake with the engine means to an operator, and what to do about it.

use rustls::{AlertDescription, CertificateError, Error};

/// One sentence or two for the log and for `kms check`.
pub(super) fn explain(error: &Error) -> String {
    use AlertDescription as A;
    use CertificateError as C;
    let remedy = match error {
        Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "no authority in kms.cluster.tls.ca.file vouches for the engine's certificate"
        }
        Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the engine's certificate does not bear the host of kms.cluster.addresses: set kms.cluster.tls.server.name \
             to a name that it bears"
        }
        Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "the engine's certificate or its authority has expired: renew it, and check this host's clock"
        }
        Error::InvalidCertificate(_) => "the engine's certificate is refused",
        Error::AlertReceived(A::CertificateRequired) => {
            "the engine requires a client certificate: name it in kms.cluster.tls.cert.file and kms.cluster.tls.key.file"
        }
        Error::AlertReceived(
            A::UnknownCA
            | A::BadCertificate
            | A::CertificateUnknown
            | A::UnsupportedCertificate
            | A::AccessDenied
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::DecryptError,
        ) => {
            "the engine does not accept the client certificate in kms.cluster.tls.cert.file: is it of an authority in \
             the engine's tls-ca-cert-file, and valid?"
        }
        Error::InvalidMessage(_) => {
            "the engine does not answer in TLS: check the port in kms.cluster.addresses, and that it is a tls-port"
        }
        Error::PeerIncompatible(_) => {
            "no common TLS version, cipher suite or key type: TLS 1.2 with ECDHE, or TLS 1.3, is required"
        }
        _ => return format!("TLS: {error}"),
    };
    format!("{remedy} ({error})")
}
