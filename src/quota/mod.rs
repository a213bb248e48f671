//! Who gets how much, by client: the certificate and the address together, for many devices share
//! one certificate.
//!
//! A [`Client`] counts its items that wait for the HSM, spends its items a second and has its share
//! of the cache; [`Doors`](doors) count the connections of an address, before anything is known of
//! their certificate. Must never be true: memory that grows with the number of addresses beyond
//! [`CLIENTS_MAX`]; a lock or a shared counter on the way of a cache hit while no rate is set; an
//! address in a log line of every request or in a metric. Called by `server` and `engine`.

mod address;
mod client;
mod doors;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits::CLIENTS_MAX;

pub use address::Address;
pub use client::{Client, Held};
pub use doors::Guest;

use doors::Doors;
use shares::Shares;

/// How often clients that nobody has been for a while are forgotten.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How soon a full table is looked through again.
const TIDY_FULL_EVERY: Duration = Duration::from_secs(1);

/// What one client or address may have; read anew at each use, so a reload may change them.
#[derive(Debug)]
pub struct Limits {
    /// Items of one client that wait for the HSM (`kms.limit.inflight`).
    pub inflight: AtomicUsize,
    /// Items a second of one client; 0: as many as it likes (`kms.limit.rate`).
    pub rate: AtomicUsize,
    /// Connections of one address (`kms.limit.connections`).
    pub connections: AtomicUsize,
}

/// What a [`Quota`] is made with.
#[derive(Clone, Copy, Debug)]
pub struct QuotaConfig {
    /// See [`Limits::inflight`].
    pub inflight: usize,
    /// See [`Limits::rate`].
    pub rate: usize,
    /// See [`Limits::connections`].
    pub connections: usize,
    /// Entries that the cache holds at most.
    pub cache_entries_max: usize,
    /// Life of an entry, and so the time in which a client's entries are counted.
    pub cache_ttl: Duration,
}

impl QuotaConfig {
    /// Everybody may have everything; for whoever measures or tests something else.
    pub const UNLIMITED: Self = Self {
        inflight: usize::MAX,
        rate: 0,
        connections: usize::MAX,
        cache_entries_max: usize::MAX,
        cache_ttl: Duration::MAX,
    };
}

/// Why a request is refused for its client's sake: a 429.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// More items a second than [`Limits::rate`].
    Rate {
        /// The limit.
        limit: usize,
        /// Until enough may be spent again; at least 1.
        retry_after_s: u32,
    },
    /// More items waiting for the HSM than [`Limits::inflight`].
    Inflight {
        /// The limit.
        limit: usize,
    },
}

/// What clients share.
#[derive(Debug)]
struct Common {
    limits: Limits,
    start: Instant,
    shares: Shares,
}

impl Common {
    /// Nanoseconds since the start; enough for 584 years.
    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// A principal at an address; without an address, all for whom the table had no room.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Who {
    fingerprint: [u8; 32],
    address: Option<Address>,
}

#[derive(Debug)]
struct Table {
    clients: HashMap<Who, Arc<Client>>,
    last_tag: u32,
    tidied: Instant,
}

/// All clients and addresses of a node.
#[derive(Debug)]
pub struct Quota {
    common: Arc<Common>,
    table: Mutex<Table>,
    clients_max: usize,
    doors: Arc<Doors>,
}

impl Quota {
    /// Nobody is known yet.
    pub fn new(config: &QuotaConfig, start: Instant) -> Self {
        Self::with_room_for(CLIENTS_MAX, config, start)
    }

    fn with_room_for(clients_max: usize, config: &QuotaConfig, start: Instant) -> Self {
        let limits = Limits {
            inflight: AtomicUsize::new(config.inflight),
            rate: AtomicUsize::new(config.rate),
            connections: AtomicUsize::new(config.connections),
        };
        Self {
            common: Arc::new(Common {
                limits,
                start,
                shares: Shares::new(config.cache_entries_max, config.cache_ttl),
            }),
            table: Mutex::new(Table {
                clients: HashMap::new(),
                last_tag: 0,
                tidied: start,
            }),
            clients_max,
            doors: Arc::default(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.common.limits
    }

    /// Lets a connection from `address` in, until the guest is dropped; `Err` is how many it has.
    pub fn enter(&self, address: Address) -> Result<Guest, usize> {
        let limit = self.common.limits.connections.load(Ordering::Relaxed);
        Doors::enter(&self.doors, address, limit)
    }

    /// Connections of `address` now.
    pub fn connections_of(&self, address: Address) -> usize {
        self.doors.of(address)
    }

    /// The client with this certificate at this address. Connections hold it, and it is kept while
    /// what it has spent still counts, so reconnecting gains nothing. When the table is full, all
    /// further addresses of a certificate are one client.
    pub fn client(&self, fingerprint: &[u8; 32], address: Address, now: Instant) -> Arc<Client> {
        let mut table = self.table.lock();
        self.tidy(&mut table, now);
        let mut who = Who {
            fingerprint: *fingerprint,
            address: Some(address),
        };
        if table.clients.len() >= self.clients_max && !table.clients.contains_key(&who) {
            who.address = None;
        }
        let Table {
            clients, last_tag, ..
        } = &mut *table;
        let client = clients.entry(who).or_insert_with(|| {
            // 0 is the server itself.
            *last_tag = last_tag.checked_add(1).unwrap_or(1);
            Arc::new(Client::new(*last_tag, Arc::clone(&self.common)))
        });
        Arc::clone(client)
    }

    /// Clients known now.
    pub fn clients(&self) -> usize {
        self.table.lock().clients.len()
    }

    fn tidy(&self, table: &mut Table, now: Instant) {
        let every = if table.clients.len() >= self.clients_max {
            TIDY_FULL_EVERY
        } else {
            TIDY_EVERY
        };
        if now.saturating_duration_since(table.tidied) < every {
            return;
        }
        table.tidied = now;
        table
            .clients
            .retain(|_, client| Arc::strong_count(client) > 1 || !client.is_forgettable(now));
    }
}
