//! One thread of the pool: connect, serve, reconnect.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::super::{HsmError, Job};
use super::{Queued, Session, Shared};

/// Pause after the first failed attempt to connect; doubles with each.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause: with it, service is back within 1 s of the HSM's return.
const BACKOFF_MAX: Duration = Duration::from_millis(600);
/// How often an idle connection is looked at.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// After how long without work the HSM is asked something, so that a silently cut connection is
/// found before a job is.
const PROBE_AFTER: Duration = Duration::from_secs(15);

/// An idle connection is looked at before it is given work; one used this recently is not.
const FRESH: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });

/// Runs until the pool is stopped.
pub(super) fn run(shared: &Shared) {
    let mut backoff = BACKOFF_MIN;
    while !shared.pause(Duration::ZERO) {
        let began = Instant::now();
        let Some(session) = guarded(|| connect(shared)).flatten() else {
            // An attempt that took long was pause enough.
            let pause = jitter(backoff).saturating_sub(began.elapsed());
            if shared.pause(pause.max(BACKOFF_MIN / 2)) {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            continue;
        };
        backoff = BACKOFF_MIN;
        match guarded(|| serve(shared, session)) {
            Some(Some(why)) => shared.lost(&why),
            Some(None) => return shared.lost("the server is stopping"),
            None => shared.lost("a thread of the pool panicked; this is a defect of this program"),
        }
    }
}

/// `None` when `work` panicked: a completion's panic must not cost the pool a thread.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn connect(shared: &Shared) -> Option<Box<dyn Session>> {
    let mark = shared.lane.mark();
    let deadline = Instant::now() + shared.plan.connect_timeout;
    match shared.connector.connect(deadline) {
        Ok(session) => {
            shared.went_up(session.describe());
            Some(session)
        }
        Err(why) => {
            for queued in shared.refused(&why, mark) {
                queued.fail(HsmError::Unavailable(why.as_str().into()));
            }
            None
        }
    }
}

/// Serves until the connection breaks (its reason) or the pool is stopped (`None`).
fn serve(shared: &Shared, mut session: Box<dyn Session>) -> Option<String> {
    let mut last_use = Instant::now();
    loop {
        let drained = shared.lane.drain(shared.plan.batch_max.max(1), IDLE_TICK);
        if drained.closed {
            return None;
        }
        for queued in drained.expired {
            queued.fail(HsmError::TimedOut);
        }
        // The HSM may have ended idle connections, all of them perhaps; that is no job's fault.
        if last_use.elapsed() >= FRESH && !session.is_quiet() {
            put_back(shared, drained.ready);
            return Some(format!(
                "{}: closed by the HSM while idle",
                session.describe()
            ));
        }
        if drained.ready.is_empty() {
            if last_use.elapsed() >= PROBE_AFTER {
                if let Err(why) = session.probe(Instant::now() + shared.plan.connect_timeout) {
                    return Some(why);
                }
                last_use = Instant::now();
            }
            continue;
        }
        stamp(&drained.ready);
        let broken = exchange(shared, session.as_mut(), drained.ready);
        last_use = Instant::now();
        if broken.is_some() {
            return broken;
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

/// Has the session do the jobs. Those that died with the connection are queued once more, but only
/// once, and then go alone: a job that kills connections takes no other with it.
fn exchange(shared: &Shared, session: &mut dyn Session, ready: Vec<Queued>) -> Option<String> {
    let (again, first): (Vec<_>, Vec<_>) = ready.into_iter().partition(|queued| queued.tried);
    let mut again = again.into_iter();
    while let Some(queued) = again.next() {
        let served = session.serve(vec![queued.job]);
        let why = served.broken.as_deref().unwrap_or("the connection ended");
        for job in served.retry {
            (job.done)(Err(HsmError::Unavailable(why.into())));
        }
        if served.broken.is_some() {
            let unsent = served.unsent.into_iter().map(tried(true));
            put_back(shared, unsent.chain(again).chain(first).collect());
            return served.broken;
        }
    }
    if first.is_empty() {
        return None;
    }
    let served = session.serve(first.into_iter().map(|queued| queued.job).collect());
    let died = served.retry.into_iter().map(tried(true));
    let unsent = served.unsent.into_iter().map(tried(false));
    put_back(shared, died.chain(unsent).collect());
    served.broken
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

/// Between half of `time` and all of it, so that many threads and nodes do not knock at once.
fn jitter(time: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the pause is merely not spread.
    if SystemRandom::new().fill(&mut byte).is_err() {
        return time;
    }
    time / 2 + time / 2 * u32::from(byte[0]) / 255
}

const _: () = assert!(BACKOFF_MAX.as_millis() <= 1000);
