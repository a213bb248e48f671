//! A result as a folder of files that other tools can read.
//!
//! | file | holds |
//! |---|---|
//! | `result.json` | everything but histograms and series, percentiles included; says what the other files must be |
//! | `series.csv` | a line for each second |
//! | `histograms.hlog` | histograms of the whole run, tagged (`decrypt.response`), as an HdrHistogram V2 log |
//! | `seconds.hlog` | the latency of each second, untagged, likewise |
//! | `all.response.hgrm`, ... | percentile spectra for people and plotters, written but never read |
//!
//! Must never be true: a folder whose `result.json` tells of other files than those beside it. All files are
//! written in full under other names first and take their names last, `result.json` after all others; [`load`]
//! holds each file against its digest.

mod csv;
mod document;
mod hgrm;
mod hlog;
mod stage;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::RunResult;
use stage::Stage;

pub use document::VERSION;

/// Name of the file that stands for the whole folder.
pub const RESULT: &str = "result.json";
const SERIES: &str = "series.csv";
const HISTOGRAMS: &str = "histograms.hlog";
const SECONDS: &str = "seconds.hlog";

/// Files larger than this are no results of ours: a day's series has 30 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a result could not be written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// There is no result in that folder.
    NotThere(PathBuf),
    /// The file system is full, or a limit on it is reached. What was there before is untouched.
    Full(PathBuf, io::Error),
    /// The operating system refused; what was tried.
    Io(PathBuf, &'static str, io::Error),
    /// Larger than any result.
    TooLarge(PathBuf, u64),
    /// Made by a later version of this program.
    Newer(PathBuf, u32),
    /// Not what this program wrote, or changed since.
    Damaged(PathBuf, String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere(folder) => write!(
                f,
                "{}: no load result here (no {RESULT}); give the folder that `run --out` named",
                folder.display()
            ),
            Self::Full(path, error) => write!(
                f,
                "{}: no space for the result ({error}); what was there before is untouched; make room, or name \
                 another folder with --out",
                path.display()
            ),
            Self::Io(path, what, error) => write!(f, "{}: cannot {what}: {error}", path.display()),
            Self::TooLarge(path, bytes) => write!(
                f,
                "{}: {bytes} bytes, more than the {FILE_BYTES_MAX} of the longest run",
                path.display()
            ),
            Self::Newer(path, version) => write!(
                f,
                "{}: version {version} of the format, this program knows up to {VERSION}; use a newer kms-loadgen",
                path.display()
            ),
            Self::Damaged(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full(_, error) | Self::Io(_, _, error) => Some(error),
            _ => None,
        }
    }
}

impl FileError {
    fn io(path: &Path, what: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(path.to_owned(), error),
            _ => Self::Io(path.to_owned(), what, error),
        }
    }
}

/// Writes the whole result into `folder`, which is made if need be. Either all files are replaced or, when this
/// fails, none.
pub fn save(folder: &Path, run: &RunResult) -> Result<(), FileError> {
    let mut stage = Stage::open(folder)?;
    stage.write(SERIES, csv::render(&run.series).as_bytes())?;
    stage.write(HISTOGRAMS, &hlog::whole_run(run))?;
    stage.write(SECONDS, &hlog::seconds(run))?;
    for (name, text) in hgrm::all(run) {
        stage.write(&name, text.as_bytes())?;
    }
    let read_again = [SERIES, HISTOGRAMS, SECONDS];
    let document = document::render(run, &stage.written(&read_again));
    stage.write(RESULT, document.as_bytes())?;
    stage.publish()
}

/// The result as JSON, percentiles included, without the files that [`save`] writes beside it.
pub fn json(run: &RunResult) -> String {
    document::render(run, &[])
}

/// Writes one more file, such as a report, as carefully as [`save`] does.
pub fn save_text(path: &Path, text: &str) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        let error = io::Error::from(io::ErrorKind::InvalidFilename);
        return Err(FileError::io(path, "write", error));
    };
    let mut stage = Stage::open(folder)?;
    stage.write(name, text.as_bytes())?;
    stage.publish()
}

/// Reads a result that [`save`] wrote.
pub fn load(folder: &Path) -> Result<RunResult, FileError> {
    let path = folder.join(RESULT);
    let text = match stage::read(&path) {
        Err(FileError::Io(_, _, error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(FileError::NotThere(folder.to_owned()));
        }
        other => other?,
    };
    let document = document::parse(&path, &text)?;
    let mut run = document.run;
    let read = |name: &str| -> Result<Vec<u8>, FileError> {
        let path = folder.join(name);
        let bytes = stage::read(&path)?;
        let is_same = document
            .files
            .iter()
            .any(|file| file.name == name && file.is(&bytes));
        if is_same {
            Ok(bytes)
        } else {
            let what = format!("not the file that {RESULT} was written with; its digest differs");
            Err(FileError::Damaged(path, what))
        }
    };
    let damaged = |name: &str, what: String| FileError::Damaged(folder.join(name), what);
    run.series = csv::parse(&read(SERIES)?).map_err(|what| damaged(SERIES, what))?;
    for operation in document.operations {
        run.latencies.operations.entry(operation).or_default();
    }
    hlog::read_whole_run(&read(HISTOGRAMS)?, &mut run.latencies)
        .map_err(|what| damaged(HISTOGRAMS, what))?;
    hlog::read_seconds(&read(SECONDS)?, &mut run.series).map_err(|what| damaged(SECONDS, what))?;
    Ok(run)
}
