//! One HTTP answer, written front to back into the caller's buffer.
//!
//! Shapes: openbao-transit.md 2.1 to 2.3. A reply is complete when the call returns, or taken back
//! whole; nothing here keeps a secret.

use crate::metrics::Reason;
use crate::wire::Out;
use crate::wire::http::{self, BodyForm, Connection, OpenResponse, ResponseHead, ServerTiming};
use crate::wire::transit;

use super::Fault;

/// In an answer with plaintexts past their life; its `X-KMS-Stale` says how many.
const STALE_WARNING: &str = "the HSM is not reachable: served from the cache after its time to live \
                             (kms.cache.stale.max.s); the header X-KMS-Stale says how many items";

/// What an answer needs besides its data.
#[derive(Clone, Copy, Debug)]
pub struct ReplyHead<'a> {
    /// `Date`, as RFC 9110 prints it.
    pub date: &'a [u8; 29],
    /// What to say of the connection.
    pub connection: Connection,
    /// A HEAD request: headers only.
    pub head_only: bool,
    /// Random; becomes the envelope's `request_id`.
    pub request_id: [u8; 16],
}

/// Writes answers for one request.
pub struct Reply<'a, O: Out> {
    out: &'a mut O,
    head: ReplyHead<'a>,
    timing: Option<ServerTiming>,
    stale_items: usize,
    status: u16,
    reason: Option<Reason>,
}

/// An envelope begun: its data goes to [`Reply::out`].
#[must_use]
pub struct OpenEnvelope {
    start: usize,
    response: OpenResponse,
}

impl<'a, O: Out> Reply<'a, O> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut O, head: ReplyHead<'a>) -> Self {
        Self {
            out,
            head,
            timing: None,
            stale_items: 0,
            status: 0,
            reason: None,
        }
    }

    /// Has the answer tell where its time went.
    pub fn tell(&mut self, timing: ServerTiming) {
        self.timing = Some(timing);
    }

    /// Has an answer with data say that so many of its items are past their life in the cache.
    pub fn tell_stale(&mut self, items: usize) {
        self.stale_items = items;
    }

    /// Where the envelope's `data` goes.
    pub fn out(&mut self) -> &mut O {
        self.out
    }

    /// Begins an envelope; write `data`, then [`Reply::close`] or [`Reply::take_back`].
    pub fn open(&mut self, status: u16, retry_after_s: Option<u32>) -> OpenEnvelope {
        let start = self.out.len();
        let response = self.begin(status, retry_after_s, None);
        transit::envelope_open(self.out, &self.head.request_id);
        OpenEnvelope { start, response }
    }

    /// Ends an envelope. Transit leaves the line feed out where a batch has failed items.
    pub fn close(&mut self, open: OpenEnvelope, warnings: &[impl AsRef<str>], newline: bool) {
        if self.stale_items == 0 {
            transit::envelope_close(self.out, warnings, newline);
        } else {
            let own = warnings.iter().map(AsRef::as_ref);
            let all: Vec<&str> = own.chain([STALE_WARNING]).collect();
            transit::envelope_close(self.out, &all, newline);
        }
        http::end_response(self.out, open.response);
    }

    /// A 204.
    pub fn no_content(&mut self) {
        self.plain(204, |_| {});
    }

    /// An envelope around a token.
    pub fn auth(&mut self, token: &transit::Token<'_>) {
        let response = self.begin(200, None, None);
        transit::put_auth_envelope(self.out, &self.head.request_id, token);
        http::end_response(self.out, response);
    }

    /// Takes an envelope back, as if it had not been begun.
    #[allow(clippy::needless_pass_by_value)] // Taken, so that it is not closed as well.
    pub fn take_back(&mut self, open: OpenEnvelope) {
        self.out.truncate(open.start);
    }

    /// A body without the envelope (`sys/health`), or none.
    pub fn plain(&mut self, status: u16, body: impl FnOnce(&mut O)) {
        // To a HEAD request OpenBao writes no body here, and so does not know its length.
        let form = if self.head.head_only {
            BodyForm::Untold
        } else {
            BodyForm::Sent
        };
        let response = self.begin_with(form, status, None, None);
        body(self.out);
        http::end_response(self.out, response);
    }

    /// `{"errors":[...]}`.
    pub fn fault(&mut self, fault: &Fault) {
        self.stale_items = 0;
        self.reason = fault.reason;
        let location = fault.location.as_deref();
        let response = self.begin(fault.status, fault.retry_after_s, location);
        if location.is_some() {
            // The header says it all.
        } else if fault.text.is_empty() {
            transit::no_errors_body(self.out);
        } else {
            transit::error_body(self.out, &fault.text);
        }
        http::end_response(self.out, response);
    }

    /// Status of what was written last; 0 before anything was.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the request as a whole was not done for, if it was not and that is counted.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    fn begin(
        &mut self,
        status: u16,
        retry_after_s: Option<u32>,
        location: Option<&str>,
    ) -> OpenResponse {
        let body = if self.head.head_only {
            BodyForm::LengthOnly
        } else {
            BodyForm::Sent
        };
        self.begin_with(body, status, retry_after_s, location)
    }

    fn begin_with(
        &mut self,
        body: BodyForm,
        status: u16,
        retry_after_s: Option<u32>,
        location: Option<&str>,
    ) -> OpenResponse {
        self.status = status;
        // A refusal was not served by the cache.
        let server_timing = self.timing.map(|timing| ServerTiming {
            cache_hit: timing.cache_hit.filter(|hit| !hit || status == 200),
            ..timing
        });
        http::begin_response(
            self.out,
            &ResponseHead {
                status,
                date: self.head.date,
                connection: self.head.connection,
                body,
                retry_after_s,
                server_timing,
                stale_items: self.stale_items,
                location,
                content_type: ResponseHead::JSON,
            },
        )
    }
}
