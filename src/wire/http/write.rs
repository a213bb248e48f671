//! Heads as we write them: the server's answers, the client's requests.

use super::super::{Out, put_decimal};

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Width of the length field, which is filled in after the body is written.
const LENGTH_WIDTH: usize = 10;
const LENGTH_BLANK: &[u8; LENGTH_WIDTH] = b"         0";

/// Where an answer's time went, for `Server-Timing`; what does not apply is left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerTiming {
    /// Microseconds of waiting for the HSM's turn.
    pub queue_us: Option<u64>,
    /// Whether the cache had it.
    pub cache_hit: Option<bool>,
    /// Microseconds of waiting for the HSM itself.
    pub hsm_us: Option<u64>,
}

/// What an answer says of its connection: as Go, nothing where the version says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// No header: HTTP/1.1 that stays open, HTTP/1.0 that ends.
    Silent,
    /// `close`.
    Close,
    /// `keep-alive`, to HTTP/1.0.
    KeepAlive,
}

impl Connection {
    /// What to say in an answer to a request of this version.
    #[inline]
    pub const fn of(keep_alive: bool, http_1_1: bool) -> Self {
        match (keep_alive, http_1_1) {
            (true, true) | (false, false) => Self::Silent,
            (false, true) => Self::Close,
            (true, false) => Self::KeepAlive,
        }
    }
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyForm {
    /// It is sent, its length before it.
    Sent,
    /// Only its length is told: the answer is to a HEAD request.
    LengthOnly,
    /// Neither.
    Untold,
}

/// Head of an answer, with the header set of OpenBao.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// What is said of the connection.
    pub connection: Connection,
    /// What becomes of the body.
    pub body: BodyForm,
    /// Seconds of `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// `Server-Timing`, for a client that asked for it.
    pub server_timing: Option<ServerTiming>,
    /// `X-KMS-Stale`: items served past their life; 0: the header is left out.
    pub stale_items: usize,
    /// `Location`; printable ASCII. Not looked at with a 200.
    pub location: Option<&'a str>,
    /// `Content-Type`; see [`ResponseHead::JSON`].
    pub content_type: &'static str,
    /// The time as an HTTP date.
    pub date: &'a [u8; 29],
}

impl ResponseHead<'_> {
    /// The content type of every answer of the client API.
    pub const JSON: &'static str = "application/json";
}

/// An answer whose body is being written: hand it to [`end_response`].
#[derive(Debug)]
#[must_use = "the length is not filled in before end_response"]
pub struct OpenResponse {
    length_at: Option<usize>,
    body_at: usize,
    sent: bool,
}

/// The head of nearly every answer, written in one piece.
const USUAL: &[u8] =
    b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/json\r\n\
Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length:          0\r\n\r\n";
const USUAL_LENGTH_AT: usize = USUAL.len() - 4 - LENGTH_WIDTH;
const USUAL_DATE_AT: usize = USUAL_LENGTH_AT - b"\r\nContent-Length: ".len() - 29;

#[inline]
fn begin_usual<O: Out + ?Sized>(out: &mut O, head: &ResponseHead<'_>) -> OpenResponse {
    let mut text = [0; USUAL.len()];
    text.copy_from_slice(USUAL);
    text[USUAL_DATE_AT..USUAL_DATE_AT + 29].copy_from_slice(head.date);
    let length_at = Some(out.len() + USUAL_LENGTH_AT);
    out.put(&text);
    OpenResponse {
        length_at,
        body_at: out.len(),
        sent: head.body == BodyForm::Sent,
    }
}

/// Writes the head; the body follows, then [`end_response`].
#[inline]
pub fn begin_response<O: Out + ?Sized>(out: &mut O, head: &ResponseHead<'_>) -> OpenResponse {
    if head.status == 200
        && head.content_type == ResponseHead::JSON
        && head.connection == Connection::Silent
        && head.body != BodyForm::Untold
        && head.retry_after_s.is_none()
        && head.server_timing.is_none()
        && head.stale_items == 0
    {
        return begin_usual(out, head);
    }
    start(out, head);
    out.put(head.date);
    out.put(b"\r\n");
    let mut length_at = None;
    if head.status != 204 && head.body != BodyForm::Untold {
        out.put(b"Content-Length: ");
        length_at = Some(out.len());
        out.put(LENGTH_BLANK);
        out.put(b"\r\n");
    }
    if let Some(seconds) = head.retry_after_s {
        out.put(b"Retry-After: ");
        put_decimal(out, u64::from(seconds));
        out.put(b"\r\n");
    }
    if let Some(timing) = &head.server_timing {
        put_server_timing(out, timing);
    }
    if head.stale_items > 0 {
        out.put(b"X-KMS-Stale: ");
        put_decimal(out, head.stale_items as u64);
        out.put(b"\r\n");
    }
    if let Some(location) = head.location {
        out.put(b"Location: ");
        out.put(location.as_bytes());
        out.put(b"\r\n");
    }
    out.put(match head.connection {
        Connection::Silent => b"\r\n",
        Connection::Close => b"Connection: close\r\n\r\n",
        Connection::KeepAlive => b"Connection: keep-alive\r\n\r\n",
    });
    OpenResponse {
        length_at,
        body_at: out.len(),
        sent: head.body == BodyForm::Sent,
    }
}

/// Fills in the length of what was written since [`begin_response`]. Drops the body where there must be none.
#[inline]
#[allow(clippy::needless_pass_by_value)] // Taken, so that it is ended once.
pub fn end_response<O: Out + ?Sized>(out: &mut O, open: OpenResponse) {
    let OpenResponse {
        length_at,
        body_at,
        sent,
    } = open;
    let mut length = out.len().saturating_sub(body_at);
    if let Some(at) = length_at {
        let mut digits = [b' '; LENGTH_WIDTH];
        for place in digits.iter_mut().rev() {
            *place = b'0' + u8::try_from(length % 10).unwrap_or(0);
            length /= 10;
            if length == 0 {
                break;
            }
        }
        out.patch(at, &digits);
    }
    if !sent || length_at.is_none() {
        out.truncate(body_at);
    }
}

#[cold]
fn start<O: Out + ?Sized>(out: &mut O, head: &ResponseHead<'_>) {
    out.put(b"HTTP/1.1 ");
    put_decimal(out, u64::from(head.status));
    out.put(b" ");
    out.put(reason(head.status).as_bytes());
    out.put(b"\r\nCache-Control: no-store\r\nContent-Type: ");
    out.put(head.content_type.as_bytes());
    out.put(b"\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\nDate: ");
}

/// As the W3C's Server Timing has it: durations in milliseconds.
#[cold]
fn put_server_timing<O: Out + ?Sized>(out: &mut O, timing: &ServerTiming) {
    let mut lead: &[u8] = b"Server-Timing: ";
    let duration = |out: &mut O, us: u64| {
        out.put(b";dur=");
        put_decimal(out, us / 1000);
        let digit = |place: u64| b'0' + u8::try_from(us / place % 10).unwrap_or(0);
        out.put(&[b'.', digit(100), digit(10), digit(1)]);
    };
    if let Some(us) = timing.queue_us {
        out.put(std::mem::replace(&mut lead, b", "));
        out.put(b"queue");
        duration(out, us);
    }
    if let Some(hit) = timing.cache_hit {
        out.put(std::mem::replace(&mut lead, b", "));
        out.put(if hit {
            b"cache;desc=hit"
        } else {
            b"cache;desc=miss"
        });
        // A lookup takes less than these milliseconds show.
        out.put(b";dur=0.0");
    }
    if let Some(us) = timing.hsm_us {
        out.put(std::mem::replace(&mut lead, b", "));
        out.put(b"hsm");
        duration(out, us);
    }
    if lead == b", " {
        out.put(b"\r\n");
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        207 => "Multi-Status",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

/// Head of a request that a client sends.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// Further headers, none of those that frame the message.
    pub headers: &'a [(&'a str, &'a str)],
    /// False sends `Connection: close`.
    pub keep_alive: bool,
}

/// Writes a whole request with a `Content-Length`.
pub fn write_request<O: Out + ?Sized>(out: &mut O, head: &RequestHead<'_>, body: &[u8]) {
    for part in [
        head.method,
        " ",
        head.target,
        " HTTP/1.1\r\nHost: ",
        head.host,
        "\r\n",
    ] {
        out.put(part.as_bytes());
    }
    for (name, value) in head.headers {
        for part in [name, ": ", value, "\r\n"] {
            out.put(part.as_bytes());
        }
    }
    if !head.keep_alive {
        out.put(b"Connection: close\r\n");
    }
    out.put(b"Content-Length: ");
    put_decimal(out, body.len() as u64);
    out.put(b"\r\n\r\n");
    out.put(body);
}
