#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, IsCa, Issuer, KeyIdMethod, KeyPair, PublicKeyData,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

fn issuer() -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Issuer::new(params, KeyPair::generate().unwrap())
}

fn params(revoked: &[u64]) -> CertificateRevocationListParams {
    let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2050, 1, 1),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

#[test]
fn a_list_is_read_as_der_and_as_pem() {
    let (one, other) = (issuer(), issuer());
    let made = params(&[5, 0x80, 0x1234]).signed_by(&one).unwrap();
    let empty = params(&[]).signed_by(&other).unwrap();
    let both = format!(
        "text before\n{}{}",
        made.pem().unwrap(),
        empty.pem().unwrap()
    );
    let spki = |issuer: &Issuer<'_, KeyPair>| issuer.key().subject_public_key_info();
    for (name, bytes, want) in [
        ("DER", made.der().to_vec(), vec![3]),
        ("PEM", made.pem().unwrap().into_bytes(), vec![3]),
        ("two", both.into_bytes(), vec![3, 0]),
    ] {
        let lists = revocation_lists(&bytes).unwrap();
        let counts: Vec<usize> = lists.iter().map(|list| list.revoked).collect();
        assert_eq!(counts, want, "{name}");
        let list = &lists[0];
        assert_eq!(list.issuer_text, "CN=rcgen self signed cert", "{name}");
        assert_eq!(
            (list.this_update_unix_s, list.next_update_unix_s),
            (1_735_689_600, 2_524_608_000),
            "{name}"
        );
        assert!(list.is_signed_by(&spki(&one)), "{name}");
        assert!(
            !list.is_signed_by(&spki(&other)) && !list.is_signed_by(b"no key"),
            "{name}"
        );
        for (serial, want) in [
            (&[5][..], true),
            (&[0x00, 0x80], true),
            (&[0x12, 0x34], true),
            (&[6], false),
            (&[], false),
        ] {
            assert_eq!(list.names(serial), want, "{name}: {serial:?}");
        }
        assert!(list.part().is_none() && list.der() == made.der().as_ref());
    }
}

/// The same with the item at `index` of its body cut out, unsigned; lengths below 128 stay so.
fn without(der: &[u8], index: usize) -> Vec<u8> {
    let mut body = Der(der).sequence().unwrap();
    let mut inside = body.sequence().unwrap();
    let mut kept = Vec::new();
    let mut at = 0;
    while !inside.is_empty() {
        let (_, whole) = inside.whole().unwrap();
        if at != index {
            kept.extend_from_slice(whole);
        }
        at += 1;
    }
    let wrap = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[SEQUENCE, 0x82, length[0], length[1]], content].concat()
    };
    wrap(&[&wrap(&kept), body.0].concat())
}

fn refused(rows: &[(&str, &[u8], &str)]) {
    for (name, bytes, want) in rows {
        let why = revocation_lists(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(why.contains(want), "{name}: {why}");
    }
}

#[test]
fn what_is_no_list_is_refused_with_its_remedy() {
    let certificate = CertificateParams::new(Vec::new()).unwrap();
    let certificate = certificate
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    let many = vec![SEQUENCE; CRL_FILE_BYTES_MAX + 1];
    let none = "no list of revoked certificates is in it";
    refused(&[
        ("nothing", b"", none),
        ("text", b"hello", none),
        ("a certificate", certificate.pem().as_bytes(), none),
        ("a certificate in DER", certificate.der(), "list 1"),
        ("too much", &many, "more than 8388608 bytes"),
    ]);
}

#[test]
fn what_is_no_whole_list_is_refused_with_its_remedy() {
    let made = params(&[5]).signed_by(&issuer()).unwrap();
    let (der, pem) = (made.der().to_vec(), made.pem().unwrap());
    let (head, tail) = pem.split_at(80);
    let damaged = format!("{head}!!{tail}");
    let second = format!("{pem}{}", &pem[..90]);
    let more = [&der[..], b"0"].concat();
    refused(&[
        ("damaged PEM", damaged.as_bytes(), "list 1 is damaged"),
        ("the second cut", second.as_bytes(), "list 2 is damaged"),
        ("cut", &der[..der.len() - 1], "list 1: it is damaged"),
        ("more behind it", &more, "list 1: it is damaged"),
        (
            "version 1",
            &without(&der, 0),
            "list 1 is of version 1: have the CA make it of version 2",
        ),
        (
            "no end",
            &without(&der, 4),
            "list 1 does not say when the next one is due",
        ),
    ]);
}

#[test]
fn a_part_of_a_list_says_so() {
    let mut part = params(&[5]);
    part.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://ca.example.com/1".to_owned()],
        },
        scope: None,
    });
    let part = part.signed_by(&issuer()).unwrap().der().to_vec();
    assert!(revocation_lists(&part).unwrap()[0].part().is_some());
}

/// Every byte of it is signed, so a changed one is refused, or is not the CA's.
#[test]
fn no_changed_byte_passes() {
    let issuer = issuer();
    let spki = issuer.key().subject_public_key_info();
    let made = params(&[5, 300, 70_000]).signed_by(&issuer).unwrap();
    let der = made.der().to_vec();
    assert!(revocation_lists(&der).unwrap()[0].is_signed_by(&spki));
    for at in 0..der.len() {
        for change in [1, 0x20, 0x80, 0xff] {
            let mut changed = der.clone();
            changed[at] ^= change;
            if let Ok(lists) = revocation_lists(&changed) {
                assert!(!lists[0].is_signed_by(&spki), "byte {at} ^ {change:#x}");
            }
        }
        assert!(revocation_lists(&der[..at]).is_err(), "{at} bytes");
    }
    let pem = made.pem().unwrap().into_bytes();
    for at in 0..pem.len() {
        let mut changed = pem.clone();
        changed[at] ^= 0x15;
        // Line feeds and what stands around the armour mean nothing; all else is the list.
        if let Ok(lists) = revocation_lists(&changed) {
            let list = &lists[0];
            assert!(list.der() == der || !list.is_signed_by(&spki), "byte {at}");
        }
    }
}
