//! Byte searches eight bytes at a time. Safe code; the compiler unrolls it.
//!
//! Must never be true: a result past the end of the haystack. Called by the HTTP, JSON and TTLV decoders.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// High bits of the bytes of `word` that are zero; the lowest set bit is exact, higher ones may lie.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

#[inline]
fn first(mask: u64) -> usize {
    (mask.trailing_zeros() / 8) as usize
}

/// Position of the first `needle`.
#[inline]
pub fn find(haystack: &[u8], needle: u8) -> Option<usize> {
    let pattern = LOW * u64::from(needle);
    let mut at = 0;
    let mut rest = haystack;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let mask = zeros(u64::from_le_bytes(*word) ^ pattern);
        if mask != 0 {
            return Some(at + first(mask));
        }
        at += 8;
        rest = tail;
    }
    rest.iter()
        .position(|&byte| byte == needle)
        .map(|found| at + found)
}

/// Position of the first byte that ends or complicates a JSON string: a quote, a backslash, or a
/// control character.
#[inline]
pub fn find_string_stop(haystack: &[u8]) -> Option<usize> {
    let quote = LOW * u64::from(b'"');
    let slash = LOW * u64::from(b'\\');
    let mut at = 0;
    let mut rest = haystack;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let mask = zeros(word ^ quote) | zeros(word ^ slash) | control;
        if mask != 0 {
            return Some(at + first(mask));
        }
        at += 8;
        rest = tail;
    }
    rest.iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
        .map(|found| at + found)
}

/// Position of the first control character: below a space, or DEL. A tab counts.
#[inline]
pub fn find_control(haystack: &[u8]) -> Option<usize> {
    let delete = LOW * 0x7f;
    find_by(
        haystack,
        |word| (word.wrapping_sub(LOW * 0x20) & !word & HIGH) | zeros(word ^ delete),
        |byte| byte.is_ascii_control(),
    )
}

/// Position of the first byte that is no visible ASCII character.
#[inline]
pub fn find_invisible(haystack: &[u8]) -> Option<usize> {
    let delete = LOW * 0x7f;
    find_by(
        haystack,
        |word| {
            (word.wrapping_sub(LOW * 0x21) & !word & HIGH) | zeros(word ^ delete) | (word & HIGH)
        },
        |byte| !byte.is_ascii_graphic(),
    )
}

/// Finds by `mask`, of whose set high bits the lowest is exact, and in what is left over by `is`.
#[inline]
fn find_by(haystack: &[u8], mask: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = 0;
    let mut rest = haystack;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let mask = mask(u64::from_le_bytes(*word));
        if mask != 0 {
            return Some(at + first(mask));
        }
        at += 8;
        rest = tail;
    }
    rest.iter()
        .position(|&byte| is(byte))
        .map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_plain_loops_at_every_alignment() {
        for special in [b'"', b'\\', b'\n', 0x1f, 0x20, 0x7f, 0x80, 0xff] {
            for len in 0..27 {
                for place in 0..len {
                    let mut text = vec![b'!'; len];
                    text[place] = special;
                    let stop = text
                        .iter()
                        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
                    assert_eq!(
                        find_string_stop(&text),
                        stop,
                        "{special} at {place} of {len}"
                    );
                    assert_eq!(
                        find(&text, special),
                        Some(place),
                        "{special} at {place} of {len}"
                    );
                    assert_eq!(find(&text, b'~'), None);
                    let control = text.iter().position(u8::is_ascii_control);
                    assert_eq!(
                        find_control(&text),
                        control,
                        "{special} at {place} of {len}"
                    );
                    let invisible = text.iter().position(|byte| !byte.is_ascii_graphic());
                    assert_eq!(
                        find_invisible(&text),
                        invisible,
                        "{special} at {place} of {len}"
                    );
                }
            }
        }
    }
}
