//! What passes: a restart, all caches lost, a pause of the HSM, a node gone, a restore storm.

mod storm;

use super::Design;
use super::frame::Frame;
use super::scenario::{Detail, Scenario};
use crate::input::field;
use crate::model::balance::Balance;
use crate::model::transient::{self, Backlog};
use crate::trace::{Error, Formula, Held, Quantity, Solved, Unit};

pub use storm::Storm;

static NODE_SHARE: Formula = Formula {
    text: "min(the node's connections, HSMs x ceiling - what the other nodes ask)",
    source: "arithmetic; no ceiling, no second part",
    error: Error::Exact,
    domain: "always",
    held: Held::Arithmetic,
};
static SITE_CAPACITY: Formula = Formula {
    text: "min(nodes x a node's connections, HSMs x ceiling)",
    source: "arithmetic; no ceiling, no second part",
    error: Error::Exact,
    domain: "always",
    held: Held::Arithmetic,
};
static FAILED_IN_PAUSES: Formula = Formula {
    text: "stalls_per_day x misses/s x max(0, stall_s - timeout) / (86 400 s x requests/s)",
    source: "who waits longer than the deadline is answered 504",
    error: Error::Relative(0.2),
    domain: "pauses of about the mean length",
    held: Held::Test("des_plan"),
};

/// What passes, and what it costs.
#[derive(Clone, Debug)]
pub struct Passing {
    /// One node restarts empty at the peak.
    pub restart: Trouble,
    /// All caches are lost at the peak.
    pub all_cold: Trouble,
    /// The HSM pauses.
    pub pause: Option<Trouble>,
    /// A node is gone, balanced by hash.
    pub node_gone: Option<Trouble>,
    /// Share of unwraps that fail in pauses, over the days.
    pub failed_in_pauses: Quantity,
    /// The restore storm.
    pub storm: Option<Storm>,
}

/// A backlog that comes and goes.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Jobs waiting at the worst moment.
    pub jobs: Quantity,
    /// Longest wait.
    pub wait_s: Quantity,
    /// When the backlog is gone.
    pub over_s: Quantity,
    /// When the node serves as usual again.
    pub warm_s: Option<Quantity>,
}

impl Passing {
    /// Of a design at its `peak`.
    pub fn new(frame: &Frame, design: &Design, peak: &Scenario, detail: Detail) -> Self {
        let share = node_share(frame, peak);
        let whole = site_capacity(frame, design, peak);
        let pauses = [&field::STALL_S, &field::STALLS_PER_DAY, &field::TIMEOUT_MS]
            .map(|field| frame.site.get(field));
        let failed_in_pauses = Quantity::derive(
            "stalls.failed_share",
            Unit::Share,
            &FAILED_IN_PAUSES,
            [&pauses[0], &pauses[1], &pauses[2], &peak.miss_share],
            |[stall, per_day, timeout_ms, miss]| {
                per_day * (stall - timeout_ms / 1000.0).max(0.0) * miss / 86_400.0
            },
        );
        let by_hash = frame.balance == Balance::Hash && !frame.site.flag(&field::SHARED_CACHE);
        Self {
            restart: cold(frame, peak, "restart", &share),
            all_cold: cold(frame, peak, "all_cold", &whole),
            pause: (pauses[0].value() > 0.0).then(|| pause(peak, &whole, &pauses[0])),
            node_gone: (by_hash && design.nodes.value() > 1.5)
                .then(|| node_gone(frame, peak, &share)),
            failed_in_pauses,
            storm: Storm::new(frame, design, peak, &whole, detail),
        }
    }

    /// In the order of reading.
    pub fn quantities(&self) -> Vec<&Quantity> {
        let troubles = [
            Some(&self.restart),
            Some(&self.all_cold),
            self.pause.as_ref(),
            self.node_gone.as_ref(),
        ];
        let mut all: Vec<&Quantity> = troubles
            .into_iter()
            .flatten()
            .flat_map(Trouble::quantities)
            .collect();
        all.push(&self.failed_in_pauses);
        if let Some(storm) = &self.storm {
            all.extend([
                &storm.jobs,
                &storm.cpu_load,
                &storm.wait_s,
                &storm.over_s,
                &storm.held,
            ]);
            all.extend(storm.scenario.quantities());
        }
        all
    }
}

impl Trouble {
    fn new(scope: &str, solved: &Solved<Backlog>, formula: &'static Formula, warms: bool) -> Self {
        let one = |what: &str, unit, read: fn(&Backlog) -> f64| {
            solved.quantity(format!("{scope}.{what}"), unit, formula, read)
        };
        Self {
            jobs: one("queue_jobs", Unit::Count("jobs"), |backlog| backlog.jobs),
            wait_s: one("longest_wait_s", Unit::Seconds, |backlog| backlog.wait_s),
            over_s: one("over_s", Unit::Seconds, |backlog| backlog.over_s),
            warm_s: warms.then(|| one("warm_s", Unit::Seconds, |backlog| backlog.warm_s)),
        }
    }

    /// In the order of reading.
    pub fn quantities(&self) -> Vec<&Quantity> {
        let mut all = vec![&self.jobs, &self.wait_s, &self.over_s];
        all.extend(&self.warm_s);
        all
    }
}

fn node_share(frame: &Frame, peak: &Scenario) -> Quantity {
    let unit = Unit::PerSecond("jobs");
    match frame.site.opt(&field::CEILING) {
        Some(ceiling) => Quantity::derive(
            "node_share_s",
            unit,
            &NODE_SHARE,
            [
                &peak.pool_capacity,
                &ceiling,
                &peak.load.hsms,
                &peak.hsm_ops,
                &peak.load.nodes,
            ],
            |[own, ceiling, hsms, ops, nodes]| {
                own.min((hsms * ceiling - ops * (nodes - 1.0) / nodes).max(1e-3))
            },
        ),
        None => peak.pool_capacity.renamed("node_share_s"),
    }
}

/// Jobs a second that the HSMs answer for all nodes together.
pub fn site_capacity(frame: &Frame, design: &Design, peak: &Scenario) -> Quantity {
    let (unit, nodes) = (Unit::PerSecond("jobs"), &design.nodes);
    match frame.site.opt(&field::CEILING) {
        Some(ceiling) => Quantity::derive(
            "site_capacity_s",
            unit,
            &SITE_CAPACITY,
            [&peak.pool_capacity, nodes, &ceiling, &peak.load.hsms],
            |[own, nodes, ceiling, hsms]| (own * nodes).min(hsms * ceiling),
        ),
        None => Quantity::derive(
            "site_capacity_s",
            unit,
            &SITE_CAPACITY,
            [&peak.pool_capacity, nodes],
            |[own, nodes]| own * nodes,
        ),
    }
}

/// One node empty, or all of them.
fn cold(frame: &Frame, peak: &Scenario, scope: &'static str, capacity: &Quantity) -> Trouble {
    let ttl = frame.site.get(&field::TTL_S);
    let is_all = scope == "all_cold";
    let is_shared = frame.site.flag(&field::SHARED_CACHE);
    let (load, usual) = (&peak.load, &peak.hsm_ops);
    let solved = Solved::by(
        [
            &load.rps,
            &load.nodes,
            &load.wraps,
            usual,
            capacity,
            &ttl,
            &frame.keys,
            &frame.shape,
        ],
        |[rps, nodes, wraps, usual, capacity, ttl_s, keys, shape]| {
            let keys = frame.popularity(keys, shape);
            if is_shared && !is_all {
                // What the node lacks the shared cache has.
                let usual = (usual - wraps) / nodes;
                return transient::cold_start(&keys, rps / nodes, 0.0, f64::INFINITY, usual, ttl_s);
            }
            let one = match frame.balance {
                Balance::Hash => keys.split(nodes),
                Balance::Spread => keys,
            };
            // All nodes together are as many times one.
            let of = if is_all && !is_shared { nodes } else { 1.0 };
            let rate = if is_all && is_shared {
                rps
            } else {
                rps / nodes
            };
            let share = if is_all && is_shared { 1.0 } else { nodes };
            transient::cold_start(
                &one,
                rate,
                wraps / share,
                capacity / of,
                (usual - wraps) / share,
                ttl_s,
            )
        },
    );
    Trouble::new(scope, &solved, &transient::COLD_START, true)
}

fn pause(peak: &Scenario, capacity: &Quantity, length: &Quantity) -> Trouble {
    let solved = Solved::by(
        [length, &peak.hsm_ops, capacity],
        |[pause_s, ops, capacity]| transient::pause(pause_s, ops, capacity),
    );
    Trouble::new("stall", &solved, &transient::PAUSE, false)
}

fn node_gone(frame: &Frame, peak: &Scenario, capacity: &Quantity) -> Trouble {
    let ttl = frame.site.get(&field::TTL_S);
    let load = &peak.load;
    let solved = Solved::by(
        [
            &load.rps,
            &load.nodes,
            &peak.jobs,
            capacity,
            &ttl,
            &frame.keys,
            &frame.shape,
        ],
        |[rps, nodes, jobs, capacity, ttl_s, keys, shape]| {
            transient::node_gone(
                &frame.popularity(keys, shape),
                rps,
                nodes,
                jobs,
                capacity,
                ttl_s,
            )
        },
    );
    Trouble::new("node_gone", &solved, &transient::NODE_GONE, true)
}
