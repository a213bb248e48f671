//! The parts of a README that a program writes: blocks between two comments, named.
//!
//! Must never be true: a byte changed outside the blocks; a row's old figure beside its new one.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::environment::Environment;
use crate::markdown::{Lines, rank};

/// Why it was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadmeError {
    /// The file cannot be read or written.
    Io(String, io::Error),
    /// The block's two comments are not there, in this order.
    NoBlock(String),
}

impl fmt::Display for ReadmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(file, error) => write!(f, "{file}: {error}"),
            Self::NoBlock(name) => write!(
                f,
                "there is no block `{name}`: it begins with the line {} and ends with the line {}",
                begin(name),
                end(name)
            ),
        }
    }
}

impl std::error::Error for ReadmeError {}

fn begin(name: &str) -> String {
    format!("<!-- {name}: written by bench/all.sh -->")
}

fn end(name: &str) -> String {
    format!("<!-- {name}: end -->")
}

/// Puts the lines of a report into `file`; of the rows in `rows`, and of those in the lines, all that was there goes.
pub fn put(file: &Path, rows: &[&str], lines: &Lines) -> Result<(), ReadmeError> {
    edit(file, |text| {
        let mut text = text.to_owned();
        for (name, lines) in [
            ("runs", &lines.runs),
            ("targets", &lines.targets),
            ("series", &lines.series),
            ("remarks", &lines.remarks),
        ] {
            text = change(&text, name, |old| merged(old, rows, lines))?;
        }
        Ok(text)
    })
}

/// Puts a whole table into block `name` of `file`, with when and where it was measured above it.
pub fn put_table(
    file: &Path,
    name: &str,
    environment: &Environment,
    table: &str,
) -> Result<(), ReadmeError> {
    let Environment {
        date,
        version,
        load_before,
        ..
    } = environment;
    let machine = environment.machine();
    let body = format!(
        "Measured on {date}, kms {version}; {machine}; load {load_before} before.\n\n{}\n",
        table.trim_end()
    );
    edit(file, |text| change(text, name, |_| body.clone()))
}

fn edit(
    file: &Path,
    edit: impl FnOnce(&str) -> Result<String, ReadmeError>,
) -> Result<(), ReadmeError> {
    let failed = |error| ReadmeError::Io(file.display().to_string(), error);
    let text = edit(&fs::read_to_string(file).map_err(failed)?)?;
    // In its place at once: a run that is cut off leaves the old one.
    let beside = file.with_extension("new");
    fs::write(&beside, text).map_err(failed)?;
    fs::rename(&beside, file).map_err(failed)
}

/// `text` with another body of one block.
fn change(
    text: &str,
    name: &str,
    body: impl FnOnce(&str) -> String,
) -> Result<String, ReadmeError> {
    let missing = || ReadmeError::NoBlock(name.to_owned());
    let (before, rest) = text
        .split_once(&format!("{}\n", begin(name)))
        .ok_or_else(missing)?;
    let (old, after) = rest.split_once(&end(name)).ok_or_else(missing)?;
    let (body, begin, end) = (body(old), begin(name), end(name));
    Ok(format!("{before}{begin}\n{body}{end}{after}"))
}

/// `old` with the lines of these rows, and of those that `new` has lines of, replaced by `new`, in the order of rows.
/// A table's head stays.
fn merged(old: &str, rows: &[&str], new: &[String]) -> String {
    let replaced: Vec<&str> = rows
        .iter()
        .copied()
        .chain(new.iter().filter_map(|line| row_of(line)))
        .collect();
    let head = if old.starts_with('|') { 2 } else { 0 };
    let kept = old
        .lines()
        .skip(head)
        .filter(|line| row_of(line).is_some_and(|row| !replaced.contains(&row)));
    // Remarks on a whole run are on a run of which not all rows may be here.
    let of_rows = new
        .iter()
        .map(String::as_str)
        .filter(|line| row_of(line).is_some());
    let mut lines: Vec<&str> = kept.chain(of_rows).collect();
    lines.sort_by_key(|line| rank(row_of(line).unwrap_or_default()));
    let mut all: Vec<&str> = old.lines().take(head).chain(lines).collect();
    // For the line feed behind the last.
    all.push("");
    all.join(
        "
",
    )
}

/// The row that a line of a table or of a list is about.
fn row_of(line: &str) -> Option<&str> {
    let row = match line.strip_prefix("| ") {
        Some(cells) => cells.split_once(" | ")?.0,
        None => line.strip_prefix("- ")?.split_once(": ")?.0,
    };
    let is_row = row.len() < 12 && row.starts_with(|c: char| c.is_ascii_uppercase());
    is_row.then_some(row)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const README: &str = "# before\n\
        <!-- targets: written by bench/all.sh -->\n\
        | row | what |\n|---|---|\n| P1 | old |\n| P2 | old |\n| P10 | old |\n| VAULT | old |\n\
        <!-- targets: end -->\nbetween\n\
        <!-- remarks: written by bench/all.sh -->\n\
        - P2: old\n\
        <!-- remarks: end -->\nafter\n";

    fn texts(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_row_takes_the_place_of_its_own_old_lines_alone() {
        for (name, rows, new, want) in [
            (
                "one row, two lines",
                &["P2"][..],
                &["| P2 | a |", "| P2 | b |"][..],
                &[
                    "| P1 | old |",
                    "| P2 | a |",
                    "| P2 | b |",
                    "| P10 | old |",
                    "| VAULT | old |",
                ][..],
            ),
            (
                "a new row between",
                &["P9"],
                &["| P9 | new |"],
                &[
                    "| P1 | old |",
                    "| P2 | old |",
                    "| P9 | new |",
                    "| P10 | old |",
                    "| VAULT | old |",
                ],
            ),
            (
                "a row that has nothing to tell any more",
                &["P10", "VAULT"],
                &[],
                &["| P1 | old |", "| P2 | old |"],
            ),
            (
                "a remark on the whole run",
                &[],
                &["- `--quick`: a sanity run"],
                &[
                    "| P1 | old |",
                    "| P2 | old |",
                    "| P10 | old |",
                    "| VAULT | old |",
                ],
            ),
        ] {
            let got = change(README, "targets", |old| merged(old, rows, &texts(new))).unwrap();
            let want = format!("| row | what |\n|---|---|\n{}\n", want.join("\n"));
            let mut got_body = String::new();
            let rest = change(&got, "targets", |body| {
                got_body = body.to_owned();
                String::new()
            });
            assert_eq!(got_body, want, "{name}");
            let emptied = change(README, "targets", |_| String::new()).unwrap();
            assert_eq!(rest.unwrap(), emptied, "{name}: all else stays");
        }
    }

    #[test]
    fn remarks_are_a_list_without_a_head() {
        let new = texts(&["- P1: new", "- P2: new"]);
        let got = change(README, "remarks", |old| merged(old, &[], &new)).unwrap();
        assert!(
            got.contains("\n- P1: new\n- P2: new\n<!-- remarks: end -->\nafter\n"),
            "{got}"
        );
    }

    #[test]
    fn a_file_without_the_block_is_left_alone_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("README.md");
        fs::write(&file, README).unwrap();
        let refused = put_table(&file, "pipeline", &Environment::now(), "| a |\n");
        let why = refused.unwrap_err().to_string();
        assert!(
            why.contains("`pipeline`") && why.contains("<!-- pipeline: end -->"),
            "{why}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), README);

        put_table(&file, "targets", &Environment::now(), "| a |\n\n").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.contains("\n\n| a |\n<!-- targets: end -->\nbetween\n"),
            "{text}"
        );
        assert!(text.starts_with("# before\n") && !text.contains("| P1 | old |"));
    }
}
