//! From text to [`Slo`]. Errors name the place: people write these by hand.

use std::fmt;
use std::str::FromStr;

use super::{Comparison, Metric, Point, Scope, Slo, Term};
use crate::results::Operation;

/// A text that is no SLO: where, and what would be right there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SloError {
    /// The whole text.
    pub text: String,
    /// Offset of the first character that is not understood, in characters.
    pub at: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

impl fmt::Display for SloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, at, what } = self;
        write!(f, "column {}: {what}\n  {text}\n  {:at$}^", at + 1, "")
    }
}

impl std::error::Error for SloError {}

/// Longer ones are somebody's mistake.
const TEXT_CHARS_MAX: usize = 1000;
const METRICS: &str = "p50, p99, p99.9 ..., mean, max, err, rate or hit";

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let chars: Vec<char> = text.chars().collect();
        let shown = chars
            .iter()
            .take(TEXT_CHARS_MAX)
            .map(|&c| if c.is_control() { '?' } else { c });
        let mut reader = Reader {
            shown: shown.collect(),
            chars,
            at: 0,
        };
        if reader.chars.len() > TEXT_CHARS_MAX {
            return Err(reader.error(
                TEXT_CHARS_MAX,
                format!("longer than {TEXT_CHARS_MAX} characters"),
            ));
        }
        let mut terms = Vec::new();
        loop {
            terms.push(reader.term()?);
            match reader.peek() {
                None => break,
                Some(',') => reader.at += 1,
                Some(other) => {
                    let what = format!("`{other}` where a comma or the end should be");
                    return Err(reader.error(reader.at, what));
                }
            }
        }
        let terms_text: Vec<_> = terms.iter().map(|term| term.text.as_str()).collect();
        Ok(Self {
            text: terms_text.join(","),
            terms,
        })
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    shown: String,
}

impl Reader {
    fn error(&self, at: usize, what: String) -> SloError {
        SloError {
            text: self.shown.clone(),
            at,
            what,
        }
    }

    /// The next character that is no blank, where it is.
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let taken: String = rest.iter().copied().take_while(|&c| wanted(c)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn term(&mut self) -> Result<Term, SloError> {
        self.peek();
        let begin = self.at;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let metric = self.metric(&name, begin)?;
        let comparison = self.comparison(&metric, &name)?;
        let limit = self.limit(&metric)?;
        let written = self.chars.get(begin..self.at).unwrap_or_default();
        let text = written.iter().filter(|c| !c.is_whitespace()).collect();
        Ok(Term {
            metric,
            comparison,
            limit,
            text,
        })
    }

    fn metric(&self, name: &str, begin: usize) -> Result<Metric, SloError> {
        match name {
            "" => {
                let found = self
                    .chars
                    .get(begin)
                    .map_or("the end".to_owned(), |c| format!("`{c}`"));
                return Err(self.error(
                    begin,
                    format!("{found} where a term should begin: {METRICS}"),
                ));
            }
            "err" => return Ok(Metric::ErrorRatio),
            "rate" => return Ok(Metric::Rate),
            "hit" => return Ok(Metric::HitRatio),
            _ => {}
        }
        // `p99.9` has a dot of its own, so the scope ends at the first dot that a point follows.
        if let Some(point) = self.point(name, begin)? {
            return Ok(Metric::Latency(Scope::All, point));
        }
        let Some((scope, rest)) = name.split_once('.') else {
            return Err(self.error(begin, format!("`{name}` is not measured; use {METRICS}")));
        };
        let rest_at = begin + scope.len() + 1;
        let Some(point) = self.point(rest, rest_at)? else {
            let what = format!("`{rest}` is no latency; use p50, p99, p99.9 ..., mean or max");
            return Err(self.error(rest_at, what));
        };
        let scope = if scope == "handshake" {
            Scope::Handshake
        } else {
            Scope::Operation(
                Operation::new(scope).map_err(|error| self.error(begin, error.to_string()))?,
            )
        };
        Ok(Metric::Latency(scope, point))
    }

    /// `p99.9`, `mean`, `max`; none when the word is another.
    fn point(&self, word: &str, at: usize) -> Result<Option<Point>, SloError> {
        match word {
            "mean" => return Ok(Some(Point::Mean)),
            "max" => return Ok(Some(Point::Max)),
            _ => {}
        }
        let Some(digits) = word.strip_prefix('p') else {
            return Ok(None);
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        // `99.9e-2` is 0.999 to the last bit, 99.9 / 100 is not.
        match format!("{digits}e-2").parse::<f64>() {
            Ok(quantile) if quantile > 0.0 && quantile < 1.0 => Ok(Some(Point::Quantile(quantile))),
            _ => Err(self.error(
                at + 1,
                format!("`{digits}` is no percentile between 0 and 100"),
            )),
        }
    }

    fn comparison(&mut self, metric: &Metric, name: &str) -> Result<Comparison, SloError> {
        let found = self.peek();
        let begin = self.at;
        let sign = self.take_while(|c| matches!(c, '<' | '>' | '=' | '!'));
        let good_is_high = matches!(metric, Metric::Rate | Metric::HitRatio);
        let comparison = match (sign.as_str(), good_is_high) {
            ("<", false) => Comparison::Below,
            ("<=", false) => Comparison::AtMost,
            (">", true) => Comparison::Above,
            (">=", true) => Comparison::AtLeast,
            (sign, _) => {
                let (should, signs) = if good_is_high {
                    ("reach", "> or >=")
                } else {
                    ("stay below", "< or <=")
                };
                let found = match (sign, found) {
                    ("", None) => "the end".to_owned(),
                    ("", Some(other)) => format!("`{other}`"),
                    (sign, _) => format!("`{sign}`"),
                };
                let what =
                    format!("{found} after `{name}`, which should {should} its limit: use {signs}");
                return Err(self.error(begin, what));
            }
        };
        Ok(comparison)
    }

    fn limit(&mut self, metric: &Metric) -> Result<f64, SloError> {
        self.peek();
        let begin = self.at;
        let number = self.take_while(|c| c.is_ascii_digit() || c == '.');
        let Ok(value) = number.parse::<f64>() else {
            let found = if number.is_empty() {
                "no number".to_owned()
            } else {
                format!("`{number}`, no number,")
            };
            return Err(self.error(begin, format!("{found} where the limit should be")));
        };
        self.peek();
        let unit_at = self.at;
        let unit = self.take_while(|c| c.is_alphabetic() || matches!(c, '%' | '/'));
        let factor = match (metric, unit.as_str()) {
            (Metric::Latency(..), "ns") | (Metric::Rate, "/s") => 1.0,
            (Metric::Latency(..), "us" | "µs" | "μs") | (Metric::Rate, "k/s") => 1e3,
            (Metric::Latency(..), "ms") | (Metric::Rate, "M/s") => 1e6,
            (Metric::Latency(..), "s") => 1e9,
            (Metric::ErrorRatio | Metric::HitRatio, "%") => 1e-2,
            (metric, unit) => {
                let units = match metric {
                    Metric::Latency(..) => "ns, us, ms or s",
                    Metric::Rate => "/s, k/s or M/s",
                    Metric::ErrorRatio | Metric::HitRatio => "%",
                };
                let found = if unit.is_empty() {
                    "no unit".to_owned()
                } else {
                    format!("`{unit}`")
                };
                return Err(self.error(
                    unit_at,
                    format!("{found} where the unit should be: {units}"),
                ));
            }
        };
        let limit = value * factor;
        if matches!(metric, Metric::ErrorRatio | Metric::HitRatio) && limit > 1.0 {
            return Err(self.error(begin, "more than 100 %".to_owned()));
        }
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn terms_are_read() {
        use Comparison::{Above, AtLeast, AtMost, Below};
        let all = |point| Metric::Latency(Scope::All, point);
        let decrypt = Scope::Operation(Operation::new("decrypt-batch10").unwrap());
        for (text, metric, comparison, limit) in [
            ("p99<5ms", all(Point::Quantile(0.99)), Below, 5e6),
            (
                " p99.9 <= 20 ms ",
                all(Point::Quantile(0.999)),
                AtMost,
                20e6,
            ),
            ("p50<250us", all(Point::Quantile(0.5)), Below, 250e3),
            ("p50<250µs", all(Point::Quantile(0.5)), Below, 250e3),
            ("mean<=1.5s", all(Point::Mean), AtMost, 1.5e9),
            ("max<1s", all(Point::Max), Below, 1e9),
            ("err<0.1%", Metric::ErrorRatio, Below, 1e-3),
            ("err<=0%", Metric::ErrorRatio, AtMost, 0.0),
            ("rate>=10000/s", Metric::Rate, AtLeast, 1e4),
            ("rate>10k/s", Metric::Rate, Above, 1e4),
            ("hit>=95%", Metric::HitRatio, AtLeast, 0.95),
            (
                "decrypt-batch10.p99.9<1ms",
                Metric::Latency(decrypt, Point::Quantile(0.999)),
                Below,
                1e6,
            ),
            (
                "handshake.max<1ms",
                Metric::Latency(Scope::Handshake, Point::Max),
                Below,
                1e6,
            ),
        ] {
            let slo: Slo = text.parse().unwrap();
            let [term] = slo.terms() else {
                unreachable!("{text}")
            };
            assert_eq!(
                (&term.metric, term.comparison),
                (&metric, comparison),
                "{text}"
            );
            assert!(
                (term.limit - limit).abs() <= limit * 1e-12,
                "{text}: {}",
                term.limit
            );
            assert_eq!(slo.to_string(), text.replace(' ', ""));
        }
        let slo: Slo = "p99<5ms, err<0.1%".parse().unwrap();
        assert_eq!(
            (slo.terms().len(), slo.to_string()),
            (2, "p99<5ms,err<0.1%".to_owned())
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at, what) in [
            ("", 0, "the end where a term should begin"),
            ("p99<5ms,", 8, "the end where a term should begin"),
            ("p99<5ms;err<1%", 7, "`;` where a comma"),
            (
                "p99",
                3,
                "the end after `p99`, which should stay below its limit: use < or <=",
            ),
            ("p99>5ms", 3, "`>` after `p99`"),
            ("p99==5ms", 3, "`==` after `p99`"),
            (
                "rate<5/s",
                4,
                "`<` after `rate`, which should reach its limit: use > or >=",
            ),
            ("p99<ms", 4, "no number where the limit"),
            ("p99<1.2.3ms", 4, "`1.2.3`, no number,"),
            ("p99<-1ms", 4, "no number"),
            (
                "p99<5",
                5,
                "no unit where the unit should be: ns, us, ms or s",
            ),
            ("p99<5m", 5, "`m` where the unit should be"),
            ("err<0.1", 7, "no unit where the unit should be: %"),
            ("err<101%", 4, "more than 100 %"),
            ("rate>=10", 8, "no unit where the unit should be: /s"),
            ("p0<1s", 1, "`0` is no percentile"),
            ("p100<1s", 1, "`100` is no percentile"),
            ("p99.9.9<1s", 1, "`99.9.9` is no percentile"),
            ("latency<1s", 0, "`latency` is not measured"),
            (
                "p99<5ms, DECRYPT.p99<1s",
                9,
                "\"DECRYPT\" cannot name an operation",
            ),
            ("decrypt.q99<1s", 8, "`q99` is no latency"),
            ("µ99<1s", 0, "`µ` where a term should begin"),
            ("p99<5ms,\u{1b}[0m", 8, "`\u{1b}` where"),
        ] {
            let error = text.parse::<Slo>().unwrap_err();
            assert!(
                error.at == at && error.what.starts_with(what),
                "{text}: {error:?}"
            );
        }
        let error = "p99<5ms,err>1%".parse::<Slo>().unwrap_err().to_string();
        assert!(
            error.ends_with("\n  p99<5ms,err>1%\n             ^"),
            "{error}"
        );
        assert!(error.starts_with("column 12: "), "{error}");
        let long = "p99<5ms,".repeat(1000);
        assert!(
            long.parse::<Slo>()
                .unwrap_err()
                .what
                .starts_with("longer than")
        );
    }
}
