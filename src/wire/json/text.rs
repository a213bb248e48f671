//! Strings of a JSON text: borrowed when they hold no escape, else unescaped into a wiped copy.

use std::fmt;

use zeroize::Zeroizing;

/// A string as it stood in the JSON, unescaped. The owned form is wiped, for it may hold a secret.
pub enum Text<'a> {
    /// No escapes: the input's own bytes.
    Borrowed(&'a str),
    /// Escapes or invalid UTF-8 were replaced.
    Unescaped(Zeroizing<String>),
}

impl<'a> Text<'a> {
    /// The unescaped characters.
    #[inline]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Unescaped(text) => text,
        }
    }

    /// From what stands between the quotes; the escapes in it were checked.
    #[inline]
    pub(super) fn from_raw(raw: &'a [u8], escaped: bool) -> Self {
        match std::str::from_utf8(raw) {
            Ok(text) if !escaped => Self::Borrowed(text),
            Ok(_) => Self::Unescaped(unescape(raw, raw.len())),
            Err(_) => Self::Unescaped(unescape(raw, raw.len() * 3)),
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

/// `capacity` covers the result, so that no half-filled copy is left behind by a reallocation.
fn unescape(raw: &[u8], capacity: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    let mut rest = raw;
    while !rest.is_empty() {
        let plain = super::super::scan::find(rest, b'\\').unwrap_or(rest.len());
        let (before, after) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        for chunk in before.utf8_chunks() {
            text.push_str(chunk.valid());
            for _ in chunk.invalid() {
                text.push('\u{fffd}');
            }
        }
        rest = escape(after, &mut text);
    }
    text
}

/// Takes one escape sequence off the front of `input`.
fn escape<'i>(input: &'i [u8], text: &mut String) -> &'i [u8] {
    let Some((&[_, kind], rest)) = input.split_first_chunk::<2>() else {
        return &[];
    };
    text.push(match kind {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(rest, text),
        other => char::from(other),
    });
    rest
}

fn unicode_escape<'i>(input: &'i [u8], text: &mut String) -> &'i [u8] {
    let Some((digits, rest)) = input.split_first_chunk::<4>() else {
        return &[];
    };
    let unit = hex4(*digits);
    if (0xd800..0xdc00).contains(&unit)
        && let Some((&[b'\\', b'u', a, b, c, d], after)) = rest.split_first_chunk::<6>()
    {
        let low = hex4([a, b, c, d]);
        if (0xdc00..0xe000).contains(&low) {
            let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            return after;
        }
    }
    text.push(char::from_u32(unit).unwrap_or('\u{fffd}'));
    rest
}

fn hex4(digits: [u8; 4]) -> u32 {
    digits.iter().fold(0, |value, &digit| {
        value << 4 | char::from(digit).to_digit(16).unwrap_or(0)
    })
}
