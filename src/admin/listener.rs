//! The health listener: one thread, plain HTTP, small and bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::server::{Shared, thread};
use crate::wire::http::{
    self, BodyForm, Connection, Method, Progress, RequestDecoder, ResponseHead,
};

use super::{exposition, readiness, status};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Connections at once: probes and a scraper or two.
const CONNECTIONS_MAX: usize = 64;
/// From one answer, or the start, until the next request is whole and its answer read.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of answers that wait for a slow reader, above which nothing more is read from it.
const OUTPUT_BYTES_PAUSE: usize = 64 * 1024;
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// A running health listener.
pub struct Handle {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    address: SocketAddr,
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if self.waker.wake().is_ok() && self.thread.join().is_err() {
            log::error!("the health listener panicked");
        }
    }
}

/// A health listener that does not answer yet.
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens on `address`.
pub fn listen(address: SocketAddr) -> io::Result<Door> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok(Door { listener, address })
}

impl Door {
    /// Answers; `shared` is what it tells about.
    pub fn start(self, shared: Arc<Shared>) -> io::Result<Handle> {
        let Self {
            mut listener,
            address,
        } = self;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let stop = Arc::new(AtomicBool::new(false));
        let porter = Porter {
            poll,
            listener,
            shared,
            stop: Arc::clone(&stop),
            conns: Vec::new(),
        };
        let thread = thread::spawn("health".to_owned(), move || porter.run())?;
        Ok(Handle {
            waker,
            stop,
            thread,
            address,
        })
    }
}

/// Who answers at the door.
struct Porter {
    poll: Poll,
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    conns: Vec<Option<Conn>>,
}

struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
    decoder: RequestDecoder,
    output: Vec<u8>,
    /// No more is read: the peer is done, or what is written is the last.
    ending: bool,
    /// The start, or the last time that an answer was read whole.
    since: Instant,
}

impl Porter {
    fn run(mut self) {
        let mut events = Events::with_capacity(128);
        while !self.stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, Some(Duration::from_secs(1))) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => thread::give_up("the health listener", &error),
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(index) => self.serve(index),
                }
            }
            self.sweep();
        }
    }

    fn accept(&mut self) {
        // Any error means that nothing can be accepted now; the next probe tells again.
        while let Ok((mut stream, _)) = self.listener.accept() {
            let free = self
                .conns
                .iter()
                .position(Option::is_none)
                .unwrap_or(self.conns.len());
            if free >= CONNECTIONS_MAX {
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self
                .poll
                .registry()
                .register(&mut stream, Token(free), interest)
                .is_err()
            {
                continue;
            }
            let conn = Conn {
                stream,
                input: Vec::new(),
                decoder: RequestDecoder::default(),
                output: Vec::new(),
                ending: false,
                since: Instant::now(),
            };
            if free == self.conns.len() {
                self.conns.push(Some(conn));
            } else {
                self.conns[free] = Some(conn);
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(Some(conn)) = self.conns.get_mut(index) else {
            return;
        };
        if !conn.turn_over(&self.shared) {
            self.conns[index] = None;
        }
    }

    fn sweep(&mut self) {
        for slot in &mut self.conns {
            if slot
                .as_ref()
                .is_some_and(|conn| conn.since.elapsed() > REQUEST_TIME_MAX)
            {
                *slot = None;
            }
        }
    }
}

impl Conn {
    /// Reads, answers, writes. False: the connection is over.
    fn turn_over(&mut self, shared: &Shared) -> bool {
        loop {
            let Ok(drained) = self.read(shared) else {
                return false;
            };
            match self.flush() {
                Ok(true) if self.ending => return false,
                // Reading was paused, and epoll does not tell again what it has told.
                Ok(true) if !drained => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Reads and answers. False: paused with more to read, until the peer has read its answers.
    fn read(&mut self, shared: &Shared) -> io::Result<bool> {
        let mut chunk = [0; 2048];
        while !self.ending {
            if self.output.len() > OUTPUT_BYTES_PAUSE {
                return Ok(false);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ending = true,
                Ok(read) => {
                    self.input.extend_from_slice(&chunk[..read]);
                    self.answer_all(shared);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// True: all is written.
    fn flush(&mut self) -> io::Result<bool> {
        if self.output.is_empty() {
            return Ok(true);
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.since = Instant::now();
        Ok(true)
    }

    fn answer_all(&mut self, shared: &Shared) {
        loop {
            let received = self.input.len();
            let (answer, used) = match self.decoder.step(&mut self.input, REQUEST_BYTES_MAX) {
                Ok(Progress::Request(request, used)) => {
                    self.ending = !request.head.keep_alive;
                    (answer(request.head.method, request.head.path, shared), used)
                }
                Ok(_) if received <= REQUEST_BYTES_MAX => return,
                Ok(_) | Err(_) => {
                    self.ending = true;
                    (Answer::text(400, "bad request\n"), received)
                }
            };
            answer.write(&mut self.output, !self.ending);
            self.input.drain(..used);
            self.decoder.reset();
            if self.ending {
                return;
            }
        }
    }
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
    head_only: bool,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            head_only: false,
        }
    }

    fn write(&self, out: &mut Vec<u8>, keep_alive: bool) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let date =
            <&[u8; 29]>::try_from(date.as_bytes()).unwrap_or(b"Thu, 01 Jan 1970 00:00:00 GMT");
        let open = http::begin_response(
            out,
            &ResponseHead {
                status: self.status,
                connection: if keep_alive {
                    Connection::Silent
                } else {
                    Connection::Close
                },
                body: if self.head_only {
                    BodyForm::LengthOnly
                } else {
                    BodyForm::Sent
                },
                retry_after_s: None,
                server_timing: None,
                stale_items: 0,
                location: None,
                content_type: self.content_type,
                date,
            },
        );
        out.extend_from_slice(self.body.as_bytes());
        http::end_response(out, open);
    }
}

fn answer(method: Method, path: &str, shared: &Shared) -> Answer {
    if !matches!(method, Method::Get | Method::Head) {
        return Answer::text(405, "only GET and HEAD are served here\n");
    }
    let mut answer = match path {
        "/healthz" => Answer::text(200, "alive\n"),
        "/readyz" => {
            let readiness = readiness(shared);
            let mut body = serde_json::to_string(&readiness).unwrap_or_default();
            body.push('\n');
            Answer {
                status: readiness.status,
                content_type: ResponseHead::JSON,
                body,
                head_only: false,
            }
        }
        "/status" => Answer {
            status: 200,
            content_type: ResponseHead::JSON,
            body: serde_json::to_string(&status(shared)).unwrap_or_default() + "\n",
            head_only: false,
        },
        "/metrics" => Answer {
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            ..Answer::text(200, exposition::render(shared))
        },
        _ => Answer::text(404, "served here: /healthz /readyz /status /metrics\n"),
    };
    answer.head_only = method == Method::Head;
    answer
}
