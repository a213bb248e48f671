//! Units, and numbers as people read them.

/// What a number counts or measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Things, by their plural.
    Count(&'static str),
    /// Things a second, by their plural.
    PerSecond(&'static str),
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Bytes.
    Bytes,
    /// From 0 to 1; shown as a percentage.
    Share,
    /// Percent.
    Percent,
    /// A plain number.
    Factor,
}

impl Unit {
    /// Behind the number.
    pub fn suffix(self) -> String {
        match self {
            Self::Count(things) => format!(" {things}"),
            Self::PerSecond(things) => format!(" {things}/s"),
            Self::Seconds => " s".into(),
            Self::Millis => " ms".into(),
            Self::Micros => " us".into(),
            Self::Bytes => " bytes".into(),
            Self::Share | Self::Percent => " %".into(),
            Self::Factor => String::new(),
        }
    }

    /// `value` with its unit.
    pub fn show(self, value: f64) -> String {
        let shown = if self == Self::Share {
            value * 100.0
        } else {
            value
        };
        let number = number(shown);
        // An infinite number has no unit.
        if value.is_finite() {
            number + &self.suffix()
        } else {
            number
        }
    }

    /// A name of the unit for machines.
    pub fn name(self) -> String {
        match self {
            Self::Share => "share".into(),
            Self::Factor => "factor".into(),
            other => other.suffix().trim_start().to_owned(),
        }
    }
}

/// Digits that people read: four that count, thousands apart.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "none".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "no end" } else { "none" }.into();
    }
    let size = value.abs();
    let decimals = match size {
        _ if size >= 1000.0 || size == 0.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 1.0 => 3,
        _ if size >= 0.1 => 4,
        _ => 5,
    };
    if size < 1e-12 {
        return "0".into();
    }
    if size < 1e-4 {
        return format!("{value:.3e}");
    }
    let plain = format!("{value:.decimals$}");
    let plain = if plain.contains('.') {
        plain.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        plain
    };
    grouped(&plain)
}

/// 1234567 is 1 234 567.
fn grouped(plain: &str) -> String {
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        let behind = digits.len() - at;
        if at > 0 && behind.is_multiple_of(3) && digits.len() > 4 {
            text.push(' ');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (0.031_25, "0.03125"),
            (12.345, "12.35"),
            (999.96, "1000"),
            (1234.5, "1234"),
            (12_345.0, "12 345"),
            (-1_234_567.0, "-1 234 567"),
            (0.000_012, "1.200e-5"),
            (1e-104, "0"),
            (f64::INFINITY, "no end"),
            (f64::NAN, "none"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
        assert_eq!(Unit::Share.show(0.964), "96.4 %");
        assert_eq!(
            Unit::PerSecond("requests").show(20_000.0),
            "20 000 requests/s"
        );
        assert_eq!(Unit::Count("keys").name(), "keys");
    }
}
