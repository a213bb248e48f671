//! What a failed handshake means to an operator, and what to do about it.

use rustls::{AlertDescription, CertificateError, Error};

use super::hsm::FingerprintMismatch;
use crate::identity::Stranger;

/// Who is on the other side: the same error calls for different remedies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A client of the service.
    Client,
    /// The HSM, of which we are the client.
    Hsm,
}

/// One sentence or two for the log and for `kms check`.
pub fn explain(peer: Peer, error: &Error) -> String {
    let remedy = match (peer, error) {
        (Peer::Hsm, Error::InvalidCertificate(reason)) => return hsm_certificate(reason),
        (Peer::Hsm, Error::AlertReceived(alert)) => hsm_alert(*alert),
        (Peer::Client, Error::InvalidCertificate(CertificateError::Other(other))) => {
            return client_other(other);
        }
        (Peer::Client, Error::InvalidCertificate(reason)) => client_certificate(reason),
        (Peer::Client, Error::AlertReceived(alert)) => client_alert(*alert),
        (Peer::Client, Error::NoCertificatesPresented) => {
            Some("the client showed no certificate; one is required")
        }
        (Peer::Client, Error::NoApplicationProtocol) => {
            Some("the client insists on another protocol than HTTP/1.1")
        }
        (Peer::Hsm, Error::InvalidMessage(_)) => Some(
            "the HSM does not answer in TLS: check host and port in kms.hsm.server.url, and that the port \
             expects TLS",
        ),
        (_, Error::PeerIncompatible(_)) => Some(
            "no common TLS version, cipher suite or key type: TLS 1.2 with ECDHE, or TLS 1.3, is required",
        ),
        _ => None,
    };
    match remedy {
        Some(remedy) => format!("{remedy} ({error})"),
        None => error.to_string(),
    }
}

/// What is wrong with the HSM's certificate.
fn hsm_certificate(reason: &CertificateError) -> String {
    use CertificateError as C;
    let text = match reason {
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the HSM's certificate does not bear the expected name: set kms.hsm.server.name to a name that it \
             bears, or, if it has only a common name (CN), kms.hsm.fingerprint to its SHA-256"
        }
        C::UnknownIssuer => {
            "no authority of kms.hsm.ca.alias vouches for the HSM's certificate: import the CA that issued it \
             (all of its chain that the HSM does not send) into the keystore and name its alias in kms.hsm.ca.alias"
        }
        C::BadSignature => {
            "a signature by the HSM or in its chain does not verify: the authority in kms.hsm.ca.alias has the \
             right name but another key (was the CA renewed?)"
        }
        C::Expired | C::ExpiredContext { .. } => {
            "the HSM's certificate or its authority has expired: renew it, and check this host's clock"
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "the HSM's certificate or its authority is not valid yet: check the clocks of this host and the HSM"
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "the HSM's certificate is not meant for servers (extended key usage): have it issued with serverAuth, \
             or set kms.hsm.fingerprint to its SHA-256"
        }
        C::Other(other) => return hsm_other(other),
        _ => return format!("the HSM's certificate is refused: {reason}"),
    };
    format!("{text} ({reason})")
}

/// What rustls has no word of its own for.
fn hsm_other(other: &rustls::OtherError) -> String {
    if let Some(mismatch) = other.0.downcast_ref::<FingerprintMismatch>() {
        return mismatch.to_string();
    }
    let text = match other.0.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "the HSM shows a CA's certificate as its own (self-signed?)"
        }
        Some(webpki::Error::UnsupportedCertVersion) => "the HSM's certificate is X.509 version 1",
        Some(webpki::Error::UnsupportedCriticalExtension) => {
            "the HSM's certificate has a critical extension that is not known"
        }
        _ => return format!("the HSM's certificate is refused: {}", other.0),
    };
    format!(
        "{text}: set kms.hsm.fingerprint to its SHA-256 to accept exactly this one ({})",
        other.0
    )
}

/// What the HSM means when it refuses us.
fn hsm_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired => {
            "the HSM requires a client certificate: name its alias in kms.keystore.alias"
        }
        A::UnknownCA
        | A::BadCertificate
        | A::CertificateUnknown
        | A::UnsupportedCertificate
        | A::AccessDenied => {
            "the HSM does not accept our client certificate (kms.keystore.alias): register it or its CA with the HSM"
        }
        A::CertificateExpired => {
            "the HSM says that our client certificate (kms.keystore.alias) has expired: renew it"
        }
        A::CertificateRevoked => {
            "the HSM says that our client certificate (kms.keystore.alias) was revoked"
        }
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
            "the HSM finds no common TLS version or cipher suite, or misses a client certificate: check \
             kms.keystore.alias and that the HSM offers TLS 1.2 with ECDHE, or TLS 1.3"
        }
        A::UnrecognisedName => {
            "the HSM does not know the name we call it by: set kms.hsm.server.name"
        }
        _ => return None,
    })
}

/// Whom a client CA issued a certificate that is refused all the same.
fn client_other(other: &rustls::OtherError) -> String {
    let Some(stranger) = other.0.downcast_ref::<Stranger>() else {
        return format!("the client's certificate is refused: {}", other.0);
    };
    let remedy = match stranger {
        Stranger::NoRole(_) => {
            "; if the client is yours, widen kms.role.NAME.ca.subjects or .ca.san"
        }
        Stranger::TwoRoles(_) => "; narrow the kms.role.NAME.ca.subjects or .ca.san of one of them",
        _ => "; have a certificate issued anew if the client is yours",
    };
    format!("a client CA issued the client's certificate, but it is refused: {stranger}{remedy}")
}

/// Why a client was refused.
fn client_certificate(reason: &CertificateError) -> Option<&'static str> {
    use CertificateError as C;
    Some(match reason {
        C::UnknownIssuer => {
            "the client's certificate is pinned by no role: import it into the keystore as a trusted \
             certificate under an alias that a kms.role.NAME.aliases names, then reload; nor does a client CA of a \
             kms.role.NAME.ca.alias, if there is one, vouch for it with what the client sent"
        }
        C::Expired | C::ExpiredContext { .. } => {
            "the client's certificate has expired, or a CA above it has: issue a new one, and import it if it is to \
             be pinned"
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet, or a CA above it is not: check this host's clock"
        }
        C::Revoked => {
            "the client's certificate was removed from the keystore, or revoked by its CA"
        }
        C::InvalidPurpose => {
            "a client CA issued the client's certificate, but not for a client: CA:TRUE, an extended key usage without \
             clientAuth, or a key usage without digitalSignature"
        }
        C::ExpiredRevocationList => {
            "a client CA issued the client's certificate, and the CA's list of revoked certificates is out of date: \
             put the newest into kms.role.NAME.ca.crl.file"
        }
        C::UnknownRevocationStatus => {
            "a client CA issued the client's certificate, but there is no list of revoked certificates, signed as it \
             must be, of the CA right above it or of one further up: put the lists of all into \
             kms.role.NAME.ca.crl.file"
        }
        C::BadSignature => {
            "the client shows a pinned certificate but cannot prove its key, or the key is too weak \
             (RSA under 2048 bits): issue a new certificate if the client is yours"
        }
        _ => return None,
    })
}

/// Why a client refused us.
fn client_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::UnknownCA => {
            "the client does not trust our server certificate: give it the CA of kms.server.alias"
        }
        A::BadCertificate | A::CertificateUnknown => {
            "the client refuses our server certificate (kms.server.alias): does it bear the name the client uses, \
             and does the client have our CA?"
        }
        A::CertificateExpired => {
            "the client says that our server certificate (kms.server.alias) has expired: renew it"
        }
        _ => return None,
    })
}
