//! Entries in use are fetched anew before their life is over, in the HSM's spare capacity; and those
//! whose life is over are served while the HSM is not reachable, if the site wants that.
//!
//! Must never be true: such a fetch before a client's, or counted to one; a stale plaintext served while
//! the HSM answers, after a purge, or of a version that is not active. Called by `decrypt` and `fetch`.

use std::sync::Arc;

use crate::api::Fault;
use crate::cache::{Age, Digest};
use crate::hsm::{Errand, HsmError, Job, KeyState};
use crate::secret::SecretKey;

use super::fetch::{Purpose, Wanted};
use super::{Brought, Call, Engine, FlightKey, sharing};

impl Engine {
    /// The entry if it is ready, counted as a hit.
    pub(super) fn ready(
        &self,
        call: &Call<'_>,
        wanted: &Wanted<'_>,
        purpose: Purpose,
    ) -> Option<SecretKey> {
        if !self.serves_own() {
            return None;
        }
        if purpose == Purpose::Rewrap {
            let key = self.cache.get(&wanted.digest, call.now)?;
            self.metrics.worker(call.waiter.worker).hits.bump();
            return Some(key);
        }
        let (key, age) = self.cache.get_aged(&wanted.digest, call.now)?;
        self.hit(call, wanted, age);
        Some(key)
    }

    /// Counts a hit, and has the entry fetched anew if that is due.
    #[inline]
    pub(super) fn hit(&self, call: &Call<'_>, wanted: &Wanted<'_>, age: Age) {
        let counters = self.metrics.worker(call.waiter.worker);
        counters.hits.bump();
        if let Some(part) = counters.hits_by_life.get(age.part_left) {
            part.bump();
        }
        self.refresh_if_due(call, wanted, age);
    }

    /// Has the entry fetched anew if that is due.
    #[inline]
    pub(super) fn refresh_if_due(&self, call: &Call<'_>, wanted: &Wanted<'_>, age: Age) {
        if age.refresh {
            self.refresh(call, wanted);
        }
    }

    /// Asks for the entry anew, for nobody. A client that misses it meanwhile joins.
    #[cold]
    fn refresh(&self, call: &Call<'_>, wanted: &Wanted<'_>) {
        let flight = FlightKey::Unwrap(wanted.digest);
        let Some(lead) = self.flights.begin(flight.clone()) else {
            return;
        };
        let (keeper, metrics) = (self.keeper(wanted), Arc::clone(&self.metrics));
        let (place, time) = (self.place_of(call, wanted), self.time.clone());
        let done = Box::new(move |outcome| {
            keeper.keep(&outcome, None);
            sharing::put(&place, &outcome, &time);
            match &outcome {
                Ok(_) => metrics.refreshes.bump(),
                Err(HsmError::GaveWay) => metrics.refreshes_given_up.bump(),
                Err(_) => metrics.refreshes_failed.bump(),
            }
            lead.finish(outcome.map(Brought::Hsm));
        });
        let job = Job::new(wanted.request(), call.deadline, done);
        self.hsm.submit_spare(errand(wanted.digest), job);
        // Who joined before the job was queued could not raise it.
        if self.flights.is_awaited(&flight) {
            self.raise(call, wanted);
        }
    }

    /// Somebody waits now for what was fetched for nobody.
    pub(super) fn raise(&self, call: &Call<'_>, wanted: &Wanted<'_>) {
        self.hsm
            .raise(errand(wanted.digest), call.client, call.deadline);
    }

    /// Whether the site wants entries to serve after their life.
    pub(super) fn keeps_stale(&self) -> bool {
        !self.cache.stale_max().is_zero()
    }

    /// An entry whose life is over, if the HSM is known to be out of reach: nobody need find out again.
    pub(super) fn stale_while_down(
        &self,
        call: &Call<'_>,
        wanted: &Wanted<'_>,
        purpose: Purpose,
    ) -> Option<SecretKey> {
        if purpose != Purpose::Decrypt || !self.keeps_stale() || self.hsm.health().up {
            return None;
        }
        self.stale(call, wanted)
    }

    /// An entry whose life is over; for a request that the HSM did not answer. A version that is known
    /// not to be active any more is not served so, whatever the HSM would have done.
    pub(super) fn stale(&self, call: &Call<'_>, wanted: &Wanted<'_>) -> Option<SecretKey> {
        if wanted.version.state != KeyState::Active || !self.serves_own() {
            return None;
        }
        let key = self.cache.get_stale(&wanted.digest, call.now)?;
        self.metrics.worker(call.waiter.worker).stale.bump();
        Some(key)
    }
}

/// Flights of unwraps have a digest each, so no two jobs have the same.
fn errand(digest: Digest) -> Errand {
    Errand(u128::from_le_bytes(digest.0))
}

/// Whether `error` says that the HSM was not reached, and not that it refused.
pub(super) fn is_outage(error: &HsmError) -> bool {
    matches!(error, HsmError::Unavailable(_) | HsmError::TimedOut)
}

/// What an item becomes that the HSM was not reached for.
pub(super) fn served_or(stale: Option<SecretKey>, fault: Fault) -> super::gather::Item {
    match stale {
        Some(key) => super::gather::Item::Stale(key),
        None => super::gather::Item::Failed(fault),
    }
}
