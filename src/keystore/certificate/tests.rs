#![allow(clippy::unwrap_used, clippy::expect_used)]

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};

use super::*;

#[test]
fn facts_are_read() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "CMX, \"Test\"");
    params
        .distinguished_name
        .push(DnType::CommonName, " #鍵+;\n");
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::IpAddress([127, 0, 0, 1].into()),
        SanType::IpAddress([0u16; 8].into()),
        SanType::URI("urn:x".try_into().unwrap()),
    ];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let facts = CertificateFacts::from_der(&der).unwrap();
    assert_eq!(facts.subject, r#"CN=\ #鍵\+\;\0A,O=CMX\, \"Test\""#);
    assert_eq!(facts.issuer, facts.subject);
    assert_eq!(
        (facts.not_before_unix_s, facts.not_after_unix_s),
        (1_577_836_800, 2_524_608_000)
    );
    assert_eq!(
        facts.sans,
        [
            SubjectAltName::Dns("localhost".to_owned()),
            SubjectAltName::Ip([127, 0, 0, 1].into()),
            SubjectAltName::Ip([0u16; 8].into()),
            SubjectAltName::Uri("urn:x".to_owned()),
        ]
    );
    assert!(facts.self_issued && facts.ca && facts.path_len.is_none());
    let attribute = |kind: &str, value: &str| (kind.to_owned(), value.to_owned());
    assert_eq!(
        facts.attributes,
        [attribute("O", "CMX, \"Test\""), attribute("CN", " #鍵+;\n")]
    );
    assert_eq!(facts.uses, EVERYTHING);
    assert_eq!(facts.version, 3);
    assert_eq!(facts.fingerprint().len(), 95);
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &der);
    assert_eq!(facts.sha256, sha256.as_ref());
    assert_eq!(
        facts.spki,
        rcgen::PublicKeyData::subject_public_key_info(&key)
    );
}

const EVERYTHING: KeyUses = KeyUses {
    digital_signature: true,
    cert_sign: true,
    crl_sign: true,
    client_auth: true,
};

#[test]
fn uses_are_those_that_are_named() {
    use rcgen::ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    use rcgen::KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
    let some = |digital_signature, cert_sign, crl_sign, client_auth| KeyUses {
        digital_signature,
        cert_sign,
        crl_sign,
        client_auth,
    };
    for (name, usages, extended, want) in [
        ("nothing said", vec![], vec![], EVERYTHING),
        (
            "a client",
            vec![DigitalSignature],
            vec![ServerAuth, ClientAuth],
            some(true, false, false, true),
        ),
        (
            "a server",
            vec![DigitalSignature],
            vec![ServerAuth],
            some(true, false, false, false),
        ),
        (
            "a CA",
            vec![KeyCertSign, CrlSign],
            vec![],
            some(false, true, true, true),
        ),
        (
            "neither",
            vec![KeyAgreement],
            vec![Any],
            some(false, false, false, false),
        ),
    ] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.key_usages, params.extended_key_usages) = (usages, extended);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = facts(der.der()).unwrap();
        assert_eq!((facts.uses, facts.path_len), (want, Some(3)), "{name}");
    }
}

#[test]
fn anything_but_one_certificate_is_refused() {
    let key = KeyPair::generate().unwrap();
    let der = CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .der()
        .to_vec();
    assert!(facts(&der).is_ok());
    for length in 0..der.len() {
        assert_eq!(facts(&der[..length]), Err(CertificateError), "{length}");
    }
    assert_eq!(facts(&[&der[..], b"0"].concat()), Err(CertificateError));
}
