//! `result.json`: the run, the percentiles of its histograms, and what the files beside it must be.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FileError;
use crate::results::{Latency, Operation, Quantiles, RunResult};

/// Counts up when a reader of the version before would misunderstand. New fields alone don't count.
pub const VERSION: u32 = 1;
const FORMAT: &str = "kms-loadgen-result";

#[derive(Deserialize)]
struct Envelope {
    format: String,
    version: u32,
}

/// What is read; percentiles are made anew from the histograms.
#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) run: RunResult,
    pub(super) operations: Vec<Operation>,
    pub(super) files: Vec<FileOf>,
}

/// A file that belongs to a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FileOf {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    verdict: &'static str,
    rate_per_s: f64,
    planned_per_s: f64,
    error_ratio: Option<f64>,
    run: &'a RunResult,
    operations: Vec<&'a Operation>,
    latency: BTreeMap<String, Quantiles>,
    files: &'a [FileOf],
}

pub(super) fn render(run: &RunResult, files: &[FileOf]) -> String {
    let mut latency = BTreeMap::new();
    for (tag, histogram) in tagged(run) {
        if let Some(quantiles) = Quantiles::of(&histogram) {
            latency.insert(tag, quantiles);
        }
    }
    let written = Written {
        format: FORMAT,
        version: VERSION,
        verdict: run.validity.word(),
        rate_per_s: run.rate_per_s(),
        planned_per_s: run.planned_per_s(),
        error_ratio: run.totals.error_ratio(),
        run,
        operations: run.latencies.operations.keys().collect(),
        latency,
        files,
    };
    // Every key is a text and every number finite or null: there is nothing that JSON cannot say.
    let mut text = serde_json::to_string_pretty(&written).unwrap_or_default();
    text.push('\n');
    text
}

/// Every histogram that has a percentile to tell, by its name in files.
pub(super) fn tagged(run: &RunResult) -> Vec<(String, Latency)> {
    let mut all = vec![
        (
            "all.response".to_owned(),
            run.latencies.all(|latency| &latency.response),
        ),
        (
            "all.service".to_owned(),
            run.latencies.all(|latency| &latency.service),
        ),
    ];
    all.extend(
        run.latencies
            .named()
            .map(|(tag, latency)| (tag, latency.clone())),
    );
    all.retain(|(_, latency)| !latency.is_empty());
    all
}

pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Document, FileError> {
    let damaged = |error: serde_json::Error| {
        FileError::Damaged(path.to_owned(), format!("not a load result: {error}"))
    };
    let envelope: Envelope = serde_json::from_slice(text).map_err(damaged)?;
    if envelope.format != FORMAT {
        let what = format!(
            "not a load result: its format is {:?}, not {FORMAT:?}",
            envelope.format
        );
        return Err(FileError::Damaged(path.to_owned(), what));
    }
    if envelope.version > VERSION {
        return Err(FileError::Newer(path.to_owned(), envelope.version));
    }
    serde_json::from_slice(text).map_err(damaged)
}
