//! Prepared requests with what their answers must hold, in one allocation each for a million of them.

use std::ops::Range;

/// One prepared request and its expected answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exchange<'a> {
    /// Head and body, as sent.
    pub request: &'a [u8],
    /// Must stand somewhere in the body of the answer; empty accepts any body.
    pub expected: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Span {
    at: usize,
    request_bytes: usize,
    expected_bytes: usize,
}

/// A list of [`Exchange`]s.
#[derive(Clone, Debug, Default)]
pub struct Exchanges {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Exchanges {
    /// Appends one.
    pub fn push(&mut self, request: &[u8], expected: &[u8]) {
        self.spans.push(Span {
            at: self.bytes.len(),
            request_bytes: request.len(),
            expected_bytes: expected.len(),
        });
        self.bytes.extend_from_slice(request);
        self.bytes.extend_from_slice(expected);
    }

    /// The one at `index`.
    pub fn get(&self, index: usize) -> Option<Exchange<'_>> {
        let span = self.spans.get(index)?;
        let part = |range: Range<usize>| self.bytes.get(range);
        let end = span.at + span.request_bytes;
        Some(Exchange {
            request: part(span.at..end)?,
            expected: part(end..end + span.expected_bytes)?,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// Whether `expected` stands in `body`. `hint` is where it stood last time, looked at first: answers
/// of one server differ in little but the key.
pub fn holds(body: &[u8], expected: &[u8], hint: &mut usize) -> bool {
    let at_hint = body
        .get(*hint..)
        .is_some_and(|tail| tail.starts_with(expected));
    if at_hint {
        return true;
    }
    let found = body
        .windows(expected.len())
        .position(|part| part == expected);
    *hint = found.unwrap_or(*hint);
    found.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_pushed_is_given_back() {
        let mut list = Exchanges::default();
        assert!(list.is_empty());
        list.push(b"GET a", b"answer a");
        list.push(b"GET bb", b"");
        assert_eq!(list.len(), 2);
        let first = list.get(0).unwrap();
        assert_eq!(
            (first.request, first.expected),
            (&b"GET a"[..], &b"answer a"[..])
        );
        let second = list.get(1).unwrap();
        assert_eq!(
            (second.request, second.expected),
            (&b"GET bb"[..], &b""[..])
        );
        assert_eq!(list.get(2), None);
    }

    #[test]
    fn expected_bytes_are_found_wherever_they_stand() {
        for (name, body, expected, hint, want, hint_after) in [
            ("at the hint", &b"xxkey"[..], &b"key"[..], 2, true, 2),
            ("elsewhere", b"xkeyx", b"key", 2, true, 1),
            ("hint beyond the body", b"key", b"key", 99, true, 0),
            ("absent", b"xxkez", b"key", 2, false, 2),
            ("longer than the body", b"ke", b"key", 0, false, 0),
        ] {
            let mut at = hint;
            assert_eq!(holds(body, expected, &mut at), want, "{name}");
            assert_eq!(at, hint_after, "{name}");
        }
        assert!(holds(b"anything", b"", &mut 0), "nothing expected");
    }
}
