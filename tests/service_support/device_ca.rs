//! A CA for devices, with lists of what it revoked.

use kms::cli::pki::Issued;
use kms::secret::{SecretBytes, SecretString};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

pub struct DeviceCa {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as something to put into a keystore.
    pub own: Issued,
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> Issued {
    Issued {
        cert_der: certificate.der().to_vec(),
        cert_pem: certificate.pem(),
        key_pkcs8_der: SecretBytes::new(key.serialize_der()),
        key_pem: SecretString::new(key.serialize_pem()),
    }
}

impl DeviceCa {
    pub fn new(common_name: &str) -> Self {
        let mut params = params(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let own = issued(&params.self_signed(&key).unwrap(), &key);
        let issuer = Issuer::new(params, key);
        Self { issuer, own }
    }

    pub fn device(&self, common_name: &str) -> Issued {
        let mut params = params(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        issued(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }

    /// A list of these, as PEM.
    pub fn list(&self, revoked: &[&Issued]) -> String {
        let entry = |issued: &&Issued| {
            let der = issued.cert_der.clone().into();
            let parsed = webpki::EndEntityCert::try_from(&der).unwrap();
            RevokedCertParams {
                serial_number: SerialNumber::from(parsed.serial().to_vec()),
                revocation_time: date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
