//! What holds in every scenario: loads with growth, keys and their popularity, the HSM's message, the cache.

mod message;

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::PlanError;
use super::trace_file;
use crate::input::{Site, field};
use crate::model::balance::Balance;
use crate::model::bounded::{self, Cold, Policy};
use crate::model::lives::{Flows, Lives};
use crate::model::popularity::Popularity;
use crate::model::shared::{Shared, shared};
use crate::model::stream::Stream;
use crate::trace::{Formula, Quantity, Unit};

pub use message::message_of;
use message::{audited, fetch_ms, message};

static GROWN: Formula = Formula::arithmetic("today's x (1 + growth_pct_year / 100) ^ growth_years");
/// Entries that a cache which is full is run with, about, and requests.
const ENTRIES_RUN: f64 = 6000.0;
const REQUESTS_RUN: u64 = 1_500_000;
/// A full cache is run at these steps of the rate, and between them drawn straight.
const STEP: f64 = std::f64::consts::SQRT_2;
/// From this part of its entries on a cache counts as full.
const FULL: f64 = 0.97;
/// Values of [`Frame::work`].
const WORK: usize = 9;

/// One site, seen from all scenarios.
pub struct Frame {
    /// As described.
    pub site: Site,
    /// Unwraps a second at the peak, growth included.
    pub peak: Quantity,
    /// And over a day.
    pub mean: Quantity,
    /// What else asks the HSM, at the peak.
    pub wraps: Quantity,
    /// Keys, growth included.
    pub keys: Quantity,
    /// What tells how they are asked for.
    pub shape: Quantity,
    /// Time of a fetch on an idle connection.
    pub fetch_ms: Quantity,
    /// CPU of an unwrap from the cache.
    pub hit_us: Quantity,
    /// And of one that asks the HSM.
    pub miss_us: Quantity,
    /// How requests are spread.
    pub balance: Balance,
    popularity: Popularity,
    /// What full caches were found to do.
    runs: RefCell<BTreeMap<(i64, String), Flows>>,
    /// Requests of one run; fewer for tests.
    pub requests_run: u64,
    /// Whether full caches are run also where only loads are asked for.
    pub runs_always: bool,
}

/// What one node is asked for and what becomes of it, a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFlows {
    /// Of its requests.
    pub flows: Flows,
    /// Of its hits, those that came from the shared cache.
    pub copies: f64,
    /// Whether entries are pushed out.
    pub is_full: bool,
}

impl Frame {
    /// Reads the trace, if one is named.
    pub fn new(site: &Site) -> Result<Self, PlanError> {
        let (growth, years) = (
            site.get(&field::GROWTH_PCT_YEAR),
            site.get(&field::GROWTH_YEARS),
        );
        let grown = |name: &str, today: &Quantity| {
            Quantity::derive(
                name,
                today.unit(),
                &GROWN,
                [today, &growth, &years],
                |[today, growth, years]| today * (1.0 + growth / 100.0).powf(years),
            )
        };
        let (popularity, keys, shape) = if let Some(file) = site.file(&field::TRACE) {
            let popularity = trace_file::read(file)?;
            let measured = |name, value, unit| {
                Quantity::measured(name, value, unit, 0.0, file.display().to_string())
            };
            let keys = measured("keys_in_trace", popularity.keys(), Unit::Count("keys"));
            let hottest = measured("hottest_in_trace", popularity.hottest(), Unit::Share);
            (popularity, keys, hottest)
        } else {
            let keys = grown("keys", &site.get(&field::KEYS_TOTAL));
            let shape = site.get(&field::ZIPF_S);
            (Popularity::zipf(keys.value(), shape.value()), keys, shape)
        };
        let balance = match site.word(&field::BALANCE) {
            "hash" => Balance::Hash,
            _ => Balance::Spread,
        };
        Ok(Self {
            peak: grown("peak.rps", &site.get(&field::PEAK_RPS)),
            mean: grown("mean.rps", &site.get(&field::MEAN_RPS)),
            wraps: grown("peak.wraps_s", &site.get(&field::WRAPS_RPS)),
            fetch_ms: fetch_ms(site),
            hit_us: audited(site, &field::HIT_US, "hit_us"),
            miss_us: audited(site, &field::MISS_US, "miss_us"),
            keys,
            shape,
            balance,
            popularity,
            runs: RefCell::default(),
            requests_run: REQUESTS_RUN,
            runs_always: false,
            site: site.clone(),
        })
    }

    /// The keys when there are so many, of that shape.
    pub fn popularity(&self, keys: f64, shape: f64) -> Popularity {
        let is_same = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
        if is_same(keys, self.keys.value()) && is_same(shape, self.shape.value()) {
            self.popularity.clone()
        } else {
            Popularity::zipf(keys, shape)
        }
    }

    /// What the HSM's message is made of, in the order of [`message_of`].
    pub fn message(&self) -> [Quantity; 6] {
        message(&self.site)
    }

    /// What the caches' work depends on besides load, nodes and entries, in the order of [`Work::of`].
    pub fn work(&self) -> [Quantity; WORK] {
        let field = |field| self.site.get(field);
        [
            self.keys.clone(),
            self.shape.clone(),
            field(&field::TTL_S),
            self.fetch_ms.clone(),
            field(&field::COLD_SHARE),
            field(&field::COLD_READS),
            field(&field::COLD_GAP_S),
            field(&field::REJECT_SHARE),
            field(&field::SHARED_TTL_S),
        ]
    }

    /// One of `nodes` nodes with room for `entries`, when `rps` are asked for in all.
    /// A full cache is run if `runs`, else taken for a CLOCK.
    pub fn flows(&self, work: &Work, rps: f64, nodes: f64, entries: f64, runs: bool) -> NodeFlows {
        let popularity = self.popularity(work.keys, work.shape);
        let own = self.balance.keys_of_node(&popularity, nodes);
        let node_rps = rps * (1.0 - work.cold_share) / nodes;
        let cold = work.lives.of_cold(
            rps * work.cold_share / nodes,
            work.cold_reads,
            work.cold_gap_s,
        );
        let roomy = work.lives.of(&own, node_rps).plus(&cold);
        let is_full = roomy.held > FULL * entries;
        if self.site.flag(&field::SHARED_CACHE) {
            // By hash a key has one node; the shared cache is then a second, longer life.
            let sharing = match self.balance {
                Balance::Hash => 1.0,
                Balance::Spread => nodes,
            };
            let all = shared_flows(&own, work, node_rps, [sharing, entries], is_full);
            let one = Flows {
                held: 0.0,
                ..Flows::default().combine(&all.whole, 1.0 / sharing)
            };
            let flows = Flows {
                held: roomy.held.min(entries),
                ..one.plus(&cold)
            };
            return NodeFlows {
                flows,
                copies: all.copies / sharing,
                is_full,
            };
        }
        if !is_full {
            return NodeFlows {
                flows: roomy,
                ..NodeFlows::default()
            };
        }
        let rare = Cold {
            rate: rps * work.cold_share / nodes,
            reads: work.cold_reads,
            gap_s: work.cold_gap_s,
        };
        NodeFlows {
            flows: if runs {
                self.between(&own, work, rps / nodes, entries)
            } else {
                bounded::clock_flows(&own, node_rps, &rare, entries, work.lives.ttl_s)
            },
            copies: 0.0,
            is_full: true,
        }
    }

    /// A full cache at this rate, drawn straight between the two steps beside it.
    fn between(&self, own: &Popularity, work: &Work, node_rps: f64, entries: f64) -> Flows {
        let at = node_rps.ln() / STEP.ln();
        #[allow(clippy::cast_possible_truncation)] // a logarithm
        let step = at.floor() as i64;
        let (low, high) = (
            self.run(own, work, step, entries),
            self.run(own, work, step + 1, entries),
        );
        let part = at - at.floor();
        // Shares of the requests are drawn straight, so that flows sum to them.
        let unit = |flows: &Flows| {
            Flows::default().combine(flows, 1.0 / flows.requests().max(f64::MIN_POSITIVE))
        };
        let mixed = Flows::default()
            .combine(&unit(&low), 1.0 - part)
            .combine(&unit(&high), part);
        Flows {
            held: low.held * (1.0 - part) + high.held * part,
            ..Flows::default().combine(&mixed, node_rps)
        }
    }

    /// Runs the server's cache, once for each rate and size.
    fn run(&self, own: &Popularity, work: &Work, step: i64, entries: f64) -> Flows {
        let key = (
            step,
            format!(
                "{entries} {} {} {} {work:?}",
                self.requests_run,
                own.keys(),
                own.hottest()
            ),
        );
        if let Some(known) = self.runs.borrow().get(&key) {
            return *known;
        }
        #[allow(clippy::cast_precision_loss)] // a logarithm
        let node_rps = STEP.powf(step as f64);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small count
        let cold_reads = work.cold_reads as u32;
        let stream = Stream {
            rate: node_rps * (1.0 - work.cold_share),
            cold_rate: node_rps * work.cold_share,
            cold_reads,
            cold_gap_s: work.cold_gap_s,
            entries,
            ttl_s: work.lives.ttl_s.max(1.0),
            fetch_s: work.lives.fetch_s,
            entries_run: ENTRIES_RUN,
            requests_max: self.requests_run,
            seed: 1,
        };
        // `search::plan` has made sure that there is memory to run it in.
        let flows = stream.run(own).unwrap_or_default();
        self.runs.borrow_mut().insert(key, flows);
        flows
    }
}

/// The nodes that share a key, together, each asked `node_rps`. A node's own cache that is full counts as a CLOCK.
fn shared_flows(
    own: &Popularity,
    work: &Work,
    node_rps: f64,
    [nodes, entries]: [f64; 2],
    is_full: bool,
) -> Shared {
    let ttl_s = work.lives.ttl_s;
    let round_s =
        is_full.then(|| bounded::characteristic_s(Policy::Clock, own, node_rps, entries, ttl_s));
    let local = |rate| match round_s {
        Some(round_s) => bounded::clock_key(rate, round_s, ttl_s),
        None => work.lives.of_key(rate),
    };
    shared(local, own, node_rps * nodes, nodes, work.record_s)
}

/// What the caches' work depends on besides load, nodes and entries.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    keys: f64,
    shape: f64,
    cold_share: f64,
    cold_reads: f64,
    cold_gap_s: f64,
    lives: Lives,
    /// Life of a record in the shared cache.
    record_s: f64,
}

impl Work {
    /// Of the values of [`Frame::work`].
    pub fn of(
        [
            keys,
            shape,
            ttl_s,
            fetch_ms,
            cold_share,
            cold_reads,
            cold_gap_s,
            refused,
            record_s,
        ]: [f64; WORK],
    ) -> Self {
        Self {
            keys,
            shape,
            cold_share,
            cold_reads,
            cold_gap_s,
            lives: Lives {
                ttl_s,
                fetch_s: fetch_ms / 1000.0,
                refused,
                ahead: true,
            },
            record_s,
        }
    }
}
