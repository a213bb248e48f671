//! The Prometheus text exposition format, version 0.0.4: families, samples, histograms.
//!
//! Must never be true: a sample without its family's HELP and TYPE before it; a label's value that is not escaped; a
//! histogram whose count is not that of its last bucket.

use std::fmt::{Display, Write};

use crate::metrics::Seen;

/// What a family's values are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// How a histogram's whole numbers are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    /// Nanoseconds, as seconds.
    Seconds,
    /// As they are.
    Items,
}

/// Names and values of a sample's labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Text of families, one after the other.
pub(super) struct Text {
    text: String,
    /// Whose samples come now.
    family: &'static str,
}

// Writing to a String cannot fail.
impl Text {
    pub(super) fn new() -> Self {
        Self {
            text: String::with_capacity(32 * 1024),
            family: "",
        }
    }

    /// Begins a family. `help` is one line without backslashes.
    pub(super) fn family(&mut self, name: &'static str, of: Type, help: &'static str) {
        let of = match of {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.family = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {of}");
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.put("", labels, None, value);
    }

    /// A family of one sample.
    pub(super) fn one(
        &mut self,
        name: &'static str,
        of: Type,
        help: &'static str,
        value: impl Display,
    ) {
        self.family(name, of, help);
        self.sample(&[], value);
    }

    /// One histogram of the family.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, seen: &Seen, unit: Unit) {
        let told = |number: u64| match unit {
            Unit::Seconds => seconds(number),
            Unit::Items => number.to_string(),
        };
        for (bound, count) in &seen.cumulative {
            self.put("_bucket", labels, Some(&told(*bound)), count);
        }
        self.put("_bucket", labels, Some("+Inf"), seen.count);
        self.put("_sum", labels, None, told(seen.sum));
        self.put("_count", labels, None, seen.count);
    }

    fn put(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut before = '{';
        for (name, value) in all {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Nanoseconds as seconds, to the last digit.
pub(super) fn seconds(ns: u64) -> String {
    const SECOND_NS: u64 = 1_000_000_000;
    let (whole, part) = (ns / SECOND_NS, ns % SECOND_NS);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::TimeHistogram;

    #[test]
    fn labels_are_escaped() {
        for (name, value, want) in [
            ("plain", "kmsServer", "kmsServer"),
            ("a quote", "a\"b", "a\\\"b"),
            ("a backslash", "a\\b", "a\\\\b"),
            ("a line feed", "a\nb", "a\\nb"),
            ("not ASCII", "schl\u{fc}ssel", "schl\u{fc}ssel"),
        ] {
            let mut text = Text::new();
            text.family("x", Type::Gauge, "X.");
            text.sample(&[("alias", value)], 1);
            let want = format!("# HELP x X.\n# TYPE x gauge\nx{{alias=\"{want}\"}} 1\n");
            assert_eq!(text.finish(), want, "{name}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let times = TimeHistogram::of_times();
        times.observe_time(Duration::from_micros(7));
        times.observe_time(Duration::from_secs(90));
        let mut text = Text::new();
        text.family("x_seconds", Type::Histogram, "X.");
        text.histogram(&[("kind", "hit")], &times.seen(), Unit::Seconds);
        let text = text.finish();
        for line in [
            "x_seconds_bucket{kind=\"hit\",le=\"0.000005\"} 0\n",
            "x_seconds_bucket{kind=\"hit\",le=\"0.00001\"} 1\n",
            "x_seconds_bucket{kind=\"hit\",le=\"10\"} 1\n",
            "x_seconds_bucket{kind=\"hit\",le=\"+Inf\"} 2\n",
            "x_seconds_sum{kind=\"hit\"} 90.000007\n",
            "x_seconds_count{kind=\"hit\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn seconds_are_told_to_the_last_digit() {
        for (ns, want) in [
            (0, "0"),
            (1, "0.000000001"),
            (5_000, "0.000005"),
            (1_500_000_000, "1.5"),
            (10_000_000_000, "10"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(ns), want);
        }
    }
}
