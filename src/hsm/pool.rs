//! Threads that each own one connection to the HSM, and the queue they share.
//!
//! A thread takes what waits (up to a batch, or several where they may be under way at once), has its session exchange it, and takes again: a batch
//! grows while the last one flies, and a lone job never waits for company. So the connection with the
//! least to do takes the next job, and a server that is slow gets fewer of them. Which protocol is
//! spoken is the session's business; which server is connected to, [`super::fleet`]'s.
//!
//! Must never be true: a job that waits past its deadline; a connection used after a timeout or a
//! broken answer; an attempt to connect that blocks for ever. Called by the engine through [`Hsm`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};

use super::fleet::Ailment;
use super::{
    Access, Answer, ClientTag, Envelope, Errand, Health, Hsm, HsmError, Job, ServerReport, Way,
};
use crate::metrics::{Exchanged, HsmMetrics};
use crate::net::lane::{Refused, SparePlan};
use crate::net::time::Time;

mod check;
mod scout;
mod shared;
#[cfg(test)]
mod tests;
mod turn;
mod upkeep;
mod worker;

pub use scout::Scout;
use shared::Shared;
pub use worker::{Pace, Seat};

/// How often expired jobs are looked for: how late a [`HsmError::TimedOut`] may be.
pub const SWEEP: Duration = Duration::from_millis(20);

/// Makes connections.
pub trait Connector: Send + Sync + 'static {
    /// Labels of the servers, `host:port`, in the configured order; never empty.
    fn servers(&self) -> Vec<Arc<str>>;
    /// How all its servers' ciphertexts are laid out; never changes.
    fn envelope(&self) -> Envelope {
        Envelope::AesGcm
    }
    /// Connects to the server at that index, logs in, negotiates: when this returns, a request has
    /// been answered. The text of an error tells what went wrong.
    fn connect(&self, server: usize, deadline: Instant) -> Result<Box<dyn Session>, String>;
    /// Connects this way from now on. New servers are added to [`Connector::servers`]; the indices of those that
    /// are configured now, in their order.
    fn renew(&self, way: Way) -> Vec<usize> {
        let _ = way;
        (0..self.servers().len()).collect()
    }
}

/// One connection.
pub trait Session {
    /// What it is connected to, for people.
    fn describe(&self) -> String;
    /// Does the jobs and calls every `done` but those of [`Served::retry`] and [`Served::unsent`]. A
    /// server that has not answered by `until` counts as dead, though jobs may have more time: they
    /// are to be asked elsewhere then.
    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served;
    /// As [`Session::serve`], for jobs of several messages that may be under way at once.
    fn serve_pipelined(&mut self, messages: Vec<Vec<Job>>, until: Option<Instant>) -> Served {
        self.serve(messages.into_iter().flatten().collect(), until)
    }
    /// Whether an idle connection still stands, without asking the HSM.
    fn is_quiet(&mut self) -> bool;
    /// Whether [`super::Request::Random`] is served.
    fn offers_random(&self) -> bool {
        false
    }
    /// Asks the HSM something small.
    fn probe(&mut self, deadline: Instant) -> Result<(), Ailment>;
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
    /// A job of them ended well: the server does what it is asked.
    pub worked: bool,
    /// The server is at its limit: it should be left alone for a moment.
    pub busy: bool,
    /// The server takes fewer items a message than it was given, and what it said.
    pub learnt: Option<ItemsMax>,
    /// Each message that was sent.
    pub messages: Vec<Exchanged>,
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
    /// Jobs of one message.
    pub batch_max: usize,
    /// Messages given to a session at once; 1: it has no more than one under way.
    pub pipeline_max: usize,
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Bound of one attempt to connect, and of a probe.
    pub connect_timeout: Duration,
}

impl PoolPlan {
    /// How many jobs a connection takes to a server of messages of up to `batch_max`, when so many wait
    /// and are under way elsewhere: full messages of its equal share, rounded to the nearest, so that one
    /// connection never keeps waiting what another could ask at once.
    fn take_max(&self, batch_max: usize, waiting: usize, under_way: usize) -> usize {
        let batch_max = batch_max.max(1);
        let share = (waiting + under_way) / self.connections.max(1);
        let messages = (share + batch_max / 2) / batch_max;
        batch_max * messages.clamp(1, self.pipeline_max.max(1))
    }

    /// Jobs that nobody waits for: a message for each connection, and none when a message's worth of
    /// others waits. One connection is left to clients, where there are several.
    fn spare(&self) -> SparePlan {
        SparePlan {
            waiting_max: self.connections.max(1) * self.batch_max,
            busy: self.batch_max,
            idle_threads: usize::from(self.connections > 1),
        }
    }
}

struct Queued {
    job: Job,
    /// It has died with a connection once.
    tried: bool,
    /// Since when it waits; `None`: nobody waits for it, or that was counted before.
    since: Option<Instant>,
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
        // There may be several servers one day.
        let scouted = Arc::clone(&shared);
        pool.spawn("hsm-scout".into(), move || Scout::new(scouted).run())?;
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
        let is_several = shared.fleet.lock().is_several();
        Unthreaded {
            seats: seats
                .map(|_| Seat::new(Arc::clone(&shared), false))
                .collect(),
            scout: is_several.then(|| Scout::new(Arc::clone(&shared))),
            pool: Self {
                shared,
                threads: Mutex::default(),
            },
        }
    }

    /// Whether a seat whose step ended [`Pace::Idle`] would find a job.
    pub fn wants_seat(&self) -> bool {
        self.shared.lane.wants_sleeper()
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
        let queued = Queued {
            job,
            tried: false,
            since: Some(self.shared.time.now()),
        };
        match self.shared.lane.push(client, queued, deadline) {
            Ok(()) => {}
            Err(Refused::Full(queued)) => queued.fail(HsmError::Overloaded),
            Err(Refused::Closed(queued)) => queued.fail(HsmError::Abandoned),
        }
    }

    fn submit_spare(&self, errand: Errand, job: Job) {
        let deadline = job.deadline;
        let queued = Queued {
            job,
            tried: false,
            since: None,
        };
        match self.shared.lane.push_spare(errand.0, queued, deadline) {
            Ok(()) => {}
            Err(Refused::Full(queued)) => queued.fail(HsmError::GaveWay),
            Err(Refused::Closed(queued)) => queued.fail(HsmError::Abandoned),
        }
    }

    fn raise(&self, errand: Errand, client: ClientTag, deadline: Instant) {
        self.shared.lane.raise(errand.0, client.0, deadline);
    }

    fn health(&self) -> Health {
        let standing = self.shared.fleet.lock().standing();
        let status = self.shared.status.lock();
        let stands = status.live > 0;
        let detail = match standing.trouble {
            Some(trouble) if stands => trouble,
            _ => status.detail.clone(),
        };
        Health {
            up: stands && standing.up,
            was_up: status.was_up,
            queued: self.shared.lane.len(),
            detail,
            access: Access {
                refused: standing.refused.filter(|_| stands),
                ends_in_s: None,
            },
        }
    }

    fn renew(&self, way: Way) {
        let configured = self.shared.connector.renew(way);
        let labels = self.shared.connector.servers();
        self.shared.fleet.lock().reconfigure(labels, &configured);
        // After it: a connection that was begun under the new number was made with the new settings.
        self.shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn servers(&self) -> Vec<ServerReport> {
        self.shared.fleet.lock().report(self.shared.time.now())
    }

    fn metrics(&self) -> Option<&HsmMetrics> {
        Some(&self.shared.metrics)
    }

    fn envelope(&self) -> Envelope {
        self.shared.connector.envelope()
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
