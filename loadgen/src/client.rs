//! A blocking client for what comes before a run: creating keys, wrapping batches, asking health.

use std::fmt;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kms::net::pipe::{Pipe, PipeError, SCRATCH_BYTES_MIN};
use kms::wire::http::{HttpError, RequestHead, ResponseDecoder, ResponseProgress, write_request};

use crate::target::{Target, explained};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole answer; batches of hundreds of items included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest the socket is waited for before the deadlines are looked at.
const READ_TIMEOUT: Duration = Duration::from_millis(200);
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection failed, or TLS was refused.
    Pipe(PipeError),
    /// The peer speaks no HTTP.
    Http(HttpError),
    /// No answer in time, or the peer closed.
    NoAnswer,
    /// The peer closed before it answered anything at all.
    TurnedAway,
    /// An answer with another status than the caller needs, and its body.
    Status(u16, String),
    /// An answer whose JSON lacks what it should hold.
    Answer(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe(error) => f.write_str(&explained(error)),
            Self::Http(error) => write!(f, "the answer is no HTTP: {error:?}"),
            Self::NoAnswer => f.write_str("no answer came"),
            Self::TurnedAway => f.write_str(
                "the server ended the connection before it answered anything: does it know the client certificate \
                 that was given (--cert)?",
            ),
            Self::Status(status, body) => write!(f, "status {status}: {body}"),
            Self::Answer(what) => write!(f, "unexpected answer: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<PipeError> for ClientError {
    fn from(error: PipeError) -> Self {
        Self::Pipe(error)
    }
}

/// One answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// One keep-alive connection.
pub struct Client {
    pipe: Pipe<TcpStream>,
    host: String,
    scratch: Vec<u8>,
    request: Vec<u8>,
    answers: u64,
}

impl Client {
    /// Connects and completes the handshake.
    pub fn connect(target: &Target) -> Result<Self, ClientError> {
        Self::connect_behind(target, &[])
    }

    /// As [`Client::connect`], with `preamble` before TLS: a PROXY header.
    pub fn connect_behind(target: &Target, preamble: &[u8]) -> Result<Self, ClientError> {
        let mut stream =
            TcpStream::connect_timeout(&target.address, CONNECT_TIMEOUT).map_err(PipeError::Io)?;
        stream.write_all(preamble).map_err(PipeError::Io)?;
        stream.set_nodelay(true).map_err(PipeError::Io)?;
        stream
            .set_read_timeout(Some(READ_TIMEOUT))
            .map_err(PipeError::Io)?;
        let pipe = Pipe::client(target.tls.clone(), target.name.clone(), stream)?;
        let scratch = vec![0; 4 * SCRATCH_BYTES_MIN];
        let mut client = Self {
            pipe,
            host: target.host.clone(),
            scratch,
            request: Vec::new(),
            answers: 0,
        };
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while !client.pipe.is_established() {
            client.pipe.flush()?;
            let received = client.pipe.receive(&mut client.scratch, |_| {})?;
            if received.closed || Instant::now() > deadline {
                return Err(ClientError::NoAnswer);
            }
        }
        client.pipe.flush()?;
        Ok(client)
    }

    /// Sends a request with a JSON body and waits for the answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        self.request.clear();
        put_request(&mut self.request, &self.host, method, path, token, body);
        self.exchange()
    }

    /// As [`Client::request`], with these headers.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        let head = RequestHead {
            method,
            target: path,
            host: &self.host,
            headers,
            keep_alive: true,
        };
        self.request.clear();
        write_request(&mut self.request, &head, body);
        self.exchange()
    }

    /// The certificate that the server showed.
    pub fn server_certificate(&self) -> &[u8] {
        self.pipe.peer_chain().map_or(&[], |(leaf, _)| leaf)
    }

    /// In TLS 1.3 a server judges the client's certificate when the client is done already, and its alert may be lost
    /// with the connection.
    fn cut(&self, error: PipeError) -> ClientError {
        match error {
            PipeError::Io(_) if self.answers == 0 => ClientError::TurnedAway,
            other => ClientError::Pipe(other),
        }
    }

    /// Sends what was written and waits for the answer.
    fn exchange(&mut self) -> Result<Answer, ClientError> {
        self.pipe.send(&self.request)?;
        self.pipe.flush()?;
        let mut decoder = ResponseDecoder::new(false);
        let mut received = Vec::new();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let got = self
                .pipe
                .receive(&mut self.scratch, |plain| received.extend_from_slice(plain));
            let got = got.map_err(|error| self.cut(error))?;
            self.pipe.flush().map_err(|error| self.cut(error))?;
            if got.closed && received.is_empty() && self.answers == 0 {
                return Err(ClientError::TurnedAway);
            }
            let step = decoder
                .step(&mut received, BODY_BYTES_MAX, got.closed)
                .map_err(ClientError::Http)?;
            if let ResponseProgress::Response(answer, _) = step {
                self.answers += 1;
                return Ok(Answer {
                    status: answer.status,
                    body: answer.body.to_vec(),
                });
            }
            if got.closed || Instant::now() > deadline {
                return Err(ClientError::NoAnswer);
            }
        }
    }
}

/// Writes one request as Vault's own clients do, with the token they always send.
pub fn put_request(
    out: &mut Vec<u8>,
    host: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &[u8],
) {
    let json = ("Content-Type", "application/json");
    let with_token = [json, ("X-Vault-Token", token.unwrap_or_default())];
    let headers = if token.is_some() {
        &with_token[..]
    } else {
        &with_token[..1]
    };
    let head = RequestHead {
        method,
        target: path,
        host,
        headers,
        keep_alive: true,
    };
    write_request(out, &head, body);
}
