//! Responses, as our clients read them.

use super::HttpError;
use super::chunked::{Chunked, ChunkedStep};
use super::head::{self, Common, Framing, HeadEnd, Lines};

/// One whole response inside the caller's buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// Seconds of `Retry-After`, if given in seconds.
    pub retry_after_s: Option<u32>,
    /// The body, already without chunk framing.
    pub body: &'a [u8],
}

/// What [`ResponseDecoder::step`] found.
#[derive(Debug, Eq, PartialEq)]
pub enum ResponseProgress<'a> {
    /// A whole response; it used this many bytes of `input`, interim (1xx) ones included.
    Response(Response<'a>, usize),
    /// At least this many more bytes are needed; never zero.
    Need(usize),
    /// The body ends when the peer closes: read on, then call `step` with `ended`.
    NeedEnd,
}

/// Decodes the answer to one request from a growing buffer. A new one for each request.
#[derive(Debug)]
pub struct ResponseDecoder {
    head_only: bool,
    /// Bytes of interim responses before the final one.
    skipped: usize,
    head_end: HeadEnd,
    parsed: Option<Parsed>,
}

#[derive(Debug)]
struct Parsed {
    status: u16,
    keep_alive: bool,
    retry_after_s: Option<u32>,
    body_at: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Fixed(usize),
    Chunked(Chunked),
    UntilEnd,
}

impl ResponseDecoder {
    /// For the answer to a request, which was a HEAD request or not.
    pub fn new(head_only: bool) -> Self {
        Self {
            head_only,
            skipped: 0,
            head_end: HeadEnd::default(),
            parsed: None,
        }
    }

    /// Looks at `input`, everything received since the request. `ended`: the peer closed its side.
    pub fn step<'a>(
        &mut self,
        input: &'a mut [u8],
        body_bytes_max: usize,
        ended: bool,
    ) -> Result<ResponseProgress<'a>, HttpError> {
        let cut = HttpError::Malformed("connection closed inside a response");
        let need = |missing| {
            if ended {
                Err(cut)
            } else {
                Ok(ResponseProgress::Need(missing))
            }
        };
        self.read_heads(input, body_bytes_max)?;
        let Some(parsed) = &mut self.parsed else {
            return need(1);
        };
        let (body, used) = match &mut parsed.body {
            Body::Fixed(length) => {
                let used = parsed.body_at.saturating_add(*length);
                if input.len() < used {
                    return need(used - input.len());
                }
                (parsed.body_at..used, used)
            }
            Body::Chunked(chunked) => match chunked.step(input, body_bytes_max)? {
                ChunkedStep::Need(missing) => return need(missing),
                ChunkedStep::Whole { from, to, used } => (from..to, used),
            },
            Body::UntilEnd if input.len() - parsed.body_at > body_bytes_max => {
                return Err(HttpError::BodyTooLarge);
            }
            Body::UntilEnd if !ended => return Ok(ResponseProgress::NeedEnd),
            Body::UntilEnd => (parsed.body_at..input.len(), input.len()),
        };
        let response = Response {
            status: parsed.status,
            keep_alive: parsed.keep_alive,
            retry_after_s: parsed.retry_after_s,
            body: input.get(body).unwrap_or_default(),
        };
        Ok(ResponseProgress::Response(response, used))
    }

    /// Reads the final head and the interim ones before it, as far as they are there.
    fn read_heads(&mut self, input: &[u8], body_bytes_max: usize) -> Result<(), HttpError> {
        while self.parsed.is_none() {
            let rest = input.get(self.skipped..).unwrap_or_default();
            let Some(head_len) = self.head_end.find(rest)? else {
                return Ok(());
            };
            let body_at = self.skipped + head_len;
            let parsed = parse(
                rest.get(..head_len).unwrap_or_default(),
                body_at,
                self.head_only,
            )?;
            if matches!(parsed.body, Body::Fixed(length) if length > body_bytes_max) {
                return Err(HttpError::BodyTooLarge);
            }
            if parsed.status >= 200 {
                self.parsed = Some(parsed);
            } else {
                self.skipped = body_at;
                self.head_end = HeadEnd::default();
            }
        }
        Ok(())
    }
}

fn parse(input: &[u8], body_at: usize, head_only: bool) -> Result<Parsed, HttpError> {
    let mut lines = Lines::new(input);
    let (line, _) = lines.next();
    let (status, http_1_1) = status_line(line)?;
    let mut common = Common::default();
    let mut retry_after_s = None;
    loop {
        let (line, _) = lines.next();
        if line.is_empty() {
            break;
        }
        common.count()?;
        let (name, value) = head::field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            common.content_length(value)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            common.transfer_encoding(value)?;
        } else if name.eq_ignore_ascii_case(b"connection") {
            common.connection(value);
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            retry_after_s = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
        }
    }
    let framing = common.framing(http_1_1)?;
    let body = match framing {
        _ if head_only || status < 200 || matches!(status, 204 | 304) => Body::Fixed(0),
        Framing::Length(length) => Body::Fixed(length),
        Framing::Chunked => Body::Chunked(Chunked::new(body_at)),
        Framing::Absent => Body::UntilEnd,
    };
    let keep_alive = common.persists(http_1_1) && !matches!(body, Body::UntilEnd);
    Ok(Parsed {
        status,
        keep_alive,
        retry_after_s,
        body_at,
        body,
    })
}

/// The status and whether it is HTTP/1.1. Switching protocols was never asked for.
fn status_line(line: &[u8]) -> Result<(u16, bool), HttpError> {
    let bad = HttpError::Malformed("no HTTP status line");
    let (name, rest) = line.split_at_checked(8).ok_or(bad)?;
    let http_1_1 = head::version(name)?;
    match rest {
        [b' ', a @ b'1'..=b'9', b, c] | [b' ', a @ b'1'..=b'9', b, c, b' ', ..]
            if b.is_ascii_digit() && c.is_ascii_digit() =>
        {
            let digit = |byte: &u8| u16::from(byte - b'0');
            let status = digit(a) * 100 + digit(b) * 10 + digit(c);
            if status == 101 {
                Err(HttpError::Malformed("protocol switched unasked"))
            } else {
                Ok((status, http_1_1))
            }
        }
        _ => Err(bad),
    }
}
