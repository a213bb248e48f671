#![allow(clippy::unwrap_used, clippy::expect_used)]

use p12_keystore::{Certificate, LocalKeyId, PrivateKey};

use super::*;
use crate::keystore::tests::{Pki, ca, ders, secret};
use crate::keystore::{NewEntry, open, write_pkcs12};

fn cert(der: &[u8], name: Option<&str>, id: Option<u8>, trusted: bool) -> CertificateBag {
    CertificateBag {
        friendly_name: name.map(str::to_owned),
        local_key_id: id.map(|id| vec![id]),
        trusted,
        cert: Certificate::from_der(der).unwrap(),
    }
}

fn key(der: &[u8], name: Option<&str>, id: Option<u8>) -> PrivateKeyBag {
    PrivateKeyBag {
        friendly_name: name.map(str::to_owned),
        local_key_id: id.map(|id| LocalKeyId(vec![id])),
        key: PrivateKey::from_der(der).unwrap(),
    }
}

fn archive(keys: Vec<PrivateKeyBag>, certs: Vec<CertificateBag>) -> Pkcs12Archive {
    Pkcs12Archive {
        keys,
        certs,
        secrets: Vec::new(),
    }
}

#[test]
fn chains_follow_signatures_not_names() {
    let (old_root, _) = ca("same name");
    let (new_root, issuer) = ca("same name");
    let pki = Pki::under(new_root, &issuer);
    for (name, roots) in [
        ("old first", [&old_root, &pki.root]),
        ("new first", [&pki.root, &old_root]),
    ] {
        let certs = vec![
            cert(roots[0], None, None, false),
            cert(roots[1], None, None, false),
            cert(&pki.leaf, None, Some(1), false),
        ];
        let store = link(&archive(vec![key(&pki.key, Some("a"), Some(1))], certs)).unwrap();
        assert_eq!(
            ders(&store.keys[0].chain),
            [&pki.leaf[..], &pki.root],
            "{name}"
        );
    }
}

#[test]
fn leaves_are_found_by_public_key() {
    let (one, two) = (Pki::new(), Pki::new());
    let crossed = vec![
        cert(&one.leaf, None, Some(2), false),
        cert(&two.leaf, None, Some(1), false),
    ];
    let store = link(&archive(
        vec![
            key(&one.key, Some("a"), Some(1)),
            key(&two.key, Some("b"), None),
        ],
        crossed,
    ))
    .unwrap();
    assert_eq!(ders(&store.key("a").unwrap().chain), [&one.leaf[..]]);
    assert_eq!(ders(&store.key("b").unwrap().chain), [&two.leaf[..]]);
}

#[test]
fn entries_without_a_name_are_numbered() {
    let pki = Pki::new();
    let certs = vec![
        cert(&pki.leaf, None, None, false),
        cert(&pki.root, None, None, true),
        cert(&pki.root, Some("3"), None, true),
    ];
    let store = link(&archive(vec![key(&pki.key, None, None)], certs)).unwrap();
    assert_eq!(store.aliases().collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (one, two) = (Pki::new(), Pki::new());
    let alias = || "a".to_owned();
    for (name, keys, certs, want) in [
        (
            "leaf of another key",
            vec![key(&one.key, Some("a"), Some(1))],
            vec![cert(&two.leaf, None, Some(1), false)],
            KeystoreError::KeyMismatch { alias: alias() },
        ),
        (
            "no leaf",
            vec![key(&one.key, Some("a"), Some(1))],
            vec![cert(&two.leaf, None, None, true)],
            KeystoreError::NoCertificate { alias: alias() },
        ),
        (
            "same alias in another case",
            vec![key(&one.key, Some("a"), None)],
            vec![
                cert(&one.leaf, None, None, false),
                cert(&two.leaf, Some("A"), None, true),
            ],
            KeystoreError::DuplicateAlias {
                first: alias(),
                second: "A".to_owned(),
            },
        ),
        (
            "certificates without the trusted flag",
            vec![],
            vec![cert(&one.leaf, Some("cmxDevice"), None, false)],
            KeystoreError::NothingTrusted {
                subjects: vec!["CN=leaf".to_owned()],
            },
        ),
    ] {
        assert_eq!(link(&archive(keys, certs)).expect_err(name), want, "{name}");
    }
}

#[test]
fn damage_is_found() {
    let pki = Pki::new();
    let root = pki.root.into();
    let file = write_pkcs12(
        &[NewEntry::Trusted {
            alias: "a",
            certificate: &root,
        }],
        &secret("store"),
    )
    .unwrap();
    let open = |bytes: &[u8], password| open(bytes, &secret(password), None).map(|_| ());
    assert_eq!(open(&file, "store"), Ok(()));
    assert_eq!(
        open(&file, "Store"),
        Err(KeystoreError::WrongPasswordOrDamaged)
    );
    assert_eq!(
        open(&file, "😀"),
        Err(KeystoreError::PasswordCharacters {
            format: Format::Pkcs12
        })
    );
    let trailing = [&file[..], b"7 bytes"].concat();
    assert_eq!(
        open(&trailing, "store"),
        Err(KeystoreError::TrailingBytes {
            format: Format::Pkcs12,
            bytes: 7
        })
    );
    for length in (1..file.len()).step_by(13) {
        let want = Err(KeystoreError::Truncated {
            format: Format::Pkcs12,
        });
        assert_eq!(open(&file[..length], "store"), want, "{length}");
    }
    for at in (0..file.len()).step_by(41) {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        assert!(open(&flipped, "store").is_err(), "{at}");
    }
}
