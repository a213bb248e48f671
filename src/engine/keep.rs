//! What the answer to an unwrap means for the cache: kept, or what is there dropped.
//!
//! Must never be true: an answer kept that was asked for before a purge; an entry left whose ciphertext
//! or key the HSM has just refused. Runs on the back end's thread.

use std::sync::Arc;

use crate::cache::{Cache, Digest, Family, FillEpoch};
use crate::hsm::{Answer, HsmError, KeyState, Request};
use crate::keys::Directory;
use crate::net::time::Time;
use crate::quota::Client;

use super::Engine;
use super::fetch::Wanted;
use super::refused::Refused;
use super::working_set::WorkingSet;

/// Waits with a job for its answer.
pub(super) struct Keeper {
    cache: Arc<Cache>,
    refused: Arc<Refused>,
    working_set: Arc<WorkingSet>,
    keys: Arc<Directory>,
    time: Time,
    name: Arc<str>,
    was_active: bool,
    digest: Digest,
    family: Family,
    epoch: FillEpoch,
}

impl Engine {
    /// Make it before the HSM is asked.
    pub(super) fn keeper(&self, wanted: &Wanted<'_>) -> Keeper {
        Keeper {
            cache: Arc::clone(&self.cache),
            refused: Arc::clone(&self.refused),
            working_set: Arc::clone(&self.working_set),
            keys: Arc::clone(&self.keys),
            time: self.time.clone(),
            name: Arc::clone(wanted.name),
            was_active: wanted.version.state == KeyState::Active,
            digest: wanted.digest,
            family: wanted.family,
            epoch: self.cache.begin_fill(wanted.family),
        }
    }
}

impl Wanted<'_> {
    /// What the HSM is asked.
    pub(super) fn request(&self) -> Request {
        Request::Decrypt {
            object: match self.context {
                [] => self.version.object.clone(),
                context => self.version.object.derived(context),
            },
            sealed: self.sealed.to_vec(),
            associated_data: self.associated_data.to_vec(),
        }
    }
}

impl Keeper {
    /// Keeps a plaintext within the share of `client`; one that replaces its own entry has no client,
    /// for it takes no more room than before.
    pub(super) fn keep(&self, outcome: &Result<Answer, HsmError>, client: Option<&Client>) {
        match outcome {
            Ok(Answer::Plaintext(key)) => {
                let now = self.time.now();
                self.working_set.note(&self.digest, now);
                if client.is_none_or(|client| client.may_fill(self.cache.len(), now)) {
                    self.cache
                        .insert(self.digest, self.family, key, self.epoch, now);
                }
            }
            other => self.note(other),
        }
    }

    /// Takes note of a refusal only.
    pub(super) fn note(&self, outcome: &Result<Answer, HsmError>) {
        match outcome {
            Err(HsmError::AuthenticationFailed) => {
                self.cache.forget(&self.digest);
                self.refused.insert(self.digest, self.time.now());
            }
            // The entry goes; whether the others of its version do is for the key's next lookup to tell.
            Err(HsmError::ObjectNotFound | HsmError::NotActive { .. } | HsmError::Rejected(_)) => {
                self.cache.forget(&self.digest);
                if self.was_active {
                    self.keys.doubt(&self.name);
                }
            }
            _ => {}
        }
    }
}
