//! `vault:v<version>:<base64>`.

use super::super::scan;
use super::super::{Out, base64, put_decimal};

/// The version is above the key's latest.
pub const VERSION_TOO_NEW_ERROR: &str = "invalid ciphertext: version is too new";
/// The version is below the key's minimum, or negative.
pub const VERSION_TOO_OLD_ERROR: &str =
    "ciphertext or signature version is disallowed by policy (too old)";
/// Fewer bytes than nonce and tag.
pub const CIPHERTEXT_LENGTH_ERROR: &str = "invalid ciphertext length";

/// Splits a ciphertext into its version (0 is 1; one that exceeds 32 bits is `u32::MAX`) and its base64
/// text. Compare the version with the key's before decoding: that is the order of OpenBao's errors.
#[inline]
pub fn parse_ciphertext(text: &str) -> Result<(u32, &str), &'static str> {
    let rest = text
        .strip_prefix("vault:v")
        .ok_or("invalid ciphertext: no prefix")?;
    let colon = scan::find(rest.as_bytes(), b':');
    let (version, encoded) = colon
        .and_then(|colon| Some((rest.get(..colon)?, rest.get(colon + 1..)?)))
        .ok_or("invalid ciphertext: wrong number of fields")?;
    let version: i64 = version
        .parse()
        .map_err(|_| "invalid ciphertext: version number could not be decoded")?;
    match version {
        ..0 => Err(VERSION_TOO_OLD_ERROR),
        0 => Ok((1, encoded)),
        _ => Ok((u32::try_from(version).unwrap_or(u32::MAX), encoded)),
    }
}

/// Decodes the base64 text into `out` (of [`base64::decoded_len_max`] bytes). Refuses what is shorter
/// than `bytes_min`, the nonce and tag of the key's type.
#[inline]
pub fn decode_ciphertext(
    encoded: &str,
    out: &mut [u8],
    bytes_min: usize,
) -> Result<usize, &'static str> {
    match base64::decode(encoded.as_bytes(), out) {
        Ok(len) if len >= bytes_min => Ok(len),
        Ok(_) => Err(CIPHERTEXT_LENGTH_ERROR),
        Err(_) => Err("invalid ciphertext: could not decode base64"),
    }
}

/// Writes a ciphertext of a key version.
pub fn put_ciphertext<O: Out + ?Sized>(out: &mut O, version: u32, bytes: &[u8]) {
    out.put(b"vault:v");
    put_decimal(out, u64::from(version));
    out.put(b":");
    base64::put(out, bytes);
}
