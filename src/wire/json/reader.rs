//! The pull reader. Nested values are checked, counted and skipped once, and handed over raw;
//! [`Reader::nested`] reads them again without counting.

use super::super::scan;
use super::error::{Excerpt, JsonError};
use super::number;
use super::text::Text;
use crate::limits;

const VALUE: &str = "looking for beginning of value";
const AFTER_NAME: &str = "after object key";
const AFTER_PAIR: &str = "after object key:value pair";
const AFTER_ELEMENT: &str = "after array element";
const DEPTH_WORDS: usize = limits::JSON_DEPTH_MAX.div_ceil(64);

/// One value. Arrays and objects are their raw text, brackets included, already checked.
#[derive(Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The digits as sent.
    Number(&'a str),
    /// A string.
    Text(Text<'a>),
    /// `[..]`.
    Array(&'a [u8]),
    /// `{..}`.
    Object(&'a [u8]),
}

/// Reads one JSON text from front to back.
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    strings_left: usize,
    /// Whether a value stands before the next separator of the open object or array.
    filled: bool,
    /// Whether the input ended inside a token (and not between two).
    torn: bool,
}

impl<'a> Reader<'a> {
    /// A reader over a whole body.
    #[inline]
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            at: 0,
            strings_left: limits::JSON_STRINGS_MAX,
            filled: false,
            torn: false,
        }
    }

    /// A reader inside a raw [`Value::Array`] or [`Value::Object`].
    #[inline]
    pub fn nested(raw: &'a [u8]) -> Self {
        Self {
            input: raw,
            at: 1,
            strings_left: usize::MAX,
            filled: false,
            torn: false,
        }
    }

    /// Opens the body: true for an object, false for no fields at all (empty, or `null`).
    #[inline]
    pub fn open(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                Ok(true)
            }
            None => Ok(false),
            Some(_) => {
                let kind = match self.value()? {
                    Value::Null => None,
                    Value::Bool(_) => Some("bool"),
                    Value::Number(_) => Some("number"),
                    Value::Text(_) => Some("string"),
                    Value::Array(_) | Value::Object(_) => Some("array"),
                };
                self.close()?;
                kind.map_or(Ok(false), |kind| Err(JsonError::NotAnObject(kind)))
            }
        }
    }

    /// The next name of the open object, its colon taken; `None` at the end. Then call [`Reader::value`].
    #[inline]
    pub fn name(&mut self) -> Result<Option<Text<'a>>, JsonError> {
        if self.separator(b'}', AFTER_PAIR)? {
            return Ok(None);
        }
        let (raw, escaped) = self.object_name()?;
        Ok(Some(Text::from_raw(raw, escaped)))
    }

    /// The next element of the open array; `None` at the end.
    #[inline]
    pub fn element(&mut self) -> Result<Option<Value<'a>>, JsonError> {
        if self.separator(b']', AFTER_ELEMENT)? {
            Ok(None)
        } else {
            self.value().map(Some)
        }
    }

    /// The value that stands next.
    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, JsonError> {
        let Some(byte) = self.peek() else {
            return Err(JsonError::Truncated);
        };
        self.filled = true;
        match byte {
            b'"' => {
                let (raw, escaped) = self.string()?;
                Ok(Value::Text(Text::from_raw(raw, escaped)))
            }
            b'{' | b'[' => {
                let from = self.at;
                self.skip_nested()?;
                let raw = self.input.get(from..self.at).unwrap_or_default();
                self.filled = true;
                Ok(if byte == b'{' {
                    Value::Object(raw)
                } else {
                    Value::Array(raw)
                })
            }
            _ => self.scalar(byte),
        }
    }

    /// Checks what follows the body: OpenBao reads it as more JSON, of which the last may be cut
    /// short between two tokens, and ignores it.
    #[inline]
    pub fn close(&mut self) -> Result<(), JsonError> {
        while self.peek().is_some() {
            match self.value() {
                Err(JsonError::Truncated) if !self.torn => return Ok(()),
                other => other.map(drop)?,
            }
        }
        Ok(())
    }

    /// The next byte that is no white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.input.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    #[cold]
    fn unexpected(&self, place: &'static str) -> JsonError {
        JsonError::Unexpected {
            found: self.excerpt(),
            place,
        }
    }

    fn excerpt(&self) -> Excerpt {
        Excerpt::of(self.input.get(self.at..).unwrap_or_default())
    }

    #[cold]
    fn torn(&mut self) -> JsonError {
        self.torn = true;
        JsonError::Truncated
    }

    /// Takes what stands between two values, or `close`: true when it was `close`.
    #[inline]
    fn separator(&mut self, close: u8, after: &'static str) -> Result<bool, JsonError> {
        let Some(byte) = self.peek() else {
            return Err(JsonError::Truncated);
        };
        if byte == close {
            self.at += 1;
            self.filled = true;
            return Ok(true);
        }
        if !self.filled {
            return Ok(false);
        }
        if byte != b',' {
            return Err(self.unexpected(after));
        }
        let comma = self.at;
        self.at += 1;
        if let Some(b'}' | b']') = self.peek() {
            self.at = comma;
            return Err(self.unexpected(VALUE));
        }
        self.filled = false;
        Ok(false)
    }

    /// A name and its colon. What may not follow the colon is refused here, where Go's words differ.
    #[inline]
    fn object_name(&mut self) -> Result<(&'a [u8], bool), JsonError> {
        match self.peek() {
            Some(b'"') => {}
            None => return Err(JsonError::Truncated),
            Some(b'{' | b'[') => return Err(JsonError::NameNotString),
            Some(byte) => return Err(self.scalar(byte).err().unwrap_or(JsonError::NameNotString)),
        }
        let name = self.string()?;
        match self.peek() {
            Some(b':') => self.at += 1,
            None => return Err(JsonError::Truncated),
            Some(_) => return Err(self.unexpected(AFTER_NAME)),
        }
        match self.peek() {
            Some(b'}') => Err(JsonError::MissingValue),
            Some(b']') => Err(self.unexpected(AFTER_PAIR)),
            _ => Ok(name),
        }
    }

    /// What stands between the quotes, and whether it holds escapes.
    #[inline]
    fn string(&mut self) -> Result<(&'a [u8], bool), JsonError> {
        self.strings_left = self
            .strings_left
            .checked_sub(1)
            .ok_or(JsonError::TooManyStrings)?;
        let from = self.at + 1;
        let mut escaped = false;
        self.at = from;
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            let Some(stop) = scan::find_string_stop(rest) else {
                return Err(self.torn());
            };
            self.at += stop;
            match rest.get(stop) {
                Some(b'"') => {
                    let raw = self.input.get(from..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok((raw, escaped));
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                _ => return Err(self.unexpected("in string")),
            }
        }
    }

    /// Steps over one escape sequence.
    fn escape(&mut self) -> Result<(), JsonError> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        match rest.get(1) {
            None => Err(self.torn()),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = rest.get(2..).unwrap_or_default().iter().take(4);
                if !digits.clone().all(u8::is_ascii_hexdigit) {
                    return Err(JsonError::Escape(self.excerpt()));
                }
                if digits.len() < 4 {
                    return Err(self.torn());
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => Err(JsonError::Escape(Excerpt::of(
                rest.get(..2).unwrap_or_default(),
            ))),
        }
    }

    /// A literal or a number.
    fn scalar(&mut self, byte: u8) -> Result<Value<'a>, JsonError> {
        match byte {
            b't' => self.literal("true").map(|()| Value::Bool(true)),
            b'f' => self.literal("false").map(|()| Value::Bool(false)),
            b'n' => self.literal("null").map(|()| Value::Null),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            _ => Err(self.unexpected(VALUE)),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        for expecting in word.chars() {
            match self.input.get(self.at) {
                None => return Err(self.torn()),
                Some(&byte) if char::from(byte) == expecting => self.at += 1,
                Some(_) => {
                    return Err(JsonError::Literal {
                        found: self.excerpt(),
                        word,
                        expecting,
                    });
                }
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let from = self.at;
        if self.input.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.input.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.input.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.input.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.input.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = self.input.get(from..self.at).unwrap_or_default();
        number::check_range(std::str::from_utf8(digits).unwrap_or_default())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while self.input.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.input.get(self.at) {
            _ if self.at > from => Ok(()),
            None => Err(self.torn()),
            Some(_) => Err(self.unexpected("in numeric literal")),
        }
    }

    /// Checks and steps over an array or object, however deep, without recursion: one bit a level.
    fn skip_nested(&mut self) -> Result<(), JsonError> {
        let mut objects = [0u64; DEPTH_WORDS];
        let mut depth = 0usize;
        loop {
            let next = self.peek();
            if let Some(open @ (b'{' | b'[')) = next {
                let word = objects.get_mut(depth / 64).ok_or(JsonError::TooDeep)?;
                if depth == limits::JSON_DEPTH_MAX {
                    return Err(JsonError::TooDeep);
                }
                let bit = 1 << (depth % 64);
                *word = if open == b'{' {
                    *word | bit
                } else {
                    *word & !bit
                };
                depth += 1;
                self.at += 1;
                self.filled = false;
            } else if next == Some(b'"') {
                self.string()?;
                self.filled = true;
            } else {
                self.value()?;
            }
            loop {
                let Some(level) = depth.checked_sub(1) else {
                    return Ok(());
                };
                let word = objects.get(level / 64).copied().unwrap_or(0);
                let in_object = word >> (level % 64) & 1 == 1;
                let (close, after) = if in_object {
                    (b'}', AFTER_PAIR)
                } else {
                    (b']', AFTER_ELEMENT)
                };
                if !self.separator(close, after)? {
                    if in_object {
                        self.object_name()?;
                    }
                    break;
                }
                depth = level;
            }
        }
    }
}
