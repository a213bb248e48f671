//! The certificates that client CAs have vouched for lately: as many as sessions are kept for resumption.
//!
//! Must never be true: more than [`RECENT_MAX`] of them; one that was not verified under this very snapshot; one that
//! is let in without an intermediate because it came with it before, until the server starts anew.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

use crate::identity::{Pin, fingerprint};

/// Some 1.5 KiB each.
const RECENT_MAX: usize = 4096;

/// SHA-256 of a certificate and all that came with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Shown([u8; 32]);

impl Shown {
    pub(super) fn of(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Self {
        let prints = std::iter::once(leaf)
            .chain(above)
            .map(|one| fingerprint(one));
        Self(fingerprint(prints.collect::<Vec<_>>().as_flattened()))
    }
}

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    by_shown: HashMap<Shown, Arc<Pin>>,
    /// The oldest in front; each once.
    order: VecDeque<Shown>,
}

impl Recent {
    pub(super) fn get(&self, shown: Shown) -> Option<Arc<Pin>> {
        self.0.lock().by_shown.get(&shown).cloned()
    }

    /// Puts it in the place of an older one that was shown the same, or of the oldest of all.
    pub(super) fn insert(&self, shown: Shown, pin: &Arc<Pin>) {
        let mut held = self.0.lock();
        if held.by_shown.insert(shown, Arc::clone(pin)).is_some() {
            return;
        }
        held.order.push_back(shown);
        if held.order.len() > RECENT_MAX
            && let Some(oldest) = held.order.pop_front()
        {
            held.by_shown.remove(&oldest);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Pin>> {
        self.0.lock().by_shown.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Operations, Role};

    fn pin() -> Arc<Pin> {
        Arc::new(Pin {
            alias: String::new(),
            subject: String::new(),
            fingerprint: [0; 32],
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

    fn shown(number: usize) -> Shown {
        Shown::of(&number.to_be_bytes().to_vec().into(), &[])
    }

    #[test]
    fn the_oldest_gives_way() {
        let (recent, pin) = (Recent::default(), pin());
        for number in 0..RECENT_MAX + 10 {
            recent.insert(shown(number), &pin);
            recent.insert(shown(number), &pin);
        }
        assert_eq!(recent.all().len(), RECENT_MAX);
        for (number, want) in [(0, false), (9, false), (10, true), (RECENT_MAX + 9, true)] {
            assert_eq!(recent.get(shown(number)).is_some(), want, "{number}");
        }
        let held = recent.0.lock();
        assert_eq!(held.order.len(), held.by_shown.len());
    }

    #[test]
    fn all_that_is_shown_counts() {
        let one = |text: &str| CertificateDer::from(text.as_bytes().to_vec());
        let chains = [
            ("a", &[][..]),
            ("a", &["b"]),
            ("a", &["b", "c"]),
            ("a", &["c", "b"]),
            ("ab", &[]),
        ];
        let prints = chains.map(|(leaf, above)| {
            let above: Vec<_> = above.iter().map(|text| one(text)).collect();
            Shown::of(&one(leaf), &above)
        });
        for (index, print) in prints.iter().enumerate() {
            assert_eq!(prints.iter().position(|other| other == print), Some(index));
        }
    }
}
