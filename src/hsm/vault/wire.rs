//! A [`Stream`] in the shape in which ureq uses connections: it writes requests into our buffers and reads answers
//! out of them, and never sees a socket.
//!
//! Must never be true: a received byte in memory that is not locked; a connection that ureq opens by itself.
//! Called by `http`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use zeroize::Zeroize;

use super::stream::{Broken, RECEIVED_BYTES_MAX, Stream};
use crate::secret::{Arena, LockedBuf};

/// Room for a head that is not complete yet and what one read gives.
const INPUT_BYTES: usize = 2 * RECEIVED_BYTES_MAX;
/// Part of a request that is written at once.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Bytes of locked buffers that one wire holds.
pub(super) const LOCKED_BYTES_PER_WIRE: usize = INPUT_BYTES + OUTPUT_BYTES;

/// A [`Stream`] as ureq has it.
pub(super) struct Wire {
    stream: Arc<Mutex<Stream>>,
    input: LockedBuf,
    at: usize,
    filled: usize,
    progress: bool,
    output: LockedBuf,
}

impl Wire {
    /// `None`: no locked memory for its buffers.
    pub(super) fn new(stream: Arc<Mutex<Stream>>, arena: &'static Arena) -> Option<Self> {
        Some(Self {
            stream,
            input: arena.buffer(INPUT_BYTES)?,
            at: 0,
            filled: 0,
            progress: false,
            output: arena.buffer(OUTPUT_BYTES)?,
        })
    }

    /// Moves what is not consumed to the front.
    fn compact(&mut self) {
        self.input.copy_within(self.at..self.filled, 0);
        let left = self.filled - self.at;
        if let Some(moved) = self.input.get_mut(left..self.filled) {
            moved.zeroize();
        }
        (self.at, self.filled) = (0, left);
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire(..)")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stream.lock().gone = true;
    }
}

impl Buffers for Wire {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.at..self.filled).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled = (self.filled + amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        let end = (self.at + amount).min(self.filled);
        if let Some(consumed) = self.input.get_mut(self.at..end) {
            consumed.zeroize();
        }
        self.at = end;
        if self.at == self.filled {
            (self.at, self.filled) = (0, 0);
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        let room = self.input.get_mut(self.filled..).unwrap_or_default();
        (room, &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.at < self.filled
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let mut stream = self.stream.lock();
        let part = self.output.get_mut(..amount).unwrap_or_default();
        let sent = stream.send(part);
        part.zeroize();
        sent.map_err(|broken| told(&mut stream, broken))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.compact();
        let mut stream = self.stream.lock();
        let room = self.input.get_mut(self.filled..).unwrap_or_default();
        if room.len() < RECEIVED_BYTES_MAX {
            return Err(told(&mut stream, Broken::Overrun));
        }
        match stream.receive(room) {
            Ok(received) => {
                self.filled += received;
                Ok(received > 0)
            }
            Err(broken) => Err(told(&mut stream, broken)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.stream.lock().is_quiet()
    }

    fn is_tls(&self) -> bool {
        self.stream.lock().is_tls()
    }
}

/// The client asks the stream what it was; ureq only needs to know that it is over.
fn told(stream: &mut Stream, broken: Broken) -> Error {
    stream.broken = Some(broken);
    Error::ConnectionFailed
}

/// Gives ureq the one connection there is, and no other when that has ended.
pub(super) struct Only(pub(super) Mutex<Option<Wire>>);

impl fmt::Debug for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Only(..)")
    }
}

impl Connector for Only {
    type Out = Wire;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        Ok(self.0.lock().take())
    }
}

/// Names were resolved before; ureq wants an address all the same.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
