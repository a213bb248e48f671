//! Threads that each own one connection to the HSM, and the queue they share.
//!
//! A thread takes what waits (up to a batch), has its session exchange it, and takes again: a batch
//! grows while the last one flies, and a lone job never waits for company. So the connection with the
//! least to do takes the next job, and a server that is slow gets fewer of them. Which protocol is
//! spoken is the session's business; which server is connected to, [`super::fleet`]'s.
//!
//! Must never be true: a job that waits past its deadline; a connection used after a timeout or a
//! broken answer; an attempt to connect that blocks for ever. Called by the engine through [`Hsm`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use ring::rand::{SecureRandom, SystemRandom};

use super::fleet::{Ending, Fleet, ServerId};
use super::{Answer, Health, Hsm, HsmError, Job};
use crate::net::lane::{Lane, Mark, Refused};
use crate::net::time::Time;

mod scout;
#[cfg(test)]
mod tests;
mod turn;
mod worker;

pub use scout::Scout;
pub use worker::{Pace, Seat};

/// How often expired jobs are looked for: how late a [`HsmError::TimedOut`] may be.
pub const SWEEP: Duration = Duration::from_millis(20);

/// `SplitMix64`'s increment.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes connections.
pub trait Connector: Send + Sync + 'static {
    /// Labels of the servers, `host:port`, in the configured order; never empty.
    fn servers(&self) -> Vec<Arc<str>>;
    /// Connects to the server at that index, logs in, negotiates: when this returns, a request has
    /// been answered. The text of an error tells what went wrong.
    fn connect(&self, server: usize, deadline: Instant) -> Result<Box<dyn Session>, String>;
}

/// One connection.
pub trait Session {
    /// What it is connected to, for people.
    fn describe(&self) -> String;
    /// Does the jobs and calls every `done` but those of [`Served::retry`] and [`Served::unsent`]. A
    /// server that has not answered by `until` counts as dead, though jobs may have more time: they
    /// are to be asked elsewhere then.
    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served;
    /// Whether an idle connection still stands, without asking the HSM.
    fn is_quiet(&mut self) -> bool;
    /// Whether [`super::Request::Random`] is served.
    fn offers_random(&self) -> bool {
        false
    }
    /// Asks the HSM something small.
    fn probe(&mut self, deadline: Instant) -> Result<(), String>;
}

/// What became of a [`Session::serve`].
#[derive(Default)]
pub struct Served {
    /// Jobs that died with the connection and may be asked again.
    pub retry: Vec<Job>,
    /// Jobs that were not asked at all, because the connection broke before.
    pub unsent: Vec<Job>,
    /// Why the connection must be dropped.
    pub broken: Option<String>,
    /// The server is at its limit: it should be left alone for a moment.
    pub busy: bool,
    /// The server takes fewer items a message than it was given, and what it said.
    pub learnt: Option<ItemsMax>,
}

/// How many items a server was found to take in one message, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ItemsMax {
    /// At least one.
    pub items: usize,
    /// The server's words, one line.
    pub why: Arc<str>,
}

/// Sizes of a pool.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// As [`Hsm::name`].
    pub name: &'static str,
    /// Connections, one thread each.
    pub connections: usize,
    /// Jobs given to a session at once.
    pub batch_max: usize,
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Bound of one attempt to connect, and of a probe.
    pub connect_timeout: Duration,
}

struct Queued {
    job: Job,
    /// It has died with a connection once.
    tried: bool,
}

#[derive(Default)]
struct Status {
    /// Connections that stand.
    live: usize,
    was_up: bool,
    /// A state was logged.
    known: bool,
    /// What the last connection said.
    offers_random: bool,
    detail: String,
}

struct Shared {
    plan: PoolPlan,
    connector: Box<dyn Connector>,
    fleet: Mutex<Fleet>,
    is_several: bool,
    lane: Lane<Queued>,
    time: Time,
    /// State of the generator that spreads pauses; its numbers keep nothing secret.
    spread: AtomicU64,
    status: Mutex<Status>,
    stopping: Mutex<bool>,
    stopped: Condvar,
}

/// The pool.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A pool without threads, for whoever turns its clock: everything that a thread of [`Pool::start`]
/// does, to be done by the caller.
pub struct Unthreaded {
    /// Takes jobs.
    pub pool: Pool,
    /// Connections, each to be stepped when it is due.
    pub seats: Vec<Seat>,
    /// To be stepped as well, where there are several servers.
    pub scout: Option<Scout>,
}

impl Pool {
    /// Starts the threads; connecting goes on behind. Fails when a thread cannot be made.
    pub fn start(plan: PoolPlan, connector: Box<dyn Connector>) -> std::io::Result<Self> {
        let mut seed = [0; 8];
        // Without randomness the pauses are merely not spread.
        let _ = SystemRandom::new().fill(&mut seed);
        let shared = Shared::new(plan, connector, Time::real(), u64::from_ne_bytes(seed));
        let pool = Self {
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        for n in 0..shared.plan.connections.max(1) {
            let shared = Arc::clone(&shared);
            pool.spawn(format!("hsm-{n}"), move || Seat::new(shared, true).run())?;
        }
        if shared.is_several {
            let shared = Arc::clone(&shared);
            pool.spawn("hsm-scout".into(), move || Scout::new(shared).run())?;
        }
        pool.spawn("hsm-sweep".into(), move || shared.sweep())?;
        Ok(pool)
    }

    /// Without threads, by the clock `time`; equal seeds spread pauses alike.
    pub fn unthreaded(
        plan: PoolPlan,
        connector: Box<dyn Connector>,
        time: Time,
        seed: u64,
    ) -> Unthreaded {
        let shared = Shared::new(plan, connector, time, seed);
        let seats = 0..shared.plan.connections.max(1);
        Unthreaded {
            seats: seats
                .map(|_| Seat::new(Arc::clone(&shared), false))
                .collect(),
            scout: shared.is_several.then(|| Scout::new(Arc::clone(&shared))),
            pool: Self {
                shared,
                threads: Mutex::default(),
            },
        }
    }

    /// Answers jobs that have expired: what a thread does every [`SWEEP`].
    pub fn sweep(&self) {
        self.shared.sweep_once();
    }

    fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        self.threads.lock().push(thread);
        Ok(())
    }
}

impl Hsm for Pool {
    fn name(&self) -> &'static str {
        self.shared.plan.name
    }

    fn submit(&self, job: Job) {
        let (client, deadline) = (job.client.0, job.deadline);
        let queued = Queued { job, tried: false };
        match self.shared.lane.push(client, queued, deadline) {
            Ok(()) => {}
            Err(Refused::Full(queued)) => queued.fail(HsmError::Overloaded),
            Err(Refused::Closed(queued)) => queued.fail(HsmError::Abandoned),
        }
    }

    fn health(&self) -> Health {
        let status = self.shared.status.lock();
        Health {
            up: status.live > 0,
            was_up: status.was_up,
            queued: self.shared.lane.len(),
            detail: status.detail.clone(),
        }
    }

    fn offers_random(&self) -> bool {
        self.shared.status.lock().offers_random
    }

    fn shutdown(&self) {
        for queued in self.shared.lane.close() {
            queued.fail(HsmError::Abandoned);
        }
        *self.shared.stopping.lock() = true;
        self.shared.stopped.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A completion may drop the last handle on the pool; a thread cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                log::error!("a thread of the HSM pool had panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Queued {
    fn fail(self, error: HsmError) {
        let outcome: Result<Answer, HsmError> = Err(error);
        (self.job.done)(outcome);
    }
}

impl Shared {
    fn new(plan: PoolPlan, connector: Box<dyn Connector>, time: Time, seed: u64) -> Arc<Self> {
        let servers = connector.servers();
        Arc::new(Self {
            lane: Lane::with_time(plan.queue_max.max(1), time.clone()),
            time,
            spread: AtomicU64::new(seed),
            is_several: servers.len() > 1,
            fleet: Mutex::new(Fleet::new(servers, plan.batch_max)),
            plan,
            connector,
            status: Mutex::new(Status {
                detail: "not connected yet".into(),
                ..Status::default()
            }),
            stopping: Mutex::new(false),
            stopped: Condvar::new(),
        })
    }

    /// Answers expired jobs even while every thread waits for the HSM.
    fn sweep(&self) {
        while !self.pause(SWEEP) {
            self.sweep_once();
        }
    }

    fn sweep_once(&self) {
        for queued in self.lane.expire(self.time.now()) {
            // One completion's panic must not leave the others without an end.
            let told = catch_unwind(AssertUnwindSafe(|| queued.fail(HsmError::TimedOut)));
            if told.is_err() {
                log::error!("telling a request of its end failed; this is a defect");
            }
        }
    }

    fn since(&self, then: Instant) -> Duration {
        self.time.now().saturating_duration_since(then)
    }

    /// A random share of a pause, so that many threads and nodes do not knock at once.
    fn share(&self) -> u8 {
        let mixed = self.spread.fetch_add(GOLDEN, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let [share, ..] = (mixed ^ (mixed >> 27)).to_be_bytes();
        share
    }

    /// Between half of `time` and all of it.
    fn spread(&self, time: Duration) -> Duration {
        time / 2 + time / 2 * u32::from(self.share()) / 255
    }

    /// An attempt to connect failed; why, with the server's name.
    fn note_refusal(&self, server: ServerId, why: &str) -> String {
        let share = self.share();
        let mut fleet = self.fleet.lock();
        let why = format!("{}: {why}", fleet.label(server));
        log::debug!("{}: {why}", self.plan.name);
        fleet.refused(server, &why, share, self.time.now());
        why
    }

    /// A connection ended.
    fn note_end(&self, server: ServerId, ending: Ending, why: &str) {
        let (share, now) = (self.share(), self.time.now());
        self.fleet.lock().ended(server, ending, why, share, now);
        self.lost(why);
    }

    /// Sleeps; true when the pool is stopping.
    fn pause(&self, time: Duration) -> bool {
        let mut stopping = self.stopping.lock();
        if !*stopping {
            self.stopped.wait_for(&mut stopping, time);
        }
        *stopping
    }

    fn went_up(&self, what: String, offers_random: bool) {
        let mut status = self.status.lock();
        status.offers_random = offers_random;
        if status.live == 0 {
            log::info!("{}: connected to {what}", self.plan.name);
        }
        status.live += 1;
        status.was_up = true;
        status.known = true;
        status.detail = what;
    }

    fn lost(&self, why: &str) {
        let mut status = self.status.lock();
        status.live = status.live.saturating_sub(1);
        if status.live > 0 {
            let left = status.live;
            log::debug!(
                "{}: a connection ended, {left} stand: {why}",
                self.plan.name
            );
        } else if self.lane.is_closed() {
            status.detail = why.into();
        } else {
            log::warn!("{}: not available: {why}", self.plan.name);
            status.detail = why.into();
        }
    }

    /// Every server has refused. Unless a connection stands, gives the jobs that were queued before
    /// the last attempt began: they have nothing to wait for.
    fn refused(&self, why: &str, mark: Mark) -> Vec<Queued> {
        let mut status = self.status.lock();
        if status.live > 0 {
            return Vec::new();
        }
        if !status.known {
            log::warn!("{}: not available: {why}", self.plan.name);
        }
        status.known = true;
        status.detail = why.into();
        self.lane.take_before(mark)
    }
}
