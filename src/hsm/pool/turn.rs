//! What one connection has taken to do: asked, and put back where it died.
//!
//! Jobs that died with a connection are queued once more, but only once, and then go alone: a job that
//! kills connections takes no other with it. Must never be true: a job asked a third time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::super::fleet::ServerId;
use super::super::{HsmError, Job};
use super::{Queued, Served, Session, Shared};

/// Part of a job's time that a server which does not answer may use up while others stand ready.
const FIRST_TRY: u32 = 2;

/// Jobs taken at once: one message each for those that were tried before, then all others together.
pub(super) struct Turn {
    again: std::vec::IntoIter<Queued>,
    first: Vec<Queued>,
    /// Jobs of one message.
    batch_max: usize,
    _under_way: UnderWay,
    /// What was asked last was a job of its own.
    is_alone: bool,
    is_busy: bool,
}

impl Turn {
    /// Of jobs that leave the queue now, for messages of up to `batch_max`.
    pub(super) fn new(shared: &Shared, mut ready: Vec<Queued>, batch_max: usize) -> Self {
        shared.health_key.watch(&mut ready);
        leave(shared, &ready, shared.time.now());
        let under_way = UnderWay::new(&shared.under_way, ready.len());
        let (again, first): (Vec<_>, Vec<_>) = ready.into_iter().partition(|queued| queued.tried);
        Self {
            again: again.into_iter(),
            first,
            batch_max,
            _under_way: under_way,
            is_alone: false,
            is_busy: false,
        }
    }

    /// Whether nothing is left to be asked.
    pub(super) fn is_over(&self) -> bool {
        self.again.len() == 0 && self.first.is_empty()
    }

    /// Whether the server said that it is at its limit.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Has the session do the next jobs; [`Turn::settle`] keeps what comes of it.
    pub(super) fn exchange(
        &mut self,
        shared: &Shared,
        server: ServerId,
        session: &mut dyn Session,
    ) -> Served {
        if let Some(queued) = self.again.next() {
            self.is_alone = true;
            return session.serve(vec![queued.job], None);
        }
        self.is_alone = false;
        let first = std::mem::take(&mut self.first);
        let until = first_try_until(shared, server, &first);
        let jobs = first.into_iter().map(|queued| queued.job);
        if jobs.len() <= self.batch_max {
            return session.serve(jobs.collect(), until);
        }
        session.serve_pipelined(messages(jobs, self.batch_max), until)
    }

    /// Learns from an exchange and puts back what may be asked again. The answer: why the connection
    /// is gone.
    pub(super) fn settle(
        &mut self,
        shared: &Shared,
        server: ServerId,
        served: Served,
    ) -> Option<String> {
        self.is_busy |= served.busy;
        for message in &served.messages {
            shared.metrics.exchanged(*message);
        }
        if self.is_alone {
            return self.settle_alone(shared, server, served);
        }
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
        note_success(shared, server, &served);
        let died = served.retry.into_iter().map(tried(true));
        let unsent = served.unsent.into_iter().map(tried(false));
        put_back(shared, died.chain(unsent).collect());
        served.broken
    }

    fn settle_alone(
        &mut self,
        shared: &Shared,
        server: ServerId,
        served: Served,
    ) -> Option<String> {
        note_success(shared, server, &served);
        let why = served.broken.as_deref().unwrap_or("the connection ended");
        for job in served.retry {
            (job.done)(Err(HsmError::Unavailable(why.into())));
        }
        if served.broken.is_some() {
            let unsent = served.unsent.into_iter().map(tried(true));
            let rest = std::mem::take(&mut self.again).chain(std::mem::take(&mut self.first));
            put_back(shared, unsent.chain(rest).collect());
        }
        served.broken
    }
}

/// The server answered; that it is at its limit is an answer. Only what it did shows that it works.
fn note_success(shared: &Shared, server: ServerId, served: &Served) {
    if served.broken.is_some() {
        return;
    }
    let now = shared.time.now();
    let is_news = shared.fleet.lock().served(server, now, served.worked);
    if is_news {
        shared.log_well_again(server);
    }
}

/// Counts jobs as under way as long as it lives.
struct UnderWay {
    all: Arc<AtomicUsize>,
    jobs: usize,
}

impl UnderWay {
    fn new(all: &Arc<AtomicUsize>, jobs: usize) -> Self {
        all.fetch_add(jobs, Ordering::Relaxed);
        let all = Arc::clone(all);
        Self { all, jobs }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.fetch_sub(self.jobs, Ordering::Relaxed);
    }
}

/// Full messages, and one of what remains: an HSM has more work with two halves than with one whole.
fn messages(mut jobs: impl Iterator<Item = Job>, batch_max: usize) -> Vec<Vec<Job>> {
    let next = || Some(jobs.by_ref().take(batch_max.max(1)).collect::<Vec<_>>());
    let messages = std::iter::from_fn(next);
    messages.take_while(|message| !message.is_empty()).collect()
}

/// Jobs leave the queue: that is counted, and told to those who want to know. One that is queued again keeps
/// its first time.
fn leave(shared: &Shared, ready: &[Queued], now: Instant) {
    for queued in ready {
        shared.count_wait(queued, now);
        if let Some(sent) = queued.job.sent.as_deref() {
            let _ = sent.set(now);
        }
    }
}

fn tried(tried: bool) -> impl Fn(Job) -> Queued {
    move |job| Queued {
        job,
        tried,
        since: None,
    }
}

pub(super) fn put_back(shared: &Shared, back: Vec<Queued>) {
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
    let now = shared.time.now();
    let earliest = jobs.iter().map(|queued| queued.job.deadline).min()?;
    Some(now + earliest.saturating_duration_since(now) / FIRST_TRY)
}
