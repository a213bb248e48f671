//! The control socket: one-line orders with one-line answers, over a Unix socket and, for whoever runs
//! the simulator inside a process, over a socket pair.
//!
//! Must never be true: a line without a bound; an order that blocks the event loop. Called by the event
//! loop ([`super::server`]); what orders mean is in [`super::orders`].

use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

/// Bytes of an order.
const LINE_BYTES_MAX: usize = 4096;
/// Connections at a time.
const LINES_MAX: usize = 64;
/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

struct Line {
    stream: UnixStream,
    inbound: Vec<u8>,
}

/// The server's side.
pub(super) struct Control {
    listener: Option<UnixListener>,
    path: Option<PathBuf>,
    lines: Vec<Option<Line>>,
    /// Token of the first line.
    first: usize,
}

impl Control {
    /// Listens on `path`, in place of a socket that nobody serves any more.
    pub(super) fn bind(
        path: Option<&Path>,
        registry: &Registry,
        listens: Token,
        first: usize,
    ) -> io::Result<Self> {
        let mut listener = None;
        if let Some(path) = path {
            let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
            if is_socket && StdUnixStream::connect(path).is_err() {
                fs::remove_file(path)?;
            }
            let mut bound = UnixListener::bind(path)?;
            registry.register(&mut bound, listens, Interest::READABLE)?;
            listener = Some(bound);
        }
        Ok(Self {
            listener,
            path: path.map(Path::to_owned),
            lines: Vec::new(),
            first,
        })
    }

    /// Takes connections in until none waits.
    pub(super) fn accept(&mut self, registry: &Registry) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if let Err(error) = self.add(stream, registry) {
                log::warn!("a control connection is refused: {error}");
            }
        }
    }

    /// Serves one more connection.
    pub(super) fn add(&mut self, mut stream: UnixStream, registry: &Registry) -> io::Result<()> {
        let free = self.lines.iter().position(Option::is_none);
        let place = free.unwrap_or(self.lines.len());
        if place >= LINES_MAX {
            return Err(io::Error::other("too many control connections"));
        }
        registry.register(&mut stream, Token(self.first + place), Interest::READABLE)?;
        let line = Some(Line {
            stream,
            inbound: Vec::new(),
        });
        match self.lines.get_mut(place) {
            Some(slot) => *slot = line,
            None => self.lines.push(line),
        }
        Ok(())
    }

    /// The whole orders that have arrived on the line of this token, one after another.
    pub(super) fn read(&mut self, token: Token) -> Vec<String> {
        let place = token.0.saturating_sub(self.first);
        let Some(slot) = self.lines.get_mut(place) else {
            return Vec::new();
        };
        let Some(line) = slot else {
            return Vec::new();
        };
        let mut buffer = [0; 1024];
        let mut ended = false;
        loop {
            match line.stream.read(&mut buffer) {
                Ok(0) => break ended = true,
                Ok(read) => line
                    .inbound
                    .extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break ended = true,
            }
            if line.inbound.len() > LINE_BYTES_MAX {
                break ended = true;
            }
        }
        let mut orders = Vec::new();
        while let Some(end) = line.inbound.iter().position(|byte| *byte == b'\n') {
            let order: Vec<u8> = line.inbound.drain(..=end).collect();
            orders.push(String::from_utf8_lossy(&order).trim().to_owned());
        }
        if ended {
            *slot = None;
        }
        orders
    }

    /// Answers on that line. A client that does not read its answers is cut off.
    pub(super) fn answer(&mut self, token: Token, text: &str) {
        let place = token.0.saturating_sub(self.first);
        if let Some(slot) = self.lines.get_mut(place)
            && let Some(line) = slot
            && line
                .stream
                .write_all(format!("{text}\n").as_bytes())
                .is_err()
        {
            *slot = None;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

/// Sends one order to the simulator that listens on `socket`, and gives its answer.
pub fn order(socket: &Path, text: &str) -> Result<String, String> {
    let place = socket.display();
    let stream = StdUnixStream::connect(socket)
        .map_err(|error| format!("{place}: no simulator answers there ({error})"))?;
    exchange(&stream, text).map_err(|error| format!("{place}: {error}"))
}

/// One order and its answer over an open line.
pub(super) fn exchange(mut stream: &StdUnixStream, text: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let line = text.replace('\n', " ");
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::other("the simulator hung up without an answer"));
    }
    Ok(answer.trim_end().to_owned())
}
