//! HTTP/1.1 and 1.0, requests and responses, pipelining, chunked bodies.
//!
//! Must never be true: two readings of one message (request smuggling), a body byte awaited that the
//! head already shows to be over the limit, a second scan of what trickled in. Called by the server,
//! the load generator and the Vault back end.
//!
//! Line ends: a head line may end in LF alone, as nginx and Go accept; a carriage return elsewhere is
//! refused. Chunk framing must use CRLF. Folded headers, both lengths at once, differing lengths,
//! spaces before the colon and control characters are refused.

mod chunked;
mod client;
mod error;
mod head;
mod namespace;
mod path;
mod request;
#[cfg(test)]
mod tests;
mod write;

pub use client::{Response, ResponseDecoder, ResponseProgress};
pub use error::HttpError;
pub use namespace::Namespace;
pub use path::{PathForm, clean_path, has_dot_segment, percent_decode};
pub use request::{Head, Method, Progress, Request, RequestDecoder};
pub use write::{
    BodyForm, CONTINUE, Connection, OpenResponse, RequestHead, ResponseHead, ServerTiming,
    begin_response, end_response, write_request,
};
