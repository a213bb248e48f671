//! What the house needs to know of a certificate, read once from its DER.
//!
//! X.509 version 1 works. Nothing here judges validity or trust. Must never be true: a panic, or
//! more than [`CERTIFICATE_BYTES_MAX`] bytes parsed.
//! Called by `identity` (pins), `cli` (check, list), and by the readers of this room.

mod name;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

pub(super) use name::rfc4514;
use ring::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, TbsCertificate, X509Certificate};

/// Bytes of one certificate; the largest in use have some 10 KB.
pub(super) const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// Facts of one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Subject in the form of RFC 4514, for instance `CN=kmsServer,O=CMX Test`.
    pub subject: String,
    /// Issuer in the same form.
    pub issuer: String,
    /// First second of validity, Unix time in seconds.
    pub not_before_unix_s: i64,
    /// Last second of validity, Unix time in seconds.
    pub not_after_unix_s: i64,
    /// `SubjectPublicKeyInfo` in DER.
    pub spki: Vec<u8>,
    /// SHA-256 of the whole certificate.
    pub sha256: [u8; 32],
    /// Subject alternative names of the kinds that matter here, in the file's order.
    pub sans: Vec<SubjectAltName>,
    /// The subject attribute by attribute, each with its type (as RFC 4514 names it, or its dotted number) and value,
    /// nothing escaped; what is no text is left out.
    pub attributes: Vec<(String, String)>,
    /// Subject and issuer are the same name (as of a root or a self-signed pin).
    pub self_issued: bool,
    /// Basic constraints say CA:TRUE. Version 1 has none, so it is false there.
    pub ca: bool,
    /// How many CAs there may be below this one; `None`: any number.
    pub path_len: Option<u32>,
    /// What its key may be used for.
    pub uses: KeyUses,
    /// X.509 version: 1, 2 or 3.
    pub version: u32,
}

/// What the key usage and extended key usage allow; where they say nothing, everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyUses {
    /// Signing handshakes.
    pub digital_signature: bool,
    /// Issuing certificates.
    pub cert_sign: bool,
    /// Issuing lists of revoked certificates.
    pub crl_sign: bool,
    /// Standing for a client of TLS.
    pub client_auth: bool,
}

/// A name that a certificate gives its owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SubjectAltName {
    /// A host name, wildcards included.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
}

/// The bytes are not exactly one X.509 certificate in DER.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CertificateError;

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a readable X.509 certificate: look at it with openssl x509 -text")
    }
}

impl std::error::Error for CertificateError {}

impl CertificateFacts {
    /// Reads `der`, which must hold one certificate and nothing else.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        facts(der)
    }

    /// The fingerprint as keytool and openssl print it: `AB:CD:...`.
    pub fn fingerprint(&self) -> String {
        let pairs: Vec<_> = self
            .sha256
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        pairs.join(":")
    }
}

pub(super) fn facts(der: &[u8]) -> Result<CertificateFacts, CertificateError> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError);
    }
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError)?;
    if !rest.is_empty() {
        return Err(CertificateError);
    }
    let body = &parsed.tbs_certificate;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Ok(CertificateFacts {
        subject: name::rfc4514(&body.subject),
        issuer: name::rfc4514(&body.issuer),
        not_before_unix_s: body.validity.not_before.timestamp(),
        not_after_unix_s: body.validity.not_after.timestamp(),
        spki: body.subject_pki.raw.to_vec(),
        sha256,
        sans: sans(&parsed),
        attributes: name::attributes(&body.subject),
        self_issued: body.subject.as_raw() == body.issuer.as_raw(),
        ca: matches!(body.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca),
        path_len: match body.basic_constraints() {
            Ok(Some(constraints)) => constraints.value.path_len_constraint,
            _ => None,
        },
        uses: uses(body),
        version: body.version.0.saturating_add(1),
    })
}

/// An extension that cannot be read, or is there twice, allows nothing.
fn uses(body: &TbsCertificate<'_>) -> KeyUses {
    let (digital_signature, cert_sign, crl_sign) = match body.key_usage() {
        Ok(None) => (true, true, true),
        Ok(Some(usage)) => (
            usage.value.digital_signature(),
            usage.value.key_cert_sign(),
            usage.value.crl_sign(),
        ),
        Err(_) => (false, false, false),
    };
    let client_auth = match body.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.client_auth,
        Err(_) => false,
    };
    KeyUses {
        digital_signature,
        cert_sign,
        crl_sign,
        client_auth,
    }
}

fn sans(parsed: &X509Certificate<'_>) -> Vec<SubjectAltName> {
    let Ok(Some(names)) = parsed.tbs_certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(san).collect()
}

fn san(name: &GeneralName<'_>) -> Option<SubjectAltName> {
    Some(match name {
        GeneralName::DNSName(name) => SubjectAltName::Dns((*name).to_owned()),
        GeneralName::RFC822Name(name) => SubjectAltName::Email((*name).to_owned()),
        GeneralName::URI(name) => SubjectAltName::Uri((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            SubjectAltName::Ip(
                v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                    .ok()?,
            )
        }
        _ => return None,
    })
}
