//! Commands to answers: authorised request in, reply written or request parked.
//!
//! A command is a function of the request's bytes and of what has been gathered for it so far. The
//! first run takes what the cache has and asks the HSM for the rest; when every ticket has come in,
//! the same bytes are run again and now everything is there to be encoded. Nothing of a request is
//! copied to outlive a run. Authorisation and the key are checked again by each run; an item that the
//! HSM has answered is not asked for again.
//!
//! Must never be true: a waiter that nobody completes; a plaintext from a key that the directory
//! says is gone; an error of the HSM worded anywhere but in [`faults`]. Called by `server`.

mod about;
mod ahead;
pub mod budget;
mod crypt;
mod datakey;
mod decrypt;
mod digest;
mod encrypt;
mod faults;
mod fetch;
pub mod follower;
pub mod gather;
mod health;
mod keep;
mod key;
mod learn;
mod manage;
mod purge;
mod refused;
mod rewrap;
mod sharing;
mod working_set;

use std::sync::Arc;
use std::time::Instant;

use crate::api::reply::Reply;
use crate::api::{Command, Fault};
use crate::cache::{Cache, Digest};
use crate::flight::Flights;
use crate::hsm::store::Store;
use crate::hsm::{Answer, ClientTag, Envelope, Hsm, HsmError, SentStamp};
use crate::identity::{Pin, Role};
use crate::keys::Directory;
use crate::metrics::Metrics;
use crate::net::time::Time;
use crate::quota;
use crate::secret::SecretKey;
use crate::wire::Out;

pub use faults::of as fault_of;
pub use gather::{Gather, Waiter};
pub use working_set::Seen;

use digest::DigestKey;
use refused::Refused;
use working_set::WorkingSet;

/// Entries evicted at a time when a data key finds no room.
const ROOM_ENTRIES: usize = 16;

/// What a waiter is told.
pub type Outcome = Result<Brought, HsmError>;

/// An answer, and who had it.
#[derive(Clone, Debug)]
pub enum Brought {
    /// The back end.
    Hsm(Answer),
    /// The cache that the nodes share: an unwrap.
    Shared(SecretKey),
}

impl From<Answer> for Brought {
    fn from(answer: Answer) -> Self {
        Self::Hsm(answer)
    }
}

/// Names one fetch: equal fetches are one flight.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum FlightKey {
    /// An unwrap.
    Unwrap(Digest),
    /// An unwrap whose plaintext is wrapped again and not kept.
    Rewrap(Digest),
    /// The names of all keys.
    Names,
    /// A key looked up by name.
    Key(Arc<str>),
    /// An operation that nobody shares (a wrap, a change of a key).
    Alone(u64),
}

/// What a run needs to know of its request.
pub struct Call<'a> {
    /// The principal's certificate.
    pub pin: &'a Pin,
    /// The principal's role: the pin's.
    pub role: &'a Role,
    /// Where tickets for this request go.
    pub waiter: Waiter,
    /// Now, read once a wake.
    pub now: Instant,
    /// The same by the calendar: seconds since 1970.
    pub unix_s: i64,
    /// When the answer is due.
    pub deadline: Instant,
    /// Whose limits and share of the cache this request is counted to.
    pub quota: &'a Arc<quota::Client>,
    /// Whose turn this request's jobs take at the HSM.
    pub client: ClientTag,
    /// Where the first job's sending is noted, if the client wants to know.
    pub sent: Option<Arc<SentStamp>>,
    /// Room to decode into, kept from request to request. Never holds a secret.
    pub decoded: &'a mut Vec<u8>,
}

/// Whether a run has written its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// The reply is complete.
    Answered,
    /// Tickets will come for the call's waiter.
    Parked,
}

/// Bounds of what may be in flight.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Distinct fetches at once.
    pub flights_max: usize,
    /// Waiters at once, joined ones included.
    pub waiters_max: usize,
}

/// The product, without sockets.
pub struct Engine {
    cache: Arc<Cache>,
    flights: Arc<Flights<FlightKey, Waiter, Outcome>>,
    keys: Arc<Directory>,
    hsm: Arc<dyn Hsm>,
    /// Of `hsm`: it never changes.
    envelope: Envelope,
    refused: Arc<Refused>,
    working_set: Arc<WorkingSet>,
    ledger: budget::Ledger,
    digest_key: DigestKey,
    /// Where data keys of our own making wait.
    store: Arc<Store>,
    alone: std::sync::atomic::AtomicU64,
    metrics: Arc<Metrics>,
    time: Time,
    /// As a UUID's text.
    cluster_id: String,
    /// The cache that the nodes share.
    sharing: Option<sharing::Sharing>,
}

impl Engine {
    /// Puts the parts together. `deliver` hands an outcome to its waiter's inbox and must not block.
    pub fn new(
        cache: Arc<Cache>,
        hsm: Arc<dyn Hsm>,
        limits: EngineLimits,
        metrics: Arc<Metrics>,
        time: Time,
        deliver: impl Fn(Waiter, Outcome) + Send + Sync + 'static,
    ) -> Result<Self, ring::error::Unspecified> {
        let roomy = Arc::clone(&cache);
        let make_room = Box::new(move || {
            roomy.make_room(ROOM_ENTRIES);
        });
        Ok(Self {
            store: Arc::new(Store::new(cache.arena(), Some(make_room))),
            working_set: Arc::new(WorkingSet::new(cache.ttl(), time.now())),
            cache,
            flights: Flights::new(
                limits.flights_max,
                limits.waiters_max,
                Err(HsmError::Abandoned),
                deliver,
            ),
            keys: Arc::new(Directory::new(time.now())),
            envelope: hsm.envelope(),
            hsm,
            refused: Arc::new(Refused::default()),
            ledger: budget::Ledger::default(),
            digest_key: DigestKey::random()?,
            alone: std::sync::atomic::AtomicU64::new(0),
            metrics,
            time,
            cluster_id: health::random_uuid()?,
            sharing: None,
        })
    }

    /// Names unwraps as every engine with this block does, for simulations that must repeat: when an
    /// entry expires depends on its name. Call it before the first request.
    #[must_use]
    pub fn named_by(mut self, block: &[u8; digest::BLOCK_BYTES]) -> Self {
        self.digest_key = DigestKey::of(block);
        self
    }

    /// Runs an authorised `command`. Run it again with the same bytes and `gather` when the tickets
    /// are in.
    pub fn run<O: Out>(
        &self,
        call: &mut Call<'_>,
        command: &Command<'_>,
        gather: &mut Gather,
        reply: &mut Reply<'_, O>,
    ) -> Flow {
        if command.key().is_some_and(sharing::is_reserved) {
            reply.fault(&Fault::new(403, sharing::RESERVED_TEXT));
            return Flow::Answered;
        }
        let done = match command {
            Command::Decrypt { key, body } => self.decrypt(call, key, body, gather, reply),
            Command::Encrypt { key, body } => self.encrypt(call, key, body, gather, reply),
            Command::CreateKey { key, body } => self.create_key(call, key, body, gather, reply),
            Command::Rewrap { key, body } => self.rewrap(call, key, body, gather, reply),
            Command::Datakey {
                key,
                plaintext,
                body,
            } => self.datakey(call, (key, *plaintext), body, gather, reply),
            Command::ReadKey { key, warnings } => self.read_key(call, key, warnings, gather, reply),
            Command::ListKeys(query) => self.list_keys(call, query, gather, reply),
            Command::RotateKey { key, body } => self.rotate_key(call, key, body, gather, reply),
            Command::ConfigKey { key, body } => self.config_key(call, key, body, gather, reply),
            Command::DeleteKey { key } => self.delete_key(call, key, gather, reply),
            Command::LoginAs { name } => self.login_as(call, name, reply).map(|()| Flow::Answered),
            Command::About(about) => {
                self.about(call, *about, reply);
                Ok(Flow::Answered)
            }
            Command::Health => {
                self.health(reply);
                Ok(Flow::Answered)
            }
        };
        done.unwrap_or_else(|fault: Fault| {
            reply.fault(&fault);
            Flow::Answered
        })
    }

    /// Whether the back end is a Transit engine itself, which has more kinds of keys than ours and judges
    /// requests about them itself.
    fn is_transit(&self) -> bool {
        self.envelope == Envelope::Transit
    }

    /// The back end, for readiness.
    pub fn hsm(&self) -> &Arc<dyn Hsm> {
        &self.hsm
    }

    /// The cache, for its ticks and gauges.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Fetches in flight now.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Waiters for them now.
    pub fn waiters(&self) -> usize {
        self.flights.waiters()
    }
}
