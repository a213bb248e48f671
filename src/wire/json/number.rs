//! The range of numbers: OpenBao reads every one as a float64 too, and refuses what is none.

use super::error::JsonError;

/// Digits of the longest number that no digits can carry beyond a float64.
const DIGITS_SAFE: usize = 308;

/// The number that an error shows, or its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NumberText {
    bytes: [u8; 22],
    len: u8,
}

impl NumberText {
    /// The first 22 characters of `digits`, which are ASCII.
    fn of(digits: &str) -> Self {
        let mut bytes = [0; 22];
        let mut len = 0;
        for (place, byte) in bytes.iter_mut().zip(digits.bytes()) {
            *place = byte;
            len += 1;
        }
        Self { bytes, len }
    }

    pub(super) fn text(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// Gives back a number that is none beyond float64.
#[inline]
pub(super) fn check_range(digits: &str) -> Result<&str, JsonError> {
    if digits.len() > DIGITS_SAFE || digits.contains(['e', 'E']) {
        finite(digits)
    } else {
        Ok(digits)
    }
}

#[cold]
fn finite(digits: &str) -> Result<&str, JsonError> {
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(digits),
        _ => Err(JsonError::NumberTooLarge(NumberText::of(digits))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_float64s() {
        let long = "9".repeat(400);
        for (digits, good) in [
            ("0", true),
            ("-1.5e3", true),
            ("1e308", true),
            ("1E400", false),
            ("-1e400", false),
            ("1e-400", true),
            (&long, false),
            (&long[..308], true),
        ] {
            assert_eq!(check_range(digits).is_ok(), good, "{digits}");
        }
        let error = check_range("1e400").map_err(|error| error.to_string());
        let text = "failed to decode JSON input: json: cannot unmarshal number 1e400 into Go value of type float64";
        assert_eq!(error, Err(text.to_owned()));
    }
}
