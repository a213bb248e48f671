//! The cluster's sealing key: found in the engine or made, unwrapped by the HSM, replaced in time.
//!
//! A thread of its own, which may wait for the engine and the HSM. All nodes may find that there is none: each
//! makes one, and the engine keeps the first (`SET NX`). Must never be true: a key used that the HSM did not wrap
//! for this cluster; a key that others write with and this node does not look at within [`LOOK_EVERY`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::board::{Board, unix_ms};
use super::keyring::{CSK_BYTES, Csk, Keys};
use super::resp::{self, Reply};
use super::run::{Message, ask};
use super::wrapped::{self, VALUE_BYTES_MAX, Wrapped};
use super::{KeyWrap, Unmet, WrapError};
use crate::net::inbox::Inbox;
use crate::secret::{Arena, SecretBytes};

/// While a key is held.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While none is.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// For one command.
const WITHIN: Duration = Duration::from_millis(500);
/// A key older than the one held by more than this is an old one that somebody brought back, or that a failover did:
/// not used. Nodes that make one at the same time differ by less.
const OLDER_MAX_MS: u64 = 60_000;
/// A key that the HSM did not wrap is replaced so often at most: two clusters of one name must not race.
const REPLACE_EVERY_MS: u64 = 10_000;

/// See the module.
pub(super) struct Keeper {
    board: Arc<Board>,
    inbox: Arc<Inbox<Message>>,
    arena: &'static Arena,
    wrap: Box<dyn KeyWrap>,
    /// The value that the keys held now came from.
    seen: Vec<u8>,
    replaced_ms: u64,
}

impl Keeper {
    pub(super) fn new(
        board: Arc<Board>,
        inbox: Arc<Inbox<Message>>,
        arena: &'static Arena,
        wrap: Box<dyn KeyWrap>,
    ) -> Self {
        Self {
            board,
            inbox,
            arena,
            wrap,
            seen: Vec::new(),
            replaced_ms: 0,
        }
    }

    /// Until the shared cache is told to stop.
    pub(super) fn run(mut self) {
        while !self.board.is_stopping() {
            if self.board.connected.load(Ordering::Acquire) && !self.board.plan.looks_only {
                let trouble = self.look().err().unwrap_or_default();
                let mut told = self.board.key_trouble.lock();
                if *told != trouble && !trouble.is_empty() {
                    log::warn!("shared cache: {trouble}");
                }
                *told = trouble;
            }
            let pause = if self.board.keyring.is_loaded() {
                LOOK_EVERY
            } else {
                LOOK_SOON
            };
            std::thread::park_timeout(pause);
        }
    }

    fn look(&mut self) -> Result<(), String> {
        match self.shown()? {
            Reply::Bulk(value) if value.is_empty() => self.make(b"NX", None),
            Reply::Bulk(value) if value == self.seen => self.replace_if_due(&value),
            Reply::Bulk(value) => self.take(&value),
            _ => self.refuse("it is another kind of value"),
        }
    }

    /// What the engine has under the key's name; empty: nothing.
    fn shown(&self) -> Result<Reply, String> {
        let command = resp::first_bytes(&self.board.key_name(), VALUE_BYTES_MAX);
        match self.engine(command)? {
            Reply::Error(text) if !text.starts_with("WRONGTYPE") => {
                Err(format!("the engine refuses the sealing key: {text}"))
            }
            reply => Ok(reply),
        }
    }

    fn engine(&self, command: Vec<u8>) -> Result<Reply, String> {
        match ask(&self.inbox, command, &self.board.key_name(), WITHIN) {
            Ok(reply) => Ok(reply),
            Err(Unmet::Down | Unmet::Lost | Unmet::TimedOut) => {
                Err("the engine does not answer for the sealing key".to_owned())
            }
        }
    }

    /// Makes a key and offers it; what the engine then shows is taken, whoever made it.
    fn make(&mut self, condition: &[u8], old: Option<Wrapped>) -> Result<(), String> {
        let mut bytes = Zeroizing::new([0; CSK_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut())
            .map_err(|_| "the kernel gives no random numbers".to_owned())?;
        // Newer than any before it, whatever this node's clock says.
        let keys = self.board.keyring.keys();
        let held_ms = keys
            .as_ref()
            .as_ref()
            .map_or(0, |held| held.current.created_ms());
        let newest = old
            .as_ref()
            .map_or(held_ms, |old| old.created_ms.max(held_ms));
        let created_ms = unix_ms().max(newest.saturating_add(1));
        let bound = wrapped::associated_data(&self.board.plan.cluster, created_ms);
        let made = self
            .wrap
            .wrap(SecretBytes::from_slice(bytes.as_ref()), &bound);
        let (version, wrapped) = made.map_err(|error| {
            let (WrapError::Unavailable(why) | WrapError::Refused(why)) = error;
            format!("the HSM does not wrap the sealing key: {why}")
        })?;
        let new = Wrapped {
            created_ms,
            version,
            bytes: wrapped,
        };
        let entries: Vec<Wrapped> = std::iter::once(new).chain(old).collect();
        let value = wrapped::encode(&entries)
            .ok_or_else(|| "the HSM made too much of the sealing key".to_owned())?;
        let name = self.board.key_name();
        // Where nothing is shown an empty value may stand in the way of a first one.
        for condition in [condition, b"XX"] {
            let set = resp::command(&[b"SET", name.as_bytes(), &value, condition]);
            if let Reply::Error(text) = self.engine(set)? {
                return Err(format!("the engine refuses the sealing key: {text}"));
            }
            if let Reply::Bulk(shown) = self.shown()?
                && !shown.is_empty()
            {
                return self.take(&shown);
            }
        }
        Err("the engine did not keep the sealing key".to_owned())
    }

    /// Holds what `value` says, if the HSM wrapped it.
    fn take(&mut self, value: &[u8]) -> Result<(), String> {
        let entries = wrapped::decode(value);
        let Some((current, previous)) = entries.as_ref().and_then(|all| all.split_first()) else {
            return self.refuse("it is no sealing key");
        };
        if let Some(why) = self.too_old(current) {
            return self.refuse(why);
        }
        let current = match self.unwrap(current) {
            Ok(csk) => csk,
            Err(WrapError::Refused(why)) => return self.refuse(&why),
            Err(WrapError::Unavailable(why)) => {
                return Err(format!("the HSM does not unwrap the sealing key: {why}"));
            }
        };
        let until = |csk: &Csk| csk.created_ms().saturating_add(self.overlap_ms());
        // It reads for as long as what it sealed lives, from when its successor came. If it is not to be had, what it
        // sealed is missed.
        let previous = previous.first().and_then(|wrapped| self.before(wrapped));
        let previous = previous.map(|csk| (csk, until(&current)));
        let is_new = self
            .board
            .keyring
            .keys()
            .as_ref()
            .as_ref()
            .is_none_or(|held| held.current.id() != current.id());
        if is_new {
            log::info!(
                "shared cache: sealing key id={:016x} created_ms={}",
                u64::from_be_bytes(current.id()),
                current.created_ms()
            );
        }
        self.board.keyring.hold(Keys { current, previous });
        value.clone_into(&mut self.seen);
        Ok(())
    }

    /// The key before the one in use. Entries are wrapped one by one, so whoever writes to the engine may have put any
    /// old one there, as known as [`Self::too_old`] says: a node that holds keys takes none that it did not hold.
    fn before(&self, wrapped: &Wrapped) -> Option<Arc<Csk>> {
        let held = self.board.keyring.keys();
        let Some(held) = held.as_ref() else {
            let is_too_old = self.too_old(wrapped).is_some();
            return (!is_too_old).then(|| self.unwrap(wrapped).ok()).flatten();
        };
        let both = std::iter::once(&held.current).chain(held.previous.iter().map(|(csk, _)| csk));
        both.into_iter()
            .find(|csk| csk.created_ms() == wrapped.created_ms)
            .map(Arc::clone)
    }

    /// An old one may be known to somebody, which may be why it was replaced.
    fn too_old(&self, wrapped: &Wrapped) -> Option<&'static str> {
        let held = self.board.keyring.keys();
        let Some(held) = held.as_ref() else {
            let life_ms = u64::try_from(self.board.plan.key_life.as_millis()).unwrap_or(u64::MAX);
            let is_past = wrapped.created_ms.saturating_add(life_ms.saturating_mul(2)) < unix_ms();
            return is_past.then_some("it is more than twice as old as kms.cluster.key.life.h");
        };
        let newest = held.current.created_ms();
        let is_older = wrapped.created_ms.saturating_add(OLDER_MAX_MS) < newest;
        is_older.then_some("it is older than the one in use")
    }

    fn overlap_ms(&self) -> u64 {
        let ttl = self.board.plan.ttl;
        // Lives are up to a tenth longer.
        u64::try_from((ttl + ttl / 5).as_millis()).unwrap_or(u64::MAX / 4)
    }

    fn unwrap(&self, wrapped: &Wrapped) -> Result<Arc<Csk>, WrapError> {
        // One that is held already costs the HSM nothing.
        let held = self.board.keyring.keys();
        let bound = wrapped::associated_data(&self.board.plan.cluster, wrapped.created_ms);
        if let Some(held) = held.as_ref()
            && self.seen_holds(wrapped)
        {
            let both =
                std::iter::once(&held.current).chain(held.previous.iter().map(|(csk, _)| csk));
            let found = both
                .into_iter()
                .find(|csk| csk.created_ms() == wrapped.created_ms);
            if let Some(csk) = found {
                return Ok(Arc::clone(csk));
            }
        }
        let key = self.wrap.unwrap(wrapped.version, &wrapped.bytes, &bound)?;
        if key.len() != CSK_BYTES {
            return Err(WrapError::Refused("it has another length".to_owned()));
        }
        Csk::derive(self.arena, &key, wrapped.created_ms)
            .map(Arc::new)
            .map_err(|error| WrapError::Unavailable(error.to_string()))
    }

    fn seen_holds(&self, wrapped: &Wrapped) -> bool {
        wrapped::decode(&self.seen).is_some_and(|seen| seen.contains(wrapped))
    }

    /// What is there was not wrapped by our HSM's key: it is not used, and replaced.
    fn refuse(&mut self, why: &str) -> Result<(), String> {
        self.board.stats.keys_refused.bump();
        let trouble = format!(
            "the sealing key in the engine is not believed ({why}): somebody else wrote it, a failover brought an old one \
             back, or two clusters that do not share an HSM key have one name (kms.cluster.name)"
        );
        let now_ms = unix_ms();
        if now_ms.saturating_sub(self.replaced_ms) < REPLACE_EVERY_MS {
            return Err(trouble);
        }
        self.replaced_ms = now_ms;
        log::error!("shared cache: {trouble}; it is replaced");
        self.make_unbelieved()
    }

    /// As [`Self::make`], in the place of what is not believed. What is shown then is not replaced again.
    fn make_unbelieved(&mut self) -> Result<(), String> {
        let held = wrapped::decode(&self.seen).and_then(|seen| seen.into_iter().next());
        self.make(b"XX", held)
    }

    fn replace_if_due(&mut self, value: &[u8]) -> Result<(), String> {
        let ordered = self.board.renew.swap(false, Ordering::AcqRel);
        let Some(current) = wrapped::decode(value).and_then(|all| all.into_iter().next()) else {
            return Ok(());
        };
        let held = self.board.keyring.keys();
        let Some(held) = held.as_ref() else {
            return Ok(());
        };
        if !ordered && !is_due(&held.current, self.board.plan.key_life, unix_ms()) {
            return Ok(());
        }
        log::info!("shared cache: the sealing key is replaced");
        self.make(b"XX", Some(current))
    }
}

/// Whether `csk` has been in use for as long, or for as many records, as it may.
fn is_due(csk: &Csk, life: Duration, now_ms: u64) -> bool {
    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    csk.is_worn() || now_ms.saturating_sub(csk.created_ms()) >= life_ms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secret::{ArenaPlan, Mode};

    #[test]
    fn a_key_is_due_after_its_life_or_its_records() {
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 4096,
            large_count: 0,
            large_bytes: 0,
            buffer_bytes: 4096,
            mode: Some(Mode::Mlock),
        })
        .unwrap();
        let life = Duration::from_secs(10);
        for (name, worn, now_ms, want) in [
            ("new", false, 5_000, false),
            ("this clock is behind", false, 0, false),
            ("its life is not over", false, 14_999, false),
            ("its life is over", false, 15_000, true),
            ("too many records", true, 5_000, true),
        ] {
            let key = arena.store(&[1; CSK_BYTES]).unwrap();
            let csk = Csk::derive(arena, &key, 5_000).unwrap();
            if worn {
                csk.wear_out();
            }
            assert_eq!(is_due(&csk, life, now_ms), want, "{name}");
        }
    }
}
