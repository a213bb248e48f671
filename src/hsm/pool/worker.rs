//! One connection of the pool, step by step: connect, serve, reconnect.
//!
//! A step either decides, which takes no time, or asks the HSM, which takes as long as it takes and
//! changes nothing that seats share. So the threads of the pool run the steps one after the other,
//! and a simulation runs those of all seats in one thread, in the order of a clock of its own.
//!
//! Must never be true: a completion's panic that costs a seat; a step that decides after it has waited.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::HsmError;
use super::super::fleet::{Ailment, Choice, Ending, ServerId};
use super::turn::{Turn, put_back};
use super::upkeep::{self, Probe, look_around, note_idle_end, stay};
use super::{Served, Session, Shared};
use crate::net::lane::Mark;

/// How often an idle connection is looked at.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How often a thread asks whether another server has too few connections, and the scout whether one
/// has rested long enough.
pub(super) const LOOK_AROUND: Duration = Duration::from_millis(100);
/// An idle connection is looked at before it is given work; one used this recently is not.
const FRESH: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });
/// First pause of a connection whose server said that it is at its limit; doubles while it says so.
const BUSY_MIN: Duration = Duration::from_millis(5);
/// Longest such pause.
const BUSY_MAX: Duration = Duration::from_millis(250);

/// When the next step is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// At once: at the time that the last one ended at.
    Now,
    /// After so long.
    Pause(Duration),
    /// When a job waits, or after so long.
    Idle(Duration),
    /// Never: the pool is stopping.
    Closed,
}

/// A place for one connection.
pub struct Seat {
    shared: Arc<Shared>,
    doing: Doing,
    /// How long a step may sleep until a job comes. If not at all, it lies down between steps.
    sleep: Duration,
    lies: bool,
}

/// What the next step does.
pub(super) enum Doing {
    /// Decides where to connect.
    Choosing,
    /// Connects.
    Dialling(ServerId, Mark),
    /// Keeps what connecting came to.
    Dialled(ServerId, Mark, Dialled),
    /// Takes what waits.
    Draining(Conn),
    /// Asks the HSM.
    Exchanging(Conn, Turn),
    /// Keeps what the HSM's answer came to.
    Settling(Conn, Turn, Served),
    /// Asks the HSM something, though there is nothing to do.
    Probing(Conn, Probe),
    /// Keeps what that came to.
    Probed(Conn, Probe, Result<(), Ailment>),
    /// Connects to another server, which has more use for the connection; or to the same one anew, because the
    /// way to connect was changed.
    Moving(Conn, ServerId),
    /// Keeps what that came to.
    Moved(Conn, ServerId, Dialled),
}

pub(super) type Dialled = Result<Opened, String>;

/// A session, and under which way to connect it was made.
pub(super) struct Opened {
    pub(super) session: Box<dyn Session>,
    epoch: u64,
}

/// A connection and whose it is.
pub(super) struct Conn {
    pub(super) server: ServerId,
    pub(super) session: Box<dyn Session>,
    pub(super) epoch: u64,
    /// The newest way to connect that was tried for it.
    pub(super) tried: u64,
    last_use: Instant,
    pub(super) looked: Instant,
    busy_pause: Duration,
}

impl Seat {
    /// Without a connection. Its steps sleep for jobs only if it `sleeps`.
    pub(super) fn new(shared: Arc<Shared>, sleeps: bool) -> Self {
        Self {
            shared,
            doing: Doing::Choosing,
            sleep: if sleeps { IDLE_TICK } else { Duration::ZERO },
            lies: false,
        }
    }

    /// Runs until the pool is stopped.
    pub(super) fn run(mut self) {
        loop {
            match self.step() {
                Pace::Closed => return,
                Pace::Now | Pace::Idle(_) => {}
                Pace::Pause(time) => {
                    self.shared.pause(time);
                }
            }
        }
    }

    /// Does one thing, and says when the next is due.
    pub fn step(&mut self) -> Pace {
        if std::mem::take(&mut self.lies) {
            self.shared.lane.get_up();
        }
        let doing = std::mem::replace(&mut self.doing, Doing::Choosing);
        let server = doing.connected_to();
        let (next, pace) = guarded(|| self.go_on(doing)).unwrap_or_else(|| {
            let why = "a thread of the pool panicked; this is a defect of this program";
            if let Some(server) = server {
                self.shared.note_end(server, Ending::Quiet, why);
            }
            (Doing::Choosing, Pace::Now)
        });
        self.doing = next;
        if matches!(pace, Pace::Idle(_)) && self.sleep.is_zero() {
            self.shared.lane.lie_down();
            self.lies = true;
        }
        pace
    }

    fn go_on(&self, doing: Doing) -> (Doing, Pace) {
        let shared = &*self.shared;
        let next = match doing {
            Doing::Choosing => return choose(shared),
            Doing::Dialling(server, mark) => {
                let dialled = dial(shared, server);
                Doing::Dialled(server, mark, dialled)
            }
            Doing::Dialled(server, mark, dialled) => after_dialling(shared, server, mark, dialled),
            Doing::Draining(conn) => return self.drain(conn),
            Doing::Exchanging(mut conn, mut turn) => {
                let served = turn.exchange(shared, conn.server, conn.session.as_mut());
                Doing::Settling(conn, turn, served)
            }
            Doing::Settling(conn, turn, served) => return settle(shared, conn, turn, served),
            Doing::Probing(mut conn, why) => {
                let probed = upkeep::probe(shared, &mut conn, why);
                Doing::Probed(conn, why, probed)
            }
            Doing::Probed(conn, why, probed) => after_probing(shared, conn, why, probed),
            Doing::Moving(conn, server) => {
                let dialled = dial(shared, server);
                Doing::Moved(conn, server, dialled)
            }
            Doing::Moved(old, server, Ok(opened)) => {
                let new = adopt(shared, server, opened);
                end(
                    shared,
                    old,
                    Ending::Quiet,
                    "another connection took its place",
                );
                Doing::Draining(new)
            }
            Doing::Moved(old, server, Err(why)) if server == old.server => {
                Doing::Draining(stay(shared, old, &why))
            }
            Doing::Moved(old, server, Err(why)) => {
                shared.note_refusal(server, &why);
                Doing::Draining(old)
            }
        };
        (next, Pace::Now)
    }

    fn drain(&self, mut conn: Conn) -> (Doing, Pace) {
        let shared = &*self.shared;
        let batch_max = shared.fleet.lock().batch_max(conn.server);
        let under_way = shared.under_way.load(Ordering::Relaxed);
        let take_max = shared
            .plan
            .take_max(batch_max, shared.lane.len(), under_way);
        let drained = shared.lane.drain(take_max, self.sleep);
        if drained.closed {
            let next = end(shared, conn, Ending::Quiet, "the server is stopping");
            return (next, Pace::Closed);
        }
        for queued in drained.expired {
            shared.count_wait(&queued, shared.time.now());
            queued.fail(HsmError::TimedOut);
        }
        for queued in drained.given_up {
            queued.fail(HsmError::GaveWay);
        }
        // The HSM may have ended idle connections, all of them perhaps; that is no job's fault.
        let idle = shared.since(conn.last_use);
        if idle >= FRESH && !conn.session.is_quiet() {
            put_back(shared, drained.ready);
            note_idle_end(shared, conn.server, idle);
            let why = format!("{}: closed by the HSM while idle", conn.session.describe());
            return (end(shared, conn, Ending::Quiet, &why), Pace::Now);
        }
        if !drained.ready.is_empty() {
            let turn = Turn::new(shared, drained.ready, batch_max);
            return (Doing::Exchanging(conn, turn), Pace::Now);
        }
        if let Some(why) = upkeep::due(shared, conn.server, idle) {
            return (Doing::Probing(conn, why), Pace::Now);
        }
        match look_around(shared, conn) {
            Doing::Draining(conn) => (Doing::Draining(conn), Pace::Idle(IDLE_TICK)),
            next => (next, Pace::Now),
        }
    }
}

impl Doing {
    /// Whose connection is lost if the step panics.
    fn connected_to(&self) -> Option<ServerId> {
        match self {
            Self::Choosing | Self::Dialling(..) | Self::Dialled(..) => None,
            Self::Draining(conn)
            | Self::Exchanging(conn, _)
            | Self::Settling(conn, ..)
            | Self::Probing(conn, _)
            | Self::Probed(conn, ..)
            | Self::Moving(conn, _)
            | Self::Moved(conn, ..) => Some(conn.server),
        }
    }
}

/// `None` when `work` panicked: a completion's panic must not cost the pool a thread.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The server that has most use for a connection, or a rest.
fn choose(shared: &Shared) -> (Doing, Pace) {
    if shared.pause(Duration::ZERO) {
        return (Doing::Choosing, Pace::Closed);
    }
    let choice = shared.fleet.lock().choose(shared.time.now());
    match choice {
        Choice::Connect(server) => (Doing::Dialling(server, shared.lane.mark()), Pace::Now),
        Choice::Rest(time) => (Doing::Choosing, Pace::Pause(time)),
    }
}

/// One attempt to connect.
pub(super) fn dial(shared: &Shared, server: ServerId) -> Dialled {
    let deadline = shared.time.now() + shared.plan.connect_timeout;
    let epoch = shared.epoch.load(Ordering::Acquire);
    let attempt = guarded(|| shared.connector.connect(server.index(), deadline));
    let session =
        attempt.unwrap_or_else(|| Err("connecting panicked; this is a defect".to_owned()))?;
    Ok(Opened { session, epoch })
}

fn after_dialling(shared: &Shared, server: ServerId, mark: Mark, dialled: Dialled) -> Doing {
    match dialled {
        Ok(opened) => Doing::Draining(adopt(shared, server, opened)),
        Err(why) => {
            let why = shared.note_refusal(server, &why);
            if !shared.fleet.lock().has_fit() {
                for queued in shared.refused(&why, mark) {
                    queued.fail(HsmError::Unavailable(why.as_str().into()));
                }
            }
            Doing::Choosing
        }
    }
}

fn adopt(shared: &Shared, server: ServerId, opened: Opened) -> Conn {
    let Opened { session, epoch } = opened;
    let now = shared.time.now();
    shared.fleet.lock().connected(server, now);
    shared.went_up(session.describe(), session.offers_random());
    Conn {
        server,
        session,
        epoch,
        tried: epoch,
        last_use: now,
        looked: now,
        busy_pause: BUSY_MIN,
    }
}

fn end(shared: &Shared, conn: Conn, ending: Ending, why: &str) -> Doing {
    let Conn {
        server, session, ..
    } = conn;
    drop(session);
    shared.note_end(server, ending, why);
    Doing::Choosing
}

/// A server that answers keeps its connection, whatever it answers.
fn after_probing(
    shared: &Shared,
    mut conn: Conn,
    why: Probe,
    probed: Result<(), Ailment>,
) -> Doing {
    if why == Probe::Check {
        shared.note_check(conn.server, &probed);
    }
    match probed {
        Err(Ailment::Broken(why)) => end(shared, conn, Ending::Fault, &why),
        Ok(()) | Err(Ailment::Refuses(_)) => {
            conn.last_use = shared.time.now();
            look_around(shared, conn)
        }
    }
}

fn settle(shared: &Shared, mut conn: Conn, mut turn: Turn, served: Served) -> (Doing, Pace) {
    if let Some(why) = turn.settle(shared, conn.server, served) {
        return (end(shared, conn, Ending::Fault, &why), Pace::Now);
    }
    if !turn.is_over() {
        return (Doing::Exchanging(conn, turn), Pace::Now);
    }
    conn.last_use = shared.time.now();
    if !turn.is_busy() {
        conn.busy_pause = BUSY_MIN;
        return (look_around(shared, conn), Pace::Now);
    }
    // Fewer connections at work are what a server at its limit needs.
    let pause = shared.spread(conn.busy_pause);
    conn.busy_pause = (conn.busy_pause * 2).min(BUSY_MAX);
    (look_around(shared, conn), Pace::Pause(pause))
}
