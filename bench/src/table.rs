//! What a run found: figures, verdicts and remarks, each under its row. JSON for programs as it stands here;
//! `markdown` makes the tables for people.

use std::fmt;

use serde::Serialize;

use crate::environment::Environment;
use crate::rounds::{Series, Settings};
use crate::ttlv::TtlvRow;

/// What became of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Reached.
    Pass,
    /// Not reached.
    Miss,
    /// No target at this number of connections: for information.
    Info,
    /// A wrong answer or a lost connection: the figure means nothing.
    Invalid,
    /// A server was not there; see the notes.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Miss => "**MISS**",
            Self::Info => "-",
            Self::Invalid => "**INVALID**",
            Self::NotRun => "not run",
        })
    }
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Lower is better.
    AtMost(f64),
    /// Higher is better.
    AtLeast(f64),
    /// Told, not judged.
    None,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::None => f.write_str("-"),
        }
    }
}

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// As in the list of targets.
    pub row: &'static str,
    /// What was compared.
    pub what: String,
    /// Keep-alive connections, where there are any.
    pub connections: Option<usize>,
    /// Ours over theirs, or the figure itself.
    pub value: Option<f64>,
    /// The target.
    pub goal: Goal,
    /// Whether it was reached.
    pub verdict: Verdict,
}

impl Judged {
    /// Compares `value` with `goal`. `clean`: no wrong answer in what it was made from.
    pub fn new(
        row: &'static str,
        what: &str,
        connections: Option<usize>,
        value: f64,
        goal: Goal,
        clean: bool,
    ) -> Self {
        let verdict = match goal {
            _ if !clean || !value.is_finite() => Verdict::Invalid,
            Goal::None => Verdict::Info,
            Goal::AtMost(limit) if value <= limit => Verdict::Pass,
            Goal::AtLeast(limit) if value >= limit => Verdict::Pass,
            _ => Verdict::Miss,
        };
        Self {
            row,
            what: what.to_owned(),
            connections,
            value: Some(value),
            goal,
            verdict,
        }
    }

    /// A server was not there.
    pub fn not_run(row: &'static str, what: &str, goal: Goal) -> Self {
        Self {
            row,
            what: what.to_owned(),
            connections: None,
            value: None,
            goal,
            verdict: Verdict::NotRun,
        }
    }
}

/// Memory of row P8.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Entries of the large cache.
    pub entries: usize,
    /// Resident bytes of the server with the small cache, filled.
    pub small_bytes: u64,
    /// Of the server with the large cache, before it was filled.
    pub large_empty_bytes: u64,
    /// The same, filled.
    pub large_bytes: u64,
}

/// A remark on a row: what a server was, why one was not there, a figure beside the table.
#[derive(Clone, Debug, Serialize)]
pub struct Remark {
    /// The row; empty: the whole run.
    pub row: &'static str,
    /// One line of Markdown.
    pub text: String,
}

/// The runs of one contender, under their row.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The row, or those that share their rounds.
    pub row: &'static str,
    /// The runs.
    #[serde(flatten)]
    pub series: Series,
}

/// Everything a run of `compare` found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub environment: Environment,
    /// A sanity run, no measurement.
    pub is_quick: bool,
    /// How it was measured.
    pub settings: Settings,
    /// Data keys in the set that is asked at random.
    pub data_keys: usize,
    /// The cipher suite that every client connection uses.
    pub cipher_suite: String,
    /// What each server was, those that were not there and why, and other remarks.
    pub remarks: Vec<Remark>,
    /// The targets.
    pub judged: Vec<Judged>,
    /// All runs.
    pub series: Vec<Listed>,
    /// Row P8.
    pub memory: Option<Memory>,
    /// Row P11.
    pub ttlv: Option<TtlvRow>,
}

impl Report {
    /// A remark on `row`.
    pub fn note(&mut self, row: &'static str, text: String) {
        self.remarks.push(Remark { row, text });
    }

    /// What a server of `row` is.
    pub fn peer(&mut self, row: &'static str, name: &str, about: &str) {
        self.note(row, format!("{name}: {about}"));
    }

    /// Runs of `row`.
    pub fn list(&mut self, row: &'static str, series: impl IntoIterator<Item = Series>) {
        let listed = series.into_iter().map(|series| Listed { row, series });
        self.series.extend(listed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_both_ways() {
        for (name, value, goal, clean, want) in [
            ("below", 0.69, Goal::AtMost(0.7), true, Verdict::Pass),
            ("at", 0.7, Goal::AtMost(0.7), true, Verdict::Pass),
            ("above", 0.71, Goal::AtMost(0.7), true, Verdict::Miss),
            ("more", 1.4, Goal::AtLeast(1.3), true, Verdict::Pass),
            ("less", 1.2, Goal::AtLeast(1.3), true, Verdict::Miss),
            ("told only", 1.2, Goal::None, true, Verdict::Info),
            (
                "wrong answers",
                0.1,
                Goal::AtMost(0.7),
                false,
                Verdict::Invalid,
            ),
            (
                "no figure",
                f64::NAN,
                Goal::AtMost(0.7),
                true,
                Verdict::Invalid,
            ),
        ] {
            assert_eq!(
                Judged::new("P1", name, Some(1), value, goal, clean).verdict,
                want,
                "{name}"
            );
        }
    }
}
