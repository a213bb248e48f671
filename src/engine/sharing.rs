//! Between this node's own cache and the HSM: the cache that the nodes share.
//!
//! A miss asks it first, within its budget, and what the HSM unwraps is put into it. What this node changes is
//! told to the others. Must never be true: a miss that ends because the shared cache does not answer; a
//! plaintext put there that the HSM did not just give. Its completions run on its own loop and must not wait.

use std::sync::Arc;

use crate::cluster::{Cluster, Found, Named, What, Word};
use crate::config::cluster::RESERVED_KEYS;
use crate::flight::Lead;
use crate::hsm::{Answer, ClientTag, Hsm, HsmError, Job, KeyState, Request, SentStamp};
use crate::metrics::Metrics;
use crate::net::time::Time;
use crate::quota;

use super::fetch::{Purpose, Wanted};
use super::follower::Follower;
use super::keep::Keeper;
use super::{Brought, Call, Engine, FlightKey, Outcome, Waiter};

/// The shared cache of a node that has one.
pub(super) struct Sharing {
    cluster: Arc<Cluster>,
    follower: Arc<Follower>,
}

/// What an unwrap is known by in the shared cache, and where that is.
pub(super) type Place = Option<(Arc<Cluster>, Named)>;

/// Whether the key is this server's own: it wraps what seals the shared cache, so whoever could use it, or had
/// it unwrap that, could read and forge what the nodes share. On nodes without a shared cache too.
pub(super) fn is_reserved(key: &str) -> bool {
    key.starts_with(RESERVED_KEYS)
}

/// What a client is told of such a key.
pub(super) const RESERVED_TEXT: &str =
    "keys whose names begin with connected-kms-cache are this server's own";

/// A record made while the version was in another state is not found.
fn state_number(state: KeyState) -> u8 {
    match state {
        KeyState::PreActive => 0,
        KeyState::Active => 1,
        KeyState::Deactivated => 2,
        KeyState::Compromised => 3,
        KeyState::Destroyed => 4,
    }
}

impl Engine {
    /// Has this engine ask `cluster`, whose events `follower` (of [`Engine::follower`]) takes. Before the first request.
    pub fn share(&mut self, cluster: Arc<Cluster>, follower: Arc<Follower>) {
        self.sharing = Some(Sharing { cluster, follower });
    }

    /// The shared cache, if the node has one.
    pub fn shared_cache(&self) -> Option<&Arc<Cluster>> {
        self.sharing.as_ref().map(|sharing| &sharing.cluster)
    }

    /// Whether this node's own cache may be served. Not while it can neither know what other nodes changed nor
    /// ask the HSM.
    #[inline]
    pub(super) fn serves_own(&self) -> bool {
        match &self.sharing {
            None => true,
            Some(sharing) => sharing.follower.serves(),
        }
    }

    /// Before the HSM is asked, so that what is purged meanwhile is not put.
    pub(super) fn place_of(&self, call: &Call<'_>, wanted: &Wanted<'_>) -> Place {
        let cluster = self.shared_cache()?;
        let what = What {
            object: &wanted.version.object.0,
            version: wanted.version.number,
            state: state_number(wanted.version.state),
            sealed: wanted.sealed,
            associated_data: wanted.associated_data,
            context: wanted.context,
        };
        let named = cluster.name(&what, call.now)?;
        Some((Arc::clone(cluster), named))
    }

    /// Asks the shared cache, then the HSM.
    pub(super) fn submit_unwrap(
        &self,
        call: &Call<'_>,
        wanted: &Wanted<'_>,
        purpose: Purpose,
        lead: Lead<FlightKey, Waiter, Outcome>,
    ) {
        let unwrap = Unwrap {
            keeper: self.keeper(wanted),
            place: self.place_of(call, wanted),
            purpose,
            quota: Arc::clone(call.quota),
            lead,
            request: wanted.request(),
            deadline: call.deadline,
            client: call.client,
            sent: call.sent.clone(),
            hsm: Arc::clone(&self.hsm),
            metrics: Arc::clone(&self.metrics),
            time: self.time.clone(),
        };
        match unwrap.place.clone() {
            Some((cluster, named)) => {
                // Not the turn's beginning: the items before this one have had their share of it.
                let now = self.time.now();
                cluster.lookup(&named, now, move |found| unwrap.found(found));
            }
            None => unwrap.ask_hsm(),
        }
    }
}

/// One unwrap on its way.
struct Unwrap {
    keeper: Keeper,
    place: Place,
    purpose: Purpose,
    quota: Arc<quota::Client>,
    lead: Lead<FlightKey, Waiter, Outcome>,
    request: Request,
    deadline: std::time::Instant,
    client: ClientTag,
    sent: Option<Arc<SentStamp>>,
    hsm: Arc<dyn Hsm>,
    metrics: Arc<Metrics>,
    time: Time,
}

impl Unwrap {
    fn found(self, found: Found) {
        let Found::Key(key) = found else {
            return self.ask_hsm();
        };
        self.metrics.shared.bump();
        if self.purpose == Purpose::Decrypt {
            let outcome = Ok(Answer::Plaintext(key.clone()));
            self.keeper.keep(&outcome, Some(&self.quota));
        }
        self.lead.finish(Ok(Brought::Shared(key)));
    }

    fn ask_hsm(self) {
        let Self {
            keeper,
            place,
            purpose,
            quota,
            lead,
            time,
            ..
        } = self;
        let done = Box::new(move |outcome: Result<Answer, HsmError>| {
            match purpose {
                Purpose::Decrypt => {
                    keeper.keep(&outcome, Some(&quota));
                    put(&place, &outcome, &time);
                }
                Purpose::Rewrap => keeper.note(&outcome),
            }
            lead.finish(outcome.map(Brought::Hsm));
        });
        self.hsm.submit(Job {
            request: self.request,
            deadline: self.deadline,
            client: self.client,
            sent: self.sent,
            done,
        });
    }
}

/// Puts what the HSM gave into the shared cache.
pub(super) fn put(place: &Place, outcome: &Result<Answer, HsmError>, time: &Time) {
    if let (Some((cluster, named)), Ok(Answer::Plaintext(key))) = (place, outcome) {
        cluster.put(named, key, time.now());
    }
}

/// Tells the other nodes what this one changed.
#[derive(Clone)]
pub(super) struct Announcer(Option<Arc<Cluster>>);

impl Announcer {
    pub(super) fn of(engine: &Engine) -> Self {
        Self(engine.shared_cache().cloned())
    }

    /// Nobody is told.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) fn withdrawn(&self, key: &str) {
        self.tell(|| Word::Withdrawn(key.to_owned()));
    }

    pub(super) fn grown(&self, key: &str) {
        self.tell(|| Word::Grown(key.to_owned()));
    }

    fn tell(&self, word: impl FnOnce() -> Word) {
        if let Some(cluster) = &self.0 {
            cluster.announce(word());
        }
    }
}

impl Brought {
    /// As the back end answers, and whether another node had it unwrapped.
    pub(super) fn apart(self) -> (Answer, bool) {
        match self {
            Self::Hsm(answer) => (answer, false),
            Self::Shared(key) => (Answer::Plaintext(key), true),
        }
    }
}
