//! The certificates that client CAs have vouched for lately: as many as sessions are kept for resumption.
//!
//! Must never be true: more than [`RECENT_MAX`] of them, or one that was not verified under this very snapshot.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::Pin;

/// Some 1.5 KiB each.
const RECENT_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    by_print: HashMap<[u8; 32], Arc<Pin>>,
    /// The oldest in front; each print once.
    order: VecDeque<[u8; 32]>,
}

impl Recent {
    pub(super) fn get(&self, print: &[u8; 32]) -> Option<Arc<Pin>> {
        self.0.lock().by_print.get(print).cloned()
    }

    /// Puts it in the place of an older one of the same certificate, or of the oldest of all.
    pub(super) fn insert(&self, pin: &Arc<Pin>) {
        let mut held = self.0.lock();
        if held
            .by_print
            .insert(pin.fingerprint, Arc::clone(pin))
            .is_some()
        {
            return;
        }
        held.order.push_back(pin.fingerprint);
        if held.order.len() > RECENT_MAX
            && let Some(oldest) = held.order.pop_front()
        {
            held.by_print.remove(&oldest);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Pin>> {
        self.0.lock().by_print.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Operations, Role};

    fn pin(number: usize) -> Arc<Pin> {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_be_bytes());
        Arc::new(Pin {
            alias: String::new(),
            subject: number.to_string(),
            fingerprint,
            spki: Vec::new(),
            not_before_unix_s: 0,
            not_after_unix_s: 0,
            role: Arc::new(Role {
                name: String::new(),
                operations: Operations::NONE,
                keys: Vec::new(),
            }),
            revoked: false.into(),
            issued: None,
        })
    }

    #[test]
    fn the_oldest_gives_way() {
        let recent = Recent::default();
        for number in 0..RECENT_MAX + 10 {
            recent.insert(&pin(number));
            recent.insert(&pin(number));
        }
        assert_eq!(recent.all().len(), RECENT_MAX);
        for (number, want) in [(0, false), (9, false), (10, true), (RECENT_MAX + 9, true)] {
            let held = recent.get(&pin(number).fingerprint);
            assert_eq!(held.is_some(), want, "{number}");
        }
        let held = recent.0.lock();
        assert_eq!(held.order.len(), held.by_print.len());
    }
}
