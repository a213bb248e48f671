//! A trace: a line a request, of which the first word (or, in JSON, the value of "key" or "ciphertext")
//! names the data key. Only how often each is named counts. Bounded: names are kept as hashes.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::PlanError;
use crate::model::popularity::Popularity;

/// Lines read at most; more would tell nothing new.
const LINES_MAX: u64 = 50_000_000;
/// A longer line is none of a trace.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Different keys at most.
const KEYS_MAX: usize = 20_000_000;

pub(super) fn read(file: &Path) -> Result<Popularity, PlanError> {
    let failed = |why: String| PlanError::Trace(file.to_owned(), why);
    let opened = File::open(file).map_err(|error| failed(error.to_string()))?;
    count(BufReader::new(opened)).map_err(failed)
}

fn count(mut lines: impl BufRead) -> Result<Popularity, String> {
    let (hasher, mut counts, mut line) =
        (RandomState::new(), HashMap::<u64, u64>::new(), Vec::new());
    for number in 1..=LINES_MAX {
        line.clear();
        let read = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        let read = read.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_BYTES_MAX {
            return Err(format!(
                "line {number} has more than {LINE_BYTES_MAX} bytes"
            ));
        }
        let Some(name) = name_in(&line) else {
            continue;
        };
        *counts.entry(hasher.hash_one(name)).or_insert(0) += 1;
        if counts.len() > KEYS_MAX {
            return Err(format!("it names more than {KEYS_MAX} keys"));
        }
    }
    if counts.is_empty() {
        return Err("it names no key".to_owned());
    }
    Ok(Popularity::counted(counts.into_values()))
}

/// The key that a line names; none in an empty line or a comment.
fn name_in(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    if text.starts_with('{') {
        let object: serde_json::Value = serde_json::from_str(text).ok()?;
        let named = object.get("key").or_else(|| object.get("ciphertext"))?;
        return Some(named.to_string());
    }
    text.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_counted_whatever_else_a_line_says() {
        let text = "# a trace\nvault:v1:AAAA 12:00\nvault:v1:BBBB\n\n{\"at_s\":1,\"key\":7}\n{\"key\":7}\n{\"key\":7}\n";
        let keys = count(text.as_bytes()).unwrap();
        assert!(
            (keys.keys() - 3.0).abs() < 1e-9 && (keys.hottest() - 0.6).abs() < 1e-9,
            "{keys:?}"
        );
        assert!(count("# nothing\n".as_bytes()).is_err());
        assert!(count("x".repeat(70_000).as_bytes()).is_err());
    }
}
