//! Certificates and private keys as authorities and openssl hand them out: PEM, or one certificate in DER.
//!
//! Must never be true: a private key left unwiped by this room; an error without what to do. Called by `cli`.

use std::fmt;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::der::{CONTEXT_0, Der, INTEGER, OCTET_STRING, SEQUENCE};
use crate::limits::KEYSTORE_BYTES_MAX;

/// What is wrong with a file of certificates or with that of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PemError {
    /// More bytes than any sane file has.
    TooLarge,
    /// No certificate is in it.
    NoCertificate,
    /// This part, from 1, is damaged.
    Damaged(usize),
    /// No private key is in it.
    NoKey,
    /// The private key is encrypted.
    EncryptedKey,
    /// A private key in a form that PKCS#12 does not hold.
    KeyForm,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "more than {KEYSTORE_BYTES_MAX} bytes"),
            Self::NoCertificate => f.write_str(
                "no certificate is in it: PEM (-----BEGIN CERTIFICATE-----) or one in DER is wanted",
            ),
            Self::Damaged(part) => write!(f, "part {part} is damaged: ask for the file again"),
            Self::NoKey => {
                f.write_str("no private key is in it: PEM (-----BEGIN PRIVATE KEY-----) is wanted")
            }
            Self::EncryptedKey => f.write_str(
                "the private key is encrypted: decrypt it with openssl pkcs8 -in FILE -out NEW",
            ),
            Self::KeyForm => f.write_str(
                "the private key is not in PKCS#8 form: convert it with openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW",
            ),
        }
    }
}

impl std::error::Error for PemError {}

/// All certificates of a file, in its order.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    if bytes.len() > KEYSTORE_BYTES_MAX {
        return Err(PemError::TooLarge);
    }
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let mut all = Vec::new();
    for (at, part) in CertificateDer::pem_slice_iter(bytes).enumerate() {
        all.push(part.map_err(|_| PemError::Damaged(at + 1))?);
    }
    if all.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok(all)
}

/// The private key of a file, as PKCS#8.
pub fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    if bytes.len() > KEYSTORE_BYTES_MAX {
        return Err(PemError::TooLarge);
    }
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    if has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::EncryptedKey);
    }
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(PrivateKeyDer::Pkcs1(key)) => {
            let wrapped = pkcs8_of_rsa(key.secret_pkcs1_der());
            Ok(PrivatePkcs8KeyDer::from(wrapped).into())
        }
        Ok(key @ PrivateKeyDer::Pkcs8(_)) => Ok(key),
        Ok(PrivateKeyDer::Sec1(key)) => {
            let wrapped = pkcs8_of_ec(key.secret_sec1_der()).ok_or(PemError::KeyForm)?;
            Ok(PrivatePkcs8KeyDer::from(wrapped).into())
        }
        Ok(_) => Err(PemError::KeyForm),
        Err(_) => Err(PemError::NoKey),
    }
}

/// RFC 5208 around RFC 8017's `RSAPrivateKey`: version 0, rsaEncryption, the key.
fn pkcs8_of_rsa(pkcs1: &[u8]) -> Vec<u8> {
    const HEAD: [u8; 18] = [
        2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
    ];
    let octets = Zeroizing::new(item(OCTET_STRING, pkcs1));
    let inside = Zeroizing::new([&HEAD[..], &octets].concat());
    item(SEQUENCE, &inside)
}

/// RFC 5208 around RFC 5915's `ECPrivateKey`: version 0, ecPublicKey with the curve that the key names, the key.
fn pkcs8_of_ec(sec1: &[u8]) -> Option<Vec<u8>> {
    const EC_PUBLIC_KEY: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let mut key = Der(sec1).sequence().ok()?;
    if key.unsigned().ok()? != 1 {
        return None;
    }
    key.expect(OCTET_STRING).ok()?;
    let curve = key.expect(CONTEXT_0).ok()?;
    let algorithm = item(SEQUENCE, &[&EC_PUBLIC_KEY[..], curve].concat());
    let octets = Zeroizing::new(item(OCTET_STRING, sec1));
    let inside = Zeroizing::new([&[INTEGER, 1, 0], &algorithm[..], &octets].concat());
    Some(item(SEQUENCE, &inside))
}

fn item(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let len: &[u8] = match content.len() {
        0..=0x7f => len.get(7..).unwrap_or_default(),
        0x80..=0xff => &[&[0x81], len.get(7..).unwrap_or_default()].concat(),
        0x100..=0xffff => &[&[0x82], len.get(6..).unwrap_or_default()].concat(),
        _ => &[&[0x83], len.get(5..).unwrap_or_default()].concat(),
    };
    [&[tag], len, content].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_that_hold_something_else_are_told() {
        let many = vec![b'x'; KEYSTORE_BYTES_MAX + 1];
        for (name, bytes, certificate, key) in [
            ("nothing", &b""[..], PemError::NoCertificate, PemError::NoKey),
            ("text", b"hello", PemError::NoCertificate, PemError::NoKey),
            ("too much", &many, PemError::TooLarge, PemError::TooLarge),
            (
                "damaged",
                b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
                PemError::Damaged(1),
                PemError::NoKey,
            ),
            (
                "an encrypted key",
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                PemError::NoCertificate,
                PemError::EncryptedKey,
            ),
            (
                "a key of elliptic curves' own form that names no curve",
                b"-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
                PemError::NoCertificate,
                PemError::KeyForm,
            ),
        ] {
            assert_eq!(certificates(bytes), Err(certificate), "{name}");
            assert_eq!(private_key(bytes).err(), Some(key), "{name}");
        }
    }

    #[test]
    fn keys_of_every_form_are_the_same_key() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let pkcs8 = key.serialize_der();
        let mut inside = Der(&pkcs8).sequence().unwrap();
        inside.unsigned().unwrap();
        let mut algorithm = inside.sequence().unwrap();
        algorithm.item().unwrap();
        let curve = item(CONTEXT_0, algorithm.0);
        let sec1 = inside.expect(OCTET_STRING).unwrap();
        let mut fields = Der(sec1).sequence().unwrap();
        let (version, secret) = (fields.item().unwrap().1, fields.item().unwrap().1);
        // As openssl ecparam writes it: with the curve, without the public key.
        let own = [
            &item(INTEGER, version)[..],
            &item(OCTET_STRING, secret),
            &curve,
        ]
        .concat();
        let own = item(SEQUENCE, &own);
        let pem = |label: &str, der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        let public = |text: &str| {
            super::super::chain::public_key(&private_key(text.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(
            public(&pem("EC PRIVATE KEY", &own)),
            public(&pem("PRIVATE KEY", &pkcs8))
        );
    }

    #[test]
    fn lengths_are_der() {
        for (len, head) in [
            (5, &[0x30, 5][..]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0x1234, &[0x30, 0x82, 0x12, 0x34]),
            (0x12345, &[0x30, 0x83, 1, 0x23, 0x45]),
        ] {
            let made = item(SEQUENCE, &vec![7; len]);
            assert!(
                made.starts_with(head) && made.len() == head.len() + len,
                "{len}"
            );
        }
    }
}
