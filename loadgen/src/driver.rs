//! The event loop: one thread, all connections, closed loop. A connection sends its next request
//! when an answer arrives, so what is measured is the rate the server can keep and the latency at it;
//! a stall of the server delays the requests behind it instead of being counted against them.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use kms::net::pipe::SCRATCH_BYTES_MIN;
use kms::wire::http::Response;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Broken, Connection, Taker};
use crate::cpu;
use crate::exchange::{Exchanges, holds};
use crate::report::Outcome;
use crate::target::Target;

/// How long handshakes may take, and answers to requests already sent when a run ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait in the poll: how late the end of a run can be noticed when nothing arrives.
const TICK: Duration = Duration::from_millis(20);

/// When a run ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// After this many requests were sent.
    Requests(u64),
    /// After this time.
    Elapsed(Duration),
}

/// One run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Requests in flight on each connection; 1 is the usual closed loop.
    pub depth: usize,
    /// When to stop sending.
    pub until: Until,
}

/// Why a run gave no outcome.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriveError {
    /// Ours: the event loop failed.
    Io(io::Error),
    /// A connection could not be made; the reason of the last one.
    Connect(String),
    /// Connections broke again and again; the reason of the last one.
    Unstable(String),
    /// Connections, or answers to requests already sent, did not come within 10 s.
    Stalled {
        /// How many were missing.
        missing: usize,
    },
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the load generator's event loop failed: {error}"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::Unstable(why) => write!(f, "connections break again and again: {why}"),
            Self::Stalled { missing } => {
                write!(
                    f,
                    "the server let {missing} connections or requests wait for {} s",
                    PATIENCE.as_secs()
                )
            }
        }
    }
}

impl std::error::Error for DriveError {}

impl From<io::Error> for DriveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Open connections to one server.
pub struct Driver {
    poll: Poll,
    events: Events,
    target: Target,
    connections: Vec<Connection<Pending>>,
    scratch: Vec<u8>,
}

/// A request that waits for its answer.
struct Pending {
    index: usize,
    sent_at: Instant,
}

/// What the connections share while a run lasts.
struct Run<'a> {
    exchanges: &'a Exchanges,
    outcome: Outcome,
    depth: usize,
    /// When the newest answer was read.
    now: Instant,
    /// Where the expected bytes stood in the last answer's body.
    hint: usize,
    order: &'a mut dyn Iterator<Item = usize>,
    requests_left: u64,
    stop_at: Instant,
}

impl<'a> Run<'a> {
    /// None once the run is over: by count, by time, or because the order ended.
    fn next_request(&mut self) -> Option<(usize, &'a [u8])> {
        if self.requests_left == 0 || self.now >= self.stop_at {
            self.requests_left = 0;
            return None;
        }
        let next = self
            .order
            .next()
            .and_then(|index| Some((index, self.exchanges.get(index)?.request)));
        self.requests_left = if next.is_some() {
            self.requests_left - 1
        } else {
            0
        };
        next
    }
}

impl Run<'_> {
    /// Sends requests until the depth is in flight.
    fn fill(&mut self, connection: &mut Connection<Pending>, now: Instant) -> Result<(), Broken> {
        while connection.in_flight() < self.depth {
            let Some((index, request)) = self.next_request() else {
                break;
            };
            connection.send(
                request,
                Pending {
                    index,
                    sent_at: now,
                },
            )?;
        }
        connection.flush()
    }

    /// Takes the answers that arrived and sends as many requests again, with one write.
    fn serve(
        &mut self,
        connection: &mut Connection<Pending>,
        scratch: &mut [u8],
    ) -> Result<(), Broken> {
        loop {
            let more = connection.receive(scratch, self)?;
            self.fill(connection, self.now)?;
            if !more {
                return Ok(());
            }
        }
    }
}

impl Taker<Pending> for Run<'_> {
    fn arrived(&mut self) {
        self.now = Instant::now();
    }

    fn answered(&mut self, asked: Pending, answer: &Response<'_>) {
        let exchange = self.exchanges.get(asked.index);
        let expected = exchange.map_or(&b""[..], |exchange| exchange.expected);
        let as_expected = holds(answer.body, expected, &mut self.hint);
        let latency = self.now.saturating_duration_since(asked.sent_at);
        self.outcome.record(answer.status, as_expected, latency);
    }
}

impl Driver {
    /// Opens `connections` and completes their handshakes.
    pub fn connect(target: &Target, connections: usize) -> Result<Self, DriveError> {
        let mut driver = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(connections.clamp(64, 4096)),
            target: target.clone(),
            connections: Vec::with_capacity(connections),
            scratch: vec![0; 2 * SCRATCH_BYTES_MIN],
        };
        for index in 0..connections {
            let connection = driver
                .open(index)
                .map_err(|why| DriveError::Connect(why.to_string()))?;
            driver.connections.push(connection);
        }
        driver.finish_handshakes()?;
        Ok(driver)
    }

    /// Runs `plan`: requests of `exchanges` in this `order` of indices. May be called again; the connections stay.
    pub fn run(
        &mut self,
        exchanges: &Exchanges,
        order: &mut dyn Iterator<Item = usize>,
        plan: Plan,
    ) -> Result<Outcome, DriveError> {
        let outcome = Outcome::new().map_err(|error| io::Error::other(error.to_string()))?;
        let start = Instant::now();
        let (requests_left, stop_at) = match plan.until {
            Until::Requests(count) => (count, start + Duration::from_hours(1)),
            Until::Elapsed(time) => (u64::MAX, start + time),
        };
        let mut run = Run {
            exchanges,
            outcome,
            depth: plan.depth.max(1),
            now: start,
            hint: 0,
            order,
            requests_left,
            stop_at,
        };
        let cpu_before = cpu::this_thread()?;
        for index in 0..self.connections.len() {
            self.touch(index, &mut run, true)?;
        }
        self.until_answered(&mut run)?;
        run.outcome.elapsed = run.now.saturating_duration_since(start);
        run.outcome.client_cpu = cpu::this_thread()?.saturating_sub(cpu_before);
        Ok(run.outcome)
    }

    fn until_answered(&mut self, run: &mut Run<'_>) -> Result<(), DriveError> {
        let mut progress = (Instant::now(), 0);
        loop {
            self.wait()?;
            // Swapped out, so that events can be read while connections change.
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                self.touch(event.token().0, run, false)?;
            }
            self.events = events;
            let answers = run.outcome.answers();
            if answers > progress.1 {
                progress = (run.now, answers);
            }
            let in_flight = || {
                self.connections
                    .iter()
                    .map(Connection::in_flight)
                    .sum::<usize>()
            };
            if run.requests_left == 0 && in_flight() == 0 {
                return Ok(());
            }
            if progress.0.elapsed() > PATIENCE {
                return Err(DriveError::Stalled {
                    missing: in_flight(),
                });
            }
        }
    }

    /// Serves one connection; opens it again if it broke.
    fn touch(&mut self, index: usize, run: &mut Run<'_>, first: bool) -> Result<(), DriveError> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let served = match (first, connection.is_established()) {
            (true, true) => run.fill(connection, run.now),
            (false, true) => run.serve(connection, &mut self.scratch),
            (_, false) => connection.handshake(&mut self.scratch).and_then(|()| {
                if connection.is_established() {
                    run.fill(connection, Instant::now())
                } else {
                    Ok(())
                }
            }),
        };
        let Err(why) = served else { return Ok(()) };
        if connection.in_flight() > 0 {
            run.outcome.failed_connections += 1;
        }
        run.outcome.reconnects += 1;
        // An honest server closes now and then; one that refuses does so for ever.
        let refused = run.outcome.reconnects > 100 + run.outcome.answers() / 10;
        let opened = if refused { Err(why) } else { self.open(index) };
        let opened = opened.map_err(|why| DriveError::Unstable(why.to_string()))?;
        if let Some(connection) = self.connections.get_mut(index) {
            *connection = opened;
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> Result<Connection<Pending>, Broken> {
        let mut connection = Connection::open(&self.target, Vec::new())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.poll
                .registry()
                .register(connection.stream_mut(), Token(index), interest);
        registered.map_err(|error| Broken::Pipe(kms::net::pipe::PipeError::Io(error)))?;
        Ok(connection)
    }

    fn finish_handshakes(&mut self) -> Result<(), DriveError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = self
                .connections
                .iter()
                .filter(|one| !one.is_established())
                .count();
            if missing == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(DriveError::Stalled { missing });
            }
            self.wait()?;
            for event in &self.events {
                if let Some(connection) = self.connections.get_mut(event.token().0) {
                    let driven = connection.handshake(&mut self.scratch);
                    driven.map_err(|why| DriveError::Connect(why.to_string()))?;
                }
            }
        }
    }

    fn wait(&mut self) -> Result<(), DriveError> {
        match self.poll.poll(&mut self.events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }
}
