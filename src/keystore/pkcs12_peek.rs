//! A look at the outside of a PKCS#12 file: is there a MAC, and which algorithms does it name?
//!
//! The PKCS#12 crate accepts a file without MAC and does not name what it does not support; this
//! does. Must never be true: a file passed on without a MAC.

use super::der::{CONTEXT_0, Der, DerFault, OCTET_STRING, OID, SEQUENCE, dotted};
use super::{Format, KeystoreError};

/// Iterations of a MAC or of a key derivation; also the crate's own limit.
pub(super) const ITERATIONS_MAX: u32 = 1_000_000;

const DATA: &str = "1.2.840.113549.1.7.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const PBES2: &str = "1.2.840.113549.1.5.13";

/// What can be said of an algorithm.
struct Known {
    oid: &'static str,
    name: &'static str,
    supported: bool,
    java_reads: bool,
}

const fn known(oid: &'static str, name: &'static str, supported: bool, java_reads: bool) -> Known {
    Known {
        oid,
        name,
        supported,
        java_reads,
    }
}

const KNOWN: [Known; 28] = [
    known("1.3.14.3.2.26", "SHA-1", true, true),
    known("2.16.840.1.101.3.4.2.4", "SHA-224", true, true),
    known("2.16.840.1.101.3.4.2.1", "SHA-256", true, true),
    known("2.16.840.1.101.3.4.2.2", "SHA-384", true, true),
    known("2.16.840.1.101.3.4.2.3", "SHA-512", true, true),
    known("2.16.840.1.101.3.4.2.5", "SHA-512/224", true, true),
    known("2.16.840.1.101.3.4.2.6", "SHA-512/256", true, true),
    known("1.2.840.113549.2.5", "an MD5 MAC", false, false),
    known("1.2.840.113549.1.5.14", "a PBMAC1 MAC", false, false),
    known("1.2.840.113549.1.12.1.6", "PBE-SHA1-RC2-40", true, true),
    known("1.2.840.113549.1.12.1.3", "PBE-SHA1-3DES", true, true),
    known("1.2.840.113549.1.12.1.1", "PBE-SHA1-RC4-128", false, true),
    known("1.2.840.113549.1.12.1.2", "PBE-SHA1-RC4-40", false, true),
    known("1.2.840.113549.1.12.1.4", "PBE-SHA1-2DES", false, false),
    known("1.2.840.113549.1.12.1.5", "PBE-SHA1-RC2-128", false, true),
    known("1.2.840.113549.1.5.3", "PBE-MD5-DES", false, true),
    known("1.2.840.113549.1.5.10", "PBE-SHA1-DES", false, false),
    known("1.2.840.113549.1.5.12", "PBKDF2", true, true),
    known("1.3.6.1.4.1.11591.4.11", "scrypt", true, false),
    known("1.2.840.113549.2.7", "HMAC-SHA-1", true, true),
    known("1.2.840.113549.2.8", "HMAC-SHA-224", true, true),
    known("1.2.840.113549.2.9", "HMAC-SHA-256", true, true),
    known("1.2.840.113549.2.10", "HMAC-SHA-384", true, true),
    known("1.2.840.113549.2.11", "HMAC-SHA-512", true, true),
    known("2.16.840.1.101.3.4.1.2", "AES-128-CBC", true, true),
    known("2.16.840.1.101.3.4.1.22", "AES-192-CBC", true, false),
    known("2.16.840.1.101.3.4.1.42", "AES-256-CBC", true, true),
    known("1.2.840.113549.3.7", "PBES2 with 3DES", false, false),
];

/// Fails when the algorithm is not a supported one.
fn check_algorithm(oid: &[u8]) -> Result<(), KeystoreError> {
    let oid = dotted(oid);
    match KNOWN.iter().find(|known| known.oid == oid) {
        Some(known) if known.supported => Ok(()),
        Some(known) => Err(KeystoreError::UnsupportedAlgorithm {
            algorithm: known.name.to_owned(),
            java_reads: known.java_reads,
        }),
        None => Err(KeystoreError::UnsupportedAlgorithm {
            algorithm: format!("the algorithm {oid}"),
            java_reads: true,
        }),
    }
}

fn check_iterations(found: u32) -> Result<(), KeystoreError> {
    if (1..=ITERATIONS_MAX).contains(&found) {
        return Ok(());
    }
    Err(KeystoreError::Iterations {
        found,
        max: ITERATIONS_MAX,
    })
}

fn fault(what: &str) -> impl Fn(DerFault) -> KeystoreError + '_ {
    move |fault| match fault {
        DerFault::Ber => KeystoreError::Ber,
        DerFault::Truncated | DerFault::Malformed => KeystoreError::Malformed {
            format: Format::Pkcs12,
            what: what.to_owned(),
        },
    }
}

/// Checks the frame of the file: its length, its kind, and that it has a MAC of a usable kind.
/// Gives the `AuthenticatedSafe` in DER, for [`survey`].
pub(super) fn frame(bytes: &[u8]) -> Result<&[u8], KeystoreError> {
    let mut file = Der(bytes);
    let mut pfx = file.sequence().map_err(|found| match found {
        DerFault::Truncated => KeystoreError::Truncated {
            format: Format::Pkcs12,
        },
        DerFault::Ber => KeystoreError::Ber,
        DerFault::Malformed => KeystoreError::NotAKeystore { looks_like: None },
    })?;
    if !file.is_empty() {
        return Err(KeystoreError::TrailingBytes {
            format: Format::Pkcs12,
            bytes: file.0.len(),
        });
    }
    if pfx.peek_tag() == Some(SEQUENCE) {
        return Err(KeystoreError::NotAKeystore {
            looks_like: Some("a certificate or key in DER"),
        });
    }
    let version = pfx
        .unsigned()
        .map_err(|_| KeystoreError::NotAKeystore { looks_like: None })?;
    if version != 3 || pfx.peek_tag() != Some(SEQUENCE) {
        return Err(KeystoreError::NotAKeystore {
            looks_like: Some("a private key in DER"),
        });
    }
    let mut content = pfx.sequence().map_err(fault("its content"))?;
    match dotted(content.expect(OID).map_err(fault("its content type"))?).as_str() {
        DATA => {}
        SIGNED_DATA => {
            let algorithm = "a signature in place of a MAC".to_owned();
            return Err(KeystoreError::UnsupportedAlgorithm {
                algorithm,
                java_reads: false,
            });
        }
        _ => return Err(fault("its content type")(DerFault::Malformed)),
    }
    let inside = content.expect(CONTEXT_0).map_err(fault("its content"))?;
    let safes = Der(inside)
        .expect(OCTET_STRING)
        .map_err(fault("its content"))?;
    if pfx.is_empty() {
        return Err(KeystoreError::NoMac);
    }
    let mut mac = pfx.sequence().map_err(fault("its MAC"))?;
    let mut digest = mac.sequence().map_err(fault("its MAC"))?;
    let mut algorithm = digest.sequence().map_err(fault("its MAC"))?;
    check_algorithm(algorithm.expect(OID).map_err(fault("its MAC"))?)?;
    mac.expect(OCTET_STRING).map_err(fault("its MAC"))?;
    let iterations = if mac.is_empty() {
        1
    } else {
        mac.unsigned().map_err(fault("its MAC"))?
    };
    check_iterations(iterations)?;
    Ok(safes)
}

/// After a reader refused the file: the first algorithm in it that is not supported, or the first
/// other thing that explains the refusal.
pub(super) fn survey(safes: &[u8]) -> Result<(), KeystoreError> {
    let mut safes = Der(safes).sequence().map_err(fault("its content"))?;
    while !safes.is_empty() {
        let mut safe = safes.sequence().map_err(fault("a safe"))?;
        let kind = dotted(safe.expect(OID).map_err(fault("a safe"))?);
        let inside = safe.expect(CONTEXT_0).map_err(fault("a safe"))?;
        match kind.as_str() {
            DATA => bags(Der(inside).expect(OCTET_STRING).map_err(fault("a safe"))?)?,
            ENCRYPTED_DATA => encrypted(inside)?,
            _ => {
                let algorithm = "encryption to a certificate in place of a password".to_owned();
                return Err(KeystoreError::UnsupportedAlgorithm {
                    algorithm,
                    java_reads: false,
                });
            }
        }
    }
    Ok(())
}

fn encrypted(data: &[u8]) -> Result<(), KeystoreError> {
    let broken = fault("an encrypted safe");
    let mut data = Der(data).sequence().map_err(&broken)?;
    data.unsigned().map_err(&broken)?;
    let mut content = data.sequence().map_err(&broken)?;
    content.expect(OID).map_err(&broken)?;
    scheme(content.sequence().map_err(&broken)?)
}

fn bags(contents: &[u8]) -> Result<(), KeystoreError> {
    let broken = fault("a bag");
    let mut bags = Der(contents).sequence().map_err(&broken)?;
    while !bags.is_empty() {
        let mut bag = bags.sequence().map_err(&broken)?;
        let kind = dotted(bag.expect(OID).map_err(&broken)?);
        let value = bag.expect(CONTEXT_0).map_err(&broken)?;
        if kind == SHROUDED_KEY_BAG {
            let mut key = Der(value).sequence().map_err(&broken)?;
            scheme(key.sequence().map_err(&broken)?)?;
        }
    }
    Ok(())
}

/// An `AlgorithmIdentifier`'s inside: PBES2 with its two parts, or an older scheme.
fn scheme(mut algorithm: Der<'_>) -> Result<(), KeystoreError> {
    let broken = fault("an encryption scheme");
    let oid = algorithm.expect(OID).map_err(&broken)?;
    if dotted(oid) != PBES2 {
        check_algorithm(oid)?;
        let mut parameters = algorithm.sequence().map_err(&broken)?;
        parameters.expect(OCTET_STRING).map_err(&broken)?;
        return check_iterations(parameters.unsigned().map_err(&broken)?);
    }
    let mut parts = algorithm.sequence().map_err(&broken)?;
    let mut derivation = parts.sequence().map_err(&broken)?;
    let mut cipher = parts.sequence().map_err(&broken)?;
    check_algorithm(cipher.expect(OID).map_err(&broken)?)?;
    let oid = derivation.expect(OID).map_err(&broken)?;
    check_algorithm(oid)?;
    let mut parameters = derivation.sequence().map_err(&broken)?;
    parameters.expect(OCTET_STRING).map_err(&broken)?;
    let iterations = parameters.unsigned().map_err(&broken)?;
    if dotted(oid) == "1.2.840.113549.1.5.12" {
        check_iterations(iterations)?;
        while !parameters.is_empty() {
            let (tag, inside) = parameters.item().map_err(&broken)?;
            if tag == SEQUENCE {
                check_algorithm(Der(inside).expect(OID).map_err(&broken)?)?;
            }
        }
    }
    Ok(())
}
