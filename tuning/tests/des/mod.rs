//! A site in discrete events: clients, nodes with the server's cache, connections, simulated HSMs. By seed.
//!
//! It shares the cache with the server and the timing with the simulated HSM, and no formula with the
//! model: single flight, greedy messages and fetches ahead are played here, event by event.

mod clients;
pub mod plan;
pub mod pool;
pub mod workers;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use kms::cache::{Cache, CacheConfig, Family};
use kms::secret::SecretKey;
use kms_loadgen::sim::station::{Admission, Station};
use kms_tune::model::stream::{Random, digest, plaintext};

#[allow(unused_imports)] // not by every test
pub use plan::{Plan, Row, Seen, Storm, allowed, hold};
use pool::{Job, Message, Pool};

pub const NS: f64 = 1e9;
/// So many jobs waiting are a backlog, and no chance.
const BUSY: usize = 50;

struct Node {
    cache: Cache,
    pool: Pool,
    /// Keys under way, with when each waiter asked.
    flights: HashMap<u64, Vec<f64>>,
}

/// A copy of a key that all nodes share: when its life ends.
type Copies = HashMap<u64, f64>;

/// How a message ends.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Ends {
    Answered,
    Refused,
    GivenUp,
}

pub struct World {
    plan: Plan,
    nodes: Vec<Node>,
    stations: Vec<Station>,
    plaintext: SecretKey,
    start: Instant,
    below: Vec<f64>,
    random: Random,
    again: VecDeque<(f64, u64, u32)>,
    next_cold: u64,
    /// Messages under way: when done, number of the message, node.
    under_way: BinaryHeap<Reverse<(u64, u64, usize)>>,
    messages: HashMap<u64, (Message, Ends)>,
    number: u64,
    /// Reads of the storm: when, of which key, how often still.
    stormy: BinaryHeap<Reverse<(u64, u64, u32)>>,
    copies: Copies,
    ticked_s: f64,
    now_s: f64,
    seen: Seen,
    counts: bool,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let (arena, plaintext) = plaintext().unwrap();
        let start = Instant::now();
        let config = CacheConfig {
            entries_max: plan.entries,
            ttl_s: plan.ttl_s,
            stale_max_s: 0,
        };
        let node = |_| Node {
            cache: Cache::new(&config, arena, start),
            pool: Pool::new(plan.connections, plan.batch_max),
            flights: HashMap::new(),
        };
        let mut total = 0.0;
        let weight = |rank: usize| (rank as f64).powf(-plan.zipf_s);
        let below = (1..=plan.keys).map(|rank| {
            total += weight(rank);
            total
        });
        let station = |at: usize| Station::new(plan.model.clone(), plan.seed ^ (at as u64) << 8);
        Self {
            below: below.collect(),
            nodes: (0..plan.nodes).map(node).collect(),
            stations: (0..plan.hsms).map(station).collect(),
            plaintext,
            start,
            random: Random(plan.seed),
            again: VecDeque::new(),
            next_cold: plan.keys as u64,
            under_way: BinaryHeap::new(),
            messages: HashMap::new(),
            number: 0,
            stormy: BinaryHeap::new(),
            copies: HashMap::new(),
            ticked_s: 0.0,
            now_s: 0.0,
            seen: Seen::default(),
            counts: false,
            plan,
        }
    }

    pub fn run(mut self) -> Seen {
        if !self.plan.cold_start {
            self.fill();
        }
        self.plan_storm();
        let from_s = self.now_s;
        let counted_s = from_s + self.plan.warm_s;
        let end_s = counted_s + self.plan.run_s;
        let mut next_s = from_s;
        let mut looks = 0.0;
        while next_s < end_s {
            next_s += self.random.exponential() / self.plan.rate;
            self.read_storm(next_s);
            self.finish_until(next_s);
            self.now_s = next_s;
            if self.now_s - self.ticked_s >= 0.1 {
                self.tick();
                if self.counts {
                    let held = self.nodes[0].cache.len() as f64;
                    looks += 1.0;
                    self.seen.held += held;
                    self.seen.held_max = self.seen.held_max.max(held);
                }
            }
            if !self.counts && next_s >= counted_s {
                self.counts = true;
            }
            let key = self.key();
            let node = self.node_of(key);
            self.ask(node, key);
        }
        self.seen.seconds = end_s - counted_s;
        self.seen.held /= f64::max(looks, 1.0);
        self.seen.waited_s.sort_by(f64::total_cmp);
        self.seen
    }

    fn ask(&mut self, node: usize, key: u64) {
        let now = self.instant(self.now_s);
        let found = self.nodes[node]
            .cache
            .lookup_aged(&digest(key), now, |_| ());
        let waiting = self.nodes[node].flights.contains_key(&key);
        match found {
            Some(((), age)) => {
                self.count(|seen| seen.hits += 1.0);
                if self.plan.ahead && age.refresh && !waiting {
                    self.fetch(node, key, true);
                }
            }
            None if waiting => {
                self.count(|seen| seen.joins += 1.0);
                let now_s = self.now_s;
                self.nodes[node].flights.get_mut(&key).unwrap().push(now_s);
                if self.nodes[node].pool.raise(key) {
                    self.start(node);
                }
            }
            None => match self.copies.get(&key).copied() {
                Some(end_s) if end_s > self.now_s => {
                    self.count(|seen| {
                        seen.hits += 1.0;
                        seen.copies += 1.0;
                    });
                    // A whole life of its own.
                    self.insert(node, key, self.now_s);
                }
                _ => {
                    self.count(|seen| seen.misses += 1.0);
                    self.fetch(node, key, false);
                }
            },
        }
    }

    /// Into the shared cache: for its life, give or take a tenth by the key.
    fn put(&mut self, key: u64, at_s: f64) {
        if self.plan.shared {
            let life = 0.9 + 0.2 * Random(key ^ 0x5ead).unit();
            self.copies.insert(key, at_s + self.plan.record_s * life);
        }
    }

    fn count(&mut self, add: impl Fn(&mut Seen)) {
        if self.counts {
            add(&mut self.seen);
        }
    }

    fn fetch(&mut self, node: usize, key: u64, ahead: bool) {
        let job = Job { key, ahead };
        let waiters = if ahead { Vec::new() } else { vec![self.now_s] };
        let (now_s, at) = (self.now_s, self.now_s as usize);
        if !ahead {
            let busy = f64::from(u8::from(self.nodes[node].pool.is_busy()));
            self.count(|seen| {
                seen.jobs += 1.0;
                seen.busy += busy;
            });
        }
        if !self.nodes[node].pool.push(job) {
            return;
        }
        self.nodes[node].flights.insert(key, waiters);
        if self.counts {
            self.seen.ahead += f64::from(u8::from(ahead));
        }
        self.seen
            .jobs_by_s
            .resize(self.seen.jobs_by_s.len().max(at + 1), 0.0);
        self.seen.jobs_by_s[at] += 1.0;
        self.start(node);
        let queued = self.nodes[node].pool.waiting();
        if self.counts && queued > 0 {
            self.seen.queue_max = self.seen.queue_max.max(queued);
            if queued >= BUSY {
                self.seen.busy_until_s = now_s;
            }
        }
    }

    /// Lets idle connections take what waits.
    fn start(&mut self, node: usize) {
        while let Some(message) = self.nodes[node].pool.take() {
            let hsm = message.connection % self.stations.len();
            let now_ns = (self.now_s * NS) as u64;
            let admitted = self.stations[hsm].admit(now_ns, message.jobs.len());
            let mut due_ns = admitted.due_ns();
            let mut ends = match admitted {
                Admission::Done(_) => Ends::Answered,
                Admission::Busy(_) => Ends::Refused,
            };
            if let Some((from_s, to_s)) = self.plan.pause_s
                && due_ns as f64 >= from_s * NS
                && (due_ns as f64) < to_s * NS
            {
                due_ns = (to_s * NS) as u64;
            }
            let given_up_ns = now_ns.saturating_add((self.plan.timeout_s * NS) as u64);
            if due_ns > given_up_ns {
                (due_ns, ends) = (given_up_ns, Ends::GivenUp);
            }
            let items = message.jobs.len() as f64;
            self.count(|seen| {
                seen.messages += 1.0;
                seen.items += items;
            });
            self.number += 1;
            self.under_way.push(Reverse((due_ns, self.number, node)));
            self.messages.insert(self.number, (message, ends));
        }
    }

    fn finish_until(&mut self, until_s: f64) {
        while let Some(Reverse((due_ns, number, node))) = self.under_way.peek().copied() {
            let due_s = due_ns as f64 / NS;
            if due_s > until_s {
                return;
            }
            self.under_way.pop();
            self.now_s = due_s;
            let (message, ends) = self.messages.remove(&number).unwrap();
            for job in &message.jobs {
                if ends == Ends::Answered {
                    self.insert(node, job.key, due_s);
                    self.put(job.key, due_s);
                }
                let waiters = self.nodes[node].flights.remove(&job.key);
                for asked_s in waiters.unwrap_or_default() {
                    self.answer(due_s - asked_s, ends);
                }
            }
            self.nodes[node].pool.free(message.connection);
            self.start(node);
        }
    }

    /// One that waited is answered.
    fn answer(&mut self, waited_s: f64, ends: Ends) {
        if !self.counts {
            return;
        }
        if waited_s >= self.plan.timeout_s || ends == Ends::GivenUp {
            self.seen.late += 1.0;
        } else if ends == Ends::Refused {
            self.seen.refused += 1.0;
        } else {
            self.seen.waited_s.push(waited_s);
            self.seen.longest_s = self.seen.longest_s.max(waited_s);
        }
    }

    fn insert(&mut self, node: usize, key: u64, born_s: f64) {
        let (now, cache, family) = (self.instant(born_s), &self.nodes[node].cache, Family(0));
        cache.insert(
            digest(key),
            family,
            &self.plaintext,
            cache.begin_fill(family),
            now,
        );
    }

    fn tick(&mut self) {
        self.ticked_s = self.now_s;
        let now = self.instant(self.now_s);
        for node in &self.nodes {
            while node.cache.tick(now) {}
        }
    }

    fn instant(&self, at_s: f64) -> Instant {
        self.start + Duration::from_secs_f64(at_s)
    }
}
