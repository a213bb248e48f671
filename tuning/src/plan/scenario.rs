//! One load on one design: what the caches, the HSM, the connections and the processors have to do, and how
//! long answers take.

use super::Design;
use super::frame::{Frame, NodeFlows, Work, message_of};
use super::latency::{Latencies, latencies};
use crate::input::field;
use crate::model::cpu::{self, Costs, Usl};
use crate::model::pool::Pool;
use crate::model::{bounded, lives, pool, stream};
use crate::trace::{Formula, Quantity, Solved, Unit};

static HSM_OPS: Formula = Formula::arithmetic("nodes x fetches/s of a node + wraps/s");
static HSM_LOAD: Formula = Formula::arithmetic("operations/s / (HSMs x ceiling)");
static JOBS: Formula = Formula::arithmetic("operations/s / nodes");
static AT_WORK: Formula = Formula {
    text: "min(connections, engines x HSMs / nodes)",
    source: "a connection beyond the HSM's engines waits there",
    error: crate::trace::Error::Exact,
    domain: "connections spread evenly over the HSMs (src/hsm/fleet.rs)",
};
static HANDSHAKES: Formula = Formula::arithmetic("clients / conn_lifetime_s / nodes");
static BUSIEST: Formula = Formula {
    text: "1 / nodes, and by hash p1 (1 - 1 / nodes) for the most popular key",
    source: "splitting of Poisson streams",
    error: crate::trace::Error::Exact,
    domain: "requests of many clients",
};
static NODE_RPS: Formula = Formula::arithmetic("requests/s x the busiest node's share");
static CORES: Formula = Formula::arithmetic(
    "(hits/s hit_us + fetches and joins/s miss_us + messages/s message_us + handshakes/s (resume_ratio resumed_us + (1 - resume_ratio) handshake_us)) / 1e6",
);
static CPU_LOAD: Formula = Formula {
    text: "busy cores / (k / (1 + alpha (k - 1) + beta k (k - 1))) of k cores",
    source: "Gunther's Universal Scalability Law",
    error: crate::trace::Error::Relative(0.05),
    domain: "as many worker threads as cores",
};
static REFUSED: Formula = Formula {
    text: "misses/s x reject_share / requests/s of a node",
    source: "a refused item is answered 503",
    error: crate::trace::Error::Relative(0.1),
    domain: "load below the HSM's ceiling",
};

/// How much of a scenario is worked out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Loads only: for searches.
    Loads,
    /// Loads and the times that objectives are about.
    Objectives,
    /// Everything; a full cache is run.
    Full,
}

/// What is asked of the site in a scenario.
#[derive(Clone, Debug)]
pub struct Load {
    /// First part of the names of its quantities.
    pub scope: &'static str,
    /// For people.
    pub about: &'static str,
    /// Unwraps a second, all nodes together.
    pub rps: Quantity,
    /// What else asks the HSM.
    pub wraps: Quantity,
    /// Nodes there.
    pub nodes: Quantity,
    /// HSMs there.
    pub hsms: Quantity,
}

/// What comes of it; per node where the name says so.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What was asked.
    pub load: Load,
    /// Share of unwraps served from the node's cache, or the shared one.
    pub hit_ratio: Quantity,
    /// Unwraps that wait for the HSM, share of all.
    pub miss_share: Quantity,
    /// Entries that one node would hold.
    pub held: Quantity,
    /// What all HSMs together are asked for.
    pub hsm_ops: Quantity,
    /// Of their ceilings; none without one.
    pub hsm_load: Option<Quantity>,
    /// What one node's connections are asked for.
    pub jobs: Quantity,
    /// What they could do.
    pub pool_capacity: Quantity,
    /// The one over the other.
    pub pool_load: Quantity,
    /// Items of a message.
    pub batch: Quantity,
    /// Jobs that find all connections busy.
    pub busy: Quantity,
    /// Busy cores of the busiest node.
    pub cores_busy: Quantity,
    /// Of what its cores can do together.
    pub cpu_load: Quantity,
    /// New connections of one node.
    pub handshakes: Quantity,
    /// Share of busy cores that handshakes take.
    pub handshake_share: Quantity,
    /// Share of unwraps that the HSM refuses.
    pub refused: Quantity,
    /// Answer times; none where only loads are asked for.
    pub times: Option<Latencies>,
    /// Whether the server's cache had to be run.
    pub is_full: bool,
}

impl Scenario {
    /// Works `load` out on `design`.
    pub fn new(frame: &Frame, design: &Design, load: Load, detail: Detail) -> Self {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let cache = Cache::new(frame, design, &load, detail == Detail::Full);
        let mut flows = cache.quantities(&load);
        if detail != Detail::Full {
            flows = flows.map(|flow| flow.firm());
        }
        let [hit_ratio, miss_share, fetches, held] = flows;
        let hsm_ops = Quantity::derive(
            name("hsm_ops_s"),
            Unit::PerSecond("operations"),
            &HSM_OPS,
            [&load.nodes, &fetches, &load.wraps],
            |[nodes, fetches, wraps]| nodes * fetches + wraps,
        );
        let hsm_load = frame.site.opt(&field::CEILING).map(|ceiling| {
            Quantity::derive(
                name("hsm_load"),
                Unit::Share,
                &HSM_LOAD,
                [&hsm_ops, &load.hsms, &ceiling],
                |[ops, hsms, ceiling]| ops / (hsms * ceiling),
            )
        });
        let jobs = Quantity::derive(
            name("node_jobs_s"),
            Unit::PerSecond("jobs"),
            &JOBS,
            [&hsm_ops, &load.nodes],
            |[ops, nodes]| ops / nodes,
        );
        let pool = PoolPart::new(frame, design, &load, &jobs);
        let cpu = CpuPart::new(frame, design, &load, &cache, &hit_ratio, &jobs, &pool.batch);
        let reject = frame.site.get(&field::REJECT_SHARE);
        let refused = Quantity::derive(
            name("refused_share"),
            Unit::Share,
            &REFUSED,
            [&miss_share, &reject],
            |[miss, reject]| miss * reject,
        );
        let times = (detail != Detail::Loads).then(|| {
            latencies(
                frame,
                &load,
                &cache,
                [&hit_ratio, &jobs, &pool.at_work, &cpu.load],
                detail,
            )
        });
        Self {
            hit_ratio,
            miss_share,
            held,
            hsm_ops,
            hsm_load,
            jobs,
            pool_capacity: pool.capacity,
            pool_load: pool.load,
            batch: pool.batch,
            busy: pool.busy,
            cores_busy: cpu.cores,
            cpu_load: cpu.load,
            handshakes: cpu.handshakes,
            handshake_share: cpu.handshake_share,
            refused,
            times,
            is_full: cache.solved.result().is_full,
            load,
        }
    }

    /// Everything that has a name here, in the order of reading.
    pub fn quantities(&self) -> Vec<&Quantity> {
        let mut all = vec![
            &self.load.rps,
            &self.load.nodes,
            &self.hit_ratio,
            &self.miss_share,
            &self.held,
            &self.hsm_ops,
        ];
        all.extend(&self.hsm_load);
        all.extend([
            &self.jobs,
            &self.pool_capacity,
            &self.pool_load,
            &self.batch,
            &self.busy,
        ]);
        all.extend([
            &self.cores_busy,
            &self.cpu_load,
            &self.handshakes,
            &self.handshake_share,
            &self.refused,
        ]);
        if let Some(times) = &self.times {
            all.extend(times.quantities());
        }
        all
    }
}

/// The cache of one node.
pub(super) struct Cache {
    pub(super) solved: Solved<NodeFlows>,
    /// Whether a full cache was run.
    runs: bool,
}

impl Cache {
    fn new(frame: &Frame, design: &Design, load: &Load, runs: bool) -> Self {
        let [keys, shape, ttl, fetch, cold, reads, gap, refused] = &frame.work();
        let solved = Solved::by(
            [
                &load.rps,
                &load.nodes,
                &design.entries,
                keys,
                shape,
                ttl,
                fetch,
                cold,
                reads,
                gap,
                refused,
            ],
            |[rps, nodes, entries, work @ ..]| {
                frame.flows(&Work::of(work), rps, nodes, entries, runs)
            },
        );
        Self { solved, runs }
    }

    /// Hit ratio, share that waits for the HSM, fetches of a node, entries held.
    fn quantities(&self, load: &Load) -> [Quantity; 4] {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let is_full = self.solved.result().is_full;
        let formula = |roomy, tried, run| match (is_full, self.runs) {
            (false, _) => roomy,
            (true, false) => tried,
            (true, true) => run,
        };
        let of = |read: fn(&NodeFlows) -> f64| read;
        [
            self.solved.quantity(
                name("hit_ratio"),
                Unit::Share,
                formula(&lives::HIT_RATIO, &bounded::HIT_RATIO, &stream::HIT_RATIO),
                of(|node| node.flows.hit_ratio()),
            ),
            self.solved.quantity(
                name("miss_share"),
                Unit::Share,
                formula(&lives::MISSES, &bounded::FETCHES, &stream::FETCHES),
                of(|node| 1.0 - node.flows.hit_ratio()),
            ),
            self.solved.quantity(
                name("node_fetches_s"),
                Unit::PerSecond("fetches"),
                formula(&lives::FETCHES, &bounded::FETCHES, &stream::FETCHES),
                of(|node| node.flows.fetches()),
            ),
            self.solved.quantity(
                name("node_entries"),
                Unit::Count("entries"),
                formula(&lives::HELD, &stream::HELD, &stream::HELD),
                of(|node| node.flows.held),
            ),
        ]
    }
}

struct PoolPart {
    at_work: Quantity,
    capacity: Quantity,
    load: Quantity,
    batch: Quantity,
    busy: Quantity,
}

impl PoolPart {
    fn new(frame: &Frame, design: &Design, load: &Load, jobs: &Quantity) -> Self {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let engines = frame.site.get(&field::ENGINES);
        let at_work = Quantity::derive(
            name("connections_at_work"),
            Unit::Count("connections"),
            &AT_WORK,
            [&design.connections, &engines, &load.hsms, &load.nodes],
            |[connections, engines, hsms, nodes]| connections.min(engines * hsms / nodes).max(1.0),
        );
        let [batch_max, item] =
            [&field::HSM_BATCH_MAX, &field::ITEM_MS].map(|field| frame.site.get(field));
        let [median, sigma, share, min, alpha, timeout] = &frame.message();
        let solved = Solved::by(
            [
                jobs, &at_work, &batch_max, &item, median, sigma, share, min, alpha, timeout,
            ],
            |[rate, connections, batch_max, item_ms, message @ ..]| {
                Pool {
                    rate,
                    connections,
                    batch_max,
                    message: message_of(message),
                    item_s: item_ms / 1000.0,
                }
                .solve()
            },
        );
        Self {
            capacity: solved.quantity(
                name("node_capacity_s"),
                Unit::PerSecond("jobs"),
                &pool::CAPACITY,
                |served| served.capacity,
            ),
            load: solved.quantity(name("pool_load"), Unit::Share, &pool::LOAD, |served| {
                served.load
            }),
            batch: solved.quantity(
                name("batch_items"),
                Unit::Count("items"),
                &pool::BATCH,
                |served| served.batch,
            ),
            busy: solved.quantity(name("all_busy_share"), Unit::Share, &pool::BUSY, |served| {
                served.busy
            }),
            at_work,
        }
    }
}

struct CpuPart {
    cores: Quantity,
    load: Quantity,
    handshakes: Quantity,
    handshake_share: Quantity,
}

impl CpuPart {
    fn new(
        frame: &Frame,
        design: &Design,
        load: &Load,
        cache: &Cache,
        hit_ratio: &Quantity,
        jobs: &Quantity,
        batch: &Quantity,
    ) -> Self {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let site = &frame.site;
        let [clients, lifetime] =
            [&field::CLIENTS, &field::CONN_LIFETIME_S].map(|field| site.get(field));
        let handshakes = Quantity::derive(
            name("node_handshakes_s"),
            Unit::PerSecond("handshakes"),
            &HANDSHAKES,
            [&clients, &lifetime, &load.nodes],
            |[clients, lifetime, nodes]| clients / lifetime / nodes,
        );
        let share = Quantity::derive(
            name("busiest_share"),
            Unit::Share,
            &BUSIEST,
            [&load.nodes, &frame.shape],
            |[nodes, shape]| {
                frame
                    .balance
                    .busiest(&frame.popularity(frame.keys.value(), shape), nodes)
            },
        );
        let node_rps = Quantity::derive(
            name("node_rps"),
            Unit::PerSecond("unwraps"),
            &NODE_RPS,
            [&load.rps, &share],
            |[rps, share]| rps * share,
        );
        let joins_share =
            cache.solved.result().flows.joins / cache.solved.result().flows.requests();
        let costs = [
            &field::HIT_US,
            &field::MISS_US,
            &field::MESSAGE_US,
            &field::RESUMED_US,
        ]
        .map(|field| site.get(field));
        let (full_us, resume) = (design.handshake_us.clone(), site.get(&field::RESUME_RATIO));
        let solved = Solved::by(
            [
                &node_rps,
                hit_ratio,
                jobs,
                batch,
                &handshakes,
                &resume,
                &costs[0],
                &costs[1],
                &costs[2],
                &costs[3],
                &full_us,
            ],
            |[
                rps,
                hit,
                jobs,
                batch,
                handshakes,
                resumed,
                hit_us,
                miss_us,
                message_us,
                resumed_us,
                full_us,
            ]| {
                let costs = Costs {
                    hit_s: hit_us / 1e6,
                    miss_s: miss_us / 1e6,
                    message_s: message_us / 1e6,
                    handshake_s: full_us / 1e6,
                    resumed_s: resumed_us / 1e6,
                };
                let work = cpu::Work {
                    hits: rps * hit,
                    misses: jobs + rps * joins_share,
                    messages: jobs / batch,
                    handshakes,
                    resumed,
                };
                (costs.cores(&work), costs.handshakes(&work))
            },
        );
        let cores = solved.quantity(
            name("cores_busy"),
            Unit::Count("cores"),
            &CORES,
            |(cores, _)| *cores,
        );
        let handshake_share = solved.quantity(
            name("handshake_cpu_share"),
            Unit::Share,
            &CORES,
            |(cores, handshakes)| handshakes / cores,
        );
        let [alpha, beta] = [&field::USL_ALPHA, &field::USL_BETA].map(|field| site.get(field));
        let load = Quantity::derive(
            name("cpu_load"),
            Unit::Share,
            &CPU_LOAD,
            [&cores, &design.cores, &alpha, &beta],
            |[busy, cores, alpha, beta]| {
                let law = Usl {
                    gamma: 1.0,
                    alpha,
                    beta,
                };
                busy / law.factor(cores)
            },
        );
        Self {
            cores,
            load,
            handshakes,
            handshake_share,
        }
    }
}
