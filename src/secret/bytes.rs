//! Heap secrets in passing: wiped on drop, never printed.
//!
//! Must never be true: a vector in here that was grown from a smaller one (the old block keeps its
//! content unless `WipeOnFree` is the allocator), or a comparison that stops at the first difference.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes in passing (a plaintext to wrap, a passphrase): wiped on drop, `Debug` prints nothing of them.
#[derive(Clone, Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes `bytes` over; the vector must never have been reallocated from a smaller one.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies `bytes` into one block of exactly their size.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// Lends the bytes; grep `expose` to audit every use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality in a time that depends on the lengths only.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(&self.0, other)
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other.expose())
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// A password or passphrase: as [`SecretBytes`], UTF-8.
#[derive(Clone, Default)]
pub struct SecretString(Zeroizing<String>);

/// The secret was expected to be text and is not. Names the place, shows nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotUtf8 {
    /// Bytes before the first that is not UTF-8.
    pub valid_bytes: usize,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the secret is not UTF-8 text: byte {} is wrong; save it as UTF-8",
            self.valid_bytes + 1
        )
    }
}

impl std::error::Error for NotUtf8 {}

impl SecretString {
    /// Takes `text` over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Takes `bytes` over without a copy; bytes that are no text are wiped.
    pub fn from_utf8(mut bytes: SecretBytes) -> Result<Self, NotUtf8> {
        String::from_utf8(std::mem::take(&mut *bytes.0))
            .map(Self::new)
            .map_err(|error| {
                let valid_bytes = error.utf8_error().valid_up_to();
                drop(SecretBytes::new(error.into_bytes()));
                NotUtf8 { valid_bytes }
            })
    }

    /// Lends the text; grep `expose` to audit every use.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the text up as bytes, without a copy.
    pub fn into_bytes(mut self) -> SecretBytes {
        SecretBytes::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

impl PartialEq for SecretString {
    fn eq(&self, other: &Self) -> bool {
        ct_eq(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for SecretString {}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(..)")
    }
}

/// Equality in a time that depends on the lengths only.
fn ct_eq(left: &[u8], right: &[u8]) -> bool {
    // SAFETY: both are readable for `right.len()` bytes, as the lengths are equal.
    left.len() == right.len()
        && unsafe { memsec::memeq(left.as_ptr(), right.as_ptr(), right.len()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn equality_is_that_of_the_bytes() {
        for (left, right) in [
            ("", ""),
            ("a", ""),
            ("same", "same"),
            ("same", "sane"),
            ("abc", "abcd"),
            ("xbc", "abc"),
        ] {
            let (a, b) = (
                SecretBytes::from_slice(left.as_bytes()),
                SecretBytes::from_slice(right.as_bytes()),
            );
            assert_eq!(a == b, left == right, "{left:?} {right:?}");
            let (a, b) = (
                SecretString::new(left.into()),
                SecretString::new(right.into()),
            );
            assert_eq!(a == b, left == right, "{left:?} {right:?}");
        }
    }

    #[test]
    fn nothing_is_printed() {
        let bytes = SecretBytes::from_slice(b"hunter2");
        assert_eq!(format!("{bytes:?}"), "SecretBytes(..)");
        assert_eq!(
            format!("{:?}", SecretString::from_utf8(bytes)),
            "Ok(SecretString(..))"
        );
    }

    #[test]
    fn text_is_taken_over_without_a_copy_or_refused() {
        let bytes = SecretBytes::from_slice("pässword".as_bytes());
        assert_eq!((bytes.len(), bytes.is_empty()), (9, false));
        let block = bytes.expose().as_ptr();
        let text = SecretString::from_utf8(bytes).unwrap();
        assert_eq!(
            (text.expose(), text.len(), text.is_empty()),
            ("pässword", 9, false)
        );
        let bytes = text.into_bytes();
        assert_eq!(bytes.expose().as_ptr(), block);
        let error = SecretString::from_utf8(SecretBytes::from_slice(b"ab\xff")).unwrap_err();
        assert_eq!(error, NotUtf8 { valid_bytes: 2 });
        assert!(error.to_string().contains("byte 3"));
    }
}
