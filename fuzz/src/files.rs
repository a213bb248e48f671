//! Files that the operator gives: keystores and properties.

use std::path::Path;

use kms::config;
use kms::keystore;
use kms::secret::SecretString;

use crate::encoder::{Entry, JCEKS, JKS, protect_jceks, protect_jks, sign, store};

const PASSWORD: &str = "store";
const LEAF: &[u8] = include_bytes!("../seeds/leaf.der");
const LEAF_KEY: &[u8] = include_bytes!("../seeds/leaf.key.der");
const PKCS12: &[u8] = include_bytes!("../seeds/keystore.p12");

/// A store as it is, and, where it is a JKS or JCEKS, with the digest that its bytes should have.
pub fn keystore(data: &[u8]) {
    open(data);
    if [JKS, JCEKS]
        .iter()
        .any(|magic| data.starts_with(&magic.to_be_bytes()))
    {
        let mut signed = data.to_vec();
        sign(&mut signed, PASSWORD);
        open(&signed);
    }
}

fn open(data: &[u8]) {
    match keystore::open(data, &SecretString::new(PASSWORD.to_owned()), None) {
        Ok(store) => {
            let aliases: Vec<_> = store.aliases().collect();
            assert_eq!(aliases.len(), store.keys.len() + store.trusted.len());
            for alias in aliases {
                assert!(
                    store.key(alias).is_some() != store.trusted(alias).is_some(),
                    "alias {alias:?}"
                );
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A `kms.properties`.
pub fn properties(data: &[u8]) {
    match config::parse(Path::new("kms.properties"), data, []) {
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Stores that are in order.
pub fn keystore_seeds() -> Vec<Vec<u8>> {
    let entries = |protected| {
        [
            Entry::Key {
                alias: b"kmsserver",
                protected,
                chain: vec![LEAF],
            },
            Entry::Trusted {
                alias: "cmxdevice-\u{9375}".as_bytes(),
                certificate: LEAF,
            },
        ]
    };
    let jks = |version| {
        store(
            JKS,
            version,
            &entries(protect_jks(LEAF_KEY, PASSWORD)),
            PASSWORD,
        )
    };
    let protected = protect_jceks(LEAF_KEY, PASSWORD, [1, 2, 3, 4, 5, 6, 7, 8], 5, 5);
    vec![
        jks(1),
        jks(2),
        store(JCEKS, 2, &entries(protected), PASSWORD),
        PKCS12.to_vec(),
    ]
}

/// Files that are in order, the guide's own among them.
pub fn properties_seeds() -> Vec<Vec<u8>> {
    let small = "kms.keystore.path=kmsKeystore.jks\nkms.keystore.password=a\\u0062c\n\
                 kms.server.alias : kmsServer\n# comment\nkms.hsm.type EMBEDDED\nkms.cache.ttl = \\\n  10m\n";
    vec![config::render_template().into_bytes(), small.into()]
}

/// Interesting pieces of DER and JKS.
pub const BINARY_TOKENS: &[&[u8]] = &[
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x82\xff\xff",
    b"\x02\x01\x00",
    b"\x04\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x01",
    b"\0\0\0\x02",
    b"\0\0\0\x03",
    b"X.509",
    b"\x00\x00",
    b"\xed\xa0\x80",
];

/// Words of the language.
pub const PROPERTIES_TOKENS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\\\n",
    b"=",
    b":",
    b" ",
    b"#",
    b"!",
    b"\\u",
    b"\\u0041",
    b"\\ud800",
    b"kms.",
    b".file",
    b"true",
    b"-1",
    b"18446744073709551616",
    b"10m",
    b"GiB",
    b"\xff",
    b"\xe2\x82\xac",
    b"*",
    b",",
    b"[::1]:1",
    b"https://",
];
