//! Strings as Go's `encoding/json` writes them by default, HTML characters escaped.

use super::super::Out;

/// Writes `text` between quotes.
pub fn put_string<O: Out + ?Sized>(out: &mut O, text: &str) {
    out.put(b"\"");
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let special = is_special(byte) && (byte != 0xe2 || is_line_separator(bytes, at));
        if !special {
            at += 1;
            continue;
        }
        out.put(bytes.get(plain_from..at).unwrap_or_default());
        at += put_escape(out, bytes, at, byte);
        plain_from = at;
    }
    out.put(bytes.get(plain_from..).unwrap_or_default());
    out.put(b"\"");
}

#[inline]
const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// U+2028 and U+2029, which JavaScript takes for line ends.
fn is_line_separator(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9]))
}

/// Returns the bytes of input that the escape stands for.
fn put_escape<O: Out + ?Sized>(out: &mut O, bytes: &[u8], at: usize, byte: u8) -> usize {
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        0x08 => out.put(b"\\b"),
        0x0c => out.put(b"\\f"),
        0xe2 => {
            out.put(if bytes.get(at + 2) == Some(&0xa8) {
                b"\\u2028"
            } else {
                b"\\u2029"
            });
            return 3;
        }
        _ => {
            let digit = |nibble: u8| {
                if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                }
            };
            out.put(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    1
}
