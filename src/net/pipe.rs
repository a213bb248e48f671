//! TLS over any `Read + Write`, either side, on rustls' unbuffered API.
//!
//! Received bytes live in the caller's locked scratch and nowhere else that outlives the call: rustls
//! decrypts in place there, hands the record over in a heap chunk that the wipe-on-free allocator
//! clears, and [`Pipe::receive`] wipes what stood in the scratch before it returns. Only ciphertext
//! waits in a pipe, with a cap. Used by the server (non-blocking), the HSM pool (blocking with
//! timeouts) and the load generator.
//!
//! Must never be true: plaintext that waits for a socket; a backlog without a bound.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};

use crate::secret::wipe_slice;

#[cfg(test)]
mod tests;
mod turn;

use turn::{Turn, close_notify, encrypt, is_of_record, turn};

/// Ciphertext that may wait for the socket. A whole reply of the largest body fits, with its records' overhead.
const BACKLOG_BYTES_MAX: usize = 2 * crate::limits::HTTP_BODY_BYTES_MAX;
/// Bytes of a partial record (or a handshake flight) kept between reads; a TLS handshake message
/// is at most 64 KiB.
const REST_BYTES_MAX: usize = 80 * 1024;
/// Capacity that an emptied output buffer may keep: what an idle connection costs.
const OUT_BYTES_KEPT: usize = 2 * 1024;
/// Smallest useful scratch: two halves, each with room for one full record.
pub const SCRATCH_BYTES_MIN: usize = 2 * 18 * 1024;
/// Record header, content type and tag of TLS 1.2 and 1.3, rounded up.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// Plaintext bytes of a full TLS record.
const RECORD_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;

/// Why a pipe is finished.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeError {
    /// The socket failed.
    Io(io::Error),
    /// The peer broke TLS or was refused; the alert is queued, flush it before closing.
    Tls(rustls::Error),
    /// More ciphertext waits for the socket than allowed.
    Backlog,
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "connection failed: {error}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Backlog => f.write_str("the peer does not read its answers"),
        }
    }
}

impl std::error::Error for PipeError {}

/// What one [`Pipe::receive`] found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// Bytes read from the socket; 0 when it would have blocked.
    pub bytes: usize,
    /// The read filled its space: the socket may hold more.
    pub more: bool,
    /// The peer said `close_notify`, or the socket ended.
    pub closed: bool,
    /// The handshake is complete.
    pub established: bool,
}

enum Tls {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// One TLS connection.
pub struct Pipe<S> {
    tls: Tls,
    stream: S,
    /// Ciphertext read but not yet a whole record.
    rest: Vec<u8>,
    /// Ciphertext to write; `out_at` bytes of it are written.
    out: Vec<u8>,
    out_at: usize,
    established: bool,
    closed: bool,
}

impl<S: Read + Write> Pipe<S> {
    /// The client side (HSM, load generator). The first flight is queued: flush it.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        stream: S,
    ) -> Result<Self, PipeError> {
        let tls = UnbufferedClientConnection::new(config, name).map_err(PipeError::Tls)?;
        let mut pipe = Self::new(Tls::Client(tls), stream);
        pipe.turn_over(&mut [], &mut [])?;
        Ok(pipe)
    }

    /// The server side.
    pub fn server(config: Arc<ServerConfig>, stream: S) -> Result<Self, PipeError> {
        let tls = UnbufferedServerConnection::new(config).map_err(PipeError::Tls)?;
        Ok(Self::new(Tls::Server(tls), stream))
    }

    fn new(tls: Tls, stream: S) -> Self {
        Self {
            tls,
            stream,
            rest: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            established: false,
            closed: false,
        }
    }

    /// Reads the socket once, drives the handshake, and gives the plaintext that arrived to `sink`,
    /// in one piece; `sink` is not called when there is none. `scratch` must be locked memory of at
    /// least [`SCRATCH_BYTES_MIN`]; what stood in it is wiped before this returns. A socket that
    /// would block is no error. Handshake bytes to answer with are queued: flush afterwards, also
    /// after an error (it is the alert).
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        sink: impl FnOnce(&mut [u8]),
    ) -> Result<Received, PipeError> {
        let half = scratch.len() / 2;
        let (cipher, plain) = scratch.split_at_mut(half);
        let kept = self.rest.len();
        let Some((front, space)) = cipher.split_at_mut_checked(kept) else {
            return Err(PipeError::Backlog);
        };
        front.copy_from_slice(&self.rest);
        self.rest.clear();
        let read = self.read_once(space)?;
        let filled = kept + read;
        let cipher = &mut cipher[..filled];
        let (used, plain_len) = self.turn_over(cipher, plain)?;
        self.keep_rest(&cipher[used..])?;
        if plain_len > 0 {
            sink(&mut plain[..plain_len]);
        }
        wipe_slice(&mut plain[..plain_len]);
        wipe_slice(cipher);
        Ok(Received {
            bytes: read,
            more: filled == half,
            closed: self.closed,
            established: self.established,
        })
    }

    fn read_once(&mut self, space: &mut [u8]) -> Result<usize, PipeError> {
        loop {
            return match self.stream.read(space) {
                Ok(0) => {
                    self.closed = true;
                    Ok(0)
                }
                Ok(read) => Ok(read),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_blocked(&error) => Ok(0),
                Err(error) => Err(PipeError::Io(error)),
            };
        }
    }

    fn keep_rest(&mut self, rest: &[u8]) -> Result<(), PipeError> {
        if rest.len() > REST_BYTES_MAX {
            return Err(PipeError::Tls(rustls::Error::General(
                "a TLS message is too long".into(),
            )));
        }
        if rest.is_empty() {
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Runs the TLS machine over `cipher` until it needs more bytes. Returns the bytes of `cipher`
    /// used and the bytes of plaintext written to the front of `plain`.
    fn turn_over(
        &mut self,
        cipher: &mut [u8],
        plain: &mut [u8],
    ) -> Result<(usize, usize), PipeError> {
        let (mut used, mut plain_len) = (0, 0);
        loop {
            let input = &mut cipher[used..];
            let (discard, turn) = match &mut self.tls {
                Tls::Client(tls) => turn(
                    tls.process_tls_records(input),
                    &mut self.out,
                    plain,
                    &mut plain_len,
                ),
                Tls::Server(tls) => turn(
                    tls.process_tls_records(input),
                    &mut self.out,
                    plain,
                    &mut plain_len,
                ),
            };
            used += discard;
            match turn {
                Ok(Turn::Again) => {}
                Ok(Turn::Rest) => break,
                Ok(Turn::Closed) => self.closed = true,
                Err(error) => {
                    wipe_slice(&mut plain[..plain_len]);
                    // A record that could not even be read must not be read again: rustls would
                    // make a second alert of it, which its debug builds forbid.
                    let rest = if is_of_record(&error) {
                        &mut []
                    } else {
                        &mut cipher[used..]
                    };
                    self.queue_alert(rest);
                    return Err(error);
                }
            }
        }
        if !self.established {
            self.established = match &self.tls {
                Tls::Client(tls) => !tls.is_handshaking(),
                Tls::Server(tls) => !tls.is_handshaking(),
            };
        }
        Ok((used, plain_len))
    }

    /// After a fatal error rustls still holds the alert to send. `rest` is what follows the bytes
    /// used so far: rustls looks again at the handshake messages behind the refused one, and panics
    /// when their bytes are not there.
    fn queue_alert(&mut self, rest: &mut [u8]) {
        let mut used = 0;
        for _ in 0..8 {
            let Some(input) = rest.get_mut(used..) else {
                break;
            };
            let (discard, turn) = match &mut self.tls {
                Tls::Client(tls) => turn(
                    tls.process_tls_records(input),
                    &mut self.out,
                    &mut [],
                    &mut 0,
                ),
                Tls::Server(tls) => turn(
                    tls.process_tls_records(input),
                    &mut self.out,
                    &mut [],
                    &mut 0,
                ),
            };
            used += discard;
            if !matches!(turn, Ok(Turn::Again)) {
                break;
            }
        }
    }

    /// Encrypts `plaintext` behind what waits; call [`Pipe::flush`] to write it. The handshake must
    /// be complete.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<(), PipeError> {
        let records = plaintext.len() / RECORD_PLAINTEXT_BYTES_MAX + 1;
        let room = plaintext.len() + records * RECORD_OVERHEAD_BYTES;
        if self.backlog() + room > BACKLOG_BYTES_MAX {
            return Err(PipeError::Backlog);
        }
        loop {
            let done = match &mut self.tls {
                Tls::Client(tls) => encrypt(
                    tls.process_tls_records(&mut []),
                    plaintext,
                    room,
                    &mut self.out,
                )?,
                Tls::Server(tls) => encrypt(
                    tls.process_tls_records(&mut []),
                    plaintext,
                    room,
                    &mut self.out,
                )?,
            };
            if done {
                return Ok(());
            }
        }
    }

    /// Writes waiting ciphertext. True: all of it is written.
    pub fn flush(&mut self) -> Result<bool, PipeError> {
        while self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(0) => return Err(PipeError::Io(ErrorKind::WriteZero.into())),
                Ok(written) => self.out_at += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_blocked(&error) => return Ok(false),
                Err(error) => return Err(PipeError::Io(error)),
            }
        }
        self.out.clear();
        self.out_at = 0;
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
        }
        Ok(true)
    }

    /// Bytes of ciphertext that wait for the socket.
    pub fn backlog(&self) -> usize {
        self.out.len() - self.out_at
    }

    /// Queues `close_notify`; flush it before dropping the socket.
    pub fn close(&mut self) {
        let queued = match &mut self.tls {
            Tls::Client(tls) => close_notify(tls.process_tls_records(&mut []), &mut self.out),
            Tls::Server(tls) => close_notify(tls.process_tls_records(&mut []), &mut self.out),
        };
        if !queued {
            log::trace!("close_notify not sent: the connection is not established");
        }
    }

    /// TLS version, cipher suite and key exchange, for people. Empty before the handshake is complete.
    pub fn describe(&self) -> String {
        let common: &rustls::CommonState = match &self.tls {
            Tls::Client(tls) => tls,
            Tls::Server(tls) => tls,
        };
        let version = common
            .protocol_version()
            .map(|version| format!("{version:?}"));
        let suite = common
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()));
        let group = common
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()));
        let parts: Vec<String> = [version, suite, group].into_iter().flatten().collect();
        parts.join(", ")
    }

    /// Whether the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        let common: &rustls::CommonState = match &self.tls {
            Tls::Client(tls) => tls,
            Tls::Server(tls) => tls,
        };
        common.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The socket.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The socket, for registering it with an event loop.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The peer's certificate and what it sent behind it, after the handshake; filled on resumed sessions too.
    pub fn peer_chain(&self) -> Option<(&CertificateDer<'static>, &[CertificateDer<'static>])> {
        let chain = match &self.tls {
            Tls::Client(tls) => tls.peer_certificates(),
            Tls::Server(tls) => tls.peer_certificates(),
        };
        chain?.split_first()
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
