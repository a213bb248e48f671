//! The path of a request as Go's server and its mux read it: percent-decoded once, and never walked
//! up with dots.
//!
//! Must never be true: a path that reaches routing with an escape left in it that means something
//! else when read again; an allocation for a path without percent sign, dot segment or empty segment.

/// What became of a request's path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PathForm {
    /// As sent: nothing to decode, no empty and no dot segment.
    #[default]
    Plain,
    /// Percent-decoded. An escaped `/` or `.` now looks like a plain one. What is no UTF-8 when
    /// decoded, or has an escaped `/` in its first segment, stands as it was sent.
    Decoded,
    /// As sent; empty or dot segments: the client is sent to [`clean_path`].
    Unclean,
    /// As sent; a percent sign without two hexadecimal digits.
    BadEscape,
    /// As sent; decodes to a control character or another that cannot be printed.
    Unprintable,
}

/// Whether the path needs [`settle`].
#[inline]
pub(super) fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    !path.iter().any(|&byte| {
        let odd = byte == b'%' || (after_slash && matches!(byte, b'/' | b'.'));
        after_slash = byte == b'/';
        odd
    })
}

/// Decodes `path` in place; returns its form and its new length.
#[cold]
pub(super) fn settle(path: &mut [u8]) -> (PathForm, usize) {
    let whole = path.len();
    let Some(decoded) = percent_decode(path) else {
        return (PathForm::BadEscape, whole);
    };
    let printable = decoded
        .utf8_chunks()
        .all(|chunk| chunk.valid().chars().all(is_printable));
    if !printable {
        return (PathForm::Unprintable, whole);
    }
    if has_odd_segment(path) {
        return (PathForm::Unclean, whole);
    }
    if decoded.len() == whole {
        return (PathForm::Plain, whole);
    }
    let within_first = path.get(1..).unwrap_or_default();
    let first = within_first.split(|&byte| byte == b'/').next();
    if first.is_some_and(|first| first.to_ascii_lowercase().windows(3).any(|w| w == b"%2f")) {
        // Go's mux takes such a segment for one.
        return (PathForm::Decoded, whole);
    }
    match path.get_mut(..decoded.len()) {
        Some(front) if std::str::from_utf8(&decoded).is_ok() => {
            front.copy_from_slice(&decoded);
            (PathForm::Decoded, decoded.len())
        }
        _ => (PathForm::Decoded, whole),
    }
}

/// Bytes of `text` with its escapes replaced; `None` where one is malformed.
pub fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = tail.split_first_chunk::<2>()?;
        rest = after;
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Go's `unicode.IsPrint`, near enough: of the white space only the space is printable.
fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        _ => !character.is_whitespace() && !character.escape_debug().to_string().starts_with("\\u"),
    }
}

/// An empty segment other than the last, or `.` or `..`.
fn has_odd_segment(path: &[u8]) -> bool {
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if is_dots(segment) || (segment.is_empty() && segments.peek().is_some()) {
            return true;
        }
    }
    false
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// Whether a decoded path holds a `.` or `..` segment, which no request may.
pub fn has_dot_segment(path: &str) -> bool {
    path.as_bytes().split(|&byte| byte == b'/').any(is_dots)
}

/// `path` without empty and dot segments, escapes kept; a slash at the end stays.
pub fn clean_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut clean = String::with_capacity(path.len() + 1);
    for segment in &kept {
        clean.push('/');
        put_escaped(&mut clean, segment);
    }
    // Go's mux has these two as directories.
    if clean.is_empty() || path.ends_with('/') || matches!(clean.as_str(), "/v1" | "/v1/sys") {
        clean.push('/');
    }
    clean
}

/// Writes a segment as a URL may hold it. Only what RFC 3986 forbids there is escaped; the rest,
/// escapes included, stands as sent.
fn put_escaped(out: &mut String, segment: &str) {
    for character in segment.chars() {
        match character {
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            '"' => out.push_str("%22"),
            '\\' => out.push_str("%5C"),
            '^' => out.push_str("%5E"),
            '`' => out.push_str("%60"),
            '{' => out.push_str("%7B"),
            '|' => out.push_str("%7C"),
            '}' => out.push_str("%7D"),
            '#' => out.push_str("%23"),
            other => out.push(other),
        }
    }
}
