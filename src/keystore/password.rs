//! Passwords as the formats want them, and comparing digests.
//!
//! Must never be true: a copy of a password that is not wiped.

use zeroize::Zeroizing;

use crate::secret::SecretString;

/// UTF-16BE without terminator, as JKS hashes it.
pub(super) fn utf16be(password: &SecretString) -> Zeroizing<Vec<u8>> {
    // Two bytes a unit, and never more units than UTF-8 bytes: no reallocation leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(password.expose().len() * 2));
    for unit in password.expose().encode_utf16() {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    bytes
}

/// Compares without stopping at the first difference.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    let differing = left
        .iter()
        .zip(right)
        .fold(0, |seen, (l, r)| std::hint::black_box(seen | (l ^ r)));
    left.len() == right.len() && differing == 0
}
