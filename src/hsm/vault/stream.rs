//! A connection: a socket, and TLS on it.
//!
//! Must never be true: a received byte in memory that is not locked; a read or write past the deadline. Called by
//! `wire` and `http`.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::super::dial::Timed;
use crate::net::pipe::{Pipe, PipeError, SCRATCH_BYTES_MIN};
use crate::net::tls::{Peer, explain};
use crate::secret::{Arena, LockedBuf};

/// What a connection that ought to be idle is given to finish a record, or to be told goodbye.
const SOON: Duration = Duration::from_millis(100);
/// Most plaintext that one read of the socket may give.
pub(super) const RECEIVED_BYTES_MAX: usize = SCRATCH_BYTES_MIN / 2;

/// Bytes of locked buffers that one stream holds.
pub(super) const LOCKED_BYTES_PER_STREAM: usize = SCRATCH_BYTES_MIN;

/// Why a stream cannot be used any more.
#[derive(Clone, Debug)]
pub(super) enum Broken {
    /// The connection ended, or TLS did.
    Dead(String),
    /// The deadline passed.
    TimedOut,
    /// More came than there is room for.
    Overrun,
    /// No locked memory for the buffers.
    NoLockedMemory,
}

impl From<PipeError> for Broken {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Io(error) => error.into(),
            PipeError::Tls(error) => Self::Dead(explain(Peer::Hsm, &error)),
            error @ PipeError::Backlog => Self::Dead(error.to_string()),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            _ => Self::Dead(format!("connection failed: {error}")),
        }
    }
}

enum Carrier {
    Tls(Box<Pipe<Timed>>, LockedBuf),
    /// Azure's metadata service has no TLS.
    Plain(Timed),
}

/// A connection, shared by ureq, which uses it, and its client, which looks after it.
pub(super) struct Stream {
    carrier: Carrier,
    /// The other side sends no more.
    pub(super) ended: bool,
    /// ureq has given the connection up: the answer said `Connection: close`, or could not be read.
    pub(super) gone: bool,
    /// Part of the answer to the present request has come.
    pub(super) answering: bool,
    /// What ureq was told went wrong.
    pub(super) broken: Option<Broken>,
}

impl Stream {
    /// Over a connected socket, without TLS.
    pub(super) fn plain(socket: Timed) -> Self {
        Self::new(Carrier::Plain(socket))
    }

    /// Shakes hands over a connected socket.
    pub(super) fn tls(
        socket: Timed,
        tls: Arc<ClientConfig>,
        name: ServerName<'static>,
        arena: &'static Arena,
    ) -> Result<Self, Broken> {
        let mut pipe = Pipe::client(tls, name, socket)?;
        let mut scratch = arena
            .buffer(SCRATCH_BYTES_MIN)
            .ok_or(Broken::NoLockedMemory)?;
        flush(&mut pipe)?;
        while !pipe.is_established() {
            let received = pipe.receive(&mut scratch, |_| {});
            let flushed = flush(&mut pipe);
            let received = received?;
            flushed?;
            if received.closed {
                return Err(Broken::Dead("closed during the TLS handshake".to_owned()));
            }
            if received.bytes == 0 {
                return Err(Broken::TimedOut);
            }
        }
        Ok(Self::new(Carrier::Tls(Box::new(pipe), scratch)))
    }

    fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            ended: false,
            gone: false,
            answering: false,
            broken: None,
        }
    }

    /// A request begins, to be answered by `deadline`.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.timed().deadline = deadline;
        self.answering = false;
    }

    fn timed(&mut self) -> &mut Timed {
        match &mut self.carrier {
            Carrier::Tls(pipe, _) => pipe.stream_mut(),
            Carrier::Plain(timed) => timed,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.carrier, Carrier::Tls(..))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match &mut self.carrier {
            Carrier::Tls(pipe, _) => {
                pipe.send(bytes)?;
                flush(pipe)
            }
            Carrier::Plain(timed) => Ok(timed.write_all(bytes)?),
        }
    }

    /// Waits for bytes and puts them into `room`; none: the other side has closed.
    pub(super) fn receive(&mut self, room: &mut [u8]) -> Result<usize, Broken> {
        if self.ended {
            return Ok(0);
        }
        let (pipe, scratch) = match &mut self.carrier {
            Carrier::Plain(timed) => {
                let read = timed.read(room)?;
                self.ended = read == 0;
                self.answering |= read > 0;
                return Ok(read);
            }
            Carrier::Tls(pipe, scratch) => (pipe, scratch),
        };
        loop {
            let mut filled = Some(0);
            let received = pipe.receive(scratch, |plain| {
                filled = room.get_mut(..plain.len()).map(|place| {
                    place.copy_from_slice(plain);
                    plain.len()
                });
            });
            let flushed = flush(pipe);
            let received = received?;
            flushed?;
            self.ended |= received.closed;
            match filled {
                None => return Err(Broken::Overrun),
                Some(0) if received.closed => return Ok(0),
                Some(0) if received.bytes == 0 => return Err(Broken::TimedOut),
                // A session ticket perhaps.
                Some(0) => {}
                Some(filled) => {
                    self.answering = true;
                    return Ok(filled);
                }
            }
        }
    }

    /// Whether the idle connection still stands and nothing unasked has come.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.ended || self.gone || self.broken.is_some() {
            return false;
        }
        let mut byte = [0_u8; 1];
        let socket = &self.timed().socket;
        match recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(error) => error == Errno::AGAIN,
            Ok((_, 0)) => false,
            Ok(_) => self.is_ticket(),
        }
    }

    /// Whether what has come is TLS's own business.
    fn is_ticket(&mut self) -> bool {
        self.timed().deadline = Instant::now() + SOON;
        let Carrier::Tls(pipe, scratch) = &mut self.carrier else {
            return false;
        };
        let mut unasked = false;
        let received = pipe.receive(scratch, |_| unasked = true);
        let stands = flush(pipe).is_ok() && received.is_ok_and(|received| !received.closed);
        self.ended |= !stands;
        stands && !unasked
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.timed().deadline = Instant::now() + SOON;
        if let Carrier::Tls(pipe, _) = &mut self.carrier {
            pipe.close();
            if flush(pipe).is_err() {
                log::trace!("the back end's connection ended before close_notify");
            }
        }
    }
}

fn flush(pipe: &mut Pipe<Timed>) -> Result<(), Broken> {
    if pipe.flush()? {
        Ok(())
    } else {
        Err(Broken::TimedOut)
    }
}
