//! One node, its clients and its HSMs, driven by one queue of events in one thread.
//!
//! Does what the node's threads do: a worker's (bytes, tickets, deadlines), the pool's (seats, scout,
//! sweep) and the housekeeper's. Every event happens at its time on the node's clock; while a seat asks
//! an HSM, the pool's clock runs ahead, and what comes of it happens when the node's clock gets there.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kms::engine::{Outcome, Waiter};
use kms::hsm::pool::{Pace, SWEEP, Scout, Seat};
use kms::hsm::{Done, Hsm as _};
use kms::net::time::Hand;
use kms::server::Shared;

use crate::client::Piece;
use crate::desk::Client;
use crate::hsm::{SharedCluster, lock};
use crate::node::{Captured, Front};
use crate::plan::{Incident, MS, Plan};
use crate::trace::note;

/// How often the housekeeper looks at the cache.
const TICK_NS: u64 = 100 * MS;
/// Nothing lasts longer.
const END_NS: u64 = 120_000 * MS;

pub enum Event {
    Bytes(usize),
    Seat(usize, u64),
    Scout,
    Sweep,
    Tick,
    Complete(Done, Result<kms::hsm::Answer, kms::hsm::HsmError>),
    Deadline(u32),
    Incident(Incident),
}

pub struct World<'s> {
    pub plan: &'s Plan,
    pub shared: &'s Shared,
    pub cluster: SharedCluster,
    pub front: Arc<Front>,
    pub tickets: Arc<Mutex<VecDeque<(Waiter, Outcome)>>>,
    pub node: Hand,
    pub pool: Hand,
    pub start: Instant,
    seats: Vec<Seat>,
    /// The event that a seat waits for, and whether a job may wake it.
    waits: Vec<(u64, bool)>,
    scout: Option<Scout>,
    pub clients: Vec<Client<'s>>,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    pub conns: u32,
    pub ns: u64,
    pub frozen: (u64, u64),
    /// Since when an answer proves that the cache was filled.
    pub fills_from_ns: u64,
    /// Ciphertexts that the cache has, since when.
    pub warm: HashMap<usize, u64>,
    /// Ciphertexts that the cache may have.
    pub asked: HashSet<usize>,
}

/// What [`World::new`] takes.
pub struct Parts<'s> {
    pub plan: &'s Plan,
    pub shared: &'s Shared,
    pub cluster: SharedCluster,
    pub front: Arc<Front>,
    pub tickets: Arc<Mutex<VecDeque<(Waiter, Outcome)>>>,
    pub node: Hand,
    pub pool: Hand,
    pub start: Instant,
    pub seats: Vec<Seat>,
    pub scout: Option<Scout>,
}

impl<'s> World<'s> {
    pub fn new(parts: Parts<'s>, scripts: Vec<VecDeque<Piece>>) -> Self {
        let Parts {
            plan,
            shared,
            cluster,
            front,
            tickets,
            node,
            pool,
            start,
            seats,
            scout,
        } = parts;
        let mut world = Self {
            plan,
            shared,
            cluster,
            front,
            tickets,
            node,
            pool,
            start,
            waits: vec![(0, false); seats.len()],
            seats,
            scout,
            clients: Vec::new(),
            queue: BTreeMap::new(),
            events: 0,
            conns: 0,
            ns: 0,
            frozen: (0, 0),
            fills_from_ns: 0,
            warm: HashMap::new(),
            asked: HashSet::new(),
        };
        for (at, script) in scripts.into_iter().enumerate() {
            let (conn, loopback) = world.open(at);
            world.clients.push(Client {
                conn,
                loopback,
                script,
                sent: VecDeque::new(),
                replies: Vec::new(),
                noted: None,
            });
            world.next_piece(at);
        }
        for seat in 0..world.seats.len() {
            world.wake(seat, 0);
        }
        for (at_ns, incident) in &plan.incidents {
            world.at(*at_ns, Event::Incident(*incident));
        }
        world.at(0, Event::Scout);
        world.at(0, Event::Sweep);
        world.at(0, Event::Tick);
        world
    }

    /// Until everybody has asked everything and been answered.
    pub fn run(&mut self) {
        while let Some(((at_ns, _), event)) = self.queue.pop_first() {
            self.set_ns(at_ns.max(self.frozen.0));
            assert!(self.ns < END_NS, "a request waits for ever");
            self.happen(event);
            self.settle();
            self.check_bounds();
            if self.is_over() {
                break;
            }
        }
    }

    /// Lets the pool come to rest and drops all clients; nothing may be held then.
    pub fn finish(mut self) {
        self.shared.engine.cache().purge_all();
        let until_ns = self.ns + 10_000 * MS;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > until_ns {
                break;
            }
            let ((at_ns, _), event) = entry.remove_entry();
            self.set_ns(at_ns.max(self.ns));
            self.happen(event);
            self.settle();
        }
        let counters = self.shared.metrics.worker(0);
        let metrics = &self.shared.metrics;
        for (what, count) in [
            ("join", counters.joins.get()),
            ("stale", counters.stale.get()),
            ("refresh", metrics.refreshes.get()),
            ("refresh given up", metrics.refreshes_given_up.get()),
        ] {
            if count > 0 {
                note(self.ns, what, 0_u64, count);
            }
        }
        let may_be_stale = self.plan.stale_max_s > 0;
        assert!(may_be_stale || counters.stale.get() == 0, "served stale");
        let engine = &self.shared.engine;
        assert_eq!(engine.in_flight(), 0, "flights left over");
        assert_eq!(engine.waiters(), 0, "waiters left over");
        assert_eq!(engine.cache().len(), 0, "entries after a purge");
        let usage = self.shared.arena.usage();
        let held = (usage.key_bytes_used, usage.large_used);
        assert_eq!(held, (0, 0), "locked memory is held for nobody");
        assert_eq!(self.front.health().queued, 0, "jobs left over");
        assert_eq!(self.front.open(), 0, "jobs that were never ended");
        for at in 0..self.clients.len() {
            assert_eq!(self.waiting(at), 0, "a quota is held for nobody");
        }
    }

    pub fn at(&mut self, ns: u64, event: Event) {
        self.events += 1;
        self.queue.insert((ns, self.events), event);
    }

    fn set_ns(&mut self, ns: u64) {
        self.ns = ns;
        let now = self.start + Duration::from_nanos(ns);
        self.node.set(now);
        self.pool.set(now);
    }

    pub fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.ns)
    }

    pub fn ns_of(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Bytes(at) => self.deliver(at),
            Event::Seat(seat, number) => {
                if self.waits[seat].0 == number {
                    self.step(seat);
                }
            }
            Event::Scout => {
                let Some(mut scout) = self.scout.take() else {
                    return;
                };
                let pace = scout.step();
                self.scout = Some(scout);
                let pause = if let Pace::Pause(time) = pace {
                    time
                } else {
                    Duration::ZERO
                };
                let next_ns = self.ns_of(self.pool.now() + pause);
                self.at(next_ns, Event::Scout);
            }
            Event::Sweep => {
                self.front.pool.sweep();
                self.at(
                    self.ns + u64::try_from(SWEEP.as_nanos()).unwrap(),
                    Event::Sweep,
                );
            }
            Event::Tick => {
                while self.shared.engine.cache().tick(self.now()) {}
                self.at(self.ns + TICK_NS, Event::Tick);
            }
            Event::Complete(done, outcome) => {
                note(self.ns, "job done", u64::from(outcome.is_ok()), 0_u64);
                done(outcome);
            }
            Event::Deadline(conn) => self.expire(conn),
            Event::Incident(incident) => self.befall(incident),
        }
        self.pool.set(self.now());
    }

    fn step(&mut self, seat: usize) {
        let pace = self.seats[seat].step();
        let after = self.pool.now();
        note(self.ns, "seat", seat, self.ns_of(after) - self.ns);
        let (pause, wakes) = match pace {
            Pace::Now => (Duration::ZERO, false),
            Pace::Pause(time) => (time, false),
            Pace::Idle(time) => (time, true),
            Pace::Closed => panic!("nobody stopped the pool"),
        };
        self.wake(seat, self.ns_of(after + pause));
        self.waits[seat].1 = wakes;
    }

    fn wake(&mut self, seat: usize, at_ns: u64) {
        let number = self.events + 1;
        self.waits[seat] = (number, false);
        self.at(at_ns, Event::Seat(seat, number));
    }

    /// What follows at once from what happened: completions are due, tickets are read, one idle seat
    /// is woken.
    fn settle(&mut self) {
        for captured in self.front.take() {
            let Captured {
                at,
                deadline,
                done,
                outcome,
            } = captured;
            // A message may fly until the most patient of its jobs gives up.
            let patience = Duration::from_millis(self.plan.timeout_ms) + SWEEP;
            let late = at.saturating_duration_since(deadline);
            let allowed = patience + Duration::from_nanos(self.frozen.1);
            assert!(late <= allowed, "a job's end is {late:?} late");
            let at_ns = self.ns_of(at).max(self.ns);
            self.at(at_ns, Event::Complete(done, outcome));
        }
        loop {
            let ticket = self.tickets.lock().unwrap().pop_front();
            let Some((waiter, outcome)) = ticket else {
                break;
            };
            self.ticket(waiter, outcome);
        }
        if self.front.pool.wants_seat()
            && let Some(idle) = self.waits.iter().position(|(_, wakes)| *wakes)
        {
            self.wake(idle, self.ns);
        }
    }

    fn check_bounds(&self) {
        let (plan, engine) = (self.plan, &self.shared.engine);
        // Each seat may have put back all it took.
        let taken_max = plan.batch_max * plan.pipeline_max;
        let queued_max = plan.queue_max + plan.connections * taken_max;
        assert!(self.front.health().queued <= queued_max, "queue");
        assert!(engine.in_flight() <= plan.flights_max, "flights");
        assert!(engine.waiters() <= plan.waiters_max, "waiters");
        assert!(engine.cache().len() <= plan.entries_max, "entries");
        // Each seat may be moving, and the scout tries one.
        let links = lock(&self.cluster).links;
        assert!(links <= 2 * plan.connections + 1, "{links} connections");
        if plan.is_tight() {
            for at in 0..self.clients.len() {
                // A batch alone may be larger.
                assert!(self.waiting(at) <= plan.inflight_max.max(8), "in flight");
            }
        }
    }

    fn is_over(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.all(|client| client.script.is_empty() && client.sent.is_empty())
    }
}
