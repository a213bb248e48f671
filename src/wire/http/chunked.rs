//! Chunked bodies, moved together inside the buffer they arrived in.
//!
//! Must never be true: a byte looked at twice however it trickles in (size and trailer lines, which
//! are short, excepted), a chunk awaited that would pass the limit.

use super::HttpError;

/// Bytes of a chunk-size line with its extensions.
const SIZE_LINE_BYTES_MAX: usize = 256;
/// Bytes of all trailers.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// `0 CR LF CR LF`: the least that can follow a chunk.
const LAST_CHUNK_BYTES: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Before a size line.
    Size,
    /// Inside data of which this much is missing.
    Data(usize),
    /// Before the line end after data.
    DataEnd,
    /// Among the trailers, of which this many bytes have been read.
    Trailers(usize),
    /// Behind the last line end: the same body again, however often it is asked for.
    Whole,
}

/// How far a chunked body was read.
#[derive(Debug)]
pub struct Chunked {
    phase: Phase,
    body_at: usize,
    body_end: usize,
    next: usize,
}

/// What [`Chunked::step`] found.
#[derive(Debug, Eq, PartialEq)]
pub enum ChunkedStep {
    /// The body lies in `input[from..to]`, the message ends at `used`.
    Whole { from: usize, to: usize, used: usize },
    /// At least this many bytes are missing.
    Need(usize),
}

impl Chunked {
    /// A body that starts at `body_at`.
    pub fn new(body_at: usize) -> Self {
        Self {
            phase: Phase::Size,
            body_at,
            body_end: body_at,
            next: body_at,
        }
    }

    /// Moves what is there of `size` bytes of data to the end of the body; returns how much it was.
    fn take_data(&mut self, input: &mut [u8], size: usize) -> usize {
        let here = size.min(input.len().saturating_sub(self.next));
        if self.next + here <= input.len() && self.body_end <= self.next {
            input.copy_within(self.next..self.next + here, self.body_end);
        }
        self.next += here;
        self.body_end += here;
        here
    }

    /// Takes in what has arrived.
    pub fn step(
        &mut self,
        input: &mut [u8],
        body_bytes_max: usize,
    ) -> Result<ChunkedStep, HttpError> {
        loop {
            match self.phase {
                Phase::Size => {
                    let rest = input.get(self.next..).unwrap_or_default();
                    let Some((size, used)) = size_line(rest)? else {
                        let missing = LAST_CHUNK_BYTES.saturating_sub(rest.len());
                        return Ok(ChunkedStep::Need(missing.max(1)));
                    };
                    if size > body_bytes_max.saturating_sub(self.body_end - self.body_at) {
                        return Err(HttpError::BodyTooLarge);
                    }
                    self.next += used;
                    self.phase = if size == 0 {
                        Phase::Trailers(0)
                    } else {
                        Phase::Data(size)
                    };
                }
                Phase::Data(size) => {
                    let missing = size - self.take_data(input, size);
                    if missing > 0 {
                        self.phase = Phase::Data(missing);
                        return Ok(ChunkedStep::Need(missing + 2 + LAST_CHUNK_BYTES));
                    }
                    self.phase = Phase::DataEnd;
                }
                Phase::DataEnd => {
                    match input.get(self.next..) {
                        Some([b'\r', b'\n', ..]) => {}
                        Some([b'\r']) => return Ok(ChunkedStep::Need(1 + LAST_CHUNK_BYTES)),
                        Some([]) | None => return Ok(ChunkedStep::Need(2 + LAST_CHUNK_BYTES)),
                        Some(_) => return Err(HttpError::Malformed("chunk longer than its size")),
                    }
                    self.next += 2;
                    self.phase = Phase::Size;
                }
                Phase::Trailers(read) => {
                    let rest = input.get(self.next..).unwrap_or_default();
                    let Some(line) = line(rest, TRAILER_BYTES_MAX - read)? else {
                        return Ok(ChunkedStep::Need(2usize.saturating_sub(rest.len()).max(1)));
                    };
                    self.next += line.len() + 2;
                    self.phase = if line.is_empty() {
                        Phase::Whole
                    } else {
                        super::head::field(line)?;
                        Phase::Trailers((read + line.len() + 2).min(TRAILER_BYTES_MAX))
                    };
                }
                Phase::Whole => {
                    let (from, to, used) = (self.body_at, self.body_end, self.next);
                    return Ok(ChunkedStep::Whole { from, to, used });
                }
            }
        }
    }
}

/// The first line, which must end in CRLF within `bytes_max`.
fn line(input: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, HttpError> {
    let window = input.get(..bytes_max).unwrap_or(input);
    let Some(end) = super::super::scan::find(window, b'\n') else {
        return if window.len() < bytes_max {
            Ok(None)
        } else {
            Err(HttpError::HeadTooLarge)
        };
    };
    match window.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
        Some(line) => Ok(Some(line)),
        None => Err(HttpError::Malformed(
            "chunk line ends without a carriage return",
        )),
    }
}

/// The size and the bytes of its line.
fn size_line(input: &[u8]) -> Result<Option<(usize, usize)>, HttpError> {
    let bad = HttpError::Malformed("bad chunk size");
    let Some(line) = line(input, SIZE_LINE_BYTES_MAX)? else {
        let plausible = input.first().is_none_or(u8::is_ascii_hexdigit);
        return if plausible { Ok(None) } else { Err(bad) };
    };
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, extension) = line.split_at_checked(digits).ok_or(bad)?;
    let extension = super::head::trim(extension);
    let clean = extension
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
    if digits == 0 || digits > 8 || !clean || !(extension.is_empty() || extension.starts_with(b";"))
    {
        return Err(bad);
    }
    let size = size.iter().fold(0, |sum, &digit| {
        sum << 4 | char::from(digit).to_digit(16).unwrap_or(0)
    });
    Ok(Some((size as usize, line.len() + 2)))
}
