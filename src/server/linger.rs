//! Closing so that the peer sees the last bytes.
//!
//! A socket closed with unread input resets the connection, and the reset can overtake an alert or
//! an answer. So: shut the sending side down, read and discard for a moment, then close.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

/// How long a peer gets to read the last bytes and close.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes discarded at most; a peer that sends more is cut. Room for what was on its way when a large
/// body was refused.
const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A connection that only waits for its peer to close.
pub(super) struct Linger {
    until: Instant,
    discarded: usize,
}

impl Linger {
    /// Shuts the sending side down.
    pub(super) fn begin(stream: &TcpStream, now: Instant) -> Self {
        // It fails only when the connection is gone already, which the next read tells.
        let _ = stream.shutdown(Shutdown::Write);
        Self {
            until: now + LINGER,
            discarded: 0,
        }
    }

    /// Discards what arrived. True: the socket can be closed.
    pub(super) fn is_over(&mut self, stream: &mut TcpStream, scratch: &mut [u8]) -> bool {
        loop {
            match stream.read(scratch) {
                Ok(0) => return true,
                Ok(read) => self.discarded += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
            if self.discarded > DISCARD_BYTES_MAX {
                return true;
            }
        }
    }

    /// Whether its time is over.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now >= self.until
    }
}
