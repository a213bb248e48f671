//! What an answer about a key means for the directory and the cache.
//!
//! Must never be true: a cached plaintext served of a version that an answer withdrew; more dropped
//! than that; a change that ended without a clear answer forgotten. Runs on the back end's thread.

use std::sync::Arc;

use crate::cache::{Cache, Family};
use crate::hsm::{Answer, HsmError, Request};
use crate::keys::{Directory, Learnt, Source};
use crate::net::time::Time;

use super::Outcome;

/// Waits with a job for its answer.
pub(super) struct Learner {
    keys: Arc<Directory>,
    cache: Arc<Cache>,
    name: Arc<str>,
    source: Source,
    time: Time,
    deletes: bool,
}

impl Learner {
    /// For the answer to `request` about the key `name`, which is about to be asked.
    pub(super) fn new(
        keys: Arc<Directory>,
        cache: Arc<Cache>,
        name: Arc<str>,
        request: &Request,
        time: Time,
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
            deletes: matches!(request, Request::Delete { .. }),
        }
    }

    /// Keeps what the answer says. During an outage the last known record goes on serving.
    pub(super) fn learn(&self, outcome: &Outcome) {
        match outcome {
            Ok(Answer::Key(Some(record))) => {
                let learnt = self
                    .keys
                    .learn(Arc::clone(record), self.source, self.time.now());
                if let Learnt::Changed { purge } = learnt
                    && !purge.is_empty()
                {
                    self.purge("changed in", &purge);
                }
            }
            Ok(Answer::Key(None)) => self.forget(),
            Err(HsmError::ObjectNotFound) if self.deletes => self.forget(),
            // The HSM may have done it: let the next request look.
            Err(
                HsmError::TimedOut
                | HsmError::Unavailable(_)
                | HsmError::Protocol(_)
                | HsmError::Abandoned,
            ) if matches!(self.source, Source::Change) => self.keys.doubt(&self.name),
            _ => {}
        }
    }

    fn forget(&self) {
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
