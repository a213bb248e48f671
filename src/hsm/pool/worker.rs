//! One thread of the pool: connect, serve, reconnect; and the one that tries servers that rested.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::super::fleet::{Choice, Ending, ServerId};
use super::super::{HsmError, Job};
use super::{Queued, Session, Shared};

/// How often an idle connection is looked at.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How often a thread asks whether another server has too few connections, and the scout whether one
/// has rested long enough.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// Part of a job's time that a server which does not answer may use up while others stand ready.
const FIRST_TRY: u32 = 2;
/// An idle connection is looked at before it is given work; one used this recently is not.
const FRESH: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });
/// A connection that was closed sooner was not closed for being idle.
const IDLE_LIMIT_MIN: Duration = Duration::from_secs(2);

/// First pause of a connection whose server said that it is at its limit; doubles while it says so.
const BUSY_MIN: Duration = Duration::from_millis(5);
/// Longest such pause.
const BUSY_MAX: Duration = Duration::from_millis(250);

/// A connection and whose it is.
struct Held {
    server: ServerId,
    session: Box<dyn Session>,
}

/// How the serving of one connection ended.
enum End {
    /// The pool is stopping.
    Closed,
    /// The connection is gone.
    Gone(Ending, String),
    /// A connection to another server takes its place.
    Moved(Held),
}

/// Runs until the pool is stopped.
pub(super) fn run(shared: &Shared) {
    let mut next = None;
    while !shared.pause(Duration::ZERO) {
        let Some(held) = next.take().or_else(|| open_some(shared)) else {
            continue;
        };
        let server = held.server;
        let end = guarded(|| serve(shared, held));
        let (ending, why) = match end {
            Some(End::Closed) => (Ending::Quiet, "the server is stopping".to_owned()),
            Some(End::Gone(ending, why)) => (ending, why),
            Some(End::Moved(held)) => {
                next = Some(held);
                (Ending::Quiet, "moved to another HSM".to_owned())
            }
            None => {
                let why = "a thread of the pool panicked; this is a defect of this program";
                (Ending::Quiet, why.to_owned())
            }
        };
        let now = Instant::now();
        shared
            .fleet
            .lock()
            .ended(server, ending, &why, share(), now);
        shared.lost(&why);
    }
    // A connection that was opened to move to is given up with the rest.
    drop(next);
}

/// Tries servers that rested, so that no thread with work to do has to find out whether they are back.
pub(super) fn scout(shared: &Shared) {
    while !shared.pause(LOOK_AROUND) {
        let Some(server) = shared.fleet.lock().trial(Instant::now()) else {
            continue;
        };
        if let Some(Ok(session)) = guarded(|| dial(shared, server)) {
            drop(session);
            shared.fleet.lock().passed(server);
            let label = shared.fleet.lock().label(server);
            log::info!("{}: {label} answers again", shared.plan.name);
        }
    }
}

/// `None` when `work` panicked: a completion's panic must not cost the pool a thread.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Connects to the server that has most use for it, or waits a while.
fn open_some(shared: &Shared) -> Option<Held> {
    let choice = shared.fleet.lock().choose(Instant::now());
    let server = match choice {
        Choice::Connect(server) => server,
        Choice::Rest(time) => {
            shared.pause(time);
            return None;
        }
    };
    let mark = shared.lane.mark();
    match guarded(|| dial(shared, server)) {
        Some(Ok(session)) => Some(adopt(shared, server, session)),
        Some(Err(why)) => {
            if !shared.fleet.lock().has_fit() {
                for queued in shared.refused(&why, mark) {
                    queued.fail(HsmError::Unavailable(why.as_str().into()));
                }
            }
            None
        }
        None => None,
    }
}

/// One attempt to connect; a failure is told to the fleet.
fn dial(shared: &Shared, server: ServerId) -> Result<Box<dyn Session>, String> {
    let deadline = Instant::now() + shared.plan.connect_timeout;
    let attempt = guarded(|| shared.connector.connect(server.index(), deadline));
    let opened = attempt.unwrap_or_else(|| Err("connecting panicked; this is a defect".to_owned()));
    opened.map_err(|why| {
        let mut fleet = shared.fleet.lock();
        let why = format!("{}: {why}", fleet.label(server));
        log::debug!("{}: {why}", shared.plan.name);
        fleet.refused(server, &why, share(), Instant::now());
        why
    })
}

fn adopt(shared: &Shared, server: ServerId, session: Box<dyn Session>) -> Held {
    shared.fleet.lock().connected(server);
    shared.went_up(session.describe(), session.offers_random());
    Held { server, session }
}

/// Serves until the connection breaks, the pool is stopped, or another server needs it more.
fn serve(shared: &Shared, held: Held) -> End {
    let Held {
        server,
        mut session,
    } = held;
    let (mut last_use, mut looked) = (Instant::now(), Instant::now());
    let mut busy_pause = BUSY_MIN;
    loop {
        let (batch_max, keep_alive_after) = {
            let fleet = shared.fleet.lock();
            (fleet.batch_max(server), fleet.keep_alive_after(server))
        };
        let drained = shared.lane.drain(batch_max, IDLE_TICK);
        if drained.closed {
            return End::Closed;
        }
        for queued in drained.expired {
            queued.fail(HsmError::TimedOut);
        }
        for queued in drained.given_up {
            queued.fail(HsmError::GaveWay);
        }
        // The HSM may have ended idle connections, all of them perhaps; that is no job's fault.
        let idle = last_use.elapsed();
        if idle >= FRESH && !session.is_quiet() {
            put_back(shared, drained.ready);
            note_idle_end(shared, server, idle);
            let why = format!("{}: closed by the HSM while idle", session.describe());
            return End::Gone(Ending::Quiet, why);
        }
        if !drained.ready.is_empty() {
            stamp(&drained.ready);
            let exchanged = exchange(shared, server, session.as_mut(), drained.ready);
            if let Some(why) = exchanged.broken {
                return End::Gone(Ending::Fault, why);
            }
            busy_pause = if exchanged.busy {
                // Fewer connections at work are what a server at its limit needs.
                shared.pause(spread(busy_pause));
                (busy_pause * 2).min(BUSY_MAX)
            } else {
                BUSY_MIN
            };
            last_use = Instant::now();
        } else if idle >= keep_alive_after {
            if let Err(why) = session.probe(Instant::now() + shared.plan.connect_timeout) {
                return End::Gone(Ending::Fault, why);
            }
            last_use = Instant::now();
        }
        if looked.elapsed() >= LOOK_AROUND {
            looked = Instant::now();
            if let Some(held) = move_on(shared, server) {
                return End::Moved(held);
            }
        }
    }
}

/// Tells those who want to know that their job has left the queue. One that is queued again keeps
/// its first time.
fn stamp(ready: &[Queued]) {
    let mut now = None;
    for sent in ready.iter().filter_map(|queued| queued.job.sent.as_deref()) {
        let _ = sent.set(*now.get_or_insert_with(Instant::now));
    }
}

/// A connection to a server that has too few of them.
fn move_on(shared: &Shared, from: ServerId) -> Option<Held> {
    let server = shared.fleet.lock().better(from)?;
    let session = dial(shared, server).ok()?;
    Some(adopt(shared, server, session))
}

/// An HSM that drops idle connections is asked something before it would.
fn note_idle_end(shared: &Shared, server: ServerId, idle: Duration) {
    if idle < IDLE_LIMIT_MIN {
        return;
    }
    let mut fleet = shared.fleet.lock();
    if fleet.learn_idle_limit(server, idle) {
        log::info!(
            "{}: {} closed a connection that was idle for {} s; from now on an idle one is asked something \
             every {} s",
            shared.plan.name,
            fleet.label(server),
            idle.as_secs(),
            fleet.keep_alive_after(server).as_secs()
        );
    }
}

/// What an exchange told of the connection.
#[derive(Default)]
struct Exchanged {
    broken: Option<String>,
    busy: bool,
}

/// Has the session do the jobs. Those that died with the connection are queued once more, but only
/// once, and then go alone: a job that kills connections takes no other with it.
fn exchange(
    shared: &Shared,
    server: ServerId,
    session: &mut dyn Session,
    ready: Vec<Queued>,
) -> Exchanged {
    let mut exchanged = Exchanged::default();
    let (again, first): (Vec<_>, Vec<_>) = ready.into_iter().partition(|queued| queued.tried);
    let mut again = again.into_iter();
    while let Some(queued) = again.next() {
        let served = session.serve(vec![queued.job], None);
        let why = served.broken.as_deref().unwrap_or("the connection ended");
        for job in served.retry {
            (job.done)(Err(HsmError::Unavailable(why.into())));
        }
        exchanged.busy |= served.busy;
        if served.broken.is_some() {
            let unsent = served.unsent.into_iter().map(tried(true));
            put_back(shared, unsent.chain(again).chain(first).collect());
            exchanged.broken = served.broken;
            return exchanged;
        }
    }
    if first.is_empty() {
        return exchanged;
    }
    let until = first_try_until(shared, server, &first);
    let served = session.serve(first.into_iter().map(|queued| queued.job).collect(), until);
    if let Some(learnt) = &served.learnt {
        let mut fleet = shared.fleet.lock();
        if fleet.learn_batch_max(server, learnt.items) {
            log::warn!(
                "{}: {} takes at most {} item(s) a message ({}); it gets no more from now on",
                shared.plan.name,
                fleet.label(server),
                learnt.items,
                learnt.why
            );
        }
    }
    if served.broken.is_none() {
        shared.fleet.lock().served(server);
    }
    let died = served.retry.into_iter().map(tried(true));
    let unsent = served.unsent.into_iter().map(tried(false));
    put_back(shared, died.chain(unsent).collect());
    exchanged.busy |= served.busy;
    exchanged.broken = served.broken;
    exchanged
}

fn tried(tried: bool) -> impl Fn(Job) -> Queued {
    move |job| Queued { job, tried }
}

fn put_back(shared: &Shared, back: Vec<Queued>) {
    if back.is_empty() {
        return;
    }
    let back = back.into_iter().map(|queued| {
        let deadline = queued.job.deadline;
        (queued, deadline)
    });
    if let Err(closed) = shared.lane.put_back(back.collect()) {
        for queued in closed {
            queued.fail(HsmError::Abandoned);
        }
    }
}

/// When jobs that one server does not answer are to be asked at another: half-way to the first deadline.
/// `None` when no other stands ready.
fn first_try_until(shared: &Shared, server: ServerId, jobs: &[Queued]) -> Option<Instant> {
    if !shared.fleet.lock().has_alternative(server) {
        return None;
    }
    let now = Instant::now();
    let earliest = jobs.iter().map(|queued| queued.job.deadline).min()?;
    Some(now + earliest.saturating_duration_since(now) / FIRST_TRY)
}

/// Between half of `time` and all of it.
fn spread(time: Duration) -> Duration {
    time / 2 + time / 2 * u32::from(share()) / 255
}

/// A random share of a pause, so that many threads and nodes do not knock at once.
fn share() -> u8 {
    let mut byte = [u8::MAX; 1];
    // Without randomness the pause is merely not spread.
    let _ = SystemRandom::new().fill(&mut byte);
    let [share] = byte;
    share
}
