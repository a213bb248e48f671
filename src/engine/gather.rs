//! What has been gathered for one request so far.

use std::sync::Arc;
use std::time::Instant;

use crate::api::Fault;
use crate::hsm::{Answer, HsmError, KeyRecord};
use crate::quota::Held;
use crate::secret::SecretKey;

use super::{Outcome, faults};

/// The item number of the key record itself.
pub const KEY_ITEM: u32 = u32::MAX;

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
        /// Version of the key that was asked.
        version: u32,
        /// Whether this request's own job fetches it; else it joined another's.
        leads: bool,
    },
    /// Unwrapped.
    Plaintext(SecretKey),
    /// Wrapped.
    Sealed {
        /// Version of the key that wrapped.
        version: u32,
        /// nonce | ciphertext | tag.
        bytes: Vec<u8>,
    },
    /// Refused or failed.
    Failed(Fault),
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
    Failed(Fault),
}

/// Everything gathered; empty before the first run.
#[derive(Debug, Default)]
pub struct Gather {
    /// The key record, where a run had to ask for it.
    pub key: KeyAnswer,
    /// One for each item of the request, once a run has tried them.
    pub items: Vec<Item>,
    /// A missing key has been asked to be created.
    pub created: bool,
    /// Its items that are counted as waiting, for its client's limit.
    pub held: Held,
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
    }

    /// Notes that a ticket for `item` will come.
    pub fn await_item(&mut self, item: usize, version: u32, leads: bool) {
        if let Some(slot) = self.items.get_mut(item) {
            *slot = Item::Waiting { version, leads };
            self.waiting += 1;
        }
    }

    /// Takes a ticket in. A joiner whose leader ran out of time, and that has time left itself,
    /// goes back to untried: a leader's deadline is not shared.
    pub fn accept(&mut self, item: u32, outcome: Outcome, time_left: bool) {
        if item == KEY_ITEM {
            if let KeyAnswer::Waiting { leads } = self.key {
                self.waiting -= 1;
                self.key = match outcome {
                    Ok(Answer::Key(record)) => KeyAnswer::Is(record),
                    Ok(_) => KeyAnswer::Failed(faults::of(&HsmError::Protocol(
                        "another answer than asked for",
                    ))),
                    Err(HsmError::TimedOut) if !leads && time_left => KeyAnswer::Untried,
                    Err(error) => KeyAnswer::Failed(faults::of(&error)),
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
        let Item::Waiting { version, leads } = *slot else {
            return;
        };
        self.waiting -= 1;
        *slot = match outcome {
            Ok(Answer::Plaintext(key)) => Item::Plaintext(key),
            Ok(Answer::Sealed(bytes)) => Item::Sealed { version, bytes },
            Ok(Answer::Key(_) | Answer::Names(_)) => Item::Failed(faults::of(&HsmError::Protocol(
                "another answer than asked for",
            ))),
            Err(HsmError::TimedOut) if !leads && time_left => Item::Untried,
            Err(error) => Item::Failed(faults::of(&error)),
        };
    }

    /// Gives up on what has not come: the request's time is over.
    pub fn give_up(&mut self) {
        let fault = faults::of(&HsmError::TimedOut);
        if matches!(self.key, KeyAnswer::Waiting { .. }) {
            self.key = KeyAnswer::Failed(fault.clone());
        }
        for item in &mut self.items {
            if matches!(item, Item::Waiting { .. } | Item::Untried) {
                *item = Item::Failed(fault.clone());
            }
        }
        self.waiting = 0;
        self.over = true;
    }
}
