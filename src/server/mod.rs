//! Sockets to commands and back: one acceptor, a few handshake threads, one worker a core.
//!
//! Each thread runs its own mio loop; connections move from left to right and never back. Must never
//! be true: a worker that blocks; a connection that waits without a deadline; a request served
//! before its certificate was checked against the snapshot in force. Called by `node`.

mod acceptor;
mod clock;
mod conn;
mod desk;
mod door;
mod handshake;
mod input;
mod linger;
mod log_quota;
pub mod loopback;
mod note;
mod port;
mod run;
mod session;
mod slots;
mod tally;
pub mod thread;
mod timing;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use mio::net::TcpListener;
use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::audit;
use crate::config::Network;
use crate::engine::{Engine, Outcome, Waiter};
use crate::identity::{Expiry, Snapshot};
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::secret::Arena;

pub use port::{Mail, Port};
pub use worker::Seat;

use door::Door;
use log_quota::LogQuota;

/// Refused handshakes that the log tells of in a second, all threads together.
const REFUSALS_LOGGED_A_SECOND: u32 = 20;

/// Sizes and deadlines of the service side.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at once, those in a handshake included.
    pub connections_max: usize,
    /// Load balancers, which tell whose connection it is; empty: there are none.
    pub balancers: Vec<Network>,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// From a request's last byte to its answer.
    pub request_timeout: Duration,
    /// For a whole TLS handshake.
    pub handshake_timeout: Duration,
    /// For the whole of a request to arrive, from its first byte.
    pub receive_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
    /// For a peer that does not read its answers.
    pub send_timeout: Duration,
    /// How often deadlines and revoked certificates are looked for.
    pub sweep_every: Duration,
    /// Handshake threads.
    pub handshake_threads: usize,
    /// Heap bytes of partly received bodies, all connections together.
    pub buffered_bytes_max: usize,
}

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Phase {
    /// Not accepting yet.
    Starting = 0,
    /// Accepting.
    Serving = 1,
    /// No longer accepting; answers end their connections.
    Draining = 2,
    /// Idle connections are cut.
    Stopping = 3,
}

/// What all threads of the service side share.
pub struct Shared {
    /// The product.
    pub engine: Engine,
    /// The pins in force.
    pub pins: Arc<ArcSwap<Snapshot>>,
    /// The TLS configuration for new connections.
    pub tls: ArcSwap<ServerConfig>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Who gets how much.
    pub quota: Arc<Quota>,
    /// Locked memory.
    pub arena: &'static Arena,
    /// Sizes and deadlines.
    pub settings: Settings,
    /// The audit log, if there is one.
    pub audit: Option<Arc<audit::Log>>,
    /// Every certificate that the node lives by, and its end.
    pub certificates: ArcSwap<Vec<Expiry>>,
    /// Why the last reload was refused, if it was.
    pub reload_refused: Mutex<Option<String>>,
    phase: AtomicU8,
    reloads: AtomicU64,
    /// Clients are sent elsewhere.
    leaving: AtomicBool,
    connections: AtomicUsize,
    buffered: AtomicUsize,
    door: Door,
    refusals_logged: Mutex<LogQuota>,
}

impl Shared {
    /// Puts the parts together, in [`Phase::Starting`].
    pub fn new(
        engine: Engine,
        pins: Arc<ArcSwap<Snapshot>>,
        tls: Arc<ServerConfig>,
        metrics: Arc<Metrics>,
        quota: Arc<Quota>,
        arena: &'static Arena,
        settings: Settings,
    ) -> Self {
        Self {
            engine,
            pins,
            tls: ArcSwap::new(tls),
            metrics,
            quota,
            arena,
            door: Door::new(settings.balancers.clone()),
            settings,
            audit: None,
            certificates: ArcSwap::from_pointee(Vec::new()),
            reload_refused: Mutex::new(None),
            phase: AtomicU8::new(Phase::Starting as u8),
            reloads: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            buffered: AtomicUsize::new(0),
            refusals_logged: Mutex::new(LogQuota::new(REFUSALS_LOGGED_A_SECOND)),
        }
    }

    /// Where the node is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Whether clients are to go elsewhere, though the node serves on.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Sends clients elsewhere, or no longer: answers end their connections, and idle ones end soon.
    pub fn leave(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Relaxed);
    }

    /// How often the pins were replaced.
    fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Acquire)
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Connections now, those in a handshake included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Tells all workers that the pins were replaced.
pub struct Bell {
    shared: Arc<Shared>,
    ports: Ports,
}

impl Bell {
    /// Workers look at their connections at once: an idle one whose pin is gone sees no request.
    pub fn ring(&self) {
        self.shared.reloads.fetch_add(1, Ordering::AcqRel);
        for port in self.ports.iter() {
            port.wake();
        }
    }
}

/// The ways to all workers, by their index.
pub type Ports = Arc<[Arc<Port>]>;

/// A running service side.
pub struct Service {
    shared: Arc<Shared>,
    ports: Ports,
    acceptor: acceptor::Handle,
    handshakes: Vec<handshake::Handle>,
    accepting: Option<JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Makes the ports of `workers` workers: the engine's deliveries go there. `mail_max` bounds each.
pub fn ports(workers: usize, mail_max: usize) -> io::Result<(Vec<Seat>, Ports)> {
    let seats = (0..workers)
        .map(|index| worker::Seat::new(index, mail_max))
        .collect::<io::Result<Vec<_>>>()?;
    let ports = seats.iter().map(|seat| Arc::clone(seat.port())).collect();
    Ok((seats, ports))
}

/// Hands an outcome to its waiter's worker.
pub fn deliver(ports: &[Arc<Port>], waiter: Waiter, outcome: Outcome) {
    if let Some(port) = ports.get(usize::from(waiter.worker)) {
        port.deliver(waiter, outcome);
    }
}

impl Service {
    /// Starts all threads and serves.
    pub fn start(
        shared: Arc<Shared>,
        seats: Vec<Seat>,
        ports: Ports,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let mut threads = Vec::new();
        for seat in seats {
            threads.push(seat.start(Arc::clone(&shared))?);
        }
        let mut handshakes = Vec::new();
        for index in 0..shared.settings.handshake_threads.max(1) {
            let (handle, thread) =
                handshake::start(index, Arc::clone(&shared), Arc::clone(&ports))?;
            handshakes.push(handle);
            threads.push(thread);
        }
        let (acceptor, thread) =
            acceptor::start(Arc::clone(&shared), listener, handshakes.clone())?;
        shared.set_phase(Phase::Serving);
        Ok(Self {
            shared,
            ports,
            acceptor,
            handshakes,
            accepting: Some(thread),
            threads,
        })
    }

    /// What the threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// For whoever replaces the pins.
    pub fn bell(&self) -> Bell {
        Bell {
            shared: Arc::clone(&self.shared),
            ports: Arc::clone(&self.ports),
        }
    }

    /// Stops accepting; every answer from now on ends its connection.
    /// When this returns, no further connection can come.
    pub fn drain(&mut self) {
        self.shared.set_phase(Phase::Draining);
        self.wake_all();
        // The others end when the last connection has gone; that must not be before the last one came.
        self.accepting.take().into_iter().for_each(join);
    }

    /// Cuts idle connections; requests in flight are still answered.
    pub fn stop(&self) {
        self.shared.set_phase(Phase::Stopping);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.acceptor.wake();
        for handle in &self.handshakes {
            handle.wake();
        }
        for port in self.ports.iter() {
            port.wake();
        }
    }

    /// Waits for all threads after [`Service::drain`] and [`Service::stop`]; each ends when its last connection has gone.
    pub fn join(self) {
        self.threads.into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        log::error!("a service thread panicked");
    }
}
