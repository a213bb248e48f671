//! Why a client's handshake came to nothing, as it is counted.

use rustls::{CertificateError, Error};

use crate::identity::Stranger;
use crate::metrics::Refusal;

/// What a refused or failed handshake with a client is counted as.
pub fn refusal(error: &Error) -> Refusal {
    use CertificateError as C;
    match error {
        Error::NoCertificatesPresented => Refusal::NoCertificate,
        Error::InvalidCertificate(reason) => match reason {
            C::UnknownIssuer => Refusal::Unknown,
            C::Expired | C::ExpiredContext { .. } => Refusal::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => Refusal::NotYetValid,
            C::Revoked => Refusal::Revoked,
            C::BadSignature => Refusal::BadSignature,
            C::Other(other) => match other.0.downcast_ref::<Stranger>() {
                Some(stranger) => refusal_of(stranger),
                None => Refusal::Other,
            },
            _ => Refusal::Other,
        },
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Refusal::Incompatible,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError => Refusal::Malformed,
        Error::AlertReceived(_) => Refusal::ByClient,
        _ => Refusal::Other,
    }
}

/// The same, of a certificate that was judged after the handshake.
pub fn refusal_of(stranger: &Stranger) -> Refusal {
    match stranger {
        Stranger::Unknown => Refusal::Unknown,
        Stranger::Expired => Refusal::Expired,
        Stranger::NotYetValid => Refusal::NotYetValid,
        Stranger::Revoked => Refusal::Revoked,
        Stranger::Purpose | Stranger::Path(_) => Refusal::NotForClients,
        Stranger::StaleList | Stranger::NoList => Refusal::RevocationList,
        Stranger::NoRole(_) | Stranger::TwoRoles(_) => Refusal::NoRole,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn each_reason_has_its_count() {
        for (error, want) in [
            (Error::NoCertificatesPresented, Refusal::NoCertificate),
            (CertificateError::UnknownIssuer.into(), Refusal::Unknown),
            (CertificateError::Expired.into(), Refusal::Expired),
            (CertificateError::Revoked.into(), Refusal::Revoked),
            (CertificateError::BadSignature.into(), Refusal::BadSignature),
            (
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                Refusal::Incompatible,
            ),
            (
                InvalidMessage::InvalidContentType.into(),
                Refusal::Malformed,
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                Refusal::ByClient,
            ),
            (Error::FailedToGetCurrentTime, Refusal::Other),
        ] {
            assert_eq!(refusal(&error), want, "{error}");
        }
    }
}
