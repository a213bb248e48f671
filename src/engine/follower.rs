//! What other nodes did, taken into this one: records forgotten, plaintexts dropped, keys looked up again; and
//! whether this node's own cache may be served while it cannot know.
//!
//! A node that has lost the engine asks the HSM once a second whether its keys are as they were, and serves its
//! own cache only while that succeeds, and no longer than the site wants. The same is asked after anything that
//! may have hidden a message. Must never be true: the own cache served [`TRUST`] after the last good look, while
//! other nodes' changes cannot be known; more than [`ROUND_WIDTH`] of these questions at the HSM at once. Runs on the
//! loop of the shared cache and on the back end's threads: nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cache::{Cache, Family};
use crate::cluster::Events;
use crate::hsm::{Answer, Hsm, HsmError, Job, Request};
use crate::keys::Directory;
use crate::net::time::Time;

use super::Engine;
use super::learn::Learner;
use super::sharing::Announcer;

/// How often the HSM is asked while the engine is lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks for what was missed are so far apart at least.
const AGAIN: Duration = Duration::from_millis(50);
/// How long one question may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long the own cache is served after a look began that succeeded.
const TRUST: Duration = Duration::from_secs(3);
/// Questions at the HSM at once.
const ROUND_WIDTH: usize = 64;

/// See the module.
pub struct Follower {
    cache: Arc<Cache>,
    keys: Arc<Directory>,
    hsm: Arc<dyn Hsm>,
    time: Time,
    alone_max: Duration,
    serves: AtomicBool,
    guard: Mutex<Guard>,
}

/// Whether the own cache may be served. The time is an argument.
#[derive(Debug)]
struct Guard {
    /// Since when the engine's token is not known; none: it is.
    lost: Option<Instant>,
    /// Something may have been missed, first and last at those times, and no look that began later has succeeded.
    missed: Option<(Instant, Instant)>,
    /// Not to look for it before.
    again: Instant,
    /// When the last look began that succeeded.
    looked: Instant,
    /// When the next one is due while the engine is lost.
    next: Instant,
    is_looking: bool,
}

impl Guard {
    fn new(now: Instant) -> Self {
        Self {
            lost: None,
            missed: None,
            again: now,
            looked: now,
            next: now,
            is_looking: false,
        }
    }

    /// Whether to look now.
    fn tick(&mut self, now: Instant, fresh: bool) -> bool {
        if fresh {
            self.lost = None;
        } else if self.lost.is_none() {
            self.lost = Some(now);
            self.next = now;
        }
        let missed = self.missed.is_some() && now >= self.again;
        let due = missed || (self.lost.is_some() && now >= self.next);
        if !due || self.is_looking {
            return false;
        }
        self.is_looking = true;
        self.next = now + LOOK_EVERY;
        self.again = now + AGAIN;
        true
    }

    fn missed(&mut self, now: Instant) {
        let first = self.missed.map_or(now, |(first, _)| first);
        self.missed = Some((first, now));
    }

    fn looked(&mut self, began: Instant, now: Instant, good: bool) {
        self.is_looking = false;
        if !good {
            self.again = now + AGAIN;
            return;
        }
        self.looked = self.looked.max(began);
        if self.missed.is_some_and(|(_, last)| last <= began) {
            self.missed = None;
        }
    }

    fn serves(&self, now: Instant, alone_max: Duration) -> bool {
        let within = |since: Instant, max| now.saturating_duration_since(since) <= max;
        // The first look after a loss has the same time as any other.
        let trusted = |since: Instant| within(self.looked.max(since), TRUST);
        let missed = self.missed.is_none_or(|(first, _)| trusted(first));
        let lost = self
            .lost
            .is_none_or(|lost| trusted(lost) && within(lost, alone_max));
        missed && lost
    }
}

impl Engine {
    /// Takes in what other nodes do, for [`Engine::share`]. `alone_max`: how long the own cache is served without the
    /// engine.
    pub fn follower(&self, alone_max: Duration) -> Arc<Follower> {
        Arc::new(Follower {
            cache: Arc::clone(&self.cache),
            keys: Arc::clone(&self.keys),
            hsm: Arc::clone(&self.hsm),
            time: self.time.clone(),
            alone_max,
            serves: AtomicBool::new(true),
            guard: Mutex::new(Guard::new(self.time.now())),
        })
    }
}

impl Follower {
    /// What the shared cache tells it by.
    pub fn ear(self: &Arc<Self>) -> Arc<dyn Events> {
        Arc::new(Ear(Arc::clone(self)))
    }

    /// Whether this node's own cache may be served.
    #[inline]
    pub(super) fn serves(&self) -> bool {
        self.serves.load(Ordering::Acquire)
    }

    fn drop_families(&self, families: &[Family]) {
        for family in families {
            self.cache.purge_family(*family);
        }
    }

    /// Looks every known key up again, some at a time.
    fn look(self: &Arc<Self>) {
        let round = Arc::new(Round {
            names: self.keys.names(),
            next: AtomicUsize::new(0),
            flying: AtomicUsize::new(1),
            failed: AtomicBool::new(false),
            began: self.time.now(),
            follower: Arc::clone(self),
        });
        for _ in 0..ROUND_WIDTH.min(round.names.len()) {
            Round::ask_next(&round);
        }
        Round::landed(&round);
    }
}

/// One look at all keys.
struct Round {
    names: Vec<Arc<str>>,
    next: AtomicUsize,
    /// Questions at the HSM, and one for whoever begins the round.
    flying: AtomicUsize,
    failed: AtomicBool,
    began: Instant,
    follower: Arc<Follower>,
}

impl Round {
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

/// The shared cache's loop tells a follower by this.
struct Ear(Arc<Follower>);

impl Events for Ear {
    fn withdrawn(&self, key: &str) {
        let Self(follower) = self;
        let now = follower.time.now();
        if let Some(families) = follower.keys.withdraw(key, now) {
            log::info!("key {key} was changed by another node; what is cached of it is dropped");
            follower.drop_families(&families);
        }
    }

    fn grown(&self, key: &str) {
        let Self(follower) = self;
        if follower.keys.families(key).is_none() {
            return;
        }
        follower.keys.doubt(key);
        let name: Arc<str> = key.into();
        let request = Request::Find {
            name: Arc::clone(&name),
        };
        let learner = Learner::new(
            Arc::clone(&follower.keys),
            Arc::clone(&follower.cache),
            name,
            &request,
            follower.time.clone(),
            Announcer::none(),
        );
        let deadline = follower.time.now() + LOOK_MAX;
        let done = Box::new(move |outcome| learner.learn(&outcome));
        follower.hsm.submit(Job::new(request, deadline, done));
    }

    fn purge(&self, key: Option<&str>) {
        let Self(follower) = self;
        match key {
            None => {
                log::info!("all cached plaintexts are dropped, as ordered at another node");
                follower.cache.purge_all();
            }
            Some(key) => {
                if let Some(families) = follower.keys.families(key) {
                    log::info!(
                        "the cached plaintexts of key {key} are dropped, as ordered at another node"
                    );
                    follower.drop_families(&families);
                }
            }
        }
    }

    fn missed(&self) {
        let now = self.0.time.now();
        self.0.guard.lock().missed(now);
    }

    fn tick(&self, now: Instant, fresh: bool) {
        let Self(follower) = self;
        let (look, serves) = {
            let mut guard = follower.guard.lock();
            let look = guard.tick(now, fresh);
            (look, guard.serves(now, follower.alone_max))
        };
        if follower.serves.swap(serves, Ordering::AcqRel) != serves {
            if serves {
                log::info!("this node's own cache is served again");
            } else {
                log::warn!(
                    "this node's own cache is not served: the engine does not tell of other nodes' changes, and the HSM \
                     was not asked with success for {} s, or for longer than kms.cluster.alone.max.s",
                    TRUST.as_secs()
                );
            }
        }
        if look {
            follower.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_own_cache_is_served_while_somebody_vouches_for_it() {
        let start = Instant::now();
        let at = |tenths: u32| start + S * tenths / 10;
        // Looks: (began, good); none: the engine is there.
        for (name, lost, alone_max, good_looks, judged, want) in [
            ("the engine is there", None, HOUR, &[][..], 10_000, true),
            ("just lost", Some(0), HOUR, &[], 29, true),
            (
                "lost, and the HSM does not answer",
                Some(0),
                HOUR,
                &[],
                31,
                false,
            ),
            (
                "lost, and the HSM answers",
                Some(0),
                HOUR,
                &[0, 10, 20, 30, 40],
                69,
                true,
            ),
            (
                "and then no more",
                Some(0),
                HOUR,
                &[0, 10, 20, 30, 40],
                71,
                false,
            ),
            (
                "longer than the site wants",
                Some(0),
                S,
                &[0, 5, 10],
                11,
                false,
            ),
            (
                "not at all without the engine",
                Some(0),
                Duration::ZERO,
                &[],
                1,
                false,
            ),
        ] {
            let mut guard = Guard::new(start);
            guard.tick(start, lost.is_none());
            for began in good_looks {
                guard.looked(at(*began), at(*began + 1), true);
            }
            if lost.is_none() {
                guard.tick(at(judged), true);
            }
            assert_eq!(guard.serves(at(judged), alone_max), want, "{name}");
        }
    }

    #[test]
    fn what_was_missed_is_looked_for_at_once_and_again_until_it_is_found() {
        let start = Instant::now();
        let at = |tenths: u32| start + S * tenths / 10;
        let mut guard = Guard::new(start);
        assert!(!guard.tick(at(0), true), "all is well");
        guard.missed(at(10));
        assert!(guard.tick(at(10), true));
        assert!(!guard.tick(at(11), true), "one look at a time");
        guard.missed(at(12));
        guard.looked(at(10), at(13), true);
        assert!(guard.tick(at(14), true), "the second came while it looked");
        guard.looked(at(14), at(15), false);
        assert!(guard.serves(at(40), HOUR));
        assert!(!guard.serves(at(45), HOUR), "nobody looked since");
        assert!(guard.tick(at(46), true));
        guard.looked(at(46), at(47), true);
        assert!(guard.serves(at(47), HOUR) && !guard.tick(at(48), true));
    }
}
