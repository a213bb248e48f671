//! Answers as OpenBao writes them, member by member in its order.

use super::super::json::put_string;
use super::super::{Out, base64, put_decimal};
use super::ciphertext::put_ciphertext;

/// The warning beside a partial failure when `partial_failure_response_code` was no status.
pub const MISSING_BATCH_CODE_WARNING: &str =
    "invalid HTTP response code override from partial_failure_response_code, reverting to 400";

/// Writes the envelope up to the value of `data`, which comes next: an object, or `null`.
#[inline]
pub fn envelope_open<O: Out + ?Sized>(out: &mut O, request_id: &[u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    /// Where each byte's digits stand in `text`: a UUID's groups are of 4, 2, 2, 2 and 6 bytes.
    const PLACES: [usize; 16] = [
        15, 17, 19, 21, 24, 26, 29, 31, 34, 36, 39, 41, 43, 45, 47, 49,
    ];
    let mut text = *b"{\"request_id\":\"00000000-0000-0000-0000-000000000000\",\"lease_id\":\"\",\
\"renewable\":false,\"lease_duration\":0,\"data\":";
    for (byte, place) in request_id.iter().zip(PLACES) {
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 15)];
    }
    out.put(&text);
}

/// Writes the rest of the envelope. `newline` is true but for a batch with failed items.
#[inline]
pub fn envelope_close<O: Out + ?Sized>(out: &mut O, warnings: &[impl AsRef<str>], newline: bool) {
    if warnings.is_empty() {
        out.put(b",\"wrap_info\":null,\"warnings\":null,\"auth\":null}");
    } else {
        out.put(b",\"wrap_info\":null,\"warnings\":");
        put_strings(out, warnings);
        out.put(b",\"auth\":null}");
    }
    if newline {
        out.put(b"\n");
    }
}

pub(super) fn put_strings<O: Out + ?Sized>(out: &mut O, texts: &[impl AsRef<str>]) {
    let mut before: &[u8] = b"[";
    for text in texts {
        out.put(before);
        put_string(out, text.as_ref());
        before = b",";
    }
    out.put(if texts.is_empty() { b"[]" } else { b"]" });
}

/// `data` of a single encrypt.
pub fn put_encrypted<O: Out + ?Sized>(out: &mut O, version: u32, ciphertext: &[u8]) {
    put_ciphertext_members(out, version, ciphertext);
    out.put(b"}");
}

fn put_ciphertext_members<O: Out + ?Sized>(out: &mut O, version: u32, ciphertext: &[u8]) {
    out.put(b"{\"ciphertext\":\"");
    put_ciphertext(out, version, ciphertext);
    out.put(b"\",\"key_version\":");
    put_decimal(out, u64::from(version));
}

/// `data` of a single decrypt.
#[inline]
pub fn put_decrypted<O: Out + ?Sized>(out: &mut O, plaintext: &[u8]) {
    out.put(b"{\"plaintext\":\"");
    base64::put(out, plaintext);
    out.put(b"\"}");
}

/// `data` of a data key; `plaintext` where it is told.
pub fn put_datakey<O: Out + ?Sized>(
    out: &mut O,
    version: u32,
    ciphertext: &[u8],
    plaintext: Option<&[u8]>,
) {
    put_ciphertext_members(out, version, ciphertext);
    if let Some(plaintext) = plaintext {
        out.put(b",\"plaintext\":\"");
        base64::put(out, plaintext);
        out.put(b"\"");
    }
    out.put(b"}");
}

/// `data` of a batch up to its first item; put a comma between items.
pub fn put_batch_open<O: Out + ?Sized>(out: &mut O) {
    out.put(b"{\"batch_results\":[");
}

/// The end of `data` of a batch.
pub fn put_batch_close<O: Out + ?Sized>(out: &mut O) {
    out.put(b"]}");
}

fn put_reference<O: Out + ?Sized>(out: &mut O, reference: &str) {
    out.put(b",\"reference\":");
    put_string(out, reference);
    out.put(b"}");
}

/// An encrypted item of a batch.
pub fn put_encrypted_item<O: Out + ?Sized>(
    out: &mut O,
    version: u32,
    ciphertext: &[u8],
    reference: &str,
) {
    put_ciphertext_members(out, version, ciphertext);
    put_reference(out, reference);
}

/// A decrypted item of a batch.
pub fn put_decrypted_item<O: Out + ?Sized>(out: &mut O, plaintext: &[u8], reference: &str) {
    out.put(b"{\"plaintext\":\"");
    base64::put(out, plaintext);
    if reference.is_empty() {
        out.put(b"\",\"reference\":\"\"}");
    } else {
        out.put(b"\"");
        put_reference(out, reference);
    }
}

/// An item that was not encrypted.
pub fn put_failed_encrypt_item<O: Out + ?Sized>(out: &mut O, error: &str, reference: &str) {
    out.put(b"{\"error\":");
    put_string(out, error);
    put_reference(out, reference);
}

/// An item that was not decrypted; its empty plaintext is OpenBao's.
pub fn put_failed_decrypt_item<O: Out + ?Sized>(out: &mut O, error: &str, reference: &str) {
    out.put(b"{\"plaintext\":\"\",\"error\":");
    put_string(out, error);
    put_reference(out, reference);
}

/// `{"errors":["..."]}` and a newline.
pub fn error_body<O: Out + ?Sized>(out: &mut O, text: &str) {
    out.put(b"{\"errors\":");
    put_strings(out, &[text]);
    out.put(b"}\n");
}

/// `{"errors":[]}` and a newline: nothing there.
pub fn no_errors_body<O: Out + ?Sized>(out: &mut O) {
    out.put(b"{\"errors\":[]}\n");
}

/// What is told of a key.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct KeyData<'a> {
    pub name: &'a str,
    /// `type`.
    pub kind: &'a str,
    pub allow_plaintext_backup: bool,
    pub auto_rotate_period_s: u64,
    /// Told of derived keys only.
    pub convergent_encryption: bool,
    pub deletion_allowed: bool,
    pub derived: bool,
    pub exportable: bool,
    /// Version and Unix time of its creation, ascending, none below the minimum decryption version.
    pub versions: &'a [(u32, u64)],
    pub latest_version: u32,
    pub min_available_version: u32,
    pub min_decryption_version: u32,
    pub min_encryption_version: u32,
    pub soft_deleted: bool,
    pub supports_derivation: bool,
    /// And decryption.
    pub supports_encryption: bool,
    pub supports_signing: bool,
}

/// `data` of a key read, create, rotate or config.
pub fn put_key_data<O: Out + ?Sized>(out: &mut O, key: &KeyData<'_>) {
    out.put(b"{\"allow_plaintext_backup\":");
    put_bool(out, key.allow_plaintext_backup);
    put_number(out, "auto_rotate_period", key.auto_rotate_period_s);
    if key.derived {
        put_flag(out, "convergent_encryption", key.convergent_encryption);
        if key.convergent_encryption {
            out.put(b",\"convergent_encryption_version\":-1");
        }
    }
    put_flag(out, "deletion_allowed", key.deletion_allowed);
    put_flag(out, "derived", key.derived);
    put_flag(out, "exportable", key.exportable);
    put_flag(out, "imported_key", false);
    if key.derived {
        out.put(b",\"kdf\":\"hkdf_sha256\"");
    }
    put_versions(out, key.versions);
    put_number(out, "latest_version", key.latest_version.into());
    put_number(
        out,
        "min_available_version",
        key.min_available_version.into(),
    );
    put_number(
        out,
        "min_decryption_version",
        key.min_decryption_version.into(),
    );
    put_number(
        out,
        "min_encryption_version",
        key.min_encryption_version.into(),
    );
    out.put(b",\"name\":");
    put_string(out, key.name);
    put_flag(out, "soft_deleted", key.soft_deleted);
    put_flag(out, "supports_decryption", key.supports_encryption);
    put_flag(out, "supports_derivation", key.supports_derivation);
    put_flag(out, "supports_encryption", key.supports_encryption);
    put_flag(out, "supports_signing", key.supports_signing);
    out.put(b",\"type\":");
    put_string(out, key.kind);
    out.put(b"}");
}

/// `keys`, in the order of the numbers' texts, as Go sorts the names of a map.
fn put_versions<O: Out + ?Sized>(out: &mut O, versions: &[(u32, u64)]) {
    let mut named: Vec<_> = versions
        .iter()
        .map(|(version, time)| (version.to_string(), time))
        .collect();
    named.sort_unstable();
    let mut before: &[u8] = b",\"keys\":{\"";
    for (version, time) in &named {
        out.put(before);
        out.put(version.as_bytes());
        out.put(b"\":");
        put_decimal(out, **time);
        before = b",\"";
    }
    out.put(if named.is_empty() {
        b",\"keys\":{}"
    } else {
        b"}"
    });
}

pub(super) fn put_name<O: Out + ?Sized>(out: &mut O, name: &str) {
    out.put(b",\"");
    out.put(name.as_bytes());
    out.put(b"\":");
}

fn put_bool<O: Out + ?Sized>(out: &mut O, value: bool) {
    out.put(if value { b"true" } else { b"false" });
}

pub(super) fn put_flag<O: Out + ?Sized>(out: &mut O, name: &str, value: bool) {
    put_name(out, name);
    put_bool(out, value);
}

pub(super) fn put_number<O: Out + ?Sized>(out: &mut O, name: &str, value: u64) {
    put_name(out, name);
    put_decimal(out, value);
}

/// `data` of a key list; the caller sorts.
pub fn put_key_list<O: Out + ?Sized>(out: &mut O, names: &[impl AsRef<str>]) {
    out.put(b"{\"keys\":");
    put_strings(out, names);
    out.put(b"}");
}
