//! Java properties syntax, through the `java-properties` crate: escapes, continued lines, `=`, `:` or a space.
//!
//! UTF-8 if the file is valid UTF-8, else Latin-1 as Java reads it. Knows no keys.

use std::path::Path;

use java_properties::{LineContent, PropertiesIter};
use zeroize::Zeroizing;

use super::error::Problem;
use super::model::Origin;

/// Bytes of a properties file or a secret file.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;

/// One assignment.
pub(super) struct Entry {
    pub(super) key: String,
    /// Maybe a secret.
    pub(super) value: Zeroizing<String>,
    /// From 1; the first one of a continued line.
    pub(super) line: usize,
}

/// All assignments in order, and what was no assignment.
pub(super) fn parse(file: &Path, text: &[u8]) -> (Vec<Entry>, Vec<Problem>) {
    let utf8 = std::str::from_utf8(text).is_ok();
    let encoding = if utf8 {
        encoding_rs::UTF_8
    } else {
        encoding_rs::WINDOWS_1252
    };
    // The crate loses a last line that ends in a backslash; a line feed saves it.
    let input = std::io::Read::chain(text, &b"\n"[..]);
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for line in PropertiesIter::new_with_encoding(input, encoding) {
        match line.map(|line| (line.line_number(), line.consume_content())) {
            Ok((line, LineContent::KVPair(key, value))) => {
                entries.push(Entry {
                    key,
                    value: Zeroizing::new(value),
                    line,
                });
            }
            Ok((_, LineContent::Comment(_))) => {}
            Err(error) => {
                let line = error.line_number().unwrap_or(0);
                // The crate unescapes comments too; `# C:\users` is no error to Java.
                if !is_comment(text, line) {
                    let reason = "malformed \\u escape; write \\u and four hex digits, and \\\\ for a backslash".to_owned();
                    problems.push(Problem::Syntax {
                        origin: Origin::File {
                            path: file.to_owned(),
                            line,
                        },
                        reason,
                    });
                }
            }
        }
    }
    (entries, problems)
}

/// Whether the natural line of this number (from 1) starts a comment.
fn is_comment(text: &[u8], line: usize) -> bool {
    let mut lines = 1;
    let mut rest = text;
    while lines < line {
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            return false;
        };
        let used = if rest
            .get(end..)
            .is_some_and(|tail| tail.starts_with(b"\r\n"))
        {
            2
        } else {
            1
        };
        rest = rest.get(end + used..).unwrap_or_default();
        lines += 1;
    }
    let first = rest
        .iter()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\x0c'));
    matches!(first, Some(b'#' | b'!'))
}
