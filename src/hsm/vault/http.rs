//! One HTTP/1.1 conversation, by ureq over our own `stream`: a request out, its whole answer into memory.
//!
//! Must never be true: a redirect followed; a proxy asked; an answer with a plaintext outside locked or wiped memory,
//! or longer than its caller allowed; a second connection behind the pool's back. Called by `session`,
//! `keeper` and `azure`.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rustls::ClientConfig;
use ureq::http::{HeaderValue, Request, Response};
use ureq::{Agent, Body};
use zeroize::{Zeroize, Zeroizing};

use super::super::batch::clean;
use super::super::dial::{Address, Timed, dial};
use super::stream::{Broken, LOCKED_BYTES_PER_STREAM, Stream};
use super::wire::{LOCKED_BYTES_PER_WIRE, Nowhere, Only, Wire};
use crate::secret::{Arena, LockedBuf};

/// Bytes of the buffer for usual answers; a longer one borrows a buffer for itself.
const ANSWER_BYTES: usize = 32 * 1024;
/// A Vault's heads have some 300 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of locked buffers that one client holds.
pub(super) const LOCKED_BYTES_PER_CLIENT: usize =
    LOCKED_BYTES_PER_STREAM + LOCKED_BYTES_PER_WIRE + ANSWER_BYTES;

/// Why a request was not answered.
#[derive(Debug)]
pub(super) enum CallError {
    /// The connection ended. `answering`: part of an answer had come.
    Dead { answering: bool, why: String },
    /// The deadline passed.
    TimedOut,
    /// What came is not what HTTP allows, or too much.
    Unusable(&'static str),
    /// No locked memory for so long an answer.
    NoLockedMemory,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dead { why, .. } => f.write_str(why),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Unusable(why) => f.write_str(why),
            Self::NoLockedMemory => f.write_str("no locked memory is left for its answer"),
        }
    }
}

/// One request.
pub(super) struct Call<'a> {
    /// `GET`, `POST` or `DELETE`.
    pub(super) method: &'static str,
    /// From `/v1/` on.
    pub(super) path: &'a str,
    /// All are kept out of logs.
    pub(super) headers: &'a [(&'static str, &'a str)],
    /// JSON, of a `POST`.
    pub(super) body: Option<&'a [u8]>,
    /// Longest body of an answer.
    pub(super) bytes_max: usize,
    /// The answer's body may hold a secret: locked memory as far as there is any.
    pub(super) is_secret: bool,
    /// By when the answer must be whole.
    pub(super) deadline: Instant,
}

/// What has been read of an answer's body.
struct Inbound {
    usual: LockedBuf,
    long: Long,
    filled: usize,
}

enum Long {
    None,
    Locked(LockedBuf),
    Heap(Zeroizing<Vec<u8>>),
}

/// One connection to one server.
pub(super) struct Client {
    agent: Agent,
    stream: Arc<Mutex<Stream>>,
    arena: &'static Arena,
    /// `https://host:port`.
    root: String,
    inbound: Inbound,
    /// Of the last answer, if it was a redirect.
    pub(super) location: Option<String>,
    /// The server's clock as it last told it, seconds since 1970.
    pub(super) clock_unix_s: Option<i64>,
}

impl Client {
    /// Connects; without `tls` in the clear. The error says what is wrong, without the place.
    pub(super) fn open(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        arena: &'static Arena,
        deadline: Instant,
    ) -> Result<Self, String> {
        let socket = Timed {
            socket: dial(address, deadline)?,
            deadline,
        };
        let stream = match tls {
            None => Stream::plain(socket),
            Some(tls) => {
                let name = address.server_name.clone();
                Stream::tls(socket, Arc::clone(tls), name, arena).map_err(
                    |broken| match broken {
                        Broken::Dead(why) => why,
                        Broken::TimedOut => "no TLS handshake in time".to_owned(),
                        Broken::Overrun => "too much came".to_owned(),
                        Broken::NoLockedMemory => "no locked memory is left".to_owned(),
                    },
                )?
            }
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = if address.host.contains(':') {
            format!("[{}]", address.host)
        } else {
            address.host.clone()
        };
        let root = format!("{scheme}://{host}:{}", address.port);
        Self::over(stream, root, arena).ok_or_else(|| "no locked memory is left".to_owned())
    }

    fn over(stream: Stream, root: String, arena: &'static Arena) -> Option<Self> {
        let stream = Arc::new(Mutex::new(stream));
        let wire = Wire::new(Arc::clone(&stream), arena)?;
        let config = ureq::config::Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            // How long a connection may be idle is the pool's business.
            .max_idle_age(std::time::Duration::from_hours(24))
            .max_response_header_size(HEAD_BYTES_MAX)
            .user_agent(concat!("connected-kms/", env!("CARGO_PKG_VERSION")))
            .build();
        Some(Self {
            agent: Agent::with_parts(config, Only(Mutex::new(Some(wire))), Nowhere),
            stream,
            arena,
            root,
            inbound: Inbound {
                usual: arena.buffer(ANSWER_BYTES)?,
                long: Long::None,
                filled: 0,
            },
            location: None,
            clock_unix_s: None,
        })
    }

    /// Asks; the answer's status. Its body is lent by [`Client::body`] until [`Client::forget`].
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<u16, CallError> {
        self.forget();
        self.stream.lock().begin(call.deadline);
        let asked = self.ask(call);
        let mut answer = asked.map_err(|error| self.fault(&error))?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location");
        self.location =
            location.map(|text| clean(&String::from_utf8_lossy(text.as_bytes())).to_string());
        if let Some(date) = answer.headers().get("date") {
            self.clock_unix_s = unix_s(date.as_bytes());
        }
        self.read(answer.body_mut(), call)?;
        Ok(status)
    }

    fn ask(&self, call: &Call<'_>) -> Result<Response<Body>, ureq::Error> {
        let uri = format!("{}{}", self.root, call.path);
        let mut request = Request::builder().method(call.method).uri(uri);
        for (name, text) in call.headers {
            let mut value = HeaderValue::from_str(text).map_err(ureq::http::Error::from)?;
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        match call.body {
            Some(body) => self.agent.run(
                request
                    .header("Content-Type", "application/json")
                    .body(body)?,
            ),
            None => self.agent.run(request.body(())?),
        }
    }

    fn read(&mut self, body: &mut Body, call: &Call<'_>) -> Result<(), CallError> {
        let too_long = || CallError::Unusable("its answer is longer than any to what was asked");
        let declared = body.content_length();
        if declared.is_some_and(|bytes| bytes > call.bytes_max as u64) {
            return Err(too_long());
        }
        let mut reader = body.as_reader();
        loop {
            let room = self.inbound.room(self.arena, call);
            match reader.read(room) {
                Ok(0) => return Ok(()),
                Ok(read) => self.inbound.filled += read,
                Err(error) => return Err(self.fault(&ureq::Error::Io(error))),
            }
            if self.inbound.filled > call.bytes_max {
                return Err(too_long());
            }
        }
    }

    /// What went wrong, by what the stream knows of it.
    fn fault(&self, error: &ureq::Error) -> CallError {
        let mut stream = self.stream.lock();
        let answering = stream.answering;
        match stream.broken.take() {
            Some(Broken::Dead(why)) => CallError::Dead { answering, why },
            Some(Broken::TimedOut) => CallError::TimedOut,
            Some(Broken::Overrun) => CallError::Unusable("its answer's head is too long"),
            Some(Broken::NoLockedMemory) => CallError::NoLockedMemory,
            // Without a byte of an answer, ureq has found it closed before it used it.
            None if stream.ended || (stream.gone && !answering) => CallError::Dead {
                answering,
                why: "it closed the connection".to_owned(),
            },
            None => {
                log::debug!("an HTTP exchange failed: {error}");
                CallError::Unusable("its answer is no HTTP/1.1")
            }
        }
    }

    /// The last answer's body.
    pub(super) fn body(&self) -> &[u8] {
        self.inbound.bytes()
    }

    /// Wipes the last answer.
    pub(super) fn forget(&mut self) {
        self.location = None;
        self.inbound.forget();
    }

    /// Whether the idle connection still stands.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.lock().is_quiet()
    }
}

/// An HTTP date.
fn unix_s(date: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

impl Inbound {
    fn all(&mut self) -> &mut [u8] {
        match &mut self.long {
            Long::None => &mut self.usual,
            Long::Locked(buffer) => buffer,
            Long::Heap(buffer) => buffer,
        }
    }

    fn bytes(&self) -> &[u8] {
        let all: &[u8] = match &self.long {
            Long::None => &self.usual,
            Long::Locked(buffer) => buffer,
            Long::Heap(buffer) => buffer,
        };
        all.get(..self.filled).unwrap_or_default()
    }

    /// Where the next bytes go, at least one.
    fn room(&mut self, arena: &'static Arena, call: &Call<'_>) -> &mut [u8] {
        let filled = self.filled;
        if filled == self.all().len() {
            // One byte more than allowed, to find out that there is one.
            let len = (filled * 2).min(call.bytes_max + 1).max(filled + 1);
            let locked = call.is_secret.then(|| arena.buffer(len)).flatten();
            // Longer than the arena has buffers for, as answers to clients are then: wiped memory.
            let long =
                locked.map_or_else(|| Long::Heap(Zeroizing::new(vec![0; len])), Long::Locked);
            let mut old = std::mem::replace(&mut self.long, long);
            let old: &mut [u8] = match &mut old {
                Long::None => &mut self.usual,
                Long::Locked(buffer) => buffer,
                Long::Heap(buffer) => buffer,
            };
            let new: &mut [u8] = match &mut self.long {
                Long::Locked(buffer) => buffer,
                Long::Heap(buffer) => buffer,
                Long::None => &mut [],
            };
            if let Some(front) = new.get_mut(..filled) {
                front.copy_from_slice(old);
            }
            old.zeroize();
        }
        self.all().get_mut(filled..).unwrap_or_default()
    }

    fn forget(&mut self) {
        if matches!(self.long, Long::None)
            && let Some(used) = self.usual.get_mut(..self.filled)
        {
            used.zeroize();
        }
        self.long = Long::None;
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_clock_is_read_where_it_is_one() {
        for (date, want) in [
            ("Mon, 23 Nov 2026 18:38:11 GMT", Some(1_795_459_091)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(unix_s(date.as_bytes()), want, "{date}");
        }
    }
}
