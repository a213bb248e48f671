//! Service-level objectives: `p99<5ms,p99.9<=20ms,err<0.1%,rate>=10000/s,max<1s`.
//!
//! [`Slo`] is parsed from such a text and judges figures. Terms are joined by commas; all must hold:
//!
//! | term | is |
//! |---|---|
//! | `p50`, `p99`, `p99.9`, ... `mean`, `max` | latency of right answers over all operations (`ns`, `us`, `ms`, `s`) |
//! | `decrypt.p99`, `handshake.p99` | of one operation; of full and resumed handshakes |
//! | `err` | failed share of the requests, wrong answers included (`%`) |
//! | `rate` | right answers a second (`/s`, `k/s`, `M/s`) |
//! | `hit` | unwraps served from the server's cache (`%`) |
//!
//! A wrong answer misses every SLO, whatever its terms are.

mod judge;
mod parse;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use judge::Measured;
pub use parse::SloError;

use super::Operation;
use super::stats::Interval;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// The limit: nanoseconds, a ratio from 0 to 1, or a rate a second.
    pub limit: f64,
    /// The term as written, blanks removed.
    pub text: String,
}

/// What a term measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// A latency of all operations, of one, or of handshakes.
    Latency(Scope, Point),
    /// Failed share of the requests that ended.
    ErrorRatio,
    /// Right answers a second.
    Rate,
    /// Cache hits among the server's unwraps.
    HitRatio,
}

/// Whose latency.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// All operations together.
    All,
    /// One operation.
    Operation(Operation),
    /// Handshakes, full and resumed.
    Handshake,
}

/// Which point of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    /// From 0 to 1.
    Quantile(f64),
    /// The mean.
    Mean,
    /// The longest.
    Max,
}

/// `<`, `<=`, `>`, `>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether `value` compares so with `limit`.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }

    /// Whether small values are good.
    pub fn is_upper_limit(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }
}

/// What the figures say of a term, chance considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole confidence interval is on the good side.
    Met,
    /// The whole confidence interval is on the bad side.
    Missed,
    /// The limit lies within the interval: measure longer.
    Unsure,
}

/// Of what kind a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// From 0 to 1.
    Ratio,
    /// A second.
    PerSecond,
}

/// What became of one term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermVerdict {
    /// The term as written.
    pub term: String,
    /// Of the three values below.
    pub unit: Unit,
    /// The limit.
    pub limit: f64,
    /// The measured value; none when there was nothing to measure, which misses.
    pub measured: Option<f64>,
    /// 95 % confidence interval of it, where there is one.
    pub interval: Option<Interval>,
    /// Whether the measured value holds.
    pub is_met: bool,
    /// The same with chance considered.
    pub outcome: Outcome,
}

/// What became of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The expression as written.
    pub expression: String,
    /// Each term.
    pub terms: Vec<TermVerdict>,
    /// Wrong answers: one misses all.
    pub wrong_answers: u64,
}

impl Verdict {
    /// Whether each measured value holds: what an exit code says.
    pub fn is_met(&self) -> bool {
        self.wrong_answers == 0 && self.terms.iter().all(|term| term.is_met)
    }

    /// With chance considered: what a search goes by.
    pub fn outcome(&self) -> Outcome {
        let any = |outcome| self.terms.iter().any(|term| term.outcome == outcome);
        if self.wrong_answers > 0 || any(Outcome::Missed) {
            Outcome::Missed
        } else if any(Outcome::Unsure) {
            Outcome::Unsure
        } else {
            Outcome::Met
        }
    }
}

impl Slo {
    /// The terms in the order written.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
