//! What has been gathered for one request so far.

use std::sync::Arc;
use std::time::Instant;

use crate::api::Fault;
use crate::hsm::{Answer, HsmError, KeyRecord};
use crate::metrics::Kind;
use crate::quota::Held;
use crate::secret::SecretKey;

use super::ahead::is_outage;
use super::{Brought, Outcome, faults};

/// The item number of the key record itself.
pub const KEY_ITEM: u32 = u32::MAX;

const ANOTHER_ANSWER: HsmError = HsmError::Protocol("another answer than asked for");

/// Where a ticket goes: a request's item on a connection of a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiter {
    /// Index of the worker.
    pub worker: u16,
    /// Slot of the connection in the worker.
    pub conn: u32,
    /// Tells a reused slot from its former holder.
    pub generation: u32,
    /// Number of the request on its connection.
    pub request: u32,
    /// Item of the request, or [`KEY_ITEM`].
    pub item: u32,
}

/// One item of a request.
#[derive(Debug, Default)]
pub enum Item {
    /// Not asked for yet.
    #[default]
    Untried,
    /// A ticket will come.
    Waiting {
        /// What it must bring.
        wants: Wants,
        /// Version of the key that was asked.
        version: u32,
        /// Whether this request's own job fetches it; else it joined another's.
        leads: bool,
    },
    /// Unwrapped.
    Plaintext(SecretKey),
    /// Unwrapped long ago, and served because the HSM is not reachable. The answer says so, and so must
    /// whatever else is told of it: an audit line's source is `stale`.
    Stale(SecretKey),
    /// The HSM was not reached, for this reason; the cache may have it past its life.
    Unreached(Fault),
    /// Wrapped.
    Sealed {
        /// Version of the key that wrapped.
        version: u32,
        /// nonce | ciphertext | tag.
        bytes: Vec<u8>,
    },
    /// Listed.
    Names(Arc<[Arc<str>]>),
    /// Refused or failed.
    Failed(Fault),
}

/// Where an item's answer came from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Source {
    /// The cache.
    #[default]
    Cache,
    /// Another request's question to the HSM.
    Joined,
    /// The HSM.
    Hsm,
    /// The cache, past the entry's life.
    Stale,
    /// The cache that the nodes share.
    Shared,
}

/// What an item's ticket must bring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wants {
    /// An unwrapped or a new key.
    Plaintext,
    /// An unwrapped key, which the cache may have past its life.
    PlaintextOrStale,
    /// A wrapped one.
    Sealed,
    /// The names of all keys.
    Names,
}

/// The answer about the key itself.
#[derive(Debug, Default)]
pub enum KeyAnswer {
    /// Not asked.
    #[default]
    Untried,
    /// A ticket will come.
    Waiting {
        /// Whether this request's own job fetches it; else it joined another's.
        leads: bool,
    },
    /// It came.
    Is(Option<Arc<KeyRecord>>),
    /// It failed.
    Failed(HsmError),
}

/// Everything gathered; empty before the first run.
#[derive(Debug, Default)]
pub struct Gather {
    /// The key record, where a run had to ask for it.
    pub key: KeyAnswer,
    /// One for each item of the request, once a run has tried them.
    pub items: Vec<Item>,
    /// Of each item that was asked for.
    sources: Vec<Source>,
    /// The key has been asked to be created or changed.
    pub changed: bool,
    /// Its items that are counted as waiting, for its client's limit.
    pub held: Held,
    /// How often the key has been asked for.
    key_asks: u8,
    /// The answer about the key comes, or came, of a question asked after the request had arrived.
    key_fresh: bool,
    waiting: u32,
    deadline: Option<Instant>,
    over: bool,
}

impl Gather {
    /// When the answer is due, once the request has been parked.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Keeps the deadline of the first run for the next.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Whether the request's time is over: nothing more may be waited for.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a ticket is still to come.
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Back to empty, keeping nothing.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes that a ticket for the key will come.
    pub fn await_key(&mut self, leads: bool) {
        self.key = KeyAnswer::Waiting { leads };
        self.waiting += 1;
        // A flight that is joined may have begun before the request arrived; the next one of the same
        // key began after that one had ended.
        self.key_fresh = leads || self.key_asks > 0;
        self.key_asks = self.key_asks.saturating_add(1);
    }

    /// How often the key has been asked for.
    pub fn key_asks(&self) -> u8 {
        self.key_asks
    }

    /// Whether the HSM has told of the key since the request arrived.
    pub fn key_is_fresh(&self) -> bool {
        self.key_fresh && matches!(self.key, KeyAnswer::Is(_))
    }

    /// Notes that a ticket for `item` will come.
    pub fn await_item(&mut self, item: usize, wants: Wants, version: u32, leads: bool) {
        if let Some(slot) = self.items.get_mut(item) {
            *slot = Item::Waiting {
                wants,
                version,
                leads,
            };
            self.waiting += 1;
            self.sources.resize(self.items.len(), Source::Cache);
            if let Some(source) = self.sources.get_mut(item) {
                *source = if leads { Source::Hsm } else { Source::Joined };
            }
        }
    }

    /// Where an item came from, or is about to.
    pub fn source(&self, item: usize) -> Source {
        match self.items.get(item) {
            Some(Item::Stale(_)) => Source::Stale,
            _ => self.sources.get(item).copied().unwrap_or_default(),
        }
    }

    /// What an unwrap was, all its items together. One that waited for nothing but its key's lookup asked the HSM.
    pub fn kind(&self) -> Kind {
        let is_from = |source: Source| self.sources.contains(&source);
        if self.deadline.is_none() {
            Kind::Hit
        } else if is_from(Source::Joined) && !is_from(Source::Hsm) {
            Kind::Joined
        } else {
            Kind::Miss
        }
    }

    /// Takes a ticket in. A joiner whose leader ran out of time, and that has time left itself,
    /// goes back to untried: a leader's deadline is not shared.
    pub fn accept(&mut self, item: u32, outcome: Outcome, time_left: bool) {
        let (outcome, shared) = match outcome.map(Brought::apart) {
            Ok((answer, shared)) => (Ok(answer), shared),
            Err(error) => (Err(error), false),
        };
        if item == KEY_ITEM {
            if let KeyAnswer::Waiting { leads } = self.key {
                self.waiting -= 1;
                self.key = match outcome {
                    Ok(Answer::Key(record)) => KeyAnswer::Is(record),
                    Ok(_) => KeyAnswer::Failed(ANOTHER_ANSWER),
                    Err(HsmError::TimedOut) if !leads && time_left => KeyAnswer::Untried,
                    Err(error) => KeyAnswer::Failed(error),
                };
            }
            return;
        }
        let Some(slot) = usize::try_from(item)
            .ok()
            .and_then(|item| self.items.get_mut(item))
        else {
            return;
        };
        let Item::Waiting {
            wants,
            version,
            leads,
        } = *slot
        else {
            return;
        };
        self.waiting -= 1;
        let source = usize::try_from(item)
            .ok()
            .and_then(|item| self.sources.get_mut(item));
        if let (true, true, Some(source)) = (shared, leads, source) {
            *source = Source::Shared;
        }
        *slot = match (wants, outcome) {
            (Wants::Plaintext | Wants::PlaintextOrStale, Ok(Answer::Plaintext(key))) => {
                Item::Plaintext(key)
            }
            (Wants::Sealed, Ok(Answer::Sealed(bytes))) => Item::Sealed { version, bytes },
            (Wants::Names, Ok(Answer::Names(names))) => Item::Names(names),
            (_, Ok(_)) => Item::Failed(faults::of(&ANOTHER_ANSWER)),
            (_, Err(HsmError::TimedOut | HsmError::GaveWay)) if !leads && time_left => {
                Item::Untried
            }
            (Wants::PlaintextOrStale, Err(error)) if is_outage(&error) => {
                Item::Unreached(faults::of(&error))
            }
            (_, Err(error)) => Item::Failed(faults::of(&error)),
        };
    }

    /// Gives up on what has not come: the request's time is over.
    pub fn give_up(&mut self) {
        let fault = faults::of(&HsmError::TimedOut);
        if matches!(self.key, KeyAnswer::Waiting { .. }) {
            self.key = KeyAnswer::Failed(HsmError::TimedOut);
        }
        for item in &mut self.items {
            match item {
                Item::Waiting {
                    wants: Wants::PlaintextOrStale,
                    ..
                } => *item = Item::Unreached(fault.clone()),
                Item::Waiting { .. } | Item::Untried => *item = Item::Failed(fault.clone()),
                _ => {}
            }
        }
        self.waiting = 0;
        self.over = true;
    }
}
