#![allow(clippy::unwrap_used, clippy::expect_used)]

use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;
use crate::keystore::open;
use crate::keystore::tests::{Pki, secret};

#[test]
fn what_is_written_is_read() {
    let (one, two) = (Pki::new(), Pki::new());
    let keys =
        [&one, &two].map(|pki| PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pki.key.clone())));
    let chains = [&one, &two].map(|pki| [pki.leaf.clone().into(), pki.root.clone().into()]);
    let entries = [
        NewEntry::Key {
            alias: "kmsclient",
            key: &keys[0],
            chain: &chains[0],
        },
        NewEntry::Key {
            alias: "kmsserver",
            key: &keys[1],
            chain: &chains[1],
        },
        NewEntry::Trusted {
            alias: "cmxDevice-鍵",
            certificate: &chains[0][0],
        },
    ];
    let file = write_pkcs12(&entries, &secret("changeit")).unwrap();
    let store = open(&file, &secret("changeit"), None).unwrap();
    assert_eq!(store.keys.len(), 2);
    for (alias, key, chain) in [
        ("kmsClient", &keys[0], &chains[0]),
        ("kmsServer", &keys[1], &chains[1]),
    ] {
        let entry = store.key(alias).expect(alias);
        assert_eq!(entry.key.secret_der(), key.secret_der(), "{alias}");
        assert_eq!(&entry.chain, chain, "{alias}");
    }
    assert_eq!(
        store.trusted("cmxdevice-鍵").unwrap().certificate,
        chains[0][0]
    );
    assert_eq!(store.trusted.len(), 1);
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let (one, two) = (Pki::new(), Pki::new());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(one.key.clone()));
    let foreign = [two.leaf.clone().into()];
    let root = one.root.clone().into();
    let trusted = |alias| NewEntry::Trusted {
        alias,
        certificate: &root,
    };
    let mismatch = WriteError::Entry(KeystoreError::KeyMismatch {
        alias: "a".to_owned(),
    });
    let duplicate = WriteError::Entry(KeystoreError::DuplicateAlias {
        first: "a".to_owned(),
        second: "A".to_owned(),
    });
    for (name, entries, password, want) in [
        (
            "password",
            vec![trusted("a")],
            "pässwörd",
            WriteError::PasswordNotAscii,
        ),
        (
            "same alias",
            vec![trusted("a"), trusted("A")],
            "x",
            duplicate,
        ),
        (
            "foreign certificate",
            vec![NewEntry::Key {
                alias: "a",
                key: &key,
                chain: &foreign,
            }],
            "x",
            mismatch,
        ),
        (
            "alias beyond 16 bits",
            vec![trusted("😀")],
            "x",
            WriteError::Encoding { alias: None },
        ),
    ] {
        assert_eq!(
            write_pkcs12(&entries, &secret(password)),
            Err(want),
            "{name}"
        );
    }
}
