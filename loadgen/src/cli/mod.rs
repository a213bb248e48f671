//! Commands of `kms-loadgen`, a file each: arguments, and what is done with them.
//!
//! Each has `execute`, which gives whether all was well (exit code 0, else 1), or why it could not be done
//! (exit code 2). Called by the program's `main`.

pub mod compare;
pub mod merge;
pub mod report;

use std::io::{self, Write};
use std::path::Path;

use crate::results::{RunResult, files};

/// Writes to standard output; a reader that went away is an error like any other.
fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| format!("standard output: {error}"))
}

fn load(folder: &Path) -> Result<RunResult, String> {
    files::load(folder).map_err(|error| error.to_string())
}

/// What a folder is called in a report.
fn label(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}
