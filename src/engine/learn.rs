//! What an answer about a key means for the directory and the cache.
//!
//! Must never be true: a cached plaintext served of a version that an answer withdrew; more dropped
//! than that; a change that ended without a clear answer forgotten. Runs on the back end's thread.

use std::sync::Arc;

use crate::cache::{Cache, Family};
use crate::hsm::{Answer, HsmError, Request};
use crate::keys::{Directory, Learnt, Source};
use crate::net::time::Time;

use super::sharing::Announcer;

/// Waits with a job for its answer.
pub(super) struct Learner {
    keys: Arc<Directory>,
    cache: Arc<Cache>,
    name: Arc<str>,
    source: Source,
    time: Time,
    change: Change,
    announcer: Announcer,
}

/// What the request does to the key, as far as other nodes go.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Change {
    /// Nothing that they need to know.
    None,
    /// A new version.
    Grows,
    /// Minimum versions perhaps.
    Configures,
    Deletes,
}

impl Learner {
    /// For the answer to `request` about the key `name`, which is about to be asked.
    pub(super) fn new(
        keys: Arc<Directory>,
        cache: Arc<Cache>,
        name: Arc<str>,
        request: &Request,
        time: Time,
        announcer: Announcer,
    ) -> Self {
        let source = match request {
            Request::Find { .. } => Source::Lookup { asked: time.now() },
            _ => Source::Change,
        };
        Self {
            keys,
            cache,
            name,
            source,
            time,
            change: match request {
                Request::Rotate { .. } => Change::Grows,
                Request::Configure { .. } => Change::Configures,
                Request::Delete { .. } => Change::Deletes,
                _ => Change::None,
            },
            announcer,
        }
    }

    /// Keeps what the answer says, and tells the other nodes of a change. During an outage the last known record
    /// goes on serving.
    pub(super) fn learn(&self, outcome: &Result<Answer, HsmError>) {
        match outcome {
            Ok(Answer::Key(Some(record))) => {
                let learnt = self
                    .keys
                    .learn(Arc::clone(record), self.source, self.time.now());
                self.announce(&learnt);
                if let Learnt::Changed { purge } = learnt
                    && !purge.is_empty()
                {
                    self.purge("changed in", &purge);
                }
            }
            Ok(Answer::Key(None)) => self.forget(),
            Err(HsmError::ObjectNotFound) if self.change == Change::Deletes => self.forget(),
            // The HSM may have done it: let the next request look.
            Err(
                HsmError::TimedOut
                | HsmError::Unavailable(_)
                | HsmError::Protocol(_)
                | HsmError::Abandoned,
            ) if matches!(self.source, Source::Change) => {
                self.keys.doubt(&self.name);
                if self.change != Change::None {
                    self.announcer.withdrawn(&self.name);
                }
            }
            _ => {}
        }
    }

    /// Where nothing was withdrawn the others need only look; what is new to this node may not be to them.
    fn announce(&self, learnt: &Learnt) {
        let withdrawn = match learnt {
            Learnt::Changed { purge } => !purge.is_empty(),
            Learnt::Same => false,
            Learnt::New | Learnt::Outdated | Learnt::Full => self.change == Change::Configures,
        };
        match self.change {
            Change::None => {}
            _ if withdrawn => self.announcer.withdrawn(&self.name),
            _ => self.announcer.grown(&self.name),
        }
    }

    fn forget(&self) {
        if self.change == Change::Deletes {
            self.announcer.withdrawn(&self.name);
        }
        if let Some(families) = self.keys.forget(&self.name, self.source) {
            self.purge("is gone from", &families);
        }
    }

    fn purge(&self, what: &str, families: &[Family]) {
        log::info!(
            "key {} {what} the HSM; the cached plaintexts of {} of its versions are dropped",
            self.name,
            families.len()
        );
        for family in families {
            self.cache.purge_family(*family);
        }
    }
}
