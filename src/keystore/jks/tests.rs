#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::encoder::{Entry, JCEKS, JKS, protect_jceks, protect_jks, store};
use crate::keystore::tests::{Pki, ders, secret};
use crate::keystore::{Format, KeystoreError, open};

const SALT: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const EVEN_SALT: [u8; 8] = [1, 2, 3, 4, 1, 2, 3, 4];

fn one_key(pki: &Pki, protected: Vec<u8>) -> Vec<Entry<'_>> {
    vec![
        Entry::Key {
            alias: b"kmsclient",
            protected,
            chain: vec![&pki.leaf, &pki.root],
        },
        Entry::Trusted {
            alias: b"cmxdevice",
            certificate: &pki.root,
        },
    ]
}

#[test]
fn stores_open_with_their_passwords() {
    let pki = Pki::new();
    let worldly = "ключ-鍵-😀";
    let jks = |password| protect_jks(&pki.key, password);
    let jceks = |password, salt| protect_jceks(&pki.key, password, salt, 9, 9);
    for (name, magic, version, protected, password, own) in [
        ("jks", JKS, 2, jks("store"), "store", None),
        ("version 1", JKS, 1, jks("store"), "store", None),
        ("key password", JKS, 2, jks("own"), "store", Some("own")),
        ("not needed", JKS, 2, jks("store"), "store", Some("own")),
        ("beyond 16 bits", JKS, 2, jks(worldly), worldly, None),
        ("jceks", JCEKS, 2, jceks("store", SALT), "store", None),
        (
            "salt rule",
            JCEKS,
            2,
            jceks("store", EVEN_SALT),
            "store",
            None,
        ),
        ("own", JCEKS, 1, jceks("own", SALT), "store", Some("own")),
        ("jks key", JCEKS, 2, jks("store"), "store", None),
    ] {
        let file = store(magic, version, &one_key(&pki, protected), password);
        let opened = open(&file, &secret(password), own.map(secret).as_ref()).expect(name);
        assert_eq!(
            opened.format,
            if magic == JKS {
                Format::Jks
            } else {
                Format::Jceks
            },
            "{name}"
        );
        let entry = opened.key("KMSclient").expect(name);
        assert_eq!(entry.key.secret_der(), pki.key, "{name}");
        assert_eq!(ders(&entry.chain), [&pki.leaf[..], &pki.root], "{name}");
        assert_eq!(
            opened
                .trusted("cmxDevice")
                .expect(name)
                .certificate
                .as_ref(),
            pki.root,
            "{name}"
        );
    }
}

#[test]
fn keys_that_do_not_open_name_their_cause() {
    let pki = Pki::new();
    let jceks = |password, iterations| protect_jceks(&pki.key, password, SALT, 3, iterations);
    let wrong = || KeystoreError::WrongKeyPassword {
        alias: "kmsclient".to_owned(),
    };
    let iterations = |found| KeystoreError::Iterations {
        found,
        max: 5_000_000,
    };
    let unknown = KeystoreError::UnsupportedAlgorithm {
        algorithm: "the key encryption 1.3.6.1.4.1.42.2.17.1.127".to_owned(),
        java_reads: true,
    };
    let malformed = KeystoreError::Malformed {
        format: Format::Jks,
        what: "the private key 'kmsclient'".to_owned(),
    };
    let alien = with_oid(protect_jks(&pki.key, "store"), 0x7f);
    for (name, protected, want) in [
        ("wrong password", protect_jks(&pki.key, "own"), wrong()),
        ("wrong password, jceks", jceks("own", 3), wrong()),
        (
            "too many iterations",
            jceks("store", 5_000_001),
            iterations(5_000_001),
        ),
        ("no iterations", jceks("store", 0), iterations(0)),
        ("unknown protector", alien, unknown),
        ("no DER", vec![0xff; 60], malformed),
    ] {
        let file = store(JKS, 2, &one_key(&pki, protected), "store");
        assert_eq!(
            open(&file, &secret("store"), None).expect_err(name),
            want,
            "{name}"
        );
    }
}

#[test]
fn entries_that_do_not_fit_name_their_cause() {
    let (pki, other) = (Pki::new(), Pki::new());
    let protected = || protect_jks(&pki.key, "store");
    let key = |chain| {
        vec![Entry::Key {
            alias: b"kmsclient",
            protected: protected(),
            chain,
        }]
    };
    let trusted = |alias| Entry::Trusted {
        alias,
        certificate: &pki.root,
    };
    let alias = || "kmsclient".to_owned();
    let secret_key = KeystoreError::SecretKeyEntry {
        alias: "aeskey".to_owned(),
    };
    let duplicate = KeystoreError::DuplicateAlias {
        first: "kmsServer".to_owned(),
        second: "KMSserver".to_owned(),
    };
    let encoding = || KeystoreError::AliasEncoding { entry: 1 };
    let none = KeystoreError::NoCertificate { alias: alias() };
    let foreign = KeystoreError::KeyMismatch { alias: alias() };
    let alias = Some(alias());
    let broken = KeystoreError::BadCertificate { alias };
    let cases = [trusted(b"kmsServer"), trusted(b"KMSserver")];
    for (name, version, entries, want) in [
        (
            "secret",
            2,
            vec![Entry::Secret { alias: b"aeskey" }],
            secret_key,
        ),
        ("version 3", 3, vec![], KeystoreError::Version(3)),
        ("no certificate", 2, key(vec![]), none),
        ("another key's", 2, key(vec![&other.leaf]), foreign),
        ("not X.509", 2, key(vec![b"0\0"]), broken),
        ("only case differs", 2, cases.into(), duplicate),
        ("surrogate", 2, vec![trusted(b"\xed\xa0\x80")], encoding()),
        ("cut character", 2, vec![trusted(b"a\xe9\x8d")], encoding()),
    ] {
        let file = store(JKS, version, &entries, "store");
        assert_eq!(
            open(&file, &secret("store"), None).expect_err(name),
            want,
            "{name}"
        );
    }
}

/// Changes the last arc of the protector's object identifier.
fn with_oid(mut protected: Vec<u8>, arc: u8) -> Vec<u8> {
    protected[19] = arc;
    protected
}

#[test]
fn every_flip_cut_and_addition_is_found() {
    let pki = Pki::new();
    let file = store(
        JKS,
        2,
        &one_key(&pki, protect_jks(&pki.key, "store")),
        "store",
    );
    let password = secret("store");
    for at in (4..file.len()).step_by(7) {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        assert_eq!(
            open(&flipped, &password, None).unwrap_err(),
            KeystoreError::WrongPasswordOrDamaged,
            "{at}"
        );
    }
    for length in (4..file.len()).step_by(11) {
        let short = KeystoreError::Truncated {
            format: Format::Jks,
        };
        let want = if length < 32 {
            short
        } else {
            KeystoreError::WrongPasswordOrDamaged
        };
        assert_eq!(
            open(&file[..length], &password, None).unwrap_err(),
            want,
            "{length}"
        );
    }
    let longer = [&file[..], b"7 bytes"].concat();
    assert_eq!(
        open(&longer, &password, None).unwrap_err(),
        KeystoreError::WrongPasswordOrDamaged
    );
    assert_eq!(
        open(&file, &secret("Store"), None).unwrap_err(),
        KeystoreError::WrongPasswordOrDamaged
    );
}

#[test]
fn nothing_may_be_left_over() {
    let mut file = store(JKS, 2, &[], "store");
    file.splice(12..12, [0; 3]);
    super::encoder::sign(&mut file, "store");
    let want = KeystoreError::TrailingBytes {
        format: Format::Jks,
        bytes: 3,
    };
    assert_eq!(open(&file, &secret("store"), None).unwrap_err(), want);
}

#[test]
fn claimed_lengths_are_checked_first() {
    let mut file = store(JKS, 2, &[], "store");
    file[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    super::encoder::sign(&mut file, "store");
    let want = KeystoreError::Malformed {
        format: Format::Jks,
        what: "entry tag".to_owned(),
    };
    assert_eq!(open(&file, &secret("store"), None).unwrap_err(), want);
}

#[test]
fn modified_utf8_is_javas() {
    for (name, bytes, want) in [
        ("ascii", &b"kms"[..], Some("kms")),
        ("two and three bytes", "ÄÖ鍵".as_bytes(), Some("ÄÖ鍵")),
        ("surrogates", b"\xed\xa0\xbd\xed\xb8\x80", Some("😀")),
        ("nul in two bytes", b"\xc0\x80", Some("\0")),
        ("four bytes", "😀".as_bytes(), None),
        ("continuation first", b"\x80", None),
    ] {
        assert_eq!(super::modified_utf8(bytes).as_deref(), want, "{name}");
    }
}
