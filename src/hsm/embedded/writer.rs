//! The one thread that changes keys, because a change waits for the disk.
//!
//! Must never be true: a change that is answered before the disk has it; a queue that grows without
//! bound. Fed by the back end's `submit`.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError};

use super::super::{Answer, Done, HsmError, KeyChange, KeyRecord};
use super::error::KeyFileError;
use super::keyring::ChangeError;
use super::{GENERAL_FAILURE, Shared, put_master};

/// What is to become of a key.
pub(super) enum Change {
    Create,
    Rotate,
    Configure(KeyChange),
    Delete,
}

/// A change on its way to the writer.
pub(super) struct Order {
    pub(super) name: Arc<str>,
    pub(super) change: Change,
    pub(super) deadline: Instant,
    pub(super) done: Done,
}

impl Order {
    /// Queues it, or answers why not. `None`: the back end has been shut down.
    pub(super) fn send(self, writer: Option<&Sender<Self>>) {
        let Some(writer) = writer else {
            return (self.done)(Err(HsmError::Abandoned));
        };
        match writer.try_send(self) {
            Ok(()) => {}
            Err(TrySendError::Full(order)) => (order.done)(Err(HsmError::Overloaded)),
            Err(TrySendError::Disconnected(order)) => (order.done)(Err(HsmError::Abandoned)),
        }
    }
}

impl Shared {
    /// The writer's life: until every sender is gone.
    pub(super) fn write(&self, orders: &Receiver<Order>) {
        for order in orders {
            if Instant::now() >= order.deadline {
                (order.done)(Err(HsmError::TimedOut));
                continue;
            }
            let changed = self.change(&order.name, &order.change);
            match &changed {
                Ok(_) => *self.trouble.lock() = None,
                Err(ChangeError::File(error)) => *self.trouble.lock() = Some(error.to_string()),
                // Tells nothing about the disk.
                Err(ChangeError::Refused(_)) => {}
            }
            (order.done)(changed.map(Answer::Key).map_err(|error| match error {
                ChangeError::Refused(error) => error,
                ChangeError::File(error) => failed(&order.name, &order.change, &error),
            }));
        }
    }

    fn change(
        &self,
        name: &Arc<str>,
        change: &Change,
    ) -> Result<Option<Arc<KeyRecord>>, ChangeError> {
        let store = |bytes: &[u8]| put_master(&self.store, bytes);
        Ok(match change {
            Change::Create => Some(self.keyring.create(name, store)?),
            Change::Rotate => self.keyring.rotate(name, store)?,
            Change::Configure(change) => self.keyring.configure(name, change)?,
            Change::Delete => {
                self.keyring.delete(name)?;
                None
            }
        })
    }
}

/// For the client; the log has the rest.
fn failed(name: &str, change: &Change, error: &KeyFileError) -> HsmError {
    if matches!(error, KeyFileError::NoLockedMemory) {
        return HsmError::NoLockedMemory;
    }
    let what = match change {
        Change::Create => "created",
        Change::Rotate => "rotated",
        Change::Configure(_) => "configured",
        Change::Delete => "deleted",
    };
    log::error!("the master key {name:?} could not be {what}: {error}");
    let text = if matches!(error, KeyFileError::TooManyKeys { .. }) {
        "the key file is full; delete keys that are no longer used"
    } else {
        "the key file could not be saved; see the server's log"
    };
    HsmError::Refused {
        reason: GENERAL_FAILURE,
        text: Arc::from(text),
    }
}
