//! A reader of DER's outer shape: tags, definite lengths, small integers, object identifiers.
//!
//! Only for looking ahead (is there a MAC, which cipher is it, when is a list due) and for the one structure of JKS.
//! Must never be true: an allocation from a length field, a read past the input.
//! Called by `chain`, `jks`, `protector`, `pkcs12_peek` and `revocation`.

use std::fmt::Write;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DerFault {
    /// A length points past the end.
    Truncated,
    /// BER's indefinite length or a string in pieces: not DER.
    Ber,
    /// A tag or length of another kind than expected.
    Malformed,
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OCTET_STRING_IN_PIECES: u8 = 0x24;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const CONTEXT_0: u8 = 0xa0;

/// The bytes not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// True when nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag that comes next, if any.
    pub(super) fn peek_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next item: its tag and its content.
    pub(super) fn item(&mut self) -> Result<(u8, &'a [u8]), DerFault> {
        let (&tag, rest) = self.0.split_first().ok_or(DerFault::Truncated)?;
        let (&first, mut rest) = rest.split_first().ok_or(DerFault::Truncated)?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x80 => return Err(DerFault::Ber),
            0x81..=0x84 => {
                let (bytes, after) = rest
                    .split_at_checked(usize::from(first & 0x7f))
                    .ok_or(DerFault::Truncated)?;
                rest = after;
                bytes
                    .iter()
                    .fold(0usize, |length, &byte| length << 8 | usize::from(byte))
            }
            _ => return Err(DerFault::Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(DerFault::Truncated)?;
        self.0 = rest;
        Ok((tag, content))
    }

    /// Takes the next item: its tag, and all of it with tag and length.
    pub(super) fn whole(&mut self) -> Result<(u8, &'a [u8]), DerFault> {
        let before = self.0;
        let (tag, _) = self.item()?;
        let length = before.len() - self.0.len();
        Ok((tag, before.get(..length).unwrap_or_default()))
    }

    /// Takes the next item, which must have `tag`.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], DerFault> {
        match self.item()? {
            (found, content) if found == tag => Ok(content),
            (OCTET_STRING_IN_PIECES, _) if tag == OCTET_STRING => Err(DerFault::Ber),
            _ => Err(DerFault::Malformed),
        }
    }

    /// Takes the next item, which must be a SEQUENCE, and gives its inside.
    pub(super) fn sequence(&mut self) -> Result<Der<'a>, DerFault> {
        self.expect(SEQUENCE).map(Der)
    }

    /// Takes an INTEGER from 0 to 2^32 - 1.
    pub(super) fn unsigned(&mut self) -> Result<u32, DerFault> {
        let bytes = self.expect(INTEGER)?;
        let (&first, _) = bytes.split_first().ok_or(DerFault::Malformed)?;
        if first & 0x80 != 0 || bytes.len() > 5 || (bytes.len() == 5 && first != 0) {
            return Err(DerFault::Malformed);
        }
        Ok(bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
}

/// An object identifier's content in dotted form; nonsense stays nonsense but never fails.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut text = String::new();
    let mut arc: u64 = 0;
    let mut first = true;
    for &byte in oid.iter().take(64) {
        arc = arc
            .saturating_mul(128)
            .saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let top = (arc / 40).min(2);
            let _ = write!(text, "{top}.{}", arc - top * 40);
            first = false;
        } else {
            let _ = write!(text, ".{arc}");
        }
        arc = 0;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_inside_the_input() {
        for (name, bytes, want) in [
            ("short form", &[0x04, 1, 9][..], Ok((4, &[9][..]))),
            ("long form", &[0x04, 0x81, 1, 9], Ok((4, &[9][..]))),
            ("nothing", &[], Err(DerFault::Truncated)),
            ("no length", &[0x04], Err(DerFault::Truncated)),
            (
                "length past the end",
                &[0x04, 2, 9],
                Err(DerFault::Truncated),
            ),
            (
                "4 GiB",
                &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 9],
                Err(DerFault::Truncated),
            ),
            (
                "five length bytes",
                &[0x04, 0x85, 0, 0, 0, 0, 1, 9],
                Err(DerFault::Malformed),
            ),
            ("indefinite", &[0x30, 0x80, 0, 0], Err(DerFault::Ber)),
        ] {
            assert_eq!(Der(bytes).item(), want, "{name}");
        }
    }

    #[test]
    fn integers_fit_or_are_refused() {
        for (name, bytes, want) in [
            ("zero", &[2, 1, 0][..], Ok(0)),
            ("200000", &[2, 3, 0x03, 0x0d, 0x40], Ok(200_000)),
            ("highest", &[2, 5, 0, 0xff, 0xff, 0xff, 0xff], Ok(u32::MAX)),
            ("negative", &[2, 1, 0xff], Err(DerFault::Malformed)),
            ("empty", &[2, 0], Err(DerFault::Malformed)),
            (
                "too large",
                &[2, 5, 1, 0, 0, 0, 0],
                Err(DerFault::Malformed),
            ),
        ] {
            assert_eq!(Der(bytes).unsigned(), want, "{name}");
        }
    }

    #[test]
    fn object_identifiers_are_dotted() {
        for (bytes, want) in [
            (
                &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07][..],
                "1.2.840.113549.3.7",
            ),
            (&[0x60, 0x86, 0x48, 0x01], "2.16.840.1"),
            (&[], ""),
        ] {
            assert_eq!(dotted(bytes), want);
        }
    }
}
