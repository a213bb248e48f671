//! One client's requests: plaintext bytes in, replies out. Knows no socket and reads no clock.
//!
//! A session stops parsing at its first parked request, so answers keep their order; the bytes of a
//! parked request stay where they are and are run again when its tickets are in. Must never be true:
//! a reply written for a request whose certificate is no longer accepted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::api::Fault;
use crate::api::reply::{Reply, ReplyHead};
use crate::engine::{Call, Flow, Gather, Outcome, Waiter};
use crate::hsm::ClientTag;
use crate::identity::{Pin, Snapshot, Stranger};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::metrics::{Kind, Reason};
use crate::quota::Client;
use crate::wire::Out;
use crate::wire::http::{self, Connection, HttpError, Method, Progress, Request, RequestDecoder};

use super::desk::Desk;
use super::input::Input;
use super::note::Book;
use super::run::run;
use super::timing::Timing;
use super::worker::RECORDS_BYTES;
use super::{Phase, Shared, tally};

/// Reply bytes after which parsing pauses until they are on their way.
const REPLY_BYTES_PAUSE: usize = 128 * 1024;
/// A body with its chunks' framing may be so many times its limit.
const CHUNK_FRAMING_FACTOR: usize = 4;

/// The HTTP side of one connection.
pub(super) struct Session {
    pin: Arc<Pin>,
    client: Arc<Client>,
    /// As the audit log has it.
    address: Box<str>,
    input: Input,
    decoder: RequestDecoder,
    gather: Gather,
    /// Number of the current request; stale tickets bear another.
    request: u32,
    conn: u32,
    generation: u32,
    state: State,
    /// When the current request began to arrive.
    since: Option<Instant>,
    /// The current request's deadline has been asked for.
    noted: bool,
    /// The current request's, if it asked to be told.
    timing: Option<Box<Timing>>,
}

/// What a session is waiting for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Bytes, or nothing: whatever is buffered has been looked at.
    Idle,
    /// Buffered bytes have not been looked at.
    Ready,
    /// Tickets, until the deadline.
    Parked {
        /// When the request is answered 504.
        deadline: Instant,
    },
    /// Nothing: what is written is the last, then the connection ends.
    Ending,
    /// Nothing: the certificate is no longer accepted, cut at once.
    Cut,
}

impl Session {
    pub(super) fn new(
        pin: Arc<Pin>,
        client: Arc<Client>,
        address: IpAddr,
        conn: u32,
        generation: u32,
    ) -> Self {
        Self {
            pin,
            client,
            address: address.to_string().into(),
            input: Input::default(),
            decoder: RequestDecoder::default(),
            gather: Gather::default(),
            request: 0,
            conn,
            generation,
            state: State::Idle,
            since: None,
            noted: false,
            timing: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The number that a deadline or ticket for the current request bears.
    pub(super) fn request(&self) -> u32 {
        self.request
    }

    /// Deadline and number of a parked request, the first time that it is asked after: tickets and
    /// bytes that come meanwhile change neither.
    pub(super) fn newly_parked(&mut self) -> Option<(Instant, u32)> {
        let State::Parked { deadline } = self.state else {
            return None;
        };
        if std::mem::replace(&mut self.noted, true) {
            None
        } else {
            Some((deadline, self.request))
        }
    }

    /// Since when a request has been arriving.
    pub(super) fn receiving_since(&self) -> Option<Instant> {
        if matches!(self.state, State::Idle | State::Ready) {
            self.since
        } else {
            None
        }
    }

    /// Whether a reload dropped the certificate.
    pub(super) fn is_revoked(&self) -> bool {
        self.pin.revoked.load(Ordering::Relaxed)
    }

    /// After a reload: what the certificate may do now. One that may do nothing any more keeps its old pin, which
    /// is marked as revoked or out of its dates.
    pub(super) fn renew_pin(&mut self, pins: &Snapshot, now_unix_s: i64) {
        match pins.renew(&self.pin, now_unix_s) {
            Ok(pin) => self.pin = pin,
            Err(Stranger::Expired | Stranger::NotYetValid) => {}
            // A reload marks what it drops, but what client CAs vouch for is not all at hand there.
            Err(_) => self.pin.revoked.store(true, Ordering::Release),
        }
    }

    /// The principal's certificate.
    pub(super) fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Takes plaintext in and serves what is complete in it.
    pub(super) fn feed(&mut self, plaintext: &mut [u8], shared: &Shared, desk: &mut Desk) {
        if self.input.is_empty() && self.state == State::Idle {
            let used = self.serve_from(plaintext, shared, desk);
            self.keep(&plaintext[used..], shared, desk);
        } else {
            self.keep(plaintext, shared, desk);
            if self.state == State::Idle {
                self.state = State::Ready;
            }
        }
    }

    fn keep(&mut self, bytes: &[u8], shared: &Shared, desk: &mut Desk) {
        if matches!(self.state, State::Ending | State::Cut) {
            return;
        }
        if !bytes.is_empty() && self.since.is_none() {
            self.since = Some(desk.clock.now);
        }
        if self.input.len() + bytes.len() > input_bytes_max(shared) {
            self.end_with(&fault_of(HttpError::BodyTooLarge), shared, desk);
        } else if self.input.extend(bytes, Desk::supply(shared)).is_err() {
            let fault = Fault::new(503, "too many bytes of request bodies wait").retry_after(1);
            self.end_with(&fault.because(Reason::BodyMemory), shared, desk);
        }
    }

    /// Looks at what is buffered.
    pub(super) fn resume(&mut self, shared: &Shared, desk: &mut Desk) {
        let mut input = std::mem::take(&mut self.input);
        let used = self.serve_from(input.bytes(), shared, desk);
        input.consume(used, Desk::supply(shared));
        self.input = input;
        if used > 0 && !self.input.is_empty() && self.since.is_none() {
            self.since = Some(desk.clock.now);
        }
    }

    /// Serves the complete requests at the front of `bytes`; returns how many bytes they were.
    fn serve_from(&mut self, bytes: &mut [u8], shared: &Shared, desk: &mut Desk) -> usize {
        let mut used = 0;
        self.state = State::Idle;
        while used < bytes.len() {
            if desk.reply.len() > REPLY_BYTES_PAUSE {
                self.state = State::Ready;
                break;
            }
            match self
                .decoder
                .step(&mut bytes[used..], shared.settings.body_bytes_max)
            {
                Ok(Progress::Request(request, len)) => {
                    if self.serve(&request, shared, desk) == Flow::Parked {
                        break;
                    }
                    used += len;
                    self.next_request();
                    if matches!(self.state, State::Ending | State::Cut) {
                        break;
                    }
                }
                Ok(Progress::Need(_)) => break,
                Ok(Progress::NeedAfterContinue(_)) => {
                    desk.reply.put(http::CONTINUE);
                    break;
                }
                Err(error) => {
                    self.end_with(&fault_of(error), shared, desk);
                    break;
                }
            }
        }
        used
    }

    fn next_request(&mut self) {
        self.decoder.reset();
        self.gather.clear();
        self.request = self.request.wrapping_add(1);
        self.since = None;
        self.noted = false;
        self.timing = None;
    }

    /// Serves or parks one request.
    fn serve(&mut self, request: &Request<'_>, shared: &Shared, desk: &mut Desk) -> Flow {
        if self.is_revoked() || self.pin.not_after_unix_s < desk.clock.unix_s {
            self.state = State::Cut;
            return Flow::Answered;
        }
        let is_staying = shared.phase() <= Phase::Serving && !shared.is_leaving();
        let keep_alive = request.head.keep_alive && is_staying;
        // A request that was parked keeps the deadline of its first run.
        let (timeout, parked) = (shared.settings.request_timeout, self.gather.deadline());
        let deadline = parked.unwrap_or(desk.clock.now + timeout);
        if request.head.server_timing {
            self.timing.get_or_insert_default();
        }
        let request_id = desk.ids.next();
        let mut book = Book::new(desk.audit.as_mut(), &self.address, request_id, timeout);
        let mut reply = Reply::new(
            &mut desk.reply,
            ReplyHead {
                date: &desk.clock.date,
                connection: Connection::of(keep_alive, request.head.http_1_1),
                head_only: request.head.method == Method::Head,
                request_id,
            },
        );
        let mut call = Call {
            pin: &self.pin,
            role: &self.pin.role,
            waiter: self.waiter(desk.worker),
            now: desk.clock.now,
            unix_s: desk.clock.unix_s,
            deadline,
            quota: &self.client,
            client: ClientTag(self.client.tag()),
            sent: self.timing.as_ref().map(|timing| Arc::clone(&timing.sent)),
            decoded: &mut desk.decoded,
        };
        let (gather, timing) = (&mut self.gather, self.timing.as_deref());
        let (flow, kind) = run(
            request, shared, &mut call, gather, &mut reply, timing, &mut book,
        );
        match flow {
            Flow::Parked => {
                self.gather.set_deadline(deadline);
                if let Some(timing) = &mut self.timing {
                    timing.park(desk.clock.now);
                }
                self.state = State::Parked { deadline };
            }
            Flow::Answered => {
                let counters = shared.metrics.worker(desk.worker);
                let since = parked.and_then(|deadline| deadline.checked_sub(timeout));
                desk.tally.answered(kind, since, counters);
                tally::count(counters, &reply, gather);
                self.state = if keep_alive {
                    State::Idle
                } else {
                    State::Ending
                };
            }
        }
        flow
    }

    /// Where tickets for the current request go.
    fn waiter(&self, worker: u16) -> Waiter {
        Waiter {
            worker,
            conn: self.conn,
            generation: self.generation,
            request: self.request,
            item: 0,
        }
    }

    /// Takes a ticket; true when the parked request can be run again.
    pub(super) fn accept(&mut self, waiter: Waiter, outcome: Outcome, now: Instant) -> bool {
        let State::Parked { deadline } = self.state else {
            return false;
        };
        if waiter.request != self.request {
            return false;
        }
        if let Some(timing) = &mut self.timing {
            timing.ticket(now);
        }
        self.gather.accept(waiter.item, outcome, now < deadline);
        !self.gather.is_waiting()
    }

    /// Runs the parked request again: its tickets are in, or its time is over.
    pub(super) fn unpark(&mut self, shared: &Shared, desk: &mut Desk) {
        if matches!(self.state, State::Parked { .. }) {
            self.resume(shared, desk);
        }
    }

    /// Gives up on tickets that have not come.
    pub(super) fn give_up(&mut self, shared: &Shared, desk: &Desk) {
        shared.metrics.worker(desk.worker).timeouts.bump();
        self.gather.give_up();
        if let Some(timing) = &mut self.timing {
            timing.give_up(desk.clock.now);
        }
    }

    /// Answers `fault` and ends the connection.
    pub(super) fn end_with(&mut self, fault: &Fault, shared: &Shared, desk: &mut Desk) {
        let head = ReplyHead {
            date: &desk.clock.date,
            connection: Connection::Close,
            head_only: false,
            request_id: [0; 16],
        };
        let mut reply = Reply::new(&mut desk.reply, head);
        reply.fault(fault);
        let counters = shared.metrics.worker(desk.worker);
        tally::count(counters, &reply, &Gather::default());
        desk.tally.answered(Kind::Other, None, counters);
        self.state = State::Ending;
    }

    /// Gives buffers back; call before dropping.
    pub(super) fn release(&mut self, shared: &Shared) {
        self.input.release(&shared.buffered);
    }
}

/// Bytes that one connection may have waiting: a head, a body, the framing of a body in small
/// chunks, and what a client may have pipelined behind them in one read.
fn input_bytes_max(shared: &Shared) -> usize {
    HTTP_HEAD_BYTES_MAX + CHUNK_FRAMING_FACTOR * shared.settings.body_bytes_max + RECORDS_BYTES
}

/// What an unreadable request is answered before its connection ends.
fn fault_of(error: HttpError) -> Fault {
    match error {
        HttpError::Malformed(what) => Fault::new(400, format!("malformed HTTP request: {what}")),
        HttpError::HeadTooLarge => Fault::new(431, "request headers too large"),
        HttpError::BodyTooLarge => Fault::new(413, "http: request body too large"),
        HttpError::Version => Fault::new(505, "only HTTP/1.0 and HTTP/1.1 are served"),
        HttpError::TransferCoding => Fault::new(501, "only the chunked transfer coding is served"),
        HttpError::Expectation => Fault::new(417, "only the expectation 100-continue is served"),
    }
}
