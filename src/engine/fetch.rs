//! What the cache does not have: jobs to the HSM, one for each flight.
//!
//! Each completion runs on the back end's thread: it keeps what was learnt first (cache, directory,
//! refusals) and then completes the flight, so that whoever looks next finds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::Fault;
use crate::cache::{Digest, Family};
use crate::flight::{Joined, Lead};
use crate::hsm::{Answer, HsmError, Job, KeyVersion, Request};
use crate::secret::{SecretBytes, SecretKey};

use super::crypt::Sealer;
use super::gather::{Item, KEY_ITEM, KeyAnswer, Wants};
use super::learn::Learner;
use super::sharing::Announcer;
use super::{Brought, Call, Engine, FlightKey, Flow, Gather, Outcome, Waiter, faults};

/// An unwrap to fetch.
pub(super) struct Wanted<'a> {
    /// Of the key.
    pub name: &'a Arc<str>,
    pub digest: Digest,
    pub family: Family,
    pub version: &'a KeyVersion,
    pub sealed: &'a [u8],
    pub associated_data: &'a [u8],
    /// Empty, save for derived keys.
    pub context: &'a [u8],
}

/// What an unwrap is fetched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// To be answered: the cache keeps it.
    Decrypt,
    /// To be wrapped anew: a run over all of a client's keys would flush the cache with what nobody asks
    /// for again, so the cache is read and not filled. Nor is the flight shared with those that fill.
    Rewrap,
}

impl Engine {
    /// Looks a key up at the HSM; the ticket goes to [`KEY_ITEM`].
    pub(super) fn fetch_key(
        &self,
        call: &Call<'_>,
        name: &str,
        gather: &mut Gather,
    ) -> Result<(), Fault> {
        hold(call, gather)?;
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
                let request = Request::Find {
                    name: Arc::clone(&name),
                };
                self.submit_key(call, name, request, lead);
            }
            Ok(Joined::Waiting | Joined::WaitingFirst) => gather.await_key(false),
            Ok(Joined::Full(_)) | Err(()) => {
                gather.key = KeyAnswer::Failed(HsmError::Overloaded);
            }
        }
        Ok(())
    }

    /// Has the HSM create, change or delete a key; nobody shares that. The ticket goes to [`KEY_ITEM`].
    pub(super) fn change_key(
        &self,
        call: &Call<'_>,
        name: &str,
        request: impl FnOnce(Arc<str>) -> Request,
        gather: &mut Gather,
    ) -> Result<Flow, Fault> {
        hold(call, gather)?;
        let name: Arc<str> = name.into();
        let waiter = Waiter {
            item: KEY_ITEM,
            ..call.waiter
        };
        match self.flights.join(self.alone(), waiter, || None::<()>) {
            Ok(Joined::Lead(lead)) => {
                gather.changed = true;
                gather.await_key(true);
                self.submit_key(call, Arc::clone(&name), request(name), lead);
                Ok(Flow::Parked)
            }
            _ => Err(faults::of(&HsmError::Overloaded)),
        }
    }

    /// Looks a known key up again; nobody waits for it.
    pub(super) fn refresh_key(&self, call: &Call<'_>, name: &str) {
        let name: Arc<str> = name.into();
        let request = Request::Find {
            name: Arc::clone(&name),
        };
        let learner = self.learner(name, &request);
        self.hsm.submit(Job::new(
            request,
            call.deadline,
            Box::new(move |outcome| learner.learn(&outcome)),
        ));
    }

    fn submit_key(
        &self,
        call: &Call<'_>,
        name: Arc<str>,
        request: Request,
        lead: Lead<FlightKey, Waiter, Outcome>,
    ) {
        let learner = self.learner(name, &request);
        self.submit(call, request, move |outcome| {
            learner.learn(&outcome);
            lead.finish(outcome.map(Brought::Hsm));
        });
    }

    fn learner(&self, name: Arc<str>, request: &Request) -> Learner {
        Learner::new(
            Arc::clone(&self.keys),
            Arc::clone(&self.cache),
            name,
            request,
            self.time.clone(),
            Announcer::of(self),
        )
    }

    /// Submits a job of `call`.
    pub(super) fn submit(
        &self,
        call: &Call<'_>,
        request: Request,
        done: impl FnOnce(Result<Answer, HsmError>) + Send + 'static,
    ) {
        if is_an_operation(&request) {
            self.metrics.worker(call.waiter.worker).others.bump();
        }
        self.hsm.submit(Job {
            request,
            deadline: call.deadline,
            client: call.client,
            sent: call.sent.clone(),
            done: Box::new(done),
        });
    }

    /// Fetches an unwrap, or joins its flight, or finds that it has just become ready.
    pub(super) fn fetch_plaintext(
        &self,
        call: &Call<'_>,
        index: usize,
        wanted: &Wanted<'_>,
        purpose: Purpose,
        gather: &mut Gather,
    ) {
        if let Err(fault) = hold(call, gather) {
            gather.items[index] = Item::Failed(fault);
            return;
        }
        let version = wanted.version.number;
        let ready = || -> Option<SecretKey> { self.ready(call, wanted, purpose) };
        let wants = match purpose {
            Purpose::Decrypt if self.keeps_stale() => Wants::PlaintextOrStale,
            _ => Wants::Plaintext,
        };
        let waiter = item_waiter(call, index);
        let counters = self.metrics.worker(call.waiter.worker);
        let flight = match purpose {
            Purpose::Decrypt => FlightKey::Unwrap(wanted.digest),
            Purpose::Rewrap => FlightKey::Rewrap(wanted.digest),
        };
        match self.flights.join(flight, waiter, ready) {
            Err(key) => gather.items[index] = Item::Plaintext(key),
            Ok(Joined::Waiting) => {
                counters.joins.bump();
                gather.await_item(index, wants, version, false);
            }
            Ok(Joined::WaitingFirst) => {
                counters.joins.bump();
                gather.await_item(index, wants, version, false);
                self.raise(call, wanted);
            }
            Ok(Joined::Full(_)) => {
                gather.items[index] = Item::Failed(faults::of(&HsmError::Overloaded));
            }
            Ok(Joined::Lead(lead)) => {
                counters.misses.bump();
                gather.await_item(index, wants, version, true);
                self.submit_unwrap(call, wanted, purpose, lead);
            }
        }
    }

    /// Has the HSM wrap a plaintext. The result never fills the cache: a client that verifies by
    /// unwrapping must learn now, not after the TTL, if the HSM returned a bad ciphertext.
    pub(super) fn fetch_sealed(
        &self,
        call: &Call<'_>,
        index: usize,
        sealer: Sealer,
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
                gather.await_item(index, Wants::Sealed, sealer.version, true);
                let request = Request::Encrypt {
                    object: sealer.object,
                    plaintext,
                    associated_data,
                };
                let (keys, name) = (Arc::clone(&self.keys), sealer.name);
                self.submit(call, request, move |outcome| {
                    // Another node, or whoever else has access, may have changed the key.
                    if let Err(
                        HsmError::ObjectNotFound | HsmError::Rejected(_) | HsmError::Declined(_),
                    ) = &outcome
                    {
                        keys.doubt(&name);
                    }
                    lead.finish(outcome.map(Brought::Hsm));
                });
            }
            _ => gather.items[index] = Item::Failed(faults::of(&HsmError::Overloaded)),
        }
    }

    pub(super) fn alone(&self) -> FlightKey {
        FlightKey::Alone(self.alone.fetch_add(1, Ordering::Relaxed))
    }
}

/// Counts the request's items as waiting for the HSM, all of them from the first one that does; they
/// are until it is answered.
pub(super) fn hold(call: &Call<'_>, gather: &mut Gather) -> Result<(), Fault> {
    let items = gather.items.len().max(1);
    Ok(call.quota.hold(&mut gather.held, items)?)
}

/// Whether the job is what a client asked for; unwraps are counted by where their plaintext came from, and
/// lookups of keys and random bytes belong to another operation.
fn is_an_operation(request: &Request) -> bool {
    !matches!(
        request,
        Request::Decrypt { .. } | Request::Find { .. } | Request::Random { .. }
    )
}

pub(super) fn item_waiter(call: &Call<'_>, index: usize) -> Waiter {
    // Batches are bounded by limits::BATCH_ITEMS_MAX, far below KEY_ITEM.
    Waiter {
        item: u32::try_from(index).unwrap_or(KEY_ITEM - 1),
        ..call.waiter
    }
}
