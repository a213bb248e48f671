//! What is right: every ciphertext with its plaintext, and whether a new one opens.

use kms::wire::base64;
use kms::wire::kmip::KeyAttributes;
use kms::wire::kmip::enums::{cryptographic_algorithm, object_type};
use kms_loadgen::sim::crypt::Cipher;
use kms_loadgen::sim::hsm::Hsm;
use kms_loadgen::sim::store::Store;

/// Of the key that nobody but us changes, and of one that others do.
pub const KEYS: [&str; 2] = ["demo", "side"];

/// A ciphertext.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub key: &'static str,
    /// As clients send it.
    pub text: String,
    /// `None`: it was damaged.
    pub plaintext: Option<Vec<u8>>,
    /// Whether nothing but an outage may keep it from being unwrapped.
    pub is_sure: bool,
    pub number: usize,
}

/// Makes ciphertexts. No two plaintexts have the same length: so an answer under another's id is found
/// out, and every plaintext belongs to one ciphertext only.
pub struct Mint {
    /// First version of each key, and the second one of the second key.
    ciphers: [(&'static str, u32, Cipher); 3],
    made: usize,
}

impl Mint {
    pub fn new(seed: u64) -> Self {
        let mut store = Store::new(seed, false);
        let mut cipher = |key: &'static str, version, name: &str| {
            let attributes = KeyAttributes {
                name: Some(name),
                cryptographic_algorithm: Some(cryptographic_algorithm::AES),
                ..KeyAttributes::default()
            };
            let at = store.create(object_type::SYMMETRIC_KEY, &attributes, 0);
            let uid = store.get(at.unwrap()).unwrap().uid.clone();
            (key, version, Cipher::derive(seed, &uid).unwrap())
        };
        Self {
            ciphers: [
                cipher(KEYS[0], 1, KEYS[0]),
                cipher(KEYS[1], 1, KEYS[1]),
                cipher(KEYS[1], 2, "side:v2"),
            ],
            made: 0,
        }
    }

    pub fn plaintext(&mut self) -> Vec<u8> {
        self.made += 1;
        let fill = u8::try_from(self.made % 251).unwrap();
        let mut plaintext = vec![fill; 15 + self.made];
        plaintext[..8].copy_from_slice(&self.made.to_be_bytes());
        plaintext
    }

    /// The next one of the first key, or with `which` above 0 of the others.
    pub fn sealed(&mut self, which: usize, damaged: bool) -> Sealed {
        let plaintext = self.plaintext();
        let (key, version, cipher) = &self.ciphers[which];
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.made.to_be_bytes());
        let mut bytes = Vec::new();
        let (_, tag) = cipher.seal(nonce, b"", &plaintext, &mut bytes).unwrap();
        if damaged {
            bytes[tag.start] ^= 1;
        }
        let bytes = [&nonce[..], &bytes].concat();
        Sealed {
            key,
            text: format!("vault:v{version}:{}", encode(&bytes)),
            plaintext: (!damaged).then_some(plaintext),
            is_sure: which == 0,
            number: self.made,
        }
    }
}

/// Whether `text` is `plaintext` wrapped under a version of `key`.
pub fn opens(hsm: &Hsm, seed: u64, key: &str, text: &str, plaintext: Option<&[u8]>) -> bool {
    let Some((version, encoded)) = text
        .strip_prefix("vault:v")
        .and_then(|rest| rest.split_once(':'))
    else {
        return false;
    };
    let name = format!("{key}:v{version}");
    let bytes = decode(encoded).unwrap_or_default();
    let Some((nonce, rest)) = bytes.split_first_chunk::<12>() else {
        return false;
    };
    let Some((data, tag)) = rest.split_last_chunk::<16>() else {
        return false;
    };
    let objects = (0..hsm.store.len()).filter_map(|at| hsm.store.get(at));
    let mut named = objects.filter(|object| {
        let bare = version == "1" && object.name.as_deref() == Some(key);
        bare || object.name.as_deref() == Some(&name)
    });
    named.any(|object| {
        let mut work = Vec::new();
        let cipher = Cipher::derive(seed, &object.uid).unwrap();
        let opened = cipher.open(*nonce, b"", data, tag, &mut work);
        opened.is_some_and(|at| plaintext.is_none_or(|plaintext| work[at] == *plaintext))
    })
}

pub fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::put(&mut out, bytes);
    String::from_utf8(out).unwrap()
}

pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![0; base64::decoded_len_max(text.len())];
    let len = base64::decode(text.as_bytes(), &mut out).ok()?;
    out.truncate(len);
    Some(out)
}
