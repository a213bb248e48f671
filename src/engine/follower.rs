//! What other nodes did, taken into this one: records forgotten, plaintexts dropped, keys looked up again; and
//! whether this node's own cache may be served while it cannot know.
//!
//! A node that has lost the engine asks the HSM once a second whether its keys are as they were, and serves its
//! own cache only while that succeeds, and no longer than the site wants. The same is asked after anything that
//! may have hidden a message. Must never be true: the own cache served [`TRUST`] after the last good look, while
//! other nodes' changes cannot be known; more than a few of these questions at the HSM at once. Runs on the
//! loop of the shared cache and on the back end's threads: nothing here waits.

mod guard;
mod round;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cache::{Cache, Family};
use crate::cluster::Events;
use crate::hsm::{Hsm, Job, Request};
use crate::keys::Directory;
use crate::net::time::Time;

use guard::{Guard, TRUST};
use round::Round;

use super::Engine;
use super::learn::Learner;
use super::sharing::Announcer;

/// How long one question may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

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
            Round::begin(follower);
        }
    }
}
