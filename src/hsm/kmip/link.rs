//! One KMIP message out, one in, over TLS on a blocking socket, each by a deadline.
//!
//! Received plaintext lies in locked buffers only. After any error a link is not used again: the
//! other side may still send what was asked before, and some servers lose their place in the stream.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use zeroize::Zeroize;

use super::super::dial::Timed;
use crate::net::pipe::{Pipe, PipeError, SCRATCH_BYTES_MIN};
use crate::net::time::Time;
use crate::net::tls::{Peer, explain};
use crate::secret::{Arena, LockedBuf};
use crate::wire::Step;
use crate::wire::ttlv;

/// What a connection that ought to be idle is given to finish a record, or to be told goodbye.
const SOON: Duration = Duration::from_millis(100);
/// Bytes of the buffer for usual messages; a longer one borrows a buffer for itself.
const INBOUND_BYTES: usize = 32 * 1024;

/// Bytes of locked buffers that one link holds.
pub const LOCKED_BYTES_PER_LINK: usize = SCRATCH_BYTES_MIN + INBOUND_BYTES;

/// Why a message could not be exchanged.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkError {
    /// The connection ended. `answering`: bytes of the answer had arrived.
    Dead {
        /// The answer had begun.
        answering: bool,
        /// What happened.
        why: String,
    },
    /// The deadline passed.
    TimedOut,
    /// The bytes are no KMIP message.
    Protocol(&'static str),
    /// No locked buffer for so long a message.
    NoLockedMemory,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead { why, .. } => f.write_str(why),
            Self::TimedOut => f.write_str("the HSM did not answer in time"),
            Self::Protocol(why) => f.write_str(why),
            Self::NoLockedMemory => f.write_str("no locked memory left for the HSM's answer"),
        }
    }
}

impl std::error::Error for LinkError {}

/// What carries messages: TLS, or a fake in tests.
pub trait Link: Send {
    /// Writes one whole request. Others may be on their way: answers come in the order of requests.
    fn send(&mut self, request: &[u8], deadline: Instant) -> Result<(), LinkError>;
    /// Reads one whole response of at most `bytes_max` and lends it, until [`Link::forget`], which is
    /// also done by the next `receive`.
    fn receive(&mut self, bytes_max: usize, deadline: Instant) -> Result<&[u8], LinkError>;
    /// Wipes the last response; what has come of the next one stays.
    fn forget(&mut self);
    /// Whether the idle connection still stands and nothing unasked has come.
    fn is_quiet(&mut self) -> bool;
    /// The clock by which deadlines are kept.
    fn time(&self) -> Time {
        Time::real()
    }
}

/// A [`Link`] over TLS.
pub struct TlsLink {
    pipe: Pipe<Timed>,
    scratch: LockedBuf,
    inbound: LockedBuf,
    long: Option<LockedBuf>,
    filled: usize,
    /// Bytes at the front that are the lent response.
    lent: usize,
    /// Requests sent that no response was read to.
    awaited: usize,
    /// The HSM has said that it sends no more.
    ended: bool,
    arena: &'static Arena,
}

impl TlsLink {
    /// Shakes hands over `socket`.
    pub fn open(
        socket: TcpStream,
        tls: Arc<ClientConfig>,
        name: ServerName<'static>,
        arena: &'static Arena,
        deadline: Instant,
    ) -> Result<Self, LinkError> {
        let pipe = Pipe::client(tls, name, Timed { socket, deadline }).map_err(dead)?;
        let scratch = arena
            .buffer(SCRATCH_BYTES_MIN)
            .ok_or(LinkError::NoLockedMemory)?;
        let inbound = arena
            .buffer(INBOUND_BYTES)
            .ok_or(LinkError::NoLockedMemory)?;
        let mut link = Self {
            pipe,
            scratch,
            inbound,
            long: None,
            filled: 0,
            lent: 0,
            awaited: 0,
            ended: false,
            arena,
        };
        link.flush()?;
        while !link.pipe.is_established() {
            link.read_some()?;
        }
        Ok(link)
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        match self.pipe.flush() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LinkError::TimedOut),
            Err(error) => Err(dead(error)),
        }
    }

    /// Reads the socket once and appends what it holds. True: the HSM has closed behind it.
    fn read_some(&mut self) -> Result<bool, LinkError> {
        let Self {
            pipe,
            scratch,
            inbound,
            long,
            filled,
            ..
        } = self;
        let room: &mut [u8] = long.as_mut().unwrap_or(inbound);
        let mut fits = true;
        let received = pipe.receive(scratch, |plain| {
            match room.get_mut(*filled..*filled + plain.len()) {
                Some(place) => {
                    place.copy_from_slice(plain);
                    *filled += plain.len();
                }
                None => fits = false,
            }
        });
        let flushed = self.flush();
        let received = received.map_err(|error| self.died(error))?;
        flushed?;
        if !fits {
            return Err(LinkError::Protocol("the HSM sent more than one answer"));
        }
        if received.closed && received.bytes == 0 {
            return Err(self.closed());
        }
        if received.bytes == 0 {
            return Err(LinkError::TimedOut);
        }
        Ok(received.closed)
    }

    fn closed(&self) -> LinkError {
        LinkError::Dead {
            answering: self.filled > 0,
            why: "the HSM closed the connection".to_owned(),
        }
    }

    fn died(&self, error: PipeError) -> LinkError {
        match dead(error) {
            LinkError::Dead { why, .. } => LinkError::Dead {
                answering: self.filled > 0,
                why,
            },
            other => other,
        }
    }

    fn bytes(&self) -> &[u8] {
        let room: &[u8] = self.long.as_ref().unwrap_or(&self.inbound);
        room.get(..self.filled).unwrap_or_default()
    }

    /// Moves a message that is longer than the usual buffer into one of its own.
    fn make_room(&mut self, whole: usize) -> Result<(), LinkError> {
        // A read may bring the front of the next response as well.
        let more = if self.awaited > 1 {
            SCRATCH_BYTES_MIN / 2
        } else {
            0
        };
        if self.long.is_some() || whole + more <= self.inbound.len() {
            return Ok(());
        }
        // Records may hold more than the message; what was not asked for is refused anyway.
        let room = whole + SCRATCH_BYTES_MIN;
        let mut long = self.arena.buffer(room).ok_or(LinkError::NoLockedMemory)?;
        if let Some(front) = long.get_mut(..self.filled) {
            front.copy_from_slice(self.bytes());
        }
        self.inbound.zeroize();
        self.long = Some(long);
        Ok(())
    }
}

impl Link for TlsLink {
    fn send(&mut self, request: &[u8], deadline: Instant) -> Result<(), LinkError> {
        self.pipe.stream_mut().deadline = deadline;
        self.awaited += 1;
        self.pipe.send(request).map_err(dead)?;
        self.flush()
    }

    fn receive(&mut self, bytes_max: usize, deadline: Instant) -> Result<&[u8], LinkError> {
        self.forget();
        self.pipe.stream_mut().deadline = deadline;
        loop {
            let (whole, is_here) = frame(self.bytes())?;
            if whole > bytes_max {
                return Err(LinkError::Protocol(
                    "the HSM announced a longer answer than any to what was asked",
                ));
            }
            if is_here {
                self.lent = whole;
                break;
            }
            if self.ended {
                return Err(self.closed());
            }
            self.make_room(whole)?;
            self.ended = self.read_some()?;
        }
        self.awaited = self.awaited.saturating_sub(1);
        if self.filled > self.lent && self.awaited == 0 {
            return Err(LinkError::Protocol("the HSM sent bytes behind its answer"));
        }
        Ok(self.bytes().get(..self.lent).unwrap_or_default())
    }

    fn forget(&mut self) {
        let (lent, filled) = (std::mem::take(&mut self.lent), self.filled);
        // Nothing was lent: what is here is the front of a response.
        if lent == 0 {
            return;
        }
        self.filled = filled.saturating_sub(lent);
        match self.long.take() {
            // One read brought it, so it fits.
            Some(long) => {
                let next = long.get(lent..filled).unwrap_or_default();
                if let Some(front) = self.inbound.get_mut(..next.len()) {
                    front.copy_from_slice(next);
                }
            }
            None => {
                if let Some(used) = self.inbound.get_mut(..filled) {
                    used.copy_within(lent.min(filled).., 0);
                    used.get_mut(self.filled..).unwrap_or_default().zeroize();
                }
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut byte = [0_u8; 1];
        let socket = &self.pipe.stream().socket;
        match recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(error) => error == Errno::AGAIN,
            Ok((_, 0)) => false,
            // A session ticket perhaps, or the end: TLS knows.
            Ok(_) => {
                self.pipe.stream_mut().deadline = Instant::now() + SOON;
                matches!(self.read_some(), Ok(false)) && self.filled == 0
            }
        }
    }
}

impl Drop for TlsLink {
    fn drop(&mut self) {
        self.pipe.stream_mut().deadline = Instant::now() + SOON;
        self.pipe.close();
        if self.flush().is_err() {
            log::trace!("the HSM's connection ended before close_notify");
        }
    }
}

/// How long the first message of `bytes` is, and whether all of it is here; at least so long if even
/// that is open.
fn frame(bytes: &[u8]) -> Result<(usize, bool), LinkError> {
    match ttlv::frame(bytes) {
        Ok(Step::Item(_, used)) => Ok((used, true)),
        Ok(Step::Need(more)) => Ok((bytes.len() + more, false)),
        Err(_) => Err(LinkError::Protocol("the HSM's answer is no KMIP message")),
    }
}

fn dead(error: PipeError) -> LinkError {
    match error {
        PipeError::Io(error) if error.kind() == io::ErrorKind::TimedOut => LinkError::TimedOut,
        PipeError::Tls(error) => LinkError::Dead {
            answering: false,
            why: explain(Peer::Hsm, &error),
        },
        error => LinkError::Dead {
            answering: false,
            why: error.to_string(),
        },
    }
}
