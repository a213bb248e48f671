//! One load on one design: what the caches, the HSM, the connections and the processors have to do, and how
//! long answers take.

mod cpu;
mod pool;

use super::Design;
use super::frame::{Frame, NodeFlows, Work};
use super::latency::{Latencies, latencies};
use crate::input::field;
use crate::model::{bounded, lives, shared, stream};
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};
use cpu::CpuPart;
use pool::PoolPart;

static HSM_OPS: Formula = Formula::arithmetic("nodes x fetches/s of a node + wraps/s");
static HSM_LOAD: Formula = Formula::arithmetic("operations/s / (HSMs x ceiling)");
static JOBS: Formula = Formula::arithmetic("operations/s / nodes");
static REFUSED: Formula = Formula {
    text: "misses/s (reject_share + what is beyond the HSMs' ceilings, if they reject that) / requests/s of a node",
    source: "a refused item is answered 503",
    error: Error::Relative(0.15),
    domain: "load well below or above the HSM's ceiling",
    held: Held::Test("des_plan"),
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
        let runs = detail == Detail::Full || frame.runs_always;
        let cache = Cache::new(frame, design, &load, runs);
        let mut flows = cache.quantities(&load);
        if detail != Detail::Full {
            flows = flows.map(|flow| flow.firm());
        }
        let [hit_ratio, miss_share, fetches, held] = flows;
        let (hsm_ops, hsm_load, jobs) = asked(frame, &load, &fetches);
        let pool = PoolPart::new(frame, design, &load, &jobs);
        let cpu = CpuPart::new(frame, design, &load, &cache, &hit_ratio, &jobs, &pool.batch);
        let refused = refused(frame, &load, &miss_share, hsm_load.as_ref());
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

/// What the HSMs are asked for, of their ceilings, and what one node asks.
fn asked(frame: &Frame, load: &Load, fetches: &Quantity) -> (Quantity, Option<Quantity>, Quantity) {
    let name = |what: &str| format!("{}.{what}", load.scope);
    let hsm_ops = Quantity::derive(
        name("hsm_ops_s"),
        Unit::PerSecond("operations"),
        &HSM_OPS,
        [&load.nodes, fetches, &load.wraps],
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
    (hsm_ops, hsm_load, jobs)
}

/// Share of unwraps that the HSM refuses.
fn refused(frame: &Frame, load: &Load, misses: &Quantity, hsm_load: Option<&Quantity>) -> Quantity {
    let none = Quantity::assumed("hsm_load", 0.0, Unit::Share, "there is no ceiling");
    let [reject, overload] =
        [&field::REJECT_SHARE, &field::OVERLOAD].map(|field| frame.site.get(field));
    Quantity::derive(
        format!("{}.refused_share", load.scope),
        Unit::Share,
        &REFUSED,
        [misses, &reject, &overload, hsm_load.unwrap_or(&none)],
        |[misses, reject, overload, hsm_load]| {
            let beyond = if overload > 0.5 && hsm_load > 1.0 {
                1.0 - 1.0 / hsm_load
            } else {
                0.0
            };
            misses * (reject + (1.0 - reject) * beyond)
        },
    )
}

/// The cache of one node.
pub(super) struct Cache {
    solved: Solved<NodeFlows>,
    /// Whether a full cache was run.
    runs: bool,
    is_shared: bool,
}

impl Cache {
    fn new(frame: &Frame, design: &Design, load: &Load, runs: bool) -> Self {
        let [keys, shape, ttl, fetch, cold, reads, gap, refused, record] = &frame.work();
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
                record,
            ],
            |[rps, nodes, entries, work @ ..]| {
                frame.flows(&Work::of(work), rps, nodes, entries, runs)
            },
        );
        Self {
            solved,
            runs,
            is_shared: frame.site.flag(&field::SHARED_CACHE),
        }
    }

    /// Share of the requests that join another's fetch.
    fn joins(&self, load: &Load) -> Quantity {
        let name = format!("{}.join_share", load.scope);
        self.solved
            .quantity(name, Unit::Share, &lives::JOINS, |node| {
                node.flows.joins / node.flows.requests().max(f64::MIN_POSITIVE)
            })
    }

    /// Share of the hits that come from the shared cache.
    pub(super) fn copies(&self, load: &Load) -> Quantity {
        let name = format!("{}.copy_share", load.scope);
        self.solved
            .quantity(name, Unit::Share, &shared::COPIES, |node| {
                node.copies / node.flows.hits.max(f64::MIN_POSITIVE)
            })
    }

    /// Hit ratio, share that waits for the HSM, fetches of a node, entries held.
    fn quantities(&self, load: &Load) -> [Quantity; 4] {
        let name = |what: &str| format!("{}.{what}", load.scope);
        let is_full = self.solved.result().is_full;
        let formula = |roomy, tried, run, shared| match (is_full, self.runs) {
            _ if self.is_shared => shared,
            (false, _) => roomy,
            (true, false) => tried,
            (true, true) => run,
        };
        let of = |read: fn(&NodeFlows) -> f64| read;
        [
            self.solved.quantity(
                name("hit_ratio"),
                Unit::Share,
                formula(
                    &lives::HIT_RATIO,
                    &bounded::HIT_RATIO,
                    &stream::HIT_RATIO,
                    &shared::HIT_RATIO,
                ),
                of(|node| node.flows.hit_ratio()),
            ),
            self.solved.quantity(
                name("miss_share"),
                Unit::Share,
                formula(
                    &lives::MISSES,
                    &bounded::FETCHES,
                    &stream::FETCHES,
                    &shared::MISSES,
                ),
                of(|node| 1.0 - node.flows.hit_ratio()),
            ),
            self.solved.quantity(
                name("node_fetches_s"),
                Unit::PerSecond("fetches"),
                formula(
                    &lives::FETCHES,
                    &bounded::FETCHES,
                    &stream::FETCHES,
                    &shared::FETCHES,
                ),
                of(|node| node.flows.fetches()),
            ),
            self.solved.quantity(
                name("node_entries"),
                Unit::Count("entries"),
                formula(&lives::HELD, &stream::HELD, &stream::HELD, &lives::HELD),
                of(|node| node.flows.held),
            ),
        ]
    }
}
