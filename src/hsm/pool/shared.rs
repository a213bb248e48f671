//! What the seats, the scout and the sweep of one pool share.
//!
//! Must never be true: a completion called while one of the locks here is held. Called by the pool's
//! other parts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::HsmError;
use super::super::fleet::{Ending, Fleet, ServerId};
use super::check::HealthKey;
use super::{Connector, PoolPlan, Queued, SWEEP};
use crate::metrics::HsmMetrics;
use crate::net::lane::{Lane, Mark};
use crate::net::time::Time;

/// `SplitMix64`'s increment.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Default)]
pub(super) struct Status {
    /// Connections that stand.
    pub(super) live: usize,
    pub(super) was_up: bool,
    /// A state was logged.
    pub(super) known: bool,
    /// What the last connection said.
    pub(super) offers_random: bool,
    pub(super) detail: String,
}

pub(super) struct Shared {
    pub(super) plan: PoolPlan,
    pub(super) connector: Box<dyn Connector>,
    pub(super) fleet: Mutex<Fleet>,
    /// Counts how often the way to connect was changed.
    pub(super) epoch: AtomicU64,
    pub(super) lane: Lane<Queued>,
    /// Jobs that connections have taken and not yet settled.
    pub(super) under_way: Arc<AtomicUsize>,
    pub(super) time: Time,
    pub(super) metrics: HsmMetrics,
    pub(super) health_key: Arc<HealthKey>,
    /// State of the generator that spreads pauses; its numbers keep nothing secret.
    pub(super) spread: AtomicU64,
    pub(super) status: Mutex<Status>,
    pub(super) stopping: Mutex<bool>,
    pub(super) stopped: Condvar,
}

impl Shared {
    pub(super) fn new(
        plan: PoolPlan,
        connector: Box<dyn Connector>,
        time: Time,
        seed: u64,
    ) -> Arc<Self> {
        let servers = connector.servers();
        Arc::new(Self {
            lane: Lane::with_spare(plan.queue_max.max(1), plan.spare()).by(time.clone()),
            under_way: Arc::default(),
            time,
            metrics: HsmMetrics::default(),
            health_key: Arc::default(),
            spread: AtomicU64::new(seed),
            epoch: AtomicU64::new(0),
            fleet: Mutex::new(Fleet::new(servers, plan.batch_max)),
            plan,
            connector,
            status: Mutex::new(Status {
                detail: "not connected yet".into(),
                ..Status::default()
            }),
            stopping: Mutex::new(false),
            stopped: Condvar::new(),
        })
    }

    /// Answers expired jobs even while every thread waits for the HSM.
    pub(super) fn sweep(&self) {
        while !self.pause(SWEEP) {
            self.sweep_once();
        }
    }

    pub(super) fn sweep_once(&self) {
        let now = self.time.now();
        for queued in self.lane.expire(now) {
            self.count_wait(&queued, now);
            // One completion's panic must not leave the others without an end.
            let told = catch_unwind(AssertUnwindSafe(|| queued.fail(HsmError::TimedOut)));
            if told.is_err() {
                log::error!("telling a request of its end failed; this is a defect");
            }
        }
    }

    /// A job leaves the queue.
    pub(super) fn count_wait(&self, queued: &Queued, now: Instant) {
        if let Some(since) = queued.since {
            let waited = now.saturating_duration_since(since);
            self.metrics.waits.observe_time(waited);
        }
    }

    pub(super) fn since(&self, then: Instant) -> Duration {
        self.time.now().saturating_duration_since(then)
    }

    /// A random share of a pause, so that many threads and nodes do not knock at once.
    pub(super) fn share(&self) -> u8 {
        let mixed = self.spread.fetch_add(GOLDEN, Ordering::Relaxed);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let [share, ..] = (mixed ^ (mixed >> 27)).to_be_bytes();
        share
    }

    /// Between half of `time` and all of it.
    pub(super) fn spread(&self, time: Duration) -> Duration {
        time / 2 + time / 2 * u32::from(self.share()) / 255
    }

    /// An attempt to connect failed; why, with the server's name.
    pub(super) fn note_refusal(&self, server: ServerId, why: &str) -> String {
        self.metrics.connect_failed.bump();
        let share = self.share();
        let mut fleet = self.fleet.lock();
        let why = format!("{}: {why}", fleet.label(server));
        log::debug!("{}: {why}", self.plan.name);
        fleet.refused(server, &why, share, self.time.now());
        why
    }

    /// A connection ended.
    pub(super) fn note_end(&self, server: ServerId, ending: Ending, why: &str) {
        if ending == Ending::Fault {
            self.metrics.broken.bump();
        }
        let (share, now) = (self.share(), self.time.now());
        self.fleet.lock().ended(server, ending, why, share, now);
        self.lost(why);
    }

    /// Sleeps; true when the pool is stopping.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let mut stopping = self.stopping.lock();
        if !*stopping {
            self.stopped.wait_for(&mut stopping, time);
        }
        *stopping
    }

    pub(super) fn went_up(&self, what: String, offers_random: bool) {
        self.metrics.connected.bump();
        let mut status = self.status.lock();
        status.offers_random = offers_random;
        if status.live == 0 {
            log::info!("{}: connected to {what}", self.plan.name);
        }
        status.live += 1;
        status.was_up = true;
        status.known = true;
        status.detail = what;
    }

    pub(super) fn lost(&self, why: &str) {
        let mut status = self.status.lock();
        status.live = status.live.saturating_sub(1);
        if status.live > 0 {
            let left = status.live;
            log::debug!(
                "{}: a connection ended, {left} stand: {why}",
                self.plan.name
            );
        } else if self.lane.is_closed() {
            status.detail = why.into();
        } else {
            log::warn!("{}: not available: {why}", self.plan.name);
            status.detail = why.into();
        }
    }

    /// Every server has refused. Unless a connection stands, gives the jobs that were queued before
    /// the last attempt began: they have nothing to wait for.
    pub(super) fn refused(&self, why: &str, mark: Mark) -> Vec<Queued> {
        let mut status = self.status.lock();
        if status.live > 0 {
            return Vec::new();
        }
        if !status.known {
            log::warn!("{}: not available: {why}", self.plan.name);
        }
        status.known = true;
        status.detail = why.into();
        self.lane.take_before(mark)
    }
}
