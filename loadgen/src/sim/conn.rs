//! One client's connection: its TLS, the requests that wait in it, and whether one is being served.
//!
//! Must never be true: two requests of one connection served at once; a request kept beyond its answer.
//! Called by the event loop.

use std::io::{self, Read, Write};
use std::sync::Arc;

use kms::net::pipe::{Pipe, PipeError};
use kms::wire::Step;
use kms::wire::ttlv;
use mio::net::TcpStream;
use rustls::ServerConfig;

use super::plan::Session;

/// Bytes of served requests after which those that wait are moved to the front.
const SERVED_BYTES_MAX: usize = 256 * 1024;

/// A socket whose next bytes may be falsified, which makes TLS send a fatal alert.
pub(super) struct Socket {
    pub(super) tcp: TcpStream,
    pub(super) falsify: bool,
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.tcp.read(buf)?;
        if self.falsify
            && let Some(last) = buf.get_mut(..read).and_then(<[u8]>::last_mut)
        {
            *last ^= 1;
        }
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tcp.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// One connection.
pub(super) struct Conn {
    pub(super) pipe: Pipe<Socket>,
    /// Never used twice, unlike its place in the table.
    pub(super) number: u64,
    pub(super) session: Session,
    inbound: Vec<u8>,
    served: usize,
    /// The first request is being served since then, nanoseconds.
    pub(super) since_ns: Option<u64>,
    /// Neither read nor answered any more.
    pub(super) is_frozen: bool,
    /// Nanoseconds at which something last happened.
    pub(super) last_ns: u64,
}

impl Conn {
    pub(super) fn new(
        tcp: TcpStream,
        tls: Arc<ServerConfig>,
        number: u64,
        now_ns: u64,
    ) -> Result<Self, PipeError> {
        let socket = Socket {
            tcp,
            falsify: false,
        };
        Ok(Self {
            pipe: Pipe::server(tls, socket)?,
            number,
            session: Session::new(number),
            inbound: Vec::new(),
            served: 0,
            since_ns: None,
            is_frozen: false,
            last_ns: now_ns,
        })
    }

    /// Takes in what has arrived. False: the connection is over.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> bool {
        loop {
            let Self { pipe, inbound, .. } = self;
            let received = pipe.receive(scratch, |plain| inbound.extend_from_slice(plain));
            let flushed = self.pipe.flush();
            match received {
                Ok(received) if received.closed => return false,
                Ok(received) if received.more && flushed.is_ok() => {}
                Ok(_) => return flushed.is_ok(),
                Err(error) => {
                    log::debug!("connection {}: {error}", self.number);
                    return false;
                }
            }
        }
    }

    /// The first request that is whole and not yet served; an error for what is no KMIP.
    pub(super) fn request(&self) -> Result<Option<&[u8]>, ttlv::TtlvError> {
        let waiting = self.inbound.get(self.served..).unwrap_or_default();
        match ttlv::frame(waiting)? {
            Step::Item(frame, _) => Ok(Some(frame)),
            Step::Need(_) => Ok(None),
        }
    }

    /// That request, and the session that answers it.
    pub(super) fn next_to_answer(&mut self) -> Option<(&[u8], &mut Session)> {
        let waiting = self.inbound.get(self.served..)?;
        match ttlv::frame(waiting) {
            Ok(Step::Item(frame, _)) => Some((frame, &mut self.session)),
            _ => None,
        }
    }

    /// Forgets the first request, of `bytes` bytes.
    pub(super) fn forget(&mut self, bytes: usize) {
        self.served += bytes;
        if self.served >= self.inbound.len() {
            self.inbound.clear();
            self.served = 0;
        } else if self.served > SERVED_BYTES_MAX {
            self.inbound.drain(..self.served);
            self.served = 0;
        }
    }
}
