//! TCP to a back end's server: where it is, connecting in bounded time, a socket that keeps a deadline.
//!
//! Must never be true: a connect, read or write that lasts past its deadline. Used by the back ends that
//! have a network between.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

/// Longest wait for one address to take a TCP connection. Short, so that an HSM that comes back behind a
/// silent network serves within a second: an attempt that began just before, the shortest pause, and
/// then the handshakes.
pub const DIAL_MAX: Duration = Duration::from_millis(750);

/// One place to connect to.
#[derive(Clone, Debug)]
pub struct Address {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whom the certificate must name.
    pub server_name: ServerName<'static>,
}

/// A socket whose every read and write ends by `deadline`.
pub(super) struct Timed {
    pub(super) socket: TcpStream,
    pub(super) deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buf)
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Connects to the first of the name's addresses that answers.
pub(super) fn dial(address: &Address, deadline: Instant) -> Result<TcpStream, String> {
    let found = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .map_err(|error| format!("the host name cannot be resolved: {error}"))?;
    let mut last = "the host name has no address".to_owned();
    for place in found {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(format!("{last} (no time left to try further)"));
        }
        match TcpStream::connect_timeout(&place, left.min(DIAL_MAX)) {
            Ok(socket) => {
                socket
                    .set_nodelay(true)
                    .map_err(|error| error.to_string())?;
                return Ok(socket);
            }
            Err(error) => last = format!("connecting failed: {error}"),
        }
    }
    Err(last)
}
