#![allow(clippy::unwrap_used, clippy::expect_used)]

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{Format, KeystoreError, NewEntry, open, write_pkcs12};
use crate::limits::KEYSTORE_BYTES_MAX;
use crate::secret::SecretString;

/// A root, and a leaf under it with its key, all in DER.
pub(super) struct Pki {
    pub(super) root: Vec<u8>,
    pub(super) leaf: Vec<u8>,
    pub(super) key: Vec<u8>,
}

pub(super) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A CA of that name: its certificate, and what it signs with.
pub(super) fn ca(name: &str) -> (Vec<u8>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (der, Issuer::new(params, key))
}

impl Pki {
    pub(super) fn new() -> Self {
        let (root, issuer) = ca("root");
        Self::under(root, &issuer)
    }

    pub(super) fn under(root: Vec<u8>, issuer: &Issuer<'static, KeyPair>) -> Self {
        let key = KeyPair::generate().unwrap();
        let leaf = named("leaf")
            .signed_by(&key, issuer)
            .unwrap()
            .der()
            .to_vec();
        Self {
            root,
            leaf,
            key: key.serialize_der(),
        }
    }
}

/// The chain's certificates as plain bytes.
pub(super) fn ders(chain: &[rustls::pki_types::CertificateDer<'static>]) -> Vec<Vec<u8>> {
    chain.iter().map(|der| der.to_vec()).collect()
}

pub(super) fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

#[test]
fn other_files_are_told_apart() {
    let looks = |kind| KeystoreError::NotAKeystore { looks_like: kind };
    let pki = Pki::new();
    for (name, bytes, want) in [
        ("empty", vec![], looks(Some("an empty file"))),
        (
            "pem",
            b"-----BEGIN CERTIFICATE-----\n".to_vec(),
            looks(Some("a PEM file")),
        ),
        (
            "text, then pem",
            b"Certificate:\n-----BEGIN CERTIFICATE-----\n".to_vec(),
            looks(Some("a PEM file")),
        ),
        (
            "zip",
            b"PK\x03\x04rest".to_vec(),
            looks(Some("a ZIP or JAR file")),
        ),
        (
            "certificate",
            pki.root.clone(),
            looks(Some("a certificate or key in DER")),
        ),
        (
            "private key",
            pki.key.clone(),
            looks(Some("a private key in DER")),
        ),
        ("noise", b"noise".to_vec(), looks(None)),
        (
            "one byte of pkcs12",
            vec![0x30],
            KeystoreError::Truncated {
                format: Format::Pkcs12,
            },
        ),
        (
            "only the magic",
            vec![0xfe, 0xed, 0xfe, 0xed],
            KeystoreError::Truncated {
                format: Format::Jks,
            },
        ),
        (
            "too large",
            vec![0x30; KEYSTORE_BYTES_MAX + 1],
            KeystoreError::TooLarge {
                bytes: KEYSTORE_BYTES_MAX + 1,
            },
        ),
    ] {
        assert_eq!(
            open(&bytes, &secret("x"), None).expect_err(name),
            want,
            "{name}"
        );
    }
}

#[test]
fn every_refusal_names_a_remedy() {
    for (error, remedy) in [
        (
            KeystoreError::NoMac,
            "keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12",
        ),
        (KeystoreError::Ber, "keytool -importkeystore"),
        (
            KeystoreError::UnsupportedAlgorithm {
                algorithm: "X".to_owned(),
                java_reads: false,
            },
            "openssl pkcs12 -legacy",
        ),
        (
            KeystoreError::UnsupportedAlgorithm {
                algorithm: "X".to_owned(),
                java_reads: true,
            },
            "keytool -importkeystore",
        ),
        (KeystoreError::WrongPasswordOrDamaged, "kms keystore list"),
        (
            KeystoreError::WrongKeyPassword {
                alias: "a".to_owned(),
            },
            "-alias 'a'",
        ),
        (
            KeystoreError::DuplicateAlias {
                first: "a".to_owned(),
                second: "A".to_owned(),
            },
            "-changealias -alias 'A'",
        ),
        (
            KeystoreError::NotAKeystore {
                looks_like: Some("a PEM file"),
            },
            "openssl pkcs12 -export",
        ),
    ] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn lookups_ignore_case_and_suggest() {
    let pki = Pki::new();
    let root = pki.root.clone().into();
    let entries = ["cmxDevice", "cmxBackend"].map(|alias| NewEntry::Trusted {
        alias,
        certificate: &root,
    });
    let file = write_pkcs12(&entries, &secret("store")).unwrap();
    let store = open(&file, &secret("store"), None).unwrap();
    assert!(store.trusted("CMXDEVICE").is_some());
    assert!(store.key("cmxDevice").is_none());
    for (missing, want) in [
        ("cmxDevise", Some("cmxdevice")),
        ("CmxBackends", Some("cmxbackend")),
        ("kmipSigningCA", None),
    ] {
        assert_eq!(store.did_you_mean(missing), want, "{missing}");
    }
}

#[test]
fn debug_shows_no_key() {
    let pki = Pki::new();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pki.key).into();
    let chain = [pki.leaf.into()];
    let file = write_pkcs12(
        &[NewEntry::Key {
            alias: "a",
            key: &key,
            chain: &chain,
        }],
        &secret("store"),
    )
    .unwrap();
    let store = open(&file, &secret("store"), None).unwrap();
    assert!(format!("{:?}", store.keys).contains("KeyEntry(a, key .., 1 certificates)"));
}
