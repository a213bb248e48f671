//! A look at every key that this node knows, some at a time.
//!
//! Must never be true: more than [`WIDTH`] of its questions at the HSM at once; a round that does not end. Called
//! by the follower; runs on the back end's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::{Follower, LOOK_MAX};
use crate::engine::learn::Learner;
use crate::engine::sharing::Announcer;
use crate::hsm::{Answer, HsmError, Job, Request};

/// Questions at the HSM at once.
const WIDTH: usize = 64;

/// One look at all keys.
pub(super) struct Round {
    names: Vec<Arc<str>>,
    next: AtomicUsize,
    /// Questions at the HSM, and one for whoever begins the round.
    flying: AtomicUsize,
    failed: AtomicBool,
    began: Instant,
    follower: Arc<Follower>,
}

impl Round {
    /// Begins one.
    pub(super) fn begin(follower: &Arc<Follower>) {
        let round = Arc::new(Self {
            names: follower.keys.names(),
            next: AtomicUsize::new(0),
            flying: AtomicUsize::new(1),
            failed: AtomicBool::new(false),
            began: follower.time.now(),
            follower: Arc::clone(follower),
        });
        for _ in 0..WIDTH.min(round.names.len()) {
            Self::ask_next(&round);
        }
        Self::landed(&round);
    }

    fn ask_next(round: &Arc<Self>) {
        if round.failed.load(Ordering::Acquire) {
            return;
        }
        let at = round.next.fetch_add(1, Ordering::Relaxed);
        let Some(name) = round.names.get(at) else {
            return;
        };
        round.flying.fetch_add(1, Ordering::AcqRel);
        let follower = &round.follower;
        let request = Request::Find {
            name: Arc::clone(name),
        };
        let learner = Learner::new(
            Arc::clone(&follower.keys),
            Arc::clone(&follower.cache),
            Arc::clone(name),
            &request,
            follower.time.clone(),
            Announcer::none(),
        );
        let turn = Turn {
            round: Some(Arc::clone(round)),
            name: Arc::clone(name),
        };
        let deadline = follower.time.now() + LOOK_MAX;
        let done = Box::new(move |outcome| {
            learner.learn(&outcome);
            turn.end(&outcome);
        });
        follower.hsm.submit(Job::new(request, deadline, done));
    }

    /// A question was answered, or all have been asked; the last one ends the round.
    fn landed(round: &Arc<Self>) {
        if round.flying.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let good = !round.failed.load(Ordering::Acquire);
        let now = round.follower.time.now();
        round.follower.guard.lock().looked(round.began, now, good);
    }
}

/// One key's turn in a round. Dropped, as when the back end ends, it counts as failed.
struct Turn {
    round: Option<Arc<Round>>,
    name: Arc<str>,
}

impl Turn {
    fn end(mut self, outcome: &Result<Answer, HsmError>) {
        let Some(round) = self.round.take() else {
            return;
        };
        match outcome {
            Ok(_) => {}
            // The HSM answers, and not for this key: nothing of it is served.
            Err(
                HsmError::AmbiguousName { .. } | HsmError::ObjectNotFound | HsmError::Declined(_),
            ) => {
                if let Some(families) = round.follower.keys.families(&self.name) {
                    round.follower.drop_families(&families);
                }
            }
            Err(_) => round.failed.store(true, Ordering::Release),
        }
        Round::ask_next(&round);
        Round::landed(&round);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(round) = self.round.take() {
            round.failed.store(true, Ordering::Release);
            Round::landed(&round);
        }
    }
}
