//! An operation of the pool's own where no client's has shown of late whether a server works.
//!
//! A random value is wrapped and unwrapped under a key that clients use; as long as none is known, or it is gone, the
//! server is asked something small instead. That one key is refused may be the key's trouble, so it is told of the
//! server only when a second is refused as well, or no second is known. Must never be true: a check while a job waits
//! that the connection could do; a client's plaintext or ciphertext in one; a server taken for ill because of one key of
//! several. Called by seats and the scout.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use parking_lot::Mutex;

use super::super::check::round_trip;
use super::super::fleet::{Ailment, ServerId};
use super::super::{HsmError, Job, ObjectId, Request};
use super::{Queued, Session, Shared};

/// A key that clients use.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    object: ObjectId,
    /// A wrap under it has succeeded; else an unwrap.
    wraps: bool,
}

#[derive(Debug, Default)]
struct Keys {
    known: Option<Known>,
    /// Another that wraps, for when the first is refused.
    spare: Option<ObjectId>,
    /// All were refused: whatever wraps next takes their place.
    is_doubtful: bool,
    /// Does not wrap, though it unwraps.
    unfit: Option<ObjectId>,
}

impl Keys {
    /// Whether it would be of use to know that this happens.
    fn wants(&self, object: &ObjectId, wraps: bool) -> bool {
        match &self.known {
            None => wraps || self.unfit.as_ref() != Some(object),
            Some(known) if known.wraps && !self.is_doubtful => {
                wraps && self.spare.is_none() && known.object != *object
            }
            Some(_) => wraps,
        }
    }

    /// It has happened.
    fn learn(&mut self, object: ObjectId, wraps: bool) {
        if !self.wants(&object, wraps) {
            return;
        }
        match &self.known {
            Some(known) if known.wraps && !self.is_doubtful => self.spare = Some(object),
            _ => {
                self.known = Some(Known { object, wraps });
                self.spare = None;
                self.is_doubtful = false;
            }
        }
    }
}

/// The keys for checks, learnt from what clients do.
#[derive(Debug, Default)]
pub(super) struct HealthKey(Mutex<Keys>);

impl HealthKey {
    /// Has the first of these jobs tell whether it succeeded that would teach a better key than the one known.
    pub(super) fn watch(self: &Arc<Self>, jobs: &mut [Queued]) {
        let teaches = |keys: &Keys, job: &Job| {
            let (object, wraps) = match &job.request {
                Request::Encrypt { object, .. } => (object, true),
                Request::Decrypt { object, .. } => (object, false),
                _ => return None,
            };
            let is_wanted = keys.wants(object, wraps);
            is_wanted.then(|| (object.clone(), wraps))
        };
        let found = {
            let keys = self.0.lock();
            jobs.iter_mut()
                .find_map(|queued| Some((teaches(&keys, &queued.job)?, &mut queued.job.done)))
        };
        let Some(((object, wraps), done)) = found else {
            return;
        };
        let (keys, told): (_, super::super::Done) = (Arc::clone(self), Box::new(|_| {}));
        let told = std::mem::replace(done, told);
        *done = Box::new(move |outcome| {
            if outcome.is_ok() {
                keys.0.lock().learn(object, wraps);
            }
            told(outcome);
        });
    }

    /// The one to be tried first, and the other.
    fn all(&self) -> impl Iterator<Item = Known> + use<> {
        let keys = self.0.lock();
        let spare = keys.spare.clone();
        let spare = spare.map(|object| Known {
            object,
            wraps: true,
        });
        [keys.known.clone(), spare].into_iter().flatten()
    }

    /// All were refused.
    fn doubt(&self) {
        self.0.lock().is_doubtful = true;
    }

    /// It is gone, or does not do.
    fn forget(&self, gone: &Known) {
        let mut keys = self.0.lock();
        if keys.known.as_ref() == Some(gone) {
            keys.known = keys.spare.take().map(|object| Known {
                object,
                wraps: true,
            });
        } else if keys.spare.as_ref() == Some(&gone.object) {
            keys.spare = None;
        }
        if !gone.wraps {
            keys.unfit = Some(gone.object.clone());
        }
    }
}

/// Has `session` show whether `server` works.
pub(super) fn check(
    shared: &Shared,
    server: ServerId,
    session: &mut dyn Session,
) -> Result<(), Ailment> {
    let deadline = shared.time.now() + shared.plan.connect_timeout;
    let mut answered = None;
    let (mut refused, mut unfit) = (Vec::new(), Vec::new());
    for known in shared.health_key.all() {
        match try_key(session, &known, deadline) {
            Tried::Answered(outcome) => {
                answered = Some(outcome);
                break;
            }
            Tried::Refused(why) => refused.push((known, why)),
            Tried::Unfit => unfit.push(known),
        }
    }
    if answered.is_none()
        && unfit.is_empty()
        && let Some((_, why)) = refused.last()
    {
        shared.health_key.doubt();
        return Err(Ailment::Refuses(why.as_str().into()));
    }
    let label = shared.fleet.lock().label(server);
    let name = shared.plan.name;
    for (known, why) in refused {
        log::info!("{name}: {label}: another key for checks: {why}");
        unfit.push(known);
    }
    for known in unfit {
        log::debug!("{name}: {label}: another key for checks");
        shared.health_key.forget(&known);
    }
    answered.unwrap_or_else(|| session.probe(deadline))
}

enum Tried {
    Answered(Result<(), Ailment>),
    /// The key may be the trouble, or the server.
    Refused(String),
    /// The key is the trouble.
    Unfit,
}

fn try_key(session: &mut dyn Session, known: &Known, deadline: Instant) -> Tried {
    let mut broken = None;
    let outcome = round_trip(&known.object, |request| {
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        let served = session.serve(vec![Job::new(request, deadline, done)], None);
        if let Some(why) = served.broken {
            let gone = HsmError::Unavailable(why.as_str().into());
            broken = Some(why);
            return Err(gone);
        }
        // Without an answer the job was given back.
        told.try_recv()
            .unwrap_or_else(|_| Err(HsmError::Unavailable("it was not asked".into())))
    });
    match (broken, outcome) {
        (Some(why), _) => Tried::Answered(Err(Ailment::Broken(why))),
        (None, outcome) => judge(outcome, known.wraps),
    }
}

/// What an outcome tells of the server.
fn judge(outcome: Result<(), HsmError>, wraps: bool) -> Tried {
    let broken = |why: &str| Tried::Answered(Err(Ailment::Broken(why.to_owned())));
    let refuses = |why: String| Tried::Answered(Err(Ailment::Refuses(why.into())));
    match outcome {
        // At its limit it is for others' sake; what is our own trouble says nothing of it.
        Ok(())
        | Err(
            HsmError::Busy
            | HsmError::NoLockedMemory
            | HsmError::Overloaded
            | HsmError::GaveWay
            | HsmError::Abandoned,
        ) => Tried::Answered(Ok(())),
        Err(
            HsmError::ObjectNotFound
            | HsmError::AmbiguousName { .. }
            | HsmError::NotActive { .. }
            | HsmError::Rejected(_)
            | HsmError::Unsupported(_)
            // A Vault denies a wrap under a key that is gone, for it might be made by it.
            | HsmError::Declined(_),
        ) => Tried::Unfit,
        Err(HsmError::Refused { .. }) if !wraps => Tried::Unfit,
        Err(HsmError::Refused { reason, text }) => Tried::Refused(format!(
            "the HSM refused to wrap or to unwrap (reason {reason:#x}): {text}"
        )),
        Err(HsmError::AuthenticationFailed) => {
            refuses("the HSM does not unwrap what it has wrapped".to_owned())
        }
        Err(HsmError::Protocol(why)) => refuses(format!("the HSM's answer is wrong: {why}")),
        Err(HsmError::TimedOut) => broken("it did not answer in time"),
        Err(HsmError::Unavailable(why)) => broken(&why),
    }
}

impl Shared {
    /// A check of `server` ends.
    pub(super) fn note_check(&self, server: ServerId, outcome: &Result<(), Ailment>) {
        let counter = match outcome {
            Ok(()) => &self.metrics.checks,
            Err(_) => &self.metrics.checks_failed,
        };
        counter.bump();
        let mut fleet = self.fleet.lock();
        let is_news = fleet.checked(server, self.time.now(), outcome.clone());
        let (name, label) = (self.plan.name, fleet.label(server));
        drop(fleet);
        match outcome {
            Ok(()) if is_news => self.log_well_again(server),
            Err(ailment) if is_news => {
                log::warn!("{name}: {label} failed a check: {}", ailment.why());
            }
            _ => {}
        }
    }

    /// Something succeeded after a failed check.
    pub(super) fn log_well_again(&self, server: ServerId) {
        let label = self.fleet.lock().label(server);
        log::info!("{}: {label} does what it is asked again", self.plan.name);
    }
}

#[cfg(test)]
mod tests;
