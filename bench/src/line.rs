//! One connection, blocking, one request at a time: for what is asked now and then rather than as fast as it goes.
//!
//! Must never be true: an answer taken without being compared.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kms::net::pipe::{Pipe, PipeError, SCRATCH_BYTES_MIN};
use kms::wire::http::{HttpError, ResponseDecoder, ResponseProgress};
use kms_loadgen::Target;
use kms_loadgen::exchange::{Exchange, holds};

/// For a handshake, and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest the socket is waited for before the deadline is looked at.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of an answer's body.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a connection is finished.
#[derive(Debug)]
#[non_exhaustive]
pub enum LineError {
    /// It failed, or TLS was refused.
    Pipe(PipeError),
    /// The peer speaks no HTTP.
    Http(HttpError),
    /// The peer closed it, or let it wait too long.
    NoAnswer,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe(error) => write!(f, "{error}"),
            Self::Http(error) => write!(f, "the answer is no HTTP: {error:?}"),
            Self::NoAnswer => f.write_str("no answer came"),
        }
    }
}

impl std::error::Error for LineError {}

impl From<PipeError> for LineError {
    fn from(error: PipeError) -> Self {
        Self::Pipe(error)
    }
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        Self::Pipe(PipeError::Io(error))
    }
}

/// An answer as far as it has come.
pub(crate) struct Coming {
    received: Vec<u8>,
    decoder: ResponseDecoder,
}

impl Coming {
    pub(crate) fn new() -> Self {
        Self {
            received: Vec::new(),
            decoder: ResponseDecoder::new(false),
        }
    }

    /// Takes what arrived; once the answer is whole, whether it has status 200 and the `expected` bytes.
    pub(crate) fn take(
        &mut self,
        plain: &[u8],
        expected: &[u8],
        closed: bool,
    ) -> Result<Option<bool>, HttpError> {
        self.received.extend_from_slice(plain);
        let step = self
            .decoder
            .step(&mut self.received, BODY_BYTES_MAX, closed)?;
        Ok(match step {
            ResponseProgress::Response(answer, _) => {
                Some(answer.status == 200 && holds(answer.body, expected, &mut 0))
            }
            ResponseProgress::Need(_) | ResponseProgress::NeedEnd => None,
        })
    }
}

/// An open connection.
pub struct Line {
    pipe: Pipe<TcpStream>,
    scratch: Vec<u8>,
}

impl Line {
    /// Connects and completes the handshake.
    pub fn open(target: &Target) -> Result<Self, LineError> {
        let stream = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut line = Self {
            pipe: Pipe::client(target.tls.clone(), target.name.clone(), stream)?,
            scratch: vec![0; SCRATCH_BYTES_MIN],
        };
        let deadline = Instant::now() + PATIENCE;
        while !line.pipe.is_established() {
            line.pipe.flush()?;
            let received = line.pipe.receive(&mut line.scratch, |_| {});
            // After an error this sends the alert.
            line.pipe.flush()?;
            if received?.closed || Instant::now() > deadline {
                return Err(LineError::NoAnswer);
            }
        }
        Ok(line)
    }

    /// Asks and waits; whether the answer is the right one.
    pub fn ask(&mut self, exchange: Exchange<'_>) -> Result<bool, LineError> {
        self.pipe.send(exchange.request)?;
        self.pipe.flush()?;
        let mut coming = Coming::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut plain = Vec::new();
            let received = self
                .pipe
                .receive(&mut self.scratch, |bytes| plain.extend_from_slice(bytes))?;
            let came = coming.take(&plain, exchange.expected, received.closed);
            if let Some(right) = came.map_err(LineError::Http)? {
                return Ok(right);
            }
            if received.closed || Instant::now() > deadline {
                return Err(LineError::NoAnswer);
            }
        }
    }

    /// Lets go of all but the socket: to the server it is a connection that happens to be silent.
    pub fn fall_silent(self) -> io::Result<TcpStream> {
        self.pipe.stream().try_clone()
    }
}
