//! Why bytes are no acceptable HTTP.

use std::fmt;

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

impl HttpError {
    /// The status to answer before closing.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::HeadTooLarge => 431,
            Self::BodyTooLarge => 413,
            Self::Version => 505,
            Self::TransferCoding => 501,
            Self::Expectation => 417,
        }
    }
}

impl std::error::Error for HttpError {}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(what) => return write!(f, "malformed HTTP: {what}"),
            Self::HeadTooLarge => "http: request header fields too large",
            // OpenBao's words.
            Self::BodyTooLarge => "http: request body too large",
            Self::Version => "http: version not supported, use HTTP/1.1",
            Self::TransferCoding => "http: transfer coding not supported, use chunked",
            Self::Expectation => "http: expectation not supported, use 100-continue",
        })
    }
}
