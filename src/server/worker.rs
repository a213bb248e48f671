//! A worker: one event loop, its connections, its tickets.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::audit::Chain;
use crate::engine::{Outcome, Waiter};
use crate::net::inbox::Inbox;
use crate::net::scratch::Scratch;
use crate::secret::LockedBuf;
use crate::wire::calendar::timestamp;

use super::clock::Clock;
use super::conn::{Conn, Fate};
use super::desk::{Desk, RequestIds};
use super::port::{Arrival, Mail, Port};
use super::session::State;
use super::slots::Slots;
use super::tally::Tally;
use super::{Phase, Shared, thread};

/// Bytes for records being received, and for replies being written, of one worker.
pub const RECORDS_BYTES: usize = 64 * 1024;
/// See [`RECORDS_BYTES`].
pub const REPLY_BYTES: usize = 192 * 1024;

const WAKER: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 1024;
const SWEEP_EVERY_STOPPING: Duration = Duration::from_millis(20);
/// Tickets handled before the sockets get their turn again.
const MAIL_AT_ONCE: usize = 1024;

/// A worker before it runs: its port exists, so that the engine can be built around it.
pub struct Seat {
    index: u16,
    poll: Poll,
    port: Arc<Port>,
}

impl Seat {
    pub(super) fn new(index: usize, mail_max: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let port = Arc::new(Port::new(Inbox::new(mail_max, waker)));
        let index = u16::try_from(index).map_err(|_| io::Error::other("too many workers"))?;
        Ok(Self { index, poll, port })
    }

    pub(super) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    pub(super) fn start(self, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
        let no_memory = || io::Error::other("no locked memory is left for a worker's buffers");
        let records = shared.arena.buffer(RECORDS_BYTES).ok_or_else(no_memory)?;
        let reply = shared.arena.buffer(REPLY_BYTES).ok_or_else(no_memory)?;
        let worker = Worker {
            desk: Desk {
                worker: self.index,
                clock: Clock::new(),
                reply: Scratch::new(reply),
                decoded: Vec::with_capacity(4096),
                ids: RequestIds::new()
                    .map_err(|_| io::Error::other("the kernel gives no random numbers"))?,
                tally: Tally::new(),
                audit: chain(&shared)?,
                is_cut: false,
            },
            poll: self.poll,
            port: self.port,
            shared,
            records,
            conns: Slots::new(),
            parked: VecDeque::new(),
            again: Vec::new(),
            told: Vec::new(),
            swept: Instant::now(),
            reloads: 0,
            stopping: None,
        };
        thread::spawn(format!("worker-{}", self.index), move || worker.run())
    }
}

/// A chain of the audit log, if there is one.
fn chain(shared: &Shared) -> io::Result<Option<Chain>> {
    let begin = |log: &Arc<_>| Chain::begin(Arc::clone(log), Instant::now());
    let chain = shared.audit.as_ref().map(begin).transpose();
    chain.map_err(|error| io::Error::other(error.to_string()))
}

struct Worker {
    desk: Desk,
    poll: Poll,
    port: Arc<Port>,
    shared: Arc<Shared>,
    records: LockedBuf,
    conns: Slots<Conn>,
    /// Deadlines of parked requests in the order of their end: all requests get the same time.
    parked: VecDeque<Deadline>,
    /// Connections that had more to do than one turn's worth.
    again: Vec<(u32, u32)>,
    /// Connections whose answers wait for the audit log.
    told: Vec<(u32, u32)>,
    swept: Instant,
    /// The replacement of pins that its connections have been looked at for.
    reloads: u64,
    /// Since when it has known that the node is stopping.
    stopping: Option<Instant>,
}

struct Deadline {
    at: Instant,
    conn: u32,
    generation: u32,
    request: u32,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut now = Instant::now();
        loop {
            match self.poll.poll(&mut events, Some(self.timeout(now))) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    now = Instant::now();
                    continue;
                }
                Err(error) => thread::give_up("a worker's event loop", &error),
            }
            self.desk.clock.read();
            if let Some(audit) = &mut self.desk.audit {
                audit.set_time(&timestamp(SystemTime::now()));
            }
            let is_reloaded = self.notice_reload();
            let again = std::mem::take(&mut self.again);
            let mut mail = false;
            for event in &events {
                if event.token() == WAKER {
                    mail = true;
                } else if let Ok(index) = u32::try_from(event.token().0) {
                    self.on_event(index, event);
                }
            }
            if mail {
                self.port.inbox.drained();
                self.read_mail();
            }
            for (index, generation) in again {
                self.go_on(index, generation);
            }
            self.expire();
            self.tell();
            now = Instant::now();
            self.settle_times(now);
            self.sweep(is_reloaded);
            if self.is_done() {
                if let Some(audit) = &mut self.desk.audit {
                    audit.end(self.desk.clock.now);
                }
                return;
            }
        }
    }

    /// Notes how long what was answered in this wake took.
    fn settle_times(&mut self, now: Instant) {
        let counters = self.shared.metrics.worker(self.desk.worker);
        self.desk.tally.settle(self.desk.clock.now, now, counters);
    }

    fn timeout(&self, now: Instant) -> Duration {
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        let next = self.swept + self.sweep_every();
        let next = self.parked.front().map_or(next, |first| next.min(first.at));
        next.saturating_duration_since(now)
    }

    fn sweep_every(&self) -> Duration {
        if self.stopping.is_some() {
            SWEEP_EVERY_STOPPING
        } else {
            self.shared.settings.sweep_every
        }
    }

    fn is_done(&self) -> bool {
        self.shared.phase() == Phase::Stopping
            && self.conns.len() == 0
            && self.port.inbox.is_empty()
            && self.shared.connections() == 0
    }

    fn on_event(&mut self, index: u32, event: &mio::event::Event) {
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        conn.note(event);
        let fate = conn.drive(&self.shared, &mut self.desk, &mut self.records);
        self.settle(index, fate);
    }

    /// Gives a connection another turn.
    fn go_on(&mut self, index: u32, generation: u32) {
        if let Some(conn) = self.conns.get_of(index, generation) {
            let fate = conn.drive(&self.shared, &mut self.desk, &mut self.records);
            self.settle(index, fate);
        }
    }

    /// Notes a newly parked request's deadline, or drops a finished connection.
    fn settle(&mut self, index: u32, fate: Fate) {
        // What one connection left here would go to the next.
        debug_assert!(
            self.desk.reply.bytes().is_empty(),
            "a reply was not passed on"
        );
        self.desk.reply.clear();
        if fate == Fate::Close {
            self.close(index);
            return;
        }
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        let generation = conn.session.generation();
        match fate {
            Fate::Again => self.again.push((index, generation)),
            Fate::Told => self.told.push((index, generation)),
            Fate::Keep | Fate::Close => {}
        }
        if let Some((at, request)) = conn.session.newly_parked() {
            self.parked.push_back(Deadline {
                at,
                conn: index,
                generation,
                request,
            });
        }
    }

    /// Writes the lines of all that was answered since the last wake, then sends the answers; what was not
    /// written is not sent, and its connection ends.
    fn tell(&mut self) {
        self.desk.commit();
        let is_cut = std::mem::take(&mut self.desk.is_cut);
        let mut told = std::mem::take(&mut self.told);
        for (index, generation) in told.drain(..) {
            if let Some(conn) = self.conns.get_of(index, generation) {
                let fate = if is_cut {
                    Fate::Close
                } else {
                    conn.finish(self.desk.clock.now)
                };
                self.settle(index, fate);
            }
        }
        self.told = told;
    }

    fn close(&mut self, index: u32) {
        if let Some(mut conn) = self.conns.remove(index) {
            // Closing the socket takes it out of epoll; deregistering is for the fallback's sake.
            let _ = self.poll.registry().deregister(conn.stream_mut());
            conn.session.release(&self.shared);
            // With its place among those of its address, before it is counted out.
            drop(conn);
            self.port.one_less();
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn read_mail(&mut self) {
        for _ in 0..MAIL_AT_ONCE {
            match self.port.inbox.pop() {
                Some(Mail::Arrival(arrival)) => self.on_arrival(*arrival),
                Some(Mail::Ticket(waiter, outcome)) => self.on_ticket(waiter, outcome),
                None => return,
            }
        }
        // More is left: come back after the sockets have had their turn.
        self.port.inbox.wake();
    }

    fn on_arrival(&mut self, mut arrival: Arrival) {
        let mut early = std::mem::take(&mut arrival.early);
        let now = self.desk.clock.now;
        let index = self
            .conns
            .insert_with(|index, generation| Conn::new(arrival, index, generation, now));
        let Some((index, conn)) = index.and_then(|index| Some((index, self.conns.get_mut(index)?)))
        else {
            self.port.one_less();
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        // Its pin was looked up before it was handed over.
        conn.session
            .renew_pin(&self.shared.pins.load(), self.desk.clock.unix_s);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) =
            self.poll
                .registry()
                .register(conn.stream_mut(), Token(index as usize), interest)
        {
            log::warn!("a connection could not be registered: {error}");
            self.close(index);
            return;
        }
        if !early.is_empty() {
            conn.session.feed(&mut early, &self.shared, &mut self.desk);
        }
        // Drive once before polling: epoll does not tell again what it told the handshake thread.
        let fate = match conn.pass_on(&mut self.desk) {
            Ok(()) => conn.drive(&self.shared, &mut self.desk, &mut self.records),
            Err(_) => Fate::Close,
        };
        self.settle(index, fate);
    }

    fn on_ticket(&mut self, waiter: Waiter, outcome: Outcome) {
        let now = self.desk.clock.now;
        let Some(conn) = self.conns.get_of(waiter.conn, waiter.generation) else {
            return;
        };
        if conn.session.accept(waiter, outcome, now) {
            let fate = conn.unpark(&self.shared, &mut self.desk, &mut self.records);
            self.settle(waiter.conn, fate);
        }
    }

    /// Answers parked requests whose time is over.
    fn expire(&mut self) {
        let now = self.desk.clock.now;
        while self.parked.front().is_some_and(|first| first.at <= now) {
            let Some(late) = self.parked.pop_front() else {
                return;
            };
            let Some(conn) = self.conns.get_of(late.conn, late.generation) else {
                continue;
            };
            let waits = matches!(conn.session.state(), State::Parked { .. });
            if waits && conn.session.request() == late.request {
                conn.session.give_up(&self.shared, &self.desk);
                let fate = conn.unpark(&self.shared, &mut self.desk, &mut self.records);
                self.settle(late.conn, fate);
            }
        }
    }

    /// Gives each connection the pin that is in force in its old one's place, before it serves what has come
    /// since; true when there was something new.
    fn notice_reload(&mut self) -> bool {
        let reloads = self.shared.reloads();
        if reloads == self.reloads {
            return false;
        }
        self.reloads = reloads;
        let pins = self.shared.pins.load();
        for index in 0..self.conns.span() {
            if let Some(conn) = self.conns.get_mut(index) {
                conn.session.renew_pin(&pins, self.desk.clock.unix_s);
            }
        }
        true
    }

    fn sweep(&mut self, is_reloaded: bool) {
        let now = self.desk.clock.now;
        let noticed = self.stopping.is_none() && self.shared.phase() == Phase::Stopping;
        if noticed {
            self.stopping = Some(now);
        }
        let is_due = now.saturating_duration_since(self.swept) >= self.sweep_every();
        if !is_due && !noticed && !is_reloaded {
            return;
        }
        self.swept = now;
        for index in 0..self.conns.span() {
            let Some(conn) = self.conns.get_mut(index) else {
                continue;
            };
            if conn.sweep(&self.shared, self.stopping, now) == Fate::Close {
                conn.say_goodbye();
                self.close(index);
            }
        }
    }
}
