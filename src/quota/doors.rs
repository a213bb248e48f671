//! Connections by address, those in a handshake included: counted at accept, before any certificate.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Address;

/// How many connections each address has; an address without any takes no room.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<HashMap<Address, usize>>);

impl Doors {
    pub(super) fn enter(doors: &Arc<Self>, address: Address, limit: usize) -> Result<Guest, usize> {
        let mut inside = doors.0.lock();
        let count = inside.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return Err(count);
        }
        inside.insert(address, count + 1);
        drop(inside);
        Ok(Guest {
            doors: Arc::clone(doors),
            address,
        })
    }

    pub(super) fn of(&self, address: Address) -> usize {
        self.0.lock().get(&address).copied().unwrap_or(0)
    }
}

/// A connection that was let in; counted until it is dropped.
#[derive(Debug)]
pub struct Guest {
    doors: Arc<Doors>,
    address: Address,
}

impl Guest {
    /// Where it comes from.
    pub fn address(&self) -> Address {
        self.address
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = self.doors.0.lock();
        if let Some(count) = inside.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.address);
            }
        }
    }
}
