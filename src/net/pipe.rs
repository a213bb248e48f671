//! TLS over any `Read + Write`, either side, on rustls' unbuffered API.
//!
//! Received plaintext exists only in the caller's locked input buffer; only ciphertext waits here.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

/// Why a pipe is finished.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeError {
    /// The socket failed, or ended without close_notify.
    Io(std::io::Error),
    /// The peer broke TLS or was refused; the alert is queued, flush it before closing.
    Tls(rustls::Error),
    /// More ciphertext waits for the socket than allowed.
    Backlog,
}

/// What one [`Pipe::receive`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Received {
    /// The socket may hold more (the read filled the scratch).
    pub more: bool,
    /// The peer said close_notify or the socket ended after it.
    pub closed: bool,
    /// The handshake is complete.
    pub established: bool,
}

/// One TLS connection.
pub struct Pipe<S> { _stream: S }

impl<S: Read + Write> Pipe<S> {
    /// The client side (HSM, load generator).
    pub fn client(_config: Arc<ClientConfig>, _name: ServerName<'static>, _stream: S) -> Result<Self, PipeError> { todo!() }
    /// The server side.
    pub fn server(_config: Arc<ServerConfig>, _stream: S) -> Result<Self, PipeError> { todo!() }
    /// Reads the socket once into `scratch` (locked, at least 32 KiB; wiped before return where
    /// plaintext stood), drives the handshake and gives each decrypted record to `sink`.
    /// On a non-blocking socket `WouldBlock` is no error: nothing was received.
    pub fn receive(&mut self, _scratch: &mut [u8], _sink: impl FnMut(&mut [u8])) -> Result<Received, PipeError> { todo!() }
    /// Encrypts `plaintext` behind what waits; call [`Pipe::flush`] to write it.
    pub fn send(&mut self, _plaintext: &[u8]) -> Result<(), PipeError> { todo!() }
    /// Writes waiting ciphertext. True: all of it is written.
    pub fn flush(&mut self) -> Result<bool, PipeError> { todo!() }
    /// Bytes of ciphertext that wait for the socket.
    pub fn backlog(&self) -> usize { todo!() }
    /// Queues close_notify.
    pub fn close(&mut self) { todo!() }
    /// The socket.
    pub fn stream(&self) -> &S { todo!() }
    /// The peer's leaf certificate, after the handshake; filled on resumed sessions too.
    pub fn peer_leaf(&self) -> Option<&[u8]> { todo!() }
}
