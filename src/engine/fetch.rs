//! What the cache does not have: jobs to the HSM, one for each flight.
//!
//! Each completion runs on the back end's thread: it keeps what was learnt first (cache, directory,
//! refusals) and then completes the flight, so that whoever looks next finds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::api::Fault;
use crate::cache::{Cache, Digest, Family};
use crate::flight::{Joined, Lead};
use crate::hsm::{Answer, ClientTag, HsmError, Job, KeyVersion, Request};
use crate::keys::{Directory, Learnt};
use crate::secret::{SecretBytes, SecretKey};

use super::gather::{Item, KEY_ITEM, KeyAnswer};
use super::{Call, Engine, FlightKey, Gather, Outcome, Waiter, faults};

/// An unwrap to fetch.
pub(super) struct Wanted<'a> {
    pub digest: Digest,
    pub family: Family,
    pub version: &'a KeyVersion,
    pub sealed: &'a [u8],
    pub associated_data: &'a [u8],
}

impl Engine {
    /// Looks a key up at the HSM; the ticket goes to [`KEY_ITEM`].
    pub(super) fn fetch_key(&self, call: &Call<'_>, name: &str, gather: &mut Gather) {
        if let Err(fault) = hold(call, gather) {
            gather.key = KeyAnswer::Failed(fault);
            return;
        }
        let name: Arc<str> = name.into();
        let waiter = Waiter {
            item: KEY_ITEM,
            ..call.waiter
        };
        match self
            .flights
            .join(FlightKey::Key(Arc::clone(&name)), waiter, || None::<()>)
        {
            Ok(Joined::Lead(lead)) => {
                gather.await_key(true);
                self.submit_key(
                    Request::Find {
                        name: Arc::clone(&name),
                    },
                    name,
                    call,
                    lead,
                );
            }
            Ok(Joined::Waiting) => gather.await_key(false),
            Ok(Joined::Full(_)) | Err(()) => {
                gather.key = KeyAnswer::Failed(faults::of(&HsmError::Overloaded));
            }
        }
    }

    /// Creates a key at the HSM, or finds the one that is there; the ticket goes to [`KEY_ITEM`].
    pub(super) fn create_at_hsm(&self, call: &Call<'_>, name: &str, gather: &mut Gather) {
        if let Err(fault) = hold(call, gather) {
            gather.key = KeyAnswer::Failed(fault);
            return;
        }
        let name: Arc<str> = name.into();
        let waiter = Waiter {
            item: KEY_ITEM,
            ..call.waiter
        };
        match self.flights.join(self.alone(), waiter, || None::<()>) {
            Ok(Joined::Lead(lead)) => {
                gather.await_key(true);
                self.submit_key(
                    Request::Create {
                        name: Arc::clone(&name),
                    },
                    name,
                    call,
                    lead,
                );
            }
            _ => gather.key = KeyAnswer::Failed(faults::of(&HsmError::Overloaded)),
        }
    }

    /// Looks a known key up again; nobody waits for it.
    pub(super) fn refresh_key(&self, call: &Call<'_>, name: &str) {
        let name: Arc<str> = name.into();
        let (keys, cache) = (Arc::clone(&self.keys), Arc::clone(&self.cache));
        self.hsm.submit(Job {
            request: Request::Find {
                name: Arc::clone(&name),
            },
            deadline: call.deadline,
            client: ClientTag::default(),
            sent: None,
            done: Box::new(move |outcome| learn(&keys, &cache, &name, &outcome)),
        });
    }

    fn submit_key(
        &self,
        request: Request,
        name: Arc<str>,
        call: &Call<'_>,
        lead: Lead<FlightKey, Waiter, Outcome>,
    ) {
        let (keys, cache) = (Arc::clone(&self.keys), Arc::clone(&self.cache));
        self.hsm.submit(Job {
            request,
            deadline: call.deadline,
            client: call.client,
            sent: call.sent.clone(),
            done: Box::new(move |outcome| {
                learn(&keys, &cache, &name, &outcome);
                lead.finish(outcome);
            }),
        });
    }

    /// Fetches an unwrap, or joins its flight, or finds that it has just become ready.
    pub(super) fn fetch_plaintext(
        &self,
        call: &Call<'_>,
        index: usize,
        wanted: &Wanted<'_>,
        gather: &mut Gather,
    ) {
        if let Err(fault) = hold(call, gather) {
            gather.items[index] = Item::Failed(fault);
            return;
        }
        let version = wanted.version.number;
        let ready = || -> Option<SecretKey> { self.cache.get(&wanted.digest, call.now) };
        let waiter = item_waiter(call, index);
        let counters = self.metrics.worker(call.waiter.worker);
        match self
            .flights
            .join(FlightKey::Unwrap(wanted.digest), waiter, ready)
        {
            Err(key) => {
                counters.hits.bump();
                gather.items[index] = Item::Plaintext(key);
            }
            Ok(Joined::Waiting) => {
                counters.joins.bump();
                gather.await_item(index, version, false);
            }
            Ok(Joined::Full(_)) => {
                gather.items[index] = Item::Failed(faults::of(&HsmError::Overloaded));
            }
            Ok(Joined::Lead(lead)) => {
                counters.misses.bump();
                gather.await_item(index, version, true);
                self.submit_unwrap(call, wanted, lead);
            }
        }
    }

    fn submit_unwrap(
        &self,
        call: &Call<'_>,
        wanted: &Wanted<'_>,
        lead: Lead<FlightKey, Waiter, Outcome>,
    ) {
        let (cache, refused) = (Arc::clone(&self.cache), Arc::clone(&self.refused));
        let (digest, family) = (wanted.digest, wanted.family);
        let epoch = cache.begin_fill(family);
        let quota = Arc::clone(call.quota);
        self.hsm.submit(Job {
            request: Request::Decrypt {
                object: wanted.version.object.clone(),
                sealed: wanted.sealed.to_vec(),
                associated_data: wanted.associated_data.to_vec(),
            },
            deadline: call.deadline,
            client: call.client,
            sent: call.sent.clone(),
            done: Box::new(move |outcome| {
                match &outcome {
                    Ok(Answer::Plaintext(key)) => {
                        let now = Instant::now();
                        if quota.may_fill(cache.len(), now) {
                            cache.insert(digest, family, key, epoch, now);
                        }
                    }
                    Err(HsmError::AuthenticationFailed) => refused.insert(digest, Instant::now()),
                    _ => {}
                }
                lead.finish(outcome);
            }),
        });
    }

    /// Has the HSM wrap a plaintext. The result never fills the cache: a client that verifies by
    /// unwrapping must learn now, not after the TTL, if the HSM returned a bad ciphertext.
    pub(super) fn fetch_sealed(
        &self,
        call: &Call<'_>,
        index: usize,
        version: &KeyVersion,
        plaintext: SecretBytes,
        associated_data: Vec<u8>,
        gather: &mut Gather,
    ) {
        if let Err(fault) = hold(call, gather) {
            gather.items[index] = Item::Failed(fault);
            return;
        }
        match self
            .flights
            .join(self.alone(), item_waiter(call, index), || None::<()>)
        {
            Ok(Joined::Lead(lead)) => {
                gather.await_item(index, version.number, true);
                self.hsm.submit(Job {
                    request: Request::Encrypt {
                        object: version.object.clone(),
                        plaintext,
                        associated_data,
                    },
                    deadline: call.deadline,
                    client: call.client,
                    sent: call.sent.clone(),
                    done: Box::new(move |outcome| lead.finish(outcome)),
                });
            }
            _ => gather.items[index] = Item::Failed(faults::of(&HsmError::Overloaded)),
        }
    }

    fn alone(&self) -> FlightKey {
        FlightKey::Alone(self.alone.fetch_add(1, Ordering::Relaxed))
    }
}

/// Counts the request's items as waiting for the HSM, all of them from the first one that does; they
/// are until it is answered.
fn hold(call: &Call<'_>, gather: &mut Gather) -> Result<(), Fault> {
    let items = gather.items.len().max(1);
    Ok(call.quota.hold(&mut gather.held, items)?)
}

fn item_waiter(call: &Call<'_>, index: usize) -> Waiter {
    // Batches are bounded by limits::BATCH_ITEMS_MAX, far below KEY_ITEM.
    Waiter {
        item: u32::try_from(index).unwrap_or(KEY_ITEM - 1),
        ..call.waiter
    }
}

/// Keeps what an answer about a key says. Failures change nothing: during an outage the last known
/// record goes on serving.
fn learn(keys: &Directory, cache: &Cache, name: &str, outcome: &Outcome) {
    match outcome {
        Ok(Answer::Key(Some(record))) => {
            if let Learnt::Changed(family) = keys.learn(Arc::clone(record), Instant::now()) {
                log::info!("key {name} changed in the HSM; its cached plaintexts are dropped");
                cache.purge_family(family);
            }
        }
        Ok(Answer::Key(None)) => {
            if let Some(family) = keys.forget(name) {
                log::warn!("key {name} is gone from the HSM; its cached plaintexts are dropped");
                cache.purge_family(family);
            }
        }
        _ => {}
    }
}
