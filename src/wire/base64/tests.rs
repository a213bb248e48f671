#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

fn decoded(text: &str) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0xee; decoded_len_max(text.len())];
    let written = decode(text.as_bytes(), &mut out)?;
    out.truncate(written);
    Ok(out)
}

#[test]
fn texts_that_go_accepts() {
    for (name, text, want) in [
        ("empty", "", &b""[..]),
        ("three", "aGlo", b"hih"),
        ("one pad", "aGk=", b"hi"),
        ("two pads", "aA==", b"h"),
        ("line feed inside", "aGVs\nbG8=", b"hello"),
        ("carriage returns everywhere", "\r\na\rG\nk\r=\r\n", b"hi"),
        ("line feed between the pads", "aA=\n=\n", b"h"),
        ("only line feeds", "\n\r\n", b""),
        ("bits left over", "aH==", b"h"),
        ("bits left over with a line feed", "aH==\n", b"h"),
    ] {
        assert_eq!(decoded(text).unwrap(), want, "{name}");
    }
}

#[test]
fn offsets_that_go_reports() {
    for (name, text, at) in [
        ("a space", "not base64!!", 3),
        ("no padding", "aGVsbG8", 4),
        ("url-safe alphabet", "_-8=", 0),
        ("two bangs", "!!", 0),
        ("one character", "a", 0),
        ("two characters", "aG", 0),
        ("half of the padding", "aA=", 3),
        ("half of the padding and a line feed", "aA=\n", 4),
        ("pad first", "=", 0),
        ("pad second", "a=", 1),
        ("letter after the first of two pads", "aA=b", 2),
        ("letter after a line feed after a pad", "aA=\nb", 3),
        ("text after the padding", "aGk=aGk=", 4),
        ("third pad", "aGk==", 4),
        ("comma after the padding", "aGk=,!!", 4),
        ("line feed, then text after the padding", "aGk=\nx", 5),
        ("short last quantum with a line feed in it", "aGVsb\nG", 5),
        ("not ASCII", "aGk\u{fffd}", 3),
        ("number", "12345678901234567890123", 20),
    ] {
        assert_eq!(decoded(text), Err(DecodeError::Corrupt(at)), "{name}");
    }
}

#[test]
fn a_short_slice_is_an_error_and_never_a_panic() {
    for len in 0..5 {
        assert_eq!(
            decode(b"aGVs\nbG8=", &mut vec![0; len]),
            Err(DecodeError::OutputTooShort),
            "{len}"
        );
        assert_eq!(
            decode(b"aGVsbG8=", &mut vec![0; len]),
            Err(DecodeError::OutputTooShort),
            "{len}"
        );
    }
    assert_eq!(decode(b"aGVsbG8=", &mut [0; 5]), Ok(5));
    assert_eq!(encode(b"hello", &mut [0; 7]), None);
}

#[test]
fn the_error_reads_as_gos() {
    assert_eq!(
        DecodeError::Corrupt(3).to_string(),
        "illegal base64 data at input byte 3"
    );
}

proptest! {
    #[test]
    fn round_trip_and_agreement_with_the_base64_crate(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut text = Vec::new();
        put(&mut text, &bytes);
        prop_assert_eq!(&text, &BASE64_STANDARD.encode(&bytes).into_bytes());
        prop_assert_eq!(text.len(), encoded_len(bytes.len()));
        let mut out = vec![0; decoded_len_max(text.len())];
        let written = decode(&text, &mut out).unwrap();
        prop_assert_eq!(&out[..written], &bytes[..]);
    }

    #[test]
    fn the_slow_path_agrees_with_the_fast_one(text in "[A-Za-z0-9+/=\n!]{0,40}") {
        let mut slow = [0; 64];
        let mut fast = [0; 64];
        let a = decode_slowly(text.as_bytes(), &mut slow).map(|n| slow[..n].to_vec());
        let b = decode(text.as_bytes(), &mut fast).map(|n| fast[..n].to_vec());
        prop_assert_eq!(a, b);
    }
}
