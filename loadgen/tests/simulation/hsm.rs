//! The HSMs of one simulated site, and the network to them.
//!
//! All servers are front doors of one cluster: they share the keys and each has faults of its own. A
//! link's read moves the pool's clock to the arrival of the answer; nothing else moves it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kms::hsm::Envelope;
use kms::hsm::kmip::{DIAL_MAX, Link, LinkError, Session};
use kms::hsm::pool::{Connector, Session as PoolSession};
use kms::hsm::store::Store;
use kms::net::time::{Hand, Time};
use kms::wire::kmip::enums::{
    cryptographic_algorithm, cryptographic_usage_mask, object_type, revocation_reason_code,
};
use kms::wire::kmip::{KeyAttributes, decode_request};
use kms_loadgen::sim::fault::{FaultKind, Faults};
use kms_loadgen::sim::hsm::Hsm;
use kms_loadgen::sim::plan::{Moment, Session as Memory, Verdict};
use kms_loadgen::sim::station::{Admission, Station};
use kms_loadgen::sim::{HsmPlan, version_of};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::plan::{MS, Outage, Plan, Server, Window};
use crate::trace::note;

/// Seconds since 1970 at the start.
pub const UNIX_S: u32 = 1_800_000_000;

struct Door {
    plan: Server,
    station: Station,
    faults: Faults,
    /// Orders of the plan given so far.
    ordered: usize,
}

/// The cluster.
pub struct Cluster {
    pub hsm: Hsm,
    doors: Vec<Door>,
    time: Time,
    hand: Hand,
    start: Instant,
    random: SmallRng,
    /// Connections that stand, as far as the server side knows.
    pub links: usize,
    connections: u64,
}

pub type SharedCluster = Arc<Mutex<Cluster>>;

pub fn lock(cluster: &SharedCluster) -> MutexGuard<'_, Cluster> {
    cluster
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Cluster {
    pub fn new(plan: &mut Plan, keys: &[&str], start: Instant) -> (SharedCluster, Time, Hand) {
        let hsm_plan = HsmPlan {
            seed: plan.seed,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            version_max: version_of(plan.highest).unwrap(),
            ..HsmPlan::default()
        };
        let doors = std::mem::take(&mut plan.servers).into_iter().enumerate();
        let seed = plan.seed;
        let door = |(at, mut plan): (usize, Server)| {
            plan.orders.sort_by_key(|(from_ns, _)| *from_ns);
            Door {
                station: Station::new(plan.model.clone(), seed ^ at as u64),
                faults: Faults::new(seed ^ at as u64),
                ordered: 0,
                plan,
            }
        };
        let (time, hand) = Time::simulated(start);
        let cluster = Self {
            hsm: Hsm::new(&hsm_plan, moment(0)).unwrap(),
            doors: doors.map(door).collect(),
            time: time.clone(),
            hand: hand.clone(),
            start,
            random: SmallRng::seed_from_u64(seed ^ 0x006e_6574),
            links: 0,
            connections: 0,
        };
        (Arc::new(Mutex::new(cluster)), time, hand)
    }

    /// Another node makes a version.
    pub fn rotate(&mut self, name: &str) {
        let usage = cryptographic_usage_mask::ENCRYPT | cryptographic_usage_mask::DECRYPT;
        let attributes = KeyAttributes {
            name: Some(name),
            cryptographic_algorithm: Some(cryptographic_algorithm::AES),
            cryptographic_usage_mask: Some(usage),
            ..KeyAttributes::default()
        };
        let made = self
            .hsm
            .store
            .create(object_type::SYMMETRIC_KEY, &attributes, 0);
        // Somebody may have been faster.
        if let Ok(at) = made {
            self.hsm.store.activate(at, 0).unwrap();
        }
    }

    /// An operator ends the use of a version.
    pub fn deactivate(&mut self, name: &str) {
        let store = &mut self.hsm.store;
        let mut named = (0..store.len()).filter(|at| {
            store
                .get(*at)
                .is_some_and(|object| object.name.as_deref() == Some(name))
        });
        let at = named.next().unwrap();
        drop(named);
        // It may have been done before.
        let _ = store.revoke(at, revocation_reason_code::CESSATION_OF_OPERATION);
    }

    fn ns(&self) -> u64 {
        let since = self.hand.now().duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap()
    }

    fn set_ns(&self, ns: u64) {
        self.hand.set(self.start + Duration::from_nanos(ns));
    }

    /// Whether no server can be reached now.
    pub fn is_away(&self) -> bool {
        let ns = self.ns();
        let mut doors = 0..self.doors.len();
        doors.all(|door| {
            let away = self.window(door, |window| window.covers(ns));
            away.is_some_and(|window| window.outage != Outage::Stall)
        })
    }

    fn deadline_ns(&self, deadline: Instant) -> u64 {
        let left = deadline.saturating_duration_since(self.start);
        u64::try_from(left.as_nanos()).unwrap()
    }

    fn window(&self, door: usize, found: impl Fn(&&Window) -> bool) -> Option<Window> {
        let windows = self.doors[door].plan.windows.iter().filter(found);
        windows.min_by_key(|window| window.from_ns).copied()
    }

    /// When a connection made at `opened_ns` was dropped, if it was by `now_ns`.
    fn dropped(&self, door: usize, opened_ns: u64, now_ns: u64) -> Option<Window> {
        self.window(door, |window| match window.outage {
            Outage::Down => window.to_ns > opened_ns && window.from_ns <= now_ns,
            Outage::Silent => window.to_ns > opened_ns && window.to_ns <= now_ns,
            Outage::Stall => false,
        })
    }

    /// Waits until then, or until the deadline: false.
    fn wait(&self, until_ns: u64, deadline: Instant) -> bool {
        let deadline_ns = self.deadline_ns(deadline).max(self.ns());
        self.set_ns(until_ns.min(deadline_ns));
        until_ns <= deadline_ns
    }

    fn connect(&mut self, door: usize, deadline: Instant) -> Result<u64, String> {
        let now_ns = self.ns();
        let way_ns = self.doors[door].plan.way_ns;
        match self.window(door, |window| window.covers(now_ns)) {
            Some(window) if window.outage == Outage::Down => {
                self.wait(now_ns + way_ns, deadline);
                Err("connecting failed: refused (simulated)".to_owned())
            }
            Some(window) if window.outage == Outage::Silent => {
                let dial_ns = u64::try_from(DIAL_MAX.as_nanos()).unwrap();
                self.wait(now_ns + dial_ns, deadline);
                Err("connecting failed: timed out (simulated)".to_owned())
            }
            _ => {
                // TCP and TLS: two ways there and back.
                self.wait(now_ns + 4 * way_ns + MS, deadline);
                self.links += 1;
                self.connections += 1;
                Ok(self.connections)
            }
        }
    }

    /// What becomes of one request that a connection has sent.
    fn exchange(&mut self, link: &mut SimLink, deadline: Instant) -> Result<(), LinkError> {
        let (door, sent_ns) = (link.door, self.ns());
        if self.is_gone(link, sent_ns) {
            return Err(dead(false));
        }
        link.last_ns = sent_ns;
        let way_ns = self.doors[door].plan.way_ns;
        let there_ns = sent_ns + way_ns;
        let items = decode_request(&link.request).map_or(1, |message| message.items.len());
        let admission = self.doors[door].station.admit(there_ns, items);
        let mut due_ns = admission.due_ns();
        while let Some(stall) = self.window(door, |window| {
            window.outage == Outage::Stall && window.covers(due_ns)
        }) {
            note(sent_ns, stall.outage.kind(), link.number, 0_u64);
            due_ns = stall.to_ns;
        }
        let cut = self.window(door, |window| {
            window.outage != Outage::Stall && window.to_ns > sent_ns && window.from_ns <= due_ns
        });
        if let Some(cut) = cut {
            return Err(self.cut_short(link, cut, deadline));
        }
        self.answer(link, due_ns, items, matches!(admission, Admission::Busy(_)));
        let faults = &mut self.doors[door].faults;
        let broken = faults.strikes(FaultKind::DropMidFrame, due_ns);
        for (name, struck) in faults.struck().filter(|(_, struck)| *struck > 0) {
            note(due_ns, name, link.number, struck);
        }
        if !self.wait(due_ns + way_ns, deadline) {
            return Err(LinkError::TimedOut);
        }
        link.last_ns = due_ns;
        if broken { Err(dead(true)) } else { Ok(()) }
    }

    /// The connection ends before the answer; whether the request was carried out is open.
    fn cut_short(&mut self, link: &mut SimLink, cut: Window, deadline: Instant) -> LinkError {
        note(self.ns(), cut.outage.kind(), link.number, 0_u64);
        if self.random.random_bool(0.5) {
            let when_ns = cut.from_ns.max(self.ns());
            self.answer(link, when_ns, 1, false);
        }
        let told_ns = match cut.outage {
            Outage::Down => cut.from_ns.max(self.ns()),
            _ => cut.to_ns,
        };
        if self.wait(told_ns, deadline) {
            dead(self.random.random_bool(0.25))
        } else {
            LinkError::TimedOut
        }
    }

    fn answer(&mut self, link: &mut SimLink, at_ns: u64, items: usize, busy: bool) {
        let Self { hsm, doors, .. } = self;
        let door = &mut doors[link.door];
        while let Some((from_ns, order)) = door.plan.orders.get(door.ordered)
            && *from_ns <= at_ns
        {
            door.faults.add(order.clone(), *from_ns);
            door.ordered += 1;
        }
        let batch_max = door.plan.model.batch_max;
        let verdict = if items > batch_max {
            Verdict::TooMany(batch_max)
        } else if busy {
            Verdict::Busy
        } else {
            Verdict::Serve
        };
        link.inbound.clear();
        std::mem::swap(&mut hsm.faults, &mut door.faults);
        hsm.answer(
            &mut link.memory,
            &link.request,
            moment(at_ns),
            verdict,
            &mut link.inbound,
        );
        std::mem::swap(&mut hsm.faults, &mut door.faults);
        note(at_ns, "hsm answers on", link.number, items);
    }

    fn is_gone(&self, link: &SimLink, now_ns: u64) -> bool {
        let idle_ms = self.doors[link.door].plan.model.idle_ms;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let idle_ns = idle_ms.map_or(u64::MAX, |ms| ms as u64 * MS);
        now_ns.saturating_sub(link.last_ns) >= idle_ns
            || self.dropped(link.door, link.opened_ns, now_ns).is_some()
    }
}

fn moment(ns: u64) -> Moment {
    Moment {
        ns,
        unix_us: i64::from(UNIX_S) * 1_000_000 + i64::try_from(ns / 1000).unwrap(),
    }
}

fn dead(answering: bool) -> LinkError {
    LinkError::Dead {
        answering,
        why: "the HSM closed the connection (simulated)".to_owned(),
    }
}

/// Connects to the doors.
pub struct SimConnector {
    pub cluster: SharedCluster,
    pub doors: usize,
    pub store: Arc<Store>,
}

impl Connector for SimConnector {
    fn servers(&self) -> Vec<Arc<str>> {
        (0..self.doors).map(|n| format!("hsm{n}").into()).collect()
    }

    fn connect(&self, server: usize, deadline: Instant) -> Result<Box<dyn PoolSession>, String> {
        let link = {
            let mut cluster = lock(&self.cluster);
            let number = cluster.connect(server, deadline)?;
            let now_ns = cluster.ns();
            SimLink {
                cluster: Arc::clone(&self.cluster),
                door: server,
                number,
                opened_ns: now_ns,
                last_ns: now_ns,
                memory: Memory::new(number),
                request: Vec::new(),
                waiting: VecDeque::new(),
                inbound: Vec::new(),
                time: cluster.time.clone(),
            }
        };
        let session = Session::open(
            Box::new(link),
            format!("hsm{server}"),
            Arc::clone(&self.store),
            None,
            Envelope::AesGcm,
            deadline,
        )?;
        Ok(Box::new(session))
    }
}

/// One connection in memory.
struct SimLink {
    cluster: SharedCluster,
    door: usize,
    number: u64,
    opened_ns: u64,
    /// Of the last byte either way.
    last_ns: u64,
    memory: Memory,
    request: Vec<u8>,
    /// Requests sent behind the one that is being answered.
    waiting: VecDeque<Vec<u8>>,
    inbound: Vec<u8>,
    time: Time,
}

impl Link for SimLink {
    fn send(&mut self, request: &[u8], _: Instant) -> Result<(), LinkError> {
        self.waiting.push_back(request.to_vec());
        Ok(())
    }

    fn receive(&mut self, bytes_max: usize, deadline: Instant) -> Result<&[u8], LinkError> {
        let cluster = Arc::clone(&self.cluster);
        let mut cluster = lock(&cluster);
        self.request = self.waiting.pop_front().expect("a request");
        if !self.waiting.is_empty() {
            note(cluster.ns(), "pipelined", self.number, self.waiting.len());
        }
        cluster.exchange(self, deadline)?;
        if self.inbound.len() > bytes_max {
            return Err(LinkError::Protocol("a longer answer than any (simulated)"));
        }
        Ok(&self.inbound)
    }

    fn forget(&mut self) {
        self.inbound.clear();
    }

    fn is_quiet(&mut self) -> bool {
        let cluster = lock(&self.cluster);
        !cluster.is_gone(self, cluster.ns())
    }

    fn time(&self) -> Time {
        self.time.clone()
    }
}

impl Drop for SimLink {
    fn drop(&mut self) {
        lock(&self.cluster).links -= 1;
    }
}
