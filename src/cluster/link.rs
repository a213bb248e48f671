//! One connection to a server of the engine: a socket that never blocks, TLS on it, whole replies out of it.
//!
//! Must never be true: a call that waits; a connection used after an error; a reply given twice. Called by
//! `lane` and `subscriber`, which own the deadlines.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::explain::explain;
use super::resp::{self, Reply, Step};
use crate::net::pipe::{Pipe, PipeError};

/// Bytes of commands that wait for the socket: a server that takes no more is not asked more.
const BACKLOG_BYTES_MAX: usize = 256 * 1024;

/// How a server is spoken to over TLS.
#[derive(Clone)]
pub struct Tls {
    /// The authority it is judged by, and our certificate.
    pub config: Arc<ClientConfig>,
    /// Whom its certificate must name.
    pub name: ServerName<'static>,
}

enum Wire {
    Tls(Box<Pipe<TcpStream>>),
    Plain {
        stream: TcpStream,
        out: Vec<u8>,
        at: usize,
    },
}

/// See the module.
pub struct Link {
    wire: Wire,
    connected: bool,
    input: Vec<u8>,
    taken: usize,
}

/// Why a connection ended: one line for people.
pub type Broken = String;

fn broken(error: PipeError) -> Broken {
    match error {
        PipeError::Io(error) => socket(&error),
        PipeError::Tls(error) => explain(&error),
        error @ PipeError::Backlog => error.to_string(),
    }
}

fn socket(error: &io::Error) -> Broken {
    format!("connection failed: {error}")
}

impl Link {
    /// Begins to connect.
    pub fn open(address: SocketAddr, tls: Option<&Tls>) -> Result<Self, Broken> {
        let stream = TcpStream::connect(address).map_err(|error| socket(&error))?;
        // A command waits for no other: each is an answer somebody waits for.
        let _ = stream.set_nodelay(true);
        let wire = match tls {
            Some(tls) => {
                let pipe = Pipe::client(Arc::clone(&tls.config), tls.name.clone(), stream);
                Wire::Tls(Box::new(pipe.map_err(broken)?))
            }
            None => Wire::Plain {
                stream,
                out: Vec::new(),
                at: 0,
            },
        };
        Ok(Self {
            wire,
            connected: false,
            input: Vec::new(),
            taken: 0,
        })
    }

    /// The socket, for an event loop.
    pub fn source(&mut self) -> &mut TcpStream {
        match &mut self.wire {
            Wire::Tls(pipe) => pipe.stream_mut(),
            Wire::Plain { stream, .. } => stream,
        }
    }

    /// Whether commands may be sent.
    pub fn is_established(&self) -> bool {
        match &self.wire {
            Wire::Tls(pipe) => self.connected && pipe.is_established(),
            Wire::Plain { .. } => self.connected,
        }
    }

    /// Queues `commands`; [`Self::turn_over`] or [`Self::flush`] writes them. Only once established.
    pub fn send(&mut self, commands: &[u8]) -> Result<(), Broken> {
        let backlog = match &self.wire {
            Wire::Tls(pipe) => pipe.backlog(),
            Wire::Plain { out, at, .. } => out.len() - at,
        };
        if backlog + commands.len() > BACKLOG_BYTES_MAX {
            return Err("it does not read what it is asked".to_owned());
        }
        match &mut self.wire {
            Wire::Tls(pipe) => pipe.send(commands).map_err(broken),
            Wire::Plain { out, .. } => {
                out.extend_from_slice(commands);
                Ok(())
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<(), Broken> {
        if !self.connected {
            return Ok(());
        }
        match &mut self.wire {
            Wire::Tls(pipe) => pipe.flush().map(drop).map_err(broken),
            Wire::Plain { stream, out, at } => flush(stream, out, at),
        }
    }

    /// The socket has news: takes in what has come and writes what waits. `scratch` is locked memory for TLS.
    pub fn turn_over(&mut self, scratch: &mut [u8]) -> Result<(), Broken> {
        if !self.connected {
            if let Some(error) = self.source().take_error().map_err(|error| socket(&error))? {
                return Err(format!("connecting failed: {error}"));
            }
            match self.source().peer_addr() {
                Ok(_) => self.connected = true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(socket(&error)),
            }
        }
        self.flush()?;
        let closed = self.read(scratch)?;
        self.flush()?;
        if closed && self.input.len() == self.taken {
            return Err("it has closed the connection".to_owned());
        }
        Ok(())
    }

    /// Reads until the socket would block. True: the other side sends no more.
    fn read(&mut self, scratch: &mut [u8]) -> Result<bool, Broken> {
        self.input.drain(..self.taken);
        self.taken = 0;
        loop {
            let input = &mut self.input;
            let (bytes, closed) = match &mut self.wire {
                Wire::Tls(pipe) => {
                    let received = pipe.receive(scratch, |plain| input.extend_from_slice(plain));
                    if received.is_err() {
                        // The alert: it tells the other side's operator why.
                        let _ = pipe.flush();
                    }
                    let received = received.map_err(broken)?;
                    (received.bytes, received.closed)
                }
                Wire::Plain { stream, .. } => read_plain(stream, scratch, input)?,
            };
            if closed {
                return Ok(true);
            }
            if bytes == 0 {
                return Ok(false);
            }
            if self.input.len() > 2 * resp::REPLY_BYTES_MAX {
                return Err("it sends more than it was asked for".to_owned());
            }
        }
    }

    /// The next whole reply.
    pub fn reply(&mut self) -> Result<Option<Reply>, Broken> {
        let input = self.input.get(self.taken..).unwrap_or_default();
        match resp::decode(input) {
            Ok(Step::Reply(reply, used)) => {
                self.taken += used;
                Ok(Some(reply))
            }
            Ok(Step::Need) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn flush(stream: &mut TcpStream, out: &mut Vec<u8>, at: &mut usize) -> Result<(), Broken> {
    while let Some(rest) = out.get(*at..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return Err(socket(&ErrorKind::WriteZero.into())),
            Ok(written) => *at += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(socket(&error)),
        }
    }
    // A password may have been in it.
    crate::secret::wipe_slice(out);
    out.clear();
    *at = 0;
    Ok(())
}

fn read_plain(
    stream: &mut TcpStream,
    scratch: &mut [u8],
    input: &mut Vec<u8>,
) -> Result<(usize, bool), Broken> {
    loop {
        match stream.read(scratch) {
            Ok(0) => return Ok((0, true)),
            Ok(read) => {
                input.extend_from_slice(&scratch[..read]);
                return Ok((read, false));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((0, false)),
            Err(error) => return Err(socket(&error)),
        }
    }
}
