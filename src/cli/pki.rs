//! A small certificate authority: P-256 certificates for `kms demo`, for tests and benchmarks; RSA for these.
//!
//! Must never be true: a private key in a type that prints it; a leaf that outlives its authority.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
    date_time_ymd,
};

use crate::secret::{SecretBytes, SecretString};

/// Days for which an [`Authority`] is valid.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Validity begins so much before now, for peers whose clocks are behind.
const CLOCK_SKEW: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Kind of the keys that an [`Authority`] makes: its own and those of its leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// RSA of 2048 bits; each takes a good part of a second to make.
    Rsa2048,
}

impl KeyKind {
    fn generate(self) -> Result<KeyPair, Error> {
        match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
    }
}

/// A self-signed CA whose key lives in this process only.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    keys: KeyKind,
    /// End of validity, since 1970.
    until: Duration,
}

/// A certificate to issue.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// Common name (CN).
    pub common_name: &'a str,
    /// DNS names and IP addresses.
    pub sans: &'a [&'a str],
    /// For TLS servers (extended key usage serverAuth).
    pub server: bool,
    /// For TLS clients (extended key usage clientAuth).
    pub client: bool,
    /// Days of validity, cut to what is left of the authority's.
    pub days: u32,
}

/// An issued certificate and its private key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub cert_der: Vec<u8>,
    /// The same as PEM.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pkcs8_der: SecretBytes,
    /// The same as PEM.
    pub key_pem: SecretString,
}

impl Authority {
    /// A new authority with P-256 keys, valid for [`AUTHORITY_DAYS`]; it may issue leaves only.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        Self::with_keys(common_name, KeyKind::P256)
    }

    /// As [`Authority::new`], with keys of this kind.
    pub fn with_keys(common_name: &str, keys: KeyKind) -> Result<Self, Error> {
        let until = since_1970() + DAY * AUTHORITY_DAYS;
        let mut params = params(common_name, &[], until)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, keys.generate()?)?;
        Ok(Self {
            issuer,
            keys,
            until,
        })
    }

    /// The authority's certificate.
    pub fn cert_der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// The same as PEM.
    pub fn cert_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Makes a key and a certificate for it. Fails on a name that is neither DNS name nor address.
    pub fn issue(&self, leaf: &Leaf<'_>) -> Result<Issued, Error> {
        let until = self.until.min(since_1970() + DAY * leaf.days);
        self.sign(leaf, params(leaf.common_name, leaf.sans, until)?)
    }

    /// As [`Authority::issue`], but valid from and until these times since 1970: for tests of clocks that
    /// are wrong.
    pub fn issue_between(
        &self,
        leaf: &Leaf<'_>,
        from: Duration,
        until: Duration,
    ) -> Result<Issued, Error> {
        let mut params = params(leaf.common_name, leaf.sans, self.until.min(until))?;
        params.not_before = date_time_ymd(1970, 1, 1) + from;
        self.sign(leaf, params)
    }

    fn sign(&self, leaf: &Leaf<'_>, mut params: CertificateParams) -> Result<Issued, Error> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let uses = [
            (leaf.server, ExtendedKeyUsagePurpose::ServerAuth),
            (leaf.client, ExtendedKeyUsagePurpose::ClientAuth),
        ];
        let wanted = uses.into_iter().filter(|(wanted, _)| *wanted);
        params.extended_key_usages = wanted.map(|(_, usage)| usage).collect();
        let key = self.keys.generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            cert_der: certificate.der().to_vec(),
            cert_pem: certificate.pem(),
            key_pkcs8_der: SecretBytes::new(key.serialize_der()),
            key_pem: SecretString::new(key.serialize_pem()),
        })
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn params(common_name: &str, sans: &[&str], until: Duration) -> Result<CertificateParams, Error> {
    let sans: Vec<String> = sans.iter().map(|&san| san.to_owned()).collect();
    let mut params = CertificateParams::new(sans)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970().saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + until;
    Ok(params)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::PublicKeyData;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
    use webpki::KeyUsage;
    use x509_parser::certificate::X509Certificate;

    use super::*;

    fn parse(der: &[u8]) -> X509Certificate<'_> {
        x509_parser::parse_x509_certificate(der).unwrap().1
    }

    fn vouched(authority: &Authority, issued: &Issued, purpose: KeyUsage) -> bool {
        let ca = CertificateDer::from(authority.cert_der());
        let leaf = CertificateDer::from(issued.cert_der.as_slice());
        let anchors = [webpki::anchor_from_trusted_cert(&ca).unwrap()];
        let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
        let algorithms = rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all;
        let now = UnixTime::now();
        leaf.verify_for_usage(algorithms, &anchors, &[], now, purpose, None, None)
            .is_ok()
    }

    fn leaf<'a>(sans: &'a [&'a str], days: u32) -> Leaf<'a> {
        Leaf {
            common_name: "leaf",
            sans,
            server: true,
            client: false,
            days,
        }
    }

    #[test]
    fn leaves_are_what_was_asked_for() {
        let authority = Authority::new("Test CA").unwrap();
        let ca = parse(authority.cert_der());
        assert!(ca.is_ca());
        for (name, sans, server, client) in [
            ("kmsServer", &["localhost", "127.0.0.1"][..], true, false),
            ("cmxDevice", &[], false, true),
            ("both", &["both.example"], true, true),
            ("neither", &[], false, false),
        ] {
            let asked = Leaf {
                common_name: name,
                server,
                client,
                ..leaf(sans, 1)
            };
            let issued = authority.issue(&asked).unwrap();
            let cert = parse(&issued.cert_der);
            assert_eq!(cert.subject().to_string(), format!("CN={name}"));
            let purpose = if server {
                KeyUsage::server_auth()
            } else {
                KeyUsage::client_auth()
            };
            assert!(
                !cert.is_ca() && vouched(&authority, &issued, purpose),
                "{name}"
            );
            let usage = cert.extended_key_usage().unwrap().map(|usage| usage.value);
            assert_eq!(
                usage.is_some_and(|usage| usage.server_auth),
                server,
                "{name}"
            );
            assert_eq!(
                usage.is_some_and(|usage| usage.client_auth),
                client,
                "{name}"
            );
            let names = cert.subject_alternative_name().unwrap();
            let names = names.map_or(0, |names| names.value.general_names.len());
            assert_eq!(names, sans.len(), "{name}");
            let key = PrivatePkcs8KeyDer::from(issued.key_pkcs8_der.expose());
            let key = KeyPair::try_from(&key).unwrap();
            assert_eq!(
                key.subject_public_key_info(),
                cert.public_key().raw,
                "{name}"
            );
        }
    }

    #[test]
    fn no_leaf_outlives_its_authority() {
        let authority = Authority::new("Test CA").unwrap();
        let end = parse(authority.cert_der()).validity().not_after.timestamp();
        for (days, want) in [
            (1, end - 86_400 * 3649),
            (AUTHORITY_DAYS + 1, end),
            (u32::MAX, end),
        ] {
            let issued = authority.issue(&leaf(&[], days)).unwrap();
            let until = parse(&issued.cert_der).validity().not_after.timestamp();
            // The clock may have ticked since the authority was made.
            assert!(
                (want..=want + 60).contains(&until) && until <= end,
                "{days} days"
            );
        }
    }

    #[test]
    fn keys_are_of_the_kind_that_was_asked_for() {
        for (name, kind, oid) in [
            ("P-256", KeyKind::P256, "1.2.840.10045.2.1"),
            ("RSA", KeyKind::Rsa2048, "1.2.840.113549.1.1.1"),
        ] {
            let authority = Authority::with_keys("Test CA", kind).unwrap();
            let issued = authority.issue(&leaf(&["localhost"], 1)).unwrap();
            for der in [authority.cert_der(), &issued.cert_der] {
                let spki = &parse(der).tbs_certificate.subject_pki;
                assert_eq!(spki.algorithm.algorithm.to_id_string(), oid, "{name}");
            }
            assert!(
                vouched(&authority, &issued, KeyUsage::server_auth()),
                "{name}"
            );
        }
    }

    #[test]
    fn keys_do_not_print_and_bad_names_are_refused() {
        let authority = Authority::new("Test CA").unwrap();
        assert!(authority.cert_pem().contains("BEGIN CERTIFICATE"));
        let issued = authority.issue(&leaf(&[], 1)).unwrap();
        assert!(issued.key_pem.expose().contains("BEGIN PRIVATE KEY"));
        assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
        assert!(authority.issue(&leaf(&["schl\u{fc}ssel"], 1)).is_err());
    }
}
