//! What holds in every scenario: loads with growth, keys and their popularity, the HSM's message, the cache.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::PlanError;
use super::trace_file;
use crate::input::{Site, field};
use crate::model::balance::Balance;
use crate::model::distribution::Message;
use crate::model::lives::{Flows, Lives};
use crate::model::popularity::Popularity;
use crate::model::shared::shared;
use crate::model::stream::Stream;
use crate::trace::{Formula, Quantity, Unit};

static GROWN: Formula = Formula::arithmetic("today's x (1 + growth_pct_year / 100) ^ growth_years");
static FETCH: Formula = Formula {
    text: "mean of the message's time + item_ms",
    source: "lognormal mean: median x e^(sigma^2 / 2), and the tail",
    error: crate::trace::Error::Exact,
    domain: "an idle connection",
};

/// Entries that a cache which is full is run with, about, and requests.
const ENTRIES_RUN: f64 = 6000.0;
const REQUESTS_RUN: u64 = 1_500_000;
/// A full cache is run at these steps of the rate, and between them drawn straight.
const STEP: f64 = std::f64::consts::SQRT_2;
/// From this part of its entries on a cache counts as full.
const FULL: f64 = 0.97;

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
    /// How requests are spread.
    pub balance: Balance,
    popularity: Popularity,
    /// What full caches were found to do.
    runs: RefCell<BTreeMap<(u64, u64, i64), Flows>>,
    /// Requests of one run; fewer for tests.
    pub requests_run: u64,
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
            keys,
            shape,
            balance,
            popularity,
            runs: RefCell::default(),
            requests_run: REQUESTS_RUN,
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

    /// The HSM's message.
    pub fn message(&self) -> Message {
        let value = |field| self.site.get(field).value();
        Message {
            median_s: value(&field::MESSAGE_MS) / 1000.0,
            sigma: value(&field::SIGMA),
            tail_share: value(&field::TAIL_SHARE),
            tail_min_s: value(&field::TAIL_MIN_MS) / 1000.0,
            tail_alpha: value(&field::TAIL_ALPHA),
            longest_s: value(&field::TIMEOUT_MS) / 1000.0,
        }
    }

    /// How entries live.
    pub fn lives(&self, ttl_s: f64, fetch_s: f64) -> Lives {
        Lives {
            ttl_s,
            fetch_s,
            refused: self.site.get(&field::REJECT_SHARE).value(),
            ahead: true,
        }
    }

    /// One of `nodes` nodes with room for `entries`, when `rps` are asked for in all.
    pub fn flows(
        &self,
        popularity: &Popularity,
        rps: f64,
        nodes: f64,
        entries: f64,
        lives: &Lives,
    ) -> NodeFlows {
        let value = |field| self.site.get(field).value();
        let cold_rps = rps * value(&field::COLD_SHARE) / nodes;
        let (reads, gap_s) = (value(&field::COLD_READS), value(&field::COLD_GAP_S));
        let own = self.balance.keys_of_node(popularity, nodes);
        let node_rps = rps * (1.0 - value(&field::COLD_SHARE)) / nodes;
        let cold = lives.of_cold(cold_rps, reads, gap_s);
        let roomy = lives.of(&own, node_rps).plus(&cold);
        if self.site.flag(&field::SHARED_CACHE) {
            let all = shared(lives, popularity, node_rps * nodes, nodes);
            let one = Flows::default()
                .combine(&all.whole, 1.0 / nodes)
                .plus(&cold);
            let flows = Flows {
                held: roomy.held.min(entries),
                ..one
            };
            return NodeFlows {
                flows,
                copies: all.copies / nodes,
                is_full: false,
            };
        }
        if roomy.held <= FULL * entries {
            return NodeFlows {
                flows: roomy,
                ..NodeFlows::default()
            };
        }
        let run = |step: i64| self.run(&own, STEP.powf(step as f64), entries, lives);
        let at = (rps / nodes).ln() / STEP.ln();
        #[allow(clippy::cast_possible_truncation)] // a logarithm
        let step = at.floor() as i64;
        let (low, high, part) = (run(step), run(step + 1), at - at.floor());
        // Shares of the requests are drawn straight, so that flows sum to them.
        let unit = |flows: &Flows| {
            Flows::default().combine(flows, 1.0 / flows.requests().max(f64::MIN_POSITIVE))
        };
        let mixed = Flows::default()
            .combine(&unit(&low), 1.0 - part)
            .combine(&unit(&high), part);
        let mut flows = Flows::default().combine(&mixed, rps / nodes);
        flows.held = low.held * (1.0 - part) + high.held * part;
        NodeFlows {
            flows,
            copies: 0.0,
            is_full: true,
        }
    }

    /// Runs the server's cache, once for each rate and size.
    fn run(&self, own: &Popularity, node_rps: f64, entries: f64, lives: &Lives) -> Flows {
        let value = |field| self.site.get(field).value();
        let step = (node_rps.ln() / STEP.ln()).round();
        #[allow(clippy::cast_possible_truncation)] // a logarithm
        let key = (
            entries.to_bits()
                ^ own.hottest().to_bits().rotate_left(17)
                ^ own.keys().to_bits().rotate_left(31),
            lives.ttl_s.to_bits() ^ lives.fetch_s.to_bits().rotate_left(13),
            step as i64,
        );
        if let Some(known) = self.runs.borrow().get(&key) {
            return *known;
        }
        let cold = value(&field::COLD_SHARE);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small count
        let cold_reads = value(&field::COLD_READS) as u32;
        let stream = Stream {
            rate: node_rps * (1.0 - cold),
            cold_rate: node_rps * cold,
            cold_reads,
            cold_gap_s: value(&field::COLD_GAP_S),
            entries,
            ttl_s: lives.ttl_s.max(1.0),
            fetch_s: lives.fetch_s,
            entries_run: ENTRIES_RUN,
            requests_max: self.requests_run,
            seed: 1,
        };
        // Without locked memory there is nothing to run: then the plan is not made at all (see `check`).
        let flows = stream.run(own).unwrap_or_default();
        self.runs.borrow_mut().insert(key, flows);
        flows
    }
}

fn fetch_ms(site: &Site) -> Quantity {
    let [message, sigma, item] =
        [&field::MESSAGE_MS, &field::SIGMA, &field::ITEM_MS].map(|field| site.get(field));
    let [share, min, alpha] =
        [&field::TAIL_SHARE, &field::TAIL_MIN_MS, &field::TAIL_ALPHA].map(|field| site.get(field));
    let timeout = site.get(&field::TIMEOUT_MS);
    Quantity::derive(
        "fetch_ms",
        Unit::Millis,
        &FETCH,
        [&message, &sigma, &item, &share, &min, &alpha, &timeout],
        |[message, sigma, item, tail_share, min, tail_alpha, timeout]| {
            let message = Message {
                median_s: message / 1000.0,
                sigma,
                tail_share,
                tail_min_s: min / 1000.0,
                tail_alpha,
                longest_s: timeout / 1000.0,
            };
            message.mean_s() * 1000.0 + item
        },
    )
}
