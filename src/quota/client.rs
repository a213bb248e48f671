//! One client: a certificate at an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::shares::Fills;
use super::{Common, Over};

const SECOND_NS: u64 = 1_000_000_000;

/// What one client has, has spent and has waiting.
#[derive(Debug)]
pub struct Client {
    tag: u32,
    common: Arc<Common>,
    /// Items that wait for the HSM.
    waiting: AtomicUsize,
    /// When its second's worth of items is whole again, in nanoseconds since the start. Ahead of now
    /// by up to a second: so much is spent; further: a batch was let through on credit.
    whole_at_ns: AtomicU64,
    fills: Mutex<Fills>,
}

impl Client {
    pub(super) fn new(tag: u32, common: Arc<Common>) -> Self {
        Self {
            tag,
            common,
            waiting: AtomicUsize::new(0),
            whole_at_ns: AtomicU64::new(0),
            fills: Mutex::default(),
        }
    }

    /// Tells its jobs from those of others; never 0.
    pub fn tag(&self) -> u32 {
        self.tag
    }

    /// Spends `items` of the client's items a second. Without a rate it is one relaxed load.
    ///
    /// A second's worth may be spent at once. A batch larger than that needs a second's worth and
    /// takes the rest on credit: otherwise it could never be asked.
    #[inline]
    pub fn spend(&self, items: usize, now: Instant) -> Result<(), Over> {
        match self.common.limits.rate.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ if items == 0 => Ok(()),
            rate => self.spend_of(rate, items, now),
        }
    }

    #[cold]
    fn spend_of(&self, rate: usize, items: usize, now: Instant) -> Result<(), Over> {
        let nanos = |items: usize| (items as u64).saturating_mul(SECOND_NS) / rate as u64;
        let now_ns = self.common.nanos(now);
        let mut held = self.whole_at_ns.load(Ordering::Relaxed);
        loop {
            let from = held.max(now_ns);
            let wait_ns = from
                .saturating_add(nanos(items.min(rate)))
                .saturating_sub(now_ns.saturating_add(SECOND_NS));
            if wait_ns > 0 {
                let retry_after_s = wait_ns.div_ceil(SECOND_NS);
                return Err(Over::Rate {
                    limit: rate,
                    retry_after_s: u32::try_from(retry_after_s).unwrap_or(u32::MAX),
                });
            }
            let next = from.saturating_add(nanos(items));
            match self.whole_at_ns.compare_exchange_weak(
                held,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => held = other,
            }
        }
    }

    /// Has `held` count `items` of this client as waiting for the HSM; no less than it counts already.
    ///
    /// A request with more items than the limit passes when the client has nothing else waiting.
    pub fn hold(self: &Arc<Self>, held: &mut Held, items: usize) -> Result<(), Over> {
        let more = items.saturating_sub(held.items);
        if more == 0 {
            return Ok(());
        }
        let limit = self.common.limits.inflight.load(Ordering::Relaxed);
        let before = self.waiting.fetch_add(more, Ordering::Relaxed);
        if before > held.items && before + more > limit {
            self.waiting.fetch_sub(more, Ordering::Relaxed);
            return Err(Over::Inflight { limit });
        }
        held.items = items;
        held.client.get_or_insert_with(|| Arc::clone(self));
        Ok(())
    }

    /// Items that wait for the HSM now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether a plaintext that this client had fetched may enter the cache, which holds `cache_len`.
    pub fn may_fill(&self, cache_len: usize, now: Instant) -> bool {
        let now_ns = self.common.nanos(now);
        let mut fills = self.fills.lock();
        self.common.shares.admit(&mut fills, cache_len, now_ns)
    }

    /// Whether nothing would be gained by being a new client.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        let now_ns = self.common.nanos(now);
        self.whole_at_ns.load(Ordering::Relaxed) <= now_ns
            && self.waiting() == 0
            && self.common.shares.is_over(&self.fills.lock(), now_ns)
    }
}

/// Items of one request that are counted as waiting, until this is dropped.
#[derive(Debug, Default)]
pub struct Held {
    client: Option<Arc<Client>>,
    items: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.waiting.fetch_sub(self.items, Ordering::Relaxed);
        }
    }
}
