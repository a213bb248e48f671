//! HTTP/1.1 and 1.0, requests and responses, pipelining, chunked bodies.

use super::Step;

/// Request methods, Vault's LIST among them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
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
    Other,
}

/// Why a peer's bytes are no acceptable HTTP message. Each maps to one status, after which the connection closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpError {
    /// Not HTTP/1.x (400).
    Malformed(&'static str),
    /// Head over the limit (431).
    HeadTooLarge,
    /// Body over the limit (413).
    BodyTooLarge,
    /// A version other than 1.0 and 1.1 (505).
    Version,
    /// A transfer coding other than chunked (501).
    TransferCoding,
    /// An expectation other than 100-continue (417).
    Expectation,
}

/// A request head.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// Path as sent, without the query, still percent-encoded.
    pub path: &'a str,
    /// What follows `?`, if anything does.
    pub query: Option<&'a str>,
    /// Whether the connection may stay open after the answer (version and `Connection` considered).
    pub keep_alive: bool,
    /// `X-Vault-Wrap-TTL` was sent with a value other than empty or 0: refused with a 400.
    pub wrap_ttl: bool,
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
pub struct RequestDecoder {}

impl RequestDecoder {
    /// Looks at `input`, the bytes of the current request so far (and of those pipelined behind it).
    /// A chunked body is de-chunked in place, hence `&mut`.
    pub fn step<'a>(
        &mut self,
        _input: &'a mut [u8],
        _body_bytes_max: usize,
    ) -> Result<Progress<'a>, HttpError> {
        todo!()
    }
    /// Forgets the current request: the next `step` starts a new one.
    pub fn reset(&mut self) {
        todo!()
    }
}
