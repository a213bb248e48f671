//! Several runs of one plan, made at the same time by several processes or machines, as one.
//!
//! Histograms are added, counts are summed, seconds are aligned by the wall clock (keep it in step on all
//! machines). What cannot be added is judged anew (the SLO) or left out with a note (the knee).
//!
//! Must never be true: runs of different plans merged without somebody's word, or a server counted twice
//! because two generators watched it.

mod plans;
mod seconds;
mod server;

use std::fmt;

use super::slo::Slo;
use super::{About, Completeness, RunResult, Source, Validity};
pub(super) use plans::differences;

/// Why runs do not go together. `--force` merges them nevertheless, and the result says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// Nothing to merge.
    Nothing,
    /// The plans differ in these points.
    Plans(Vec<String>),
    /// One run was over before another began.
    Times,
    /// A knee was searched: its probes were at different rates.
    Knee,
    /// A second's histogram cannot be read.
    Damaged(u64),
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing to merge"),
            Self::Plans(points) => write!(f, "the plans differ: {}", points.join("; ")),
            Self::Times => f.write_str(
                "the runs were not made at the same time: one was over before another began",
            ),
            Self::Knee => f.write_str(
                "the search for a knee cannot be merged: its probes were made at different rates",
            ),
            Self::Damaged(unix_s) => write!(f, "the histogram of second {unix_s} cannot be read"),
        }
    }
}

impl std::error::Error for MergeError {}

impl MergeError {
    /// Whether `--force` helps.
    pub fn can_be_forced(&self) -> bool {
        matches!(self, Self::Plans(_) | Self::Times | Self::Knee)
    }
}

/// Merges `runs`; with `is_forced` also those that do not go together, which the notes then say.
pub fn merge(runs: &[RunResult], is_forced: bool) -> Result<RunResult, MergeError> {
    let (first, others) = runs.split_first().ok_or(MergeError::Nothing)?;
    let objections = objections(runs);
    if let Some(objection) = objections.first()
        && !is_forced
    {
        return Err(objection.clone());
    }
    let mut merged = first.clone();
    merged.about = about(runs);
    merged.about.notes.extend(
        objections
            .iter()
            .map(|objection| format!("merged by force: {objection}")),
    );
    let processes = runs.iter().map(|run| run.plan.processes);
    merged.plan.processes = processes.fold(0, u32::saturating_add);
    for run in others {
        merged.machines.extend(run.machines.iter().cloned());
        merged.totals.add(&run.totals);
        merged.latencies.add(&run.latencies);
        for event in &run.events {
            if !merged.events.contains(event) {
                merged.events.push(event.clone());
            }
        }
    }
    merged.events.sort_by_key(|event| event.at_unix_us);
    merged.validity = validity(runs);
    merged.server = server::server(runs);
    merged.cpu = server::cpu(runs);
    merged.series = seconds::series(runs)?;
    merged.knee = None;
    judge(&mut merged, runs);
    Ok(merged)
}

fn objections(runs: &[RunResult]) -> Vec<MergeError> {
    let mut found = Vec::new();
    let Some((first, others)) = runs.split_first() else {
        return found;
    };
    let mut points: Vec<String> = others
        .iter()
        .flat_map(|run| differences(&first.plan, &run.plan))
        .collect();
    points.sort();
    points.dedup();
    if !points.is_empty() {
        found.push(MergeError::Plans(points));
    }
    let last_start = runs.iter().map(|run| run.about.start_unix_us).max();
    let first_end = runs.iter().map(|run| end_unix_us(&run.about)).min();
    if last_start > first_end {
        found.push(MergeError::Times);
    }
    if runs.iter().any(|run| run.knee.is_some()) {
        found.push(MergeError::Knee);
    }
    found
}

fn end_unix_us(about: &About) -> u64 {
    about.start_unix_us.saturating_add(about.duration_us)
}

fn about(runs: &[RunResult]) -> About {
    let mut merged = runs
        .first()
        .map(|run| run.about.clone())
        .unwrap_or_default();
    merged.merged_from = runs.iter().flat_map(sources).collect();
    let start = runs
        .iter()
        .map(|run| run.about.start_unix_us)
        .min()
        .unwrap_or(0);
    let end = runs
        .iter()
        .map(|run| end_unix_us(&run.about))
        .max()
        .unwrap_or(0);
    merged.start_unix_us = start;
    merged.duration_us = end.saturating_sub(start);
    let parts = || runs.iter().map(|run| &run.about);
    for run in parts().skip(1) {
        for note in &run.notes {
            if !merged.notes.contains(note) {
                merged.notes.push(note.clone());
            }
        }
    }
    let partial = |about: &About| match &about.completeness {
        Completeness::Whole => None,
        Completeness::Partial(why) => Some(why.clone()),
    };
    if let Some(why) = parts().find_map(partial) {
        merged.completeness = Completeness::Partial(why);
    }
    merged
}

/// A merged run stands for those it was made of.
fn sources(run: &RunResult) -> Vec<Source> {
    if !run.about.merged_from.is_empty() {
        return run.about.merged_from.clone();
    }
    vec![Source {
        tool_version: run.about.tool_version.clone(),
        command_line: run.about.command_line.clone(),
        seed: run.about.seed,
        start_unix_us: run.about.start_unix_us,
        duration_us: run.about.duration_us,
        machine: run
            .machines
            .first()
            .map(|machine| machine.name.clone())
            .unwrap_or_default(),
    }]
}

fn validity(runs: &[RunResult]) -> Validity {
    let mut all = Validity::default();
    for doubt in runs.iter().flat_map(|run| &run.validity.doubts) {
        if !all.doubts.contains(doubt) {
            all.doubts.push(doubt.clone());
        }
    }
    all
}

/// The SLO anew, where all had the same.
fn judge(merged: &mut RunResult, runs: &[RunResult]) {
    let expression = |run: &RunResult| run.slo.as_ref().map(|verdict| verdict.expression.clone());
    let wanted = runs.first().and_then(expression);
    let is_same = runs.iter().all(|run| expression(run) == wanted);
    merged.slo = match wanted.map(|text| text.parse::<Slo>()) {
        Some(Ok(slo)) if is_same => Some(slo.judge(&*merged)),
        _ => None,
    };
    if !is_same {
        merged
            .about
            .notes
            .push("the runs had different SLOs: none was judged".to_owned());
    }
}

/// None as soon as one is not known.
fn both<T>(one: Option<T>, two: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    Some(add(one?, two?))
}
