//! One keep-alive connection: requests out, answers in, each compared with what was expected.

use std::collections::VecDeque;
use std::time::Instant;

use kms::net::pipe::{Pipe, PipeError};
use kms::wire::http::{HttpError, ResponseDecoder, ResponseProgress};
use mio::net::TcpStream;

use crate::driver::Run;
use crate::exchange::holds;
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
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pipe(error) => write!(f, "{error}"),
            Self::Http(error) => write!(f, "the answer is no HTTP: {error:?}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Unasked => f.write_str("the server sent an answer without a request"),
        }
    }
}

impl From<PipeError> for Broken {
    fn from(error: PipeError) -> Self {
        Self::Pipe(error)
    }
}

struct Pending {
    index: usize,
    sent_at: Instant,
}

pub(crate) struct Connection {
    pipe: Pipe<TcpStream>,
    answers: Answers,
}

/// The receiving half: apart from the pipe, which lends it plaintext.
struct Answers {
    pending: VecDeque<Pending>,
    /// An answer that came in pieces. Empty otherwise: whole answers are read where they were decrypted.
    partial: Vec<u8>,
    decoder: ResponseDecoder,
    /// An answer said `Connection: close`.
    last: bool,
}

impl Connection {
    pub fn open(target: &Target, depth: usize) -> Result<Self, PipeError> {
        let stream = TcpStream::connect(target.address).map_err(PipeError::Io)?;
        let pipe = Pipe::client(target.tls.clone(), target.name.clone(), stream)?;
        let answers = Answers {
            pending: VecDeque::with_capacity(depth),
            partial: Vec::new(),
            decoder: ResponseDecoder::new(false),
            last: false,
        };
        Ok(Self { pipe, answers })
    }

    pub fn stream_mut(&mut self) -> &mut TcpStream {
        self.pipe.stream_mut()
    }

    pub fn is_established(&self) -> bool {
        self.pipe.is_established()
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.answers.pending.len()
    }

    /// Handshake only: reads and writes what the socket has.
    pub fn handshake(&mut self, scratch: &mut [u8]) -> Result<(), Broken> {
        if self.pipe.stream().peer_addr().is_err() {
            return match self.pipe.stream().take_error() {
                Ok(Some(error)) | Err(error) => Err(PipeError::Io(error).into()),
                Ok(None) => Ok(()),
            };
        }
        self.pipe
            .stream()
            .set_nodelay(true)
            .map_err(PipeError::Io)?;
        let received = self.pipe.receive(scratch, |_| {});
        self.pipe.flush()?;
        if received?.closed {
            Err(Broken::Closed)
        } else {
            Ok(())
        }
    }

    /// Takes the answers that arrived and sends as many requests again, with one write.
    pub fn serve(&mut self, scratch: &mut [u8], run: &mut Run<'_>) -> Result<(), Broken> {
        loop {
            let answers = &mut self.answers;
            let mut taken = Ok(());
            let received = self
                .pipe
                .receive(scratch, |plain| taken = answers.take(plain, run))?;
            taken?;
            if received.closed || self.answers.last {
                return Err(Broken::Closed);
            }
            self.fill(run, run.now)?;
            if !received.more {
                return Ok(());
            }
        }
    }

    /// Sends requests until `run`'s depth is in flight.
    pub fn fill(&mut self, run: &mut Run<'_>, now: Instant) -> Result<(), Broken> {
        while self.answers.pending.len() < run.depth {
            let Some((index, request)) = run.next_request() else {
                break;
            };
            self.pipe.send(request)?;
            self.answers.pending.push_back(Pending {
                index,
                sent_at: now,
            });
        }
        self.pipe.flush()?;
        Ok(())
    }
}

impl Answers {
    fn take(&mut self, plain: &mut [u8], run: &mut Run<'_>) -> Result<(), Broken> {
        run.now = Instant::now();
        if self.partial.is_empty() {
            let used = self.take_whole(plain, run)?;
            self.partial
                .extend_from_slice(plain.get(used..).unwrap_or_default());
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(plain);
            let used = self.take_whole(&mut partial, run)?;
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// Takes the whole answers at the front of `input`; returns their bytes.
    fn take_whole(&mut self, input: &mut [u8], run: &mut Run<'_>) -> Result<usize, Broken> {
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
                    let exchange = run.exchanges.get(asked.index);
                    let expected = exchange.map_or(&b""[..], |exchange| exchange.expected);
                    let as_expected = holds(answer.body, expected, &mut run.hint);
                    let latency = run.now.saturating_duration_since(asked.sent_at);
                    run.outcome.record(answer.status, as_expected, latency);
                    self.last |= !answer.keep_alive;
                    used += bytes;
                    self.decoder = ResponseDecoder::new(false);
                }
                ResponseProgress::Need(_) | ResponseProgress::NeedEnd => break,
            }
        }
        Ok(used)
    }
}
