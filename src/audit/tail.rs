//! The end of the log: whether it is the end of a line.
//!
//! A full disk takes part of a write, and a killed process may leave such a piece too. What follows begins a line of
//! its own. Must never be true: a line that goes on where a piece of another ends; a piece that becomes a line,
//! though its chain goes on as if it were not there.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Ends a piece so that it is no line, even where it lacks nothing but its end.
const SCAR: &[u8] = b"~\n";

/// The end of a file that is appended to.
#[derive(Debug, Default)]
pub(super) struct Tail {
    is_torn: bool,
}

impl Tail {
    /// Of a file that may have been written before.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        let Some(last) = about.len().checked_sub(1).filter(|_| about.is_file()) else {
            return Ok(Self::default());
        };
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)?;
        Ok(Self {
            is_torn: byte != *b"\n",
        })
    }

    /// Appends whole lines, behind what ends a torn one; how many bytes of them were taken, and why not all.
    pub(super) fn append(
        &mut self,
        file: &mut impl Write,
        lines: &[u8],
    ) -> (usize, Option<io::Error>) {
        if self.is_torn {
            let (written, error) = put(file, SCAR);
            if written < SCAR.len() {
                return (0, error);
            }
            self.is_torn = false;
        }
        let (written, error) = put(file, lines);
        let last = written.checked_sub(1).and_then(|last| lines.get(last));
        self.is_torn = last.is_some_and(|byte| *byte != b'\n');
        (written, error)
    }
}

fn put(file: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Takes so many bytes, then no more.
    #[derive(Default)]
    struct Disk {
        room: usize,
        held: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.held.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_follows_a_piece_begins_a_line_of_its_own() {
        for (name, rooms, want) in [
            ("no piece", &[7, 7][..], "line A\nline B\n"),
            ("nothing of the first", &[0, 7], "line B\n"),
            ("a piece", &[3, 9], "lin~\nline B\n"),
            ("all but the end", &[6, 9], "line A~\nline B\n"),
            ("no room for the scar", &[3, 0, 9], "lin~\nline B\n"),
            ("half of the scar", &[3, 1, 9], "lin~~\nline B\n"),
            ("another piece", &[3, 5, 9], "lin~\nlin~\nline B\n"),
        ] {
            let (mut tail, mut disk) = (Tail::default(), Disk::default());
            for (at, room) in rooms.iter().enumerate() {
                disk.room = *room;
                let line: &[u8] = if at == 0 { b"line A\n" } else { b"line B\n" };
                tail.append(&mut disk, line);
            }
            let held = String::from_utf8(disk.held).unwrap();
            assert_eq!(held, want, "{name}");
        }
    }

    #[test]
    fn a_piece_that_another_process_left_is_found() {
        for (left, want) in [("", false), ("line\n", false), ("line\npie", true)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(left.as_bytes()).unwrap();
            assert_eq!(Tail::of(&file).unwrap().is_torn, want, "{left:?}");
        }
        let null = File::open("/dev/null").unwrap();
        assert!(!Tail::of(&null).unwrap().is_torn);
    }
}
