//! One keep-alive connection: requests out, answers in, in the order of the requests.
//!
//! What an answer means is for the caller: a [`Taker`]. Called by the closed loop ([`crate::driver`]) and by the
//! load engine ([`crate::load`]), which both poll for it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write as _};

use kms::net::pipe::{Pipe, PipeError};
use kms::wire::http::{HttpError, Response, ResponseDecoder, ResponseProgress};
use mio::net::TcpStream;

use crate::target::Target;

/// Bytes of an answer's body; more ends the connection.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a connection is finished.
#[derive(Debug)]
pub(crate) enum Broken {
    Pipe(PipeError),
    Http(HttpError),
    /// The server closed it.
    Closed,
    /// More answers than requests.
    Unasked,
    /// No answer in time.
    Silent,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pipe(error) => write!(f, "{}", crate::target::explained(error)),
            Self::Http(error) => write!(f, "the answer is no HTTP: {error:?}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Unasked => f.write_str("the server sent an answer without a request"),
            Self::Silent => f.write_str("the server does not answer"),
        }
    }
}

impl From<PipeError> for Broken {
    fn from(error: PipeError) -> Self {
        Self::Pipe(error)
    }
}

/// Who takes answers. `A` is what it noted of each request.
pub(crate) trait Taker<A> {
    /// Bytes arrived: what follows arrived now.
    fn arrived(&mut self);
    /// The answer to the oldest request.
    fn answered(&mut self, asked: A, answer: &Response<'_>);
}

pub(crate) struct Connection<A> {
    pipe: Pipe<TcpStream>,
    answers: Answers<A>,
    /// Written before TLS begins.
    preamble: Vec<u8>,
    is_connected: bool,
    bytes_received: u64,
    bytes_sent: u64,
}

/// The receiving half: apart from the pipe, which lends it plaintext.
struct Answers<A> {
    pending: VecDeque<A>,
    /// An answer that came in pieces. Empty otherwise: whole answers are read where they were decrypted.
    partial: Vec<u8>,
    decoder: ResponseDecoder,
    /// An answer said `Connection: close`.
    last: bool,
    taken: u64,
}

impl<A> Connection<A> {
    /// Begins to connect. `preamble` goes before TLS: a PROXY header, or nothing.
    pub fn open(target: &Target, preamble: Vec<u8>) -> Result<Self, PipeError> {
        let stream = TcpStream::connect(target.address).map_err(PipeError::Io)?;
        let pipe = Pipe::client(target.tls.clone(), target.name.clone(), stream)?;
        let answers = Answers {
            pending: VecDeque::new(),
            partial: Vec::new(),
            decoder: ResponseDecoder::new(false),
            last: false,
            taken: 0,
        };
        Ok(Self {
            pipe,
            answers,
            preamble,
            is_connected: false,
            bytes_received: 0,
            bytes_sent: 0,
        })
    }

    pub fn stream_mut(&mut self) -> &mut TcpStream {
        self.pipe.stream_mut()
    }

    /// Whether TCP is connected.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        self.pipe.is_established()
    }

    /// Whether it was a short one, with a ticket of an earlier connection.
    pub fn is_resumed(&self) -> bool {
        self.pipe.is_resumed()
    }

    /// TLS version, cipher suite and key exchange.
    pub fn describe(&self) -> String {
        self.pipe.describe()
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.answers.pending.len()
    }

    /// The oldest request without an answer.
    pub fn oldest(&self) -> Option<&A> {
        self.answers.pending.front()
    }

    /// All requests without an answer, which get none any more.
    pub fn give_up(&mut self) -> impl Iterator<Item = A> + '_ {
        self.answers.pending.drain(..)
    }

    /// Answers so far.
    pub fn taken(&self) -> u64 {
        self.answers.taken
    }

    /// Bytes of TLS sent and received since this was asked last.
    pub fn take_bytes(&mut self) -> (u64, u64) {
        let bytes = (self.bytes_sent, self.bytes_received);
        (self.bytes_sent, self.bytes_received) = (0, 0);
        bytes
    }

    /// Connecting and handshake only: reads and writes what the socket has.
    pub fn handshake(&mut self, scratch: &mut [u8]) -> Result<(), Broken> {
        if !self.is_connected && !self.finish_connect()? {
            return Ok(());
        }
        let received = self.pipe.receive(scratch, |_| {});
        self.flush()?;
        let received = received?;
        self.bytes_received += received.bytes as u64;
        if received.closed {
            Err(Broken::Closed)
        } else {
            Ok(())
        }
    }

    /// False: not yet.
    fn finish_connect(&mut self) -> Result<bool, Broken> {
        let stream = self.pipe.stream_mut();
        if stream.peer_addr().is_err() {
            return match stream.take_error() {
                Ok(Some(error)) | Err(error) => Err(PipeError::Io(error).into()),
                Ok(None) => Ok(false),
            };
        }
        self.is_connected = true;
        stream.set_nodelay(true).map_err(PipeError::Io)?;
        // A new socket has room for so little.
        let written = stream.write(&self.preamble).map_err(PipeError::Io)?;
        if written < self.preamble.len() {
            return Err(PipeError::Io(io::Error::from(ErrorKind::WriteZero)).into());
        }
        self.preamble = Vec::new();
        Ok(true)
    }

    /// Reads once, and gives `taker` the answers that are whole. True: the socket may hold more.
    pub fn receive<T: Taker<A>>(
        &mut self,
        scratch: &mut [u8],
        taker: &mut T,
    ) -> Result<bool, Broken> {
        let answers = &mut self.answers;
        let mut taken = Ok(());
        let received = self
            .pipe
            .receive(scratch, |plain| taken = answers.take(plain, taker))?;
        taken?;
        self.bytes_received += received.bytes as u64;
        if received.closed || self.answers.last {
            return Err(Broken::Closed);
        }
        Ok(received.more)
    }

    /// Queues a request; [`Connection::flush`] writes it.
    pub fn send(&mut self, request: &[u8], asked: A) -> Result<(), Broken> {
        self.answers.pending.push_back(asked);
        Ok(self.pipe.send(request)?)
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<(), Broken> {
        let before = self.pipe.backlog();
        self.pipe.flush()?;
        self.bytes_sent += before.saturating_sub(self.pipe.backlog()) as u64;
        Ok(())
    }

    /// Says goodbye. Whether it is heard does not matter.
    pub fn close(&mut self) {
        self.pipe.close();
        let _ = self.flush();
    }
}

impl<A> Answers<A> {
    fn take<T: Taker<A>>(&mut self, plain: &mut [u8], taker: &mut T) -> Result<(), Broken> {
        taker.arrived();
        if self.partial.is_empty() {
            let used = self.take_whole(plain, taker)?;
            self.partial
                .extend_from_slice(plain.get(used..).unwrap_or_default());
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(plain);
            let used = self.take_whole(&mut partial, taker)?;
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// Takes the whole answers at the front of `input`; returns their bytes.
    fn take_whole<T: Taker<A>>(
        &mut self,
        input: &mut [u8],
        taker: &mut T,
    ) -> Result<usize, Broken> {
        let mut used = 0;
        while used < input.len() {
            let rest = input.get_mut(used..).unwrap_or_default();
            match self
                .decoder
                .step(rest, BODY_BYTES_MAX, false)
                .map_err(Broken::Http)?
            {
                ResponseProgress::Response(answer, bytes) => {
                    let Some(asked) = self.pending.pop_front() else {
                        return Err(Broken::Unasked);
                    };
                    taker.answered(asked, &answer);
                    self.last |= !answer.keep_alive;
                    self.taken += 1;
                    used += bytes;
                    self.decoder = ResponseDecoder::new(false);
                }
                ResponseProgress::Need(_) | ResponseProgress::NeedEnd => break,
            }
        }
        Ok(used)
    }
}
