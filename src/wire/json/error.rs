//! Why JSON was refused, in the words of OpenBao 2.7 (Go 1.27).

use std::fmt::{self, Write as _};

use super::number::NumberText;

/// The bytes an error shows: one character, or an escape sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Excerpt {
    bytes: [u8; 6],
    len: u8,
}

impl Excerpt {
    /// The first six bytes of `input`, or all there are.
    pub(super) fn of(input: &[u8]) -> Self {
        let mut bytes = [0; 6];
        let mut len = 0;
        for (place, &byte) in bytes.iter_mut().zip(input) {
            *place = byte;
            len += 1;
        }
        Self { bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The first character, or the first byte where it is no UTF-8.
    fn first(self) -> Result<char, u8> {
        let bytes = self.bytes();
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|part| std::str::from_utf8(part).ok())
                .unwrap_or(""),
        };
        valid
            .chars()
            .next()
            .ok_or_else(|| bytes.first().copied().unwrap_or(0))
    }
}

/// Why a body is no acceptable JSON. All of them are the client's fault (400); `Display` is the
/// whole text of `errors[0]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JsonError {
    /// The input ends inside a value.
    Truncated,
    /// A character that cannot stand where it stands.
    Unexpected {
        /// The character.
        found: Excerpt,
        /// Go's name of the place.
        place: &'static str,
    },
    /// `true`, `false` or `null` misspelt.
    Literal {
        /// The wrong character.
        found: Excerpt,
        /// The word begun.
        word: &'static str,
        /// The right character.
        expecting: char,
    },
    /// `{"a":}`.
    MissingValue,
    /// `{1:2}`.
    NameNotString,
    /// An escape sequence that JSON does not have.
    Escape(Excerpt),
    /// The body is a value of this kind, not an object.
    NotAnObject(&'static str),
    /// A number beyond float64.
    NumberTooLarge(NumberText),
    /// Nested deeper than `limits::JSON_DEPTH_MAX`.
    TooDeep,
    /// More strings than `limits::JSON_STRINGS_MAX`.
    TooManyStrings,
}

impl std::error::Error for JsonError {}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::TooManyStrings {
            return f.write_str(
                "refused JSON input due to high complexity: exceeded maximum number of strings",
            );
        }
        f.write_str("failed to decode JSON input: ")?;
        match self {
            Self::Truncated => f.write_str("unexpected EOF"),
            Self::Unexpected { found, place } => {
                f.write_str("invalid character ")?;
                quote_first(f, *found)?;
                write!(f, " {place}")
            }
            Self::Literal {
                found,
                word,
                expecting,
            } => {
                f.write_str("invalid character ")?;
                quote_first(f, *found)?;
                write!(f, " in literal {word} (expecting '{expecting}')")
            }
            Self::MissingValue => f.write_str("missing value after object key"),
            Self::NameNotString => f.write_str("object member name must be a string"),
            Self::Escape(sequence) => quote_escape(f, *sequence),
            Self::NotAnObject(kind) => {
                write!(
                    f,
                    "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
                )
            }
            Self::NumberTooLarge(number) => {
                let number = number.text();
                write!(
                    f,
                    "json: cannot unmarshal number {number} into Go value of type float64"
                )
            }
            Self::TooDeep | Self::TooManyStrings => f.write_str("exceeded max depth"),
        }
    }
}

/// Go's `strconv.QuoteRune` of the first character.
fn quote_first(f: &mut fmt::Formatter<'_>, found: Excerpt) -> fmt::Result {
    f.write_char('\'')?;
    match found.first() {
        Ok('\'') => f.write_str("\\'")?,
        Ok(character) => escaped(f, character)?,
        Err(byte) => write!(f, "\\x{byte:02x}")?,
    }
    f.write_char('\'')
}

fn escaped(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\u{7}' => f.write_str("\\a"),
        '\u{8}' => f.write_str("\\b"),
        '\u{c}' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\u{b}' => f.write_str("\\v"),
        '\\' => f.write_str("\\\\"),
        ' '..='~' => f.write_char(character),
        '\0'..='\u{7f}' => write!(f, "\\x{:02x}", u32::from(character)),
        _ if is_printable(character) => f.write_char(character),
        '\u{80}'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(character)),
        _ => write!(f, "\\U{:08x}", u32::from(character)),
    }
}

fn is_printable(character: char) -> bool {
    !character.escape_debug().to_string().starts_with("\\u")
}

/// In back quotes, or double-quoted and escaped where those would mislead.
fn quote_escape(f: &mut fmt::Formatter<'_>, sequence: Excerpt) -> fmt::Result {
    f.write_str("invalid escape sequence ")?;
    match std::str::from_utf8(sequence.bytes()) {
        Ok(text)
            if text
                .chars()
                .all(|c| c != '`' && !c.is_whitespace() && !c.is_control() && is_printable(c)) =>
        {
            write!(f, "`{text}`")?;
        }
        _ => {
            f.write_char('"')?;
            for chunk in sequence.bytes().utf8_chunks() {
                for character in chunk.valid().chars() {
                    if character == '"' {
                        f.write_str("\\\"")?;
                    } else {
                        escaped(f, character)?;
                    }
                }
                for byte in chunk.invalid() {
                    write!(f, "\\x{byte:02x}")?;
                }
            }
            f.write_char('"')?;
        }
    }
    f.write_str(" in string")
}
