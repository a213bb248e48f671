//! The embedded back end's key file: as an intruder may spoil it, and as a broken writer may seal it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version};
use kms::hsm::Hsm;
use kms::hsm::embedded::{Embedded, KeyFileError};
use kms::secret::SecretString;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};

use crate::arena;

const PASSPHRASE: &str = "toy";
const SALT: [u8; 16] = [1; 16];
/// Seals many payloads: nothing here is a secret.
const NONCE: [u8; 12] = [2; 12];
const MEMORY_KIB: u32 = 8;

/// The input as a whole file: none but the untouched one opens. And as the payload of a file whose
/// seal is right.
pub fn keyfile(data: &[u8]) {
    let whole = file_of(&payload());
    match open(data) {
        Ok(()) => assert_eq!(data, whole, "a changed key file was opened"),
        Err(error) => assert_ne!(data, whole, "{error}"),
    }
    let sealed = open(&file_of(data));
    if data == payload() {
        sealed.expect("the payload in order");
    }
}

fn open(file: &[u8]) -> Result<(), KeyFileError> {
    let path = path();
    std::fs::write(&path, file).expect("the scratch folder is writable");
    // Others' access would be refused before a byte is read.
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("our own file");
    let passphrase = SecretString::new(PASSPHRASE.to_owned());
    let opened = Embedded::open(&path, &passphrase, arena(), Box::new(|| {}));
    opened
        .map(|embedded| embedded.shutdown())
        .inspect_err(|error| {
            let text = error.to_string();
            let named = text.contains("toy.keys") || matches!(error, KeyFileError::NoLockedMemory);
            assert!(named, "{text:?} names its file");
        })
}

fn path() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a scratch folder"));
    folder.path().join("toy.keys")
}

/// A file with `payload` under a right seal.
fn file_of(payload: &[u8]) -> Vec<u8> {
    let body = u32::try_from(payload.len() + 16).expect("a small payload");
    let mut file = b"CKMSKEYS\x00\x01".to_vec();
    for number in [MEMORY_KIB, 1, 1] {
        file.extend(number.to_be_bytes());
    }
    file.extend(SALT);
    file.extend(NONCE);
    file.extend(body.to_be_bytes());
    let sum = digest(&SHA256, &file);
    file.extend(&sum.as_ref()[..8]);
    let mut sealed = payload.to_vec();
    let nonce = Nonce::assume_unique_for_key(NONCE);
    key()
        .seal_in_place_append_tag(nonce, Aad::from(&file), &mut sealed)
        .expect("a short payload");
    file.extend(sealed);
    file
}

fn key() -> &'static LessSafeKey {
    static KEY: OnceLock<LessSafeKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let params = Params::new(MEMORY_KIB, 1, 1, Some(32)).expect("the least cost");
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(PASSPHRASE.as_bytes(), &SALT, &mut key)
            .expect("lengths that Argon2 takes");
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"))
    })
}

/// Two keys, the first of two versions.
fn payload() -> Vec<u8> {
    let mut all = 2_u32.to_be_bytes().to_vec();
    for (name, versions) in [("demo", 2), ("other", 1_u32)] {
        all.extend([0, u8::try_from(name.len()).expect("a short name")]);
        all.extend(name.as_bytes());
        all.extend([0, 0, 0, 1, 0, 0, 0, 0, 1]);
        all.extend(versions.to_be_bytes());
        for number in 1..=versions {
            all.extend(number.to_be_bytes());
            all.extend(format!("{number:032x}").as_bytes());
            all.extend([0, 0, 0, 0, 0, 0, 0, 1, 2]);
            all.extend([7; 32]);
        }
    }
    all
}

/// A file and a payload that are in order.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![file_of(&payload()), payload()]
}

/// Counts, lengths and the beginning.
pub const TOKENS: &[&[u8]] = &[
    b"CKMSKEYS",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\0\0\0\x01",
    b"\0\0\0\x02",
    b"\0\x04demo",
    b"\x02\x01",
    b"\xff\xff",
    b"\xed\xa0\x80",
];
