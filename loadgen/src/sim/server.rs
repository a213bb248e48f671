//! The event loop of the simulated HSM: accepts, reads, waits for what is due, answers. One thread.
//!
//! Must never be true: a sleep; an answer before its time; a connection served beyond a fault that ends
//! it. Delays are entries in [`super::timers`]; what is answered comes from [`super::hsm`].

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use kms::net::pipe::SCRATCH_BYTES_MIN;
use mio::event::Event;
use mio::net::{TcpListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use super::conn::Conn;
use super::control::{self, Control};
use super::fault::{FaultKind, FaultOrder};
use super::hsm::Hsm;
use super::plan::{HsmPlan, Moment};
use super::preset::Model;
use super::station::{Station, ns_of_ms};
use super::timers::{Due, Timers};
use super::tls::Shown;

pub(super) const LISTENER: Token = Token(0);
const CONTROL: Token = Token(1);
const TIMER: Token = Token(2);
const STOP: Token = Token(3);
/// Control lines have tokens from here on,
const LINES_FROM: usize = 16;
/// and clients from here on.
pub(super) const CONNS_FROM: usize = 1024;
/// Connections at a time; more are closed at once.
const CONNS_MAX: usize = 10_000;
/// Waits shorter than this are spun through where the model's own times are as short.
const SPIN_NS: u64 = 150_000;
/// Where messages take less than this, being woken late would show.
const SPIN_BELOW_MS: f64 = 0.2;
/// How soon listening is tried again, when the port was taken meanwhile.
const RELISTEN_NS: u64 = 20_000_000;
/// Longest service time that the histogram holds: a minute.
const SERVICE_NS_MAX: u64 = 60_000_000_000;

/// What a simulator is started with.
pub struct SimPlan {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Timing and limits.
    pub model: Model,
    /// Objects, versions, log.
    pub hsm: HsmPlan,
    /// Certificates.
    pub tls: Shown,
    /// Where orders are taken.
    pub control: Option<PathBuf>,
    /// Faults from the start on.
    pub faults: Vec<FaultOrder>,
}

/// A simulated HSM that listens.
pub struct Sim {
    pub(super) poll: Poll,
    pub(super) listener: Option<TcpListener>,
    pub(super) address: SocketAddr,
    pub(super) shown: Shown,
    pub(super) station: Station,
    pub(super) seed: u64,
    pub(super) hsm: Hsm,
    pub(super) conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    pub(super) accepted: u64,
    /// Some connections are neither read nor answered.
    pub(super) any_frozen: bool,
    pub(super) timers: Timers,
    /// Answers that a stall keeps back.
    pub(super) held: Vec<Due>,
    control: Control,
    stop: Option<UnixStream>,
    start: Instant,
    pub(super) scratch: Vec<u8>,
    pub(super) out: Vec<u8>,
    /// Nanoseconds from a whole request to its answer, as the model has it.
    pub(super) modelled_ns: Histogram<u64>,
    /// The same as it was: stalls and a machine with other things to do come on top.
    pub(super) service_ns: Histogram<u64>,
    pub(super) is_stopping: bool,
}

fn now_of(start: Instant) -> Moment {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Moment {
        ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        unix_us: i64::try_from(since.as_micros()).unwrap_or(0),
    }
}

impl Sim {
    /// Listens; clients are served once [`Sim::run`] is called.
    pub fn bind(plan: SimPlan) -> Result<Self, String> {
        let place = plan.address;
        let start = Instant::now();
        let hsm = Hsm::new(&plan.hsm, now_of(start)).map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("{place}: {error}");
        let poll = Poll::new().map_err(failed)?;
        let control = Control::bind(
            plan.control.as_deref(),
            poll.registry(),
            CONTROL,
            LINES_FROM,
        )
        .map_err(|error| format!("the control socket: {error}"))?;
        let timers = Timers::new(poll.registry(), TIMER).map_err(failed)?;
        let histogram = Histogram::new_with_bounds(1, SERVICE_NS_MAX, 3);
        let histogram = histogram.map_err(|error| error.to_string())?;
        let mut sim = Self {
            listener: None,
            address: place,
            shown: plan.tls,
            station: Station::new(plan.model, plan.hsm.seed),
            seed: plan.hsm.seed,
            hsm,
            conns: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            any_frozen: false,
            timers,
            held: Vec::new(),
            control,
            stop: None,
            start,
            scratch: vec![0; 2 * SCRATCH_BYTES_MIN],
            out: Vec::new(),
            modelled_ns: histogram.clone(),
            service_ns: histogram,
            is_stopping: false,
            poll,
        };
        sim.listen().map_err(failed)?;
        sim.plan_stall();
        for order in plan.faults {
            sim.add_fault(order);
        }
        Ok(sim)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its timing and limits.
    pub fn model(&self) -> &Model {
        self.station.model()
    }

    /// Ends the loop when `stream` becomes readable (a signal, say).
    pub fn stop_on(&mut self, stream: StdUnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        let registry = self.poll.registry();
        registry.register(&mut stream, STOP, Interest::READABLE)?;
        self.stop = Some(stream);
        Ok(())
    }

    /// Runs on a thread of its own.
    pub fn spawn(mut self) -> io::Result<Running> {
        let (ours, theirs) = StdUnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        let line = UnixStream::from_std(theirs);
        self.control.add(line, self.poll.registry())?;
        let address = self.address;
        let thread = std::thread::Builder::new()
            .name("hsm-sim".to_owned())
            .spawn(move || self.run())?;
        Ok(Running {
            address,
            line: ours,
            thread: Some(thread),
        })
    }

    /// Serves until it is told to stop; then says goodbye to everyone.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.is_stopping {
            self.end_faults();
            self.fire();
            let timeout = self.arm()?;
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                self.handle(event);
            }
        }
        for place in 0..self.conns.len() {
            self.close(place, true);
        }
        self.hsm.flush_truth()
    }

    /// Sets the timer for what is due next. The time to poll for: not at all when it is spun for.
    fn arm(&mut self) -> io::Result<Option<Duration>> {
        let now_ns = self.now().ns;
        let relisten =
            self.listener.is_none() && self.hsm.faults.get(FaultKind::Failover).is_none();
        let ends = [
            self.timers.next_ns(),
            self.hsm.faults.next_end_ns(),
            relisten.then_some(now_ns + RELISTEN_NS),
        ];
        let next_ns = ends.into_iter().flatten().min();
        let spins = self.station.model().message_ms < SPIN_BELOW_MS
            && next_ns.is_some_and(|next_ns| next_ns < now_ns + SPIN_NS);
        if spins {
            return Ok(Some(Duration::ZERO));
        }
        self.timers.arm(next_ns, now_ns)?;
        Ok(None)
    }

    fn handle(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            CONTROL => self.control.accept(self.poll.registry()),
            TIMER => self.timers.went_off(),
            STOP => self.is_stopping = true,
            token if token.0 >= CONNS_FROM => {
                let place = token.0 - CONNS_FROM;
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.drive(place);
                } else {
                    self.flush(place);
                }
            }
            line => {
                for text in self.control.read(line) {
                    let answer = match self.obey(&text) {
                        Ok(said) if said.is_empty() => "ok".to_owned(),
                        Ok(said) => said,
                        Err(why) => format!("error: {why}"),
                    };
                    self.control.answer(line, &answer);
                }
            }
        }
    }

    pub(super) fn now(&self) -> Moment {
        now_of(self.start)
    }

    /// Opens the listener, at first or after a failover.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        let mut listener = TcpListener::bind(self.address)?;
        self.address = listener.local_addr()?;
        let registry = self.poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
            if let Err(error) = self.welcome(stream) {
                log::debug!("a connection is refused: {error}");
            }
        }
    }

    fn welcome(&mut self, stream: mio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
        let place = self.free.last().copied().unwrap_or(self.conns.len());
        if place >= CONNS_MAX {
            return Err("too many connections".into());
        }
        stream.set_nodelay(true)?;
        let now_ns = self.now().ns;
        let number = self.accepted + 1;
        let mut conn = Conn::new(stream, self.certificate(), number, now_ns)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(CONNS_FROM + place);
        let socket = &mut conn.pipe.stream_mut().tcp;
        self.poll.registry().register(socket, token, both)?;
        self.accepted = number;
        match self.conns.get_mut(place) {
            Some(slot) => {
                self.free.pop();
                *slot = Some(conn);
            }
            None => self.conns.push(Some(conn)),
        }
        if let Some(ms) = self.station.model().idle_ms {
            self.timers.set(
                now_ns.saturating_add(ns_of_ms(ms)),
                Due::Idle { place, number },
            );
        }
        Ok(())
    }

    /// Ends a connection, with or without a goodbye.
    pub(super) fn close(&mut self, place: usize, politely: bool) {
        let Some(mut conn) = self.conns.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.free.push(place);
        if politely && !conn.is_frozen {
            conn.pipe.close();
        }
        // An alert may wait as well; whoever is not there does not read it.
        let _ = conn.pipe.flush();
    }
}

/// A simulator on a thread of its own; it ends with this.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    line: StdUnixStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Gives an order, as the control socket takes them, and awaits the answer.
    pub fn order(&self, text: &str) -> io::Result<String> {
        control::exchange(&self.line, text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let stopped = self.order("stop");
        if stopped.is_ok()
            && let Some(thread) = self.thread.take()
        {
            // Its result has nowhere to go.
            let _ = thread.join();
        }
    }
}
