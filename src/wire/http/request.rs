//! Requests, as the server reads them.

use std::ops::Range;

use super::super::scan;
use super::HttpError;
use super::chunked::{Chunked, ChunkedStep};
use super::head::{self, Common, Framing, HeadEnd, Lines};
use super::namespace::Namespace;
use super::path::{self, PathForm};

/// Request methods, Vault's LIST among them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    List,
    Patch,
    Options,
    Scan,
    Connect,
    Other,
}

impl Method {
    #[inline]
    fn of(name: &[u8]) -> Self {
        match name {
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"DELETE" => Self::Delete,
            b"LIST" => Self::List,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"SCAN" => Self::Scan,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// A request head.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// Path without the query; decoded or not as `path_form` says.
    pub path: &'a str,
    /// What became of the path.
    pub path_form: PathForm,
    /// What follows `?`, if anything does.
    pub query: Option<&'a str>,
    /// HTTP/1.1, not 1.0.
    pub http_1_1: bool,
    /// Whether the connection may stay open after the answer (version and `Connection` considered).
    pub keep_alive: bool,
    /// `X-Vault-Wrap-TTL` was sent with a value other than empty or 0: refused with a 400.
    pub wrap_ttl: bool,
    /// `X-Vault-Namespace`.
    pub namespace: Namespace,
    /// `X-KMS-Server-Timing` was sent with a value other than empty, 0 or false.
    pub server_timing: bool,
    /// `Content-Type` without its parameters; `None` without one.
    pub content_type: Option<&'a str>,
    /// `Content-Type: application/x-www-form-urlencoded`: see [`crate::wire::transit::crypt_form`].
    pub form: bool,
}

/// One whole request inside the caller's buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// The head.
    pub head: Head<'a>,
    /// The body, already without chunk framing.
    pub body: &'a [u8],
}

/// What [`RequestDecoder::step`] found.
#[derive(Debug, Eq, PartialEq)]
pub enum Progress<'a> {
    /// A whole request; it used this many bytes of `input`.
    Request(Request<'a>, usize),
    /// At least this many more bytes are needed; never zero.
    Need(usize),
    /// As `Need`, and the client waits for `100 Continue` first. Reported once a request.
    NeedAfterContinue(usize),
}

/// Decodes requests from a growing buffer that starts at a request's first byte. Remembers how far
/// it came, so that a body that trickles in costs no second scan. `reset` after each request.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    head_end: HeadEnd,
    parsed: Option<Parsed>,
}

/// What the head said, by position.
#[derive(Debug)]
struct Parsed {
    head_len: usize,
    method: Method,
    path: Range<usize>,
    query: Option<Range<usize>>,
    path_form: PathForm,
    http_1_1: bool,
    keep_alive: bool,
    wrap_ttl: bool,
    namespace: Option<Namespace>,
    server_timing: bool,
    content_type: Option<Range<usize>>,
    form: bool,
    /// The client waits for `100 Continue`, which has not been reported.
    waits: bool,
    body: Body,
}

impl Parsed {
    fn head<'a>(&self, input: &'a [u8]) -> Head<'a> {
        Head {
            method: self.method,
            path: head::text(input, &self.path),
            path_form: self.path_form,
            query: self.query.as_ref().map(|range| head::text(input, range)),
            http_1_1: self.http_1_1,
            keep_alive: self.keep_alive,
            wrap_ttl: self.wrap_ttl,
            namespace: self.namespace.unwrap_or_default(),
            server_timing: self.server_timing,
            content_type: self
                .content_type
                .as_ref()
                .map(|range| head::text(input, range)),
            form: self.form,
        }
    }
}

#[derive(Debug)]
enum Body {
    Fixed(usize),
    Chunked(Chunked),
}

impl RequestDecoder {
    /// Looks at `input`, the bytes of the current request so far (and of those pipelined behind it).
    /// A chunked body is de-chunked in place, hence `&mut`.
    #[inline]
    pub fn step<'a>(
        &mut self,
        input: &'a mut [u8],
        body_bytes_max: usize,
    ) -> Result<Progress<'a>, HttpError> {
        if self.parsed.is_none() {
            let blank = leading_line_end(input);
            if input
                .get(blank)
                .is_some_and(|&byte| !head::is_token(byte) && (blank > 0 || byte != b'\r'))
            {
                return Err(HttpError::Malformed("no method in the first line"));
            }
            let rest = input.get(blank..).unwrap_or_default();
            let Some(head_len) = self.head_end.find(rest)? else {
                return Ok(Progress::Need(1));
            };
            let mut parsed = parse(rest.get(..head_len).unwrap_or_default(), blank)?;
            if matches!(parsed.body, Body::Fixed(length) if length > body_bytes_max) {
                return Err(HttpError::BodyTooLarge);
            }
            // In place and once: the decoder keeps what it parsed until the request is done with.
            if let Some(target) = input.get_mut(parsed.path.clone())
                && !path::is_plain(target)
            {
                let (form, len) = path::settle(target);
                parsed.path_form = form;
                parsed.path.end = parsed.path.start + len;
            }
            self.parsed = Some(parsed);
        }
        let Some(parsed) = &mut self.parsed else {
            return Ok(Progress::Need(1));
        };
        let arrived = input.len() > parsed.head_len;
        let waits = std::mem::take(&mut parsed.waits) && !arrived;
        let (body, used) = match &mut parsed.body {
            Body::Fixed(length) => {
                let used = parsed.head_len.saturating_add(*length);
                if input.len() < used {
                    return Ok(need(used - input.len(), waits));
                }
                (parsed.head_len..used, used)
            }
            Body::Chunked(chunked) => match chunked.step(input, body_bytes_max)? {
                ChunkedStep::Need(missing) => return Ok(need(missing, waits)),
                ChunkedStep::Whole { from, to, used } => (from..to, used),
            },
        };
        let input: &'a [u8] = input;
        let head = parsed.head(input);
        let body = input.get(body).unwrap_or_default();
        Ok(Progress::Request(Request { head, body }, used))
    }

    /// Forgets the current request: the next `step` starts a new one.
    #[inline]
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[inline]
fn need(missing: usize, waits: bool) -> Progress<'static> {
    if waits {
        Progress::NeedAfterContinue(missing)
    } else {
        Progress::Need(missing)
    }
}

/// Bytes of an empty line before a request, which some clients send after a body. One is forgiven, as
/// RFC 9112 (2.2) asks.
#[inline]
fn leading_line_end(input: &[u8]) -> usize {
    match input {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// Reads a whole head that starts `offset` bytes into the buffer.
fn parse(input: &[u8], offset: usize) -> Result<Parsed, HttpError> {
    let mut lines = Lines::new(input);
    let (line, _) = lines.next();
    let (method, target, http_1_1) = request_line(line)?;
    let mut parsed = Parsed {
        head_len: offset + input.len(),
        method,
        path: 0..0,
        query: None,
        path_form: PathForm::Plain,
        http_1_1,
        keep_alive: false,
        wrap_ttl: false,
        namespace: None,
        server_timing: false,
        content_type: None,
        form: false,
        waits: false,
        body: Body::Fixed(0),
    };
    split_target(line, target, offset, &mut parsed)?;
    let mut common = Common::default();
    let mut hosts = 0;
    loop {
        let (line, _) = lines.next();
        if line.is_empty() {
            break;
        }
        common.count()?;
        let (name, value) = head::field(line)?;
        let at = offset + value.as_ptr().addr() - input.as_ptr().addr();
        header(name, (value, at), &mut common, &mut parsed, &mut hosts)?;
    }
    if hosts > 1 || (hosts == 0 && http_1_1) {
        return Err(HttpError::Malformed("exactly one Host header is required"));
    }
    // What follows a CONNECT is no HTTP.
    parsed.keep_alive = common.persists(http_1_1) && method != Method::Connect;
    parsed.body = match common.framing(http_1_1)? {
        Framing::Absent => Body::Fixed(0),
        Framing::Length(length) => Body::Fixed(length),
        Framing::Chunked => Body::Chunked(Chunked::new(parsed.head_len)),
    };
    Ok(parsed)
}

/// Takes in one header, whose value stands at that place. The length of the name decides first: most headers are nobody's.
#[inline]
fn header(
    name: &[u8],
    (value, at): (&[u8], usize),
    common: &mut Common,
    parsed: &mut Parsed,
    hosts: &mut u32,
) -> Result<(), HttpError> {
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => *hosts += 1,
        6 if name.eq_ignore_ascii_case(b"expect") && parsed.http_1_1 => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpError::Expectation);
            }
            parsed.waits = true;
        }
        10 if name.eq_ignore_ascii_case(b"connection") => common.connection(value),
        12 if name.eq_ignore_ascii_case(b"content-type") => {
            let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
            let kind = kind.trim_ascii_end();
            parsed.form = kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
            parsed.content_type =
                (!kind.is_empty() && kind.is_ascii()).then(|| at..at + kind.len());
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => common.content_length(value)?,
        16 if name.eq_ignore_ascii_case(b"x-vault-wrap-ttl") => {
            parsed.wrap_ttl |= !matches!(value, b"" | b"0" | b"0s");
        }
        17 if name.eq_ignore_ascii_case(b"x-vault-namespace") => {
            // The first one counts, as in Go.
            parsed.namespace.get_or_insert(Namespace::of(value));
        }
        19 if name.eq_ignore_ascii_case(b"x-kms-server-timing") => {
            let off = value.eq_ignore_ascii_case(b"false") || matches!(value, b"" | b"0");
            parsed.server_timing |= !off;
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => common.transfer_encoding(value)?,
        _ => {}
    }
    Ok(())
}

/// Method, position of the target in the line, and whether it is HTTP/1.1.
#[inline]
fn request_line(line: &[u8]) -> Result<(Method, Range<usize>, bool), HttpError> {
    let bad = HttpError::Malformed("first line is not: method, target, version");
    let method_end = line
        .iter()
        .position(|&byte| !head::is_token(byte))
        .ok_or(bad)?;
    let target_end = line.iter().rposition(|&byte| byte == b' ').ok_or(bad)?;
    if line.get(method_end) != Some(&b' ') || method_end == 0 || target_end <= method_end + 1 {
        return Err(bad);
    }
    let target = method_end + 1..target_end;
    if scan::find_invisible(line.get(target.clone()).unwrap_or_default()).is_some() {
        return Err(HttpError::Malformed(
            "request target holds spaces or control or non-ASCII characters",
        ));
    }
    let http_1_1 = head::version(line.get(target_end + 1..).unwrap_or_default())?;
    Ok((
        Method::of(line.get(..method_end).unwrap_or_default()),
        target,
        http_1_1,
    ))
}

/// Fills in path and query. Accepts `/path`, `http(s)://authority/path` and `*`.
fn split_target(
    line: &[u8],
    target: Range<usize>,
    offset: usize,
    parsed: &mut Parsed,
) -> Result<(), HttpError> {
    let text = line.get(target.clone()).unwrap_or_default();
    let bad = HttpError::Malformed("request target is neither a path nor a URL");
    let skipped = if text.first() == Some(&b'/') || text == b"*" {
        0
    } else {
        let scheme = [&b"https://"[..], b"http://"]
            .iter()
            .find(|scheme| {
                text.get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
            .ok_or(bad)?
            .len();
        let authority = text.get(scheme..).unwrap_or_default();
        scheme
            + authority
                .iter()
                .position(|&byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(authority.len())
    };
    let from = offset + target.start + skipped;
    let end = offset + target.end;
    let mark = text
        .get(skipped..)
        .unwrap_or_default()
        .iter()
        .position(|&byte| byte == b'?');
    parsed.path = from..mark.map_or(end, |mark| from + mark);
    parsed.query = mark.map(|mark| from + mark + 1..end);
    Ok(())
}
