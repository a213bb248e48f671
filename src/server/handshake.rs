//! Handshake threads: TLS handshakes apart from the workers, with caps and a deadline.
//!
//! With RSA handshakes on the workers, a reconnect storm multiplied the latency of warm unwraps
//! by four to six; here it leaves them alone. A connection leaves with its principal fixed and
//! checked against the snapshot in force, resumed sessions too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use zeroize::Zeroizing;

use crate::identity::Pin;
use crate::metrics::Refusal;
use crate::net::inbox::Inbox;
use crate::net::pipe::{Pipe, PipeError};
use crate::net::tls;
use crate::secret::LockedBuf;
use crate::wire::proxy::Source;

use super::clock::Clock;
use super::door::{Announced, Knock};
use super::linger::Linger;
use super::port::Arrival;
use super::slots::Slots;
use super::worker::RECORDS_BYTES;
use super::{Phase, Ports, Shared, thread};

const WAKER: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 256;
/// For a load balancer's header to come.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(3);
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// Accepted sockets waiting for a handshake thread.
const INBOX_MAX: usize = 4096;
/// Plaintext a client may send along with its last handshake message.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// A connection that was accepted.
pub(super) struct Newcomer {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub knock: Knock,
}

/// The way to a handshake thread.
#[derive(Clone)]
pub(super) struct Handle(Arc<Inbox<Newcomer>>);

impl Handle {
    pub(super) fn hand_over(&self, newcomer: Newcomer) -> Result<(), Newcomer> {
        self.0.push(newcomer)
    }

    pub(super) fn wake(&self) {
        self.0.wake();
    }
}

/// Starts handshake thread `index`.
pub(super) fn start(
    index: usize,
    shared: Arc<Shared>,
    ports: Ports,
) -> io::Result<(Handle, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let inbox = Arc::new(Inbox::new(INBOX_MAX, Waker::new(poll.registry(), WAKER)?));
    let records = shared.arena.buffer(RECORDS_BYTES).ok_or_else(|| {
        io::Error::other("no locked memory is left for a handshake thread's buffer")
    })?;
    let loop_ = Loop {
        poll,
        inbox: Arc::clone(&inbox),
        shared,
        ports,
        records,
        shaking: Slots::new(),
        clock: Clock::new(),
        swept: Instant::now(),
    };
    let thread = thread::spawn(format!("handshake-{index}"), move || loop_.run())?;
    Ok((Handle(inbox), thread))
}

struct Shaking {
    pipe: Pipe<TcpStream>,
    /// The client's address, once a load balancer has told it.
    peer: SocketAddr,
    knock: Knock,
    /// Since when the handshake may go on.
    since: Instant,
    until: Instant,
    early: Zeroizing<Vec<u8>>,
    linger: Option<Linger>,
}

struct Loop {
    poll: Poll,
    inbox: Arc<Inbox<Newcomer>>,
    shared: Arc<Shared>,
    ports: Ports,
    records: LockedBuf,
    shaking: Slots<Shaking>,
    clock: Clock,
    swept: Instant,
}

/// What a handshake has come to.
enum Stage {
    Going,
    Done(Arc<Pin>),
    /// Refused: the alert is written or being written.
    Refused(Refusal, String),
    Dead(Refusal),
}

impl Loop {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, Some(SWEEP_EVERY)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => thread::give_up("a handshake thread", &error),
            }
            self.clock.read();
            for event in &events {
                if event.token() == WAKER {
                    self.inbox.drained();
                    self.take_in();
                } else if let Ok(index) = u32::try_from(event.token().0) {
                    self.go_on(index);
                }
            }
            self.sweep();
            let idle = self.shaking.len() == 0 && self.inbox.is_empty();
            if idle && self.shared.phase() == Phase::Stopping {
                return;
            }
        }
    }

    fn take_in(&mut self) {
        while let Some(newcomer) = self.inbox.pop() {
            let config = self.shared.tls.load_full();
            let Newcomer {
                stream,
                peer,
                knock,
            } = newcomer;
            let timeout = self.shared.settings.handshake_timeout;
            let timeout = match knock {
                Knock::Announced(_) => timeout.min(PREFACE_TIMEOUT),
                _ => timeout,
            };
            let until = self.clock.now + timeout;
            let index = match Pipe::server(config, stream) {
                Ok(pipe) => {
                    let early = Zeroizing::new(Vec::new());
                    self.shaking.insert_with(|_, _| Shaking {
                        pipe,
                        peer,
                        knock,
                        since: self.clock.now,
                        until,
                        early,
                        linger: None,
                    })
                }
                Err(error) => {
                    log::error!("no TLS for a new connection: {error}");
                    None
                }
            };
            match index {
                Some(index) => self.register(index),
                None => self.forget_one(),
            }
        }
    }

    fn register(&mut self, index: u32) {
        let Some(shaking) = self.shaking.get_mut(index) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = shaking.pipe.stream_mut();
        if self
            .poll
            .registry()
            .register(stream, Token(index as usize), interest)
            .is_err()
        {
            self.close(index);
        }
        // Registering tells of what has arrived already.
    }

    fn go_on(&mut self, index: u32) {
        if !self.is_in(index) {
            return;
        }
        let Some(shaking) = self.shaking.get_mut(index) else {
            return;
        };
        if let Some(linger) = &mut shaking.linger {
            if linger.is_over(shaking.pipe.stream_mut(), &mut self.records) {
                self.close(index);
            }
            return;
        }
        match advance(shaking, &self.shared, &mut self.records, self.clock.unix_s) {
            Stage::Going => {}
            Stage::Done(pin) => self.hand_over(index, pin),
            Stage::Refused(refusal, why) => {
                self.shared.metrics.handshake_failed(refusal);
                if self.shared.refusals_logged.lock().admit(self.clock.now) {
                    log::warn!("handshake refused: {why} peer={}", shaking.peer);
                }
                shaking.linger = Some(Linger::begin(shaking.pipe.stream(), self.clock.now));
            }
            Stage::Dead(refusal) => {
                self.shared.metrics.handshake_failed(refusal);
                self.close(index);
            }
        }
    }

    /// Whether the connection has been let in; its load balancer may be about to tell whose it is.
    fn is_in(&mut self, index: u32) -> bool {
        let Some(shaking) = self.shaking.get_mut(index) else {
            return false;
        };
        let Knock::Announced(preface) = &mut shaking.knock else {
            return true;
        };
        let (shared, now) = (&self.shared, self.clock.now);
        match preface.read(shaking.pipe.stream_mut()) {
            Announced::NotYet => return false,
            Announced::Whole(source) => {
                if let Source::Client(client) = source {
                    shaking.peer = client;
                }
                let (quota, metrics) = (&shared.quota, &shared.metrics);
                if let Some(guest) = shared.door.enter(shaking.peer, quota, metrics, now) {
                    shaking.knock = Knock::In(guest);
                    shaking.since = now;
                    shaking.until = now + shared.settings.handshake_timeout;
                    return true;
                }
            }
            Announced::Wrong(error) => shared.door.misannounced(shaking.peer, error, now),
            Announced::Ended => {}
        }
        self.close(index);
        false
    }

    /// Gives an established connection to the worker with the fewest.
    fn hand_over(&mut self, index: u32, pin: Arc<Pin>) {
        let Some(mut shaking) = self.shaking.remove(index) else {
            return;
        };
        let metrics = &self.shared.metrics;
        metrics.handshakes.bump();
        // What was done in this wake counts as well: the last of it is the costly part.
        let took = shaking.since.elapsed();
        metrics.handshake_times[usize::from(shaking.pipe.is_resumed())].observe_time(took);
        if self
            .poll
            .registry()
            .deregister(shaking.pipe.stream_mut())
            .is_err()
        {
            self.forget_one();
            return;
        }
        let Knock::In(guest) = shaking.knock else {
            self.forget_one();
            return;
        };
        let address = guest.address();
        let quota = &self.shared.quota;
        let arrival = Box::new(Arrival {
            pipe: shaking.pipe,
            address: shaking.peer.ip(),
            client: quota.client(&pin.fingerprint, address, self.clock.now),
            guest,
            pin,
            early: shaking.early,
        });
        let least = self.ports.iter().min_by_key(|port| port.load());
        let handed = least.is_some_and(|port| port.hand_over(arrival).is_ok());
        if !handed {
            log::error!("no worker took a connection");
            self.forget_one();
        }
    }

    fn sweep(&mut self) {
        let now = self.clock.now;
        let stopping = self.shared.phase() == Phase::Stopping;
        if now.saturating_duration_since(self.swept) < SWEEP_EVERY && !stopping {
            return;
        }
        self.swept = now;
        let left_out = self.shared.refusals_logged.lock().take_left_out(now);
        if let Some(left_out) = left_out {
            log::warn!("handshake refused: {left_out} more, not logged one by one");
        }
        self.shared.door.tell_left_out(now);
        for index in 0..self.shaking.span() {
            let Some(shaking) = self.shaking.get_mut(index) else {
                continue;
            };
            let late = match &shaking.linger {
                Some(linger) => linger.is_late(now),
                None if stopping || now >= shaking.until => {
                    if matches!(shaking.knock, Knock::In(_)) {
                        self.shared.metrics.handshake_failed(Refusal::TimedOut);
                    }
                    true
                }
                None => false,
            };
            if late {
                self.close(index);
            }
        }
    }

    fn close(&mut self, index: u32) {
        if let Some(mut shaking) = self.shaking.remove(index) {
            let _ = self.poll.registry().deregister(shaking.pipe.stream_mut());
            // With its place among those of its address, before it is counted out.
            drop(shaking);
            self.forget_one();
        }
    }

    fn forget_one(&self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads and answers until the socket has no more.
fn advance(shaking: &mut Shaking, shared: &Shared, records: &mut [u8], unix_s: i64) -> Stage {
    loop {
        let early = &mut shaking.early;
        let received = shaking
            .pipe
            .receive(records, |plaintext| early.extend_from_slice(plaintext));
        // After an error this writes the alert.
        let flushed = shaking.pipe.flush();
        let received = match received {
            Ok(received) => received,
            Err(PipeError::Tls(error)) => {
                let why = tls::explain(tls::Peer::Client, &error);
                return Stage::Refused(tls::refusal(&error), why);
            }
            Err(_) => return Stage::Dead(Refusal::Closed),
        };
        if flushed.is_err() {
            return Stage::Dead(Refusal::Closed);
        }
        if shaking.early.len() > EARLY_BYTES_MAX {
            return Stage::Dead(Refusal::Malformed);
        }
        if received.established && matches!(flushed, Ok(true)) {
            return identify(shaking, shared, unix_s);
        }
        if received.closed {
            return Stage::Dead(Refusal::Closed);
        }
        if received.bytes == 0 {
            return Stage::Going;
        }
    }
}

/// The certificate as the snapshot in force sees it; on a resumed session the verifier was not asked.
fn identify(shaking: &mut Shaking, shared: &Shared, unix_s: i64) -> Stage {
    let Some((leaf, above)) = shaking.pipe.peer_chain() else {
        return Stage::Dead(Refusal::NoCertificate);
    };
    match shared.pins.load().identify(leaf, above, unix_s) {
        Ok(pin) => Stage::Done(pin),
        Err(stranger) => {
            shaking.pipe.close();
            let _ = shaking.pipe.flush();
            let why = format!("the certificate is not accepted: {stranger}");
            Stage::Refused(tls::refusal_of(&stranger), why)
        }
    }
}
