//! Two runs side by side: what changed, and whether by chance.
//!
//! **Method.** Latencies of one stall belong together, so single latencies are no independent samples. Where
//! both runs have enough seconds, each is cut into blocks of whole seconds; blocks are drawn with
//! replacement, as many as there are, and each figure is taken of what was drawn: from the added
//! histograms, the summed counts. A thousand such pairs of draws give the 95 % interval of the change
//! (block bootstrap, percentile method). A single stall then widens the interval instead of deciding the
//! verdict. Shorter runs have intervals by order statistics instead, which believe each latency.
//!
//! A figure is **worse** when it changed for the worse by more than the tolerance and the interval leaves
//! out "no change". When the interval doesn't, it is **unsure**: measure longer.
//!
//! Must never be true: a verdict on runs that cannot be compared, or one that another call does not repeat.

mod blocks;
mod costs;
mod lines;

use std::fmt;

use serde::Serialize;

use super::merge::differences;
use super::{About, Loop, RunResult};
use lines::Figures;

/// What to make of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Changes up to this ratio are none, e.g. 0.05.
    pub tolerance: f64,
    /// Also compare what ought not to be compared; the notes say so.
    pub is_forced: bool,
}

/// Why two runs are not compared. Each names the run, `A` or `B`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// Its figures tell of its generator.
    Invalid(char, Vec<String>),
    /// It was cut short.
    Partial(char, String),
    /// It has no answer, so there is nothing to compare with.
    NoAnswers(char),
    /// One waited for answers, the other had a schedule.
    Loops,
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(run, doubts) => write!(f, "{run} is INVALID: {}", doubts.join("; ")),
            Self::Partial(run, why) => write!(f, "{run} is partial: {why}"),
            Self::NoAnswers(run) => write!(f, "{run} has no right answer: there is nothing to compare"),
            Self::Loops => f.write_str(
                "one run is an open loop, the other a closed one: their latencies count from different moments",
            ),
        }
    }
}

impl std::error::Error for CompareError {}

impl CompareError {
    /// Whether [`Options::is_forced`] helps.
    pub fn can_be_forced(&self) -> bool {
        !matches!(self, Self::NoAnswers(_))
    }
}

/// The result of a comparison, for JSON too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The run before.
    pub a: Side,
    /// The run after.
    pub b: Side,
    /// How the intervals were made.
    pub method: String,
    /// As asked for.
    pub tolerance: f64,
    /// Each figure.
    pub lines: Vec<Line>,
    /// Whether a figure that counts is worse.
    pub is_regression: bool,
    /// In what the runs differ, and what was forced.
    pub notes: Vec<String>,
}

/// One run of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Of the generator.
    pub tool_version: String,
    /// What the server called itself.
    pub server: Option<String>,
    /// Microseconds since 1970.
    pub start_unix_us: u64,
    /// Its length.
    pub duration_us: u64,
    /// Its seed.
    pub seed: u64,
    /// Right answers.
    pub answers: u64,
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What, e.g. `p99`.
    pub name: String,
    /// Of `a` and `b`.
    pub kind: Kind,
    /// The figure before.
    pub a: Option<f64>,
    /// The figure after.
    pub b: Option<f64>,
    /// Relative change: 0.1 is ten per cent more. For ratios the difference itself.
    pub change: Option<f64>,
    /// 95 % interval of it.
    pub interval: Option<(f64, f64)>,
    /// What to make of it.
    pub outcome: Change,
    /// Whether it decides the exit code.
    pub counts: bool,
}

/// Of what kind a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nanoseconds.
    LatencyNs,
    /// A second.
    RatePerS,
    /// From 0 to 1.
    Ratio,
    /// Microseconds of CPU.
    CpuUs,
    /// A number.
    Count,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// By more than the tolerance, and not by chance.
    Better,
    /// Within the tolerance.
    Same,
    /// By more than the tolerance, and not by chance.
    Worse,
    /// By more than the tolerance, but that may be chance.
    Unsure,
    /// There is nothing to compare, or nothing that could be called better.
    Untold,
}

impl Change {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Worse => "WORSE",
            Self::Unsure => "unsure",
            Self::Untold => "",
        }
    }
}

/// Compares `b`, the run after a change, with `a`, the run before it.
pub fn compare(a: &RunResult, b: &RunResult, options: Options) -> Result<Comparison, CompareError> {
    let objections = objections(a, b);
    if let Some(first) = objections
        .iter()
        .find(|one| !options.is_forced || !one.can_be_forced())
    {
        return Err(first.clone());
    }
    let mut notes: Vec<String> = objections
        .iter()
        .map(|one| format!("compared by force: {one}"))
        .collect();
    notes.extend(
        differences(&a.plan, &b.plan)
            .iter()
            .map(|point| format!("the plans differ: {point}")),
    );
    if a.plan.processes != b.plan.processes {
        notes.push(format!(
            "the numbers of processes differ: {} and {}",
            a.plan.processes, b.plan.processes
        ));
    }
    let (figures, method) = Figures::of(a, b);
    let lines = lines::all(&figures, options.tolerance);
    Ok(Comparison {
        a: side(a),
        b: side(b),
        method,
        tolerance: options.tolerance,
        is_regression: lines
            .iter()
            .any(|line| line.counts && line.outcome == Change::Worse),
        lines,
        notes,
    })
}

fn objections(a: &RunResult, b: &RunResult) -> Vec<CompareError> {
    let mut found = Vec::new();
    for (name, run) in [('A', a), ('B', b)] {
        // B without answers is a regression, and told as one.
        if name == 'A' && run.totals.right == 0 {
            found.push(CompareError::NoAnswers(name));
        }
        if !run.validity.is_valid() {
            let doubts = run
                .validity
                .doubts
                .iter()
                .map(ToString::to_string)
                .collect();
            found.push(CompareError::Invalid(name, doubts));
        }
        if let super::Completeness::Partial(why) = &run.about.completeness {
            found.push(CompareError::Partial(name, why.clone()));
        }
    }
    if (a.plan.mode == Loop::Open) != (b.plan.mode == Loop::Open) {
        found.push(CompareError::Loops);
    }
    found
}

fn side(run: &RunResult) -> Side {
    let About {
        name,
        tool_version,
        seed,
        start_unix_us,
        duration_us,
        ..
    } = run.about.clone();
    let server = run
        .server
        .name
        .as_ref()
        .map(|name| match &run.server.version {
            Some(version) => format!("{name} {version}"),
            None => name.clone(),
        });
    Side {
        name,
        tool_version,
        server,
        start_unix_us,
        duration_us,
        seed,
        answers: run.totals.right,
    }
}
