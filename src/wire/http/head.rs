//! What request and response heads share: lines, fields, framing.

use std::ops::Range;

use super::super::scan;
use super::HttpError;
use crate::limits;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// No length was given.
    Absent,
    /// Content-Length.
    Length(usize),
    /// Chunked.
    Chunked,
}

/// Finds the empty line that ends a head. Remembers how far it looked.
#[derive(Debug, Default)]
pub struct HeadEnd {
    scanned: usize,
}

impl HeadEnd {
    /// The length of the head with its empty line; `None` while it is not whole.
    #[inline]
    pub fn find(&mut self, input: &[u8]) -> Result<Option<usize>, HttpError> {
        let window = input
            .get(..input.len().min(limits::HTTP_HEAD_BYTES_MAX))
            .unwrap_or(input);
        while let Some(found) = scan::find(window.get(self.scanned..).unwrap_or_default(), b'\n') {
            let next = self.scanned + found + 1;
            match window.get(next..) {
                Some([b'\n', ..]) => return Ok(Some(next + 1)),
                Some([b'\r', b'\n', ..]) => return Ok(Some(next + 2)),
                // The line end is looked at again when its successors have come.
                Some([] | [b'\r']) | None => {
                    self.scanned = next - 1;
                    return too_large(window);
                }
                Some(_) => self.scanned = next,
            }
        }
        self.scanned = window.len();
        too_large(window)
    }
}

fn too_large(window: &[u8]) -> Result<Option<usize>, HttpError> {
    if window.len() < limits::HTTP_HEAD_BYTES_MAX {
        Ok(None)
    } else {
        Err(HttpError::HeadTooLarge)
    }
}

/// The lines of a head, without their ends.
pub struct Lines<'a> {
    rest: &'a [u8],
    /// Bytes of the head before `rest`.
    at: usize,
}

impl<'a> Lines<'a> {
    /// Over `head`, which ends in an empty line.
    pub fn new(head: &'a [u8]) -> Self {
        Self { rest: head, at: 0 }
    }

    /// The next line and where it starts; an empty one at the end.
    #[inline]
    pub fn next(&mut self) -> (&'a [u8], usize) {
        let from = self.at;
        let end = scan::find(self.rest, b'\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest.get(1..).unwrap_or_default();
        self.at += end + 1;
        (line.strip_suffix(b"\r").unwrap_or(line), from)
    }
}

/// A character of a method or a header name.
#[inline]
pub const fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let extra = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < extra.len() {
            table[extra[at] as usize] = true;
            at += 1;
        }
        let mut byte = 0u8;
        while byte < 128 {
            table[byte as usize] |= byte.is_ascii_alphanumeric();
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// Splits a header line into its name and its value without surrounding white space.
#[inline]
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HttpError> {
    let Some(colon) = line.iter().position(|&byte| !is_token(byte)) else {
        return Err(HttpError::Malformed("header line without a colon"));
    };
    let (name, rest) = line.split_at_checked(colon).unwrap_or((line, &[]));
    match rest.first() {
        Some(b':') if !name.is_empty() => {}
        Some(b' ' | b'\t') if name.is_empty() => {
            return Err(HttpError::Malformed("folded header line"));
        }
        Some(b' ' | b'\t') => return Err(HttpError::Malformed("space in or after a header name")),
        _ => return Err(HttpError::Malformed("invalid header name")),
    }
    let value = rest.get(1..).unwrap_or_default();
    let mut unseen = value;
    while let Some(at) = scan::find_control(unseen) {
        if unseen.get(at) != Some(&b'\t') {
            return Err(HttpError::Malformed("control character in a header value"));
        }
        unseen = unseen.get(at + 1..).unwrap_or_default();
    }
    Ok((name, trim(value)))
}

/// Without spaces and tabs around.
#[inline]
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The fields that matter in both directions, collected header by header.
#[derive(Debug, Default)]
pub struct Common {
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    count: usize,
}

impl Common {
    /// Counts the header against the limit.
    #[inline]
    pub fn count(&mut self) -> Result<(), HttpError> {
        self.count += 1;
        if self.count > limits::HTTP_HEADERS_MAX {
            Err(HttpError::HeadTooLarge)
        } else {
            Ok(())
        }
    }

    /// `Content-Length`. The same value twice is one value; a list is refused.
    pub fn content_length(&mut self, value: &[u8]) -> Result<(), HttpError> {
        let bad = HttpError::Malformed("bad Content-Length");
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad);
        }
        let length = value.iter().fold(0usize, |sum, &digit| {
            sum.saturating_mul(10)
                .saturating_add(usize::from(digit - b'0'))
        });
        match self.length.replace(length) {
            Some(before) if before != length => {
                Err(HttpError::Malformed("differing Content-Length"))
            }
            _ => Ok(()),
        }
    }

    /// `Transfer-Encoding`: chunked, once.
    pub fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HttpError> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(HttpError::Malformed("more than one Transfer-Encoding"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            Ok(())
        } else {
            Err(HttpError::TransferCoding)
        }
    }

    /// `Connection`: a list of options.
    pub fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(trim) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// How the body is delimited.
    pub fn framing(&self, http_1_1: bool) -> Result<Framing, HttpError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(HttpError::Malformed(
                "both Transfer-Encoding and Content-Length",
            )),
            (true, None) if !http_1_1 => Err(HttpError::Malformed("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::Absent),
        }
    }

    /// Whether the connection may be used again.
    pub const fn persists(&self, http_1_1: bool) -> bool {
        !self.close && (http_1_1 || self.keep_alive)
    }
}

/// `HTTP/1.1` is true, `HTTP/1.0` false.
#[inline]
pub fn version(text: &[u8]) -> Result<bool, HttpError> {
    match text {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HttpError::Version)
        }
        _ => Err(HttpError::Malformed("no HTTP version in the first line")),
    }
}

/// The slice of `input` that `range` names, as text; empty where it is none.
#[inline]
pub fn text<'a>(input: &'a [u8], range: &Range<usize>) -> &'a str {
    input
        .get(range.clone())
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}
